//! What onsave remembers on this machine: the layout of the state folder, and the local secret.
//!
//! ```text
//! $XDG_STATE_HOME/onsave/<site key>/     (~/.local/state/onsave/… by default; 0700)
//!     secret          the local target's secret: 64 hex digits and a line feed; 0600
//!     fly-secret      the secret that the app on Fly.io is known to take; as above
//!     fly-secret.next the one that it is about to take
//!     fly.json        what was made on Fly.io
//!     fly.lock        held while something is made there
//!     lock            held while a secret is made
//!     watch.lock      held by the daemon of the site
//!     build.log       what the last run of the build command said
//!     build.lock      held while it runs
//!     stat-index      the scan's cache of digests
//!     control.sock    where the daemon listens for its commands
//!     control-token   what the daemon's API is asked with over an address; as `secret`
//!     open.html       leads a browser to the dashboard; 0600, since it holds the token
//!     last-publish    what the last publish left on the target
//!     hooks/          events from outside, what became of each, and which document has which file
//!     build-events.json   what the run of the build command under way is told
//!     deliveries/     what is still to be told of publishes, and what was told
//! ```
//!
//! The site key is the site's folder name, for people, and a hash of its absolute path, so that
//! two sites of one name stay apart. This module owns the names of all of it, the making of the
//! folders, and the contents of `secret`; the other files belong to the modules that write them.
//! It also makes the folder of the local target's volume, which git must not see.
//!
//! The secret appears whole or not at all, and two processes that race for it get the same one.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use onsave_protocol::{Secret, Sha256Digest, digest};

use crate::{
    durable_file::{self, Readers},
    surroundings::Surroundings,
};

/// The folder beside the configuration that holds the local volume by default.
pub const DATA_FOLDER: &str = ".onsave";

/// 256 bits: as long as the digest that it keys.
const SECRET_BYTES: usize = 32;

/// Enough of the hash to keep a machine's sites apart, and short enough for a listing.
const KEY_HASH_DIGITS: usize = 12;

/// The state folder of one site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteState {
    folder: PathBuf,
}

/// The state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Neither `XDG_STATE_HOME` nor a home folder is known.
    #[error("there is no home folder to keep state in")]
    NoHome,
    /// A folder could not be made.
    #[error("failed to make the folder {}", path.display())]
    MakeFolder {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A file could not be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A file could not be written.
    #[error("failed to write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The secret file holds something else.
    #[error("{} does not hold a secret that onsave made", path.display())]
    DamagedSecret {
        /// The file.
        path: PathBuf,
    },
    /// The system gave no random bytes.
    #[error("failed to get random bytes for a secret")]
    Random(#[source] getrandom::Error),
}

impl StateError {
    /// Returns what the user can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoHome => {
                "set XDG_STATE_HOME to an absolute folder that you may write to".to_owned()
            }
            Self::MakeFolder { path, .. } | Self::Write { path, .. } => format!(
                "make {} writable for you, or set XDG_STATE_HOME to another absolute folder",
                path.parent().unwrap_or(path).display()
            ),
            Self::Read { path, .. } => format!("make {} readable for you", path.display()),
            Self::DamagedSecret { path } => {
                format!("remove {}; a new one is made at once", path.display())
            }
            Self::Random(_) => "the system's random source must work first".to_owned(),
        }
    }
}

