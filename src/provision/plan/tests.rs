//! Steps from what is there to what ought to be.

use serde_json::json;

use super::*;
use crate::{
    fly::resources::{App, AppOrganisation, IpAssignment},
    provision::tests::target,
};

const IMAGE: &str = "registry.fly.io/my-site:onsave-1";

fn made() -> WantedImage {
    WantedImage::Made {
        reference: IMAGE.into(),
        bytes: 8_000_000,
    }
}

fn app() -> App {
    App {
        name: "my-site".into(),
        status: "deployed".into(),
        organization: AppOrganisation {
            slug: "personal".into(),
        },
    }
}

fn ip(ip: &str) -> IpAssignment {
    IpAssignment {
        ip: ip.into(),
        shared: false,
    }
}

fn volume(region: &str, size_gb: u32) -> Volume {
    serde_json::from_value(json!({
        "id": "vol_1", "name": "site_data", "state": "created", "size_gb": size_gb,
        "region": region, "snapshot_retention": 5,
    }))
    .unwrap()
}

fn machine(config: &Value) -> Machine {
    serde_json::from_value(json!({
        "id": "m1", "name": "onsave", "state": "started", "region": "arn", "config": config,
    }))
    .unwrap()
}

fn health() -> ServerSeen {
    let health = json!({
        "ok": true, "version": "1.0.0", "currentDeployId": null, "files": 0, "bytes": 0,
        "volumeBytes": 1, "volumeFreeBytes": 1, "serverVersion": "0.1.0", "unixMs": 0,
    });
    ServerSeen::Answers(Box::new(serde_json::from_value(health).unwrap()))
}

/// What a finished run leaves.
fn complete(target: &FlyTarget) -> Actual {
    Actual {
        app: Some(app()),
        ips: vec![ip("2a09:8280:1::1"), ip("66.241.125.1")],
        has_secret: true,
        secret_remembered: true,
        secret_digest: Some("d".into()),
        volumes: vec![volume("arn", 1)],
        machines: vec![machine(&machine_config::wanted(target, IMAGE, "vol_1"))],
        server: health(),
        ..Actual::default()
    }
}

struct Case {
    target: FlyTarget,
    image: WantedImage,
    secret: SecretWish,
    known_domains: Vec<String>,
    is_remembered: bool,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            target: target(),
            image: WantedImage::AsItIs,
            secret: SecretWish::Keep,
            known_domains: Vec::new(),
            is_remembered: false,
        }
    }
}

impl Case {
    fn plan(&self, actual: &Actual) -> Result<Plan, Obstacle> {
        let wanted = Wanted {
            app: "my-site",
            target: &self.target,
            image: &self.image,
            secret: self.secret,
            known_domains: &self.known_domains,
            is_remembered: self.is_remembered,
        };
        plan(&wanted, actual)
    }

    fn names(&self, actual: &Actual) -> Vec<&'static str> {
        let plan = self.plan(actual).unwrap();
        plan.steps.iter().map(Step::name).collect()
    }
}

#[test]
fn a_first_run_makes_everything_in_its_order() {
    let mut case = Case {
        image: made(),
        ..Case::default()
    };
    case.target.domains = vec!["example.org".into()];
    assert_eq!(
        case.names(&Actual::default()),
        [
            "createApp",
            "assignIp",
            "assignIp",
            "pushImage",
            "setSecret",
            "createVolume",
            "createMachine",
            "awaitServer",
            "requestCertificate"
        ]
    );
}

#[test]
fn nothing_is_done_where_all_is_as_wanted() {
    let case = Case::default();
    let plan = case.plan(&complete(&case.target)).unwrap();
    assert_eq!(plan.steps, []);
    assert_eq!(plan.remarks, Vec::<String>::new());
    assert_eq!(plan.volume_id.as_deref(), Some("vol_1"));
    assert_eq!(plan.machine_id.as_deref(), Some("m1"));
}

/// Wherever a run was stopped, the next one does the rest and nothing twice.
#[test]
fn a_run_that_was_stopped_is_finished() {
    let case = Case {
        image: made(),
        ..Case::default()
    };
    let whole = case.names(&Actual::default());
    let complete = complete(&case.target);
    let mut actual = Actual {
        app: complete.app.clone(),
        ..Actual::default()
    };
    assert_eq!(case.names(&actual), whole[1..]);
    actual.ips = complete.ips[..1].to_vec();
    assert_eq!(case.names(&actual), whole[2..]);
    actual.ips.clone_from(&complete.ips);
    assert_eq!(case.names(&actual), whole[3..]);
    // The secret was set, and no server ever said that it takes it.
    actual.has_secret = true;
    actual.secret_begun = true;
    actual.secret_remembered = false;
    assert_eq!(
        case.names(&actual),
        [
            "pushImage",
            "setSecret",
            "createVolume",
            "createMachine",
            "awaitServer"
        ]
    );
    actual.volumes.clone_from(&complete.volumes);
    assert_eq!(
        case.names(&actual),
        ["pushImage", "setSecret", "createMachine", "awaitServer"]
    );
    // The machine was made; its server answers to the secret that was begun.
    actual.machines.clone_from(&complete.machines);
    actual.server = health();
    actual.secret_begun = false;
    let as_it_is = Case::default();
    assert_eq!(as_it_is.names(&actual), Vec::<&str>::new());
}

