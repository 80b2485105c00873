//! Where `./scripts/test packages` puts what is not of this project: Python's and npm's packages.

use std::path::{Path, PathBuf};

/// What to do about a package that is missing.
pub(crate) const INSTALL: &str = "install it with: ./scripts/test packages";

/// Returns a folder that `./scripts/test packages` fills: beside Cargo's own folder for test files.
pub(crate) fn installed(folder: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("the folder for test files is below the target folder")
        .join(folder);
    assert!(path.is_dir(), "{} is missing; {INSTALL}", path.display());
    path
}
