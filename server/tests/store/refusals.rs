//! What is refused, and that nothing changed then.

use std::{fs, num::NonZeroUsize};

use onsave_protocol::{FileEntry, Sha256Digest};
use onsave_server::store::{CommitRequest, DeployNote, Store, StoreError, StoreOptions};

use super::site::{
    TestVolume, changeset, entry, expected, ids, publish, request, served, try_publish, upload,
};

#[test]
fn a_base_that_is_not_current_is_refused_with_the_current_one() {
    let volume = TestVolume::new();
    let store = volume.open();
    let first = publish(&store, &[("a", "1")], &[]);
    let stale = request(&store, changeset(&[("a", "1")], &[]));
    let second = publish(&store, &[("a", "2")], &[]);
    let fresh = CommitRequest {
        base: None,
        ..stale.clone()
    };
    for request in [stale, fresh] {
        let error = store.commit(request).unwrap_err();
        assert!(
            matches!(error, StoreError::BaseNotCurrent { current } if current == Some(second)),
            "{error}"
        );
    }
    assert_eq!(ids(&store), [second, first]);
}

#[test]
fn blobs_that_are_not_there_are_named_each_once() {
    let volume = TestVolume::new();
    let store = volume.open();
    upload(&store, "here").unwrap();
    let wrong_size = FileEntry {
        size: 1,
        ..entry("here")
    };
    let mut changes = changeset(&[("a", "x"), ("b", "here"), ("c", "y"), ("d", "x")], &[]);
    changes.puts.insert(super::site::path("e"), wrong_size);
    let error = store.commit(request(&store, changes)).unwrap_err();
    let StoreError::MissingBlobs(mut missing) = error else {
        panic!("{error}");
    };
    missing.sort_unstable();
    let mut named = [entry("x").digest, entry("y").digest];
    named.sort_unstable();
    assert_eq!(missing, named);
    assert_eq!(store.current().deploy_id(), None);

    let wrong = CommitRequest {
        base: None,
        changeset: [(super::site::path("e"), wrong_size)].into_iter().fold(
            changeset(&[], &[]),
            |mut all, (path, entry)| {
                all.puts.insert(path, entry);
                all
            },
        ),
        note: DeployNote::default(),
    };
    let error = store.commit(wrong).unwrap_err();
    assert!(matches!(error, StoreError::MissingBlobs(_)), "{error}");
    let order = [
        entry("y").digest,
        entry("here").digest,
        entry("x").digest,
        entry("y").digest,
    ];
    assert_eq!(store.missing(&order).unwrap(), [order[0], order[2]]);
}

#[test]
fn a_path_that_is_a_file_and_a_folder_is_refused() {
    let volume = TestVolume::new();
    let store = volume.open();
    publish(&store, &[("a/b", "1"), ("c", "1")], &[]);
    for (puts, removes) in [
        (vec![("a", "1")], vec![]),
        (vec![("c/d", "1")], vec![]),
        (vec![("x", "1"), ("x/y", "1")], vec![]),
        (vec![("a", "1")], vec!["a/c"]),
    ] {
        let error = try_publish(&store, &puts, &removes).unwrap_err();
        assert!(
            matches!(error, StoreError::PathConflict(_)),
            "{puts:?}: {error}"
        );
    }
    publish(&store, &[("a", "1"), ("c/d", "1")], &["a/b", "c"]);
    assert_eq!(served(&store), expected(&[("a", "1"), ("c/d", "1")]));
    store.wait_idle();
    assert_eq!(
        volume.served_tree().1,
        expected(&[("a", "1"), ("c/d", "1")])
    );
}

#[test]
fn bytes_that_are_not_what_was_announced_leave_nothing() {
    let volume = TestVolume::new();
    let store = volume.open();
    store.wait_idle();
    let expected = entry("hello");

    let mut long = store.stage(expected).unwrap();
    long.write(b"hel").unwrap();
    let error = long.write(b"lo!").unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::SizeMismatch {
                expected: 5,
                actual: 6,
                ..
            }
        ),
        "{error}"
    );
    drop(long);

    let mut short = store.stage(expected).unwrap();
    short.write(b"hell").unwrap();
    let error = short.finish().unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::SizeMismatch {
                expected: 5,
                actual: 4,
                ..
            }
        ),
        "{error}"
    );

    let mut other = store.stage(expected).unwrap();
    other.write(b"hallo").unwrap();
    let error = other.finish().unwrap_err();
    assert!(
        matches!(error, StoreError::DigestMismatch { actual, .. } if actual == Sha256Digest::of(b"hallo")),
        "{error}"
    );

    drop(store.stage(expected).unwrap());
    assert_eq!(volume.staged_leftovers(), [] as [std::path::PathBuf; 0]);
    assert_eq!(
        store.missing(&[expected.digest]).unwrap(),
        [expected.digest]
    );
    let error = store.open_object(&expected.digest).unwrap_err();
    assert!(matches!(error, StoreError::MissingBlobs(_)), "{error}");
}

