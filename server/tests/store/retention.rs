//! What is kept, what is removed, and what the list of deploys says.

use std::{
    fs,
    num::NonZeroUsize,
    os::unix::fs::MetadataExt as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use onsave_protocol::{SitePath, wire::v2::DeployDetail};
use onsave_server::store::{CommitRequest, DeployNote, Store, StoreError, StoreOptions};

use super::site::{
    TestClock, TestVolume, changeset, entry, expected, ids, path, publish, request, served,
    try_publish, upload, with_clock,
};

#[test]
fn the_newest_and_current_are_kept() {
    let volume = TestVolume::new();
    let store = volume.open();
    let first = publish(&store, &[("a", "1")], &[]);
    let second = publish(&store, &[("a", "2")], &[]);
    store.rollback(Some(first), None).unwrap();
    assert_eq!(ids(&store), [second, first]);
    let third = publish(&store, &[("a", "3")], &[]);
    assert_eq!(
        ids(&store),
        [third, second],
        "current is among the newest two"
    );
    let fourth = publish(&store, &[("a", "4")], &[]);
    store.rollback(Some(third), None).unwrap();
    assert_eq!(ids(&store), [fourth, third]);
    store.wait_idle();
    assert!(volume.tree(third).exists() && volume.tree(fourth).exists());
    assert!(!volume.tree(first).exists() && !volume.tree(second).exists());
    drop(store);
    volume.assert_whole();
}

#[test]
fn fewer_are_kept_when_the_option_is_lowered() {
    let volume = TestVolume::new();
    let store = volume.open();
    publish(&store, &[("a", "1")], &[]);
    let second = publish(&store, &[("a", "2")], &[]);
    store.wait_idle();
    drop(store);
    let store = Store::open(StoreOptions {
        keep_deploys: NonZeroUsize::MIN,
        ..volume.options()
    })
    .unwrap();
    store.wait_idle();
    assert_eq!(ids(&store), [second]);
    assert_eq!(fs::read_dir(volume.path("deploys")).unwrap().count(), 1);
    assert_eq!(served(&store), expected(&[("a", "2")]));
}

#[test]
fn what_a_lowered_option_pruned_is_not_missed() {
    let volume = TestVolume::new();
    let store = volume.open();
    publish(&store, &[("a", "1")], &[]);
    let second = publish(&store, &[("a", "2")], &[]);
    store.wait_idle();
    drop(store);
    let store = Store::open(StoreOptions {
        keep_deploys: NonZeroUsize::MIN,
        object_grace: Duration::ZERO,
        ..volume.options()
    })
    .unwrap();
    store.wait_idle();
    // Within one tick of the clock an object is as young as the sweep.
    while volume.object("1").exists() {
        store.sweep_objects().unwrap();
    }
    drop(store);
    volume.assert_whole();
    let store = volume.open();
    assert_eq!(ids(&store), [second], "a deploy without objects came back");
}

#[test]
fn the_tree_of_a_pruned_deploy_becomes_the_next_ones() {
    let volume = TestVolume::new();
    let store = volume.open();
    let first = publish(&store, &[("a", "1"), ("keep/this", "k")], &[]);
    store.wait_idle();
    let inode = fs::metadata(volume.tree(first)).unwrap().ino();
    for content in ["2", "3"] {
        publish(&store, &[("a", content)], &[]);
        store.wait_idle();
    }
    assert!(!volume.tree(first).exists());
    let fourth = publish(&store, &[("a", "4")], &[]);
    // At once, not when the worker is idle: the symlink moves within the commit.
    let files = expected(&[("a", "4"), ("keep/this", "k")]);
    assert_eq!(volume.served_tree(), (fourth, files));
    assert_eq!(fs::metadata(volume.tree(fourth)).unwrap().ino(), inode);
    let linked = fs::metadata(volume.tree(fourth).join("a")).unwrap();
    let object = fs::metadata(volume.object("4")).unwrap();
    assert_eq!(linked.ino(), object.ino());
    assert_eq!(object.mode() & 0o333, 0, "nobody may write it");
}

#[test]
fn objects_go_when_no_deploy_names_them_and_nobody_claimed_them() {
    let volume = TestVolume::new();
    let store = volume.open_without_grace();
    // The worker sweeps once at the start, and without a grace it may take what is not committed yet.
    store.wait_idle();
    for content in ["1", "2", "3"] {
        publish(&store, &[("a", content), ("b", "b")], &[]);
    }
    upload(&store, "never named").unwrap();
    store.wait_idle();
    // Within one tick of the clock an object is as young as the sweep.
    while volume.object("1").exists() || volume.object("never named").exists() {
        store.sweep_objects().unwrap();
    }
    for content in ["2", "3", "b"] {
        assert!(volume.object(content).exists(), "{content}");
    }
    drop(store);

    let store = volume.open();
    upload(&store, "claimed").unwrap();
    store.sweep_objects().unwrap();
    assert!(volume.object("claimed").exists());
}

#[test]
fn a_claim_moves_the_ctime_and_not_the_mtime() {
    let volume = TestVolume::new();
    let store = volume.open();
    publish(&store, &[("a", "1")], &[]);
    store.wait_idle();
    let stat = || fs::metadata(volume.object("1")).unwrap();
    let before = stat();
    let moved = || (stat().ctime(), stat().ctime_nsec()) > (before.ctime(), before.ctime_nsec());
    // The kernel's clock for files may stand for some milliseconds.
    while !moved() {
        assert_eq!(store.missing(&[entry("1").digest]).unwrap(), []);
    }
    assert_eq!(
        (stat().mtime(), stat().mtime_nsec()),
        (before.mtime(), before.mtime_nsec())
    );
    assert_eq!(stat().mode(), before.mode());
}

#[test]
fn a_sweep_and_commits_at_once_lose_nothing() {
    let volume = TestVolume::new();
    let store = volume.open_without_grace();
    let sweeping = store.clone();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                sweeping.sweep_objects().unwrap();
            }
        });
        let mut committed = 0;
        while committed < 40 {
            let content = format!("{}", committed % 4);
            // Swept between its upload and its commit: said so, never half-way.
            match try_publish(&store, &[("a", &content)], &[]) {
                Ok(_) => committed += 1,
                Err(StoreError::MissingBlobs(_)) => continue,
                Err(error) => panic!("{error}"),
            }
            assert_eq!(served(&store), expected(&[("a", &content)]));
        }
        done.store(true, Ordering::Relaxed);
    });
    store.wait_idle();
    drop((store, sweeping));
    volume.assert_whole();
}

