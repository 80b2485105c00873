//! Notifications on the desktop: a trouble that lasts is shown once, and so is its end.
//!
//! A program in the place of `notify-send` writes down what it is asked to show.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::harness::{World, eventually, server};

#[test]
fn a_held_publish_is_shown_and_its_end_too() {
    let world = World::new();
    for page in 0..12 {
        world.site.write(&format!("{page}.html"), "<h1>page</h1>");
    }
    let programs = world.path("bin");
    let shown = world.path("shown");
    fs::create_dir(&programs).expect("it is new");
    let program = programs.join("notify-send");
    let script = format!(
        "#!/bin/sh\nenv >> '{0}.env'\nprintf '%s|' \"$@\" >> '{0}'\necho >> '{0}'\n",
        shown.display()
    );
    fs::write(&program, script).expect("the folder is there");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let mut command = world.command(&["watch"]);
    command
        .env("ONSAVE_NOTIFY_DESKTOP", "true")
        .env("ONSAVE_APP", "blog")
        .env("PATH", format!("{}:/usr/bin:/bin", programs.display()));
    let mut daemon = world.start("watch", &mut command);
    world.wait_until_live(&world.site.tree());
    let told = || fs::read_to_string(&shown).unwrap_or_default();
    for page in 0..11 {
        world.site.remove(&format!("{page}.html"));
    }
    eventually("the held publish to be shown", || {
        told().contains("blog: held")
    });
    assert!(told().contains("would remove 11 of 12 files"), "{}", told());
    for page in 0..11 {
        world.site.write(&format!("{page}.html"), "<h1>page</h1>");
    }
    eventually("the end to be shown", || {
        told().contains("blog is live again")
    });
    assert_eq!(told().lines().count(), 2, "{}", told());
    let environment = fs::read_to_string(shown.with_extension("env")).expect("it was run");
    assert!(!environment.contains(server::SECRET));
    daemon.assert_running();
}
