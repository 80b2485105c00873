//! The `onsave-server` command as a process: the ready line, signals, exit codes, secrets.

#![expect(
    clippy::unwrap_used,
    reason = "what fails in a test's harness fails the test"
)]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

const SECRET: &str = "a-secret-that-is-never-printed";

fn command(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onsave-server"));
    command
        .env_clear()
        .env("PORT", "0")
        .env("ADDRESS", "127.0.0.1")
        .env("SITE_DATA_ROOT", root)
        .env("SYNC_SECRET", SECRET)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A server that is killed when a test fails half-way.
struct Running(Child);

impl Running {
    fn start(root: &Path) -> (Self, String) {
        let mut child = command(root).spawn().unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let address = line
            .trim_end()
            .strip_prefix("onsave-server ready on http://")
            .unwrap_or_else(|| panic!("{line:?}"));
        (Self(child), address.to_owned())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// Returns how the process ended, and its log.
    fn ended(mut self) -> (ExitStatus, String) {
        let mut log = String::new();
        let mut errors = self.0.stderr.take().unwrap();
        errors.read_to_string(&mut log).unwrap();
        (self.0.wait().unwrap(), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Has usually ended by now.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn run(command: &mut Command) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = String::from_utf8([stdout, stderr].concat()).unwrap();
    assert!(!text.contains(SECRET), "{text}");
    (status.code(), text)
}

#[test]
fn it_says_that_it_is_ready_and_drains_at_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let (server, address) = Running::start(folder.path());
        assert!(get(&address, "/_icd/health").contains(r#"{"ok":true,"version":"1.0.0"}"#));
        assert!(get(&address, "/").starts_with("HTTP/1.1 503"));
        server.signal(signal);
        let (status, log) = server.ended();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("shutting down"), "{log}");
        assert!(!log.contains(SECRET), "{log}");
    }
}

#[test]
fn one_volume_has_one_server() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = Running::start(folder.path());
    let (code, text) = run(&mut command(folder.path()));
    assert_eq!(code, Some(1));
    assert!(text.contains("in use by another server"), "{text}");
    assert!(
        text.contains(&folder.path().display().to_string()),
        "{text}"
    );
    server.signal(Signal::KILL);
    assert_eq!(server.ended().0.code(), None);
    let (server, _) = Running::start(folder.path());
    server.signal(Signal::TERM);
    assert_eq!(server.ended().0.code(), Some(0));
}

#[test]
fn verify_tells_a_whole_volume_from_a_damaged_one() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = Running::start(folder.path());
    server.signal(Signal::TERM);
    assert_eq!(server.ended().0.code(), Some(0));
    let (code, text) = run(command(folder.path()).arg("--verify"));
    assert_eq!(
        (code, text.contains("all whole")),
        (Some(0), true),
        "{text}"
    );
    let name = onsave_protocol::Sha256Digest::of(b"whole").to_hex();
    let object = folder.path().join("objects").join(&name[..2]).join(&name);
    std::fs::write(object, "damaged").unwrap();
    let (code, text) = run(command(folder.path()).arg("--verify"));
    assert_eq!((code, text.contains(&name)), (Some(3), true), "{text}");
}

#[test]
fn a_wrong_configuration_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = command(folder.path());
    wrong
        .env("PORT", "many")
        .env("KEEP_DEPLOYS", "none")
        .env("RUST_LOG", "a=b=c")
        .env_remove("SYNC_SECRET");
    let (code, text) = run(&mut wrong);
    assert_eq!(code, Some(2));
    for part in ["PORT", "KEEP_DEPLOYS", "RUST_LOG", "SYNC_SECRET"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(run(command(folder.path()).arg("--no-such-flag")).0, Some(2));
    let (code, text) = run(command(folder.path()).arg("--version"));
    assert_eq!((code, text.starts_with("onsave-server ")), (Some(0), true));
    let (code, text) = run(command(folder.path()).arg("--help"));
    assert_eq!((code, text.contains("Exit codes")), (Some(0), true));
}

#[test]
fn a_port_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (server, address) = Running::start(folder.path());
    let port = address.rsplit(':').next().unwrap();
    let other = tempfile::tempdir().unwrap();
    let (code, text) = run(command(other.path()).args(["--port", port]));
    assert_eq!((code, text.contains(port)), (Some(1), true), "{text}");
    server.signal(Signal::TERM);
    assert_eq!(server.ended().0.code(), Some(0));
}

#[test]
fn health_is_asked_of_the_server_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (server, address) = Running::start(folder.path());
    let port = address.rsplit(':').next().unwrap();
    let ask = || {
        let mut command = command(folder.path());
        // The same variables, as a container's health check has them; no secret is asked for.
        command.env("PORT", port).env_remove("SYNC_SECRET");
        command.arg("--health").output().unwrap()
    };
    let well = ask();
    assert_eq!(well.status.code(), Some(0), "{well:?}");
    assert!(well.stdout.is_empty() && well.stderr.is_empty(), "{well:?}");
    server.signal(Signal::KILL);
    server.ended();
    let gone = ask();
    assert_eq!(gone.status.code(), Some(1), "{gone:?}");
    let said = String::from_utf8(gone.stderr).unwrap();
    assert!(
        said.contains(&address) && said.contains("not well"),
        "{said}"
    );
}
