//! The token that a call which acts is asked for, and its comparison.

use std::fmt;

use onsave_protocol::Secret;
use subtle::ConstantTimeEq as _;

/// What whoever may act knows.
#[derive(Clone)]
pub struct Token(Secret);

impl Token {
    /// Returns the token that a file of the state folder holds.
    #[must_use]
    pub const fn new(secret: Secret) -> Self {
        Self(secret)
    }

    /// Returns whether this is the token; how long that takes tells only whether the length is right,
    /// which is known.
    pub(super) fn is(&self, given: &str) -> bool {
        self.0.expose().ct_eq(given.as_bytes()).into()
    }

    #[cfg(test)]
    pub(super) fn of(text: &str) -> Self {
        Self(Secret::from_text(text).unwrap())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(****)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_itself_alone_and_is_never_shown() {
        let token = Token::of("0123");
        assert!(token.is("0123"));
        for other in ["", "012", "01234", "0124", "１２３"] {
            assert!(!token.is(other), "{other}");
        }
        assert!(!format!("{token:?}").contains("0123"));
    }
}
