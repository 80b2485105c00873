//! What a daemon lives through that is left running for weeks: the network goes and changes, the machine
//! sleeps, the clock jumps, the disk fills. After each, the site becomes what the folder is, and nobody
//! has to act.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::harness::{
    World,
    deadline::throughout,
    eventually,
    mount::Mount,
    network::Cable,
    process::Process,
    relay::Relay,
    server::{self, Server},
};

/// Starts a daemon that reaches the server over a cable and by nothing else.
fn watch_over_a_cable(world: &World) -> (Process, Cable, Relay) {
    // Waits for the word, so that the cable is there before the daemon looks for its server.
    let go = world.path("go");
    let status = Command::new("mkfifo").arg(&go).status().expect("coreutils");
    assert!(status.success(), "{status}");
    let mut command = Command::new("unshare");
    command
        .args([
            "--net",
            "sh",
            "-c",
            "read -r url < \"$1\" && shift && exec \"$@\" --target \"$url\"",
            "sh",
        ])
        .arg(&go)
        .args([env!("CARGO_BIN_EXE_onsave"), "watch"])
        .current_dir(world.project())
        .env("HOME", world.path("home"))
        .env("XDG_STATE_HOME", world.path("home/state"))
        .env("ONSAVE_SYNC_SECRET", server::SECRET);
    let daemon = world.start("watch", &mut command);
    eventually("the daemon to have a network of its own", || {
        let of = |id: &str| fs::read_link(format!("/proc/{id}/ns/net")).ok();
        of(&daemon.id().to_string()) != of("self")
    });
    let cable = Cable::to(&daemon);
    let relay = Relay::start_at(cable.address(), world.address());
    fs::write(&go, format!("{}\n", World::url_of(relay.address()))).expect("the daemon reads");
    world.wait_until_live(&world.site.tree());
    (daemon, cable, relay)
}

#[test]
fn a_network_that_is_gone_for_a_while() {
    let world = World::with_small_site();
    let (mut daemon, cable, _relay) = watch_over_a_cable(&world);
    let before = world.current_deploy();
    cable.pull();
    world.site.save("index.html", "<h1>saved on the train</h1>");
    world.site.remove("about.html");
    eventually(
        "the daemon to say that the server cannot be reached",
        || daemon.stderr().contains("WARN") || daemon.stderr().contains("ERROR"),
    );
    assert_eq!(world.current_deploy(), before);
    world
        .site
        .write("new/page.html", "<h1>written on the train</h1>");
    cable.put_back();
    world.wait_until_live(&world.site.tree());
    world.site.save("index.html", "<h1>at home</h1>");
    world.wait_until_live(&world.site.tree());
    daemon.assert_running();
}

#[test]
fn a_network_that_changes_below_the_kept_connection() {
    let world = World::with_small_site();
    let (mut daemon, cable, relay) = watch_over_a_cable(&world);
    // The connection is kept, and leads nowhere now: nobody says so to either end.
    let connections = relay.connections();
    cable.change_address();
    world
        .site
        .save("index.html", "<h1>from another address</h1>");
    world.wait_until_live(&world.site.tree());
    assert!(relay.connections() > connections, "over a new connection");
    daemon.assert_running();
}

#[test]
fn a_machine_that_sleeps_while_others_edit() {
    let mut world = World::with_small_site();
    let relay = Relay::start(world.address());
    let mut daemon = world.start("watch", &mut world.command_to(relay.address(), &["watch"]));
    world.wait_until_live(&world.site.tree());
    daemon.suspend();
    world
        .site
        .save("index.html", "<h1>saved by a sync client, overnight</h1>");
    world.site.write("new/deep/page.html", "<h1>new</h1>");
    world.site.remove("blog/a/index.html");
    // The server was restarted meanwhile, and knows no old connection.
    world.server.stop();
    world.restart_server();
    relay.point_to(world.address());
    daemon.resume();
    world.wait_until_live(&world.site.tree());
    world.site.save("index.html", "<h1>good morning</h1>");
    world.wait_until_live(&world.site.tree());
    daemon.assert_running();
}

