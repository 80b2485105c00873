//! What people, editors and generators do to files, and that it is live afterwards, exactly.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    time::Duration,
};

use crate::harness::{World, deadline::throughout, eventually, http};

#[test]
fn a_save_by_rename_is_live() {
    let world = World::with_small_site();
    let _daemon = world.watch_until_live();
    world.site.save("index.html", "<h1>second</h1>");
    world.wait_for_page("/", "<h1>second</h1>");
    world.wait_until_live(&world.site.tree());
}

#[test]
fn a_save_in_place_is_live() {
    let world = World::with_small_site();
    let _daemon = world.watch_until_live();
    world
        .site
        .write("about.html", "<h1>about, longer than before</h1>");
    world.wait_for_page("/about", "<h1>about, longer than before</h1>");
    world.site.write("about.html", "");
    world.wait_for_page("/about", "");
    world.wait_until_live(&world.site.tree());
}

#[test]
fn a_save_that_keeps_a_backup_is_live_without_the_backup() {
    let world = World::with_small_site();
    let _daemon = world.watch_until_live();
    world.site.rename("index.html", "index.html~");
    world.site.write("index.html", "<h1>second</h1>");
    world.wait_for_page("/", "<h1>second</h1>");
    let mut expected = world.site.tree();
    assert!(expected.remove("index.html~").is_some());
    world.wait_until_live(&expected);
}

#[test]
fn a_new_file_and_a_deleted_one() {
    let world = World::with_small_site();
    let _daemon = world.watch_until_live();
    world.site.save("new.html", "<h1>new</h1>");
    world.wait_for_page("/new", "<h1>new</h1>");
    world.site.remove("about.html");
    world.wait_for_no_page("/about");
    world.wait_until_live(&world.site.tree());
}

#[test]
fn a_renamed_file_and_a_renamed_folder() {
    let world = World::with_small_site();
    for post in 0..5 {
        world
            .site
            .write(&format!("blog/{post}/index.html"), "<h1>post</h1>");
    }
    let _daemon = world.watch_until_live();
    world.site.rename("about.html", "who.html");
    world.wait_for_page("/who", "<h1>about</h1>");
    world.wait_for_no_page("/about");
    world.site.rename("blog", "notes/2026");
    world.wait_for_page("/notes/2026/a/", "<h1>a</h1>");
    world.wait_for_no_page("/blog/a/");
    world.wait_until_live(&world.site.tree());
    // The watch goes on in the folder under its new name.
    world
        .site
        .write("notes/2026/a/index.html", "<h1>a again</h1>");
    world.wait_for_page("/notes/2026/a/", "<h1>a again</h1>");
}

#[test]
fn new_nested_folders_that_fill_at_once() {
    let world = World::with_small_site();
    let _daemon = world.watch_until_live();
    for folder in 0..20 {
        for file in 0..5 {
            let path = format!("new/{folder}/deep/er/{file}.html");
            world.site.write(&path, &format!("<h1>{path}</h1>"));
        }
    }
    world.wait_until_live(&world.site.tree());
    world.site.write("new/7/deep/er/3.html", "<h1>changed</h1>");
    world.wait_for_page("/new/7/deep/er/3", "<h1>changed</h1>");
}

#[test]
fn a_tree_that_is_moved_in_and_out() {
    let world = World::with_small_site();
    let _daemon = world.watch_until_live();
    let outside = crate::harness::SiteFolder::at(world.path("outside"));
    for file in 0..30 {
        outside.write(&format!("a/{}/{file}.html", file % 3), "<h1>moved</h1>");
    }
    fs::rename(outside.path("a"), world.site.path("moved")).unwrap();
    world.wait_until_live(&world.site.tree());
    fs::rename(world.site.path("moved/1"), outside.path("1")).unwrap();
    world.wait_until_live(&world.site.tree());
    assert_eq!(world.site.tree().len(), 3 + 20);
}

#[test]
fn a_file_that_becomes_a_folder_and_back() {
    let world = World::with_small_site();
    world.site.write("thing", "a file");
    let _daemon = world.watch_until_live();
    world.site.remove("thing");
    world.site.write("thing/index.html", "<h1>a folder</h1>");
    world.wait_for_page("/thing/", "<h1>a folder</h1>");
    world.wait_until_live(&world.site.tree());
    world.site.remove_folder("thing");
    world.site.write("thing", "a file again");
    world.wait_for_page("/thing", "a file again");
    world.wait_until_live(&world.site.tree());
}

#[test]
fn equal_size_saves_within_one_clock_tick() {
    let world = World::with_small_site();
    let _daemon = world.watch_until_live();
    for round in 0..5 {
        for number in 0..60 {
            world
                .site
                .write("index.html", &format!("<h1>{round}{number:02}</h1>"));
        }
        world.wait_for_page("/", &format!("<h1>{round}59</h1>"));
        // Right after a publish the stat index has seen the file within this very tick.
        world
            .site
            .write("index.html", &format!("<h1>{round}xx</h1>"));
        world.wait_for_page("/", &format!("<h1>{round}xx</h1>"));
    }
}

