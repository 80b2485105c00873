//! The site folder itself: wiped by a generator, deleted, recreated, replaced, late, or a symlink.
//!
//! What a reader must never see in between is an empty or half-built site.

use std::{fs, os::unix::fs::symlink, time::Duration};

use crate::harness::{SiteFolder, World, deadline::throughout, eventually, http, site::Tree};

/// Writes a site of `pages` pages, each of which says `word`.
fn generate(site: &SiteFolder, pages: u32, word: &str) {
    site.write("index.html", &format!("<h1>{word}</h1>"));
    for page in 0..pages {
        site.write(
            &format!("p/{page}/index.html"),
            &format!("<h1>{word} {page}</h1>"),
        );
    }
}

#[test]
fn a_generator_that_wipes_and_rewrites_shows_no_gap() {
    let world = World::new();
    generate(&world.site, 60, "one");
    let _daemon = world.watch_until_live();
    for word in ["two", "three"] {
        world.site.wipe();
        assert_eq!(http::get(world.address(), "/").unwrap().status, 200);
        generate(&world.site, 60, word);
        let expected = format!("<h1>{word} 59</h1>");
        // The last page that is written is the last that may appear; until then and after, every
        // page has to be there, in the old words or in the new ones.
        eventually("the new site", || {
            for target in ["/", "/p/0/", "/p/30/"] {
                assert_eq!(
                    http::get(world.address(), target).unwrap().status,
                    200,
                    "{target}"
                );
            }
            http::get(world.address(), "/p/59/").unwrap().text() == expected
        });
        world.wait_until_live(&world.site.tree());
    }
}

#[test]
fn a_wiped_folder_is_held_until_it_fills_again() {
    let world = World::new();
    generate(&world.site, 20, "one");
    let daemon = world.watch_until_live();
    let before = world.current_deploy();
    world.site.wipe();
    throughout(Duration::from_millis(1_500), "the old site stays", || {
        world.current_deploy() == before
    });
    eventually("the daemon to say that it holds", || {
        daemon.stderr().contains("--allow-removals") || daemon.stdout().contains("--allow-removals")
    });
    generate(&world.site, 20, "two");
    world.wait_until_live(&world.site.tree());
}

#[test]
fn a_daemon_that_holds_goes_on_when_the_removals_were_let_pass() {
    let world = World::new();
    generate(&world.site, 20, "one");
    let daemon = world.watch_until_live();
    for page in 0..15 {
        world.site.remove_folder(&format!("p/{page}"));
    }
    eventually("the daemon to say that it holds", || {
        daemon.stderr().contains("--allow-removals")
    });
    world.run_well(&["publish", "--allow-removals"]);
    world.wait_until_live(&world.site.tree());
    world.site.save("p/19/index.html", "<h1>the next save</h1>");
    world.wait_until_live(&world.site.tree());
}

#[test]
fn a_folder_that_is_deleted_and_recreated() {
    let world = World::new();
    generate(&world.site, 10, "one");
    let _daemon = world.watch_until_live();
    let before = world.current_deploy();
    for word in ["two", "three"] {
        fs::remove_dir_all(world.site.root()).unwrap();
        assert!(world.current_deploy().is_some());
        generate(&world.site, 10, word);
        world.wait_until_live(&world.site.tree());
        // The new folder is watched as the old one was.
        world.site.save("index.html", "<h1>edited</h1>");
        world.wait_for_page("/", "<h1>edited</h1>");
    }
    assert_ne!(world.current_deploy(), before);
}

#[test]
fn a_folder_that_stays_away_empties_nothing() {
    let world = World::with_small_site();
    let mut daemon = world.watch_until_live();
    let before = world.current_deploy();
    fs::rename(world.site.root(), world.path("elsewhere")).unwrap();
    throughout(Duration::from_millis(1_500), "the old site stays", || {
        world.current_deploy() == before
    });
    daemon.assert_running();
    fs::rename(world.path("elsewhere"), world.site.root()).unwrap();
    world.site.save("index.html", "<h1>back</h1>");
    world.wait_for_page("/", "<h1>back</h1>");
}

#[test]
fn a_folder_that_is_replaced_by_rename() {
    let world = World::new();
    generate(&world.site, 10, "one");
    let _daemon = world.watch_until_live();
    let next = SiteFolder::at(world.project().join("build"));
    generate(&next, 10, "two");
    fs::rename(world.site.root(), world.path("old")).unwrap();
    fs::rename(next.root(), world.site.root()).unwrap();
    world.wait_until_live(&world.site.tree());
    world.site.save("index.html", "<h1>three</h1>");
    world.wait_for_page("/", "<h1>three</h1>");
}

#[test]
fn a_folder_that_comes_later() {
    let world = World::without_site();
    let mut daemon = world.watch();
    assert_eq!(http::get(world.address(), "/").unwrap().status, 503);
    throughout(Duration::from_millis(500), "nothing is published", || {
        world.current_deploy().is_none()
    });
    daemon.assert_running();
    generate(&world.site, 3, "here");
    world.wait_until_live(&world.site.tree());
    world.site.save("index.html", "<h1>edited</h1>");
    world.wait_for_page("/", "<h1>edited</h1>");
}

#[test]
fn a_symlink_that_is_pointed_elsewhere() {
    let world = World::without_site();
    let builds: [SiteFolder; 2] =
        ["one", "two"].map(|word| SiteFolder::at(world.project().join(format!("build-{word}"))));
    generate(&builds[0], 5, "one");
    generate(&builds[1], 5, "two");
    symlink("build-one", world.site.root()).unwrap();
    let _daemon = world.watch();
    world.wait_until_live(&builds[0].tree());
    builds[0].save("index.html", "<h1>edited</h1>");
    world.wait_for_page("/", "<h1>edited</h1>");

    // Swapped as deploy scripts do it: a new link, renamed over the old one.
    symlink("build-two", world.project().join("next")).unwrap();
    fs::rename(world.project().join("next"), world.site.root()).unwrap();
    world.wait_until_live(&builds[1].tree());
    builds[1].save("index.html", "<h1>edited too</h1>");
    world.wait_for_page("/", "<h1>edited too</h1>");
}

#[test]
fn a_half_built_site_is_not_published() {
    let world = World::new();
    generate(&world.site, 200, "one");
    let _daemon = world.watch_until_live();
    let old = world.site.tree();
    generate(&world.site, 200, "two");
    let new = world.site.tree();
    // In-place rewriting is a burst: what is live in the end is the new site and nothing of the
    // old one is left.
    world.wait_until_live(&new);
    let leftovers: Tree = old
        .into_iter()
        .filter(|(path, bytes)| new.get(path) == Some(bytes))
        .collect();
    assert_eq!(leftovers, Tree::new());
}
