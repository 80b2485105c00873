//! The real `onsave`, run as a user runs it: exit codes, streams, and no secret in any of them.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where what it needs is missing"
)]

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

/// A home, and a site's folder in it.
struct Home {
    folder: TempDir,
}

impl Home {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("my site")).unwrap();
        Self { folder }
    }

    fn site(&self) -> std::path::PathBuf {
        self.folder.path().join("my site")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_onsave"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.folder.path())
            .env("USER", "ann")
            .current_dir(self.site())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn init_then_check() {
    let home = Home::new();
    let output = home.run(&["init"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let file = home.site().join("onsave.toml");
    let written = fs::read_to_string(&file).unwrap();
    assert!(written.contains("\napp = \"my-site\"\n"));

    let again = home.run(&["init"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).starts_with("error: ") && stderr(&again).contains("\nhint: "));
    assert_eq!(fs::read_to_string(&file).unwrap(), written);

    let output = home.run(&["check", "--dir", "out"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    let told = stdout(&output);
    for (key, value, source) in [
        ("app ", "my-site", "onsave.toml:10"),
        ("dir ", "/my site/out", "flag --dir"),
        ("watch.quiet_ms ", "auto", "default"),
        ("publish.by ", "ann@", "default"),
        ("state ", "/.local/state/onsave/my-site-", ""),
    ] {
        let line = told.lines().find(|line| line.starts_with(key)).unwrap();
        assert!(line.contains(value) && line.ends_with(source), "{line}");
    }
    assert!(
        !home.folder.path().join(".local").exists(),
        "check makes nothing"
    );
}

#[test]
fn check_explains_the_wait_of_a_save() {
    let home = Home::new();
    let told = |arguments: &[&str]| {
        let output = home.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output).to_owned()
    };
    let nothing_learned = told(&["check"]);
    let line = |told: &str, habit: &str| {
        let line = told.lines().find(|line| line.starts_with(habit));
        line.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    assert_eq!(
        line(&nothing_learned, "  renamed into place").unwrap(),
        "renamed into place 25 ms 0 of 5 single saves seen"
    );
    assert_eq!(line(&nothing_learned, "  a burst"), None);

    let state = nothing_learned
        .lines()
        .find_map(|line| line.strip_prefix("state  "));
    let rhythm = Path::new(state.unwrap()).join("rhythm");
    fs::create_dir_all(rhythm.parent().unwrap()).unwrap();
    let fresh = r#"{"single":0,"early":0,"gaps":[]}"#;
    let kept = format!(
        r#"{{"format":1,"rhythm":{{"renamed":{{"single":12,"early":0,"gaps":[]}},
            "rewritten":{{"single":7,"early":0,"gaps":[6000,500]}},"made":{fresh},"remade":{fresh},
            "pauses":[78000]}}}}"#
    );
    fs::write(&rhythm, &kept).unwrap();
    let learned = told(&["check"]);
    for (start, text) in [
        ("  renamed into place", "4 ms 12 single saves, and no burst"),
        (
            "  written in place",
            "18 ms 7 single saves; a burst went on after 6 ms",
        ),
        ("  a new file", "25 ms 0 of 5 single saves seen"),
        ("  a burst", "195 ms the longest pause in one was 78 ms"),
    ] {
        let line = line(&learned, start).unwrap();
        assert!(line.ends_with(text), "{line}");
    }
    let json: serde_json::Value = serde_json::from_str(&told(&["check", "--json"])).unwrap();
    assert_eq!(json["settle"]["habits"][0]["waitMs"], 4.0);
    assert_eq!(json["settle"]["longestPauseMs"], 78.0);

    fs::write(&rhythm, &kept[..kept.len() - 9]).unwrap();
    assert_eq!(
        told(&["check"]),
        nothing_learned,
        "half a file says nothing"
    );

    fs::write(home.site().join("onsave.toml"), "[watch]\nquiet_ms = 40\n").unwrap();
    let fixed = told(&["check"]);
    assert!(
        fixed.contains("a save waits 40 ms, as watch.quiet_ms says"),
        "{fixed}"
    );
}

#[test]
fn faults_end_with_their_code() {
    let home = Home::new();
    fs::write(home.site().join("onsave.toml"), "[watch]\nquite_ms = 25\n").unwrap();
    for command in ["check", "publish", "deploys", "rollback", "watch"] {
        let output = home
            .command(&[command])
            .env("ONSAVE_LOG_FORMAT", "xml")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(3), "{command}");
        assert_eq!(stdout(&output), "");
        let told = stderr(&output);
        assert!(
            told.starts_with("error: the configuration has 2 faults\n"),
            "{told}"
        );
        assert!(
            told.contains("onsave.toml:2): unknown key; the nearest known one is watch.quiet_ms")
        );
        assert!(told.contains("log.format = \"xml\" (variable ONSAVE_LOG_FORMAT): must be"));
    }
    let output = home.run(&["check", "--json"]);
    assert_eq!(output.status.code(), Some(3));
    let told: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(told["faults"][0]["key"], "watch.quite_ms");
    assert_eq!(told["faults"][0]["value"], serde_json::Value::Null);
}

