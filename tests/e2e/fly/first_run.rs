//! The first run: from nothing to a live site, stopped anywhere or not.

use std::fs;

use serde_json::json;

use super::desk::{APP, Desk, Said};
use crate::{
    fly_simulator::{Delays, Failure, Operation, Options, RegistryBehind, USER_TOKEN},
    harness::{
        eventually,
        registry::{DockerRegistry, TOKEN},
    },
};

#[test]
fn the_first_publish_makes_everything_and_the_next_only_publishes() {
    let desk = Desk::new();
    let said = desk.run_well(&["publish"]);
    assert!(said.stderr.contains("make the machine"), "{said:?}");
    assert!(said.stderr.contains("live at http://"), "{said:?}");
    desk.assert_complete();
    let machine = desk.machine();
    assert_eq!(machine["region"], "arn");
    assert_eq!(machine["config"]["guest"]["memory_mb"], 256);
    assert_eq!(machine["config"]["mounts"][0]["path"], "/srv");
    assert_eq!(machine["config"]["metadata"]["onsave"], "1");
    let asked = desk.fly.requests().len();

    desk.world.site.save("index.html", "<h1>second</h1>");
    // Nobody needs a token for that, and the platform is not asked.
    let said = Said::of(&mut desk.command_without_token(&["publish"]));
    assert!(said.output.status.success(), "{said:?}");
    assert_eq!(desk.page("/").as_deref(), Some("<h1>second</h1>"));
    assert_eq!(desk.fly.requests().len(), asked);
}

#[test]
fn watch_makes_the_app_and_each_save_is_live() {
    let desk = Desk::new();
    let mut daemon = desk.world.start("watch", &mut desk.command(&["watch"]));
    eventually("the first publish", || {
        daemon.assert_running();
        desk.page("/").as_deref() == Some("<h1>first</h1>")
    });
    desk.world.site.save("index.html", "<h1>second</h1>");
    eventually("the save", || {
        desk.page("/").as_deref() == Some("<h1>second</h1>")
    });
    assert_eq!(daemon.interrupt().code(), Some(0));
}

/// A daemon and a command that start together make one app.
#[test]
fn two_first_runs_at_once_make_everything_once() {
    let desk = Desk::new();
    let mut daemon = desk.world.start("watch", &mut desk.command(&["watch"]));
    desk.run_well(&["publish"]);
    desk.assert_complete();
    daemon.assert_running();
    let makes = |path: &str| {
        let writes = desk.writes().into_iter();
        writes.filter(|write| write == path).count()
    };
    assert_eq!(makes("POST /v1/apps"), 1);
    assert_eq!(makes(&format!("POST /v1/apps/{APP}/secrets")), 1);
}

/// What only looks makes nothing, and changes nothing of an app that is there.
#[test]
fn commands_that_look_make_no_app() {
    let desk = Desk::new();
    let looks = [&["deploys"][..], &["rollback"], &["publish", "--dry-run"]];
    for look in looks {
        desk.run(look)
            .assert_failed(1, &["there is no app my-site", "onsave publish"]);
    }
    assert_eq!(desk.fly.requests().len(), 0);
    desk.run_well(&["publish"]);
    desk.configure("\n[fly]\nmemory_mb = 512\n");
    let asked = desk.fly.requests().len();
    desk.run_well(&["deploys"]);
    desk.run_well(&["publish", "--dry-run"]);
    assert_eq!(desk.fly.requests().len(), asked);
}

