//! Findings about the configuration and this machine: state folder, site folder, file events. Pure.

use super::{
    Finding,
    facts::{ConfigFacts, Facts, FolderFacts, StateFacts, WatchFacts},
};
use crate::{config::PollMode, shown::ShownPath, state_folder::StateError};

const CONFIG: &str = "config";
const STATE: &str = "state";
const FOLDER: &str = "folder";
const WATCH: &str = "watch";

/// The share of the watches, in percent, from which on there may be too few: other programs of the
/// same user watch as well.
const WATCHES_PERCENT: u64 = 80;

/// How many watches a machine can well afford: each takes about a kilobyte of the kernel's memory.
const AMPLE_WATCHES: u64 = 524_288;

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings = config(&facts.config);
    findings.push(state(&facts.state));
    findings.extend(facts.folder.as_ref().map(folder));
    if let Some(watching) = &facts.watch {
        findings.push(watch(watching, facts.folder.as_ref()));
    }
    findings
}

fn config(facts: &ConfigFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for fault in &facts.faults {
        let fix = "correct it where it is named; `onsave check` shows every key";
        findings.push(Finding::broken(CONFIG, fault.to_string(), fix));
    }
    if let Some(why) = &facts.log_fault {
        let fix = "correct RUST_LOG, or unset it";
        findings.push(Finding::broken(CONFIG, why, fix));
    }
    if findings.is_empty() {
        let file = match &facts.file {
            Some(file) => ShownPath(file).to_string(),
            None => "no onsave.toml; the defaults hold".to_owned(),
        };
        let kind = facts.kind.map_or("unknown", |kind| kind.word());
        findings.push(Finding::ok(CONFIG, format!("{file}; the target is {kind}")));
    }
    // The words of a warning say what to do.
    findings.extend(facts.warnings.iter().map(|warning| {
        let fix = "`onsave check` shows where each value comes from";
        Finding::warning(CONFIG, warning, fix)
    }));
    findings
}

fn state(facts: &Result<StateFacts, StateError>) -> Finding {
    let facts = match facts {
        Ok(facts) => facts,
        Err(error) => return Finding::error(STATE, error, Some(error.hint())),
    };
    let folder = ShownPath(&facts.folder);
    if let Some(unwritable) = &facts.unwritable {
        return Finding::broken(
            STATE,
            format!("{} cannot be written to", ShownPath(unwritable)),
            "make it writable for you, or set XDG_STATE_HOME to another absolute folder",
        );
    }
    if let Some(mode) = facts.open_mode {
        return Finding::warning(
            STATE,
            format!("others may look into {folder}, which holds secrets (mode {mode:o})"),
            format!("run `chmod 700 '{folder}'`"),
        );
    }
    if facts.is_there {
        Finding::ok(STATE, folder.to_string())
    } else {
        Finding::ok(STATE, format!("{folder}; it is made when it is needed"))
    }
}

fn folder(facts: &FolderFacts) -> Finding {
    match facts {
        FolderFacts::Missing { path } => Finding::broken(
            FOLDER,
            format!("there is no site folder {}", ShownPath(path)),
            "build the site first, or name its folder: set dir in onsave.toml, or give --dir",
        ),
        FolderFacts::Unusable { path, why } => Finding::broken(
            FOLDER,
            format!(
                "{} cannot be used as the site folder: {why}",
                ShownPath(path)
            ),
            "a whole folder is published, which you may read; name it with dir in onsave.toml",
        ),
        FolderFacts::There {
            unreadable: Some(unreadable),
            ..
        } => Finding::warning(
            FOLDER,
            format!(
                "{} cannot be read and is not published",
                ShownPath(unreadable)
            ),
            "make it readable for you, or leave it out in .onsaveignore",
        ),
        FolderFacts::There {
            path,
            is_empty: true,
            ..
        } => Finding::warning(
            FOLDER,
            format!("{} is empty", ShownPath(path)),
            "build the site first, or name another folder with dir in onsave.toml",
        ),
        FolderFacts::There { path, folders, .. } => {
            let plural = if *folders == 1 { "" } else { "s" };
            Finding::ok(
                FOLDER,
                format!("{}, {folders} folder{plural}", ShownPath(path)),
            )
        }
    }
}