/// The library of faketime, where Debian has it for this machine's processor.
fn clock_library() -> PathBuf {
    let listed = Command::new("dpkg")
        .args(["--listfiles", "libfaketime"])
        .output()
        .expect("dpkg is there");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let library = listed
        .lines()
        .find(|path| path.ends_with("/libfaketimeMT.so.1"));
    PathBuf::from(library.expect("install it: apt-get install faketime"))
}

/// Lets a program's wall clock differ from the machine's by what `clock` says; what counts seconds goes
/// on as it is, as when a machine wakes up or a time server corrects it.
fn with_clock<'a>(command: &'a mut Command, clock: &Path) -> &'a mut Command {
    command
        .env("LD_PRELOAD", clock_library())
        .env("FAKETIME_TIMESTAMP_FILE", clock)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("FAKETIME_FORCE_MONOTONIC_FIX", "0")
}

#[test]
fn a_clock_that_jumps() {
    let mut world = World::with_small_site();
    let clock = world.path("clock");
    let set = |offset: &str| {
        // Whole at once: it is read with each look at the clock.
        let next = clock.with_extension("next");
        fs::write(&next, offset).expect("the world can be written");
        fs::rename(&next, &clock).expect("it is beside it");
    };
    set("+0");
    let volume = world.volume();
    let logs = world.path("logs");
    world.server.stop();
    let mut command = server::command(&volume);
    world.server = Server::start_with("server-clock", with_clock(&mut command, &clock), &logs);
    let mut command = world.command(&["watch"]);
    let mut daemon = world.start("watch", with_clock(&mut command, &clock));
    world.wait_until_live(&world.site.tree());
    // Forward over a night, and back by an hour: a correction.
    for (number, offset) in ["+8h", "+7h", "-20d", "+0"].into_iter().enumerate() {
        set(offset);
        let text = format!("<h1>at {offset}, the {number}th</h1>");
        world.site.save("index.html", &text);
        // By what visitors get: the story's own clock would be refused.
        world.wait_for_page("/", &text);
    }
    let said = daemon.stderr();
    assert!(!said.contains("ERROR"), "{said}");
    daemon.assert_running();
}

/// Fills what is mounted over `folder` to the last byte.
fn fill(folder: &Path) -> PathBuf {
    let filler = folder.join("filler");
    let status = Command::new("dd")
        .args(["if=/dev/zero", "bs=4096", "status=none"])
        .arg(format!("of={}", filler.display()))
        .stderr(std::process::Stdio::null())
        .status()
        .expect("dd is there");
    assert!(!status.success(), "it fills until nothing more fits");
    filler
}

#[test]
fn a_local_disk_that_is_full() {
    let world = World::with_small_site();
    let home = world.path("home");
    let mount = Mount::over(&home, "1m");
    let mut daemon = world.watch_until_live();
    let filler = fill(&home);
    // What is remembered between two starts cannot be written; what is saved is live all the same.
    world.site.save("index.html", "<h1>on a full disk</h1>");
    world.wait_until_live(&world.site.tree());
    assert_eq!(daemon.terminate().code(), Some(0));
    drop(daemon);
    let mut daemon = world.watch();
    world
        .site
        .save("about.html", "<h1>saved after a start on a full disk</h1>");
    world.wait_until_live(&world.site.tree());
    fs::remove_file(filler).expect("it is there");
    world
        .site
        .save("index.html", "<h1>there is space again</h1>");
    world.wait_until_live(&world.site.tree());
    let before = world.current_deploy();
    throughout(
        Duration::from_millis(300),
        "nothing is published twice",
        || world.current_deploy() == before,
    );
    assert_eq!(daemon.terminate().code(), Some(0));
    drop(daemon);
    drop(mount);
}
