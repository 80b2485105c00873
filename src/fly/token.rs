//! What a token is made of, and which header or password it becomes.
//!
//! People paste tokens as the platform's tool prints them, with a scheme in front, and one text may
//! hold several macaroons. The REST calls and the registry take the macaroons alone where there are
//! any. Pure; nothing here asks whether the platform accepts a token.

use std::fmt;

use super::macaroon::{self, TokenLimits};

/// Longer than any token with all its attenuations; what is longer is some other file.
const MAX_BYTES: usize = 64 * 1024;

/// What a macaroon starts with, by generation.
const MACAROONS: [&str; 3] = ["fm1r_", "fm1a_", "fm2_"];

/// Schemes that are no part of a token but are printed and pasted with it.
const SCHEMES: [&str; 2] = ["FlyV1", "Bearer"];

/// What stands where a token stood.
pub(super) const MASK: &str = "****";

/// A token of the platform, without its scheme; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Macaroons, joined by commas, or one OAuth token.
    text: String,
    scheme: Scheme,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    FlyV1,
    Bearer,
}

/// A text is no token; the text itself is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Nothing is left when the scheme and the space around are taken away.
    #[error("the token is empty")]
    Empty,
    /// A file with more than the token in it.
    #[error("the token has several lines")]
    SeveralLines,
    /// What no header can carry.
    #[error("the token has control characters or characters outside ASCII in it")]
    NotPlain,
    /// Something else was pasted.
    #[error("the token has a space in it")]
    Space,
    /// Something else was read.
    #[error("the token is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Several tokens, none of them a macaroon.
    #[error("the token is a list without a macaroon (fm2_…) in it")]
    NoMacaroon,
}

impl Token {
    /// Returns the token in `text`, without the space around it and the schemes before it.
    ///
    /// # Errors
    ///
    /// [`BadToken`] when `text` holds no token, or more than one thing.
    pub fn parse(text: &str) -> Result<Self, BadToken> {
        let text = without_schemes(text);
        if text.is_empty() {
            return Err(BadToken::Empty);
        }
        if text.len() > MAX_BYTES {
            return Err(BadToken::TooLong);
        }
        if text.contains(['\n', '\r']) {
            return Err(BadToken::SeveralLines);
        }
        if text.chars().any(|c| c.is_control() || !c.is_ascii()) {
            return Err(BadToken::NotPlain);
        }
        // A list may be written with spaces after its commas.
        let parts: Vec<&str> = text
            .split(',')
            .map(without_schemes)
            .filter(|part| !part.is_empty())
            .collect();
        if parts.iter().any(|part| part.contains(' ')) {
            return Err(BadToken::Space);
        }
        let macaroons: Vec<&str> = parts.iter().copied().filter(|p| is_macaroon(p)).collect();
        match (macaroons.as_slice(), parts.as_slice()) {
            ([], []) => Err(BadToken::Empty),
            ([], [oauth]) => Ok(Self {
                text: (*oauth).to_owned(),
                scheme: Scheme::Bearer,
            }),
            ([], _) => Err(BadToken::NoMacaroon),
            (macaroons, _) => Ok(Self {
                text: macaroons.join(","),
                scheme: Scheme::FlyV1,
            }),
        }
    }

    /// Returns what the token says of its own limits; one that is no macaroon says nothing.
    #[must_use]
    pub(super) fn limits(&self) -> TokenLimits {
        match self.scheme {
            Scheme::FlyV1 => macaroon::limits(&self.text),
            Scheme::Bearer => TokenLimits::default(),
        }
    }

    /// Returns the value of the `Authorization` header.
    #[must_use]
    pub fn authorization(&self) -> String {
        let scheme = match self.scheme {
            Scheme::FlyV1 => "FlyV1",
            Scheme::Bearer => "Bearer",
        };
        format!("{scheme} {}", self.text)
    }

    /// Returns the password that the registry takes, for any user name.
    #[must_use]
    pub fn registry_password(&self) -> String {
        self.text.clone()
    }

