//! What changes after the first run: the configuration, the server, and the end.

use std::{fs, path::PathBuf};

use super::desk::{APP, Desk, Said};
use crate::{
    fly_simulator::OneLayerImage,
    harness::{eventually, server::static_program},
};

#[test]
fn a_changed_configuration_is_converged_by_the_next_publish() {
    let desk = Desk::new();
    desk.run_well(&["publish"]);
    let volume = desk.volume();
    desk.configure("\n[fly]\nmemory_mb = 512\nvolume_gb = 3\n\n[serve]\nsingle_page = true\n");
    let said = desk.run_well(&["publish"]);
    assert!(
        said.stderr.contains("extend the volume from 1 to 3 GB"),
        "{said:?}"
    );
    let machine = desk.machine();
    assert_eq!(machine["config"]["guest"]["memory_mb"], 512);
    assert_eq!(machine["config"]["env"]["SINGLE_PAGE"], "true");
    assert_eq!(desk.volume()["size_gb"], 3);
    assert_eq!(desk.volume()["id"], volume["id"]);
    desk.assert_complete();

    // Smaller again: the machine can, the volume cannot, and that is said.
    desk.configure("\n[fly]\nvolume_limit_gb = 1\n");
    let said = desk.run_well(&["provision"]);
    assert!(
        said.stdout.contains("a volume is never made smaller"),
        "{said:?}"
    );
    assert_eq!(desk.machine()["config"]["guest"]["memory_mb"], 256);
    assert_eq!(desk.volume()["size_gb"], 3);
}

/// Killed while it holds the machine: the next run waits for the lease to end, and does the rest.
#[test]
fn a_run_that_was_killed_holds_nobody_up() {
    let desk = Desk::new();
    desk.run_well(&["publish"]);
    desk.configure("\n[fly]\nmemory_mb = 512\n");
    let leases = || {
        let writes = desk.writes().into_iter();
        writes.filter(|write| write.ends_with("/lease")).count()
    };
    let mut run = desk
        .world
        .start("provision", &mut desk.command(&["provision"]));
    eventually("the machine to be held", || leases() > 0);
    run.kill();
    desk.run_well(&["publish"]);
    assert_eq!(desk.machine()["config"]["guest"]["memory_mb"], 512);
    desk.assert_complete();
}

#[test]
fn another_region_is_refused_before_anything_is_done() {
    let desk = Desk::new();
    desk.run_well(&["publish"]);
    desk.configure("\n[fly]\nregion = \"fra\"\n");
    let writes = desk.writes();
    desk.run(&["publish"]).assert_failed(
        1,
        &[
            "is in arn, and fly.region is fra",
            "set fly.region = \"arn\"",
        ],
    );
    assert_eq!(desk.writes(), writes);
    desk.assert_complete();
}

/// A newer server on the same volume: the site and its deploys stay.
#[test]
fn a_rebuild_replaces_the_server_and_keeps_the_content() {
    let desk = Desk::new();
    desk.run_well(&["publish"]);
    let (machine, volume) = (desk.machine(), desk.volume());
    let deploys = desk.run_json(&["deploys", "--json"]);
    // Bytes after the program's end are no part of it: the same server, another image.
    let newer = desk.world.path("onsave-server");
    let mut program = fs::read(static_program()).expect("the program can be read");
    program.extend_from_slice(b"newer");
    fs::write(&newer, program).expect("it can be written");
    let rebuild = |arguments: &[&str]| {
        let mut command = desk.command(arguments);
        command.env("ONSAVE_FLY_SERVER_BINARY", &newer);
        let said = Said::of(&mut command);
        assert!(said.output.status.success(), "{said:?}");
        said
    };
    // Not unasked.
    let said = rebuild(&["provision"]);
    assert!(said.stdout.contains("nothing to do"), "{said:?}");
    let said = rebuild(&["provision", "--rebuild"]);
    assert!(
        said.stderr.contains("update the machine: another image"),
        "{said:?}"
    );
    let after = desk.machine();
    assert_eq!(after["id"], machine["id"]);
    assert_ne!(after["instance_id"], machine["instance_id"]);
    assert_ne!(after["config"]["image"], machine["config"]["image"]);
    assert_eq!(desk.volume()["id"], volume["id"]);
    assert_eq!(desk.run_json(&["deploys", "--json"]), deploys);
    desk.assert_complete();
    let (status, _) = desk.ask_platform(
        "GET",
        &format!(
            "/v1/apps/{APP}/machines/{}/lease",
            machine["id"].as_str().expect("an id")
        ),
        &serde_json::Value::Null,
    );
    assert_eq!(status, 404, "the lease was given back");
}

/// Returns the server as if it had been built from an older version, in `desk`'s own folder.
fn older_server(desk: &Desk) -> PathBuf {
    let mut program = fs::read(static_program()).expect("the program can be read");
    let version = env!("CARGO_PKG_VERSION").as_bytes();
    let older = b"0.0.9";
    assert_eq!(version.len(), older.len(), "the text keeps its length");
    let places: Vec<usize> = program
        .windows(version.len())
        .enumerate()
        .filter(|(_, window)| *window == version)
        .map(|(place, _)| place)
        .collect();
    assert!(!places.is_empty(), "the program holds its version");
    for place in places {
        program[place..place + older.len()].copy_from_slice(older);
    }
    let path = desk.world.path("older-server");
    fs::write(&path, program).expect("it can be written");
    path
}

