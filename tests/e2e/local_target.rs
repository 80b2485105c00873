//! With no configuration at all: the server inside the daemon, and the other commands beside it.

use std::{fs, net::SocketAddr, process::Command};

use crate::harness::{World, process::Process, server, wait_for, world::assert_serves};

fn local(world: &World, arguments: &[&str]) -> Command {
    let mut command = world.bare_command(arguments);
    command.env("ONSAVE_LOCAL_ADDRESS", "127.0.0.1:0");
    command
}

/// Waits until the daemon's own server is up and returns its address.
fn address_of(world: &World, daemon: &mut Process) -> SocketAddr {
    wait_for("the embedded server", || {
        daemon.assert_running();
        let text = fs::read_to_string(world.project().join(".onsave/server.json")).ok()?;
        let said: serde_json::Value = serde_json::from_str(&text).expect("it is written whole");
        assert_eq!(said["pid"], daemon.id());
        let url = said["url"].as_str().expect("it names its URL");
        Some(
            url.strip_prefix("http://")?
                .trim_end_matches('/')
                .parse()
                .expect("an address"),
        )
    })
}

fn wait_for_page(address: SocketAddr, target: &str, text: &str) {
    crate::harness::eventually(&format!("{target} to answer {text:?}"), || {
        crate::harness::http::get(address, target)
            .is_some_and(|answer| answer.status == 200 && answer.text() == text)
    });
}

#[test]
fn a_save_is_live_without_any_configuration() {
    let world = World::with_small_site();
    let mut daemon = world.start("watch", &mut local(&world, &[]));
    let address = address_of(&world, &mut daemon);
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
    let listed = local(&world, &["deploys"]).output().unwrap();
    assert!(
        listed.status.success(),
        "{}",
        String::from_utf8_lossy(&listed.stderr)
    );
    let back = local(&world, &["rollback"]).output().unwrap();
    assert!(
        back.status.success(),
        "{}",
        String::from_utf8_lossy(&back.stderr)
    );
    wait_for_page(address, "/", "<h1>first</h1>");

    // A second daemon over the same volume says who has it.
    let second = local(&world, &["watch"]).output().unwrap();
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
    let published = local(&world, &["publish"]).output().unwrap();
    assert!(
        published.status.success(),
        "{}",
        String::from_utf8_lossy(&published.stderr)
    );
    let mut daemon = world.start("watch", &mut local(&world, &["watch"]));
    let address = address_of(&world, &mut daemon);
    wait_for_page(address, "/", "<h1>first</h1>");
    assert_serves(address, &world.site.tree());
}

#[test]
fn commands_right_after_a_daemon_was_killed_find_the_volume() {
    let world = World::with_small_site();
    for round in 0..3 {
        let mut daemon = world.start(&format!("watch-{round}"), &mut local(&world, &["watch"]));
        let address = address_of(&world, &mut daemon);
        wait_for_page(address, "/", "<h1>first</h1>");
        drop(daemon);
        let listed = local(&world, &["deploys"]).output().unwrap();
        assert!(
            listed.status.success(),
            "{}",
            String::from_utf8_lossy(&listed.stderr)
        );
    }
}
