//! Failures that a user will meet: each is recognised, and the next step is said.

use super::desk::{Desk, Said};
use crate::fly_simulator::{Failure, Operation, READ_ONLY_TOKEN};

/// Where it goes wrong, what goes wrong, and what has to be said.
const CASES: &[(Operation, Failure, i32, &[&str])] = &[
    (
        Operation::AppCreate,
        Failure::HighRisk,
        5,
        &["marked as high risk", "https://fly.io/high-risk-unlock"],
    ),
    (
        Operation::AppCreate,
        Failure::TrialEnded,
        5,
        &["free trial", "https://fly.io/trial"],
    ),
    (
        Operation::VolumeCreate,
        Failure::OverQuota,
        5,
        &["over the allowed quota", "billing@fly.io"],
    ),
    (
        Operation::VolumeCreate,
        Failure::NoCapacity,
        5,
        &[
            "the region arn has no room",
            "the nearest regions with room are",
        ],
    ),
    (
        Operation::MachineCreate,
        Failure::CardNeeded,
        5,
        &[
            "payment method",
            "https://fly.io/dashboard/personal/billing",
        ],
    ),
    (
        Operation::MachineCreate,
        Failure::InsufficientCapacity,
        5,
        &["the region arn has no room"],
    ),
    (
        Operation::MachineCreate,
        Failure::ReservationLost,
        5,
        &["the region arn has no room"],
    ),
    (
        Operation::MachineCreate,
        Failure::NoRoomBesideVolume,
        5,
        &["existing volume", "host is full"],
    ),
    (
        Operation::MachineCreate,
        Failure::VolumeInWrongRegion,
        5,
        &["wrong region", "a volume cannot move"],
    ),
    (
        Operation::MachineCreate,
        Failure::ImageTooBig,
        5,
        &["exceeds maximum", "smaller image"],
    ),
    (
        Operation::MachineCreate,
        Failure::Unknown,
        5,
        &[
            "the frobnicator of this host is out of phase (E7731)",
            "request ",
        ],
    ),
];

#[test]
fn each_refusal_is_explained_with_the_next_step_and_the_next_run_goes_on() {
    let desk = Desk::new();
    for (operation, failure, code, parts) in CASES {
        desk.fly.fail_next(*operation, *failure);
        desk.run(&["provision"]).assert_failed(*code, parts);
        assert_eq!(desk.fly.unmet_failures(), [], "{failure:?}");
    }
    desk.run_well(&["publish"]);
    desk.assert_complete();
}

/// A region without room offers those that have.
#[test]
fn a_full_region_offers_the_nearest_with_room() {
    let desk = Desk::new();
    desk.fly.fill_region("arn");
    let said = desk.run(&["provision"]);
    said.assert_failed(
        5,
        &[
            "the region arn has no room",
            "the nearest regions with room are",
        ],
    );
    assert!(!said.stderr.contains("arn ("), "{said:?}");
    desk.configure("\n[fly]\nregion = \"fra\"\n");
    desk.run_well(&["publish"]);
    desk.assert_complete();
}

#[test]
fn passing_failures_are_waited_for() {
    let desk = Desk::new();
    for (operation, failure) in [
        (Operation::AppGet, Failure::Status(502)),
        (Operation::AppCreate, Failure::TooManyRequests(1)),
        (Operation::IpAssign, Failure::Status(503)),
        (Operation::SecretsSet, Failure::Status(500)),
        (Operation::MachineCreate, Failure::SecretsNotVisible),
        (Operation::MachineCreate, Failure::ImageNotVisible),
    ] {
        desk.fly.fail_next(operation, failure);
    }
    desk.run_well(&["publish"]);
    assert_eq!(desk.fly.unmet_failures(), []);
    desk.assert_complete();
}

#[test]
fn tokens_that_do_not_do_are_told_apart() {
    let desk = Desk::new();
    let with_token = |token: &str| {
        let mut command = desk.command_without_token(&["publish"]);
        Said::of(command.env("FLY_API_TOKEN", token))
    };
    with_token("").assert_failed(
        3,
        &["there is no token for Fly.io", "fly tokens create org"],
    );
    with_token("two words").assert_failed(3, &["FLY_API_TOKEN", "cannot be used"]);
    with_token("fm2_unknown").assert_failed(5, &["the token is wrong or expired"]);
    with_token(READ_ONLY_TOKEN).assert_failed(5, &["read-only", "fly tokens create org"]);
}

#[test]
fn a_server_that_ends_at_once_is_told_with_the_last_events() {
    let desk = Desk::new();
    desk.fly
        .fail_next(Operation::MachineCreate, Failure::CrashAtBoot);
    desk.run(&["publish"]).assert_failed(
        4,
        &[
            "did not come online",
            "the server ends soon after its start",
            "last events",
            "exit",
        ],
    );
}

#[test]
fn a_lease_that_somebody_holds_is_named() {
    let desk = Desk::new();
    desk.run_well(&["publish"]);
    desk.configure("\n[fly]\nmemory_mb = 512\n");
    let machine = desk.machine();
    desk.fly
        .hold_lease(("my-site", machine["id"].as_str().expect("an id")), 600);
    desk.run(&["provision"])
        .assert_failed(5, &["someone@example.com", "until its lease ends"]);
    desk.assert_complete();
}

#[test]
fn a_program_that_is_not_static_is_refused_with_the_command_that_builds_one() {
    let desk = Desk::new();
    let mut command = desk.command(&["publish"]);
    command.env("ONSAVE_FLY_SERVER_BINARY", "/bin/true");
    Said::of(&mut command).assert_failed(1, &["/bin/true", "cargo build --release"]);
    assert_eq!(desk.writes(), Vec::<String>::new());
}
