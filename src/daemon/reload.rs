//! What a changed configuration changes in a running daemon; the rest is named, and waits for a restart.
//!
//! Whatever is not named here needs a restart: a new key is safe until somebody looks at it.

use std::sync::Arc;

use super::Daemon;
use crate::{
    config::{Config, ConfigError, WatchConfig},
    config_watch::Reread,
    verify_live::LiveVerifier,
};

/// The keys that a running daemon takes over.
const TAKEN: [&str; 8] = [
    "watch.quiet_ms",
    "watch.max_wait_ms",
    "publish.strict",
    "publish.max_removal_percent",
    "publish.by",
    "publish.verify_live",
    "publish.public_url",
    "notify.desktop",
];

/// What the keys of deliveries start with.
const AFTER_PUBLISH: &str = "after_publish[";

/// A configuration to go on with, and what became of the keys that changed.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) config: Config,
    /// Keys that hold from now on.
    pub(super) keys: Vec<String>,
    /// Keys that hold after a restart.
    pub(super) waiting: Vec<String>,
}

impl Daemon {
    /// Takes over what a running daemon can; where there are faults, everything stays as it is.
    pub(super) fn reread(&mut self, reread: Reread) {
        self.manager.reloading();
        match reread {
            Reread::Same => tracing::info!("the configuration was read again: nothing is new"),
            Reread::Faulty(error) => not_reloaded(&error),
            Reread::Changed { config, keys } => self.take_over(*config, keys),
        }
        self.manager.reloaded();
    }

    fn take_over(&mut self, new: Config, changed: Vec<String>) {
        let Taken {
            config,
            keys,
            waiting,
        } = taken(&self.config, new, changed, self.deliveries.is_on());
        self.deliveries.take_over(&config);
        let (watch, publish) = (&config.watch, &config.publish);
        self.settle.wait_otherwise(watch.quiet, watch.max_wait);
        self.agenda.wait_otherwise(watch.max_wait);
        let url = publish.site_url(&self.target_url);
        self.standing.name_url(url);
        self.requests.name_url(url);
        let live = LiveVerifier::of_site(publish, &self.target_url);
        self.live = live.unwrap_or_else(|error| {
            let error = &error as &(dyn std::error::Error + 'static);
            tracing::error!(error, "publishes are not looked at on {url}");
            None
        });
        if !keys.is_empty() {
            tracing::info!("reloaded, from the next save on: {}", keys.join(", "));
        }
        if !waiting.is_empty() {
            tracing::warn!("changed, but needs a restart: {}", waiting.join(", "));
        }
        self.config = Arc::new(config);
    }
}

/// Says each fault, once for each reading.
fn not_reloaded(error: &ConfigError) {
    for fault in &error.faults {
        tracing::error!("the configuration has a fault: {fault}");
    }
    tracing::error!("not reloaded; what was read before holds");
}

/// Returns what of `new` a daemon that runs with `old` takes over.
///
/// Deliveries that were never begun are begun by a start, which sees to it that none is missed.
pub(super) fn taken(old: &Config, new: Config, changed: Vec<String>, deliveries: bool) -> Taken {
    let is_taken = |key: &String| {
        TAKEN.contains(&key.as_str()) || deliveries && key.starts_with(AFTER_PUBLISH)
    };
    let (keys, waiting) = changed.into_iter().partition(is_taken);
    let config = Config {
        watch: WatchConfig {
            quiet: new.watch.quiet,
            max_wait: new.watch.max_wait,
            ..old.watch.clone()
        },
        publish: new.publish,
        notify: new.notify,
        after_publish: if deliveries {
            new.after_publish
        } else {
            old.after_publish.clone()
        },
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
