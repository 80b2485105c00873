//! Where file events are lost, never come, or cannot be had: what is on the disk is live all the
//! same.

use std::{fs, process::Command, time::Duration};

use crate::harness::{SiteFolder, World, deadline::throughout, eventually, mount::Mount, server};

/// Signals a process by the name of the signal.
fn signal(id: u32, name: &str) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &id.to_string()])
        .status()
        .expect("kill is there");
    assert!(status.success(), "kill -{name}: {status}");
}

#[test]
fn an_overflow_of_the_kernels_queue() {
    let world = World::with_small_site();
    let daemon = world.watch_until_live();
    let limit: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    // A stopped daemon reads no events, so that the queue overflows for certain: every file makes
    // at least create, modify and close.
    signal(daemon.id(), "STOP");
    world.site.write("new/first.html", "<h1>first</h1>");
    for number in 0..limit / 3 + 100 {
        world
            .site
            .write(&format!("{}.txt", number % 400), &format!("text {number}"));
    }
    world.site.remove("about.html");
    world
        .site
        .save("blog/a/index.html", "<h1>the last event of all</h1>");
    signal(daemon.id(), "CONT");
    world.wait_until_live(&world.site.tree());
    world.site.save("index.html", "<h1>second</h1>");
    world.wait_for_page("/", "<h1>second</h1>");
}

#[test]
fn the_watch_limit_is_reached() {
    let world = World::with_small_site();
    for folder in 0..20 {
        world
            .site
            .write(&format!("f/{folder}/index.html"), "<h1>page</h1>");
    }
    // A user namespace has a watch limit of its own, so that nobody else's is touched.
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "sh", "-c"])
        .arg("echo 5 > /proc/sys/user/max_inotify_watches && exec \"$@\"")
        .args(["sh", env!("CARGO_BIN_EXE_onsave"), "watch"])
        .args(["--target", &World::url_of(world.address())])
        .current_dir(world.project())
        .env("HOME", world.path("home"))
        .env("XDG_STATE_HOME", world.path("home/state"))
        .env("ONSAVE_SYNC_SECRET", server::SECRET)
        .env("ONSAVE_WATCH_POLL_INTERVAL_MS", "100");
    let mut daemon = world.start("watch", &mut command);
    world.wait_until_live(&world.site.tree());
    eventually("the daemon to say which limit to raise", || {
        daemon.stderr().contains("max_user_watches")
    });
    for folder in [3, 11, 19] {
        world
            .site
            .save(&format!("f/{folder}/index.html"), "<h1>edited</h1>");
        world.wait_until_live(&world.site.tree());
    }
    daemon.assert_running();
    let said = daemon.stderr();
    let warnings = said
        .lines()
        .filter(|line| line.contains("max_user_watches"));
    assert_eq!(warnings.count(), 1, "it is said once: {said}");
}

#[test]
fn a_change_without_any_event_is_found_by_the_slow_scan() {
    let world = World::with_small_site();
    // A write through another name of the file is no event in the site folder.
    let elsewhere = world.path("elsewhere.html");
    fs::hard_link(world.site.path("index.html"), &elsewhere).unwrap();
    let mut command = world.command(&["watch"]);
    command.env("ONSAVE_WATCH_RECONCILE_S", "1");
    let _daemon = world.start("watch", &mut command);
    world.wait_until_live(&world.site.tree());
    fs::write(&elsewhere, "<h1>unseen</h1>").unwrap();
    world.wait_for_page("/", "<h1>unseen</h1>");
}

#[test]
fn a_site_folder_that_is_a_mount_point() {
    let world = World::new();
    for page in 0..20 {
        world
            .site
            .write(&format!("{page}.html"), "<h1>below the mount</h1>");
    }
    let below = world.site.tree();
    let mut daemon = world.watch_until_live();
    let before = world.current_deploy();

    let mount = Mount::over(world.site.root(), "16m");
    throughout(
        Duration::from_millis(1_500),
        "an empty mount empties nothing",
        || world.current_deploy() == before,
    );
    for page in 0..20 {
        world
            .site
            .write(&format!("{page}.html"), "<h1>on the mount</h1>");
    }
    world.wait_until_live(&world.site.tree());
    world.site.save("3.html", "<h1>edited on the mount</h1>");
    world.wait_for_page("/3", "<h1>edited on the mount</h1>");

    drop(mount);
    assert_eq!(world.site.tree(), below);
    world.wait_until_live(&below);
    daemon.assert_running();
}

#[test]
fn a_folder_that_is_filled_while_the_daemon_looks_away() {
    let world = World::with_small_site();
    let daemon = world.watch_until_live();
    // Both the folder's creation and everything in it happen before the daemon can watch it.
    signal(daemon.id(), "STOP");
    let built = SiteFolder::at(world.site.path("built"));
    for file in 0..50 {
        built.write(&format!("{}/deep/{file}.html", file % 7), "<h1>built</h1>");
    }
    signal(daemon.id(), "CONT");
    world.wait_until_live(&world.site.tree());
}
