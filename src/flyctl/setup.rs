//! Which program flyctl is, and what of the environment it gets.
//!
//! Found once, with the configuration. Of the environment it gets what a program needs and what the
//! platform's own tool reads; secrets that are none of its business stay here.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    fmt, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::surroundings::Surroundings;

/// The names that flyctl is installed under, the unmistakable one first.
const NAMES: [&str; 2] = ["flyctl", "fly"];

/// Variables that flyctl gets as they are.
const PASSED: [&str; 25] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "TZ",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "FLY_CONFIG_DIR",
    "FLY_FLAPS_BASE_URL",
    "FLY_API_BASE_URL",
    "FLY_REGISTRY_HOST",
    "FLY_SEND_METRICS",
];

/// Variables that flyctl gets besides: no questions, no colours, no news of other versions.
const SET: [(&str, &str); 3] = [("FLY_NO_UPDATE_CHECK", "1"), ("NO_COLOR", "1"), ("CI", "1")];

/// Which program flyctl is, and what of the environment it gets.
#[derive(Clone, Default)]
pub struct Setup {
    pub(super) program: Option<PathBuf>,
    pub(super) variables: BTreeMap<OsString, OsString>,
    /// Where private folders are made for its files.
    pub(super) temporary: PathBuf,
}

impl Setup {
    /// Returns the flyctl that is found by the surroundings' `PATH`.
    #[must_use]
    pub fn of(surroundings: &Surroundings) -> Self {
        let path = surroundings.variable("PATH").unwrap_or_default();
        let passed = PASSED
            .iter()
            .filter_map(|name| Some(((*name).into(), surroundings.variable(name)?.to_owned())));
        let set = SET.map(|(name, value)| (name.into(), value.into()));
        Self {
            program: find(path),
            variables: passed.chain(set).collect(),
            temporary: surroundings
                .variable("TMPDIR")
                .map(PathBuf::from)
                .filter(|folder| folder.is_absolute())
                .unwrap_or_else(|| "/tmp".into()),
        }
    }

    /// Returns whether there is a flyctl.
    #[must_use]
    pub const fn is_installed(&self) -> bool {
        self.program.is_some()
    }
}

/// Only names: a value may be a secret.
impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("program", &self.program)
            .field("variables", &self.variables.keys())
            .field("temporary", &self.temporary)
            .finish()
    }
}

/// Returns the first program of the first name that any folder of `path` holds.
///
/// Relative folders are left out: what lies in the folder of a site is not the platform's tool.
fn find(path: &OsStr) -> Option<PathBuf> {
    NAMES.iter().find_map(|name| {
        env::split_paths(path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(name))
            .find(|program| is_executable(program))
    })
}

fn is_executable(program: &Path) -> bool {
    fs::metadata(program).is_ok_and(|seen| seen.is_file() && seen.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::surroundings::Stream;

    fn put(folder: &Path, name: &str, mode: u32) {
        fs::create_dir_all(folder).unwrap();
        let path = folder.join(name);
        fs::write(&path, "").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn setup(variables: &[(&str, &str)]) -> Setup {
        Setup::of(&Surroundings {
            variables: variables
                .iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            working_folder: "/work".into(),
            home: None,
            host: "desk".to_owned(),
            stderr: Stream::Other,
            program: None,
        })
    }

    #[test]
    fn flyctl_comes_before_fly_and_only_programs_count() {
        let folder = TempDir::new().unwrap();
        let (first, second) = (folder.path().join("a"), folder.path().join("b"));
        put(&first, "fly", 0o755);
        put(&first, "flyctl", 0o644);
        let path = env::join_paths([&first, &second]).unwrap();
        assert_eq!(find(&path), Some(first.join("fly")));
        put(&second, "flyctl", 0o755);
        assert_eq!(find(&path), Some(second.join("flyctl")));
        assert_eq!(find(OsStr::new("")), None);
        assert_eq!(find(OsStr::new("relative:.")), None);
        assert!(!setup(&[]).is_installed());
    }

    #[test]
    fn flyctl_gets_no_secret_of_others() {
        let setup = setup(&[
            ("HOME", "/home/ann"),
            ("ONSAVE_SYNC_SECRET", "hunter2"),
            ("FLY_API_TOKEN", "fm2_hunter3"),
            ("FLY_ACCESS_TOKEN", "fm2_hunter4"),
            ("FLY_APP", "another-app"),
            ("CI", "0"),
            ("TMPDIR", "not/absolute"),
        ]);
        let named: Vec<&str> = setup
            .variables
            .keys()
            .filter_map(|name| name.to_str())
            .collect();
        let expected = ["CI", "FLY_NO_UPDATE_CHECK", "HOME", "NO_COLOR", "TMPDIR"];
        assert_eq!(named, expected);
        assert_eq!(setup.variables[OsStr::new("CI")], "1");
        assert_eq!(setup.temporary, Path::new("/tmp"));
        assert!(!format!("{setup:?}").contains("/home/ann"));
    }
}