#[test]
fn an_older_server_is_told_and_replaced_only_where_that_is_allowed() {
    let desk = Desk::new();
    let mut command = desk.command(&["publish"]);
    command.env("ONSAVE_FLY_SERVER_BINARY", older_server(&desk));
    let said = Said::of(&mut command);
    assert!(said.output.status.success(), "{said:?}");
    let older = desk.machine();

    let said = desk.run_well(&["publish"]);
    assert!(
        said.stderr.contains("the server is older than this onsave"),
        "{said:?}"
    );
    assert!(said.stderr.contains("--rebuild"), "{said:?}");
    assert_eq!(desk.machine()["instance_id"], older["instance_id"]);

    desk.configure("\n[fly]\nauto_rebuild = true\n");
    let said = desk.run_well(&["publish"]);
    assert!(
        said.stderr.contains("update the machine: another image"),
        "{said:?}"
    );
    assert_ne!(desk.machine()["instance_id"], older["instance_id"]);
    let said = desk.run_well(&["publish"]);
    assert!(!said.stderr.contains("older"), "{said:?}");
    desk.assert_complete();
}

/// Any public image will do; nothing is built or pushed then.
#[test]
fn a_public_image_runs_in_place_of_our_own() {
    let desk = Desk::new();
    let program = fs::read(static_program()).expect("the program can be read");
    let files: &[(&str, &[u8])] = &[("onsave-server", &program)];
    let settings = serde_json::json!({"Entrypoint": ["/onsave-server"]});
    let image = OneLayerImage::new(files, &settings);
    desk.fly.offer_public_image("ghcr.io/ann/server:1", &image);
    desk.configure("\n[fly]\nimage = \"ghcr.io/ann/server:1\"\n");
    let said = desk.run_well(&["publish"]);
    assert!(!said.stderr.contains("push the image"), "{said:?}");
    assert_eq!(desk.machine()["config"]["image"], "ghcr.io/ann/server:1");
    desk.assert_complete();
}

#[test]
fn the_written_fly_toml_is_whole_and_never_replaces_another() {
    let desk = Desk::new();
    desk.run_well(&["provision", "--write-fly-toml"]);
    let path = desk.world.project().join("fly.toml");
    let text = fs::read_to_string(&path).expect("it was written");
    assert!(text.contains("app = \"my-site\"") && text.contains("h2_backend = true"));
    let image = desk.machine()["config"]["image"]
        .as_str()
        .expect("a name")
        .to_owned();
    assert!(text.contains(&image), "{text}");
    // Ours is written anew, anybody else's is not.
    desk.run_well(&["provision", "--write-fly-toml"]);
    fs::write(&path, "app = \"other\"\n").expect("it can be written");
    desk.run(&["provision", "--write-fly-toml"])
        .assert_failed(1, &["was not written by onsave"]);
    assert_eq!(
        fs::read_to_string(&path).expect("it is there"),
        "app = \"other\"\n"
    );
}

#[test]
fn an_app_is_destroyed_only_by_its_name_and_can_be_made_again() {
    let desk = Desk::new();
    desk.run_well(&["publish"]);
    desk.run(&["destroy"])
        .assert_failed(1, &["nothing was removed", "--confirm my-site"]);
    desk.run(&["destroy", "--confirm", "my-shop"])
        .assert_failed(1, &["nothing was removed"]);
    desk.assert_complete();
    let said = desk.run_well(&["destroy", "--confirm", "my-site"]);
    assert!(said.stdout.contains("destroyed my-site"), "{said:?}");
    assert_eq!(desk.page("/"), None);
    // What is about an app that is there makes none.
    for command in [
        &["secret", "rotate"][..],
        &["domain", "add", "www.example.org"],
        &["domain", "list"],
    ] {
        desk.run(command)
            .assert_failed(1, &["there is no app my-site", "onsave provision"]);
    }
    desk.run_well(&["publish"]);
    desk.assert_complete();
}

/// Somebody removed the app elsewhere, and nobody here was told.
#[test]
fn an_app_that_is_gone_is_made_anew_by_the_next_publish() {
    let desk = Desk::new();
    desk.run_well(&["publish"]);
    let (status, _) = desk.ask_platform(
        "DELETE",
        &format!("/v1/apps/{APP}?force=true"),
        &serde_json::Value::Null,
    );
    assert_eq!(status, 202);
    let said = desk.run_well(&["publish"]);
    assert!(said.stderr.contains("make the machine"), "{said:?}");
    desk.assert_complete();
}

/// A machine that somebody stopped is started, and without a token the publish says what it meets.
#[test]
fn a_machine_that_was_stopped_is_started_by_the_next_publish() {
    let desk = Desk::new();
    desk.run_well(&["publish"]);
    let machine = desk.machine();
    let stop = format!(
        "/v1/apps/{APP}/machines/{}/stop",
        machine["id"].as_str().expect("an id")
    );
    let (status, _) = desk.ask_platform("POST", &stop, &serde_json::json!({}));
    assert_eq!(status, 200);
    eventually("the machine to be stopped", || {
        desk.machine()["state"] == "stopped"
    });
    desk.world.site.save("index.html", "<h1>second</h1>");
    desk.run_well(&["publish"]);
    assert_eq!(desk.page("/").as_deref(), Some("<h1>second</h1>"));
}

#[test]
fn a_command_about_the_app_needs_that_target() {
    let desk = Desk::new();
    desk.world.configure("app = \"my-site\"\n");
    for command in [
        &["provision"][..],
        &["secret", "rotate"],
        &["domain", "list"],
        &["destroy"],
    ] {
        desk.run(command)
            .assert_failed(3, &["the target is not Fly.io", "--target fly"]);
    }
}