#[test]
fn a_machine_that_stands_still_is_started_and_waited_for() {
    let case = Case::default();
    let mut actual = complete(&case.target);
    actual.machines[0].state = "stopped".into();
    actual.server = ServerSeen::NoAnswer;
    assert_eq!(case.names(&actual), ["startMachine", "awaitServer"]);
}

#[test]
fn a_machine_that_may_sleep_is_left_asleep() {
    let mut case = Case::default();
    case.target.autostop = Autostop::Suspend;
    let mut actual = complete(&case.target);
    actual.machines[0].state = "suspended".into();
    assert_eq!(case.names(&actual), Vec::<&str>::new());
    actual.machines[0].state = "failed".into();
    assert_eq!(case.names(&actual), ["startMachine", "awaitServer"]);
}

#[test]
fn a_server_that_does_not_answer_is_waited_for() {
    let case = Case::default();
    let mut actual = complete(&case.target);
    actual.server = ServerSeen::NoAnswer;
    assert_eq!(case.names(&actual), ["awaitServer"]);
}

#[test]
fn a_secret_that_drifted_is_set_and_the_machine_rolled() {
    let case = Case::default();
    let mut actual = complete(&case.target);
    actual.server = ServerSeen::RefusesSecret;
    let plan = case.plan(&actual).unwrap();
    assert_eq!(
        plan.steps,
        [
            Step::SetSecret(SecretReason::Unknown),
            Step::UpdateMachine {
                id: "m1".into(),
                changes: vec!["the secret".into()]
            },
            Step::AwaitServer,
        ]
    );
    actual.secret_begun = true;
    let plan = case.plan(&actual).unwrap();
    assert_eq!(plan.steps[0], Step::SetSecret(SecretReason::Unfinished));
}

#[test]
fn a_rotation_sets_a_second_secret_whoever_answers() {
    let case = Case {
        secret: SecretWish::Rotate,
        ..Case::default()
    };
    let plan = case.plan(&complete(&case.target)).unwrap();
    assert_eq!(plan.steps[0], Step::SetSecret(SecretReason::Rotated));
    assert_eq!(plan.steps[1].name(), "updateMachine");
    let reason = |change: fn(&mut Actual)| {
        let mut actual = complete(&case.target);
        change(&mut actual);
        case.plan(&actual).unwrap().steps[0].clone()
    };
    // A rotation that was stopped: what the server has goes on beside the new one.
    let stopped = reason(|actual| {
        actual.server = ServerSeen::NoAnswer;
        actual.secret_begun = true;
    });
    assert_eq!(stopped, Step::SetSecret(SecretReason::Rotated));
    // What the server does not take, or nobody here knows, cannot go on, and is not said to.
    let refused = reason(|actual| actual.server = ServerSeen::RefusesSecret);
    assert_eq!(refused, Step::SetSecret(SecretReason::Unknown));
    let unknown = reason(|actual| {
        actual.server = ServerSeen::NotAsked;
        actual.secret_remembered = false;
    });
    assert_eq!(unknown, Step::SetSecret(SecretReason::Unknown));
}

#[test]
fn a_changed_configuration_is_converged() {
    let mut case = Case::default();
    let actual = complete(&case.target);
    case.target.guest.memory_mb = 512;
    case.target.volume.size_gb = 3;
    case.target.volume.snapshot_days = 14;
    let plan = case.plan(&actual).unwrap();
    let told: Vec<String> = plan.steps.iter().map(Step::to_string).collect();
    assert_eq!(
        told,
        [
            "extend the volume from 1 to 3 GB",
            "keep the volume's snapshots for 14 days",
            "update the machine: size shared 1x 512 MB instead of shared 1x 256 MB",
            "wait for the server",
        ]
    );
}

#[test]
fn a_rebuild_pushes_and_updates_only_what_is_another_image() {
    let case = Case {
        image: made(),
        ..Case::default()
    };
    let mut actual = complete(&case.target);
    assert_eq!(case.names(&actual), Vec::<&str>::new());
    actual.machines[0].config["image"] = "registry.fly.io/my-site:onsave-0".into();
    assert_eq!(
        case.names(&actual),
        ["pushImage", "updateMachine", "awaitServer"]
    );
    // A public image is not pushed.
    let public = Case {
        image: WantedImage::Public("ghcr.io/a/b:1".into()),
        ..Case::default()
    };
    assert_eq!(public.names(&actual), ["updateMachine", "awaitServer"]);
}

#[test]
fn a_public_image_that_is_not_configured_any_more_is_told() {
    let case = Case::default();
    let mut actual = complete(&case.target);
    actual.machines[0].config["image"] = "ghcr.io/a/b:1".into();
    let plan = case.plan(&actual).unwrap();
    assert_eq!(plan.steps, []);
    assert!(plan.remarks[0].contains("ghcr.io/a/b:1") && plan.remarks[0].contains("--rebuild"));
}