#[test]
fn what_is_not_understood_ends_with_its_code() {
    let home = Home::new();
    for arguments in [&["wach"][..], &["rollback", "yesterday"], &["--frobnicate"]] {
        assert_eq!(home.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_filter_that_is_none_is_a_fault() {
    let home = Home::new();
    let output = home
        .command(&["deploys"])
        .env("RUST_LOG", "onsave=loud")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).starts_with("error: RUST_LOG is not a log filter\ncaused by: "));
}

#[test]
fn no_secret_is_ever_printed() {
    let home = Home::new();
    let secret = "correct-horse-battery-staple";
    let file = home.site().join("secret");
    fs::write(&file, secret).unwrap();
    let with = |path: &Path, mode: u32| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    for mode in [0o600, 0o640, 0o644] {
        with(&file, mode);
        for arguments in [
            &["check"][..],
            &["check", "--json"],
            &["check", "-vv", "--target", "x"],
        ] {
            let mut command = home.command(arguments);
            command
                .env("RUST_LOG", "trace")
                .env("ONSAVE_TARGET_URL", "http://localhost");
            let by_file = command
                .env("ONSAVE_TARGET_SECRET_FILE", "secret")
                .output()
                .unwrap();
            let by_variable = command.env("ONSAVE_SYNC_SECRET", secret).output().unwrap();
            for output in [by_file, by_variable] {
                let told = format!("{}{}", stdout(&output), stderr(&output));
                assert!(!told.contains(secret), "{arguments:?} {mode:o}: {told}");
                assert_eq!(
                    output.status.success(),
                    stdout(&output).contains("****"),
                    "{told}"
                );
            }
        }
    }
}

#[test]
fn json_tells_what_the_table_tells() {
    let home = Home::new();
    let output = home
        .command(&["check", "--json"])
        .env("ONSAVE_PUBLISH_STRICT", "true")
        .output()
        .unwrap();
    let told: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(told["file"], serde_json::Value::Null);
    let settings = told["settings"].as_array().unwrap();
    let find = |key: &str| {
        settings
            .iter()
            .find(|setting| setting["key"] == key)
            .unwrap()
    };
    assert_eq!(find("publish.strict")["value"], true);
    assert_eq!(
        find("publish.strict")["source"],
        "variable ONSAVE_PUBLISH_STRICT"
    );
    assert_eq!(find("watch.quiet_ms")["value"], "auto");
    assert_eq!(find("target.url")["value"], serde_json::Value::Null);
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let home = Home::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = home
        .command(&["completions", "bash"])
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
}

#[test]
fn hints_lead_on() {
    let home = Home::new();
    let page = home.site().join("deploy/index.html");
    fs::create_dir(home.site().join("deploy")).unwrap();
    fs::write(&page, "<h1>first</h1>").unwrap();

    let of_a_file = home.run(&["publish", "deploy/index.html"]);
    assert_eq!(of_a_file.status.code(), Some(8), "{}", stderr(&of_a_file));
    let hint = stderr(&of_a_file).lines().last().unwrap();
    assert!(hint.starts_with("hint: ") && hint.ends_with("/my site/deploy"));

    assert_eq!(home.run(&["publish"]).status.code(), Some(0));
    let back = home.run(&["rollback"]);
    assert_eq!(back.status.code(), Some(5), "{}", stderr(&back));
    assert!(stderr(&back).starts_with("error: there is no earlier deploy"));
    assert!(stderr(&back).contains("\nhint: `onsave deploys`"));
    assert!(!stderr(&back).contains("127.0.0.1"), "{}", stderr(&back));
    let unknown = home.run(&["deploys", "1777000001000-a1b2c3d4"]);
    assert_eq!(unknown.status.code(), Some(5), "{}", stderr(&unknown));
    assert!(stderr(&unknown).starts_with("error: the local target "));
    assert!(!stderr(&unknown).contains("127.0.0.1"));

    fs::write(home.site().join("onsave.toml"), "[watch]\nquite_ms = 25\n").unwrap();
    let check = home.run(&["check"]);
    assert!(!stderr(&check).contains("onsave check"));
    assert!(stderr(&check).contains("\nhint: "), "{}", stderr(&check));
}

#[test]
fn json_is_one_object_also_of_a_failure() {
    let home = Home::new();
    let failure = |arguments: &[&str], code: u8| {
        let output = home.run(arguments);
        let object: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
        assert_eq!(output.status.code(), Some(code.into()), "{arguments:?}");
        assert_eq!(object["exitCode"], code, "{arguments:?}");
        let told = stderr(&output);
        assert!(told.contains("error: "), "people are told as well: {told}");
        object
    };
    for arguments in [
        &["publish", "--json"][..],
        &["publish", "--dry-run", "--json"],
    ] {
        let no_folder = failure(arguments, 8);
        assert_eq!(no_folder["status"], "failed");
        assert!(no_folder["hint"].is_string());
    }
    assert_eq!(failure(&["rollback", "--json"], 5)["status"], "failed");
    let unknown = ["deploys", "1777000001000-a1b2c3d4", "--json"];
    assert_eq!(failure(&unknown, 5)["status"], "failed");

    let site = home.site().join("deploy");
    fs::create_dir(&site).unwrap();
    fs::write(site.join("a"), "a").unwrap();
    assert!(home.run(&["publish"]).status.success());
    fs::remove_file(site.join("a")).unwrap();
    fs::write(site.join("b\nc"), "b").unwrap();
    assert_eq!(failure(&["publish", "--json"], 6)["status"], "held");
    let strict = ["publish", "--strict", "--json"];
    assert_eq!(failure(&strict, 7)["status"], "strict");

    fs::write(home.site().join("onsave.toml"), "[watch]\nquite_ms = 25\n").unwrap();
    let faults = failure(&["deploys", "--json"], 3);
    assert!(faults["error"].as_str().unwrap().contains("quite_ms"));
}

#[test]
fn init_writes_what_its_options_name() {
    let home = Home::new();
    let output = home.run(&["init", "--dir", "public", "--config", "x.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let checked = home.run(&["check", "--config", "x.toml"]);
    let told = stdout(&checked);
    let dir = told.lines().find(|line| line.starts_with("dir ")).unwrap();
    assert!(dir.contains("/my site/public  "), "{dir}");
    let again = home.run(&["init", "--config", "x.toml"]);
    assert_eq!(again.status.code(), Some(1), "{}", stderr(&again));

    let unused = home.run(&["init", "--target", "https://example.org"]);
    assert_eq!(unused.status.code(), Some(2), "{}", stderr(&unused));
    assert!(stderr(&unused).contains("`onsave init` has no use for --target"));
    assert!(!home.site().join("onsave.toml").exists());
}
