//! `onsave publish`: one publish, and its end.
//!
//! Tries again what a moment may mend: a file that changed meanwhile (after another scan), a broken
//! connection (what was uploaded stays uploaded). What only a person can mend ends it at once.

use std::{
    io::{self, IsTerminal as _},
    sync::Arc,
    time::{Duration, SystemTime},
};

use onsave_protocol::{Changeset, SitePath};
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::CommandError;
use crate::{
    after_publish::{self, Setup},
    build::Build,
    cli::PublishArgs,
    config::Config,
    dirty::Dirty,
    guard::Removals,
    ignore_rules::SharedRules,
    last_publish::LastPublish,
    progress::Progress,
    publish::{
        Backoff, ChangeCounts, Converged, LocalSite, Note, PublishError, PublishReport, Publisher,
        RemoteState, RetryClass, Scope, Timings,
    },
    scan::{Scan, Scanner},
    shutdown,
    site_folder::SiteFolder,
    state_folder::SiteState,
    target::{Mender, Purpose, Target},
};

/// Wait before a file that changed while it was read is looked at again.
const STILL_WRITTEN: Duration = Duration::from_millis(200);

/// How often a publish is tried in all.
const MAX_TRIES: u32 = 5;

/// Waits between two tries: seconds at most, since a person waits.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(3));

/// What `--json` prints.
#[derive(Debug, Serialize)]
#[serde(
    tag = "status",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
enum Output<'a> {
    Published {
        target: &'a str,
        deploy_id: &'a str,
        added: usize,
        changed: usize,
        removed: usize,
        sent_bytes: u64,
        received_bytes: u64,
        exchanges: u64,
        scan_ms: f64,
        send_ms: f64,
        server_ms: Option<f64>,
    },
    InStep {
        target: &'a str,
        deploy_id: Option<&'a str>,
    },
    DryRun {
        target: &'a str,
        added: Vec<&'a SitePath>,
        changed: Vec<&'a SitePath>,
        removed: Vec<&'a SitePath>,
    },
}

/// Runs the command, and returns what to print.
///
/// # Errors
///
/// [`CommandError`].
pub(super) async fn run(
    args: &PublishArgs,
    config: Config,
    state: &SiteState,
) -> Result<String, CommandError> {
    if !args.no_build {
        run_build(&config, state).await?;
    }
    let purpose = if args.dry_run {
        Purpose::Look
    } else {
        Purpose::OneCommand
    };
    let mut target = Target::open(&config, state, purpose).await?;
    let mender = target.take_mender();
    let mut publisher = target.publisher()?;
    let setup = Setup::of(&config, state, &target);
    if !args.dry_run {
        Box::pin(after_publish::prepare(&setup, &mut publisher)).await?;
    }
    let mut publishing = Publishing {
        mender,
        args,
        config: &config,
        state,
        target: &target,
        publisher,
        progress: progress(args),
    };
    let text = publishing.text().await;
    publishing.progress.finish();
    if text.is_ok()
        && !args.dry_run
        && let Some(remote) = publishing.publisher.remote()
        && !setup.entries.is_empty()
    {
        Box::pin(super::tell_others(&setup, remote, None)).await;
    }
    target.close().await?;
    text
}

/// Runs the build command, where there is one. It has a process group of its own, so that Ctrl-C does
/// not reach it but through here.
async fn run_build(config: &Config, state: &SiteState) -> Result<(), CommandError> {
    let Some(build) = &config.build else {
        return Ok(());
    };
    let (stop, interrupted) = (CancellationToken::new(), shutdown::signal());
    let interrupted = interrupted.map_err(CommandError::Signals)?;
    let build = Build::new(config, build, state);
    let running = build.run(None, &stop);
    tokio::pin!(running);
    let took = tokio::select! {
        // Cancel-safe: the run stays where it is, and is waited for below.
        took = &mut running => took?,
        () = interrupted => {
            stop.cancel();
            running.await?
        }
    };
    tracing::info!("built in {:.0} ms", took.as_secs_f64() * 1e3);
    Ok(())
}

fn new_scanner(config: &Config, state: &SiteState) -> Scanner {
    Scanner::new(
        SiteFolder::new(config.dir.clone()),
        state.folder().to_owned(),
        Arc::new(SharedRules::default()),
    )
}

fn progress(args: &PublishArgs) -> Progress {
    if args.json {
        Progress::Silent
    } else if io::stderr().is_terminal() {
        Progress::bar()
    } else {
        Progress::lines(Box::new(io::stderr()))
    }
}

