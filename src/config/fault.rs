//! What is wrong with a configuration: every fault at once, each with its place and what to do.
//!
//! A fault never shows the value of a key that is not known, nor of the secret: somebody may have
//! typed a secret there.

use std::fmt;

use super::source::Source;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The key or the variable's name; none where the whole file is meant.
    pub key: Option<String>,
    /// The value as typed, quoted like in the file; none where it is missing or not for showing.
    pub value: Option<String>,
    /// Where it was said.
    pub source: Source,
    /// What is wrong, and what is allowed.
    pub problem: String,
}

/// The configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// What is wrong; at least one.
    pub faults: Vec<Fault>,
}

impl ConfigError {
    /// Returns what the user can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        "`onsave check` shows every key; in an empty folder, `onsave init` writes a file that \
         explains them"
            .to_owned()
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.len() {
            1 => f.write_str("the configuration has a fault")?,
            count => write!(f, "the configuration has {count} faults")?,
        }
        for fault in &self.faults {
            write!(f, "\n  {fault}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.key, &self.value) {
            (Some(key), Some(value)) => write!(f, "{key} = {value} ({}): ", self.source)?,
            // A missing value has no source worth naming.
            (Some(key), None) if self.source == Source::Default => write!(f, "{key}: ")?,
            (Some(key), None) => write!(f, "{key} ({}): ", self.source)?,
            (None, _) => write!(f, "{}: ", self.source)?,
        }
        f.write_str(&self.problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_on_its_own_line() {
        let fault = |key: Option<&str>, value: Option<&str>, source| Fault {
            key: key.map(str::to_owned),
            value: value.map(str::to_owned),
            source,
            problem: "must be right".to_owned(),
        };
        let error = ConfigError {
            faults: vec![
                fault(Some("a.b"), Some("\"x\""), Source::Flag("--b".to_owned())),
                fault(Some("c"), None, Source::File("/s/onsave.toml:2".to_owned())),
                fault(Some("d"), None, Source::Default),
                fault(None, None, Source::File("/s/onsave.toml".to_owned())),
            ],
        };
        let expected = "the configuration has 4 faults
  a.b = \"x\" (flag --b): must be right
  c (file /s/onsave.toml:2): must be right
  d: must be right
  file /s/onsave.toml: must be right";
        assert_eq!(error.to_string(), expected);
    }
}