fn watch(facts: &WatchFacts, folder: Option<&FolderFacts>) -> Finding {
    if facts.poll == PollMode::Always {
        return Finding::ok(WATCH, "polls, as configured; file events are not used");
    }
    if let Some((why, fix)) = watch_trouble(facts, folder) {
        return match facts.poll {
            // Then changes are found by the next scan of everything, minutes later.
            PollMode::Never => Finding::broken(
                WATCH,
                format!("{why}, and watch.poll = \"never\": saves are not seen when they happen"),
                fix,
            ),
            PollMode::Auto | PollMode::Always => {
                Finding::warning(WATCH, format!("{why}: it is polled instead"), fix)
            }
        };
    }
    let folders = folders_of(folder);
    match facts.most_watches {
        Some(most) if folders.saturating_mul(100) > most.saturating_mul(WATCHES_PERCENT) => {
            Finding::warning(
                WATCH,
                format!("{folders} of the {most} folders that one user may watch"),
                raise_watches(folders),
            )
        }
        Some(most) => Finding::ok(
            WATCH,
            format!("file events; {folders} of {most} watches are needed"),
        ),
        None => Finding::ok(WATCH, "file events"),
    }
}

/// Returns why there are no file events, and what to do about it.
fn watch_trouble(facts: &WatchFacts, folder: Option<&FolderFacts>) -> Option<(String, String)> {
    if let Some(FolderFacts::There {
        file_system: Some(name),
        ..
    }) = folder
    {
        return Some((
            format!("{name} gives no file events"),
            "put the site folder on a disk of this machine; or set watch.poll = \"always\" to say \
             that polling is meant"
                .to_owned(),
        ));
    }
    if let Some(refused) = &facts.refused {
        let most = facts
            .most_instances
            .map_or_else(String::new, |most| format!(" of {most}"));
        let raised = facts.most_instances.unwrap_or(512).max(512) * 2;
        return Some((
            format!("no more program may watch, with the limit{most} reached ({refused})"),
            format!("run `sysctl fs.inotify.max_user_instances={raised}`, as root"),
        ));
    }
    let folders = folders_of(folder);
    let most = facts.most_watches?;
    (folders > most).then(|| {
        (
            format!("the site has {folders} folders, and one user may watch {most}"),
            raise_watches(folders),
        )
    })
}

fn folders_of(folder: Option<&FolderFacts>) -> u64 {
    match folder {
        Some(FolderFacts::There { folders, .. }) => *folders,
        _ => 0,
    }
}

