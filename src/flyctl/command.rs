//! What flyctl is asked, as the arguments it gets.
//!
//! Pure. The app is always named, so that no `fly.toml` that lies around is looked at. No value of a
//! secret is ever an argument: arguments can be read by everybody on the machine.

use std::{ffi::OsString, path::Path, time::Duration};

use crate::{
    config::FlyTarget,
    fly::{
        Action, Asked,
        resources::{IpKind, NeedsRestart},
    },
};

/// How long a command may take that only asks.
const TELLING: Duration = Duration::from_mins(1);

/// How long a command may take that changes something.
const DOING: Duration = Duration::from_mins(3);

/// How long flyctl itself waits for a machine, as its flag is written.
const MACHINE_WAIT: &str = "3m";

/// How long a deploy may take: flyctl waits for the machine to start and, after that, for its checks.
const DEPLOYING: Duration = Duration::from_mins(8);

/// The sentence with which flyctl asks for a machine to be restarted.
const RESTART: &str = "stop and start";

/// What flyctl is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Command<'a> {
    Token,
    Organisations,
    App(&'a str),
    CreateApp {
        app: &'a str,
        organisation: &'a str,
    },
    DestroyApp(&'a str),
    Ips(&'a str),
    AssignIp(&'a str, IpKind),
    Secrets(&'a str),
    /// Its input has the values.
    ImportSecrets(&'a str),
    UnsetSecrets(&'a str, &'a [&'a str]),
    Volumes(&'a str),
    CreateVolume(&'a str, &'a FlyTarget),
    ExtendVolume {
        app: &'a str,
        id: &'a str,
        size_gb: u32,
    },
    KeepSnapshots {
        app: &'a str,
        id: &'a str,
        days: u32,
    },
    Machines(&'a str),
    StartMachine(&'a str, &'a str),
    RestartMachine(&'a str, &'a str),
    Deploy {
        app: &'a str,
        config: &'a Path,
        image: &'a str,
        action: Action,
    },
    Certificates(&'a str),
    AddCertificate(&'a str, &'a str),
    ShowCertificate(&'a str, &'a str),
    CheckCertificate(&'a str, &'a str),
    RemoveCertificate(&'a str, &'a str),
}

impl Command<'_> {
    /// Returns the arguments, the program's name aside.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        match *self {
            Self::Token => words(&["auth", "token", "--json"]),
            Self::Organisations => words(&["orgs", "list", "--json"]),
            Self::App(app) => words(&["status", "--app", app, "--json"]),
            Self::CreateApp { app, organisation } => words(&[
                "apps",
                "create",
                app,
                "--org",
                organisation,
                "--yes",
                "--json",
            ]),
            Self::DestroyApp(app) => words(&["apps", "destroy", app, "--yes"]),
            Self::Ips(app) => words(&["ips", "list", "--app", app, "--json"]),
            Self::AssignIp(app, IpKind::V6) => words(&["ips", "allocate-v6", "--app", app]),
            Self::AssignIp(app, IpKind::SharedV4) => {
                words(&["ips", "allocate-v4", "--shared", "--app", app])
            }
            Self::Secrets(app) => words(&["secrets", "list", "--app", app, "--json"]),
            Self::ImportSecrets(app) => words(&["secrets", "import", "--stage", "--app", app]),
            Self::UnsetSecrets(app, names) => {
                let unset = ["secrets", "unset"];
                words(&[&unset, names, &["--stage", "--app", app]].concat())
            }
            Self::Volumes(app) => words(&["volumes", "list", "--app", app, "--json"]),
            Self::CreateVolume(app, target) => create_volume(app, target),
            // Only its text says whether the machine has to be restarted: no JSON here.
            Self::ExtendVolume { app, id, size_gb } => {
                let size = size_gb.to_string();
                words(&[
                    "volumes", "extend", id, "--size", &size, "--app", app, "--yes",
                ])
            }
            Self::KeepSnapshots { app, id, days } => {
                let days = days.to_string();
                let update = ["volumes", "update", id];
                let keep = ["--snapshot-retention", &days, "--app", app, "--json"];
                words(&[&update[..], &keep[..]].concat())
            }
            Self::Machines(app) => words(&["machine", "list", "--app", app, "--json"]),
            Self::StartMachine(app, id) => words(&["machine", "start", id, "--app", app]),
            Self::RestartMachine(app, id) => words(&["machine", "restart", id, "--app", app]),
            Self::Deploy {
                app, config, image, ..
            } => deploy(app, config, image),
            Self::Certificates(app) => words(&["certs", "list", "--app", app, "--json"]),
            Self::AddCertificate(app, host) => certificate("add", app, host, "--json"),
            Self::ShowCertificate(app, host) => certificate("setup", app, host, "--json"),
            Self::CheckCertificate(app, host) => certificate("check", app, host, "--json"),
            Self::RemoveCertificate(app, host) => certificate("remove", app, host, "--yes"),
        }
    }

    /// Returns the same as a question to the platform, for errors.
    pub(super) fn asked(&self) -> Asked {
        let (action, subject) = match *self {
            Self::Token => (Action::ReadToken, ""),
            Self::Organisations => (Action::ListOrganisations, ""),
            Self::App(app) => (Action::LookUpApp, app),
            Self::CreateApp { app, .. } => (Action::CreateApp, app),
            Self::DestroyApp(app) => (Action::DeleteApp, app),
            Self::Ips(app) => (Action::ListIps, app),
            Self::AssignIp(app, _) => (Action::AssignIp, app),
            Self::Secrets(app) => (Action::ListSecrets, app),
            Self::ImportSecrets(app) | Self::UnsetSecrets(app, _) => (Action::ChangeSecrets, app),
            Self::Volumes(app) => (Action::ListVolumes, app),
            Self::CreateVolume(app, _) => (Action::CreateVolume, app),
            Self::ExtendVolume { id, .. } => (Action::ExtendVolume, id),
            Self::KeepSnapshots { id, .. } => (Action::KeepSnapshots, id),
            Self::Machines(app) => (Action::ListMachines, app),
            Self::StartMachine(_, id) => (Action::StartMachine, id),
            Self::RestartMachine(_, id) => (Action::RestartMachine, id),
            Self::Deploy { app, action, .. } => (action, app),
            Self::Certificates(app) => (Action::ListCertificates, app),
            Self::AddCertificate(_, host) => (Action::RequestCertificate, host),
            Self::ShowCertificate(_, host) => (Action::GetCertificate, host),
            Self::CheckCertificate(_, host) => (Action::CheckCertificate, host),
            Self::RemoveCertificate(_, host) => (Action::RemoveCertificate, host),
        };
        Asked {
            action,
            subject: subject.to_owned(),
        }
    }

    /// Returns how long it may take.
    pub(super) const fn limit(&self) -> Duration {
        match self {
            Self::Deploy { .. } => DEPLOYING,
            Self::Token
            | Self::Organisations
            | Self::App(_)
            | Self::Ips(_)
            | Self::Secrets(_)
            | Self::Volumes(_)
            | Self::Machines(_)
            | Self::Certificates(_)
            | Self::ShowCertificate(..) => TELLING,
            Self::CreateApp { .. }
            | Self::DestroyApp(_)
            | Self::AssignIp(..)
            | Self::ImportSecrets(_)
            | Self::UnsetSecrets(..)
            | Self::CreateVolume(..)
            | Self::ExtendVolume { .. }
            | Self::KeepSnapshots { .. }
            | Self::StartMachine(..)
            | Self::RestartMachine(..)
            | Self::AddCertificate(..)
            | Self::CheckCertificate(..)
            | Self::RemoveCertificate(..) => DOING,
        }
    }
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn create_volume(app: &str, target: &FlyTarget) -> Vec<OsString> {
    let volume = &target.volume;
    let (size, days) = (volume.size_gb.to_string(), volume.snapshot_days.to_string());
    let memory = target.guest.memory_mb.to_string();
    words(&[
        "volumes",
        "create",
        &volume.name,
        "--region",
        &target.region,
        "--size",
        &size,
        "--snapshot-retention",
        &days,
        // The machine that will run with it: the host has to have room for both.
        "--vm-size",
        &target.guest.size(),
        "--vm-memory",
        &memory,
        "--app",
        app,
        "--yes",
        "--json",
    ])
}

fn deploy(app: &str, config: &Path, image: &str) -> Vec<OsString> {
    let mut arguments = words(&["deploy", "--app", app, "--config"]);
    arguments.push(config.into());
    arguments.extend(words(&[
        "--image",
        image,
        // One volume, and so one machine.
        "--ha=false",
        "--strategy",
        "rolling",
        "--wait-timeout",
        MACHINE_WAIT,
        // Whether the server is well is asked of the server itself, afterwards.
        "--smoke-checks=false",
        "--yes",
    ]));
    arguments
}

fn certificate(what: &str, app: &str, host: &str, last: &str) -> Vec<OsString> {
    words(&["certs", what, host, "--app", app, last])
}

/// Returns what flyctl says of a volume that it made larger.
pub(super) fn needs_restart(said: &str) -> NeedsRestart {
    if said.to_lowercase().contains(RESTART) {
        NeedsRestart::Yes
    } else {
        NeedsRestart::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::tests::target;

    fn line(command: &Command<'_>) -> String {
        let arguments = command.arguments().into_iter();
        let arguments: Vec<String> = arguments.map(|a| a.into_string().unwrap()).collect();
        arguments.join(" ")
    }

    #[test]
    fn each_question_has_its_arguments() {
        for (command, expected) in [
            (Command::Token, "auth token --json"),
            (Command::Organisations, "orgs list --json"),
            (Command::App("site"), "status --app site --json"),
            (Command::Ips("site"), "ips list --app site --json"),
            (Command::Secrets("site"), "secrets list --app site --json"),
            (Command::Volumes("site"), "volumes list --app site --json"),
            (Command::Machines("site"), "machine list --app site --json"),
            (
                Command::Certificates("site"),
                "certs list --app site --json",
            ),
            (
                Command::ShowCertificate("site", "a.org"),
                "certs setup a.org --app site --json",
            ),
        ] {
            assert_eq!(line(&command), expected);
            assert_eq!(command.limit(), TELLING, "{expected}");
        }
    }

    #[test]
    fn each_step_has_its_arguments() {
        let target = target();
        for (command, expected) in [
            (
                Command::CreateApp {
                    app: "site",
                    organisation: "personal",
                },
                "apps create site --org personal --yes --json",
            ),
            (Command::DestroyApp("site"), "apps destroy site --yes"),
            (
                Command::AssignIp("site", IpKind::V6),
                "ips allocate-v6 --app site",
            ),
            (
                Command::AssignIp("site", IpKind::SharedV4),
                "ips allocate-v4 --shared --app site",
            ),
            (
                Command::ImportSecrets("site"),
                "secrets import --stage --app site",
            ),
            (
                Command::UnsetSecrets("site", &["OLD", "OLDER"]),
                "secrets unset OLD OLDER --stage --app site",
            ),
            (
                Command::CreateVolume("site", &target),
                "volumes create site_data --region arn --size 1 --snapshot-retention 5 --vm-size \
                 shared-cpu-1x --vm-memory 256 --app site --yes --json",
            ),
            (
                Command::ExtendVolume {
                    app: "site",
                    id: "vol_1",
                    size_gb: 3,
                },
                "volumes extend vol_1 --size 3 --app site --yes",
            ),
            (
                Command::KeepSnapshots {
                    app: "site",
                    id: "vol_1",
                    days: 14,
                },
                "volumes update vol_1 --snapshot-retention 14 --app site --json",
            ),
        ] {
            assert_eq!(line(&command), expected);
            assert_eq!(command.limit(), DOING, "{expected}");
        }
    }

    #[test]
    fn machines_and_certificates_have_theirs() {
        for (command, expected) in [
            (
                Command::StartMachine("site", "m1"),
                "machine start m1 --app site",
            ),
            (
                Command::RestartMachine("site", "m1"),
                "machine restart m1 --app site",
            ),
            (
                Command::AddCertificate("site", "a.org"),
                "certs add a.org --app site --json",
            ),
            (
                Command::CheckCertificate("site", "a.org"),
                "certs check a.org --app site --json",
            ),
            (
                Command::RemoveCertificate("site", "a.org"),
                "certs remove a.org --app site --yes",
            ),
        ] {
            assert_eq!(line(&command), expected);
            assert_eq!(command.limit(), DOING, "{expected}");
        }
    }

    #[test]
    fn a_deploy_says_all_that_flyctl_would_decide_otherwise() {
        let command = Command::Deploy {
            app: "site",
            config: Path::new("/tmp/x y/fly.toml"),
            image: "registry.fly.io/site:onsave-1",
            action: Action::CreateMachine,
        };
        assert_eq!(
            line(&command),
            "deploy --app site --config /tmp/x y/fly.toml --image registry.fly.io/site:onsave-1 \
             --ha=false --strategy rolling --wait-timeout 3m --smoke-checks=false --yes"
        );
        assert_eq!(command.arguments().len(), 14);
        assert_eq!(command.asked().to_string(), "create a machine in app site");
    }

    #[test]
    fn a_restart_is_asked_for_in_words() {
        let asks = "You will need to stop and start your Machine to increase the size";
        assert_eq!(needs_restart(asks), NeedsRestart::Yes);
        let says_no = "Your Machine got its volume size extended without needing a restart";
        assert_eq!(needs_restart(says_no), NeedsRestart::No);
    }
}
