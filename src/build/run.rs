//! One run of the build command: its processes, its output, its end.
//!
//! The processes are a group of their own, see [`crate::process_group`].
//!
//! A run that somebody outside asked for is told why: the events, as a JSON array, are its standard input
//! and in the file that [`EVENT_FILE_VARIABLE`] names. Every other run has neither.
//!
//! Only one run of a site's build is under way at a time on this machine, whichever process asks.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::io::{FdFlags, fcntl_setfd};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    sync::{Mutex, MutexGuard},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    last_lines::{LastLines, Lines},
    run_log::RunLog,
};
use crate::{
    config::{BuildCommand, BuildConfig, Config},
    process_group::{self, Ending, ProcessGroup, Starting, shown},
    shown::ShownPath,
    state_folder::{SiteState, StateError},
};

/// Pause between two looks whether another process has ended its run.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// The variable that names the file with the events that a run is for.
pub const EVENT_FILE_VARIABLE: &str = "ONSAVE_EVENT_FILE";

/// Why there is no new site.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Another process builds this site, and it cannot be told whether.
    #[error(transparent)]
    Lock(#[from] StateError),
    /// The command could not be started, or its end not be waited for.
    #[error("the build command {program} could not be run")]
    Start {
        /// What was started.
        program: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The command failed.
    #[error("the build failed with {} after {:.1} s", shown(*status), said.took.as_secs_f64())]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        said: Said,
    },
    /// The command took longer than it may.
    #[error("the build was ended after {} s, which is build.timeout_s", limit.as_secs())]
    TooSlow {
        /// The limit.
        limit: Duration,
        /// What it said until then.
        said: Said,
    },
    /// The run was ended by who asked for it.
    #[error("the build was ended before it was done")]
    Stopped,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    /// How long it took.
    pub took: Duration,
    /// The last lines of both outputs.
    pub last_lines: Vec<String>,
    /// The file with all of it.
    pub log: PathBuf,
}

impl BuildError {
    /// Returns what the user can do about it: the last lines say what is wrong.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Lock(error) => Some(error.hint()),
            Self::Start { .. } => Some(
                "the command of build.command has to be installed, and found on PATH; it is run in the \
                 folder of onsave.toml"
                    .to_owned(),
            ),
            Self::Failed { said, .. } | Self::TooSlow { said, .. } => Some(said.text()),
            Self::Stopped => None,
        }
    }
}

impl Said {
    fn text(&self) -> String {
        let log = ShownPath(&self.log);
        if self.last_lines.is_empty() {
            return "it said nothing".to_owned();
        }
        let lines = self.last_lines.join("\n  ");
        format!("all it said is in {log}; it ended with\n  {lines}")
    }
}

/// A build command, ready to be run again and again.
#[derive(Debug, Clone)]
pub struct Build {
    command: BuildCommand,
    timeout: Option<Duration>,
    root: PathBuf,
    state: SiteState,
    /// Variables that hold secrets of this site's configuration.
    kept: Vec<String>,
}

/// The file with the events of a run; removed when that is over.
struct EventFile(PathBuf);

impl EventFile {
    fn write(path: PathBuf, events: &[u8]) -> io::Result<Self> {
        // What an earlier run left may be open to its processes still.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // What is told from outside may be meant for its owner only.
        let mut options = File::options();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(events)?;
        Ok(Self(path))
    }
}

impl Drop for EventFile {
    fn drop(&mut self) {
        // One that stays is replaced by the next run.
        let _gone = fs::remove_file(&self.0);
    }
}

impl Build {
    /// Returns the build of a configuration that has one; its log and its lock are in `state`.
    #[must_use]
    pub fn new(config: &Config, build: &BuildConfig, state: &SiteState) -> Self {
        Self {
            command: build.command.clone(),
            timeout: build.timeout,
            root: config.root.clone(),
            state: state.clone(),
            kept: config.secret_variables(),
        }
    }

