//! Programs that end in the middle and come back: the daemon, and the server behind an address
//! that stays.

use crate::harness::{World, eventually, process::Process, relay::Relay, server, world};

#[test]
fn a_daemon_that_is_killed_finds_what_it_missed() {
    let world = World::with_small_site();
    let mut daemon = world.watch_until_live();
    world.site.save("index.html", "<h1>saved, then killed</h1>");
    daemon.kill();
    world.site.save("about.html", "<h1>saved meanwhile</h1>");
    world.site.write("new/page.html", "<h1>new</h1>");
    world.site.remove("blog/a/index.html");
    drop(daemon);
    let _daemon = world.watch();
    world.wait_until_live(&world.site.tree());
}

#[test]
fn a_daemon_that_is_asked_to_end_ends_well() {
    let world = World::with_small_site();
    for end in [Process::interrupt, Process::terminate] {
        let mut daemon = world.watch();
        daemon.wait_for_line("publishing to ");
        world.site.save("index.html", "<h1>saved right before</h1>");
        world.wait_for_page("/", "<h1>saved right before</h1>");
        assert_eq!(end(&mut daemon).code(), Some(0));
    }
}

/// Starts a daemon and lets the server hang in the middle of its publish.
fn hang_in_a_publish(world: &mut World, relay: &Relay) -> Process {
    let mut command = world.command_to(relay.address(), &["watch"]);
    let daemon = world.start("watch-hanging", &mut command);
    world.wait_until_live(&world.site.tree());
    relay.take_requests();
    world.server.process().suspend();
    world.site.save("index.html", "<h1>in flight</h1>");
    eventually("the changeset to be under way", || {
        let requests = relay.take_requests();
        requests.iter().any(|it| it.contains("/_icd/changesets"))
    });
    daemon
}

#[test]
fn a_publish_in_flight_is_finished_before_the_end() {
    let mut world = World::with_small_site();
    let relay = Relay::start(world.address());
    let mut daemon = hang_in_a_publish(&mut world, &relay);
    daemon.ask_to_end();
    daemon.assert_running();
    world.server.process().resume();
    assert_eq!(daemon.wait().code(), Some(0));
    world.wait_until_live(&world.site.tree());
    let said = daemon.stderr();
    assert!(said.contains("published index.html"), "{said}");
    assert!(
        !said.contains("before the last publish was confirmed"),
        "{said}"
    );
}

#[test]
fn a_publish_that_does_not_end_is_given_up_and_found_by_the_next_start() {
    let mut world = World::with_small_site();
    let relay = Relay::start(world.address());
    let mut daemon = hang_in_a_publish(&mut world, &relay);
    assert_eq!(daemon.terminate().code(), Some(0));
    let said = daemon.stderr();
    assert!(
        said.contains("stopped before the last publish was confirmed"),
        "{said}"
    );
    world.server.process().resume();
    let _daemon = world.watch();
    world.wait_until_live(&world.site.tree());
}

#[test]
fn a_daemon_that_finds_nothing_new_publishes_nothing() {
    let world = World::with_small_site();
    drop(world.watch_until_live());
    let deploy = world.current_deploy();
    let _daemon = world.watch();
    world.site.save("index.html", "<h1>second</h1>");
    world.wait_for_page("/", "<h1>second</h1>");
    let deploys = crate::harness::sync_client::deploys(world.address()).deploys;
    assert_eq!(deploys.len(), 2, "{deploys:?}");
    assert_eq!(deploys[1].deploy_id.to_string(), deploy.unwrap());
}

#[test]
fn a_server_that_is_killed_while_saves_go_on() {
    let mut world = World::with_small_site();
    let relay = Relay::start(world.address());
    let mut command = world.command_to(relay.address(), &["watch"]);
    let mut daemon = world.start("watch", &mut command);
    world.wait_until_live(&world.site.tree());
    for round in 0..4 {
        for save in 0..5 {
            world
                .site
                .save("index.html", &format!("<h1>{round} {save}</h1>"));
            world
                .site
                .write(&format!("new/{round}-{save}.html"), "<h1>new</h1>");
        }
        world.server.kill();
        world
            .site
            .save("about.html", &format!("<h1>{round}, nobody listens</h1>"));
        world.restart_server();
        relay.point_to(world.address());
        world.wait_until_live(&world.site.tree());
    }
    daemon.assert_running();
    world.server.stop();
    server::assert_sound(&world.volume());
}

#[test]
fn a_server_that_comes_later_gets_the_newest_state() {
    let mut world = World::with_small_site();
    let relay = Relay::start(world.address());
    world.server.kill();
    let mut command = world.command_to(relay.address(), &["watch"]);
    let mut daemon = world.start("watch", &mut command);
    for save in 0..10 {
        world.site.save("index.html", &format!("<h1>{save}</h1>"));
    }
    eventually("the daemon to try", || relay.connections() > 0);
    daemon.assert_running();
    world.restart_server();
    relay.point_to(world.address());
    world::wait_until_live(world.address(), &world.site.tree());
}