#[test]
fn what_a_staged_deploy_names_is_not_swept() {
    let volume = TestVolume::new();
    let store = volume.open_without_grace();
    let staged = store.begin().unwrap();
    let file = upload(&store, "staged").unwrap();
    store.staged_put(staged, path("a"), file).unwrap();
    store.sweep_objects().unwrap();
    store.staged_commit(staged).unwrap();
    assert_eq!(served(&store), expected(&[("a", "staged")]));
}

fn listed(detail: &DeployDetail) -> [Vec<&str>; 3] {
    [&detail.added, &detail.changed, &detail.removed]
        .map(|paths| paths.iter().map(SitePath::as_str).collect())
}

#[test]
fn the_list_of_deploys_says_what_changed() {
    let volume = TestVolume::new();
    let store = volume.open();
    let first = publish(&store, &[("a", "1"), ("b", "1"), ("c", "1")], &[]);
    upload(&store, "22").unwrap();
    let changes = changeset(&[("a", "22"), ("b", "1"), ("d", "22")], &["c", "absent"]);
    let note = DeployNote {
        published_by: Some("ann".into()),
        message: Some("a \"message\"\nof two lines".into()),
    };
    let request = CommitRequest {
        note: note.clone(),
        ..request(&store, changes)
    };
    let second = store.commit(request).unwrap().deploy_id;
    let check = |store: &Store| {
        let detail = store.deploy(second).unwrap();
        assert_eq!(listed(&detail), [vec!["d"], vec!["a"], vec!["c"]]);
        let summary = &store.deploys()[0];
        assert_eq!(&detail.summary, summary);
        assert_eq!(summary.base_deploy_id, Some(first));
        assert_eq!((summary.files, summary.bytes), (3, 5));
        assert_eq!((summary.puts, summary.removes), (2, 1));
        assert_eq!(summary.published_by, note.published_by);
        assert_eq!(summary.message, note.message);
        assert!(summary.current && !store.deploys()[1].current);
        assert_eq!(
            listed(&store.deploy(first).unwrap()),
            [vec!["a", "b", "c"], vec![], vec![]]
        );
    };
    check(&store);
    drop(store);
    check(&volume.open());
}