fn raise_watches(folders: u64) -> String {
    let raised = AMPLE_WATCHES.max(folders.saturating_mul(2));
    format!("run `sysctl fs.inotify.max_user_watches={raised}`, as root")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Fault, Source},
        doctor::{Verdict, facts::Kind},
    };

    fn there(folders: u64) -> FolderFacts {
        FolderFacts::There {
            path: "/s/deploy".into(),
            is_empty: false,
            folders,
            unreadable: None,
            file_system: None,
        }
    }

    fn watching(poll: PollMode) -> WatchFacts {
        WatchFacts {
            poll,
            most_watches: Some(1_000),
            most_instances: Some(128),
            refused: None,
        }
    }

    #[track_caller]
    fn assert_finding(finding: &Finding, verdict: Verdict, what: &str, fix: &str) {
        assert_eq!(finding.verdict, verdict, "{finding:?}");
        assert!(finding.what.contains(what), "{finding:?}");
        let said = finding.fix.as_deref().unwrap_or_default();
        assert!(said.contains(fix), "{finding:?}");
        assert_eq!(finding.fix.is_none(), verdict == Verdict::Ok, "{finding:?}");
    }

    #[test]
    fn every_fault_is_a_finding_of_its_own() {
        let fault = |key: &str| Fault {
            key: Some(key.to_owned()),
            value: None,
            source: Source::Default,
            problem: "must be right".to_owned(),
        };
        let facts = ConfigFacts {
            faults: vec![fault("a"), fault("b")],
            warnings: vec!["hardly meant".to_owned()],
            ..ConfigFacts::default()
        };
        let found = config(&facts);
        assert_eq!(found.len(), 3);
        assert_finding(
            &found[0],
            Verdict::Broken,
            "a: must be right",
            "onsave check",
        );
        assert_finding(
            &found[1],
            Verdict::Broken,
            "b: must be right",
            "onsave check",
        );
        assert_finding(&found[2], Verdict::Warning, "hardly meant", "onsave check");
    }

    #[test]
    fn a_configuration_without_faults_says_what_it_is() {
        let mut facts = ConfigFacts {
            kind: Some(Kind::Local),
            ..ConfigFacts::default()
        };
        assert_finding(&config(&facts)[0], Verdict::Ok, "the target is local", "");
        facts.file = Some("/s/onsave.toml".into());
        assert_finding(&config(&facts)[0], Verdict::Ok, "/s/onsave.toml", "");
        facts.log_fault = Some("the filter is none".into());
        assert_finding(&config(&facts)[0], Verdict::Broken, "filter", "RUST_LOG");
    }

    #[test]
    fn the_state_folder_has_to_be_ours_alone() {
        let facts = |is_there, unwritable: Option<&str>, open_mode| {
            Ok(StateFacts {
                folder: "/h/state".into(),
                is_there,
                unwritable: unwritable.map(Into::into),
                open_mode,
            })
        };
        for (facts, verdict, what, fix) in [
            (facts(true, None, None), Verdict::Ok, "/h/state", ""),
            (
                facts(false, None, None),
                Verdict::Ok,
                "when it is needed",
                "",
            ),
            (
                facts(true, None, Some(0o755)),
                Verdict::Warning,
                "mode 755",
                "chmod 700 '/h/state'",
            ),
            (
                facts(false, Some("/h"), None),
                Verdict::Broken,
                "/h cannot be written to",
                "XDG_STATE_HOME",
            ),
            (
                Err(StateError::NoHome),
                Verdict::Broken,
                "no home folder",
                "XDG_STATE_HOME",
            ),
        ] {
            assert_finding(&state(&facts), verdict, what, fix);
        }
    }

    #[test]
    fn the_site_folder_has_to_be_there_and_readable() {
        let path = || "/s/deploy".into();
        let with = |is_empty, unreadable: Option<&str>| FolderFacts::There {
            path: path(),
            is_empty,
            folders: 1,
            unreadable: unreadable.map(Into::into),
            file_system: None,
        };
        let unusable = FolderFacts::Unusable {
            path: path(),
            why: "it is a file".into(),
        };
        for (facts, verdict, what, fix) in [
            (there(3), Verdict::Ok, "3 folders", ""),
            (with(false, None), Verdict::Ok, "1 folder", ""),
            (with(true, None), Verdict::Warning, "is empty", "build"),
            (
                with(false, Some("/s/deploy/x")),
                Verdict::Warning,
                "/s/deploy/x cannot be read",
                ".onsaveignore",
            ),
            (
                FolderFacts::Missing { path: path() },
                Verdict::Broken,
                "no site folder /s/deploy",
                "--dir",
            ),
            (unusable, Verdict::Broken, "it is a file", "whole folder"),
        ] {
            assert_finding(&folder(&facts), verdict, what, fix);
        }
    }

    #[test]
    fn limits_of_watches_are_told_before_and_after_they_are_reached() {
        for (folders, verdict, what, fix) in [
            (800, Verdict::Ok, "800 of 1000", ""),
            (801, Verdict::Warning, "801 of the 1000", "524288"),
            (
                1_001,
                Verdict::Warning,
                "polled instead",
                "max_user_watches=524288",
            ),
            (
                400_000,
                Verdict::Warning,
                "polled instead",
                "max_user_watches=800000",
            ),
        ] {
            let finding = watch(&watching(PollMode::Auto), Some(&there(folders)));
            assert_finding(&finding, verdict, what, fix);
        }
        let never = watch(&watching(PollMode::Never), Some(&there(1_001)));
        assert_finding(&never, Verdict::Broken, "not seen", "max_user_watches");
        let always = watch(&watching(PollMode::Always), Some(&there(1_001)));
        assert_finding(&always, Verdict::Ok, "as configured", "");
    }

    #[test]
    fn a_system_without_such_limits_is_no_trouble() {
        let facts = WatchFacts {
            most_watches: None,
            most_instances: None,
            ..watching(PollMode::Auto)
        };
        assert_finding(&watch(&facts, None), Verdict::Ok, "file events", "");
    }

    #[test]
    fn programs_and_file_systems_without_events_are_told() {
        let facts = WatchFacts {
            refused: Some("too many open files".into()),
            ..watching(PollMode::Auto)
        };
        let finding = watch(&facts, Some(&there(1)));
        let fix = "max_user_instances=1024";
        assert_finding(&finding, Verdict::Warning, "limit of 128 reached", fix);
        let nfs = FolderFacts::There {
            path: "/s".into(),
            is_empty: false,
            folders: 1,
            unreadable: None,
            file_system: Some("NFS"),
        };
        let finding = watch(&watching(PollMode::Auto), Some(&nfs));
        assert_finding(
            &finding,
            Verdict::Warning,
            "NFS gives no file events",
            "always",
        );
    }
}