#[test]
fn an_object_that_is_there_is_verified_but_not_written() {
    let volume = TestVolume::new();
    let store = volume.open();
    publish(&store, &[("a", "hello")], &[]);
    store.wait_idle();
    let mut writer = store.stage(entry("hello")).unwrap();
    assert_eq!(volume.staged_leftovers(), [] as [std::path::PathBuf; 0]);
    writer.write(b"hallo").unwrap();
    assert!(matches!(
        writer.finish(),
        Err(StoreError::DigestMismatch { .. })
    ));
    upload(&store, "hello").unwrap();
}

#[test]
fn a_damaged_object_is_replaced_by_the_next_upload() {
    let volume = TestVolume::new();
    let store = volume.open();
    publish(&store, &[("a", "hello")], &[]);
    store.wait_idle();
    fs::remove_file(volume.object("hello")).unwrap();
    fs::write(volume.object("hello"), "hell").unwrap();
    publish(&store, &[("b", "hello")], &[]);
    assert_eq!(served(&store), expected(&[("a", "hello"), ("b", "hello")]));
}

#[test]
fn two_uploads_of_the_same_bytes_are_one_object() {
    let volume = TestVolume::new();
    let store = volume.open();
    store.wait_idle();
    let mut one = store.stage(entry("same")).unwrap();
    let mut two = store.stage(entry("same")).unwrap();
    one.write(b"same").unwrap();
    two.write(b"same").unwrap();
    one.finish().unwrap();
    two.finish().unwrap();
    assert_eq!(volume.staged_leftovers().len(), 1);
    publish(&store, &[("a", "same")], &[]);
    assert_eq!(served(&store), expected(&[("a", "same")]));
}

#[test]
fn limits_hold() {
    let volume = TestVolume::new();
    let store = Store::open(StoreOptions {
        max_files: 2,
        max_file_bytes: 4,
        ..volume.options()
    })
    .unwrap();
    let error = upload(&store, "12345").unwrap_err();
    assert!(
        matches!(error, StoreError::TooLarge { bytes: 5, limit: 4 }),
        "{error}"
    );
    let error = store
        .commit(request(&store, changeset(&[("a", "12345")], &[])))
        .unwrap_err();
    assert!(
        matches!(error, StoreError::TooLarge { bytes: 5, limit: 4 }),
        "{error}"
    );
    publish(&store, &[("a", "1"), ("b", "1234")], &[]);
    let error = try_publish(&store, &[("c", "1")], &[]).unwrap_err();
    assert!(
        matches!(error, StoreError::TooManyFiles { files: 3, limit: 2 }),
        "{error}"
    );
    publish(&store, &[("c", "1")], &["a"]);
    drop(store);

    let store = Store::open(StoreOptions {
        max_files: 0,
        ..volume.options()
    })
    .unwrap();
    publish(&store, &[], &["b"]);
    assert_eq!(
        served(&store),
        expected(&[("c", "1")]),
        "a site over its limit may shrink"
    );
}

#[test]
fn going_back_is_refused_without_an_earlier_deploy_or_on_another_current() {
    let volume = TestVolume::new();
    let store = volume.open();
    assert!(matches!(
        store.rollback(None, None),
        Err(StoreError::NoEarlierDeploy)
    ));
    let first = publish(&store, &[("a", "1")], &[]);
    assert!(matches!(
        store.rollback(None, None),
        Err(StoreError::NoEarlierDeploy)
    ));
    let second = publish(&store, &[("a", "2")], &[]);
    let error = store.rollback(None, Some(first)).unwrap_err();
    assert!(
        matches!(error, StoreError::BaseNotCurrent { current } if current == Some(second)),
        "{error}"
    );
    assert_eq!(store.rollback(None, Some(second)).unwrap().deploy_id, first);
    let same = store.rollback(Some(first), None).unwrap();
    assert_eq!((same.deploy_id, same.previous), (first, Some(first)));
    assert_eq!(ids(&store), [second, first]);
}

#[test]
fn going_back_leads_to_what_was_current_before_not_to_what_was_taken_back() {
    let volume = TestVolume::new();
    let options = StoreOptions {
        keep_deploys: NonZeroUsize::new(5).unwrap(),
        ..volume.options()
    };
    let store = Store::open(options).unwrap();
    let good = publish(&store, &[("a", "good")], &[]);
    let bad = publish(&store, &[("a", "bad")], &[]);
    store.rollback(None, Some(bad)).unwrap();
    let next = publish(&store, &[("a", "next")], &[]);
    assert_eq!(store.rollback(None, Some(next)).unwrap().deploy_id, good);
}