impl SiteState {
    /// Returns the state folder of the site whose configuration stands in `root`.
    ///
    /// `root` is absolute and canonical: another spelling is another site. Nothing is made yet.
    ///
    /// # Errors
    ///
    /// [`StateError::NoHome`] when there is no place for it.
    pub fn locate(surroundings: &Surroundings, root: &Path) -> Result<Self, StateError> {
        // The XDG specification says to ignore a relative path.
        let given = surroundings
            .variable("XDG_STATE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute());
        let home = || Some(surroundings.home.as_ref()?.join(".local/state"));
        let state_home = given.or_else(home).ok_or(StateError::NoHome)?;
        Ok(Self {
            folder: state_home.join("onsave").join(site_key(root)),
        })
    }

    /// Returns the folder itself.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns where the local target's secret is.
    #[must_use]
    pub fn secret_file(&self) -> PathBuf {
        self.folder.join("secret")
    }

    /// Returns where the secret is that the app on Fly.io is known to take.
    #[must_use]
    pub fn fly_secret_file(&self) -> PathBuf {
        self.folder.join("fly-secret")
    }

    fn next_fly_secret_file(&self) -> PathBuf {
        self.folder.join("fly-secret.next")
    }

    /// Returns where it is remembered what was made on Fly.io.
    #[must_use]
    pub fn fly_record(&self) -> PathBuf {
        self.folder.join("fly.json")
    }

    /// Returns where the output of the last run of the build command is.
    #[must_use]
    pub fn build_log(&self) -> PathBuf {
        self.folder.join("build.log")
    }

    /// Returns where the scan keeps its stat index.
    #[must_use]
    pub fn stat_index(&self) -> PathBuf {
        self.folder.join("stat-index")
    }

    /// Returns where versions of files are kept that the server has.
    #[must_use]
    pub fn kept_versions(&self) -> PathBuf {
        self.folder.join("versions")
    }

    /// Returns where the daemon of the site listens for its commands.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.folder.join("control.sock")
    }

    /// Returns where the token of the daemon's API is.
    #[must_use]
    pub fn control_token_file(&self) -> PathBuf {
        self.folder.join("control-token")
    }

    /// Returns the token of the daemon's API; makes it first where there is none.
    ///
    /// # Errors
    ///
    /// [`StateError`] when it cannot be read or made.
    pub fn control_token(&self) -> Result<Secret, StateError> {
        self.secret_in(&self.control_token_file())
    }

    /// Writes the page that leads a browser to the dashboard, for its owner alone, and returns where.
    ///
    /// # Errors
    ///
    /// [`StateError::Write`].
    pub fn write_opening_page(&self, text: &str) -> Result<PathBuf, StateError> {
        let path = self.folder.join("open.html");
        match durable_file::replace(&path, text.as_bytes(), Readers::Owner) {
            Ok(()) => Ok(path),
            Err(source) => Err(StateError::Write { path, source }),
        }
    }

    /// Returns where the publisher keeps what it last published.
    #[must_use]
    pub fn last_publish(&self) -> PathBuf {
        self.folder.join("last-publish")
    }

    /// Returns where the hooks keep their events, and remember their documents.
    #[must_use]
    pub fn hooks_folder(&self) -> PathBuf {
        self.folder.join("hooks")
    }

    /// Returns where the events of the run under way are, for the build command.
    #[must_use]
    pub fn build_events(&self) -> PathBuf {
        self.folder.join("build-events.json")
    }

    /// Returns the folder of what is still to be told of publishes.
    #[must_use]
    pub fn deliveries(&self) -> PathBuf {
        self.folder.join("deliveries")
    }

    /// Returns where the daemon keeps what it learned of the site's saves.
    #[must_use]
    pub fn rhythm(&self) -> PathBuf {
        self.folder.join("rhythm")
    }

    /// Returns the lock that the site's daemon holds.
    #[must_use]
    pub fn watch_lock(&self) -> PathBuf {
        self.folder.join("watch.lock")
    }

