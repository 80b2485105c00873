//! The commands that run to an end: what they print, their exit codes, and what they leave alone.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    process::Output,
    sync::atomic::{AtomicBool, Ordering},
};

use serde_json::Value;

use crate::harness::{World, http};

fn text(output: &Output) -> String {
    let all = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn a_file_that_is_still_being_written_is_not_left_out_in_silence() {
    let world = World::with_small_site();
    world.site.write("video.bin", &"x".repeat(40_000_000));
    let path = world.site.path("video.bin");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = fs::File::options().append(true).open(&path).unwrap();
            while !stop.load(Ordering::Relaxed) {
                file.write_all(b"more").unwrap();
            }
        });
        let published = world.run(&["publish"]);
        stop.store(true, Ordering::Relaxed);
        let said = String::from_utf8_lossy(&published.stderr).into_owned();
        // It may hold still for a moment on a busy machine, and then has to be there.
        let is_there = http::get(world.address(), "/video.bin").unwrap().status == 200;
        assert_eq!(published.status.success(), is_there, "{said}");
        assert!(is_there || said.contains("video.bin changed"), "{said}");
    });
    world.run_well(&["publish"]);
    world.wait_until_live(&world.site.tree());
}

#[test]
fn a_dry_run_prints_what_would_change_and_sends_nothing() {
    let world = World::with_small_site();
    let printed = world.run_well(&["publish", "--dry-run"]);
    assert!(printed.contains("index.html"), "{printed}");
    assert_eq!(world.current_deploy(), None);

    world.run_well(&["publish"]);
    let deploy = world.current_deploy();
    world.site.save("new.html", "<h1>new</h1>");
    world.site.save("index.html", "<h1>second</h1>");
    world.site.remove("about.html");
    let printed = world.run_well(&["publish", "--dry-run"]);
    for path in ["new.html", "index.html", "about.html"] {
        assert!(printed.contains(path), "{path} in {printed}");
    }
    assert!(!printed.contains("blog/a"), "{printed}");
    assert_eq!(world.current_deploy(), deploy);
}

#[test]
fn json_is_one_object_and_nothing_else() {
    let world = World::with_small_site();
    for arguments in [
        ["publish", "--dry-run", "--json"].as_slice(),
        &["publish", "--json"],
        &["publish", "--json"],
        &["deploys", "--json"],
        &["check", "--json"],
    ] {
        let printed = world.run_well(arguments);
        let parsed: Value = serde_json::from_str(&printed)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {printed}"));
        assert!(parsed.is_object(), "{arguments:?}: {printed}");
    }
    world.wait_until_live(&world.site.tree());
}

#[test]
fn the_guard_holds_a_publish_and_lets_it_pass_when_told() {
    let world = World::new();
    for page in 0..20 {
        world.site.write(&format!("{page}.html"), "<h1>page</h1>");
    }
    world.run_well(&["publish"]);
    let deploy = world.current_deploy();
    for page in 0..15 {
        world.site.remove(&format!("{page}.html"));
    }
    let held = world.run(&["publish"]);
    assert_eq!(held.status.code(), Some(6), "{}", text(&held));
    assert!(text(&held).contains("--allow-removals"), "{}", text(&held));
    assert_eq!(world.current_deploy(), deploy);
    world.run_well(&["publish", "--allow-removals"]);
    world.wait_until_live(&world.site.tree());
}

#[test]
fn strict_refuses_what_would_be_skipped() {
    let world = World::with_small_site();
    world.site.write(
        "server.key",
        concat!(
            "-----BEGIN ",
            "PRIVATE KEY-----\nAAAA\n-----END ",
            "PRIVATE KEY-----\n"
        ),
    );
    let refused = world.run(&["publish", "--strict"]);
    assert_eq!(refused.status.code(), Some(7), "{}", text(&refused));
    assert!(text(&refused).contains("server.key"), "{}", text(&refused));
    assert_eq!(world.current_deploy(), None);

    let warned = world.run(&["publish"]);
    assert!(warned.status.success(), "{}", text(&warned));
    assert!(text(&warned).contains("server.key"), "{}", text(&warned));
    let mut expected = world.site.tree();
    expected.remove("server.key");
    world.wait_until_live(&expected);
}

#[test]
fn failures_have_their_exit_codes_and_say_what_to_do() {
    let mut world = World::with_small_site();
    let address = world.address();
    world.server.stop();
    let down = world.command_to(address, &["publish"]).output().unwrap();
    assert_eq!(down.status.code(), Some(4), "{}", text(&down));
    assert!(
        text(&down).contains(&World::url_of(address)),
        "{}",
        text(&down)
    );

    world.restart_server();
    let mut stranger = world.command(&["publish"]);
    stranger.env("ONSAVE_SYNC_SECRET", "another secret");
    let refused = stranger.output().unwrap();
    assert_eq!(refused.status.code(), Some(5), "{}", text(&refused));
    assert!(
        text(&refused).contains("ONSAVE_SYNC_SECRET"),
        "{}",
        text(&refused)
    );

    world.configure("[watch]\nquiet = 25\n");
    let misspelt = world.run(&["check"]);
    assert_eq!(misspelt.status.code(), Some(3), "{}", text(&misspelt));
    assert!(text(&misspelt).contains("quiet_ms"), "{}", text(&misspelt));

    let unknown = world.run(&["publsh"]);
    assert_eq!(unknown.status.code(), Some(2), "{}", text(&unknown));
}

#[test]
fn a_folder_that_is_not_there_is_no_empty_site() {
    let world = World::with_small_site();
    world.run_well(&["publish"]);
    let deploy = world.current_deploy();
    let missing = world.run(&["publish", "no-such-folder"]);
    assert_eq!(missing.status.code(), Some(8), "{}", text(&missing));
    assert!(
        text(&missing).contains("no-such-folder"),
        "{}",
        text(&missing)
    );
    assert_eq!(world.current_deploy(), deploy);
}

/// Runs a command that has no use for a target, and returns what it prints.
fn run_without_target(world: &World, arguments: &[&str]) -> String {
    let output = world
        .bare_command(arguments)
        .output()
        .expect("onsave can be started");
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).expect("what onsave prints is UTF-8")
}

#[test]
fn init_writes_a_configuration_that_check_accepts() {
    let world = World::with_small_site();
    run_without_target(&world, &["init"]);
    let path = world.project().join("onsave.toml");
    let written = fs::read_to_string(&path).unwrap();
    assert!(
        written.contains("project"),
        "the app is named after its folder: {written}"
    );
    let again = world.bare_command(&["init"]).output().unwrap();
    assert!(!again.status.success());
    assert!(text(&again).contains("onsave.toml"), "{}", text(&again));
    assert_eq!(fs::read_to_string(&path).unwrap(), written);
    let printed = world.run_well(&["check"]);
    assert!(printed.contains("watch.quiet_ms"), "{printed}");
}

#[test]
fn completions_and_man_pages_are_written() {
    let world = World::with_small_site();
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            run_without_target(&world, &["completions", shell]).contains("rollback"),
            "{shell}"
        );
    }
    let pages = world.path("man");
    fs::create_dir(&pages).unwrap();
    run_without_target(&world, &["man", "--out", pages.to_str().unwrap()]);
    let names: BTreeSet<String> = fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for name in [
        "onsave.1",
        "onsave-publish.1",
        "onsave-watch.1",
        "onsave-rollback.1",
    ] {
        assert!(names.contains(name), "{name} in {names:?}");
    }
}
