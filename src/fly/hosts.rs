//! Where the platform is; every address can be set, by the names that the platform's own tool reads.
//!
//! Pure; whether an address can be used shows when a client is made for it.

use crate::surroundings::Surroundings;

/// Addresses of the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    /// The Machines API, as a URL without a slash at its end.
    pub machines: String,
    /// The web API, as a URL without a slash at its end.
    pub web: String,
    /// The registry: a host, and a port where it has one.
    pub registry: String,
}

impl Default for Hosts {
    fn default() -> Self {
        Self {
            machines: "https://api.machines.dev".into(),
            web: "https://api.fly.io".into(),
            registry: "registry.fly.io".into(),
        }
    }
}

impl Hosts {
    /// Returns the addresses that `FLY_FLAPS_BASE_URL`, `FLY_API_BASE_URL` and `FLY_REGISTRY_HOST`
    /// name, and the public ones for what is not set.
    #[must_use]
    pub fn of(surroundings: &Surroundings) -> Self {
        let public = Self::default();
        let set = |name, otherwise| {
            surroundings
                .variable(name)
                .map(|value| value.to_string_lossy().trim().trim_end_matches('/').into())
                .filter(|value: &String| !value.is_empty())
                .unwrap_or(otherwise)
        };
        Self {
            machines: set("FLY_FLAPS_BASE_URL", public.machines),
            web: set("FLY_API_BASE_URL", public.web),
            registry: set("FLY_REGISTRY_HOST", public.registry),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surroundings::Stream;

    fn hosts(variables: &[(&str, &str)]) -> Hosts {
        Hosts::of(&Surroundings {
            variables: variables
                .iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            working_folder: "/work".into(),
            home: None,
            host: "desk".to_owned(),
            stderr: Stream::Other,
            program: None,
        })
    }

    #[test]
    fn the_public_platform_is_the_default() {
        assert_eq!(hosts(&[]), Hosts::default());
        assert_eq!(hosts(&[("FLY_API_BASE_URL", " / ")]), Hosts::default());
    }

    #[test]
    fn every_address_can_be_set() {
        let set = hosts(&[
            ("FLY_FLAPS_BASE_URL", "http://127.0.0.1:4280/"),
            ("FLY_API_BASE_URL", "http://127.0.0.1:4281"),
            ("FLY_REGISTRY_HOST", "127.0.0.1:5000"),
        ]);
        assert_eq!(set.machines, "http://127.0.0.1:4280");
        assert_eq!(set.web, "http://127.0.0.1:4281");
        assert_eq!(set.registry, "127.0.0.1:5000");
    }
}