    /// Returns a state folder at a place of the test's choice.
    #[cfg(test)]
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Makes the folder, private to the user, if it is not there.
    ///
    /// # Errors
    ///
    /// [`StateError::MakeFolder`].
    pub fn create(&self) -> Result<(), StateError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(|source| StateError::MakeFolder {
                path: self.folder.clone(),
                source,
            })
    }

    /// Returns the local target's secret; makes it first where there is none.
    ///
    /// # Errors
    ///
    /// [`StateError`] when it cannot be read or made.
    pub fn local_secret(&self) -> Result<Secret, StateError> {
        self.secret_in(&self.secret_file())
    }

    /// Returns the local target's secret, where one was made.
    ///
    /// # Errors
    ///
    /// [`StateError`] when it cannot be read.
    pub fn made_local_secret(&self) -> Result<Option<Secret>, StateError> {
        read_secret(&self.secret_file())
    }

    /// Returns the secret that the app on Fly.io is known to take, where one is remembered.
    ///
    /// # Errors
    ///
    /// [`StateError`] when it cannot be read.
    pub fn fly_secret(&self) -> Result<Option<Secret>, StateError> {
        read_secret(&self.fly_secret_file())
    }

    /// Returns the secret that the app on Fly.io is about to take, where a change was begun.
    ///
    /// # Errors
    ///
    /// [`StateError`] when it cannot be read.
    pub fn next_fly_secret(&self) -> Result<Option<Secret>, StateError> {
        read_secret(&self.next_fly_secret_file())
    }

    /// Returns the secret that the app on Fly.io is about to take; makes it first where no change was
    /// begun. It is durable before anybody else hears of it.
    ///
    /// # Errors
    ///
    /// [`StateError`] when it cannot be read or made.
    pub fn begin_fly_secret(&self) -> Result<Secret, StateError> {
        self.secret_in(&self.next_fly_secret_file())
    }

    /// Notes that the app takes the secret of [`SiteState::begin_fly_secret`] now.
    ///
    /// # Errors
    ///
    /// [`StateError::Write`].
    pub fn finish_fly_secret(&self) -> Result<(), StateError> {
        let path = self.fly_secret_file();
        let renamed = fs::rename(self.next_fly_secret_file(), &path)
            .and_then(|()| File::open(&self.folder)?.sync_all());
        renamed.map_err(|source| StateError::Write { path, source })
    }

    /// Forgets everything about the app on Fly.io; that there is nothing is as good.
    ///
    /// # Errors
    ///
    /// [`StateError::Write`].
    pub fn forget_fly(&self) -> Result<(), StateError> {
        for path in [
            self.fly_record(),
            self.next_fly_secret_file(),
            self.fly_secret_file(),
        ] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result.map_err(|source| StateError::Write { path, source })?,
            }
        }
        Ok(())
    }

    /// Returns the lock of whoever changes the app on Fly.io, or nothing while another process has it;
    /// given back when it is dropped, also by a crash.
    ///
    /// # Errors
    ///
    /// [`StateError`] when the lock's file cannot be made.
    pub fn try_lock_fly(&self) -> Result<Option<File>, StateError> {
        self.try_lock("fly.lock")
    }

    /// Returns the lock of whoever runs the build command, or nothing while another process has it;
    /// given back when it is dropped, also by a crash.
    ///
    /// # Errors
    ///
    /// [`StateError`] when the lock's file cannot be made.
    pub fn try_lock_build(&self) -> Result<Option<File>, StateError> {
        self.try_lock("build.lock")
    }

    fn try_lock(&self, name: &str) -> Result<Option<File>, StateError> {
        self.create()?;
        let path = self.folder.join(name);
        let error = |source| StateError::Write {
            path: path.clone(),
            source,
        };
        let file = private_file(&path).map_err(error)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(error(source)),
        }
    }

    /// Returns the secret in a file of the state folder; makes it first where there is none.
    fn secret_in(&self, path: &Path) -> Result<Secret, StateError> {
        if let Some(secret) = read_secret(path)? {
            return Ok(secret);
        }
        self.create()?;
        let lock = self.folder.join("lock");
        let write_error = |path: &Path| {
            let path = path.to_owned();
            |source| StateError::Write { path, source }
        };
        // Released when the file is closed, also by a crash.
        let held = private_file(&lock).map_err(write_error(&lock))?;
        held.lock().map_err(write_error(&lock))?;
        // Another process may have made it while this one waited.
        if let Some(secret) = read_secret(path)? {
            return Ok(secret);
        }
        let mut bytes = [0; SECRET_BYTES];
        getrandom::fill(&mut bytes).map_err(StateError::Random)?;
        let text = digest::hex(&bytes);
        let text = format!("{text}\n");
        durable_file::replace(path, text.as_bytes(), Readers::Owner).map_err(write_error(path))?;
        read_secret(path)?.ok_or_else(|| StateError::DamagedSecret {
            path: path.to_owned(),
        })
    }
}

