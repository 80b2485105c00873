//! The servers that are compared: their programs and versions, and the peers as running processes.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use crate::{
    configurations,
    harness::{deadline::look_until, process::Process, server},
    processes::{self, Cores},
};

/// How often a peer is started before its failure counts: the port that was free for it may be
/// another program's by the time it binds it.
const STARTS: u32 = 5;

/// How long a peer may take to listen.
const START_LIMIT: Duration = Duration::from_secs(10);

/// How long a peer may take to end when it is told to.
const END_LIMIT: Duration = Duration::from_secs(5);

/// How to get what is missing.
pub(crate) const INSTALL: &str = "./scripts/bench serving installs it";

/// A server that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The server of this project.
    Onsave,
    /// nginx, of Debian.
    Nginx,
    /// Caddy, of Debian.
    Caddy,
    /// lighttpd, of Debian.
    Lighttpd,
    /// static-web-server, of crates.io.
    StaticWebServer,
}

impl Kind {
    /// Every server, in the order in which a round asks them.
    pub(crate) const ALL: [Self; 5] = [
        Self::Onsave,
        Self::Nginx,
        Self::Caddy,
        Self::Lighttpd,
        Self::StaticWebServer,
    ];

    /// Returns the name that tables and flags know it by.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Onsave => "onsave",
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
            Self::Lighttpd => "lighttpd",
            Self::StaticWebServer => "static-web-server",
        }
    }

    fn program(self) -> PathBuf {
        match self {
            Self::Onsave => server::program(),
            Self::Nginx => "/usr/sbin/nginx".into(),
            Self::Caddy => "/usr/bin/caddy".into(),
            Self::Lighttpd => "/usr/sbin/lighttpd".into(),
            // Cargo's own folder for programs is left alone: it belongs to the user.
            Self::StaticWebServer => Path::new(env!("CARGO_BIN_EXE_onsave"))
                .ancestors()
                .nth(2)
                .expect("Cargo builds into a folder of its target folder")
                .join("bench-peers/bin/static-web-server"),
        }
    }

    /// Returns what the program says of its version.
    ///
    /// # Errors
    ///
    /// A text that says how to get a program that is missing.
    pub(crate) fn version(self) -> Result<String, String> {
        let flag = match self {
            Self::Onsave | Self::StaticWebServer => "--version",
            Self::Nginx | Self::Lighttpd => "-v",
            Self::Caddy => "version",
        };
        version_of(&self.program(), flag)
    }
}

/// Returns the first line that a program says of its version.
///
/// # Errors
///
/// A text that says how to get a program that is missing.
pub(crate) fn version_of(program: &Path, flag: &str) -> Result<String, String> {
    let output = Command::new(program)
        .arg(flag)
        .output()
        .map_err(|error| format!("{}: {error}; {INSTALL}", program.display()))?;
    // nginx says it on standard error.
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().next().unwrap_or_default();
    // static-web-server writes columns.
    Ok(line.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A server that runs.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    /// All its processes.
    pub(crate) processes: Vec<u32>,
}

/// A peer's processes, ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Peer {
    process: Process,
    server: Server,
}

impl Peer {
    /// Starts a peer over the files in `root`; what it writes goes below `folder`.
    pub(crate) fn start(kind: Kind, cores: Cores, root: &Path, folder: &Path) -> Self {
        let own = folder.join(kind.name());
        fs::create_dir(&own).expect("each peer has a folder of its own");
        for attempt in 1..=STARTS {
            let address = free_address();
            let mut command = command(kind, address, root, &own);
            let name = format!("{}-{attempt}", kind.name());
            let mut process = cores.on_the_servers(|| Process::start(&name, &mut command, folder));
            if listens(&mut process, address) {
                let mut processes = vec![process.id()];
                processes.extend(processes::children(process.id()));
                let server = Server {
                    kind,
                    address,
                    processes,
                };
                return Self { process, server };
            }
            assert!(
                attempt < STARTS,
                "{} does not start: {}",
                kind.name(),
                process.stderr()
            );
        }
        unreachable!("the last attempt returned or failed")
    }

    /// Returns where it is and what it consists of.
    pub(crate) const fn server(&self) -> &Server {
        &self.server
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // A process that is told to end takes its workers with it; one that is killed cannot.
        let is_told = signal(self.process.id(), Signal::TERM);
        let end = Instant::now() + END_LIMIT;
        if is_told && look_until(end, || self.process.try_wait()).is_some() {
            return;
        }
        for id in &self.server.processes {
            signal(*id, Signal::KILL);
        }
    }
}

/// Signals a process and returns whether that was possible.
fn signal(id: u32, signal: Signal) -> bool {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw);
    id.is_some_and(|id| kill_process(id, signal).is_ok())
}

/// Returns an address of this machine that nobody listens on right now.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound")
}

/// Returns whether a program that was started listens; it does not when it ended.
fn listens(process: &mut Process, address: SocketAddr) -> bool {
    let end = Instant::now() + START_LIMIT;
    let started = look_until(end, || {
        if process.try_wait().is_some() {
            return Some(false);
        }
        TcpStream::connect(address).is_ok().then_some(true)
    });
    started == Some(true) && process.try_wait().is_none()
}

/// Returns the command that starts a peer; its configuration is written to `own`.
fn command(kind: Kind, address: SocketAddr, root: &Path, own: &Path) -> Command {
    let file = own.join("configuration");
    let write = |text: String| fs::write(&file, text).expect("the folder is there");
    let mut command = Command::new(kind.program());
    command.env_clear().env("HOME", own).current_dir(own);
    match kind {
        Kind::Onsave => unreachable!("it is started as its end-to-end tests start it"),
        Kind::Nginx => {
            write(configurations::nginx(address, root, own));
            command
                .arg("-p")
                .arg(own)
                .arg("-e")
                .arg("stderr")
                .arg("-c")
                .arg(&file);
        }
        Kind::Caddy => {
            write(configurations::caddy(address, root));
            command
                .args(["run", "--adapter", "caddyfile", "--config"])
                .arg(&file);
        }
        Kind::Lighttpd => {
            write(configurations::lighttpd(address, root, own));
            command.arg("-D").arg("-f").arg(&file);
        }
        Kind::StaticWebServer => {
            command.args(configurations::static_web_server(address, root));
        }
    }
    command
}
