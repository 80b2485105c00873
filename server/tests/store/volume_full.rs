//! A volume without room: the old deploy serves on, nothing is left behind, and there is room again.

use std::{ffi::CString, fs, num::NonZeroUsize, path::Path};

use onsave_server::store::{Store, StoreError, StoreOptions, verify};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::site::{expected, files_below, served, try_publish};

/// A small file system in memory, unmounted when it is dropped.
struct SmallVolume {
    folder: tempfile::TempDir,
}

impl SmallVolume {
    fn mount(options: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // By the system call and not by a program: between a fork and its exec a child holds the locks of
        // all volumes that other tests have open, and whoever opens one of them again finds it locked.
        let options = CString::new(options).unwrap();
        mount(
            "tmpfs",
            folder.path(),
            "tmpfs",
            MountFlags::empty(),
            &*options,
        )
        .expect("this test mounts a small tmpfs, which needs root");
        Self { folder }
    }

    fn open(&self) -> Store {
        Store::open(StoreOptions {
            keep_deploys: NonZeroUsize::new(2).unwrap(),
            ..StoreOptions::new(self.root())
        })
        .unwrap()
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for SmallVolume {
    fn drop(&mut self) {
        unmount(self.root(), UnmountFlags::empty()).expect("the tmpfs stays mounted");
    }
}

fn is_full(error: &StoreError) -> bool {
    matches!(error, StoreError::VolumeFull { .. })
}

/// Fills the volume but for `left` pages with a file of no concern.
fn fill(root: &Path, store: &Store, left: u64) {
    let pages = (store.disk_space().unwrap().free / 4096).saturating_sub(left);
    fs::write(
        root.join("ballast"),
        vec![1; usize::try_from(pages * 4096).unwrap()],
    )
    .unwrap();
}

#[test]
fn whatever_step_finds_the_volume_full_the_old_deploy_serves_on() {
    let volume = SmallVolume::mount("size=8m");
    let store = volume.open();
    let old = [("a", "old"), ("b/c", "b")];
    try_publish(&store, &old, &[]).unwrap();
    store.wait_idle();
    let big = "x".repeat(3 * 4096);
    let new = [("a", big.as_str()), ("d/e", "d")];
    let mut refused = 0;
    // Each page that is left lets the publish come one step further.
    for left in 0..64 {
        fill(volume.root(), &store, left);
        let outcome = try_publish(&store, &new, &[]);
        fs::remove_file(volume.root().join("ballast")).unwrap();
        store.wait_idle();
        match outcome {
            Ok(_) => {
                let all = [("a", big.as_str()), ("b/c", "b"), ("d/e", "d")];
                assert_eq!(served(&store), expected(&all));
                break;
            }
            Err(error) => {
                assert!(is_full(&error), "{left} pages left: {error:?}");
                refused += 1;
                assert_eq!(served(&store), expected(&old));
                assert_eq!(files_below(&volume.root().join("current")), expected(&old));
                assert_eq!(files_below(&volume.root().join("staging")), expected(&[]));
                assert_eq!(files_below(&volume.root().join("manifests")).len(), 1);
            }
        }
    }
    assert!(refused > 3, "only {refused} steps found it full");
    store.wait_idle();
    drop(store);
    let report = verify(volume.root()).unwrap();
    assert!(!report.is_damaged(), "{report}");
}

#[test]
fn a_full_volume_forgets_what_nobody_committed() {
    let volume = SmallVolume::mount("size=4m");
    let store = volume.open();
    try_publish(&store, &[("a", "old")], &[]).unwrap();
    let large = "y".repeat(2 * 1024 * 1024);
    let first = super::site::upload(&store, &large).unwrap();
    let second = format!("{large}{}", "z".repeat(1024 * 1024));
    let error = super::site::upload(&store, &second).unwrap_err();
    assert!(is_full(&error), "{error:?}");
    store.wait_idle();
    assert_eq!(store.missing(&[first.digest]).unwrap(), [first.digest]);
    try_publish(&store, &[("a", &second)], &[]).unwrap();
    assert_eq!(store.current().total_bytes(), second.len() as u64);
}

#[test]
fn without_inodes_for_a_tree_the_deploy_is_served_all_the_same() {
    // The layout takes about 270; 30 files are 30 objects, and their tree's folders another 30.
    let volume = SmallVolume::mount("size=8m,nr_inodes=330");
    let store = volume.open();
    let contents: Vec<(String, String)> = (0..30)
        .map(|n| (format!("folder-{n}/index.html"), format!("page {n}")))
        .collect();
    let files: Vec<(&str, &str)> = contents
        .iter()
        .map(|(path, content)| (path.as_str(), content.as_str()))
        .collect();
    try_publish(&store, &files, &[]).unwrap();
    store.wait_idle();
    assert_eq!(served(&store), expected(&files));
    assert!(
        !volume.root().join("current").exists(),
        "never to an incomplete tree"
    );
    drop(store);
    let report = verify(volume.root()).unwrap();
    assert!(!report.is_damaged(), "{report}");
}
