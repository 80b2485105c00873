//! A configured command and all that it starts: one process group, ended as one.
//!
//! The command is the leader of a process group of its own, so that what it started ends with it, and a
//! terminal's Ctrl-C reaches it only through this program. Its end is waited for without collecting it:
//! until then the group's number cannot be anybody else's, and may be signalled.
//!
//! What a command gets of this program's environment has no secret in it. What becomes of its output is
//! its caller's business.

use std::{
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::{
    process::{Child, Command},
    task::spawn_blocking,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::config::{BuildCommand, KEPT_FROM_BUILDS};

/// How long a command that is asked to end may take, with all that it started.
const GRACE: Duration = Duration::from_secs(3);

/// How long what a command left running may take to end, once the command itself has.
const LEFTOVERS: Duration = Duration::from_millis(500);

/// Why a command is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It ended.
    ByItself,
    /// It was ended by who asked for it.
    Asked,
    /// It took longer than this, and was ended.
    TooSlow(Duration),
}

/// How a command is started.
#[derive(Debug)]
pub(crate) struct Starting<'a> {
    pub(crate) command: &'a BuildCommand,
    pub(crate) folder: &'a Path,
    pub(crate) stdin: Stdio,
    /// Variables that it does not get, besides those of every secret that there is once.
    pub(crate) kept: &'a [String],
    /// Variables that it gets, or does not get whatever this program's environment has.
    pub(crate) variables: &'a [(&'static str, Option<&'a Path>)],
}

/// What was started; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct ProcessGroup {
    /// Its leader; its outputs are there until they are taken.
    pub(crate) child: Child,
    leader: Pid,
    /// Once it is, the group's number may be anybody's.
    is_collected: bool,
}

impl ProcessGroup {
    /// Starts a command in its folder, without the variables of secrets.
    ///
    /// # Errors
    ///
    /// When the program cannot be started.
    pub(crate) fn start(starting: Starting<'_>) -> io::Result<Self> {
        let Starting {
            command,
            folder,
            stdin,
            kept,
            variables,
        } = starting;
        let mut building = match command {
            BuildCommand::Shell(line) => {
                let mut building = Command::new("sh");
                building.arg("-c").arg(line);
                building
            }
            BuildCommand::Program(words) => {
                let mut building = Command::new(program(command));
                building.args(words.get(1..).unwrap_or_default());
                building
            }
        };
        for name in KEPT_FROM_BUILDS {
            building.env_remove(name);
        }
        for name in kept {
            building.env_remove(name);
        }
        for (name, path) in variables {
            match path {
                Some(path) => building.env(name, path),
                None => building.env_remove(name),
            };
        }
        let child = building
            .current_dir(folder)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let leader = id.and_then(Pid::from_raw);
        Ok(Self {
            child,
            leader: leader.ok_or(io::ErrorKind::NotFound)?,
            is_collected: false,
        })
    }

    /// Waits for the end of the command and of `talking`, which listens to its outputs; ends them all
    /// once `stop` is cancelled or `limit` is over.
    pub(crate) async fn wait(
        &mut self,
        talking: impl Future<Output = ()>,
        stop: &CancellationToken,
        limit: Option<Duration>,
    ) -> (Ending, io::Result<ExitStatus>) {
        let leader = self.leader;
        let has_ended = CancellationToken::new();
        let notes_end = has_ended.clone();
        let waiting = spawn_blocking(move || {
            wait_without_collecting(leader);
            notes_end.cancel();
        });
        // Once it is dropped, the output of whatever still runs goes nowhere.
        let all_ended = async {
            tokio::join!(talking, has_ended.cancelled());
        };
        tokio::pin!(all_ended);
        let limit = limit.map(|limit| (Instant::now() + limit, limit));
        let (ending, grace) = tokio::select! {
            // Cancel-safe, all four: what is listened to and waited for stays in its place.
            biased;
            () = stop.cancelled() => (Ending::Asked, GRACE),
            () = &mut all_ended => (Ending::ByItself, Duration::ZERO),
            // What it left running holds the output open.
            () = has_ended.cancelled() => (Ending::ByItself, LEFTOVERS),
            limit = passed(limit) => (Ending::TooSlow(limit), GRACE),
        };
        if !grace.is_zero() {
            self.signal(Signal::TERM);
            timeout(grace, &mut all_ended).await.ok();
        }
        self.signal(Signal::KILL);
        // Only now: the thread that waits must meet a process that is not collected.
        waiting.await.ok();
        let status = self.child.wait().await;
        self.is_collected = true;
        (ending, status)
    }

    fn signal(&self, signal: Signal) {
        if self.is_collected {
            return;
        }
        if let Err(error) = kill_process_group(self.leader, signal) {
            tracing::debug!(%error, ?signal, "the command's processes could not be signalled");
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Returns the program that a command starts.
pub(crate) fn program(command: &BuildCommand) -> &str {
    match command {
        BuildCommand::Shell(_) => "sh",
        BuildCommand::Program(words) => words.first().map_or("", String::as_str),
    }
}

/// Returns how a command ended, for people.
pub(crate) fn shown(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

async fn passed(limit: Option<(Instant, Duration)>) -> Duration {
    match limit {
        Some((at, limit)) => {
            sleep_until(at).await;
            limit
        }
        None => std::future::pending().await,
    }
}

/// Waits until the process has ended, and leaves it to be collected.
fn wait_without_collecting(leader: Pid) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(error) = waitid(WaitId::Pid(leader), options) {
        if error != rustix::io::Errno::INTR {
            tracing::debug!(%error, "the command cannot be waited for");
            return;
        }
    }
}
