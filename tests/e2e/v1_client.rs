//! A client of the first protocol generation, in another language, against the real server.

use std::{path::Path, process::Command};

use crate::harness::{SiteFolder, World, server};

fn publish(world: &World, folder: &Path, style: Option<&str>) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/v1_client.py");
    let output = Command::new("python3")
        .arg(script)
        .args([&World::url_of(world.address()), server::SECRET])
        .arg(folder)
        .args(style)
        .output()
        .expect("python3 is there; ./scripts/test packages installs it");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .expect("an id is text")
        .trim()
        .to_owned()
}

#[test]
fn it_publishes_edits_and_removes() {
    let world = World::with_small_site();
    for name in [
        "two words.html",
        "a+b.html",
        "100%.html",
        "é/ü.html",
        "q=1&r?.html",
        "it's (ok)!*.html",
    ] {
        world.site.write(name, &format!("<h1>{name}</h1>"));
    }
    let first = publish(&world, world.site.root(), None);
    assert_eq!(world.current_deploy().as_deref(), Some(first.as_str()));
    world.wait_until_live(&world.site.tree());

    world.site.remove("about.html");
    world.site.save("two words.html", "<h1>changed</h1>");
    world
        .site
        .write("about.html/index.html", "<h1>a folder now</h1>");
    let second = publish(&world, world.site.root(), Some("form"));
    assert!(second > first);
    world.wait_until_live(&world.site.tree());
}

#[test]
fn it_shares_a_server_with_a_daemon() {
    let world = World::with_small_site();
    let _daemon = world.watch_until_live();
    let other = SiteFolder::at(world.path("other"));
    for (path, bytes) in world.site.tree() {
        other.write(&path, &String::from_utf8(bytes).unwrap());
    }
    other.write("index.html", "<h1>from another client</h1>");
    publish(&world, other.root(), None);
    world.wait_until_live(&other.tree());
    world.site.save("about.html", "<h1>from the daemon</h1>");
    world.wait_until_live(&world.site.tree());
}
