//! A command after a publish: the event on its standard input, its output in the log.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    sync::Mutex,
};
use tokio_util::sync::CancellationToken;

use super::{attempt::Attempt, setup::Setup};
use crate::{
    build::last_lines::{LastLines, Lines},
    config::BuildCommand,
    error_report,
    process_group::{self, Ending, ProcessGroup, Starting, shown},
};

/// Runs it to its end; ends it with all that it started once `stop` is cancelled or `limit` is over.
pub(super) async fn run(
    command: &BuildCommand,
    (setup, limit): (&Setup, Duration),
    event: Vec<u8>,
    stop: &CancellationToken,
) -> Attempt {
    let started = ProcessGroup::start(Starting {
        command,
        folder: &setup.root,
        stdin: Stdio::piped(),
        kept: &setup.kept,
        variables: &[],
    });
    let mut group = match started {
        Ok(group) => group,
        Err(error) => {
            let program = process_group::program(command);
            let error = error_report::with_causes(&error);
            return Attempt::later(format!("{program} could not be run: {error}"));
        }
    };
    let last = Mutex::new(LastLines::default());
    let stdin = group.child.stdin.take();
    let (stdout, stderr) = (group.child.stdout.take(), group.child.stderr.take());
    let talking = async {
        let telling = async {
            if let Some(mut stdin) = stdin {
                // A command that does not read is no failure.
                stdin.write_all(&event).await.ok();
            }
        };
        tokio::join!(
            telling,
            listen(stdout, "stdout", &last),
            listen(stderr, "stderr", &last),
        );
    };
    let (ending, status) = group.wait(talking, stop, Some(limit)).await;
    let said = last.into_inner().into_lines().join(" | ");
    let with_said = |what: String| {
        if said.is_empty() {
            what
        } else {
            format!("{what}: {said}")
        }
    };
    match (ending, status) {
        (Ending::Asked, _) => Attempt::Stopped,
        (Ending::TooSlow(limit), _) => Attempt::later(with_said(format!(
            "the command was ended after {} s",
            limit.as_secs()
        ))),
        (Ending::ByItself, Ok(status)) if status.success() => Attempt::Taken,
        (Ending::ByItself, Ok(status)) => Attempt::later(with_said(format!(
            "the command failed with {}",
            shown(status)
        ))),
        (Ending::ByItself, Err(error)) => {
            Attempt::later(format!("the command's end is not known: {error}"))
        }
    }
}

async fn listen(from: Option<impl AsyncRead + Unpin>, stream: &str, last: &Mutex<LastLines>) {
    let Some(mut from) = from else {
        return;
    };
    let mut lines = Lines::default();
    let mut piece = vec![0; 8 * 1024];
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        tell(lines.take(&piece[..count]), stream, last).await;
    }
    tell(lines.rest(), stream, last).await;
}

async fn tell(lines: impl IntoIterator<Item = String>, stream: &str, last: &Mutex<LastLines>) {
    let mut last = last.lock().await;
    for line in lines {
        tracing::info!(stream, "{line}");
        last.push(line);
    }
}
