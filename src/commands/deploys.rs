//! `onsave deploys`: what the target keeps, newest first, or what one deploy changed.

use std::fmt::Write as _;

use indicatif::HumanBytes;
use jiff::{Timestamp, tz::TimeZone};
use onsave_protocol::{
    DeployId, SitePath,
    wire::v2::{DeployDetail, DeployList, DeploySummary},
};

use super::CommandError;
use crate::{
    cli::DeploysArgs,
    config::Config,
    publish::{PublishError, Publisher},
    state_folder::SiteState,
    target::{Purpose, Target},
};

/// Runs the command, and returns what to print.
///
/// # Errors
///
/// [`CommandError`].
pub(super) async fn run(
    args: &DeploysArgs,
    config: Config,
    state: &SiteState,
) -> Result<String, CommandError> {
    let target = Target::open(&config, state, Purpose::Look).await?;
    let text = text(args, &target).await;
    target.close().await?;
    Ok(text?)
}

async fn text(args: &DeploysArgs, target: &Target) -> Result<String, PublishError> {
    let mut publisher = target.publisher()?;
    match args.id {
        Some(id) => one(&mut publisher, id, args.json).await,
        None => all(&mut publisher, args.json).await,
    }
}

async fn one(publisher: &mut Publisher, id: DeployId, json: bool) -> Result<String, PublishError> {
    let detail = publisher.deploy(id).await?;
    Ok(if json {
        super::json_line(&detail)
    } else {
        detail_text(&detail, &TimeZone::system())
    })
}

async fn all(publisher: &mut Publisher, json: bool) -> Result<String, PublishError> {
    let deploys = publisher.deploys().await?;
    Ok(if json {
        super::json_line(&DeployList { deploys })
    } else if deploys.is_empty() {
        "nothing was published yet\n".into()
    } else {
        table(&deploys, &TimeZone::system())
    })
}

const COLUMNS: [&str; 8] = [
    "", "ID", "TIME", "FILES", "SIZE", "CHANGES", "BY", "MESSAGE",
];

/// Returns the deploys as a table; `*` marks the current one.
fn table(deploys: &[DeploySummary], zone: &TimeZone) -> String {
    let rows: Vec<[String; 8]> = std::iter::once(COLUMNS.map(str::to_owned))
        .chain(deploys.iter().map(|deploy| row(deploy, zone)))
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: [usize; 8] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn row(deploy: &DeploySummary, zone: &TimeZone) -> [String; 8] {
    [
        if deploy.current { "*" } else { "" }.to_owned(),
        deploy.deploy_id.to_string(),
        time(deploy.committed_unix_ms, zone),
        deploy.files.to_string(),
        HumanBytes(deploy.bytes).to_string(),
        format!("+{} -{}", deploy.puts, deploy.removes),
        printable(deploy.published_by.as_deref()),
        printable(deploy.message.as_deref()),
    ]
}

fn detail_text(detail: &DeployDetail, zone: &TimeZone) -> String {
    let summary = &detail.summary;
    let mut text = table(std::slice::from_ref(summary), zone);
    match summary.base_deploy_id {
        Some(base) => writeln!(text, "\nchanges against {base}:"),
        None => writeln!(text, "\nthe first deploy:"),
    }
    .unwrap_or_default();
    push_paths(&mut text, "added", &detail.added);
    push_paths(&mut text, "changed", &detail.changed);
    push_paths(&mut text, "removed", &detail.removed);
    text
}

fn push_paths(text: &mut String, what: &str, paths: &[SitePath]) {
    for path in paths {
        text.push_str(&super::change_line(what, path));
    }
}

/// Returns a time of the server's in this machine's zone.
fn time(unix_ms: u64, zone: &TimeZone) -> String {
    let timestamp = i64::try_from(unix_ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok());
    match timestamp {
        Some(timestamp) => {
            let local = timestamp.to_zoned(zone.clone());
            local.strftime("%Y-%m-%d %H:%M:%S").to_string()
        }
        None => "?".into(),
    }
}

/// Returns a note of somebody else's in one line, without anything that a terminal would obey.
fn printable(note: Option<&str>) -> String {
    let note = note.unwrap_or("-");
    note.chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(id: &str, current: bool) -> DeploySummary {
        let deploy_id = DeployId::parse(id).unwrap();
        DeploySummary {
            deploy_id,
            base_deploy_id: None,
            committed_unix_ms: deploy_id.unix_ms(),
            files: 12,
            bytes: 2_048,
            puts: 1,
            removes: 0,
            published_by: Some("ann@desk".into()),
            message: Some("line\u{1b}[2Jone\nline two".into()),
            current,
        }
    }

    #[test]
    fn the_table_marks_the_current_deploy_and_obeys_nothing() {
        let deploys = [
            summary("1777000001000-a1b2c3d4", false),
            summary("1777000000000-00000000", true),
        ];
        let expected = "
   ID                      TIME                 FILES  SIZE      CHANGES  BY        MESSAGE
   1777000001000-a1b2c3d4  2026-04-24 03:06:41  12     2.00 KiB  +1 -0    ann@desk  line [2Jone line two
*  1777000000000-00000000  2026-04-24 03:06:40  12     2.00 KiB  +1 -0    ann@desk  line [2Jone line two
";
        assert_eq!(format!("\n{}", table(&deploys, &TimeZone::UTC)), expected);
    }

    #[test]
    fn a_deploy_says_what_it_changed() {
        let detail = DeployDetail {
            summary: summary("1777000001000-a1b2c3d4", true),
            added: vec![SitePath::parse("a").unwrap()],
            changed: Vec::new(),
            removed: vec![SitePath::parse("b").unwrap()],
        };
        let text = detail_text(&detail, &TimeZone::UTC);
        assert!(
            text.ends_with("\nthe first deploy:\nadded    a\nremoved  b\n"),
            "{text}"
        );
    }
}
