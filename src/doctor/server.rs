//! Findings about the server: whether it answers and takes the secret, its clock, its version, its
//! space, and what visitors get. Pure.

use onsave_protocol::wire::v2::SignedHealth;

use super::{
    Finding,
    facts::{Facts, FlyFacts, Kind, PublicFacts, ServerFacts, ServerSeen, SpaceFacts},
    platform, size,
};
use crate::{error_report, provision::is_older, publish::PublishError, shown::ShownPath};

const SERVER: &str = "server";
const SECRET: &str = "secret";
const CLOCK: &str = "clock";
const VERSION: &str = "version";
const SPACE: &str = "space";
const PUBLIC: &str = "public";

/// This program's version.
const CLIENT: &str = env!("CARGO_PKG_VERSION");

/// From here on a clock is worth mending: no clock that is kept right is so far off.
const CLOCK_WARNING_MS: u64 = 5_000;

/// Signatures are refused from 300 s on; whatever is so near to it may be refused any day.
const CLOCK_BROKEN_MS: u64 = 270_000;

/// A volume with less has no room for the next publish.
const LEAST_FREE: u64 = 16 * 1024 * 1024;

/// A volume that is filled to nine tenths warns, unless so much is left.
const AMPLE_FREE: u64 = 1024 * 1024 * 1024;

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    // A server that is not made yet need not answer.
    if facts.fly.as_ref().is_some_and(platform::has_no_app) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    match (&facts.server, facts.config.kind) {
        (Some(server), Some(kind)) => findings.extend(of_server(server, kind, facts)),
        (None, Some(Kind::Local)) => findings.push(Finding::ok(
            SERVER,
            "no `onsave watch` runs; it starts the server, and so does each command",
        )),
        _ => {}
    }
    findings.extend(facts.volume.as_ref().map(idle_volume));
    findings
}

fn of_server(server: &ServerFacts, kind: Kind, facts: &Facts) -> Vec<Finding> {
    let name = &server.name;
    let mut findings = Vec::new();
    let secret_ok = || {
        let origin = &server.secret_origin;
        Finding::ok(SECRET, format!("{name} takes the secret of {origin}"))
    };
    // Which of several secrets of an app is taken is told where they are known.
    let tells_secret = kind != Kind::Fly;
    match &server.seen {
        ServerSeen::Silent => findings.push(Finding::broken(
            SERVER,
            format!("{name} does not answer in time"),
            "check whether the server is busy or stopped, and whether something between swallows \
             what is sent",
        )),
        ServerSeen::Failed(PublishError::WrongSecret { .. }) if !tells_secret => {
            findings.push(Finding::ok(SERVER, format!("{name} answers")));
        }
        ServerSeen::Failed(error) => findings.extend(failed(name, error)),
        ServerSeen::FirstGeneration => {
            findings.push(Finding::warning(
                SERVER,
                format!("{name} answers, with the first generation of the protocol only"),
                "publishing works, one call for each file; onsave-server publishes in one exchange",
            ));
            findings.extend(tells_secret.then(secret_ok));
        }
        ServerSeen::Healthy { health, ahead_ms } => {
            findings.push(Finding::ok(SERVER, serves(name, health)));
            findings.extend(tells_secret.then(secret_ok));
            findings.push(clock(*ahead_ms));
            findings.push(version(&health.server_version, kind, facts.fly.as_ref()));
            let (free, of) = (health.volume_free_bytes, health.volume_bytes);
            findings.push(space(free, of, facts.fly.as_ref()));
        }
    }
    findings
}

fn serves(name: &str, health: &SignedHealth) -> String {
    match &health.current_deploy_id {
        Some(id) => format!(
            "{name} serves the deploy {id}: {} files, {}",
            health.files,
            size(health.bytes)
        ),
        None => format!("{name} answers, and nothing was published to it yet"),
    }
}

fn failed(name: &str, error: &PublishError) -> Vec<Finding> {
    let answers = || Finding::ok(SERVER, format!("{name} answers"));
    let finding = |topic| Finding::error(topic, error, Some(error.hint()));
    match error {
        PublishError::WrongSecret { .. } => vec![answers(), finding(SECRET)],
        PublishError::ClockSkew { .. } => vec![answers(), finding(CLOCK)],
        _ => vec![finding(SERVER)],
    }
}

fn clock(ahead_ms: i64) -> Finding {
    let off = ahead_ms.unsigned_abs();
    let seconds = off as f64 / 1e3;
    let way = if ahead_ms < 0 { "behind" } else { "ahead of" };
    let what = format!("the server's clock is {seconds:.1} s {way} this machine's");
    let fix = "set the clock of the machine that is wrong (`timedatectl set-ntp true`); from 300 s \
               on every publish is refused";
    if off >= CLOCK_BROKEN_MS {
        Finding::broken(CLOCK, what, fix)
    } else if off > CLOCK_WARNING_MS {
        Finding::warning(CLOCK, what, fix)
    } else {
        Finding::ok(CLOCK, what)
    }
}

