//! hadolint: the `Dockerfile` is well formed, and free of the usual mistakes.

use std::{path::Path, process::Command};

use crate::harness::installed::{INSTALL, installed};

#[test]
fn hadolint_finds_nothing() {
    let hadolint = installed("python-venv").join("bin/hadolint");
    assert!(
        hadolint.is_file(),
        "{} is missing; {INSTALL}",
        hadolint.display()
    );
    let judged = Command::new(hadolint)
        .args(["--no-color", "--failure-threshold", "none"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Dockerfile"))
        .output()
        .expect("hadolint can be started");
    let said = String::from_utf8_lossy(&judged.stdout);
    assert!(judged.status.success() && said.is_empty(), "{judged:?}");
}

/// A judge that finds nothing in anything is none.
#[test]
fn hadolint_finds_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("Dockerfile");
    std::fs::write(&file, "FROM scratch\nCMD /x\nCMD /y\n").expect("the folder can be written");
    let judged = Command::new(installed("python-venv").join("bin/hadolint"))
        .arg(&file)
        .output()
        .expect("hadolint can be started");
    assert_eq!(judged.status.code(), Some(1), "{judged:?}");
}
