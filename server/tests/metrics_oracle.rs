//! The metrics, read by the parser of Prometheus's own Python client.

#![expect(
    clippy::unwrap_used,
    reason = "what fails in a test's harness fails the test"
)]

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// Prints `family type samples` for each family; fails for a text that is not in the format.
const PARSER: &str = "\
import sys
from prometheus_client.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    print(family.name, family.type, len(family.samples))
";

/// A server that is killed when a test fails half-way.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _killed = self.0.kill();
        let _ended = self.0.wait();
    }
}

fn python() -> PathBuf {
    let target = env!("CARGO_TARGET_TMPDIR");
    let python = PathBuf::from(target).join("../python-venv/bin/python");
    assert!(
        python.is_file(),
        "{} is missing: run ./scripts/test packages",
        python.display()
    );
    python
}

fn get(address: &str, target: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    body.to_owned()
}

#[test]
fn prometheus_reads_every_family() {
    let volume = tempfile::tempdir().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_onsave-server"))
        .env_clear()
        .args([
            "--port",
            "0",
            "--address",
            "127.0.0.1",
            "--access-log",
            "common",
        ])
        .args(["--metrics-address", "127.0.0.1:0", "--root"])
        .arg(volume.path())
        .env("SYNC_SECRET", "a-secret-of-a-test")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut server = Running(child.unwrap());
    let mut out = BufReader::new(server.0.stdout.take().unwrap());
    let mut line = |prefix: &str| {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let rest = line.trim_end().strip_prefix(prefix);
        rest.unwrap_or_else(|| panic!("{line:?}")).to_owned()
    };
    let site = line("onsave-server ready on http://");
    let metrics = line("onsave-server metrics on http://");
    let metrics = metrics.strip_suffix("/metrics").unwrap();
    get(&site, "/some-page");
    assert!(line("127.0.0.1 - - [").contains("\"GET /some-page HTTP/1.1\" 503 "));
    let mut parser = Command::new(python())
        .args(["-c", PARSER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text = get(metrics, "/metrics");
    parser
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = parser.wait_with_output().unwrap();
    assert!(output.status.success(), "{text}");
    let families = String::from_utf8(output.stdout).unwrap();
    for family in [
        "onsave_http_requests counter 1",
        "onsave_http_request_duration_seconds histogram 15",
        "onsave_publish_duration_seconds histogram 45",
        "onsave_connections_open gauge 1",
        "onsave_volume_bytes gauge 1",
        "onsave_build_info gauge 1",
        "process_resident_memory_bytes gauge 1",
    ] {
        assert!(
            families.lines().any(|line| line == family),
            "{family}:\n{families}"
        );
    }
}
