//! The id of a deploy: `<unix ms>-<8 hex>`, strictly increasing on one server.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The id of a deploy, such as `1777000001000-a1b2c3d4`.
///
/// Ordered by time, then by the random part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeployId {
    unix_ms: u64,
    random: u32,
}

/// A text is not a deploy id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a deploy id looks like 1777000001000-a1b2c3d4")]
pub struct DeployIdError;

impl DeployId {
    /// Returns an id that is greater than `previous`, also when the clock stepped back.
    ///
    /// `random` tells apart ids that two servers make in the same millisecond.
    #[must_use]
    pub fn after(previous: Option<Self>, now_unix_ms: u64, random: u32) -> Self {
        let least = previous.map_or(0, |id| id.unix_ms + 1);
        Self {
            unix_ms: now_unix_ms.max(least),
            random,
        }
    }

    /// Returns the id that `text` writes.
    ///
    /// # Errors
    ///
    /// [`DeployIdError`] unless the text is exactly what [`fmt::Display`] would print.
    pub fn parse(text: &str) -> Result<Self, DeployIdError> {
        let (ms, random) = text.split_once('-').ok_or(DeployIdError)?;
        let canonical = |digits: &str| !digits.is_empty() && !digits.starts_with('+');
        if !canonical(ms) || !canonical(random) || random.len() != 8 {
            return Err(DeployIdError);
        }
        let id = Self {
            unix_ms: ms.parse().map_err(|_| DeployIdError)?,
            random: u32::from_str_radix(random, 16).map_err(|_| DeployIdError)?,
        };
        // Two spellings of one id would be two names on the volume.
        if id.to_string() == text && id.unix_ms < u64::MAX {
            Ok(id)
        } else {
            Err(DeployIdError)
        }
    }

    /// Returns the milliseconds since the Unix epoch at which the id was made.
    #[must_use]
    pub const fn unix_ms(self) -> u64 {
        self.unix_ms
    }
}

impl fmt::Display for DeployId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:08x}", self.unix_ms, self.random)
    }
}

impl std::str::FromStr for DeployId {
    type Err = DeployIdError;

    fn from_str(text: &str) -> Result<Self, DeployIdError> {
        Self::parse(text)
    }
}

impl Serialize for DeployId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeployId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_canonical_spelling_is_an_id() {
        let text = "1777000001000-a1b2c3d4";
        assert_eq!(DeployId::parse(text).unwrap().to_string(), text);
        for text in [
            "",
            "-",
            "1777000001000",
            "1777000001000-",
            "-a1b2c3d4",
            "1777000001000-A1B2C3D4",
            "1777000001000-a1b2c3d",
            "1777000001000-a1b2c3d4e",
            "01777000001000-a1b2c3d4",
            "+1777000001000-a1b2c3d4",
            "1777000001000-+1b2c3d4",
            "../../etc-a1b2c3d4",
            "18446744073709551615-a1b2c3d4",
            "99999999999999999999999-a1b2c3d4",
        ] {
            assert_eq!(DeployId::parse(text), Err(DeployIdError), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn ids_increase_whatever_the_clock_does(clock in prop::collection::vec(0_u64..5_000, 1..50), random: u32) {
            let mut previous = None;
            for now in clock {
                let id = DeployId::after(previous, now, random);
                prop_assert!(Some(id) > previous);
                prop_assert!(id.unix_ms() >= now);
                prop_assert_eq!(DeployId::parse(&id.to_string()), Ok(id));
                previous = Some(id);
            }
        }
    }
}
