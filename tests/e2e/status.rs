//! What a running daemon says of itself, and how it is paused.

use serde_json::Value;

use crate::harness::{World, eventually};

fn said(world: &World, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = world.run(arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn status(world: &World) -> Value {
    let (code, out, err) = said(world, &["status", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    serde_json::from_str(&out).expect("one object")
}

#[test]
fn the_status_follows_the_site_and_a_pause_holds_saves_back() {
    let world = World::with_small_site();
    let (code, _, err) = said(&world, &["status"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("no onsave watches this site"), "{err}");
    assert!(err.contains("onsave watch"), "{err}");

    let mut daemon = world.watch_until_live();
    eventually("the state", || status(&world)["state"] == "live");
    let now = status(&world);
    assert_eq!(now["pid"], daemon.id());
    assert_eq!(now["publishes"][0]["added"], 3);
    let (_, out, _) = said(&world, &["status"]);
    assert!(out.contains("  live, since "), "{out}");
    assert!(out.contains("last publishes:"), "{out}");

    let (code, out, _) = said(&world, &["pause"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("paused"), "{out}");
    let current = world.current_deploy();
    world.site.save("index.html", "<h1>second</h1>");
    crate::harness::deadline::throughout(std::time::Duration::from_millis(300), "paused", || {
        world.current_deploy() == current
    });
    said(&world, &["resume"]);
    world.wait_for_page("/", "<h1>second</h1>");
    assert_eq!(daemon.interrupt().code(), Some(0));
    let (code, _, _) = said(&world, &["status"]);
    assert_eq!(code, Some(1));
}

#[test]
fn whoever_looks_on_sees_each_change() {
    let world = World::with_small_site();
    let mut daemon = world.watch_until_live();
    let mut onlooker = world.start("onlooker", &mut world.command(&["status", "--watch"]));
    eventually("the state", || onlooker.stdout().contains("  live"));
    said(&world, &["pause"]);
    eventually("the pause", || onlooker.stdout().contains("  paused"));
    assert_eq!(daemon.interrupt().code(), Some(0));
    // The daemon's end is the end of what there is to see.
    onlooker.wait();
}

/// A daemon that was killed leaves its socket, which says nothing.
#[test]
fn a_killed_daemon_is_no_daemon() {
    let world = World::with_small_site();
    let mut daemon = world.watch_until_live();
    daemon.kill();
    let (code, _, err) = said(&world, &["status"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("no onsave watches this site"), "{err}");
    let _daemon = world.watch();
    eventually("the next daemon", || {
        let (code, out, _) = said(&world, &["status"]);
        code == Some(0) && out.contains("  live")
    });
}
