//! Two daemons that publish to one server: each deploy is one writer's whole tree, never a mix.

use std::{fs, time::Duration};

use crate::harness::{
    SiteFolder, World,
    deadline::throughout,
    eventually,
    site::Tree,
    sync_client::{digests, manifest},
};

/// Pages that both writers have, so that neither's tree removes most of the other's.
fn shared_pages(site: &SiteFolder) {
    for page in 0..20 {
        site.write(&format!("shared/{page}.html"), "<h1>shared</h1>");
    }
}

fn writer_of(files: &std::collections::BTreeMap<String, String>) -> Option<&'static str> {
    match (
        files.contains_key("only-a.html"),
        files.contains_key("only-b.html"),
    ) {
        (true, false) => Some("a"),
        (false, true) => Some("b"),
        _ => None,
    }
}

#[test]
fn each_deploy_is_the_whole_tree_of_one_writer() {
    let world = World::new();
    let [a, b] = ["a", "b"].map(|name| {
        let site = SiteFolder::at(world.project().join(name));
        shared_pages(&site);
        site.write(&format!("only-{name}.html"), name);
        site
    });
    let mut daemon_a = world.start("a", &mut world.command(&["watch", "a"]));
    world.wait_until_live(&a.tree());
    // The other writer is on another machine: one machine has one daemon for a site.
    let mut elsewhere = world.command(&["watch", "b"]);
    elsewhere.env("XDG_STATE_HOME", world.path("home/elsewhere"));
    let mut daemon_b = world.start("b", &mut elsewhere);
    eventually("b's first publish", || {
        manifest(world.address()).is_some_and(|m| m.files == digests(&b.tree()))
    });

    for save in 0..12 {
        a.save("only-a.html", &format!("a {save}"));
        b.save("only-b.html", &format!("b {save}"));
        throughout(
            Duration::from_millis(40),
            "one writer's tree is live",
            || {
                let files = manifest(world.address()).expect("the server answers").files;
                files.len() == 21 && writer_of(&files).is_some()
            },
        );
    }

    let last = |tree: &Tree| digests(tree);
    eventually("the last save of one of them to be live, whole", || {
        let files = manifest(world.address()).expect("the server answers").files;
        files == last(&a.tree()) || files == last(&b.tree())
    });
    // Both go on: whoever saves next is live, with the whole tree.
    a.save("only-a.html", "a, at last");
    world.wait_until_live(&a.tree());
    b.save("only-b.html", "b, at last");
    world.wait_until_live(&b.tree());
    daemon_a.assert_running();
    daemon_b.assert_running();
}

#[test]
fn a_publish_by_hand_between_saves_is_no_obstacle() {
    let world = World::with_small_site();
    let _daemon = world.watch_until_live();
    let other = SiteFolder::at(world.project().join("other"));
    other.write("index.html", "<h1>by hand</h1>");
    other.write("about.html", "<h1>by hand</h1>");
    other.write("blog/a/index.html", "<h1>by hand</h1>");
    fs::create_dir_all(other.root()).unwrap();
    world.run_well(&["publish", "other"]);
    world.wait_until_live(&other.tree());
    world.site.save("index.html", "<h1>by the daemon</h1>");
    world.wait_until_live(&world.site.tree());
}