#[test]
fn a_save_that_keeps_size_and_modification_time() {
    let world = World::with_small_site();
    let _daemon = world.watch_until_live();
    let path = world.site.path("index.html");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    world.site.write("index.html", "<h1>FIRST</h1>");
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(modified)
        .unwrap();
    world.wait_for_page("/", "<h1>FIRST</h1>");
}

#[test]
fn a_burst_of_500_files() {
    let world = World::with_small_site();
    let _daemon = world.watch_until_live();
    for file in 0..500 {
        let path = format!("burst/{}/{file}.html", file % 25);
        world.site.write(&path, &format!("<h1>{file}</h1>"));
    }
    world.wait_until_live(&world.site.tree());
    for file in 0..500 {
        let path = format!("burst/{}/{file}.html", file % 25);
        world.site.save(&path, &format!("<h1>{file} again</h1>"));
    }
    world.wait_until_live(&world.site.tree());
}

#[test]
fn what_is_ignored_is_not_published_and_does_not_publish() {
    let world = World::with_small_site();
    world.site.write(".onsaveignore", "drafts/\n*.map\n");
    let expected = {
        let mut tree = world.site.tree();
        tree.remove(".onsaveignore");
        tree
    };
    let _daemon = world.watch();
    world.wait_until_live(&expected);
    let deploy = world.current_deploy();

    for path in [
        "drafts/next.html",
        "app.js.map",
        "blog/.index.html.swp",
        "blog/a/index.html~",
        ".git/HEAD",
        ".DS_Store",
        ".hidden/page.html",
        "4913",
    ] {
        world.site.write(path, "ignored");
    }
    throughout(Duration::from_millis(700), "nothing is published", || {
        world.current_deploy() == deploy
    });

    // What comes after them is published, alone.
    world.site.save("index.html", "<h1>second</h1>");
    world.wait_for_page("/", "<h1>second</h1>");
    let mut expected = expected;
    expected.insert("index.html".into(), b"<h1>second</h1>".to_vec());
    world.wait_until_live(&expected);
}

#[test]
fn well_known_files_are_published_and_a_changed_rule_file_applies() {
    let world = World::with_small_site();
    let _daemon = world.watch_until_live();
    world
        .site
        .write(".well-known/security.txt", "Contact: mailto:a@example.org");
    world.wait_for_page("/.well-known/security.txt", "Contact: mailto:a@example.org");

    world.site.write(".onsaveignore", "about.html\n");
    world.wait_for_no_page("/about");
    world.site.remove(".onsaveignore");
    world.wait_for_page("/about", "<h1>about</h1>");
    world.wait_until_live(&world.site.tree());
}

#[test]
fn names_that_need_care() {
    let world = World::with_small_site();
    let _daemon = world.watch_until_live();
    for name in [
        "two words.html",
        "a+b&c.html",
        "100%.html",
        "ünï/čödé ☃.html",
        "q?.html",
        "#1.html",
    ] {
        world.site.write(name, &format!("<h1>{name}</h1>"));
    }
    world.wait_until_live(&world.site.tree());
    // NFD on disk, NFC on the wire and in the address.
    world.site.write("cafe\u{301}.html", "<h1>nfd</h1>");
    world.wait_for_page("/caf%C3%A9.html", "<h1>nfd</h1>");
}

#[test]
fn names_that_cannot_be_published_are_named_and_the_rest_is_live() {
    let world = World::with_small_site();
    let not_utf8 = OsStr::from_bytes(b"caf\xe9.html");
    fs::write(world.site.root().join(not_utf8), "latin-1").unwrap();
    world
        .site
        .write("back\\slash.html", "a separator elsewhere");
    world.site.write("Page.html", "<h1>capital</h1>");
    world.site.write("page.html", "<h1>small</h1>");
    let mut expected = world.site.tree();
    expected.retain(|path, _| !path.contains('\\') && !path.contains('\u{fffd}'));
    let daemon = world.watch();
    world.wait_until_live(&expected);
    eventually("each to be named in a warning", || {
        let said = daemon.stderr();
        ["caf", "back", "Page.html", "page.html"]
            .iter()
            .all(|name| {
                said.lines()
                    .any(|line| line.contains("WARN") && line.contains(name))
            })
    });
}

#[test]
fn links_inside_the_site_are_followed_and_others_are_not() {
    let world = World::with_small_site();
    fs::write(world.path("private.txt"), "not for the public").unwrap();
    symlink("about.html", world.site.path("inside.html")).unwrap();
    symlink(world.path("private.txt"), world.site.path("outside.txt")).unwrap();
    let mut expected = world.site.tree();
    assert!(expected.remove("outside.txt").is_some());
    let _daemon = world.watch();
    world.wait_until_live(&expected);
    assert_eq!(
        http::get(world.address(), "/outside.txt").unwrap().status,
        404
    );
}

#[test]
fn polling_publishes_without_events() {
    let world = World::with_small_site();
    let mut command = world.command(&["watch"]);
    command
        .env("ONSAVE_WATCH_POLL", "always")
        .env("ONSAVE_WATCH_POLL_INTERVAL_MS", "100");
    let _daemon = world.start("watch", &mut command);
    world.wait_until_live(&world.site.tree());
    world.site.save("index.html", "<h1>second</h1>");
    world.site.write("new/page.html", "<h1>new</h1>");
    world.site.remove("about.html");
    world.wait_until_live(&world.site.tree());
}