fn version(server: &str, kind: Kind, fly: Option<&FlyFacts>) -> Finding {
    if is_older(server, CLIENT) {
        let fix = match (kind, fly) {
            (Kind::Local, _) => "end the running `onsave watch` and start it again",
            (Kind::Url, _) | (Kind::Fly, None) => "run the newer onsave-server there",
            (Kind::Fly, Some(fly)) if fly.target.image.is_some() => {
                "name a newer image in fly.image, and run `onsave provision`"
            }
            (Kind::Fly, Some(fly)) if fly.target.auto_rebuild => {
                "the next publish replaces it; `onsave provision --rebuild` does it now"
            }
            (Kind::Fly, Some(_)) => "run `onsave provision --rebuild`; the site stays",
        };
        let what = format!("the server is {server}, older than this onsave, {CLIENT}");
        return Finding::warning(VERSION, what, fix);
    }
    if is_older(CLIENT, server) {
        let what = format!("the server is {server}, newer than this onsave, {CLIENT}");
        return Finding::warning(VERSION, what, "install the newer onsave on this machine");
    }
    Finding::ok(VERSION, format!("the server is {server}, as this onsave"))
}

fn space(free: u64, of: u64, fly: Option<&FlyFacts>) -> Finding {
    let what = format!("{} of {} are free on the volume", size(free), size(of));
    let fix = match fly {
        Some(fly) if fly.target.volume.limit_gb > fly.target.volume.size_gb => format!(
            "it grows by itself up to fly.volume_limit_gb = {}; a larger fly.volume_gb and `onsave \
             provision` make it grow now",
            fly.target.volume.limit_gb
        ),
        Some(fly) => format!(
            "set fly.volume_gb above {}, and run `onsave provision`",
            fly.target.volume.size_gb
        ),
        None => "free space there, or let fewer deploys be kept".to_owned(),
    };
    if free < LEAST_FREE {
        Finding::broken(SPACE, what, fix)
    } else if free < AMPLE_FREE && free < of / 10 {
        Finding::warning(SPACE, what, fix)
    } else {
        Finding::ok(SPACE, what)
    }
}

fn idle_volume(volume: &SpaceFacts) -> Finding {
    if let Some(unwritable) = &volume.unwritable {
        return Finding::broken(
            SPACE,
            format!("{} cannot be written to", ShownPath(unwritable)),
            "make it writable for you, or set local.volume to another folder",
        );
    }
    match volume.space {
        Some((free, of)) => space(free, of, None),
        None => Finding::ok(SPACE, format!("the volume is {}", ShownPath(&volume.path))),
    }
}

pub(super) fn public_findings(facts: &Facts) -> Vec<Finding> {
    if facts.fly.as_ref().is_some_and(platform::has_no_app) {
        return Vec::new();
    }
    let Some(public) = &facts.public else {
        return Vec::new();
    };
    let is_empty = match &facts.server {
        Some(server) if is_silent(server) && server.name == public.url => {
            // The same silence is told once.
            return Vec::new();
        }
        Some(ServerFacts {
            seen: ServerSeen::Healthy { health, .. },
            ..
        }) => health.current_deploy_id.is_none(),
        _ => false,
    };
    vec![visit(public, is_empty)]
}

fn is_silent(server: &ServerFacts) -> bool {
    matches!(
        server.seen,
        ServerSeen::Silent | ServerSeen::Failed(PublishError::NoAnswer { .. })
    )
}