fn read_secret(path: &Path) -> Result<Option<Secret>, StateError> {
    let path = path.to_owned();
    let mut text = String::new();
    // One byte more than a secret with its line feed is enough to see that it is none.
    let most = SECRET_BYTES as u64 * 2 + 2;
    match File::open(&path).and_then(|file| file.take(most).read_to_string(&mut text)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(StateError::DamagedSecret { path });
        }
        Err(source) => return Err(StateError::Read { path, source }),
    }
    let text = text.trim();
    if text.len() != SECRET_BYTES * 2 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(StateError::DamagedSecret { path });
    }
    Ok(Secret::from_text(text).ok())
}

/// Makes the folder of the local target's volume, and hides it from git where it is ours.
///
/// Only `.onsave/` beside the configuration is ours; in a folder that the user chose, nothing but
/// the volume is written.
///
/// # Errors
///
/// [`StateError`] when a folder or the `.gitignore` cannot be made.
pub fn create_volume_folder(root: &Path, volume: &Path) -> Result<(), StateError> {
    fs::create_dir_all(volume).map_err(|source| StateError::MakeFolder {
        path: volume.to_owned(),
        source,
    })?;
    let data = root.join(DATA_FOLDER);
    if !volume.starts_with(&data) {
        return Ok(());
    }
    let path = data.join(".gitignore");
    match File::create_new(&path).and_then(|mut file| file.write_all(b"*\n")) {
        // A file that is there is the user's, whatever it says.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.map_err(|source| StateError::Write { path, source }),
    }
}

