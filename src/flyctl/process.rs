//! One run of flyctl: no shell, its output kept, a limit of time, and an end with whoever waits.
//!
//! Knows nothing of what is asked. What is written to its input is not kept.

use std::{collections::BTreeMap, ffi::OsString, io, path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{ChildStdin, Command},
    time::timeout,
};

/// How much of each output is kept, in bytes; the rest is read and forgotten.
const KEPT: usize = 1024 * 1024;

/// How long output is read on after the end: a program that it started may hold the pipe open.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// What is run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run<'a> {
    pub(super) program: &'a Path,
    pub(super) arguments: &'a [OsString],
    /// Nothing of the caller's environment besides.
    pub(super) variables: &'a BTreeMap<OsString, OsString>,
    /// What it reads.
    pub(super) input: Option<&'a [u8]>,
    pub(super) limit: Duration,
}

/// What it said.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) is_success: bool,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Why there is no end that could be told.
#[derive(Debug)]
pub(super) enum RunError {
    /// It could not be started, or not be waited for.
    Start(io::Error),
    /// It took longer than its limit, and was ended; what it said until then.
    TooSlow(Said),
}

/// Runs a program to its end; dropped before, it ends the program.
pub(super) async fn run(run: Run<'_>) -> Result<Said, RunError> {
    let mut child = Command::new(run.program)
        .args(run.arguments)
        .env_clear()
        .envs(run.variables)
        // No `fly.toml` is here that it could take for its own.
        .current_dir("/")
        .stdin(match run.input {
            Some(_) => Stdio::piped(),
            None => Stdio::null(),
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(RunError::Start)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut said = Said::default();
    let ended = timeout(run.limit, async {
        let talking = async {
            tokio::join!(
                feed(stdin, run.input),
                keep(stdout, &mut said.stdout),
                keep(stderr, &mut said.stderr),
            );
        };
        tokio::pin!(talking);
        // Both can be dropped at any time: a wait that is begun anew finds the same end.
        tokio::select! {
            () = &mut talking => child.wait().await,
            status = child.wait() => {
                timeout(AFTERWARDS, talking).await.ok();
                status
            }
        }
    })
    .await;
    match ended {
        Ok(Ok(status)) => {
            said.is_success = status.success();
            Ok(said)
        }
        Ok(Err(error)) => Err(RunError::Start(error)),
        Err(_) => Err(RunError::TooSlow(said)),
    }
}

/// Writes the input; a program that does not read it ends with an error of its own.
async fn feed(stdin: Option<ChildStdin>, input: Option<&[u8]>) {
    if let (Some(mut stdin), Some(input)) = (stdin, input) {
        stdin.write_all(input).await.ok();
    }
}

/// Reads to the end, and keeps the beginning.
async fn keep(from: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut from) = from else {
        return;
    };
    // On the heap: several runs are waited for at once.
    let mut piece = vec![0; 4096];
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        let room = KEPT.saturating_sub(kept.len());
        kept.extend_from_slice(&piece[..count.min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str, input: Option<&[u8]>, limit: Duration) -> Result<Said, RunError> {
        run(Run {
            program: Path::new("/bin/sh"),
            arguments: &["-c".into(), script.into()],
            variables: &BTreeMap::from([("NAME".into(), "value".into())]),
            input,
            limit,
        })
        .await
    }

    const LONG: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn output_input_and_environment_are_its_own() {
        let script = "cat; echo \"$NAME $HOME\" >&2; pwd";
        let said = shell(script, Some(b"from here\n"), LONG).await.unwrap();
        assert!(said.is_success);
        assert_eq!(said.stdout, b"from here\n/\n");
        assert_eq!(said.stderr, b"value \n");
    }

    #[tokio::test]
    async fn a_failure_is_no_error_of_the_run() {
        let said = shell("echo no >&2; exit 3", Some(b"unread"), LONG)
            .await
            .unwrap();
        assert!(!said.is_success);
        assert_eq!(said.stderr, b"no\n");
    }

    #[tokio::test]
    async fn more_than_is_kept_does_not_block_it() {
        let script = "head -c 3000000 /dev/zero; echo end >&2";
        let said = shell(script, None, LONG).await.unwrap();
        assert!(said.is_success);
        assert_eq!(said.stdout.len(), KEPT);
        assert_eq!(said.stderr, b"end\n");
    }

    #[tokio::test]
    async fn what_takes_too_long_is_ended_and_what_it_said_is_kept() {
        let outcome = shell("echo begun; exec sleep 600", None, Duration::from_secs(1)).await;
        let Err(RunError::TooSlow(said)) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(said.stdout, b"begun\n");
    }

    #[tokio::test]
    async fn a_pipe_that_stays_open_is_not_waited_for() {
        // The child of the shell holds the output until it is told that nobody reads it any more.
        let script = "(while echo x; do sleep 0.1; done) & exit 0";
        let said = shell(script, None, LONG).await.unwrap();
        assert!(said.is_success);
    }

    #[tokio::test]
    async fn what_is_not_there_cannot_be_started() {
        let outcome = run(Run {
            program: Path::new("/nowhere/flyctl"),
            arguments: &[],
            variables: &BTreeMap::new(),
            input: None,
            limit: LONG,
        })
        .await;
        assert!(
            matches!(&outcome, Err(RunError::Start(error)) if error.kind() == io::ErrorKind::NotFound),
            "{outcome:?}"
        );
    }
}
