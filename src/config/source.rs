//! Where a value of the configuration came from.
//!
//! The `config` crate carries an origin as text beside each value; a source travels through it as
//! its own printed form, and comes back as itself.

use std::fmt;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// No layer said anything.
    Default,
    /// The configuration file: path, and line where one is known (`/site/onsave.toml:3`).
    File(String),
    /// The environment: the variable's name.
    Variable(String),
    /// The command line: the option.
    Flag(String),
}

impl Source {
    /// Returns the source that `origin` was printed from.
    ///
    /// A text that no source prints can only be the `config` crate's own: no layer of ours.
    pub(super) fn of_origin(origin: Option<&str>) -> Self {
        let rest_after = |word: &str| origin?.strip_prefix(word).map(str::to_owned);
        rest_after("file ")
            .map(Self::File)
            .or_else(|| rest_after("variable ").map(Self::Variable))
            .or_else(|| rest_after("flag ").map(Self::Flag))
            .unwrap_or(Self::Default)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(place) => write!(f, "file {place}"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_source_survives_being_an_origin(text in ".*", kind in 0..4) {
            let source = match kind {
                0 => Source::Default,
                1 => Source::File(text),
                2 => Source::Variable(text),
                _ => Source::Flag(text),
            };
            prop_assert_eq!(Source::of_origin(Some(&source.to_string())), source);
        }
    }
}
