//! `onsave deliveries`: what is still to be told of publishes, and what failed for good.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;

use super::CommandError;
use crate::{
    after_publish::{self, Delivery, DeliveryState, Letters, LettersError, Setup},
    cli::{DeliveriesCommand, DropArgs, ListDeliveriesArgs, ResendArgs},
    config::Config,
    site_lock::SiteLock,
    state_folder::SiteState,
    target::{Purpose, Target},
};

/// How long a command delivers before it leaves the rest to others.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// What `list --json` prints.
#[derive(Debug, Serialize)]
struct Listed {
    deliveries: Vec<Delivery>,
}

/// What `resend --json` prints.
#[derive(Debug, Serialize)]
struct Resent {
    resent: usize,
    /// Those of all entries that were not made yet.
    left: Vec<Delivery>,
}

/// What `drop --json` prints.
#[derive(Debug, Serialize)]
struct Dropped {
    dropped: String,
}

/// Runs the command, and returns what to print.
///
/// # Errors
///
/// [`CommandError`].
pub(super) async fn run(
    command: &DeliveriesCommand,
    config: Config,
    state: &SiteState,
) -> Result<String, CommandError> {
    let letters = Letters::in_folder(&state.deliveries());
    match command {
        DeliveriesCommand::List(args) => Ok(list(args, &letters)?),
        DeliveriesCommand::Resend(args) => resend(args, &letters, (&config, state)).await,
        DeliveriesCommand::Drop(args) => Ok(forget(args, &letters)?),
    }
}

fn list(args: &ListDeliveriesArgs, letters: &Letters) -> Result<String, LettersError> {
    let deliveries = letters.list()?;
    Ok(if args.json {
        super::json_line(&Listed { deliveries })
    } else if deliveries.is_empty() {
        "nothing waits, and nothing failed\n".to_owned()
    } else {
        deliveries
            .iter()
            .map(|delivery| lines(delivery, &TimeZone::system()))
            .collect()
    })
}

fn forget(args: &DropArgs, letters: &Letters) -> Result<String, LettersError> {
    letters.drop(&args.id)?;
    let dropped = args.id.to_string();
    Ok(if args.json {
        super::json_line(&Dropped { dropped })
    } else {
        format!("{dropped} is forgotten\n")
    })
}

async fn resend(
    args: &ResendArgs,
    letters: &Letters,
    (config, state): (&Config, &SiteState),
) -> Result<String, CommandError> {
    let resent = match &args.id {
        Some(id) => letters.resend(id).map(|()| 1),
        None => letters.resend_all(),
    };
    let resent = resent?;
    let is_daemons = resent > 0 && !deliver(config, state).await?;
    let left = letters.list().map_err(LettersError::from)?;
    if args.json {
        return Ok(super::json_line(&Resent { resent, left }));
    }
    let what = match (&args.id, resent) {
        (Some(id), _) => id.to_string(),
        (None, 0) => return Ok("nothing failed\n".to_owned()),
        (None, 1) => "one delivery".to_owned(),
        (None, count) => format!("{count} deliveries"),
    };
    let text = if is_daemons {
        format!("{what}: the running daemon sends it\n")
    } else {
        format!("{what}: sent again\n")
    };
    let zone = TimeZone::system();
    Ok(text
        + &left
            .iter()
            .map(|delivery| lines(delivery, &zone))
            .collect::<String>())
}

/// Delivers what waits, unless a daemon does; returns whether it was tried here.
async fn deliver(config: &Config, state: &SiteState) -> Result<bool, CommandError> {
    // Only looked at: whoever starts meanwhile shares the queues with this process.
    if SiteLock::try_take(state).map(drop).is_err() {
        return Ok(false);
    }
    let target = Target::open(config, state, Purpose::Look).await?;
    let setup = Setup::of(config, state, &target);
    let delivered = Box::pin(after_publish::deliver_for(&setup, PATIENCE)).await;
    target.close().await?;
    delivered?;
    Ok(true)
}

fn lines(delivery: &Delivery, zone: &TimeZone) -> String {
    let state = match delivery.state {
        DeliveryState::Waiting => "waits",
        DeliveryState::Dead => "failed",
    };
    let time = i64::try_from(delivery.published_unix_ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .map_or_else(String::new, |time| {
            time.to_zoned(zone.clone())
                .strftime("%Y-%m-%d %H:%M:%S")
                .to_string()
        });
    let files = match delivery.files {
        1 => "1 file".to_owned(),
        files => format!("{files} files"),
    };
    let tries = match delivery.attempts {
        0 => String::new(),
        1 => ", tried once".to_owned(),
        tries => format!(", tried {tries} times"),
    };
    let error = delivery.error.as_ref();
    let error = error.map_or_else(String::new, |error| format!("  {error}\n"));
    format!(
        "{:<7}{}  {time}  {files} of {}{tries}\n{error}",
        state, delivery.id, delivery.deploy_id
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_says_what_failed() {
        let delivery = Delivery {
            id: "cms.1777000000000".into(),
            entry: "cms".into(),
            state: DeliveryState::Dead,
            deploy_id: "1776999999999-00000000".into(),
            published_unix_ms: 1_777_000_000_000,
            attempts: 2,
            next_unix_ms: 0,
            error: Some("the answer is 401".into()),
            files: 3,
            paths: vec!["a".into()],
        };
        let expected = "failed cms.1777000000000  2026-04-24 03:06:40  3 files of \
                        1776999999999-00000000, tried 2 times\n  the answer is 401\n";
        assert_eq!(lines(&delivery, &TimeZone::UTC), expected);
    }
}