/// One run of the command.
struct Publishing<'a> {
    args: &'a PublishArgs,
    config: &'a Config,
    state: &'a SiteState,
    target: &'a Target,
    publisher: Publisher,
    mender: Option<Mender>,
    progress: Progress,
}

impl Publishing<'_> {
    /// Does it, and returns what to print.
    async fn text(&mut self) -> Result<String, CommandError> {
        let mut backoff = BACKOFF;
        let mut scanner = new_scanner(self.config, self.state);
        loop {
            let started = Instant::now();
            scanner = self.scan(scanner).await?;
            let scan = started.elapsed();
            let outcome = if self.args.dry_run {
                self.dry_run(&scanner).await
            } else {
                self.publish(&scanner, scan).await
            };
            let error = match outcome {
                Err(CommandError::Publish(error)) => error,
                other => return other,
            };
            if self.is_mended(&error).await {
                continue;
            }
            if !may_pass(&error) || backoff.failures() + 1 >= MAX_TRIES {
                return Err(error.into());
            }
            let wait = backoff.failed(getrandom::u32().unwrap_or(u32::MAX));
            tracing::warn!(%error, "publishing again");
            tokio::time::sleep(error.retry_after().unwrap_or(wait)).await;
        }
    }

    /// Returns whether the server refused the secret, and there is another to try.
    async fn is_mended(&mut self, error: &PublishError) -> bool {
        let (PublishError::WrongSecret { .. }, Some(mender)) = (error, &mut self.mender) else {
            return false;
        };
        let Some(secret) = mender.mend().await else {
            return false;
        };
        self.publisher.use_secret(secret);
        true
    }

    /// Brings the scanner up to date with the whole folder.
    async fn scan(&self, mut scanner: Scanner) -> Result<Scanner, CommandError> {
        // The stat index stands in the state folder, which the first scan of a site has to make.
        self.state.create()?;
        let mut dirty = Dirty::Everything;
        for tries in 1.. {
            let now = wall_clock();
            let working = tokio::task::spawn_blocking(move || {
                let found = scanner.scan(&dirty, now);
                (scanner, found)
            });
            let found;
            (scanner, found) = working.await.map_err(PublishError::Worker)?;
            let Scan::Done(outcome) = found? else {
                return Err(CommandError::NoSiteFolder {
                    path: self.config.dir.clone(),
                });
            };
            for warning in &outcome.new_warnings {
                tracing::warn!("{warning}");
            }
            let Some(unstable) = outcome.unstable.first() else {
                break;
            };
            if tries == MAX_TRIES {
                // Without it, it would be removed where it is published, and nobody would know.
                let path = unstable
                    .to_str()
                    .and_then(|path| SitePath::parse(path).ok());
                return Err(PublishError::ChangedSinceScan { path }.into());
            }
            dirty = Dirty::Paths(outcome.unstable);
            tokio::time::sleep(STILL_WRITTEN).await;
        }
        let skipped = scanner.warnings().len();
        if self.config.publish.strict && skipped > 0 {
            return Err(CommandError::Strict { skipped });
        }
        if let Err(error) = scanner.keep_index() {
            tracing::debug!(%error, "the stat index could not be kept");
        }
        Ok(scanner)
    }

    async fn dry_run(&mut self, scanner: &Scanner) -> Result<String, CommandError> {
        self.publisher.refresh().await?;
        let changeset = self.publisher.changeset(scanner.manifest(), Scope::Whole);
        let nothing = RemoteState::default();
        let remote = self.publisher.remote().unwrap_or(&nothing);
        Ok(if self.args.json {
            super::json_line(&dry_run_output(&changeset, remote, self.target.place()))
        } else {
            dry_run_text(&changeset, remote)
        })
    }

    async fn publish(&mut self, scanner: &Scanner, scan: Duration) -> Result<String, CommandError> {
        let local = LocalSite {
            manifest: scanner.manifest(),
            site: Arc::new(scanner.files()),
            removals: if self.args.allow_removals {
                Removals::Allowed
            } else {
                Removals::UpTo(self.config.publish.max_removal_percent)
            },
            note: Note {
                published_by: Some(self.config.publish.published_by.clone()),
                message: self.args.message.clone(),
            },
            progress: self.progress.clone(),
        };
        match self.publisher.converge(&local, Scope::Whole).await? {
            Converged::Held { removes, of } => Err(CommandError::Held { removes, of }),
            Converged::InStep => Ok(self.in_step_text()),
            Converged::Published(report) => {
                let timings = Timings {
                    settle: Duration::ZERO,
                    scan,
                };
                report.log(timings);
                self.remember(scanner, &report);
                Ok(self.published_text(&report, scan))
            }
        }
    }

    /// Leaves what a `watch` that starts later needs to tell a rollback from saves it missed.
    fn remember(&self, scanner: &Scanner, report: &PublishReport) {
        let tree = scanner.manifest().tree_digest();
        let last = LastPublish::new(
            self.target.identity().to_owned(),
            report.deploy_id.clone(),
            tree,
        );
        if let Err(error) = last.store(&self.state.last_publish()) {
            tracing::warn!(%error, "the publish could not be remembered");
        }
    }

    fn in_step_text(&self) -> String {
        let target = self.target.place();
        let deploy_id = self.publisher.remote().and_then(RemoteState::deploy_id);
        if self.args.json {
            super::json_line(&Output::InStep { target, deploy_id })
        } else {
            format!("nothing to publish: {target} has every file as it is here\n")
        }
    }

    fn published_text(&self, report: &PublishReport, scan: Duration) -> String {
        let target = self.target.place();
        if self.args.json {
            super::json_line(&published_output(report, target, scan))
        } else {
            format!(
                "published {} to {target} as {}: {} sent in {:.0} ms\n",
                report.what(),
                report.deploy_id,
                indicatif::HumanBytes(report.wire.sent),
                report.send.as_secs_f64() * 1e3,
            )
        }
    }
}

