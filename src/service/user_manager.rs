//! The user's service manager, asked through `systemctl`, `journalctl` and `loginctl`.
//!
//! Owns how each is called and what their failures mean. The programs are those of `PATH`; nothing is
//! read from the bus directly, so that their own explanations can be passed on.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use crate::surroundings::Surroundings;

/// There when systemd has booted the machine, as `sd_booted(3)` says.
const BOOTED: &str = "/run/systemd/system";

/// What is asked of a unit.
const PROPERTIES: &str = "LoadState,ActiveState,SubState,Result,StatusText,MainPID,NRestarts,\
                          ExecMainCode,ExecMainStatus,StateChangeTimestamp,UnitFileState";

/// `CLD_EXITED`: the process ended by itself, and its status is an exit code.
const EXITED: &str = "1";

/// Why the user's service manager cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// systemd does not run this machine.
    #[error("there are no services here: systemd does not run this machine")]
    NoSystemd,
    /// The folder of the user's session is not known.
    #[error("your service manager cannot be found: XDG_RUNTIME_DIR is not set")]
    NoRuntimeFolder,
    /// A program is missing.
    #[error("failed to start {program}")]
    Program {
        /// Its name.
        program: &'static str,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The user's manager does not answer.
    #[error("your service manager does not answer: {said}")]
    NoAnswer {
        /// What systemctl says.
        said: String,
    },
    /// A call failed.
    #[error("systemctl failed to {what}: {said}")]
    Refused {
        /// What it was to do.
        what: String,
        /// What it says.
        said: String,
    },
    /// The journal could not be read.
    #[error("journalctl failed ({status})")]
    Journal {
        /// How it ended.
        status: ExitStatus,
    },
}

impl ManagerError {
    /// Returns what the user can do about it, where there is more to say than the error does.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoSystemd => Some(
                "let what starts programs here run `onsave watch`, and start it again when it ends \
                 with another code than 0"
                    .to_owned(),
            ),
            Self::NoRuntimeFolder | Self::NoAnswer { .. } => Some(
                "log in as this user (a `su` or `sudo` gives no session), or let an administrator run \
                 `loginctl enable-linger USER`, and try again"
                    .to_owned(),
            ),
            Self::Program { program, .. } => {
                Some(format!("{program} belongs to systemd; it has to be in PATH"))
            }
            Self::Refused { .. } => Some("`onsave service logs` shows what it wrote".to_owned()),
            Self::Journal { .. } => None,
        }
    }
}

/// The user's service manager.
#[derive(Debug)]
pub struct UserManager {
    /// The folder of the user's session.
    runtime: PathBuf,
}

/// How a service stands, as the manager tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceState {
    /// `active`, `activating`, `deactivating`, `inactive` or `failed`.
    pub active: String,
    /// The same, in more detail: `running`, `auto-restart`, …
    pub sub: String,
    /// When that began, in the manager's own form; nothing when it never ran.
    pub since: Option<String>,
    /// What the daemon says of the site.
    pub text: Option<String>,
    /// The daemon, while it runs.
    pub pid: Option<u32>,
    /// How often the manager started it again by itself.
    pub restarts: u32,
    /// How the last run ended: `success`, `exit-code`, `signal`, `watchdog`, `timeout`, …
    pub result: String,
    /// The exit code of the last run, when it ended by itself.
    pub exit_code: Option<u8>,
    /// Whether it is started at each login or boot.
    pub is_enabled: bool,
}

impl UserManager {
    /// Returns the manager of the user who runs this.
    ///
    /// # Errors
    ///
    /// [`ManagerError`] when there can be none; whether it answers is not asked yet.
    pub fn find(surroundings: &Surroundings) -> Result<Self, ManagerError> {
        if !Path::new(BOOTED).is_dir() {
            return Err(ManagerError::NoSystemd);
        }
        let given = surroundings.variable("XDG_RUNTIME_DIR").map(PathBuf::from);
        // Where a login would have set it; `su` and cron keep it from their commands.
        let usual = || {
            let uid = rustix::process::getuid().as_raw();
            Some(PathBuf::from(format!("/run/user/{uid}"))).filter(|folder| folder.is_dir())
        };
        let runtime = given.or_else(usual).ok_or(ManagerError::NoRuntimeFolder)?;
        Ok(Self { runtime })
    }

