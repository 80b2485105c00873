//! What a start finds after a crash at each step of a commit, and after damage.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    sync::{Arc, atomic::Ordering},
};

use onsave_protocol::DeployId;
use onsave_server::store::{Store, StoreError};

use super::site::{
    TestClock, TestVolume, expected, ids, publish, served, try_publish, upload, with_clock,
};

const OLD: &[(&str, &str)] = &[("a/index.html", "old"), ("b", "b")];
const NEW: &[(&str, &str)] = &[("a/index.html", "new"), ("b", "b")];

/// A volume with deploy OLD, and with everything that a commit of NEW wrote before its head.
fn cut_before_head() -> (TestVolume, DeployId, DeployId) {
    let volume = TestVolume::new();
    let store = volume.open();
    let old = publish(&store, OLD, &[]);
    store.wait_idle();
    let head = fs::read(volume.path("head")).unwrap();
    let new = publish(&store, &NEW[..1], &[]);
    store.wait_idle();
    drop(store);
    fs::write(volume.path("head"), head).unwrap();
    (volume, old, new)
}

fn assert_serves(volume: &TestVolume, store: &Store, id: DeployId, files: &[(&str, &str)]) {
    assert_eq!(store.current().deploy_id(), Some(id));
    assert_eq!(served(store), expected(files));
    store.wait_idle();
    assert_eq!(volume.served_tree(), (id, expected(files)));
}

#[test]
fn a_crash_before_the_head_leaves_the_old_deploy() {
    let (volume, old, new) = cut_before_head();
    let store = volume.open();
    assert_serves(&volume, &store, old, OLD);
    assert!(!volume.path("manifests").join(new.to_string()).exists());
    assert!(!volume.tree(new).exists());
    let next = publish(&store, NEW, &[]);
    assert!(next > new, "an id that was written once is not given again");
    drop(store);
    volume.assert_whole();
}

#[test]
fn a_crash_after_the_head_leaves_the_new_deploy() {
    let volume = TestVolume::new();
    let store = volume.open();
    publish(&store, OLD, &[]);
    let new = publish(&store, &NEW[..1], &[]);
    drop(store);
    // Neither the tree nor the symlink came to be.
    fs::remove_dir_all(volume.tree(new)).unwrap();
    fs::remove_file(volume.path("current")).unwrap();
    let store = volume.open();
    assert_serves(&volume, &store, new, NEW);
}

#[test]
fn what_an_earlier_run_staged_is_removed() {
    let volume = TestVolume::new();
    drop(volume.open());
    let run = volume.path("staging").join("0123456789abcdef");
    fs::create_dir_all(run.join("tree-1/a/b")).unwrap();
    fs::write(run.join("tree-1/a/b/c"), "half").unwrap();
    fs::write(run.join("blob-2"), "half").unwrap();
    let store = volume.open();
    store.wait_idle();
    assert!(!run.exists());
    assert_eq!(
        fs::read_dir(volume.path("staging")).unwrap().count(),
        1,
        "this run's own"
    );
}

#[test]
fn a_damaged_tree_is_made_anew() {
    let volume = TestVolume::new();
    let store = volume.open();
    let id = publish(&store, OLD, &[]);
    store.wait_idle();
    drop(store);
    for damage in [
        |tree: &std::path::Path| fs::remove_file(tree.join("b")).unwrap(),
        |tree: &std::path::Path| fs::write(tree.join("extra"), "x").unwrap(),
        |tree: &std::path::Path| fs::create_dir(tree.join("empty")).unwrap(),
        |tree: &std::path::Path| {
            fs::remove_file(tree.join("b")).unwrap();
            fs::write(tree.join("b"), "B").unwrap();
        },
        |tree: &std::path::Path| {
            fs::remove_file(tree.join("b")).unwrap();
            symlink("a/index.html", tree.join("b")).unwrap();
        },
    ] {
        damage(&volume.tree(id));
        let store = volume.open();
        assert_serves(&volume, &store, id, OLD);
        drop(store);
        volume.assert_whole();
    }
}

