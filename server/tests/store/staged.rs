//! Deploys of the first generation: begun, filled and committed in several calls.

use std::sync::{Arc, atomic::Ordering};

use onsave_server::store::{Store, StoreError};

use super::site::{
    TestClock, TestVolume, entry, expected, ids, path, publish, served, upload, with_clock,
};

#[test]
fn it_starts_as_current_and_is_seen_only_when_committed() {
    let volume = TestVolume::new();
    let store = volume.open();
    let first = publish(&store, &[("a", "1"), ("b", "1")], &[]);
    let staged = store.begin().unwrap();
    let file = upload(&store, "2").unwrap();
    store.staged_put(staged, path("a"), file).unwrap();
    store.staged_put(staged, path("c"), file).unwrap();
    store.staged_remove(staged, path("b")).unwrap();
    store.staged_remove(staged, path("c")).unwrap();
    store.staged_remove(staged, path("absent")).unwrap();
    assert_eq!(ids(&store), [first]);
    assert_eq!(served(&store), expected(&[("a", "1"), ("b", "1")]));

    let committed = store.staged_commit(staged).unwrap();
    assert_eq!(
        (committed.deploy_id, committed.previous),
        (staged, Some(first))
    );
    assert_eq!(served(&store), expected(&[("a", "2")]));
    let again = store.staged_commit(staged).unwrap_err();
    assert!(matches!(again, StoreError::NoSuchDeploy(id) if id == staged));
}

#[test]
fn it_is_refused_when_current_moved() {
    let volume = TestVolume::new();
    let store = volume.open();
    let one = store.begin().unwrap();
    let two = store.begin().unwrap();
    store.staged_commit(two).unwrap();
    let error = store.staged_commit(one).unwrap_err();
    assert!(
        matches!(error, StoreError::StagingConflict { deploy, base: None, current }
            if deploy == one && current == Some(two)),
        "{error}"
    );
    // Current moved and came back: the id would be older than a deploy's.
    let three = store.begin().unwrap();
    publish(&store, &[("a", "1")], &[]);
    store.rollback(Some(two), None).unwrap();
    let error = store.staged_commit(three).unwrap_err();
    assert!(
        matches!(error, StoreError::StagingConflict { .. }),
        "{error}"
    );
}

#[test]
fn a_file_that_was_not_uploaded_is_refused_and_the_deploy_stays_open() {
    let volume = TestVolume::new();
    let store = volume.open();
    let staged = store.begin().unwrap();
    let error = store
        .staged_put(staged, path("a"), entry("absent"))
        .unwrap_err();
    assert!(matches!(error, StoreError::MissingBlobs(_)), "{error}");
    let file = upload(&store, "1").unwrap();
    store.staged_put(staged, path("a"), file).unwrap();
    store.staged_put(staged, path("a/b"), file).unwrap();
    let error = store.staged_commit(staged).unwrap_err();
    assert!(matches!(error, StoreError::PathConflict(_)), "{error}");
    store.staged_remove(staged, path("a")).unwrap();
    store.staged_commit(staged).unwrap();
    assert_eq!(served(&store), expected(&[("a/b", "1")]));
}

#[test]
fn an_aborted_one_is_gone() {
    let volume = TestVolume::new();
    let store = volume.open();
    let staged = store.begin().unwrap();
    store.staged_abort(staged).unwrap();
    for outcome in [
        store.staged_abort(staged),
        store.staged_remove(staged, path("a")),
        store.staged_commit(staged).map(drop),
    ] {
        assert!(matches!(outcome, Err(StoreError::NoSuchDeploy(id)) if id == staged));
    }
}

#[test]
fn sixteen_may_be_open_and_idle_ones_make_room() {
    let volume = TestVolume::new();
    let clock = Arc::new(TestClock::default());
    let store = Store::open(with_clock(volume.options(), &clock)).unwrap();
    let open: Vec<_> = (0..16).map(|_| store.begin().unwrap()).collect();
    let error = store.begin().unwrap_err();
    assert!(
        matches!(error, StoreError::TooManyStaged { limit: 16 }),
        "{error}"
    );
    clock.0.store(40 * 60 * 1_000, Ordering::Relaxed);
    store.staged_remove(open[3], path("a")).unwrap();
    clock.0.store(61 * 60 * 1_000, Ordering::Relaxed);
    store.begin().unwrap();
    let dropped = store.staged_commit(open[0]).unwrap_err();
    assert!(matches!(dropped, StoreError::NoSuchDeploy(_)), "{dropped}");
    store.staged_commit(open[3]).unwrap();
}
