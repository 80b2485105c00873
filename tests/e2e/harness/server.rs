//! The real `onsave-server`, on a port of its own choice and a volume that outlives it.

use std::{
    net::SocketAddr,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output},
};

use super::process::Process;

/// The start of the line that says where the server listens; what follows is the address.
pub(crate) const READY: &str = "onsave-server ready on http://";

/// The secret of every story; no part of it may ever be printed.
pub(crate) const SECRET: &str = "e2e-secret-5f0c9b7a41d2e8366b90";

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    address: SocketAddr,
}

impl Server {
    /// Starts a server over `volume`; `name` names its log files in `logs`.
    pub(crate) fn start(name: &str, volume: &Path, logs: &Path) -> Self {
        Self::start_with(name, &mut command(volume), logs)
    }

    /// Starts a server by a command that [`command`] made and a story changed.
    pub(crate) fn start_with(name: &str, command: &mut Command, logs: &Path) -> Self {
        let mut process = Process::start(name, command, logs);
        let ready = process.wait_for_line(READY);
        let address = ready.parse().expect("the ready line ends in an address");
        Self { process, address }
    }

    /// Returns where the server listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the server's process.
    pub(crate) const fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Ends the server at once, as a crash of the machine would.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Asks the server to end and checks that it drained and said that all is well.
    pub(crate) fn stop(&mut self) {
        let status = self.process.terminate();
        assert_eq!(status.code(), Some(0), "SIGTERM drains: {status}");
    }
}

/// Returns the command that starts the server over `volume`, with nothing of the caller's
/// environment.
pub(crate) fn command(volume: &Path) -> Command {
    let mut command = Command::new(program());
    command
        .env_clear()
        .env("PORT", "0")
        .env("SITE_DATA_ROOT", volume)
        .env("SYNC_SECRET", SECRET)
        .env("RUST_BACKTRACE", "1")
        .args(["--address", "127.0.0.1"]);
    command
}

/// Returns what `onsave-server --verify` says of a volume.
pub(crate) fn verify(volume: &Path) -> Output {
    command(volume)
        .arg("--verify")
        .output()
        .expect("the server can be started")
}

/// Fails the test unless the volume is sound.
pub(crate) fn assert_sound(volume: &Path) {
    let output = verify(volume);
    assert!(
        output.status.success(),
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Returns whether a program was ended by SIGKILL.
pub(crate) fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(9)
}

/// Returns the server's program, which Cargo builds beside the client's.
pub(crate) fn program() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_onsave")).with_file_name("onsave-server");
    assert!(
        path.is_file(),
        "{} is missing; build it with: cargo build --workspace --bins",
        path.display()
    );
    path
}

/// Returns the static build of the server's program, which goes into an image.
pub(crate) fn static_program() -> PathBuf {
    let target_folder = Path::new(env!("CARGO_BIN_EXE_onsave"))
        .ancestors()
        .nth(2)
        .expect("Cargo's folder is above the profile's");
    let path = target_folder.join("x86_64-unknown-linux-gnu/debug/onsave-server");
    assert!(
        path.is_file(),
        "{} is missing; build it with: ./scripts/test build, or RUSTFLAGS='-C \
         target-feature=+crt-static' cargo build -p onsave-server --target \
         x86_64-unknown-linux-gnu",
        path.display()
    );
    path
}