#[test]
fn a_plan_changes_nothing_and_a_second_run_only_reads() {
    let desk = Desk::new();
    let plan = desk.run_json(&["provision", "--plan", "--json"]);
    assert_eq!(plan["status"], "plan");
    let steps: Vec<&str> = plan["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["step"].as_str().unwrap())
        .collect();
    assert_eq!(
        steps,
        [
            "createApp",
            "assignIp",
            "assignIp",
            "pushImage",
            "setSecret",
            "createVolume",
            "createMachine",
            "awaitServer"
        ]
    );
    assert_eq!(desk.writes(), Vec::<String>::new());

    let made = desk.run_json(&["provision", "--json"]);
    assert_eq!(made["status"], "provisioned");
    assert_eq!(made["liveUrl"], desk.fly.edge_url());
    let writes = desk.writes();

    let again = desk.run_json(&["provision", "--json"]);
    assert_eq!(again["status"], "inStep");
    let plan = desk.run_well(&["provision", "--plan"]);
    assert_eq!(
        plan.stdout,
        "nothing to do: the app my-site is as configured\n"
    );
    assert_eq!(desk.writes(), writes);
}

/// Whatever step is the last one of a run, the next run does the rest, and nothing twice.
#[test]
fn a_run_that_is_stopped_anywhere_is_finished_by_the_next() {
    let desk = Desk::new();
    for operation in [
        Operation::AppCreate,
        Operation::IpAssign,
        Operation::ManifestPut,
        Operation::SecretsSet,
        Operation::VolumeCreate,
        Operation::MachineCreate,
    ] {
        desk.fly.fail_next(operation, Failure::Unknown);
        let said = desk.run(&["publish"]);
        assert!(!said.output.status.success(), "{operation:?}: {said:?}");
        assert!(
            said.stderr.contains("out of phase"),
            "{operation:?}: {said:?}"
        );
        assert_eq!(desk.fly.unmet_failures(), [], "{said:?}");
    }
    desk.run_well(&["publish"]);
    desk.assert_complete();
    let written = |path: &str| {
        let writes = desk.writes().into_iter();
        writes.filter(|write| write.starts_with(path)).count()
    };
    assert_eq!(written(&format!("POST /v1/apps/{APP}/machines")), 2);
    assert_eq!(written(&format!("POST /v1/apps/{APP}/volumes")), 2);
}

/// The platform acted, and its answer was lost: nothing is made a second time.
#[test]
fn lost_answers_make_nothing_twice() {
    let desk = Desk::with(&Options {
        delays: Delays::eventual(),
        ..Options::default()
    });
    for (operation, failure) in [
        (Operation::AppCreate, Failure::CutAfter),
        (Operation::IpAssign, Failure::CutAfter),
        (Operation::SecretsSet, Failure::ActedThenTimedOut),
        (Operation::VolumeCreate, Failure::CutAfter),
        (Operation::MachineCreate, Failure::ActedThenTimedOut),
        (Operation::MachineCreate, Failure::ImageNotVisible),
        (Operation::UploadStart, Failure::Status(502)),
        (Operation::MachineWait, Failure::Status(500)),
    ] {
        desk.fly.fail_next(operation, failure);
    }
    desk.run_well(&["publish"]);
    desk.assert_complete();
}

#[test]
fn the_image_goes_through_a_real_registry_to_a_machine_that_runs_it() {
    let registry = DockerRegistry::start();
    let desk = Desk::with(&Options {
        registry: Some(RegistryBehind {
            address: registry.address(),
            token: Some(TOKEN),
        }),
        ..Options::default()
    });
    desk.run_well(&["publish"]);
    desk.assert_complete();
}

#[test]
fn a_name_that_is_taken_gets_a_suffix_that_is_written_down() {
    let desk = Desk::new();
    desk.fly.take_name(APP);
    let made = desk.run_json(&["provision", "--json"]);
    let app = made["app"].as_str().unwrap();
    assert!(app.starts_with("my-site-"), "{app}");
    assert_eq!(
        desk.configuration(),
        format!("app = \"{app}\" # the name\n\n[target]\nkind = \"fly\"\n")
    );
    // Without what is remembered here, the same app is found again.
    fs::remove_file(desk.state().join("fly.json")).unwrap();
    let again = desk.run_json(&["provision", "--json"]);
    assert_eq!(again["app"], app);
    assert_eq!(again["steps"], json!([]));
    // As a run leaves it that was killed before it could write the name down.
    desk.configure("");
    fs::remove_file(desk.state().join("fly.json")).unwrap();
    let said = desk.run_well(&["provision"]);
    assert!(!said.stdout.contains("not written down"), "{said:?}");
    assert!(
        desk.configuration().contains(app),
        "{}",
        desk.configuration()
    );
    let makes = desk.writes().into_iter();
    assert_eq!(makes.filter(|write| write == "POST /v1/apps").count(), 1);
}

#[test]
fn a_name_that_somebody_insists_on_is_not_replaced() {
    let desk = Desk::new();
    desk.fly.take_name("shop");
    let mut command = desk.command(&["provision"]);
    Said::of(command.env("ONSAVE_APP", "shop")).assert_failed(
        3,
        &[
            "the app name shop is taken by somebody else",
            "choose another",
        ],
    );
    assert_eq!(desk.writes(), Vec::<String>::new());
}

#[test]
fn one_of_several_organisations_has_to_be_named() {
    let desk = Desk::with(&Options {
        organizations: vec!["personal", "shop"],
        ..Options::default()
    });
    let as_user = |more: &[(&str, &str)]| {
        let mut command = desk.command(&["provision", "--json"]);
        command.env("FLY_API_TOKEN", USER_TOKEN);
        command.envs(more.iter().copied());
        Said::of(&mut command)
    };
    as_user(&[]).assert_failed(
        3,
        &[
            "several organisations: personal, shop",
            "org = \"personal\"",
            "ONSAVE_FLY_ORG",
        ],
    );
    as_user(&[("ONSAVE_FLY_ORG", "bakery")])
        .assert_failed(3, &["bakery", "it reaches personal, shop"]);
    let said = as_user(&[("ONSAVE_FLY_ORG", "shop")]);
    assert!(said.output.status.success(), "{said:?}");
    let (_, app) = desk.ask_platform("GET", &format!("/v1/apps/{APP}"), &json!(null));
    assert_eq!(
        app["organization"]["slug"],
        json!(null),
        "another organisation's: {app}"
    );
}

#[test]
fn an_app_that_holds_something_else_is_left_alone() {
    let desk = Desk::new();
    desk.run_well(&["provision"]);
    // As if it had been made by somebody else, for something else.
    let machine = desk.machine();
    let path = format!(
        "/v1/apps/{APP}/machines/{}",
        machine["id"].as_str().unwrap()
    );
    let mut config = machine["config"].clone();
    config["metadata"] = json!({});
    config["mounts"] = json!([]);
    let (status, _) = desk.ask_platform("DELETE", &format!("{path}?force=true"), &json!(null));
    assert_eq!(status, 200);
    let other = json!({"name": "shop", "region": "arn", "config": config});
    let (status, made) = desk.ask_platform("POST", &format!("/v1/apps/{APP}/machines"), &other);
    assert_eq!(status, 200, "{made}");
    fs::remove_file(desk.state().join("fly.json")).unwrap();
    let writes = desk.writes().len();
    desk.run(&["publish"]).assert_failed(
        1,
        &[
            "runs machines that onsave did not make",
            "set app in onsave.toml",
        ],
    );
    desk.run(&["destroy", "--confirm", APP]).assert_failed(
        1,
        &[
            "nothing was removed",
            "runs machines that onsave did not make",
            "fly apps destroy my-site",
        ],
    );
    assert_eq!(desk.writes().len(), writes);
}
