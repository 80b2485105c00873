//! When the configuration is read again, and what came of it.
//!
//! Owns the look at the configuration file and the reading, both off the daemon's loop. A reading is asked
//! for by SIGHUP, where a service manager sends it, and by a file that changed and then stayed the same
//! for one look, so that a file in the middle of a save is not judged. Nothing here decides what a change
//! means; the daemon does.

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    signal::unix::Signal,
    task::{JoinError, JoinSet},
    time::{Interval, MissedTickBehavior, interval},
};

use crate::config::{Config, ConfigError, Loaded, Setting};

/// Time between two looks at the file: a person who saved it looks at the log within seconds.
const LOOK: Duration = Duration::from_secs(1);

/// Reads the configuration from the layers that the process was started with.
pub type Load = Arc<dyn Fn() -> Result<Loaded, ConfigError> + Send + Sync>;

/// What came of a reading.
#[derive(Debug)]
pub enum Reread {
    /// It says what it said before.
    Same,
    /// It says something else.
    Changed {
        /// The new configuration.
        config: Box<Config>,
        /// The keys with another value than at the last reading that had no fault.
        keys: Vec<String>,
    },
    /// It has faults.
    Faulty(ConfigError),
}

/// Reads the configuration again when somebody asks for it.
pub struct ConfigWatch {
    load: Load,
    file: PathBuf,
    looks: Interval,
    /// The file as it was when it was last read.
    read: Stamp,
    /// The file at the last look.
    seen: Stamp,
    hangups: Option<Signal>,
    /// At most one.
    readings: JoinSet<Result<Loaded, ConfigError>>,
    settings: Vec<Setting>,
}

/// What tells two states of a file apart; nothing where there is no file.
type Stamp = Option<(u64, u64, i64, i64)>;

impl ConfigWatch {
    /// Watches `file` for changes of `settings`, which were read from it.
    #[must_use]
    pub fn new(load: Load, file: PathBuf, settings: Vec<Setting>) -> Self {
        let mut looks = interval(LOOK);
        // After a suspend, one look is as good as all that were missed.
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let now = stamp(&file);
        Self {
            load,
            file,
            looks,
            read: now,
            seen: now,
            hangups: None,
            readings: JoinSet::new(),
            settings,
        }
    }

    /// Takes SIGHUP for a wish to read the configuration again, from whoever started the process.
    #[must_use]
    pub fn with_hangups(mut self, hangups: Signal) -> Self {
        self.hangups = Some(hangups);
        self
    }

    /// Waits until the configuration was read again, and returns what came of it. Cancel-safe: a reading
    /// under way goes on.
    ///
    /// # Errors
    ///
    /// When the reading panicked.
    pub async fn next(&mut self) -> Result<Reread, JoinError> {
        if self.readings.is_empty() {
            self.asked().await;
            let load = Arc::clone(&self.load);
            self.readings.spawn_blocking(move || load());
        }
        // Just now there was one.
        let read = match self.readings.join_next().await {
            Some(read) => read?,
            None => return Ok(Reread::Same),
        };
        Ok(self.compared(read))
    }

    async fn asked(&mut self) {
        loop {
            tokio::select! {
                // Both cancel-safe, as tokio says of them.
                _ = self.looks.tick() => {
                    if self.has_changed().await {
                        return;
                    }
                }
                () = hangup(&mut self.hangups) => {
                    self.read = self.seen;
                    return;
                }
            }
        }
    }

    async fn has_changed(&mut self) -> bool {
        let file = self.file.clone();
        // A disk that does not answer holds up nobody but this.
        let Ok(now) = tokio::task::spawn_blocking(move || stamp(&file)).await else {
            return false;
        };
        let is_settled = now == self.seen;
        self.seen = now;
        let is_news = is_settled && now != self.read;
        if is_news {
            self.read = now;
        }
        is_news
    }

    fn compared(&mut self, read: Result<Loaded, ConfigError>) -> Reread {
        let loaded = match read {
            Ok(loaded) => loaded,
            Err(error) => return Reread::Faulty(error),
        };
        let keys = changed_keys(&self.settings, &loaded.settings);
        self.settings = loaded.settings;
        if keys.is_empty() {
            return Reread::Same;
        }
        Reread::Changed {
            config: Box::new(loaded.config),
            keys,
        }
    }
}

/// Returns the keys whose value is another now, and those that are gone.
fn changed_keys(before: &[Setting], now: &[Setting]) -> Vec<String> {
    let of = |settings: &[Setting], key: &str| {
        let found = settings.iter().find(|setting| setting.key == key);
        found.map(|setting| setting.value.clone())
    };
    let is_other = |key: &&str| of(before, key) != of(now, key);
    let gone = before
        .iter()
        .filter(|setting| of(now, &setting.key).is_none());
    let keys = now.iter().chain(gone).map(|setting| setting.key.as_str());
    keys.filter(is_other).map(str::to_owned).collect()
}

/// The settings may name what is nobody's business.
impl std::fmt::Debug for ConfigWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigWatch")
            .field("file", &self.file)
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}

async fn hangup(hangups: &mut Option<Signal>) {
    match hangups {
        Some(hangups) => {
            hangups.recv().await;
        }
        None => std::future::pending().await,
    }
}

fn stamp(file: &std::path::Path) -> Stamp {
    let found = fs::metadata(file).ok()?;
    Some((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tempfile::TempDir;

    use super::*;
    use crate::{
        config::{self, FlagLayer},
        surroundings::Surroundings,
    };

    /// A site, whose configuration is read as a daemon reads it.
    fn watched(text: &str) -> (TempDir, PathBuf, ConfigWatch) {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("onsave.toml");
        fs::write(&file, text).unwrap();
        let surroundings = Surroundings {
            working_folder: folder.path().to_owned(),
            variables: [("USER".into(), "ann".into())].into(),
            ..Surroundings::of_process().unwrap()
        };
        let load: Load = Arc::new(move || config::load(&surroundings, &FlagLayer::new(None)));
        let settings = load().unwrap().settings;
        let watch = ConfigWatch::new(load, file.clone(), settings);
        (folder, file, watch)
    }

    fn save(file: &Path, text: &str) {
        let new = file.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, file).unwrap();
    }

    #[tokio::test]
    async fn a_changed_file_is_read_and_compared() {
        let (_folder, file, mut watch) = watched("[publish]\nstrict = false\n");
        save(&file, "[publish]\nstrict = true\n[watch]\nquiet_ms = 30\n");
        let Reread::Changed { config, mut keys } = watch.next().await.unwrap() else {
            panic!("it is another");
        };
        keys.sort_unstable();
        assert_eq!(keys, ["publish.strict", "watch.quiet_ms"]);
        assert!(config.publish.strict);
        save(
            &file,
            "# the same\n[publish]\nstrict = true\n[watch]\nquiet_ms = 30\n",
        );
        assert!(matches!(watch.next().await.unwrap(), Reread::Same));
        save(&file, "[publish]\nstrikt = true\n");
        assert!(matches!(watch.next().await.unwrap(), Reread::Faulty(_)));
        // What holds is still what was read before the fault.
        save(&file, "[publish]\nstrict = true\n");
        let Reread::Changed { keys, .. } = watch.next().await.unwrap() else {
            panic!("it is another");
        };
        assert_eq!(keys, ["watch.quiet_ms"]);
    }
}