/// Returns whether waiting a moment, or another scan, may mend it.
fn may_pass(error: &PublishError) -> bool {
    match error.retry() {
        RetryClass::Rescan => true,
        RetryClass::Backoff => error.is_passing(),
        RetryClass::Never | RetryClass::FreshManifest | RetryClass::SignAgain => false,
    }
}

fn published_output<'a>(report: &'a PublishReport, target: &'a str, scan: Duration) -> Output<'a> {
    let ms = |duration: Duration| (duration.as_secs_f64() * 1e4).round() / 10.0;
    Output::Published {
        target,
        deploy_id: &report.deploy_id,
        added: report.counts.added,
        changed: report.counts.changed,
        removed: report.counts.removed,
        sent_bytes: report.wire.sent,
        received_bytes: report.wire.received,
        exchanges: report.wire.exchanges,
        scan_ms: ms(scan),
        send_ms: ms(report.send),
        server_ms: report.server.map(ms),
    }
}

fn dry_run_output<'a>(
    changeset: &'a Changeset,
    remote: &RemoteState,
    target: &'a str,
) -> Output<'a> {
    let is_known = |path: &&SitePath| remote.manifest().get(path.as_str()).is_some();
    let (changed, added) = changeset.puts.keys().partition(is_known);
    Output::DryRun {
        target,
        added,
        changed,
        removed: changeset.removes.iter().collect(),
    }
}

fn dry_run_text(changeset: &Changeset, remote: &RemoteState) -> String {
    let mut text = String::new();
    for path in changeset.puts.keys() {
        let known = remote.manifest().get(path.as_str()).is_some();
        let what = if known { "changed" } else { "added" };
        text.push_str(&super::change_line(what, path));
    }
    for path in &changeset.removes {
        text.push_str(&super::change_line("removed", path));
    }
    let counts = ChangeCounts::of(changeset, remote);
    text + &format!("{counts}; nothing was sent\n")
}

#[expect(
    clippy::disallowed_methods,
    reason = "file times are compared with the wall clock; a command is the rim where it is read"
)]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use onsave_protocol::{FileEntry, Sha256Digest};

    use super::*;

    fn puts(paths: &[&str]) -> Changeset {
        let entry = FileEntry {
            digest: Sha256Digest::of(b""),
            size: 0,
        };
        Changeset {
            puts: paths
                .iter()
                .map(|path| (SitePath::parse(path).unwrap(), entry))
                .collect(),
            ..Changeset::default()
        }
    }

    #[test]
    fn a_dry_run_tells_added_changed_and_removed_apart() {
        let mut remote = RemoteState::default();
        remote.advance(&puts(&["b", "c"]), "1".into());
        let mut changeset = puts(&["a", "b"]);
        changeset.removes.insert(SitePath::parse("c").unwrap());
        assert_eq!(
            dry_run_text(&changeset, &remote),
            "added    a\nchanged  b\nremoved  c\n\
             1 added, 1 changed, 1 removed; nothing was sent\n"
        );
        assert_eq!(
            super::super::json_line(&dry_run_output(&changeset, &remote, "http://x")),
            "{\"status\":\"dryRun\",\"target\":\"http://x\",\"added\":[\"a\"],\
             \"changed\":[\"b\"],\"removed\":[\"c\"]}\n"
        );
    }
}
