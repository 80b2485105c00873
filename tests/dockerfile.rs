//! The `Dockerfile` against the image that `onsave` makes itself: whoever builds one by hand gets the
//! same server, run the same way.
//!
//! What hadolint says of the file is asked in `tests/e2e/judges`.

use std::{collections::BTreeMap, fs, path::Path};

use onsave::image::{BUILD_COMMAND, Image};
use serde_json::{Value, json};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("it is shipped")
}

/// Returns the instructions with their arguments, each on one line, of all stages.
fn instructions() -> Vec<(String, String)> {
    let text = read("Dockerfile");
    let code: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect();
    let joined = code.join("\n").replace("\\\n", " ");
    joined
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let (name, rest) = line
                .split_once(' ')
                .expect("every instruction has arguments");
            (
                name.to_owned(),
                rest.split_whitespace().collect::<Vec<_>>().join(" "),
            )
        })
        .collect()
}

/// Returns the arguments of an instruction that the last stage has once.
fn last_stage(name: &str) -> String {
    let all = instructions();
    let from = all.iter().rposition(|(name, _)| name == "FROM");
    let found: Vec<&String> = all[from.expect("there are stages")..]
        .iter()
        .filter(|(found, _)| found == name)
        .map(|(_, arguments)| arguments)
        .collect();
    let [one] = found[..] else {
        panic!("{name} is there {} times", found.len());
    };
    one.clone()
}

/// Returns `name=value name="value"` as a map.
fn pairs(arguments: &str) -> BTreeMap<String, String> {
    arguments
        .split(' ')
        .map(|pair| {
            let (name, value) = pair.split_once('=').expect("a name has a value");
            (name.to_owned(), value.trim_matches('"').to_owned())
        })
        .collect()
}

/// Returns the configuration of the image that `onsave` makes.
fn own_configuration() -> Value {
    let image = Image::of_server(&smallest_program(), env!("CARGO_PKG_VERSION"))
        .expect("it is a static program");
    let config: Value = serde_json::from_slice(&image.config.bytes).expect("it is JSON");
    config["config"].clone()
}

/// Returns an ELF file that asks for nothing: a header and one part to load.
fn smallest_program() -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]); // executable, x86-64
    file.extend(0x1000_u64.to_le_bytes()); // entry
    file.extend(64_u64.to_le_bytes()); // program headers
    file.extend([0; 12]);
    file.extend([64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]); // to load, and to run
    file.extend([0; 48]);
    file
}

#[test]
fn it_runs_the_same_program_the_same_way() {
    let own = own_configuration();
    let command: Value = serde_json::from_str(&last_stage("ENTRYPOINT")).expect("a list of texts");
    assert_eq!(command, own["Entrypoint"]);
    let variables: Vec<String> = pairs(&last_stage("ENV"))
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(json!(variables), own["Env"]);
    let port = format!("{}/tcp", last_stage("EXPOSE"));
    assert_eq!(json!({ port: {} }), own["ExposedPorts"]);
    assert_eq!(last_stage("STOPSIGNAL"), own["StopSignal"]);
    assert_eq!(last_stage("WORKDIR"), own["WorkingDir"]);
    assert_eq!(json!(pairs(&last_stage("LABEL"))), own["Labels"]);
    assert_eq!(last_stage("FROM"), "scratch");
}

#[test]
fn it_asks_for_health_with_the_program_itself_and_without_rights() {
    let health = last_stage("HEALTHCHECK");
    assert!(
        health.ends_with(r#"CMD ["/onsave-server", "--health"]"#),
        "{health}"
    );
    assert_eq!(last_stage("USER"), "${RUN_AS}");
    let (name, ids) = last_stage("ARG")
        .split_once('=')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .expect("it has a default");
    assert_eq!(name, "RUN_AS");
    assert!(
        ids.split(':')
            .all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)),
        "{ids}"
    );
}

#[test]
fn it_builds_as_the_messages_say() {
    let steps: Vec<String> = instructions()
        .into_iter()
        .filter(|(name, _)| name == "RUN")
        .map(|(_, arguments)| arguments)
        .collect();
    let said = BUILD_COMMAND.replace("x86_64-unknown-linux-gnu", "\"$TARGET\"");
    assert!(
        steps.iter().any(|step| step.contains(&said)),
        "{said} in {steps:?}"
    );
    let version = env!("CARGO_PKG_RUST_VERSION");
    let base = &instructions()[0].1;
    assert!(base.starts_with(&format!("rust:{version}-")), "{base}");
}

/// Cargo reads every member's manifest, and refuses one whose listed files are missing.
#[test]
fn the_context_holds_what_the_build_reads() {
    let ignored = read(".dockerignore");
    let kept: Vec<&str> = ignored
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .collect();
    assert!(
        ignored.lines().any(|line| line == "*"),
        "all else is left out"
    );
    let mut needed = vec!["Cargo.toml", "Cargo.lock", "src"];
    let manifest = read("Cargo.toml");
    let members = manifest
        .lines()
        .find_map(|line| line.strip_prefix("members = "))
        .expect("it is a workspace");
    let members: Vec<String> = serde_json::from_str(members).expect("a list of texts");
    needed.extend(
        members
            .iter()
            .map(String::as_str)
            .filter(|member| *member != "."),
    );
    if manifest.contains("[[bench]]") {
        needed.push("benches");
    }
    // What the programs carry in themselves.
    needed.extend(["config.example.toml", "systemd"]);
    // A pattern that meets a folder of sources as well (src/target) would take it out again.
    let taken_out = ignored.lines().filter(|line| line.starts_with("**/"));
    assert_eq!(taken_out.collect::<Vec<_>>(), ["**/.onsave"]);
    for name in needed {
        assert!(
            kept.contains(&name),
            "{name} is not in the context: {kept:?}"
        );
    }
}
