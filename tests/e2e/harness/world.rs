//! One story's world: a home, a project folder with its site, a server, and the `onsave` programs
//! that run in it. Gone without a trace when dropped; its logs are shown when the story fails.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tempfile::TempDir;

use super::{
    deadline::{eventually, wait_for},
    http,
    process::Process,
    server::{SECRET, Server},
    site::{SiteFolder, Tree},
    sync_client,
};

/// Everything that belongs to one story.
#[derive(Debug)]
pub(crate) struct World {
    // Declared in the order of dropping: programs first, their folders last.
    pub(crate) server: Server,
    pub(crate) site: SiteFolder,
    starts: u32,
    folder: TempDir,
}

impl World {
    /// Makes a world with an empty site folder and a running server.
    pub(crate) fn new() -> Self {
        let world = Self::without_site();
        fs::create_dir(world.site.root()).expect("the project folder is there");
        world
    }

    /// Makes a world whose site folder is not there yet.
    pub(crate) fn without_site() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("onsave-e2e-")
            .tempdir()
            .expect("a temporary folder can be made");
        for name in ["home", "project", "logs", "volume"] {
            fs::create_dir(folder.path().join(name)).expect("the folder is new");
        }
        Self {
            server: Server::start(
                "server",
                &folder.path().join("volume"),
                &folder.path().join("logs"),
            ),
            site: SiteFolder::at(folder.path().join("project/deploy")),
            starts: 0,
            folder,
        }
    }

    /// Makes a world with a site of three small files.
    pub(crate) fn with_small_site() -> Self {
        let world = Self::new();
        world.site.write("index.html", "<h1>first</h1>");
        world.site.write("about.html", "<h1>about</h1>");
        world.site.write("blog/a/index.html", "<h1>a</h1>");
        world
    }

    /// Returns a place in this world's own folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the folder that `onsave` is started in.
    pub(crate) fn project(&self) -> PathBuf {
        self.path("project")
    }

    /// Returns the server's volume.
    pub(crate) fn volume(&self) -> PathBuf {
        self.path("volume")
    }

    /// Returns where the server listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Returns the URL of an address, as a target is written.
    pub(crate) fn url_of(address: SocketAddr) -> String {
        format!("http://{address}")
    }

    /// Ends nothing, but starts the server anew over the same volume, on another port.
    pub(crate) fn restart_server(&mut self) {
        self.starts += 1;
        let name = format!("server-{}", self.starts);
        self.server = Server::start(&name, &self.volume(), &self.path("logs"));
    }

    /// Returns an `onsave` command in this world, with nothing of the caller's environment and
    /// without a target.
    pub(crate) fn bare_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_onsave"));
        command
            .env_clear()
            .env("HOME", self.path("home"))
            .env("XDG_STATE_HOME", self.path("home/state"))
            .env("RUST_BACKTRACE", "1")
            .env("ONSAVE_CONTROL_LISTEN", "127.0.0.1:0")
            .current_dir(self.project())
            .args(arguments);
        command
    }

    /// Returns an `onsave` command whose target is this world's server.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_to(self.address(), arguments)
    }

    /// Returns an `onsave` command whose target is another address.
    pub(crate) fn command_to(&self, address: SocketAddr, arguments: &[&str]) -> Command {
        let mut command = self.bare_command(arguments);
        command
            .args(["--target", &Self::url_of(address)])
            .env("ONSAVE_SYNC_SECRET", SECRET);
        command
    }

    /// Returns an `onsave` command that serves the site itself, on a free port.
    pub(crate) fn local_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare_command(arguments);
        command.env("ONSAVE_LOCAL_ADDRESS", "127.0.0.1:0");
        command
    }

    /// Waits until the server inside a daemon is up and returns its address.
    pub(crate) fn local_address(&self, daemon: &mut Process) -> SocketAddr {
        wait_for("the embedded server", || {
            daemon.assert_running();
            let text = fs::read_to_string(self.project().join(".onsave/server.json")).ok()?;
            let said: serde_json::Value = serde_json::from_str(&text).expect("it is written whole");
            assert_eq!(said["pid"], daemon.id());
            let url = said["url"].as_str().expect("it names its URL");
            Some(
                url.strip_prefix("http://")?
                    .trim_end_matches('/')
                    .parse()
                    .expect("an address"),
            )
        })
    }

    /// Runs an `onsave` command against this world's server to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments)
            .output()
            .expect("onsave can be started")
    }

    /// Runs an `onsave` command, fails the test unless it succeeds, and returns what it printed.
    pub(crate) fn run_well(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "onsave {arguments:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("what onsave prints is UTF-8")
    }

    /// Starts a program of this world; its output goes to files of this name.
    pub(crate) fn start(&self, name: &str, command: &mut Command) -> Process {
        Process::start(name, command, &self.path("logs"))
    }

    /// Starts a daemon that watches the site folder and publishes to this world's server.
    pub(crate) fn watch(&self) -> Process {
        self.start("watch", &mut self.command(&["watch"]))
    }

    /// Starts a daemon and waits until what the site folder holds is live.
    pub(crate) fn watch_until_live(&self) -> Process {
        let daemon = self.watch();
        self.wait_until_live(&self.site.tree());
        daemon
    }

    /// Waits until the server's current deploy is exactly `tree`, then checks every byte of it.
    pub(crate) fn wait_until_live(&self, tree: &Tree) {
        wait_until_live(self.address(), tree);
        assert_serves(self.address(), tree);
    }

    /// Waits until a page answers with this text.
    pub(crate) fn wait_for_page(&self, target: &str, text: &str) {
        eventually(&format!("{target} to answer {text:?}"), || {
            http::get(self.address(), target)
                .is_some_and(|answer| answer.status == 200 && answer.text() == text)
        });
    }

    /// Waits until a page is gone.
    pub(crate) fn wait_for_no_page(&self, target: &str) {
        eventually(&format!("{target} to be gone"), || {
            http::get(self.address(), target).is_some_and(|answer| answer.status == 404)
        });
    }

    /// Returns the id of the current deploy, when there is one.
    pub(crate) fn current_deploy(&self) -> Option<String> {
        let manifest = sync_client::manifest(self.address()).expect("the server answers");
        manifest.deploy_id
    }

    /// Writes the project's `onsave.toml`.
    pub(crate) fn configure(&self, text: &str) {
        fs::write(self.project().join("onsave.toml"), text).expect("the project can be written");
    }

    /// Returns everything that programs of this world wrote to their logs.
    pub(crate) fn all_logs(&self) -> String {
        let mut all = String::new();
        for entry in fs::read_dir(self.path("logs")).expect("the log folder is there") {
            let path = entry.expect("it can be listed").path();
            all.push_str(&read_lossy(&path));
        }
        all
    }
}

