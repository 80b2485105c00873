//! Checking a closed volume.

use std::{fs, os::unix::fs::PermissionsExt as _};

use onsave_server::store::{Severity, StoreError, verify};

use super::site::{TestVolume, publish};

fn volume() -> TestVolume {
    let volume = TestVolume::new();
    let store = volume.open();
    publish(&store, &[("a/x", "1"), ("b", "two")], &[]);
    publish(&store, &[("b", "three")], &[]);
    store.wait_idle();
    drop(store);
    volume
}

fn only_finding(volume: &TestVolume) -> (Severity, String) {
    let report = verify(volume.root()).unwrap();
    assert_eq!(report.findings.len(), 1, "{report}");
    (report.findings[0].severity, report.to_string())
}

#[test]
fn a_whole_volume_has_no_findings() {
    let report = verify(volume().root()).unwrap();
    assert_eq!((report.objects, report.object_bytes), (3, 9));
    assert_eq!((report.deploys, report.trees), (2, 2));
    assert!(!report.is_damaged());
    assert_eq!(
        report.to_string(),
        "3 objects (9 bytes), 2 deploys, 2 trees: all whole"
    );
}

#[test]
fn an_empty_volume_has_no_findings() {
    let volume = TestVolume::new();
    drop(volume.open());
    volume.assert_whole();
}

#[test]
fn an_open_volume_is_refused() {
    let volume = TestVolume::new();
    let store = volume.open();
    assert!(matches!(
        verify(volume.root()),
        Err(StoreError::Locked { .. })
    ));
    drop(store);
}

#[test]
fn changed_bytes_are_found() {
    let volume = volume();
    let object = volume.object("two");
    fs::set_permissions(&object, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&object, "TWO").unwrap();
    let (severity, text) = only_finding(&volume);
    assert_eq!(severity, Severity::Damage);
    assert!(text.contains(object.to_str().unwrap()), "{text}");
}

#[test]
fn a_missing_object_is_found() {
    let volume = volume();
    fs::remove_file(volume.object("three")).unwrap();
    let report = verify(volume.root()).unwrap();
    assert!(report.is_damaged());
    let text = report.to_string();
    assert!(text.contains("it is missing that b of deploy"), "{text}");
}

#[test]
fn a_damaged_manifest_or_head_is_found() {
    let volume = volume();
    let head = fs::read(volume.path("head")).unwrap();
    fs::write(volume.path("head"), &head[1..]).unwrap();
    assert_eq!(only_finding(&volume).0, Severity::Damage);
    fs::write(volume.path("head"), &head).unwrap();

    let mut names: Vec<_> = fs::read_dir(volume.path("manifests"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    let manifest = names.pop().unwrap();
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\"b\"", "\"c\"")).unwrap();
    let (severity, text) = only_finding(&volume);
    assert_eq!(severity, Severity::Damage);
    assert!(text.contains("its checksum is wrong"), "{text}");
}

#[test]
fn trees_and_the_symlink_are_found_and_mended_by_a_start() {
    let volume = volume();
    let (current, _) = volume.served_tree();
    let breakages: [&dyn Fn(); 5] = [
        &|| fs::remove_file(volume.tree(current).join("b")).unwrap(),
        &|| fs::write(volume.tree(current).join("extra"), "").unwrap(),
        &|| fs::create_dir(volume.tree(current).join("empty")).unwrap(),
        &|| fs::remove_dir_all(volume.tree(current)).unwrap(),
        &|| fs::remove_file(volume.path("current")).unwrap(),
    ];
    for (number, breakage) in breakages.iter().enumerate() {
        breakage();
        assert_eq!(
            only_finding(&volume).0,
            Severity::Mendable,
            "breakage {number}"
        );
        let store = volume.open();
        store.wait_idle();
        drop(store);
        volume.assert_whole();
    }
}
