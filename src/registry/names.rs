//! The names of registries, repositories, tags and digests: checked before anything is sent, so that
//! no name can become another path, host or header. Pure.

use url::Url;

use super::RegistryError;
use crate::{http::is_loopback_host, image::BlobDigest};

/// Most characters of a repository: what registries take.
const MAX_REPOSITORY: usize = 255;

/// Most characters of a tag: what the specification allows.
const MAX_TAG: usize = 128;

/// A registry's host, and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    name: String,
    origin: String,
}

impl Host {
    /// Returns the host that `text` names.
    pub(super) fn parse(text: &str) -> Result<Self, RegistryError> {
        let bad = || RegistryError::BadHost { host: text.into() };
        let scheme = |name: &str| Url::parse(&format!("{name}://{text}/")).map_err(|_| bad());
        let url = scheme("https")?;
        let host = url.host_str().unwrap_or_default();
        let scheme = if is_loopback_host(host) {
            "http"
        } else {
            "https"
        };
        // The port is taken from the text: a URL leaves out its scheme's own.
        let port = text.strip_prefix(host).ok_or_else(bad)?;
        let digits = port.strip_prefix(':');
        let is_port = port.is_empty()
            || digits.is_some_and(|digits| digits.parse::<u16>().is_ok_and(|port| port > 0));
        if host.is_empty() || !is_port {
            return Err(bad());
        }
        Ok(Self {
            name: text.into(),
            origin: format!("{scheme}://{text}"),
        })
    }

    /// Returns the name, as it stands before a repository.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns scheme, host and port.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }
}

/// Checks a repository's name: lower-case words in parts that `/` separates.
pub(super) fn check_repository(name: &str) -> Result<(), RegistryError> {
    if name.len() <= MAX_REPOSITORY && name.split('/').all(is_part) {
        Ok(())
    } else {
        Err(RegistryError::BadRepository {
            repository: name.into(),
        })
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_part(part: &str) -> bool {
    let is_word = |character: char| matches!(character, 'a'..='z' | '0'..='9');
    let (Some(first), Some(last)) = (part.chars().next(), part.chars().next_back()) else {
        return false;
    };
    is_word(first)
        && is_word(last)
        && part
            .split(is_word)
            .all(|between| matches!(between, "" | "." | "_" | "__") || all_dashes(between))
}

fn all_dashes(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'-')
}

/// Checks a tag or a digest.
pub(super) fn check_reference(reference: &str) -> Result<(), RegistryError> {
    if BlobDigest::parse(reference).is_some() || is_tag(reference) {
        Ok(())
    } else {
        Err(RegistryError::BadTag {
            tag: reference.into(),
        })
    }
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`
fn is_tag(tag: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=MAX_TAG).contains(&tag.len()) && tag.bytes().all(is_inner) && !tag.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_on_this_machine_need_no_tls() {
        let table = [
            ("registry.fly.io", "https://registry.fly.io"),
            ("ghcr.io:443", "https://ghcr.io:443"),
            ("10.0.0.1:5000", "https://10.0.0.1:5000"),
            ("127.0.0.1:5000", "http://127.0.0.1:5000"),
            ("localhost:80", "http://localhost:80"),
            ("[::1]:5000", "http://[::1]:5000"),
            ("localhost", "http://localhost"),
        ];
        for (text, origin) in table {
            let host = Host::parse(text).unwrap();
            assert_eq!((host.name(), host.origin()), (text, origin));
        }
    }

    #[test]
    fn what_is_more_than_a_host_is_refused() {
        for text in [
            "",
            ":5000",
            "https://registry.fly.io",
            "registry.fly.io/app",
            "registry.fly.io/",
            "x:token@registry.fly.io",
            "registry.fly.io?a",
            "registry.fly.io#a",
            "registry.fly.io:",
            "registry.fly.io:0",
            "registry.fly.io:99999",
            "registry.fly.io:80x",
            "a b",
            "localhost\r\nx: y",
            " registry.fly.io",
        ] {
            let refused = Host::parse(text);
            assert!(
                matches!(refused, Err(RegistryError::BadHost { .. })),
                "{text:?}: {refused:?}"
            );
        }
    }

    #[test]
    fn repositories_are_words_in_lower_case() {
        for name in [
            "app",
            "my-app",
            "a--b",
            "a__b",
            "a.b_c",
            "org/my-app-2",
            "0",
        ] {
            assert!(check_repository(name).is_ok(), "{name}");
        }
        for name in [
            "", "App", "-a", "a-", "a..b", "a___b", "a._b", "/a", "a/", "a//b", "a/../b", "a b",
            "a?b", "\u{e5}",
        ] {
            assert!(check_repository(name).is_err(), "{name}");
        }
        assert!(check_repository(&"a".repeat(256)).is_err());
    }

    #[test]
    fn references_are_tags_or_digests() {
        let digest = BlobDigest::of(b"x").to_string();
        for name in ["onsave-0123456789abcdef", "v1.2_3", "_", "A", &digest] {
            assert!(check_reference(name).is_ok(), "{name}");
        }
        let long = "a".repeat(129);
        for name in ["", ".a", "-a", "a/b", "a b", "a:b", "sha256:12", &long] {
            assert!(check_reference(name).is_err(), "{name}");
        }
    }
}