    /// Returns `text` with everything of the token in it masked: an answer may repeat what it got.
    pub(crate) fn masked(&self, text: &str) -> String {
        let whole = text.replace(&self.text, MASK);
        self.text
            .split(',')
            .fold(whole, |text, part| text.replace(part, MASK))
    }
}

/// Says of which kind it is, and nothing else.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text: _, scheme } = self;
        write!(f, "Token({scheme:?} {MASK})")
    }
}

fn is_macaroon(part: &str) -> bool {
    MACAROONS.iter().any(|start| part.starts_with(start))
}

fn without_schemes(text: &str) -> &str {
    let mut text = text.trim();
    loop {
        let rest = SCHEMES.iter().find_map(|scheme| {
            let (head, rest) = text.split_at_checked(scheme.len())?;
            let ends = rest.is_empty() || rest.starts_with(char::is_whitespace);
            (ends && head.eq_ignore_ascii_case(scheme)).then_some(rest)
        });
        match rest {
            Some(rest) => text = rest.trim_start(),
            None => return text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorization(text: &str) -> String {
        Token::parse(text).unwrap().authorization()
    }

    #[test]
    fn schemes_and_space_are_no_part_of_a_token() {
        for text in [
            "fm2_abc",
            " fm2_abc\n",
            "FlyV1 fm2_abc",
            "flyv1   fm2_abc",
            "Bearer fm2_abc",
            "BEARER FlyV1 fm2_abc\r\n",
            "FlyV1 FlyV1\tfm2_abc",
        ] {
            assert_eq!(authorization(text), "FlyV1 fm2_abc", "{text:?}");
        }
        assert_eq!(authorization("Bearer fo1_abc"), "Bearer fo1_abc");
        assert_eq!(authorization("fo1_abc"), "Bearer fo1_abc");
        // A token that only looks as if a scheme stood before it.
        assert_eq!(authorization("bearertoken"), "Bearer bearertoken");
    }

    #[test]
    fn macaroons_go_alone() {
        let text = "FlyV1 fm1r_a,fo1_x, fm1a_b ,fm2_c,";
        assert_eq!(authorization(text), "FlyV1 fm1r_a,fm1a_b,fm2_c");
        let token = Token::parse(text).unwrap();
        assert_eq!(token.registry_password(), "fm1r_a,fm1a_b,fm2_c");
        assert_eq!(
            Token::parse("bearer fo1_x").unwrap().registry_password(),
            "fo1_x"
        );
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let long = "x".repeat(MAX_BYTES + 1);
        for (text, fault) in [
            ("", BadToken::Empty),
            (" \n", BadToken::Empty),
            ("FlyV1 ", BadToken::Empty),
            ("Bearer", BadToken::Empty),
            (",,", BadToken::Empty),
            ("fm2_a\nfm2_b", BadToken::SeveralLines),
            ("fm2_a\u{7}", BadToken::NotPlain),
            ("fm2_\u{e5}", BadToken::NotPlain),
            ("my secret token", BadToken::Space),
            ("fm2_a,b c", BadToken::Space),
            ("fo1_a,fo1_b", BadToken::NoMacaroon),
            (long.as_str(), BadToken::TooLong),
        ] {
            assert_eq!(Token::parse(text), Err(fault), "{text:?}");
            assert!(!fault.to_string().contains("fm2_a"));
        }
    }

    #[test]
    fn a_token_is_never_shown() {
        let token = Token::parse("fm2_hunter2,fm1a_hunter3").unwrap();
        assert_eq!(format!("{token:?}"), "Token(FlyV1 ****)");
        assert_eq!(format!("{token:#?}"), "Token(FlyV1 ****)");
        assert_eq!(token.masked("got fm1a_hunter3!"), "got ****!");
        assert_eq!(token.masked("got fm2_hunter2,fm1a_hunter3"), "got ****");
    }
}