    /// Reads the unit files anew.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn reload(&self) -> Result<(), ManagerError> {
        self.systemctl("read its units anew", &["daemon-reload"])
            .map(drop)
    }

    /// Lets a unit be started at each login or boot.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn enable(&self, unit: &str) -> Result<(), ManagerError> {
        self.systemctl(&format!("enable {unit}"), &["enable", "--quiet", unit])
            .map(drop)
    }

    /// Starts a unit, or starts it again, and waits until it is ready. Earlier failures are forgotten.
    ///
    /// # Errors
    ///
    /// [`ManagerError`] when it does not become ready.
    pub fn restart(&self, unit: &str) -> Result<(), ManagerError> {
        // A unit that never failed has nothing to forget, which is an error to some versions.
        self.systemctl("forget failures", &["reset-failed", unit])
            .ok();
        self.systemctl(&format!("start {unit}"), &["restart", unit])
            .map(drop)
    }

    /// Stops a unit, waits until it has ended, and lets it not be started any more.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn disable_now(&self, unit: &str) -> Result<(), ManagerError> {
        let arguments = ["disable", "--quiet", "--now", unit];
        self.systemctl(&format!("stop {unit}"), &arguments)?;
        self.systemctl("forget failures", &["reset-failed", unit])
            .ok();
        Ok(())
    }

    /// Returns how a unit stands; nothing when the manager knows none of that name.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn state(&self, unit: &str) -> Result<Option<ServiceState>, ManagerError> {
        let arguments = ["show", "--property", PROPERTIES, unit];
        let shown = self.systemctl(&format!("show {unit}"), &arguments)?;
        Ok(ServiceState::parse(&shown))
    }

    /// Returns whether the user's services outlive the user's sessions; nothing where nobody can tell.
    #[must_use]
    pub fn lingers(&self) -> Option<bool> {
        let uid = rustix::process::getuid().as_raw().to_string();
        let output = self
            .command("loginctl")
            .args(["show-user", &uid, "--property=Linger", "--value"])
            .output()
            .ok()?;
        match String::from_utf8_lossy(&output.stdout).trim() {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        }
    }

    /// Lets journalctl write what a unit logged to this process's standard output.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn show_journal(&self, unit: &str, options: &[&str]) -> Result<(), ManagerError> {
        let status = self
            .command("journalctl")
            .arg(format!("--user-unit={unit}"))
            .args(options)
            .status()
            .map_err(missing("journalctl"))?;
        if status.success() {
            Ok(())
        } else {
            Err(ManagerError::Journal { status })
        }
    }

    fn command(&self, program: &'static str) -> Command {
        let mut command = Command::new(program);
        // English and without escapes, since some of it is passed on.
        command
            .env("XDG_RUNTIME_DIR", &self.runtime)
            .env("LC_ALL", "C.UTF-8")
            .env("SYSTEMD_COLORS", "0");
        command
    }

    fn systemctl(&self, what: &str, arguments: &[&str]) -> Result<String, ManagerError> {
        let output = self
            .command("systemctl")
            .args(["--user", "--no-pager"])
            .args(arguments)
            .output()
            .map_err(missing("systemctl"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(refusal(what, said.trim()))
    }
}

fn missing(program: &'static str) -> impl FnOnce(io::Error) -> ManagerError {
    move |source| ManagerError::Program { program, source }
}

fn refusal(what: &str, said: &str) -> ManagerError {
    // One line: what follows is where else to look, which the hint says in our words.
    let said = said
        .lines()
        .next()
        .unwrap_or("it does not say why")
        .to_owned();
    if said.contains("Failed to connect to bus") || said.contains("has not been booted with") {
        ManagerError::NoAnswer { said }
    } else {
        ManagerError::Refused {
            what: what.to_owned(),
            said,
        }
    }
}

impl ServiceState {
    /// Returns what `systemctl show` printed; nothing for a unit that is not there.
    fn parse(shown: &str) -> Option<Self> {
        let value = |name: &str| {
            let rest = |line: &str| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned());
            shown
                .lines()
                .find_map(rest)
                .filter(|value| !value.is_empty())
        };
        if value("LoadState")? == "not-found" {
            return None;
        }
        let has_ended = value("ExecMainCode").as_deref() == Some(EXITED);
        let exit_code = value("ExecMainStatus").and_then(|status| status.parse().ok());
        Some(Self {
            active: value("ActiveState")?,
            sub: value("SubState").unwrap_or_default(),
            since: value("StateChangeTimestamp"),
            text: value("StatusText"),
            pid: value("MainPID")
                .and_then(|pid| pid.parse().ok())
                .filter(|pid| *pid != 0),
            restarts: value("NRestarts")
                .and_then(|count| count.parse().ok())
                .unwrap_or(0),
            result: value("Result").unwrap_or_default(),
            exit_code: exit_code.filter(|_| has_ended),
            is_enabled: value("UnitFileState").as_deref() == Some("enabled"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_understood() {
        let shown = "Result=success\nNRestarts=2\nMainPID=4711\nExecMainCode=0\nExecMainStatus=0\n\
                     StatusText=live: http://127.0.0.1:8080, last publish 34 ms\nLoadState=loaded\n\
                     ActiveState=active\nSubState=running\nUnitFileState=enabled\n\
                     StateChangeTimestamp=Tue 2026-11-24 13:35:01 UTC\n";
        let expected = ServiceState {
            active: "active".into(),
            sub: "running".into(),
            since: Some("Tue 2026-11-24 13:35:01 UTC".into()),
            text: Some("live: http://127.0.0.1:8080, last publish 34 ms".into()),
            pid: Some(4711),
            restarts: 2,
            result: "success".into(),
            exit_code: None,
            is_enabled: true,
        };
        assert_eq!(ServiceState::parse(shown), Some(expected));
    }

    #[test]
    fn an_end_has_its_code_and_a_kill_has_none() {
        let state = |code: &str, status: &str| {
            let shown = format!(
                "LoadState=loaded\nActiveState=failed\nMainPID=0\nExecMainCode={code}\n\
                 ExecMainStatus={status}\nStatusText=\nStateChangeTimestamp=\n"
            );
            ServiceState::parse(&shown).unwrap()
        };
        let ended = state("1", "3");
        assert_eq!((ended.exit_code, ended.pid), (Some(3), None));
        assert_eq!((ended.text, ended.since), (None, None));
        assert_eq!(state("2", "9").exit_code, None);
    }

    #[test]
    fn a_unit_that_is_not_there_has_no_state() {
        assert_eq!(
            ServiceState::parse("LoadState=not-found\nActiveState=inactive\n"),
            None
        );
        assert_eq!(ServiceState::parse(""), None);
    }

    #[test]
    fn refusals_keep_the_reason_and_drop_the_rest() {
        let no_bus = "Failed to connect to bus: No medium found\nmore";
        assert!(matches!(
            refusal("x", no_bus),
            ManagerError::NoAnswer { .. }
        ));
        let job = "Job for onsave-a.service failed.\nSee \"systemctl --user status\" for details.";
        let refused = refusal("start onsave-a.service", job);
        assert_eq!(
            refused.to_string(),
            "systemctl failed to start onsave-a.service: Job for onsave-a.service failed."
        );
        assert!(refused.hint().unwrap().contains("onsave service logs"));
        assert!(
            refusal("x", "")
                .to_string()
                .ends_with("it does not say why")
        );
    }
}
