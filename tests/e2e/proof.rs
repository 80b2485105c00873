//! Proof that it is live: after a publish the daemon asks the public URL for what changed, and says
//! so when somebody else answers there.

use std::{fs, time::Duration};

use crate::harness::{
    Server, World, deadline::throughout, eventually, relay::Relay, site::Tree, sync_client,
};

#[test]
fn a_public_url_that_answers_other_bytes_is_reported() {
    let world = World::with_small_site();
    let other_volume = world.path("other-volume");
    fs::create_dir(&other_volume).unwrap();
    let other = Server::start("other", &other_volume, &world.path("logs"));
    let stale = Tree::from([(
        "index.html".to_owned(),
        b"<h1>a cache's old page</h1>".to_vec(),
    )]);
    sync_client::publish(other.address(), None, (&Tree::new(), &stale)).unwrap();

    let public = World::url_of(other.address());
    let mut command = world.command(&["watch"]);
    command.env("ONSAVE_PUBLISH_PUBLIC_URL", &public);
    let daemon = world.start("watch", &mut command);
    world.wait_until_live(&world.site.tree());
    world.site.save("index.html", "<h1>second</h1>");
    eventually("the daemon to report the mismatch", || {
        daemon
            .stderr()
            .lines()
            .any(|line| line.contains(&public) && line.contains("WARN"))
    });
}

#[test]
fn a_public_url_that_answers_the_new_bytes_is_no_matter() {
    let world = World::with_small_site();
    let relay = Relay::start(world.address());
    let mut command = world.command(&["watch"]);
    command.env("ONSAVE_PUBLISH_PUBLIC_URL", World::url_of(relay.address()));
    let daemon = world.start("watch", &mut command);
    world.wait_until_live(&world.site.tree());
    relay.take_requests();
    world.site.save("blog/a/index.html", "<h1>second</h1>");
    let mut asked = Vec::new();
    eventually("the daemon to ask the public URL", || {
        asked.extend(relay.take_requests());
        asked.iter().any(|request| request.contains("/blog/a"))
    });
    assert!(
        asked.iter().all(|request| request.starts_with("HEAD ")),
        "{asked:?}"
    );
    throughout(Duration::from_millis(300), "no warning", || {
        !daemon.stderr().contains("WARN")
    });
}