#[test]
fn domains_follow_the_configuration_and_others_are_left_alone() {
    let mut case = Case::default();
    case.target.domains = vec!["new.example".into(), "kept.example".into()];
    case.known_domains = vec!["old.example".into()];
    let certificate = |host: &str| -> Certificate {
        serde_json::from_value(json!({"hostname": host, "configured": true})).unwrap()
    };
    let mut actual = complete(&case.target);
    actual.certificates = ["kept.example", "old.example", "theirs.example"]
        .map(certificate)
        .to_vec();
    let plan = case.plan(&actual).unwrap();
    assert_eq!(
        plan.steps,
        [
            Step::RequestCertificate("new.example".into()),
            Step::RemoveCertificate("old.example".into()),
        ]
    );
    assert_eq!(plan.remarks.len(), 1);
    assert!(plan.remarks[0].contains("theirs.example"));
}

#[test]
fn what_cannot_be_done_in_place_is_said() {
    let case = Case::default();
    let with = |change: fn(&mut Actual)| {
        let mut actual = complete(&case.target);
        change(&mut actual);
        case.plan(&actual)
    };
    let elsewhere = with(|actual| actual.volumes[0].region = "fra".into()).unwrap_err();
    assert!(matches!(&elsewhere, Obstacle::OtherRegion { actual, .. } if actual == "fra"));
    assert!(elsewhere.hint().contains("fly.region = \"fra\""));
    let gone = with(|actual| actual.volumes[0].state = "pending_destroy".into()).unwrap_err();
    assert!(matches!(gone, Obstacle::VolumeGone { .. }));
    let unreachable =
        with(|actual| actual.volumes[0].host_status = Some("unreachable".into())).unwrap_err();
    assert!(matches!(unreachable, Obstacle::HostUnreachable { .. }));
    let unknown = with(|actual| actual.machines[0].config = Value::Null).unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "the hardware under the machine m1 does not answer"
    );
    let larger = with(|actual| actual.volumes[0].size_gb = 20).unwrap();
    assert_eq!(larger.steps, []);
    assert!(larger.remarks[0].contains("never made smaller"));
}

#[test]
fn an_app_that_runs_something_else_is_left_alone() {
    let case = Case {
        image: made(),
        ..Case::default()
    };
    let mut actual = complete(&case.target);
    actual.machines[0].config = json!({"image": "ghcr.io/shop:1"});
    let error = case.plan(&actual).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the app my-site runs machines that onsave did not make (m1)"
    );
    // Nor is a volume at the same place a sign, unless the app is remembered.
    actual.machines[0].config["mounts"] = json!([{"volume": "vol_1", "path": "/srv"}]);
    assert!(case.plan(&actual).is_err());
    let remembered = Case {
        is_remembered: true,
        ..Case::default()
    };
    assert_eq!(
        remembered.names(&actual),
        ["updateMachine", "awaitServer"],
        "somebody deployed another file"
    );
    // Dead ones are no hindrance.
    actual.machines[0].state = "destroyed".into();
    actual.server = ServerSeen::NotAsked;
    assert!(case.names(&actual).contains(&"createMachine"));
}

#[test]
fn a_volume_elsewhere_is_no_reason_to_make_a_second() {
    let case = Case {
        image: made(),
        ..Case::default()
    };
    let actual = Actual {
        app: Some(app()),
        volumes: vec![volume("fra", 1)],
        ..Actual::default()
    };
    assert!(matches!(
        case.plan(&actual),
        Err(Obstacle::OtherRegion { .. })
    ));
}

#[test]
fn without_an_answer_the_memory_decides_about_the_secret() {
    let case = Case::default();
    let mut actual = complete(&case.target);
    actual.server = ServerSeen::NoAnswer;
    assert!(!case.names(&actual).contains(&"setSecret"));
    actual.secret_begun = true;
    let plan = case.plan(&actual).unwrap();
    assert_eq!(plan.steps[0], Step::SetSecret(SecretReason::Unfinished));
    actual.secret_begun = false;
    actual.secret_remembered = false;
    let plan = case.plan(&actual).unwrap();
    assert_eq!(plan.steps[0], Step::SetSecret(SecretReason::Unknown));
}

/// The API changes one machine; a deploy of flyctl changes all that the app has.
#[test]
fn a_machine_beside_ours_is_left_alone() {
    let mut case = Case::default();
    let mut actual = complete(&case.target);
    let mut other = machine(&json!({"image": "ghcr.io/worker:1"}));
    other.id = "m2".into();
    actual.machines.push(other);
    assert_eq!(case.names(&actual), Vec::<&str>::new());
    case.target.driver = FlyDriver::Flyctl;
    let error = case.plan(&actual).unwrap_err();
    assert!(error.to_string().ends_with("(m2)"), "{error}");
}
