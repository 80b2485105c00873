//! Findings about what the app runs: volume and snapshots, machine and checks, image, and what is
//! not as configured. Pure.

use jiff::{SpanRelativeTo, Timestamp, Unit};
use serde_json::Value;

use super::{
    Finding,
    facts::{FlyFacts, Inside, SecretFacts, ServerFacts, ServerSeen, Taken},
    platform::{PROVISION, unanswered},
};
use crate::{
    config::{Autostop, FlyTarget},
    fly::resources::{App, AppLookup, Machine, Snapshot, Volume},
    provision::{
        actual::{self, Actual, SECRET},
        online,
        plan::{self, Obstacle, Plan, SecretWish, Step, Wanted, WantedImage},
    },
};

const VOLUME: &str = "volume";
const SNAPSHOTS: &str = "snapshots";
const MACHINE: &str = "machine";
const CHECKS: &str = "checks";
const IMAGE: &str = "image";
const SETTINGS: &str = "settings";

/// Snapshots are taken each day; one that is older than this was missed.
const SNAPSHOT_HOURS: f64 = 49.0;

/// Events of a machine that are told.
const TOLD_EVENTS: usize = 3;

/// How much of a check's output is told, in characters.
const TOLD_OUTPUT: usize = 200;

/// Where the platform tells its own troubles.
const STATUS_PAGE: &str =
    "this is the platform's: https://status.flyio.net tells when it is mended";

pub(super) fn findings(facts: &FlyFacts, server: Option<&ServerFacts>) -> Vec<Finding> {
    let Some(look) = &facts.look else {
        return Vec::new();
    };
    let (Ok(AppLookup::Ours(app)), Some(inside)) = (&look.app, &look.inside) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    match &inside.volumes {
        Ok(volumes) => findings.extend(volume(facts, inside, volumes)),
        Err(error) => findings.push(unanswered(VOLUME, error)),
    }
    match &inside.machines {
        Ok(machines) => findings.extend(machine(facts, machines)),
        Err(error) => findings.push(unanswered(MACHINE, error)),
    }
    if let Some(actual) = actual_of(facts, (app, inside), server) {
        findings.extend(settings(facts, &actual));
    }
    findings
}

/// Returns the volume that the machine has, or the one that it would get.
fn ours<'a>(target: &FlyTarget, inside: &Inside, volumes: &'a [Volume]) -> Option<&'a Volume> {
    let machines = inside.machines.as_deref().unwrap_or_default();
    let mounted = machines.iter().filter(|machine| machine.is_alive());
    let mounted: Vec<&str> = mounted.filter_map(Machine::mounted_volume).collect();
    let mut alive = volumes.iter().filter(|volume| volume.is_alive());
    let has_machine = |volume: &&Volume| mounted.contains(&volume.id.as_str());
    let is_named = |volume: &&Volume| volume.name == target.volume.name;
    alive
        .clone()
        .find(has_machine)
        .or_else(|| alive.find(is_named))
}

fn volume(facts: &FlyFacts, inside: &Inside, volumes: &[Volume]) -> Vec<Finding> {
    let Some(volume) = ours(&facts.target, inside, volumes) else {
        return vec![Finding::broken(VOLUME, "the app has no volume", PROVISION)];
    };
    let mut findings = vec![state_of_volume(&facts.target, volume)];
    let others: Vec<&str> = volumes
        .iter()
        .filter(|other| other.is_alive() && other.id != volume.id)
        .map(|other| other.id.as_str())
        .collect();
    if let Some(first) = others.first() {
        findings.push(Finding::warning(
            VOLUME,
            format!(
                "other volumes of the app are not used by it: {}",
                others.join(", ")
            ),
            format!("`fly volumes destroy {first}` removes one with all that is on it"),
        ));
    }
    let snapshots = inside.snapshots.iter().find(|(id, _)| *id == volume.id);
    findings.extend(snapshots.map(|(_, snapshots)| match snapshots {
        Ok(snapshots) => newest(volume, snapshots, facts.now),
        Err(error) => unanswered(SNAPSHOTS, error),
    }));
    findings
}