/// Returns what a visitor of the first page gets.
fn visit(public: &PublicFacts, is_empty: bool) -> Finding {
    let url = &public.url;
    match &public.status {
        Ok(200..=399) => Finding::ok(PUBLIC, format!("{url} answers its visitors")),
        Ok(503) if is_empty => Finding::ok(PUBLIC, format!("{url} waits for the first publish")),
        Ok(404) => Finding::warning(
            PUBLIC,
            format!("{url} answers, and has no first page"),
            "publish an index.html at the top of the site folder",
        ),
        Ok(401 | 403) => Finding::warning(
            PUBLIC,
            format!("{url} does not let everybody in"),
            "if that is meant, all is well; publish.public_url names where visitors see the site",
        ),
        Ok(status) => Finding::broken(
            PUBLIC,
            format!("{url} answers its visitors with status {status}"),
            "check what stands between the visitors and the server; publish.public_url names where \
             they see the site",
        ),
        Err(error) => Finding::broken(
            PUBLIC,
            format!(
                "visitors get no answer from {url}: {}",
                error_report::with_causes(error)
            ),
            "check the name, its DNS records and its certificate; publish.public_url names where \
             visitors see the site",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::{doctor::Verdict, http::HttpError};

    const GB: u64 = 1_000_000_000;

    #[test]
    fn a_clock_is_judged_by_how_far_it_is_off_either_way() {
        for (ahead_ms, verdict) in [
            (0, Verdict::Ok),
            (-5_000, Verdict::Ok),
            (5_001, Verdict::Warning),
            (-5_001, Verdict::Warning),
            (269_999, Verdict::Warning),
            (270_000, Verdict::Broken),
            (i64::MIN, Verdict::Broken),
        ] {
            assert_eq!(clock(ahead_ms).verdict, verdict, "{ahead_ms}");
        }
        assert!(clock(-7_500).what.contains("7.5 s behind"));
        assert!(clock(7_500).what.contains("7.5 s ahead of"));
    }

    #[test]
    fn versions_are_compared_and_each_kind_has_its_fix() {
        assert_eq!(version(CLIENT, Kind::Url, None).verdict, Verdict::Ok);
        for (kind, fix) in [(Kind::Local, "onsave watch"), (Kind::Url, "onsave-server")] {
            let finding = version("0.0.1", kind, None);
            assert_eq!(finding.verdict, Verdict::Warning);
            assert!(finding.fix.unwrap().contains(fix));
        }
        let newer = version("99.0.0", Kind::Url, None);
        assert_eq!(newer.verdict, Verdict::Warning);
        assert!(newer.fix.unwrap().contains("this machine"));
    }

    #[test]
    fn a_volume_warns_before_it_is_full() {
        for (free, of, verdict) in [
            (GB, GB, Verdict::Ok),
            (GB / 10, GB, Verdict::Ok),
            (GB / 10 - 1, GB, Verdict::Warning),
            // Nine tenths of a large disk leave enough.
            (2 * GB, 500 * GB, Verdict::Ok),
            (LEAST_FREE, GB, Verdict::Warning),
            (LEAST_FREE - 1, GB, Verdict::Broken),
            (0, 0, Verdict::Broken),
        ] {
            assert_eq!(space(free, of, None).verdict, verdict, "{free} of {of}");
        }
    }

    #[test]
    fn a_volume_that_cannot_be_written_to_is_broken() {
        let volume = |unwritable: Option<&str>, space| SpaceFacts {
            path: "/s/.onsave/volume".into(),
            unwritable: unwritable.map(Into::into),
            space,
        };
        let broken = idle_volume(&volume(Some("/s"), Some((GB, GB))));
        assert_eq!(broken.verdict, Verdict::Broken);
        assert!(broken.what.contains("/s cannot be written to"));
        assert_eq!(
            idle_volume(&volume(None, Some((GB, GB)))).verdict,
            Verdict::Ok
        );
        assert_eq!(idle_volume(&volume(None, None)).verdict, Verdict::Ok);
    }

    #[test]
    fn each_failure_is_told_under_its_own_topic() {
        let url = || "https://example.org".to_owned();
        let wrong = PublishError::WrongSecret {
            url: url(),
            secret_origin: "variable ONSAVE_SYNC_SECRET".into(),
        };
        let skewed = PublishError::ClockSkew {
            url: url(),
            server: "then".into(),
            local: "now".into(),
        };
        let silent = PublishError::NoAnswer {
            url: url(),
            source: HttpError::Connect(io::Error::other("refused")),
        };
        let other = PublishError::NotOnsave {
            url: url(),
            status: 200,
        };
        for (error, topics, fix) in [
            (wrong, ["server", "secret"].as_slice(), "SYNC_SECRET"),
            (skewed, &["server", "clock"], "timedatectl"),
            (silent, &["server"], ""),
            (other, &["server"], "curl"),
        ] {
            let found = failed("https://example.org", &error);
            let told: Vec<_> = found.iter().map(|finding| finding.topic).collect();
            assert_eq!(told, topics);
            let last = found.last().unwrap();
            assert_eq!(last.verdict, Verdict::Broken);
            assert!(last.fix.as_ref().unwrap().contains(fix), "{last:?}");
        }
    }

    #[test]
    fn what_visitors_get_is_judged_by_its_status() {
        for (status, is_empty, verdict) in [
            (200, false, Verdict::Ok),
            (304, false, Verdict::Ok),
            (503, true, Verdict::Ok),
            (503, false, Verdict::Broken),
            (404, false, Verdict::Warning),
            (401, false, Verdict::Warning),
            (500, false, Verdict::Broken),
        ] {
            let public = PublicFacts {
                url: "https://example.org".into(),
                status: Ok(status),
            };
            let finding = visit(&public, is_empty);
            assert_eq!(finding.verdict, verdict, "{status}");
            assert!(finding.what.contains("https://example.org"));
        }
        let public = PublicFacts {
            url: "https://example.org".into(),
            status: Err(HttpError::Connect(io::Error::other("no such name"))),
        };
        let finding = visit(&public, false);
        assert_eq!(finding.verdict, Verdict::Broken);
        assert!(finding.what.contains("no such name"), "{finding:?}");
    }
}
