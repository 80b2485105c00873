//! Tokens as they come in headers → what their owner may do.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::state::{Platform, Scope};

impl Platform {
    /// Reads `FlyV1 m1,m2` or `Bearer t` and returns what it allows.
    pub(crate) fn scope_of_header(&self, header: &str) -> Option<Scope> {
        let (scheme, tokens) = header.split_once(' ')?;
        match scheme {
            "FlyV1" => self.scope_of_macaroons(tokens),
            "Bearer" => self.scope_of_tokens(tokens),
            _ => None,
        }
    }

    /// Reads `Basic` with the user `x`, as the registry takes it.
    pub(crate) fn scope_of_basic(&self, header: &str) -> Option<Scope> {
        let encoded = header.strip_prefix("Basic ")?;
        let pair = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
        self.scope_of_tokens(pair.strip_prefix("x:")?)
    }

    fn scope_of_macaroons(&self, tokens: &str) -> Option<Scope> {
        let macaroon = |token: &&str| token.starts_with("fm");
        let all = tokens.split(',').map(str::trim);
        all.filter(macaroon)
            .find_map(|token| self.tokens.get(token))
            .cloned()
    }

    fn scope_of_tokens(&self, tokens: &str) -> Option<Scope> {
        let mut all = tokens.split(',').map(str::trim);
        all.find_map(|token| self.tokens.get(token)).cloned()
    }
}
