//! With no configuration at all: the server inside the daemon, and the other commands beside it.

use std::{fs, net::SocketAddr};

use crate::harness::{World, server, world::assert_serves};

fn wait_for_page(address: SocketAddr, target: &str, text: &str) {
    crate::harness::eventually(&format!("{target} to answer {text:?}"), || {
        crate::harness::http::get(address, target)
            .is_some_and(|answer| answer.status == 200 && answer.text() == text)
    });
}

#[test]
fn a_save_is_live_without_any_configuration() {
    let world = World::with_small_site();
    let mut daemon = world.start("watch", &mut world.local_command(&[]));
    let address = world.local_address(&mut daemon);
    wait_for_page(address, "/", "<h1>first</h1>");
    assert_serves(address, &world.site.tree());
    world.site.save("index.html", "<h1>second</h1>");
    wait_for_page(address, "/", "<h1>second</h1>");
    let said = daemon.stdout() + &daemon.stderr();
    assert!(
        said.contains(&World::url_of(address)),
        "the URL is printed: {said}"
    );
    assert_eq!(
        fs::read_to_string(world.project().join(".onsave/.gitignore"))
            .unwrap()
            .trim(),
        "*"
    );

    // The other commands talk to the server of the running daemon.
    let listed = world.local_command(&["deploys"]).output().unwrap();
    assert!(
        listed.status.success(),
        "{}",
        String::from_utf8_lossy(&listed.stderr)
    );
    let back = world.local_command(&["rollback"]).output().unwrap();
    assert!(
        back.status.success(),
        "{}",
        String::from_utf8_lossy(&back.stderr)
    );
    wait_for_page(address, "/", "<h1>first</h1>");

    // A second daemon over the same volume says who has it.
    let second = world.local_command(&["watch"]).output().unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains(&daemon.id().to_string()), "{said}");

    assert_eq!(daemon.interrupt().code(), Some(0));
    assert!(!world.project().join(".onsave/server.json").exists());
    server::assert_sound(&world.project().join(".onsave/volume"));
}

#[test]
fn a_publish_without_a_daemon_is_there_when_one_starts() {
    let world = World::with_small_site();
    let published = world.local_command(&["publish"]).output().unwrap();
    assert!(
        published.status.success(),
        "{}",
        String::from_utf8_lossy(&published.stderr)
    );
    let mut daemon = world.start("watch", &mut world.local_command(&["watch"]));
    let address = world.local_address(&mut daemon);
    wait_for_page(address, "/", "<h1>first</h1>");
    assert_serves(address, &world.site.tree());
}

#[test]
fn commands_right_after_a_daemon_was_killed_find_the_volume() {
    let world = World::with_small_site();
    for round in 0..3 {
        let mut daemon = world.start(
            &format!("watch-{round}"),
            &mut world.local_command(&["watch"]),
        );
        let address = world.local_address(&mut daemon);
        wait_for_page(address, "/", "<h1>first</h1>");
        drop(daemon);
        let listed = world.local_command(&["deploys"]).output().unwrap();
        assert!(
            listed.status.success(),
            "{}",
            String::from_utf8_lossy(&listed.stderr)
        );
    }
}