fn state_of_volume(target: &FlyTarget, volume: &Volume) -> Finding {
    let (id, region) = (&volume.id, &volume.region);
    if volume.host_status.as_deref() == Some("unreachable") {
        let what = format!("the hardware under {id} does not answer");
        let fix = format!("{STATUS_PAGE}; the site folder has everything that is published");
        return Finding::broken(VOLUME, what, fix);
    }
    if volume.state != "created" {
        let what = format!("{id} is {} at the moment", volume.state);
        return Finding::warning(VOLUME, what, "look again in some minutes");
    }
    let grows = if target.volume.limit_gb > volume.size_gb {
        format!("grows by itself to {} GB", target.volume.limit_gb)
    } else {
        "does not grow by itself".to_owned()
    };
    Finding::ok(
        VOLUME,
        format!("{id} in {region}, {} GB, {grows}", volume.size_gb),
    )
}

fn newest(volume: &Volume, snapshots: &[Snapshot], now: Timestamp) -> Finding {
    let (id, days) = (&volume.id, volume.snapshot_retention);
    if volume.auto_backup_enabled == Some(false) {
        return Finding::warning(
            SNAPSHOTS,
            format!("{id} is not snapshotted"),
            format!("`fly volumes update {id} --scheduled-snapshots=true` turns it on"),
        );
    }
    let hours_since = |time: Option<&String>| {
        let then: Timestamp = time?.parse().ok()?;
        hours_between(then, now)
    };
    let ages = snapshots
        .iter()
        .filter_map(|snapshot| hours_since(snapshot.created_at.as_ref()));
    let newest = ages.min_by(f64::total_cmp);
    let kept = days.map_or_else(String::new, |days| format!(", kept for {days} days"));
    let manual = format!("`fly volumes snapshots create {id}` takes one now");
    match newest {
        Some(hours) if hours <= SNAPSHOT_HOURS => Finding::ok(
            SNAPSHOTS,
            format!("{}, the newest {} old{kept}", snapshots.len(), age(hours)),
        ),
        Some(hours) => Finding::warning(
            SNAPSHOTS,
            format!(
                "the newest is {} old, and one is taken each day",
                age(hours)
            ),
            manual,
        ),
        // They are there, and nobody says from when.
        None if !snapshots.is_empty() => {
            Finding::ok(SNAPSHOTS, format!("{}{kept}", snapshots.len()))
        }
        None if hours_since(volume.created_at.as_ref()).is_some_and(|h| h > SNAPSHOT_HOURS) => {
            Finding::warning(SNAPSHOTS, format!("{id} has none"), manual)
        }
        None => Finding::ok(SNAPSHOTS, "none yet; one is taken each day"),
    }
}

fn hours_between(then: Timestamp, now: Timestamp) -> Option<f64> {
    let span = now.since(then).ok()?;
    span.total((Unit::Hour, SpanRelativeTo::days_are_24_hours()))
        .ok()
}

fn age(hours: f64) -> String {
    if hours < 48.0 {
        format!("{hours:.0} hours")
    } else {
        format!("{:.0} days", hours / 24.0)
    }
}

fn machine(facts: &FlyFacts, machines: &[Machine]) -> Vec<Finding> {
    let alive: Vec<&Machine> = machines
        .iter()
        .filter(|machine| machine.is_alive())
        .collect();
    let Some(machine) = alive
        .iter()
        .find(|machine| machine.mounted_volume().is_some())
        .or_else(|| alive.first())
    else {
        let what = "the app has no machine: nobody serves the site";
        return vec![Finding::broken(MACHINE, what, PROVISION)];
    };
    let mut findings = vec![state_of_machine(facts, machine)];
    if let Some(other) = alive.iter().find(|other| other.id != machine.id) {
        findings.push(Finding::warning(
            MACHINE,
            format!(
                "the app runs {} machines, and the site is on the volume of {} alone",
                alive.len(),
                machine.id
            ),
            format!("`fly machine destroy {} --force` removes one", other.id),
        ));
    }
    findings.push(checks(&facts.app, machine));
    findings.push(image(&facts.target, machine));
    findings
}

