//! What an app may be called.
//!
//! The rule is the one of host names, since a provider makes the name part of one.

use std::path::Path;

/// The longest label of a host name.
const MAX_BYTES: usize = 63;

/// What to be called when a folder's name has no usable letter.
const FALLBACK: &str = "site";

/// Returns the name of an app that lives in `folder`: the folder's, made to follow the rule.
#[must_use]
pub fn app_name_of(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let words: Vec<_> = name
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let mut name = words.join("-").to_ascii_lowercase();
    name.truncate(MAX_BYTES);
    let name = name.trim_end_matches('-');
    if name.is_empty() {
        FALLBACK.to_owned()
    } else {
        name.to_owned()
    }
}

/// Returns the name if it follows the rule.
///
/// # Errors
///
/// The rule.
pub(super) fn checked(name: &str) -> Result<String, String> {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let follows = (1..=MAX_BYTES).contains(&name.len())
        && name.bytes().all(letters)
        && !name.starts_with('-')
        && !name.ends_with('-');
    if follows {
        Ok(name.to_owned())
    } else {
        Err(format!(
            "must be 1 to {MAX_BYTES} of a-z, 0-9 and -, with no - at either end"
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_folder_gives_a_readable_name() {
        for (folder, name) in [
            ("/home/ann/My Blog", "my-blog"),
            ("/www.example.org", "www-example-org"),
            ("/--x--", "x"),
            ("/日本", "site"),
            ("/", "site"),
            ("", "site"),
        ] {
            assert_eq!(app_name_of(Path::new(folder)), name);
        }
    }

    #[test]
    fn the_rule_is_kept() {
        for name in ["a", "my-site", "2026", &"a".repeat(63)] {
            assert_eq!(checked(name).as_deref(), Ok(name));
        }
        for name in ["", "-a", "a-", "A", "a_b", "a b", "é", &"a".repeat(64)] {
            assert!(checked(name).is_err(), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_folder_the_name_follows_the_rule(folder in ".{0,200}") {
            let name = app_name_of(Path::new(&folder));
            prop_assert!(checked(&name).is_ok(), "{name:?}");
        }
    }
}
