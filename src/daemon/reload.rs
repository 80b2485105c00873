//! What a changed configuration changes in a running daemon; the rest is named, and waits for a restart.
//!
//! Pure. Whatever is not named here needs a restart: a new key is safe until somebody looks at it.

use crate::config::{Config, WatchConfig};

/// The keys that a running daemon takes over.
const TAKEN: [&str; 7] = [
    "watch.quiet_ms",
    "watch.max_wait_ms",
    "publish.strict",
    "publish.max_removal_percent",
    "publish.by",
    "publish.verify_live",
    "publish.public_url",
];

/// A configuration to go on with, and what became of the keys that changed.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) config: Config,
    /// Keys that hold from now on.
    pub(super) keys: Vec<&'static str>,
    /// Keys that hold after a restart.
    pub(super) waiting: Vec<&'static str>,
}

/// Returns what of `new` a daemon that runs with `old` takes over.
pub(super) fn taken(old: &Config, new: Config, changed: Vec<&'static str>) -> Taken {
    let (keys, waiting) = changed.into_iter().partition(|key| TAKEN.contains(key));
    let config = Config {
        watch: WatchConfig {
            quiet: new.watch.quiet,
            max_wait: new.watch.max_wait,
            ..old.watch.clone()
        },
        publish: new.publish,
        ..old.clone()
    };
    Taken {
        config,
        keys,
        waiting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;

    #[test]
    fn every_key_that_is_taken_is_one() {
        for key in TAKEN {
            assert!(keys::ALL.iter().any(|known| known.name == key), "{key}");
        }
    }
}