fn state_of_machine(facts: &FlyFacts, machine: &Machine) -> Finding {
    let (id, state) = (&machine.id, machine.state.as_str());
    let (region, app_log) = (&machine.region, log_of(&facts.app));
    if machine.host_status.as_deref() == Some("unreachable") {
        let what = format!("the hardware under {id} does not answer");
        return Finding::broken(MACHINE, what, STATUS_PAGE);
    }
    let told = format!("{id} is {state}{}", lately(machine));
    match state {
        "started" if online::ends_again_and_again(machine) => Finding::warning(
            MACHINE,
            format!("its program ended lately: {told}"),
            app_log,
        ),
        "started" => Finding::ok(
            MACHINE,
            format!("{id} in {region}, started, {}", guest(machine)),
        ),
        "stopped" | "suspended" if facts.target.autostop != Autostop::Off => Finding::ok(
            MACHINE,
            format!("{id} in {region}, {state} until somebody asks, as configured"),
        ),
        "created" | "stopped" | "suspended" => {
            Finding::broken(MACHINE, told, format!("{PROVISION}: it starts it"))
        }
        "failed" | "launch_failed" => Finding::broken(
            MACHINE,
            told,
            format!("{app_log}; `onsave provision` starts it again"),
        ),
        _ => Finding::warning(MACHINE, told, "look again in a minute"),
    }
}

/// Returns where the server's own words are.
fn log_of(app: &str) -> String {
    format!("`fly logs -a {app}` shows what the server wrote")
}

/// Returns the last events of a machine, as the end of a sentence.
fn lately(machine: &Machine) -> String {
    let events: Vec<String> = machine
        .events
        .iter()
        .take(TOLD_EVENTS)
        .map(|event| {
            let exit = match event.kind.as_str() {
                "exit" => online::exit_code(event),
                _ => String::new(),
            };
            format!("{}{exit}", online::told(event))
        })
        .collect();
    if events.is_empty() {
        String::new()
    } else {
        format!("; last events: {}", events.join("; "))
    }
}

fn guest(machine: &Machine) -> String {
    let guest = |key: &str| machine.config.pointer(&format!("/guest/{key}"));
    let number = |key: &str| guest(key).and_then(Value::as_u64).unwrap_or_default();
    let kind = guest("cpu_kind").and_then(Value::as_str).unwrap_or("?");
    format!("{kind} {}x, {} MB", number("cpus"), number("memory_mb"))
}

fn checks(app: &str, machine: &Machine) -> Finding {
    let all = machine.checks.len();
    let passing = machine
        .checks
        .iter()
        .filter(|c| c.status == "passing")
        .count();
    let bad = machine
        .checks
        .iter()
        .find(|check| check.status != "passing");
    let Some(bad) = bad else {
        return if all == 0 {
            Finding::warning(CHECKS, "the machine has none", PROVISION)
        } else {
            Finding::ok(CHECKS, format!("{passing} of {all} pass"))
        };
    };
    let output: String = bad.output.trim().chars().take(TOLD_OUTPUT).collect();
    let output = if output.is_empty() {
        "no output yet"
    } else {
        &output
    };
    let what = format!("{} is {}: {output}", bad.name, bad.status);
    let fix = format!(
        "{}; the platform's proxy sends nobody to a machine whose checks do not pass",
        log_of(app)
    );
    if bad.status == "critical" {
        Finding::broken(CHECKS, what, fix)
    } else {
        Finding::warning(CHECKS, what, fix)
    }
}

fn image(target: &FlyTarget, machine: &Machine) -> Finding {
    let runs = machine.config.get("image").and_then(Value::as_str);
    let runs = runs.unwrap_or("an image without a name");
    let digest = machine
        .image_ref
        .as_ref()
        .map(|image| image.digest.as_str());
    let digest = digest.filter(|digest| !digest.is_empty());
    let digest = digest.map_or_else(String::new, |digest| format!(" ({digest:.19})"));
    match &target.image {
        Some(wanted) if wanted != runs => Finding::warning(
            IMAGE,
            format!("the machine runs {runs}, and fly.image is {wanted}"),
            PROVISION,
        ),
        _ => Finding::ok(IMAGE, format!("{runs}{digest}")),
    }
}