    /// Runs the command to its end, and tells each line that it writes; returns how long it took.
    ///
    /// `events` are what it is told, as a JSON array; none where nobody outside asked for it.
    ///
    /// Once `stop` is cancelled, ends the command with all that it started. Dropped before its end, it
    /// kills them.
    ///
    /// # Errors
    ///
    /// [`BuildError`]; whatever was written stays as it is.
    pub async fn run(
        &self,
        events: Option<&[u8]>,
        stop: &CancellationToken,
    ) -> Result<Duration, BuildError> {
        let lock = self.lock(stop).await?;
        let started = Instant::now();
        tracing::info!("building");
        let start_error = |source| BuildError::Start {
            program: self.program().to_owned(),
            source,
        };
        let event_file = events
            .map(|events| EventFile::write(self.state.build_events(), events))
            .transpose()
            .map_err(start_error)?;
        let file = event_file.as_ref().map(|EventFile(path)| path.as_path());
        let stdin = match file {
            // The file itself, so that nothing has to be fed to a command that does not read.
            Some(path) => Stdio::from(File::open(path).map_err(start_error)?),
            None => Stdio::null(),
        };
        let group = lock.lent(|| {
            ProcessGroup::start(Starting {
                command: &self.command,
                folder: &self.root,
                stdin,
                kept: &self.kept,
                variables: &[(EVENT_FILE_VARIABLE, file)],
            })
        });
        let mut running = group.map_err(start_error)?;
        let listener = Mutex::new(Listener {
            log: RunLog::begin(self.state.build_log()).await,
            last: LastLines::default(),
        });
        let (stdout, stderr) = (running.child.stdout.take(), running.child.stderr.take());
        let talking = async {
            tokio::join!(
                listen(stdout, "stdout", &listener),
                listen(stderr, "stderr", &listener),
            );
        };
        let (ended, status) = running.wait(talking, stop, self.timeout).await;
        let status = status.map_err(start_error)?;
        let Listener { log, last } = listener.into_inner();
        let said = Said {
            took: started.elapsed(),
            last_lines: last.into_lines(),
            log: self.state.build_log(),
        };
        log.end(&said.last_lines).await;
        match ended {
            Ending::Asked => Err(BuildError::Stopped),
            Ending::TooSlow(limit) => Err(BuildError::TooSlow { limit, said }),
            Ending::ByItself if status.success() => Ok(said.took),
            Ending::ByItself => Err(BuildError::Failed { status, said }),
        }
    }

    fn program(&self) -> &str {
        process_group::program(&self.command)
    }

    /// Waits until no other process runs the build of this site.
    async fn lock(&self, stop: &CancellationToken) -> Result<RunLock, BuildError> {
        let mut is_told = false;
        loop {
            if stop.is_cancelled() {
                return Err(BuildError::Stopped);
            }
            if let Some(lock) = self.state.try_lock_build()? {
                return Ok(RunLock(lock));
            }
            if !is_told {
                is_told = true;
                tracing::info!("another onsave builds this site; waiting for its end");
            }
            sleep(LOCK_PAUSE).await;
        }
    }
}

/// Held while a run is under way.
///
/// What is started has it as well: where this program is killed, its command goes on, and the next
/// program's runs wait for that. What a command leaves behind after its end holds up nobody.
struct RunLock(File);

impl RunLock {
    /// Starts something that has the lock too. What another thread starts in the same moment has it as
    /// well, until this run ends.
    fn lent<T>(&self, start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        fcntl_setfd(&self.0, FdFlags::empty())?;
        let started = start();
        fcntl_setfd(&self.0, FdFlags::CLOEXEC)?;
        started
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // For all who have it: closing the file here would leave it to them.
        if let Err(error) = self.0.unlock() {
            tracing::debug!(%error, "the lock of the build cannot be given back");
        }
    }
}

/// What becomes of the output.
struct Listener {
    log: RunLog,
    last: LastLines,
}

/// Tells and keeps one output to its end.
async fn listen(from: Option<impl AsyncRead + Unpin>, stream: &str, listener: &Mutex<Listener>) {
    let Some(mut from) = from else {
        return;
    };
    let mut lines = Lines::default();
    let mut piece = vec![0; 8 * 1024];
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        let bytes = &piece[..count];
        let mut listener = listener.lock().await;
        listener.log.add(bytes).await;
        tell(lines.take(bytes), stream, &mut listener);
    }
    tell(lines.rest(), stream, &mut listener.lock().await);
}

fn tell(
    lines: impl IntoIterator<Item = String>,
    stream: &str,
    listener: &mut MutexGuard<'_, Listener>,
) {
    for line in lines {
        tracing::info!(stream, "{line}");
        listener.last.push(line);
    }
}

#[cfg(test)]
mod tests;
