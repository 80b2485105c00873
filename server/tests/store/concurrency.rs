//! Several writers and readers at once.

use std::{
    fs, io,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use onsave_server::store::StoreError;

use super::site::{TestVolume, changeset, expected, publish, request, served, upload};

#[test]
fn of_two_writers_one_wins_and_the_other_tries_again() {
    let volume = TestVolume::new();
    let store = volume.open();
    let write = |writer: &str| {
        for number in 0..20 {
            let (path, content) = (format!("{writer}/{number}"), format!("{writer} {number}"));
            upload(&store, &content).unwrap();
            loop {
                match store.commit(request(&store, changeset(&[(&path, &content)], &[]))) {
                    Ok(committed) => break assert!(committed.files > number),
                    Err(StoreError::BaseNotCurrent { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| write("one"));
        scope.spawn(|| write("two"));
    });
    assert_eq!(served(&store).len(), 40, "no file of either was lost");
    store.wait_idle();
    assert_eq!(volume.served_tree().1, served(&store));
}

/// The pair of files in the tree that the symlink names, when it named the same one before and after
/// they were read.
fn read_pair(root: &Path) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let named = fs::read_link(root.join("current"))?;
    let tree = root.join(&named);
    let pair = fs::read(tree.join("a")).and_then(|a| Ok((a, fs::read(tree.join("deep/b"))?)));
    if fs::read_link(root.join("current"))? == named {
        pair.map(Some)
    } else {
        Ok(None)
    }
}

#[test]
fn the_symlink_names_a_whole_tree_at_any_instant() {
    let volume = TestVolume::new();
    let store = volume.open();
    publish(&store, &[("a", "0"), ("deep/b", "0")], &[]);
    store.wait_idle();
    let done = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = std::collections::BTreeSet::new();
            while !done.load(Ordering::Relaxed) {
                if let Some((a, b)) = read_pair(volume.root()).unwrap() {
                    assert_eq!(a, b, "two deploys were mixed");
                    seen.insert(a);
                }
            }
            seen
        });
        for number in 1..60 {
            let content = number.to_string();
            publish(&store, &[("a", &content), ("deep/b", &content)], &[]);
            if number % 10 > 5 {
                // Now in bursts, where the worker links, and now with a spare.
                store.wait_idle();
            }
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(seen.len() > 1, "the reader saw no change");
    store.wait_idle();
    assert_eq!(
        volume.served_tree().1,
        expected(&[("a", "59"), ("deep/b", "59")])
    );
}