/// Returns what there is, as the plan looks at it; nothing where a part could not be had.
fn actual_of(
    facts: &FlyFacts,
    (app, inside): (&App, &Inside),
    server: Option<&ServerFacts>,
) -> Option<Actual> {
    let secrets = inside.secrets.as_ref().ok()?;
    let set = secrets.iter().find(|secret| secret.name == SECRET);
    let digest = set.map(|secret| secret.digest.clone());
    let remembered = facts.record.as_ref().and_then(|r| r.secret_digest.clone());
    let secret = facts.secret.as_ref().ok();
    Some(Actual {
        app: Some(app.clone()),
        ips: inside.ips.as_ref().ok()?.clone(),
        has_secret: set.is_some(),
        has_previous_secret: secrets.iter().any(|s| s.name == actual::PREVIOUS_SECRET),
        secret_remembered: remembered.is_some() && remembered == digest,
        secret_begun: secret.is_some_and(|secret| secret.begun),
        secret_digest: digest,
        volumes: inside.volumes.as_ref().ok()?.clone(),
        machines: inside.machines.as_ref().ok()?.clone(),
        certificates: inside.certificates.as_ref().ok()?.clone(),
        server: seen(secret, server),
    })
}

fn seen(secret: Option<&SecretFacts>, server: Option<&ServerFacts>) -> actual::ServerSeen {
    match (server.map(|server| &server.seen), secret.map(|s| s.taken)) {
        (Some(ServerSeen::Healthy { health, .. }), _) => {
            actual::ServerSeen::Answers(health.clone())
        }
        (_, Some(Taken::Neither)) => actual::ServerSeen::RefusesSecret,
        (Some(_), _) => actual::ServerSeen::NoAnswer,
        (None, _) => actual::ServerSeen::NotAsked,
    }
}

/// Returns what `onsave provision` would do that no other finding tells.
fn settings(facts: &FlyFacts, actual: &Actual) -> Vec<Finding> {
    let image = match &facts.target.image {
        Some(public) => WantedImage::Public(public.clone()),
        None => WantedImage::AsItIs,
    };
    let wanted = Wanted {
        app: &facts.app,
        target: &facts.target,
        image: &image,
        secret: SecretWish::Keep,
        known_domains: facts.record.as_ref().map_or(&[], |record| &record.domains),
        is_remembered: facts.record.is_some(),
    };
    match plan::plan(&wanted, actual) {
        // The volume's own finding says it.
        Err(Obstacle::HostUnreachable { .. }) => Vec::new(),
        Err(obstacle) => vec![Finding::error(SETTINGS, &obstacle, Some(obstacle.hint()))],
        Ok(plan) => differences(&plan),
    }
}

fn differences(plan: &Plan) -> Vec<Finding> {
    let mut findings: Vec<Finding> = plan
        .steps
        .iter()
        .filter_map(difference)
        .map(|what| Finding::warning(SETTINGS, what, PROVISION))
        .collect();
    findings.extend(plan.remarks.iter().map(|remark| {
        // A remark says how to be rid of it.
        let (what, fix) = remark.split_once("; ").unwrap_or((remark, "leave it so"));
        Finding::warning(SETTINGS, what, fix)
    }));
    if findings.is_empty() {
        findings.push(Finding::ok(SETTINGS, "all as configured"));
    }
    findings
}

fn difference(step: &Step) -> Option<String> {
    match step {
        Step::UpdateMachine { changes, .. } => {
            // The secret and the image have their own findings.
            let told: Vec<&str> = changes
                .iter()
                .map(String::as_str)
                .filter(|change| !matches!(*change, "the secret" | "another image"))
                .collect();
            (!told.is_empty()).then(|| format!("the machine differs: {}", told.join("; ")))
        }
        Step::ExtendVolume { from_gb, to_gb, .. } => Some(format!(
            "the volume has {from_gb} GB, and fly.volume_gb is {to_gb}"
        )),
        Step::KeepSnapshots { days, .. } => Some(format!(
            "snapshots are not kept for fly.snapshot_days = {days}"
        )),
        Step::RemoveCertificate(domain) => Some(format!(
            "the app has a certificate for {domain}, which left fly.domains"
        )),
        // Each of these is told where the thing itself is looked at.
        Step::CreateApp
        | Step::AssignIp(_)
        | Step::PushImage { .. }
        | Step::SetSecret(_)
        | Step::CreateVolume
        | Step::CreateMachine
        | Step::StartMachine { .. }
        | Step::AwaitServer
        | Step::RequestCertificate(_) => None,
    }
}
