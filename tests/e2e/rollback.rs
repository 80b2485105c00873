//! Going back, and that the daemon leaves it so until the next save.

use std::time::Duration;

use crate::harness::{World, deadline::throughout, site::Tree};

#[test]
fn after_a_rollback_the_daemon_waits_for_the_next_save() {
    let world = World::with_small_site();
    let mut daemon = world.watch_until_live();
    let first: Tree = world.site.tree();
    let first_id = world.current_deploy();
    world.site.save("index.html", "<h1>second</h1>");
    world.wait_until_live(&world.site.tree());

    world.run_well(&["rollback"]);
    assert_eq!(world.current_deploy(), first_id);
    world.wait_until_live(&first);
    throughout(Duration::from_millis(800), "the rollback stays", || {
        world.current_deploy() == first_id
    });

    // Also when the daemon is started anew.
    daemon.terminate();
    let mut daemon = world.start("watch-again", &mut world.command(&["watch"]));
    throughout(Duration::from_millis(800), "the rollback stays", || {
        world.current_deploy() == first_id
    });
    daemon.assert_running();

    world.site.save("about.html", "<h1>the next save</h1>");
    world.wait_until_live(&world.site.tree());
}

#[test]
fn a_rollback_to_a_named_deploy_and_the_list_of_them() {
    let world = World::with_small_site();
    world.run_well(&["publish", "--message", "the first of all"]);
    let first = world.current_deploy().unwrap();
    for number in 0..3 {
        world.site.save("index.html", &format!("<h1>{number}</h1>"));
        world.run_well(&["publish"]);
    }
    let list = world.run_well(&["deploys"]);
    assert!(list.contains(&first), "{list}");
    assert!(list.contains("the first of all"), "{list}");
    assert_eq!(
        list.matches(&world.current_deploy().unwrap()).count(),
        1,
        "{list}"
    );

    let one = world.run_well(&["deploys", &world.current_deploy().unwrap()]);
    assert!(one.contains("index.html"), "{one}");
    assert!(!one.contains("about.html"), "{one}");

    world.run_well(&["rollback", &first]);
    assert_eq!(world.current_deploy().as_deref(), Some(first.as_str()));
    let gone = world.run(&["rollback", "1700000000000-00c0ffee"]);
    assert!(!gone.status.success());
    assert_eq!(world.current_deploy().as_deref(), Some(first.as_str()));
}
