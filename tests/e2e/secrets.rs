//! That no secret is printed: every program at its most talkative, every line it writes read.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use onsave_protocol::{digest::hex, wire::v1};

use crate::harness::{Server, World, server};

/// Fails when `text` holds the secret in a shape in which it could be logged.
fn assert_hides(text: &str, secret: &str, what: &str) {
    assert!(!text.contains(secret), "{what} prints the secret");
    let hexed = hex(secret.as_bytes());
    assert!(!text.contains(&hexed), "{what} prints the secret in hex");
    let bytes = format!("{:?}", secret.as_bytes());
    assert!(
        !text.contains(&bytes[1..bytes.len() - 1]),
        "{what} prints the secret's bytes"
    );
}

#[test]
fn nothing_prints_the_secret_or_a_signature() {
    let mut world = World::with_small_site();
    world.server.stop();
    let volume = world.volume();
    let logs = world.path("logs");
    let mut talkative = server::command(&volume);
    talkative
        .env("RUST_LOG", "trace")
        .env("SYNC_SECRET_PREVIOUS", "previous-e2e-secret-77");
    world.server = Server::start_with("talkative", &mut talkative, &logs);

    let mut command = world.command(&["watch"]);
    command.env("RUST_LOG", "trace");
    let mut daemon = world.start("watch", &mut command);
    world.wait_until_live(&world.site.tree());
    world.site.save("index.html", "<h1>second</h1>");
    world.wait_until_live(&world.site.tree());

    // Refusals are where secrets tend to be shown.
    let mut stranger = world.command(&["publish"]);
    stranger
        .env("RUST_LOG", "trace")
        .env("ONSAVE_SYNC_SECRET", "a-wrong-secret-31337");
    let refused = stranger.output().unwrap();
    assert!(!refused.status.success());
    for arguments in [
        ["check"].as_slice(),
        &["check", "--json"],
        &["doctor"],
        &["doctor", "--json"],
        &["deploys"],
        &["publish", "--json"],
    ] {
        let mut command = world.command(arguments);
        command.env("RUST_LOG", "trace");
        let output = command.output().unwrap();
        let printed = [output.stdout, output.stderr].concat();
        assert_hides(
            &String::from_utf8_lossy(&printed),
            server::SECRET,
            &format!("{arguments:?}"),
        );
    }
    daemon.terminate();
    world.server.stop();

    let all = world.all_logs();
    assert!(
        all.contains("POST") && all.len() > 2_000,
        "the logs were not captured: {all}"
    );
    let refusal = String::from_utf8_lossy(&[refused.stdout, refused.stderr].concat()).into_owned();
    for secret in [
        server::SECRET,
        "previous-e2e-secret-77",
        "a-wrong-secret-31337",
    ] {
        assert_hides(&all, secret, "a log");
        assert_hides(&refusal, secret, "a refused publish");
    }
    for header in ["keyid=", v1::SIGNATURE_HEADER, "sig=:"] {
        assert!(!all.contains(header), "a log shows a signature: {header}");
    }
}

#[test]
fn the_secret_of_the_local_target_is_private_and_masked() {
    let world = World::with_small_site();
    let mut command = world.bare_command(&["watch"]);
    command
        .env("ONSAVE_LOCAL_ADDRESS", "127.0.0.1:0")
        .env("RUST_LOG", "trace");
    let mut daemon = world.start("watch", &mut command);
    let state = world.path("home/state");
    let secret_file = crate::harness::wait_for("the secret's file", || find(&state, "secret"));
    crate::harness::eventually("the server to be up", || {
        world.project().join(".onsave/server.json").is_file()
    });
    daemon.terminate();

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&secret_file), 0o600);
    assert_eq!(mode(secret_file.parent().unwrap()), 0o700);
    let secret = fs::read_to_string(&secret_file).unwrap();
    assert!(secret.trim().len() >= 64, "32 random bytes in hex");
    assert_hides(&world.all_logs(), secret.trim(), "the daemon's log");
}

fn find(folder: &Path, name: &str) -> Option<std::path::PathBuf> {
    for entry in fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if let Some(found) = find(&path, name) {
                return Some(found);
            }
        } else if path.file_name().is_some_and(|found| found == name) {
            return Some(path);
        }
    }
    None
}