/// Waits until a server's current deploy is exactly `tree`.
pub(crate) fn wait_until_live(address: SocketAddr, tree: &Tree) {
    let expected = sync_client::digests(tree);
    let mut last = None;
    let matches = || {
        last = sync_client::manifest(address).map(|manifest| manifest.files);
        (last.as_ref() == Some(&expected)).then_some(())
    };
    let what = format!("these {} files to be the current deploy", tree.len());
    wait_for(&what, matches);
}

/// Checks that every file of `tree` is served with its bytes.
pub(crate) fn assert_serves(address: SocketAddr, tree: &Tree) {
    let mut connection = http::Connection::open(address).expect("the server listens");
    for (path, bytes) in tree {
        let target = format!("/{}", encoded(path));
        let answer = connection
            .send(&http::Request {
                method: "GET",
                target: &target,
                ..http::Request::default()
            })
            .unwrap_or_else(|error| panic!("{target}: {error}"));
        assert_eq!(answer.status, 200, "{target}");
        assert!(
            answer.body == *bytes,
            "{target} has other bytes: {:?}",
            answer.text()
        );
    }
}

/// Returns a site path as the path of a URL.
fn encoded(path: &str) -> String {
    const KEPT: AsciiSet = NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b'.')
        .remove(b'-')
        .remove(b'_');
    utf8_percent_encode(path, &KEPT).to_string()
}

fn read_lossy(path: &Path) -> String {
    let bytes = fs::read(path).expect("the log file is there");
    String::from_utf8_lossy(&bytes).into_owned()
}
