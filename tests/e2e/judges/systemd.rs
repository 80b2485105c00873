//! systemd itself about the shipped units: that it understands each line, and how much they leave open.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

/// What to do about a program that is missing.
const INSTALL: &str = "systemd-analyze is missing; install it with: ./scripts/test packages";

/// The most that a system service may leave open, of 100: what systemd calls OK.
const MOST_OF_A_SYSTEM_SERVICE: &str = "15";

/// The most that a user's service may leave open. Most of what is counted, a user's manager cannot
/// close: see the unit.
const MOST_OF_A_USER_SERVICE: &str = "65";

/// A home with the programs where the units have them.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().expect("a temporary folder can be made"));
        for (program, place) in [
            (env!("CARGO_BIN_EXE_onsave"), ".local/bin/onsave"),
            ("/bin/true", "onsave-server"),
        ] {
            let place = home.0.path().join(place);
            fs::create_dir_all(place.parent().expect("it is below the home"))
                .expect("the home can be written");
            std::os::unix::fs::symlink(program, place).expect("the home can be written");
        }
        fs::create_dir(home.0.path().join("run")).expect("the home can be written");
        home
    }

    /// Returns a copy of a unit that starts a program that is there.
    fn unit(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        let there = self.0.path().join("onsave-server").display().to_string();
        let text = text.replace("/usr/local/bin/onsave-server", &there);
        fs::write(&path, text).expect("the home can be written");
        let readable = fs::Permissions::from_mode(0o644);
        fs::set_permissions(&path, readable).expect("it was made here");
        path
    }

    fn analyze(&self, arguments: &[&str], unit: &Path) -> Output {
        Command::new("systemd-analyze")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.0.path())
            .env("XDG_RUNTIME_DIR", self.0.path().join("run"))
            .args(arguments)
            .arg(unit)
            .output()
            .expect(INSTALL)
    }
}

fn shipped(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    fs::read_to_string(folder.join(name)).expect("it is shipped")
}

fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[test]
fn systemd_understands_every_line() {
    let home = Home::new();
    for (name, scope) in [
        ("onsave.service", "--user"),
        ("onsave@.service", "--user"),
        ("onsave-server.service", "--system"),
    ] {
        let unit = home.unit(name, &shipped(name));
        let judged = home.analyze(&[scope, "verify", "--man=no"], &unit);
        let said = said(&judged);
        assert!(
            judged.status.success() && said.is_empty(),
            "{name}: {}\n{said}",
            judged.status
        );
    }
}

#[test]
fn the_units_leave_little_open() {
    let home = Home::new();
    for (name, most) in [
        ("onsave.service", MOST_OF_A_USER_SERVICE),
        ("onsave@.service", MOST_OF_A_USER_SERVICE),
        ("onsave-server.service", MOST_OF_A_SYSTEM_SERVICE),
    ] {
        let unit = home.unit(name, &shipped(name));
        let threshold = format!("--threshold={most}");
        let arguments = ["security", "--offline=true", "--no-pager", &threshold];
        let judged = home.analyze(&arguments, &unit);
        assert!(judged.status.success(), "{name}\n{}", said(&judged));
    }
}

/// A judge that finds nothing in anything is none.
#[test]
fn systemd_finds_what_is_wrong() {
    let home = Home::new();
    let text = shipped("onsave-server.service").replace("ProtectHome=yes", "ProtectHomes=yes");
    let unit = home.unit("wrong.service", &text);
    let judged = home.analyze(&["--system", "verify", "--man=no"], &unit);
    assert!(said(&judged).contains("'ProtectHomes'"));
    let open = home.unit("open.service", "[Service]\nExecStart=/bin/true\n");
    let arguments = ["security", "--offline=true", "--threshold=65"];
    let judged = home.analyze(&arguments, &open);
    assert!(!judged.status.success(), "{}", said(&judged));
}
