//! Notifications on the user's desktop, by the program that the desktop has for it.
//!
//! `notify-send` (libnotify) on Linux, `osascript` on a Mac. A desktop that is not there, as on a
//! server, costs one warning and nothing else. What is told is in the arguments of a program, which
//! every user of the machine can read: no secret may be in it.

use std::{ffi::OsStr, io, process::Stdio, time::Duration};

use tokio::{process::Command, task::JoinSet, time::timeout};

use crate::config::KEPT_FROM_BUILDS;

/// A desktop that does not take it by then has no place for it.
const LIMIT: Duration = Duration::from_secs(10);

/// Notifications under way at most; more are left out.
const MOST_AT_ONCE: usize = 4;

/// How much a notification matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Something is over.
    Low,
    /// Somebody should look.
    Normal,
}

/// Tells the desktop; what is under way ends with this value.
#[derive(Debug, Default)]
pub struct Desktop {
    sending: JoinSet<()>,
    is_missing_told: bool,
}

impl Desktop {
    /// Shows a title and a text, without waiting for it; the program does not get the variables in `kept`.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn notify(&mut self, urgency: Urgency, (title, text): (&str, &str), kept: &[String]) {
        while self.sending.try_join_next().is_some() {}
        if self.sending.len() >= MOST_AT_ONCE {
            return;
        }
        let mut command = command(urgency, title, text);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        for name in KEPT_FROM_BUILDS {
            command.env_remove(name);
        }
        for name in kept {
            command.env_remove(name);
        }
        match command.spawn() {
            Ok(mut child) => {
                self.sending.spawn(async move {
                    match timeout(LIMIT, child.wait()).await {
                        Ok(Ok(status)) if status.success() => {}
                        Ok(ended) => tracing::debug!(?ended, "the desktop took no notification"),
                        Err(_) => tracing::debug!("the desktop does not answer"),
                    }
                });
            }
            Err(error) => self.cannot(&error, command.as_std().get_program()),
        }
    }

    fn cannot(&mut self, error: &io::Error, program: &OsStr) {
        if !std::mem::replace(&mut self.is_missing_told, true) {
            tracing::warn!(
                %error,
                "no desktop notifications: {} cannot be started; install it, or set notify.desktop = false",
                program.display()
            );
        }
    }
}

#[cfg(not(target_os = "macos"))]
fn command(urgency: Urgency, title: &str, text: &str) -> Command {
    let urgency = match urgency {
        Urgency::Low => "low",
        Urgency::Normal => "normal",
    };
    let mut command = Command::new("notify-send");
    command
        .args(["--app-name", "onsave", "--urgency", urgency, "--"])
        // The text is shown as markup, where the desktop shows any.
        .args([title, &escaped(text)]);
    command
}

#[cfg(not(target_os = "macos"))]
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(target_os = "macos")]
fn command(_urgency: Urgency, title: &str, text: &str) -> Command {
    let mut command = Command::new("osascript");
    // As arguments and not as part of the script: a path in it may be anything.
    command
        .args(["-e", "on run argv"])
        .args([
            "-e",
            "display notification (item 2 of argv) with title (item 1 of argv)",
        ])
        .args(["-e", "end run", title, text]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(not(target_os = "macos"))]
    #[test]
    fn what_is_told_is_no_option_and_no_markup() {
        let command = command(Urgency::Normal, "--help", "a <b> & c");
        let arguments: Vec<_> = command.as_std().get_args().collect();
        assert_eq!(arguments[4..], ["--", "--help", "a &lt;b&gt; &amp; c"]);
    }
}
