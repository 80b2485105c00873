//! What the tests of this module share: a target as a configuration without any key gives it.

use std::collections::BTreeMap;

use tempfile::TempDir;

use crate::{
    config::{self, FlagLayer, FlyTarget, TargetConfig},
    surroundings::{Stream, Surroundings},
};

/// Returns the target that nothing but its kind says.
pub(crate) fn target() -> FlyTarget {
    let folder = TempDir::new().unwrap();
    let surroundings = Surroundings {
        variables: BTreeMap::from([("ONSAVE_TARGET_KIND".into(), "fly".into())]),
        working_folder: folder.path().to_owned(),
        home: None,
        host: "desk".into(),
        stderr: Stream::Other,
        program: None,
    };
    match config::load(&surroundings, &FlagLayer::default())
        .unwrap()
        .config
        .target
    {
        TargetConfig::Fly(target) => *target,
        other => panic!("{other:?}"),
    }
}

#[test]
fn versions_are_compared_by_their_numbers() {
    use super::is_older;

    assert!(is_older("0.1.0", "0.2.0") && is_older("0.9.0", "0.10.0"));
    for (a, b) in [
        ("0.2.0", "0.1.0"),
        ("0.1.0", "0.1.0"),
        ("x", "0.1.0"),
        ("", "0.1.0"),
    ] {
        assert!(!is_older(a, b), "{a} {b}");
    }
}