#[test]
fn a_copy_in_place_of_a_link_is_taken_for_the_file() {
    let volume = TestVolume::new();
    let store = volume.open();
    let id = publish(&store, OLD, &[]);
    store.wait_idle();
    drop(store);
    let file = volume.tree(id).join("b");
    fs::remove_file(&file).unwrap();
    fs::write(&file, "b").unwrap();
    let inode = fs::metadata(&file).unwrap().ino();
    let store = volume.open();
    assert_serves(&volume, &store, id, OLD);
    assert_eq!(
        fs::metadata(&file).unwrap().ino(),
        inode,
        "it was left as it is"
    );
}

#[test]
fn a_damaged_manifest_never_serves() {
    let volume = TestVolume::new();
    let store = volume.open();
    publish(&store, OLD, &[]);
    let new = publish(&store, &NEW[..1], &[]);
    drop(store);
    let manifest = volume.path("manifests").join(new.to_string());
    let whole = fs::read(&manifest).unwrap();
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(&manifest, &whole[..length]).unwrap();
        let error = Store::open(volume.options()).unwrap_err();
        assert!(
            matches!(&error, StoreError::Corrupt { path, .. } if *path == manifest),
            "{error}"
        );
    }
    fs::write(&manifest, &whole).unwrap();
    let store = volume.open();
    assert_serves(&volume, &store, new, NEW);
}

#[test]
fn a_damaged_older_deploy_is_left_out_and_its_file_kept_to_be_looked_at() {
    let volume = TestVolume::new();
    let store = volume.open();
    let old = publish(&store, OLD, &[]);
    // A full listing would do as well; a new site makes one that stands on no other.
    let new = publish(&store, &NEW[..1], &[]);
    store.rollback(Some(old), None).unwrap();
    drop(store);
    let manifest = volume.path("manifests").join(new.to_string());
    fs::write(&manifest, "damaged").unwrap();
    let store = volume.open();
    assert_serves(&volume, &store, old, OLD);
    assert_eq!(ids(&store), [old]);
    assert!(manifest.exists());
    let refused = store.rollback(Some(new), None).unwrap_err();
    assert!(matches!(refused, StoreError::NoSuchDeploy(id) if id == new));
}

#[test]
fn a_lost_head_is_not_taken_for_an_empty_volume() {
    let volume = TestVolume::new();
    let store = volume.open();
    publish(&store, OLD, &[]);
    publish(&store, &NEW[..1], &[]);
    drop(store);
    fs::remove_file(volume.path("head")).unwrap();
    let error = Store::open(volume.options()).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
}

#[test]
fn a_second_open_is_refused() {
    let volume = TestVolume::new();
    let store = volume.open();
    let error = Store::open(volume.options()).unwrap_err();
    assert!(
        matches!(&error, StoreError::Locked { root } if root == volume.root()),
        "{error}"
    );
    drop(store);
    drop(volume.open());
}

#[test]
fn ids_increase_when_the_clock_steps_back() {
    let volume = TestVolume::new();
    let clock = Arc::new(TestClock::default());
    clock.0.store(5_000, Ordering::Relaxed);
    let store = Store::open(with_clock(volume.options(), &clock)).unwrap();
    let first = publish(&store, &[("a", "1")], &[]);
    assert_eq!(first.unix_ms(), 5_000);
    clock.0.store(1_000, Ordering::Relaxed);
    let second = publish(&store, &[("a", "2")], &[]);
    let staged = store.begin().unwrap();
    assert!(first < second && second < staged);
    drop(store);
    let store = Store::open(with_clock(volume.options(), &clock)).unwrap();
    let third = publish(&store, &[("a", "3")], &[]);
    assert!(second < third);
    assert_eq!(ids(&store), [third, second, first]);
}

#[test]
fn staged_blobs_survive_an_orderly_restart() {
    let volume = TestVolume::new();
    let store = volume.open();
    let blob = upload(&store, "resumed").unwrap();
    drop(store);
    let store = volume.open();
    assert_eq!(store.missing(&[blob.digest]).unwrap(), []);
}

#[test]
fn commits_after_a_close_are_whole() {
    let volume = TestVolume::new();
    let store = volume.open();
    store.close();
    store.wait_idle();
    let committed = try_publish(&store, OLD, &[]).unwrap();
    drop(store);
    let store = volume.open();
    assert_serves(&volume, &store, committed.deploy_id, OLD);
}