#[test]
fn a_long_chain_of_changesets_ends_in_a_full_listing() {
    let volume = TestVolume::new();
    let store = volume.open();
    publish(&store, &[("keep", "k"), ("a", "x")], &[]);
    let contents: Vec<String> = (0..80).map(|n| format!("content {n}")).collect();
    for content in &contents {
        publish(&store, &[("a", content)], &[]);
    }
    store.wait_idle();
    let last = publish(&store, &[("a", "last")], &[]);
    store.wait_idle();
    let manifests = fs::read_dir(volume.path("manifests")).unwrap().count();
    assert!(manifests <= 64 + 2, "{manifests} manifests");
    let detail = store.deploy(last).unwrap();
    assert_eq!(listed(&detail), [vec![], vec!["a"], vec![]]);
    // A few more, so that the listed one is pruned from the list but stood on.
    for content in ["p", "q", "r"] {
        publish(&store, &[("a", content)], &[]);
        store.wait_idle();
    }
    let before = ids(&store);
    drop(store);
    volume.assert_whole();
    let store = volume.open();
    assert_eq!(ids(&store), before);
    assert_eq!(served(&store), expected(&[("a", "r"), ("keep", "k")]));
    store.rollback(None, None).unwrap();
    assert_eq!(served(&store), expected(&[("a", "q"), ("keep", "k")]));
}

#[test]
fn an_unknown_or_pruned_deploy_is_said_to_be_unknown() {
    let volume = TestVolume::new();
    let store = volume.open();
    let first = publish(&store, &[("a", "1")], &[]);
    publish(&store, &[("a", "2")], &[]);
    publish(&store, &[("a", "3")], &[]);
    assert!(matches!(store.deploy(first), Err(StoreError::NoSuchDeploy(id)) if id == first));
    let error = store.rollback(Some(first), None).unwrap_err();
    assert!(matches!(error, StoreError::NoSuchDeploy(id) if id == first));
}

/// Opens the store at a time at which whatever the test makes is old.
fn open_long_after(volume: &TestVolume) -> Store {
    let year_2100 = Arc::new(TestClock(4_102_444_800_000.into()));
    let options = StoreOptions {
        object_grace: Duration::ZERO,
        ..volume.options()
    };
    Store::open(with_clock(options, &year_2100)).unwrap()
}

#[test]
fn a_stray_file_among_the_objects_stays_and_stops_no_sweep() {
    let volume = TestVolume::new();
    let store = open_long_after(&volume);
    upload(&store, "orphan").unwrap();
    publish(&store, &[("a", "1")], &[]);
    store.wait_idle();
    let stray = volume.path("objects/README");
    fs::write(&stray, "not ours").unwrap();
    store.sweep_objects().unwrap();
    assert!(stray.exists());
    assert!(!volume.object("orphan").exists());
    drop(store);
    volume.assert_whole();
}

#[test]
fn a_sweep_that_failed_is_tried_again() {
    let volume = TestVolume::new();
    drop(volume.open());
    // A folder cannot be removed as a file is.
    let obstacle = volume.object("obstacle");
    fs::create_dir(&obstacle).unwrap();
    let orphan = volume.object("orphan");
    fs::write(&orphan, "orphan").unwrap();
    let store = open_long_after(&volume);
    store.wait_idle();
    fs::remove_dir(&obstacle).unwrap();
    fs::write(&orphan, "orphan").unwrap();
    publish(&store, &[("a", "1")], &[]);
    store.wait_idle();
    assert!(!orphan.exists());
}

#[test]
fn what_was_served_before_going_back_is_never_newer_than_what_is_served_after() {
    let volume = TestVolume::new();
    let clock = Arc::new(TestClock::default());
    let open = || Store::open(with_clock(volume.options(), &clock)).unwrap();
    let at = |seconds: u64| clock.0.store(seconds * 1_000, Ordering::Relaxed);
    let since = |store: &Store| store.current().get_dated("x").unwrap().1;
    let store = open();
    at(100);
    let first = publish(&store, &[("x", "good")], &[]);
    at(200);
    let second = publish(&store, &[("y", "other")], &[]);
    at(300);
    publish(&store, &[("x", "bad")], &[]);
    assert_eq!(since(&store), 300);
    // Forth and back between deploys that have the same bytes.
    at(400);
    store.rollback(Some(first), None).unwrap();
    assert_eq!(since(&store), 400);
    at(500);
    store.rollback(Some(second), None).unwrap();
    assert_eq!(since(&store), 500);
    // A deploy that is made then, also after a start.
    at(600);
    publish(&store, &[("y", "another")], &[]);
    assert!(since(&store) > 300);
    drop(store);
    let store = open();
    assert!(since(&store) > 300, "{}", since(&store));
}
