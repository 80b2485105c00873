//! The secret that the client and the server share.

use std::fmt;

/// A shared secret: the bytes that key every signature.
///
/// Never printed: `Debug` masks it, and there is no `Display` and no `Serialize`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

/// A text is no usable secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret is empty")]
pub struct EmptySecret;

impl Secret {
    /// Returns the secret that `text` holds, without the white space around it.
    ///
    /// A secret file usually ends in a line feed that is no part of the secret.
    ///
    /// # Errors
    ///
    /// [`EmptySecret`] when nothing is left: an empty key would let anybody sign.
    pub fn from_text(text: &str) -> Result<Self, EmptySecret> {
        let text = text.trim();
        if text.is_empty() {
            return Err(EmptySecret);
        }
        Ok(Self(text.as_bytes().into()))
    }

    /// Returns the bytes that key a signature.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(****)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_masks() {
        let secret = Secret::from_text("hunter2-hunter2\n").unwrap();
        assert_eq!(secret.expose(), b"hunter2-hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(****)");
        assert_eq!(Secret::from_text(" \n"), Err(EmptySecret));
    }
}
