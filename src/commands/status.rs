//! `onsave status`, `onsave pause`, `onsave resume`: what a running daemon says, and whether it
//! publishes saves.

use std::{fmt::Write as _, io::Write};

use hyper::Method;
use jiff::{Timestamp, tz::TimeZone};

use super::CommandError;
use crate::{
    cli::StatusArgs,
    control::{
        client::ControlClient,
        status::{Change, ChangedPath, PublishRecord, Status},
    },
    state_folder::SiteState,
};

/// Publishes that are shown to a person.
const SHOWN: usize = 5;

/// Runs `status`, and returns what to print; with `--watch`, prints by itself until the daemon ends.
///
/// # Errors
///
/// [`CommandError`].
pub(super) async fn run(
    args: &StatusArgs,
    state: &SiteState,
    out: &mut dyn Write,
) -> Result<String, CommandError> {
    let mut client = ControlClient::connect(&state.control_socket()).await?;
    if args.watch {
        client
            .follow::<CommandError>(|status| {
                out.write_all(line(&status, args.json).as_bytes())?;
                Ok(out.flush()?)
            })
            .await?;
        return Ok(String::new());
    }
    let status = client.status().await?;
    Ok(if args.json {
        super::json_line(&status)
    } else {
        text(&status, &TimeZone::system())
    })
}

/// Runs `pause` or `resume`, and returns what to print.
///
/// # Errors
///
/// [`CommandError`].
pub(super) async fn switch(
    path: &'static str,
    json: bool,
    state: &SiteState,
) -> Result<String, CommandError> {
    let mut client = ControlClient::connect(&state.control_socket()).await?;
    let status: Status = client.ask(Method::POST, path, Vec::new()).await?;
    Ok(if json {
        super::json_line(&status)
    } else if status.paused {
        format!(
            "paused: saves of {} are not published until `onsave resume`\n",
            status.app
        )
    } else {
        format!("saves of {} are published\n", status.app)
    })
}

/// One line for each change: for a person who looks on.
fn line(status: &Status, json: bool) -> String {
    if json {
        return super::json_line(status);
    }
    let time = time(status.since_unix_ms, &TimeZone::system());
    format!("{time}  {}\n", state(status))
}

fn state(status: &Status) -> String {
    let mut text = status.state.word().to_owned();
    if let Some(detail) = &status.detail {
        text.push_str(": ");
        text.push_str(detail);
    }
    text
}

fn text(status: &Status, zone: &TimeZone) -> String {
    let mut text = format!(
        "{}  {}, since {}\n{}\nwatching {} (process {}, onsave {})\n",
        status.app,
        state(status),
        time(status.since_unix_ms, zone),
        status.url,
        status.dir,
        status.pid,
        status.version,
    );
    if let Some(address) = &status.address {
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "dashboard at {address} (`onsave open` opens it)");
    }
    if !status.publishes.is_empty() {
        text.push_str("last publishes:\n");
    }
    for publish in status.publishes.iter().take(SHOWN) {
        // Writing to a string cannot fail.
        let _infallible = writeln!(
            text,
            "  {}  {:>6} ms  {}",
            time(publish.at_unix_ms, zone),
            publish.took_ms,
            what(publish)
        );
    }
    text
}

fn what(publish: &PublishRecord) -> String {
    let files = publish.added + publish.changed + publish.removed;
    if files <= publish.paths.len() && files <= 3 {
        let names: Vec<String> = publish.paths.iter().map(name).collect();
        names.join(", ")
    } else {
        format!(
            "{} added, {} changed, {} removed",
            publish.added, publish.changed, publish.removed
        )
    }
}

fn name(changed: &ChangedPath) -> String {
    match changed.change {
        Change::Added | Change::Changed => changed.path.clone(),
        Change::Removed => format!("-{}", changed.path),
    }
}

pub(super) fn time(unix_ms: u64, zone: &TimeZone) -> String {
    let timestamp = i64::try_from(unix_ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok());
    timestamp.map_or_else(
        || "?".to_owned(),
        |time| {
            let local = time.to_zoned(zone.clone());
            local.strftime("%H:%M:%S").to_string()
        },
    )
}

/// A daemon that is not there is no failure of the output.
impl From<crate::control::client::ControlError> for CommandError {
    fn from(error: crate::control::client::ControlError) -> Self {
        Self::Control(error)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::control::status::StateWord;

    #[test]
    fn a_person_sees_the_state_and_the_last_publishes() {
        let publish = |added, paths: &[&str]| PublishRecord {
            deploy_id: "1".into(),
            at_unix_ms: 1_777_000_000_000,
            took_ms: 34,
            settle_ms: 26.0,
            scan_ms: 2.5,
            send_ms: 5.5,
            server_ms: None,
            added,
            changed: 0,
            removed: 0,
            sent_bytes: 10,
            paths: paths
                .iter()
                .map(|path| ChangedPath {
                    path: (*path).to_owned(),
                    change: Change::Added,
                })
                .collect(),
        };
        let status = Status {
            version: "0.1.0".into(),
            pid: 7,
            app: "my-site".into(),
            dir: "/site/deploy".into(),
            url: "https://my-site.fly.dev".into(),
            address: Some("http://127.0.0.1:4747".into()),
            live: None,
            state: StateWord::Held,
            detail: Some("would remove 11 of 12 files".into()),
            since_unix_ms: 1_777_000_000_000,
            paused: false,
            held: None,
            publishes: vec![
                Arc::new(publish(1, &["index.html"])),
                Arc::new(publish(12, &["a", "b"])),
            ],
        };
        assert_eq!(
            text(&status, &TimeZone::UTC),
            "my-site  held: would remove 11 of 12 files, since 03:06:40\n\
             https://my-site.fly.dev\n\
             watching /site/deploy (process 7, onsave 0.1.0)\n\
             dashboard at http://127.0.0.1:4747 (`onsave open` opens it)\n\
             last publishes:\n  \
               03:06:40      34 ms  index.html\n  \
               03:06:40      34 ms  12 added, 0 changed, 0 removed\n"
        );
    }
}
