//! A site, its world and its platform, and the commands that a user gives there.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::Value;

use crate::{
    fly_simulator::{FlySimulator, ORGANIZATION_TOKEN, Options},
    harness::{
        World, http,
        http::{Connection, Request},
        server::static_program,
    },
};

/// The app of most stories.
pub(super) const APP: &str = "my-site";

/// The configuration of most stories.
const CONFIGURATION: &str = "app = \"my-site\" # the name\n\n[target]\nkind = \"fly\"\n";

/// A site with its world and its platform.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) world: World,
    pub(super) fly: FlySimulator,
    /// What stands for `https://api.machines.dev` towards the programs.
    pub(super) api_url: String,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self::with(&Options::default())
    }

    pub(super) fn with(options: &Options) -> Self {
        let fly = FlySimulator::start(options);
        let desk = Self {
            world: World::with_small_site(),
            api_url: fly.api_url(),
            fly,
        };
        desk.world.configure(CONFIGURATION);
        desk
    }

    /// Adds lines to the configuration.
    pub(super) fn configure(&self, more: &str) {
        self.world.configure(&format!("{CONFIGURATION}{more}"));
    }

    /// Returns an `onsave` command that reaches the platform.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command_without_token(arguments);
        command.env("FLY_API_TOKEN", format!("FlyV1 {ORGANIZATION_TOKEN}"));
        command
    }

    /// Returns an `onsave` command of somebody who has no token.
    pub(super) fn command_without_token(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.bare_command(arguments);
        command
            .env("FLY_FLAPS_BASE_URL", &self.api_url)
            .env("FLY_API_BASE_URL", self.fly.older_api_url())
            .env("FLY_REGISTRY_HOST", self.fly.registry_host())
            .env("ONSAVE_FLY_APP_URL", self.fly.edge_url())
            .env("ONSAVE_FLY_SERVER_BINARY", static_program());
        command
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Said {
        Said::of(&mut self.command(arguments))
    }

    /// Runs a command that has to succeed.
    pub(super) fn run_well(&self, arguments: &[&str]) -> Said {
        let said = self.run(arguments);
        assert!(said.output.status.success(), "{arguments:?}: {said:?}");
        said
    }

    /// Runs a command that has to succeed and prints one object.
    pub(super) fn run_json(&self, arguments: &[&str]) -> Value {
        let said = self.run_well(arguments);
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"))
    }

    /// Returns the address that visitors reach the app at.
    pub(super) const fn edge(&self) -> SocketAddr {
        self.fly.edge_address()
    }

    /// Returns what visitors get; nothing when nobody answers.
    pub(super) fn page(&self, target: &str) -> Option<String> {
        let answer = http::get(self.edge(), target)?;
        (answer.status == 200).then(|| answer.text().clone())
    }

    /// Asks the platform, as somebody beside onsave does.
    pub(super) fn ask_platform(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let address = self.fly.api_url().replace("http://", "");
        let address: SocketAddr = address.parse().expect("an address");
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let request = Request {
            method,
            target: path,
            headers: vec![("authorization", format!("FlyV1 {ORGANIZATION_TOKEN}"))],
            body: body.as_bytes(),
        };
        let answer = Connection::open(address)
            .and_then(|mut connection| connection.send(&request))
            .expect("the simulator answers");
        let json = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        (answer.status, json)
    }

    /// Returns a list of the app's: `machines`, `volumes` and others.
    pub(super) fn listed(&self, what: &str) -> Vec<Value> {
        let (status, list) =
            self.ask_platform("GET", &format!("/v1/apps/{APP}/{what}"), &Value::Null);
        assert_eq!(status, 200, "{list}");
        let list = match list {
            Value::Object(mut fields) => fields
                .remove("ips")
                .or_else(|| fields.remove("certificates"))
                .or_else(|| fields.remove("secrets"))
                .unwrap_or(Value::Null),
            list => list,
        };
        list.as_array().expect("a list").clone()
    }

    /// Returns the only machine.
    pub(super) fn machine(&self) -> Value {
        let mut machines = self.listed("machines");
        assert_eq!(machines.len(), 1, "{machines:?}");
        machines.remove(0)
    }

    /// Returns the only volume.
    pub(super) fn volume(&self) -> Value {
        let mut volumes = self.listed("volumes");
        assert_eq!(volumes.len(), 1, "{volumes:?}");
        volumes.remove(0)
    }

    /// Returns the requests so far that changed something, as `METHOD /path`.
    pub(super) fn writes(&self) -> Vec<String> {
        let writes = self.fly.writes();
        writes
            .iter()
            .map(|request| format!("{} {}", request.method, request.path))
            .collect()
    }

    /// Returns the configuration file.
    pub(super) fn configuration(&self) -> String {
        fs::read_to_string(self.world.project().join("onsave.toml")).expect("it is there")
    }

    /// Returns the site's state folder.
    pub(super) fn state(&self) -> PathBuf {
        let folder = self.world.path("home/state/onsave");
        let entries = fs::read_dir(folder).expect("there is a state folder");
        let mut sites = entries.map(|entry| entry.expect("it can be listed").path());
        sites.next().expect("there is one site")
    }

    /// Fails the test unless everything that one app has is there once, and serves the site.
    pub(super) fn assert_complete(&self) {
        assert_eq!(self.machine()["state"], "started");
        assert_eq!(self.volume()["name"], "site_data");
        let ips = self.listed("ip_assignments");
        assert_eq!(ips.len(), 2, "{ips:?}");
        assert_eq!(self.page("/").as_deref(), Some("<h1>first</h1>"));
    }
}

/// What a command said.
pub(super) struct Said {
    pub(super) output: Output,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Said {
    pub(super) fn of(command: &mut Command) -> Self {
        let output = command.output().expect("onsave can be started");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("it is UTF-8");
        let said = Self {
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
            output,
        };
        said.assert_no_secret();
        said
    }

    fn assert_no_secret(&self) {
        for secret in ["fm2_", "fo1_"] {
            assert!(!self.stdout.contains(secret), "{self:?}");
            assert!(!self.stderr.contains(secret), "{self:?}");
        }
    }

    /// Fails the test unless the command failed with `code` and said each of `parts`.
    pub(super) fn assert_failed(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.output.status.code(), Some(code), "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in {self:?}");
        }
    }
}

impl std::fmt::Debug for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}\n--- stdout\n{}--- stderr\n{}",
            self.output.status, self.stdout, self.stderr
        )
    }
}
