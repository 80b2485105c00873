//! A real `systemd --user` with its journal, in namespaces of its own, for a user without any rights:
//! what `user_manager.sh` sets up. Nothing of this machine's own service manager is touched, and nothing
//! is left when it is dropped.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use tempfile::TempDir;

use super::deadline::{eventually, wait_for};

/// Where `onsave` is inside.
pub(crate) const ONSAVE: &str = "/run/onsave";

/// The user inside; nobody on this machine has to be.
const USER: u32 = 1000;

/// What to do about a program that is missing.
const INSTALL: &str = "install it with: ./scripts/test packages";

/// A user's service manager.
#[derive(Debug)]
pub(crate) struct UserManager {
    script: Child,
    /// The first process inside, as seen from here.
    init: u32,
    folder: TempDir,
}

impl UserManager {
    /// Starts a manager without any units of ours.
    pub(crate) fn start() -> Self {
        for program in ["/lib/systemd/systemd", "/lib/systemd/systemd-journald"] {
            assert!(
                Path::new(program).is_file(),
                "{program} is missing; {INSTALL}"
            );
        }
        let folder = tempfile::Builder::new()
            .prefix("onsave-e2e-user-")
            .tempdir()
            .expect("a temporary folder can be made");
        let home = folder.path().join("home");
        fs::create_dir(&home).expect("the folder is new");
        for path in [folder.path(), &home] {
            chown(path, Some(USER), Some(USER)).expect("root may give folders away");
        }
        let log = fs::File::create(folder.path().join("log")).expect("the folder can be written");
        let cgroup = folder.path().file_name().expect("it has a name");
        let mut script = Command::new("unshare")
            .args(["--mount", "sh"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/harness/user_manager.sh"))
            .args(["outer", env!("CARGO_BIN_EXE_onsave")])
            .args([home.as_os_str(), cgroup])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("unshare can be started");
        let said = script.stdout.take().expect("it is piped");
        let mut line = String::new();
        BufReader::new(said)
            .read_line(&mut line)
            .expect("it can be read");
        let parent = line
            .trim()
            .strip_prefix("pid ")
            .unwrap_or_else(|| panic!("no manager: {}", log_of(&folder)))
            .to_owned();
        let children = format!("/proc/{parent}/task/{parent}/children");
        let init = wait_for("the namespace", || {
            let children = fs::read_to_string(&children).expect("its parent runs");
            children.split_whitespace().next()?.parse().ok()
        });
        let manager = Self {
            script,
            init,
            folder,
        };
        eventually("the manager to run", || {
            let state = manager.run(&["systemctl", "--user", "is-system-running"]);
            state.status.success()
        });
        manager
    }

    /// Returns the user's home.
    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Writes a file of the user's; the path starts from the home.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let mut folder = self.home();
        let names: Vec<_> = path.split('/').collect();
        let (name, folders) = names.split_last().expect("a path has a name");
        for part in folders {
            folder.push(part);
            if !folder.is_dir() {
                fs::create_dir(&folder).expect("the home can be written");
                chown(&folder, Some(USER), Some(USER)).expect("root may give folders away");
            }
        }
        // Whole, as editors save.
        let new = folder.join(".new");
        fs::write(&new, text).expect("the home can be written");
        chown(&new, Some(USER), Some(USER)).expect("root may give files away");
        fs::rename(new, folder.join(name)).expect("the home can be written");
    }

    /// Returns what a program is run with, as the user, in a folder of the home.
    pub(crate) fn command(&self, folder: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--mount", "--pid", "--cgroup"])
            .args(["--target", &self.init.to_string(), "setpriv"])
            .args(["--reuid=1000", "--regid=1000", "--clear-groups"])
            .args(["--inh-caps=-all", "--", "env", "-i", "--chdir"])
            .arg(self.home().join(folder))
            .arg(format!("HOME={}", self.home().display()))
            .args(["USER=ann", "PATH=/usr/bin:/bin", "LANG=C.UTF-8"])
            .arg("XDG_RUNTIME_DIR=/run/user/1000")
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Runs a program in the home to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.run_in("", arguments)
    }

    /// Runs a program in a folder of the home to its end.
    pub(crate) fn run_in(&self, folder: &str, arguments: &[&str]) -> Output {
        let output = self.command(folder, arguments).output();
        output.expect("nsenter can be started")
    }

    /// Runs a program in a folder of the home, which has to succeed, and returns what it printed.
    pub(crate) fn run_well(&self, folder: &str, arguments: &[&str]) -> String {
        let output = self.run_in(folder, arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}\n{}{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            log_of(&self.folder)
        );
        String::from_utf8(output.stdout).expect("it is UTF-8")
    }

    /// Returns the user's whole journal, the manager's own words in it.
    pub(crate) fn journal(&self) -> String {
        self.run_well("", &["journalctl", "--no-pager"])
    }

    /// Returns a property of a unit.
    pub(crate) fn property(&self, unit: &str, name: &str) -> String {
        let show = ["systemctl", "--user", "show", "--value", "-p", name, unit];
        self.run_well("", &show).trim().to_owned()
    }

    /// Waits until a unit's daemon says something that begins so, and returns all of it.
    pub(crate) fn wait_for_status(&self, unit: &str, start: &str) -> String {
        wait_for(&format!("{unit} to say {start:?}"), || {
            let text = self.property(unit, "StatusText");
            text.starts_with(start).then_some(text)
        })
    }
}

impl Drop for UserManager {
    fn drop(&mut self) {
        // Its input ends, and so does it.
        drop(self.script.stdin.take());
        self.script.wait().ok();
    }
}

fn log_of(folder: &TempDir) -> String {
    fs::read_to_string(folder.path().join("log")).unwrap_or_default()
}