/// The part of the key for people keeps to letters that are safe in every file name.
fn site_key(root: &Path) -> String {
    let digest = Sha256Digest::of(root.as_os_str().as_encoded_bytes()).to_hex();
    let name = crate::config::app_name_of(root);
    format!("{name}-{}", &digest[..KEY_HASH_DIGITS])
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, thread};

    use tempfile::TempDir;

    use super::*;
    use crate::surroundings::Stream;

    fn surroundings(home: Option<&Path>, state_home: Option<&str>) -> Surroundings {
        Surroundings {
            variables: state_home
                .map(|value| ("XDG_STATE_HOME".into(), value.into()))
                .into_iter()
                .collect(),
            working_folder: "/".into(),
            home: home.map(Path::to_owned),
            host: "desk".to_owned(),
            stderr: Stream::Other,
            program: None,
        }
    }

    fn state_in(home: &TempDir) -> SiteState {
        SiteState::locate(&surroundings(Some(home.path()), None), Path::new("/x/Blog")).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_place_follows_the_xdg_rules() {
        let root = Path::new("/home/ann/My Blog");
        let home = Some(Path::new("/home/ann"));
        let folder = |state_home| {
            let state = SiteState::locate(&surroundings(home, state_home), root).unwrap();
            state.folder().to_str().unwrap().to_owned()
        };
        let default = folder(None);
        let key = default
            .strip_prefix("/home/ann/.local/state/onsave/")
            .unwrap();
        let hash = key.strip_prefix("my-blog-").unwrap();
        assert_eq!(hash.len(), KEY_HASH_DIGITS);
        assert_eq!(folder(Some("")), default);
        assert_eq!(folder(Some("relative")), default);
        assert_eq!(folder(Some("/state")), format!("/state/onsave/{key}"));
        assert!(matches!(
            SiteState::locate(&surroundings(None, None), root),
            Err(StateError::NoHome)
        ));
    }

    #[test]
    fn sites_of_one_name_stay_apart() {
        assert_ne!(
            site_key(Path::new("/a/site")),
            site_key(Path::new("/b/site"))
        );
        assert_eq!(
            site_key(Path::new("/a/site")),
            site_key(Path::new("/a/site"))
        );
    }

    #[test]
    fn the_secret_is_private_random_and_kept() {
        let home = TempDir::new().unwrap();
        let state = state_in(&home);
        let secret = state.local_secret().unwrap();
        assert_eq!(secret.expose().len(), 64);
        assert_eq!(state.local_secret().unwrap(), secret);
        assert_eq!(mode(&state.secret_file()), 0o600);
        assert_eq!(mode(state.folder()), 0o700);
        let names: Vec<_> = fs::read_dir(state.folder())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names.len(), 2, "only the secret and the lock: {names:?}");
        let other = TempDir::new().unwrap();
        assert_ne!(state_in(&other).local_secret().unwrap(), secret);
    }

    #[test]
    fn racing_processes_agree() {
        let home = TempDir::new().unwrap();
        let state = state_in(&home);
        let secrets: Vec<_> = thread::scope(|scope| {
            let racers: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| state.local_secret().unwrap()))
                .collect();
            racers
                .into_iter()
                .map(|racer| racer.join().unwrap())
                .collect()
        });
        assert!(secrets.iter().all(|secret| *secret == secrets[0]));
    }

    #[test]
    fn a_crash_before_the_rename_leaves_nothing_behind() {
        let home = TempDir::new().unwrap();
        let state = state_in(&home);
        state.create().unwrap();
        let half = state.secret_file().with_added_extension("new");
        fs::write(&half, "half a secr").unwrap();
        let secret = state.local_secret().unwrap();
        assert_eq!(secret.expose().len(), 64);
        assert!(!half.exists());
    }

    #[test]
    fn a_damaged_secret_is_refused_and_not_printed() {
        for contents in ["", "short", &"g".repeat(64), &"ab".repeat(40)] {
            let home = TempDir::new().unwrap();
            let state = state_in(&home);
            state.create().unwrap();
            fs::write(state.secret_file(), contents).unwrap();
            let error = state.local_secret().unwrap_err();
            assert!(matches!(error, StateError::DamagedSecret { .. }));
            assert!(error.hint().contains("remove"));
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let home = TempDir::new().unwrap();
        fs::write(home.path().join(".local"), "a file in the way").unwrap();
        let error = state_in(&home).create().unwrap_err();
        assert!(error.to_string().contains("/.local/state/onsave/blog-"));
        assert!(error.hint().contains("XDG_STATE_HOME"));
    }

    #[test]
    fn git_does_not_see_our_own_volume() {
        let root = TempDir::new().unwrap();
        let ignored = root.path().join(".onsave/.gitignore");
        create_volume_folder(root.path(), &root.path().join("elsewhere")).unwrap();
        assert!(!ignored.exists());
        let volume = root.path().join(".onsave/volume");
        create_volume_folder(root.path(), &volume).unwrap();
        assert!(volume.is_dir());
        assert_eq!(fs::read_to_string(&ignored).unwrap(), "*\n");
        fs::write(&ignored, "mine").unwrap();
        create_volume_folder(root.path(), &volume).unwrap();
        assert_eq!(fs::read_to_string(&ignored).unwrap(), "mine");
    }

    #[test]
    fn one_process_at_a_time_changes_the_app() {
        let home = TempDir::new().unwrap();
        let state = state_in(&home);
        let held = state.try_lock_fly().unwrap().unwrap();
        assert!(state.try_lock_fly().unwrap().is_none());
        drop(held);
        assert!(state.try_lock_fly().unwrap().is_some());
    }

    #[test]
    fn a_change_of_the_apps_secret_is_begun_and_finished() {
        let home = TempDir::new().unwrap();
        let state = state_in(&home);
        assert_eq!(state.fly_secret().unwrap(), None);
        assert_eq!(state.next_fly_secret().unwrap(), None);
        let first = state.begin_fly_secret().unwrap();
        // Begun again after a crash, it is the same one.
        assert_eq!(state.begin_fly_secret().unwrap().expose(), first.expose());
        assert_eq!(state.fly_secret().unwrap(), None);
        state.finish_fly_secret().unwrap();
        let known = state.fly_secret().unwrap().unwrap();
        assert_eq!(known.expose(), first.expose());
        assert_eq!(state.next_fly_secret().unwrap(), None);
        assert_eq!(mode(&state.fly_secret_file()), 0o600);
        let second = state.begin_fly_secret().unwrap();
        assert_ne!(second.expose(), first.expose());
        state.forget_fly().unwrap();
        assert_eq!(state.fly_secret().unwrap(), None);
        assert_eq!(state.next_fly_secret().unwrap(), None);
        state.forget_fly().unwrap();
    }
}
