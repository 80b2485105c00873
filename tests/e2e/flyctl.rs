//! The app on Fly.io made and kept through flyctl: a stand-in records every call, and where it deploys
//! the real server runs.

#![expect(
    clippy::unwrap_used,
    reason = "what fails in a story's own steps fails the story"
)]

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, ExitStatus},
};

use serde_json::{Value, json};

use crate::harness::{
    Server, World, eventually, http,
    registry::{DockerRegistry, TOKEN},
    relay::Relay,
    server, wait_for,
    world::assert_serves,
};

const APP: &str = "my-site";

/// The public image of most stories: nothing has to be pushed for it.
const IMAGE: &str = "ghcr.io/ann/onsave-server:1.0";

/// A project whose target is an app on Fly.io, and the platform as flyctl shows it.
struct Fly {
    // Declared in the order of dropping: the program first, its folders last.
    server: Option<Server>,
    relay: Relay,
    runs: u32,
    world: World,
}

/// What a run of `onsave` came to.
struct Ran {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn well(self) -> Self {
        assert!(
            self.status.success(),
            "{}\n{}{}",
            self.status,
            self.stdout,
            self.stderr
        );
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }
}

impl Fly {
    fn new() -> Self {
        let world = World::with_small_site();
        for folder in ["bin", "fly"] {
            fs::create_dir(world.path(folder)).unwrap();
        }
        let stand_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/flyctl/stand_in.py");
        symlink(stand_in, world.path("bin/flyctl")).unwrap();
        let fly = Self {
            server: None,
            // Nobody listens there: until the first deploy there is no server.
            relay: Relay::start(SocketAddr::from(([127, 0, 0, 1], 0))),
            runs: 0,
            world,
        };
        fly.write("login", TOKEN);
        let state = json!({"organisations": {"personal": "Ann"}, "taken": [], "apps": {}});
        fly.write("state.json", &state.to_string());
        fly.configure("");
        fly
    }

    /// Writes the configuration; `more` belongs to `[fly]`.
    fn configure(&self, more: &str) {
        let image = if more.contains("server_binary") {
            String::new()
        } else {
            format!("image = \"{IMAGE}\"\n")
        };
        self.world.configure(&format!(
            "app = \"{APP}\"\n[target]\nkind = \"fly\"\n[fly]\ndriver = \"flyctl\"\n\
             app_url = \"http://{}\"\n{image}{more}",
            self.relay.address()
        ));
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.world.path("fly").join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.world.path("fly").join(name)).ok()
    }

    fn state(&self) -> Value {
        serde_json::from_str(&self.read("state.json").unwrap()).unwrap()
    }

    fn app(&self) -> Value {
        self.state()["apps"][APP].clone()
    }

    /// Returns the calls since the last time this was asked.
    fn take_calls(&self) -> Vec<Value> {
        let calls = self.read("calls.jsonl").unwrap_or_default();
        self.write("calls.jsonl", "");
        let lines = calls.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.bare_command(arguments);
        command.env(
            "PATH",
            format!("{}:/usr/bin:/bin", self.world.path("bin").display()),
        );
        command
    }

    fn run(&mut self, arguments: &[&str]) -> Ran {
        self.run_command(&mut self.command(arguments))
    }

    /// Runs `onsave` to its end, and is the host of the machines meanwhile.
    fn run_command(&mut self, command: &mut Command) -> Ran {
        self.runs += 1;
        let name = format!("onsave-{}", self.runs);
        let mut process = self.world.start(&name, command);
        let status = wait_for("onsave to end", || {
            self.boot();
            process.try_wait()
        });
        Ran {
            status,
            stdout: process.stdout(),
            stderr: process.stderr(),
        }
    }

    /// Starts the server that a deploy asks for, in the place of the one before it.
    fn boot(&mut self) {
        let Some(wish) = self.read("boot.json") else {
            return;
        };
        let wish: Value = serde_json::from_str(&wish).unwrap();
        let number = wish["number"].to_string();
        if self.read("booted").as_ref() == Some(&number) {
            return;
        }
        if let Some(server) = &mut self.server {
            server.stop();
        }
        let volume = self.world.path(wish["volume"].as_str().unwrap());
        fs::create_dir_all(&volume).unwrap();
        let mut command = server::command(&volume);
        command.env_clear().env("RUST_BACKTRACE", "1");
        for (name, value) in wish["environment"].as_object().unwrap() {
            command.env(name, value.as_str().unwrap());
        }
        // A machine has these places for itself; here they are shared.
        command
            .env("PORT", "0")
            .env("SITE_DATA_ROOT", &volume)
            .env("METRICS_ADDRESS", "127.0.0.1:0");
        let name = format!("machine-{number}");
        let server = Server::start_with(&name, &mut command, &self.world.path("logs"));
        self.relay.point_to(server.address());
        self.server = Some(server);
        self.write("booted", &number);
    }

    fn fail(&self, command: &str, failure: &Value) {
        self.write("failures.json", &json!({command: failure}).to_string());
    }

    fn fail_no_more(&self) {
        self.write("failures.json", "{}");
    }
}

/// Returns the arguments of calls, each as one line; the folder of the fly.toml has another name each
/// time.
fn lines(calls: &[Value]) -> Vec<String> {
    let line = |call: &Value| {
        let words = call["arguments"].as_array().unwrap().iter();
        let words: Vec<&str> = words
            .map(|word| match word.as_str().unwrap() {
                path if path.ends_with("/fly.toml") => "FLY_TOML",
                word => word,
            })
            .collect();
        words.join(" ")
    };
    calls.iter().map(line).collect()
}

/// Returns the calls that change something.
fn changes(calls: &[Value]) -> Vec<String> {
    let mut lines = lines(calls);
    let asks = [" list ", "certs setup "];
    lines
        .retain(|line| !asks.iter().any(|part| line.contains(part)) && !line.starts_with("status"));
    lines
}

fn deploy_line(image: &str) -> String {
    format!(
        "deploy --app {APP} --config FLY_TOML --image {image} --ha=false --strategy rolling \
         --wait-timeout 3m --smoke-checks=false --yes"
    )
}

#[test]
fn the_first_publish_makes_the_app_and_the_next_asks_nobody() {
    let mut fly = Fly::new();
    let ran = fly.run(&["publish"]).well();
    assert!(ran.stderr.contains("make the machine"), "{}", ran.stderr);
    assert_serves(fly.relay.address(), &fly.world.site.tree());
    let calls = fly.take_calls();
    assert_eq!(
        changes(&calls),
        [
            "apps create my-site --org personal --yes --json",
            "ips allocate-v6 --app my-site",
            "ips allocate-v4 --shared --app my-site",
            "secrets import --stage --app my-site",
            "volumes create site_data --region arn --size 1 --snapshot-retention 5 --vm-size \
             shared-cpu-1x --vm-memory 256 --app my-site --yes --json",
            &deploy_line(IMAGE),
        ]
    );
    check_deploy(&calls);

    // It is remembered: an ordinary publish asks the platform nothing.
    fly.world.site.save("index.html", "<h1>second</h1>");
    fly.run(&["publish"]).well();
    assert_serves(fly.relay.address(), &fly.world.site.tree());
    assert_eq!(lines(&fly.take_calls()), [""; 0]);

    // And a run that looks finds all as wanted, with nothing but questions.
    let ran = fly.run(&["provision", "--json"]).well();
    assert_eq!(ran.json()["status"], "inStep", "{}", ran.stdout);
    let calls = fly.take_calls();
    assert_eq!(changes(&calls), [""; 0]);
    assert_eq!(calls.len(), 6);
}

/// Checks what a deploy was given: a whole file in a private folder that is gone, and a calm program.
fn check_deploy(calls: &[Value]) {
    let deploy = calls.iter().find(|call| call["arguments"][0] == "deploy");
    let deploy = deploy.unwrap();
    assert_eq!(deploy["folder_mode"], "0o700");
    let file = &deploy["fly_toml"];
    assert_eq!(file["app"], APP);
    assert_eq!(file["build"]["image"], IMAGE);
    assert_eq!(file["mounts"][0]["source"], "site_data");
    assert_eq!(file["http_service"]["http_options"]["h2_backend"], true);
    assert_eq!(file["env"]["SITE_DATA_ROOT"], "/srv");
    assert!(file["env"].get("SYNC_SECRET").is_none());
    let arguments = deploy["arguments"].as_array().unwrap();
    let path = arguments
        .iter()
        .filter_map(Value::as_str)
        .find(|word| word.ends_with("fly.toml"));
    assert!(!Path::new(path.unwrap()).exists(), "{path:?} was left");
    for call in calls {
        let names = call["environment"].as_array().unwrap();
        for name in ["FLY_NO_UPDATE_CHECK", "NO_COLOR", "CI", "PATH", "HOME"] {
            assert!(names.contains(&name.into()), "{name}: {names:?}");
        }
        // With a login of its own there is no token to give.
        assert!(!names.contains(&"FLY_API_TOKEN".into()));
        assert_eq!(call["cwd"], "/");
    }
}

#[test]
fn a_plan_changes_nothing_and_a_file_is_written_when_asked() {
    let mut fly = Fly::new();
    let ran = fly.run(&["provision", "--plan"]).well();
    for step in ["make the app", "make the volume", "make the machine"] {
        assert!(ran.stdout.contains(step), "{}", ran.stdout);
    }
    assert_eq!(changes(&fly.take_calls()), [""; 0]);
    fly.run(&["provision", "--write-fly-toml"]).well();
    let file = fs::read_to_string(fly.world.project().join("fly.toml")).unwrap();
    assert!(
        file.contains(IMAGE) && file.contains("app = \"my-site\""),
        "{file}"
    );
}

#[test]
fn another_size_is_converged_and_the_site_stays() {
    let mut fly = Fly::new();
    fly.run(&["publish"]).well();
    fly.take_calls();
    fly.configure("memory_mb = 512\nvolume_gb = 2\nsnapshot_days = 14\n");
    let ran = fly.run(&["provision"]).well();
    assert!(ran.stderr.contains("512 MB"), "{}", ran.stderr);
    let calls = fly.take_calls();
    assert_eq!(
        changes(&calls),
        [
            "volumes extend vol_1 --size 2 --app my-site --yes",
            "volumes update vol_1 --snapshot-retention 14 --app my-site --json",
            &deploy_line(IMAGE),
        ]
    );
    let deploy = calls.iter().find(|call| call["arguments"][0] == "deploy");
    assert_eq!(deploy.unwrap()["fly_toml"]["vm"][0]["memory"], "512mb");
    assert_eq!(fly.app()["machines"].as_array().unwrap().len(), 1);
    assert_serves(fly.relay.address(), &fly.world.site.tree());
    let ran = fly.run(&["provision", "--json"]).well();
    assert_eq!(ran.json()["status"], "inStep", "{}", ran.stdout);
}

#[test]
fn a_secret_is_rotated_and_a_drifted_one_is_mended() {
    let mut fly = Fly::new();
    fly.run(&["publish"]).well();
    let first = fly.app()["secrets"]["SYNC_SECRET"].clone();
    fly.take_calls();
    fly.run(&["secret", "rotate"]).well();
    let secrets = fly.app()["secrets"].clone();
    assert_eq!(secrets["SYNC_SECRET_PREVIOUS"], first);
    assert_ne!(secrets["SYNC_SECRET"], first);
    assert_eq!(
        changes(&fly.take_calls()),
        ["secrets import --stage --app my-site", &deploy_line(IMAGE)]
    );
    fly.world.site.save("index.html", "<h1>second</h1>");
    fly.run(&["publish"]).well();
    assert_serves(fly.relay.address(), &fly.world.site.tree());
    assert_eq!(lines(&fly.take_calls()), [""; 0]);

    // Somebody else sets another one.
    let mut state = fly.state();
    state["apps"][APP]["secrets"] =
        json!({"SYNC_SECRET": "somebody-elses", "SYNC_SECRET_PREVIOUS": "older"});
    fly.write("state.json", &state.to_string());
    let mut boot: Value = serde_json::from_str(&fly.read("boot.json").unwrap()).unwrap();
    boot["number"] = 0.into();
    boot["environment"]["SYNC_SECRET"] = "somebody-elses".into();
    boot["environment"]["SYNC_SECRET_PREVIOUS"] = "older".into();
    fly.write("boot.json", &boot.to_string());
    fly.boot();
    fly.world.site.save("index.html", "<h1>third</h1>");
    fly.run(&["publish"]).well();
    assert_serves(fly.relay.address(), &fly.world.site.tree());
    assert_eq!(
        changes(&fly.take_calls()),
        [
            "secrets import --stage --app my-site",
            "secrets unset SYNC_SECRET_PREVIOUS --stage --app my-site",
            &deploy_line(IMAGE),
        ]
    );
}

#[test]
fn domains_are_added_listed_checked_and_removed() {
    let mut fly = Fly::new();
    fly.run(&["provision"]).well();
    fly.take_calls();
    let added = fly.run(&["domain", "add", "www.example.org"]).well();
    for part in ["66.241.124.1", "2a09:8280:1::1", "www.example.org"] {
        assert!(added.stdout.contains(part), "{}", added.stdout);
    }
    let listed = fly.run(&["domain", "list"]).well();
    assert!(
        listed.stdout.contains("www.example.org"),
        "{}",
        listed.stdout
    );
    fly.run(&["domain", "check", "www.example.org"]).well();
    let ran = fly.run(&["provision", "--json"]).well();
    assert_eq!(ran.json()["status"], "inStep", "{}", ran.stdout);
    fly.run(&["domain", "remove", "www.example.org"]).well();
    assert_eq!(fly.app()["certificates"], json!([]));
    assert_eq!(
        changes(&fly.take_calls()),
        [
            "certs add www.example.org --app my-site --json",
            "certs check www.example.org --app my-site --json",
            "certs remove www.example.org --app my-site --yes",
        ]
    );
    let unknown = fly.run(&["domain", "check", "other.example.org"]);
    assert!(unknown.stderr.contains("no domain"), "{}", unknown.stderr);
}

#[test]
fn a_name_of_somebody_elses_gets_a_suffix() {
    let mut fly = Fly::new();
    let mut state = fly.state();
    state["taken"] = json!([APP]);
    fly.write("state.json", &state.to_string());
    fly.run(&["publish"]).well();
    let apps = fly.state()["apps"].as_object().unwrap().clone();
    let name = apps.keys().next().unwrap();
    assert!(name.starts_with("my-site-"), "{name}");
    let written = fs::read_to_string(fly.world.project().join("onsave.toml")).unwrap();
    assert!(written.contains(name.as_str()), "{written}");
    assert_serves(fly.relay.address(), &fly.world.site.tree());
}

#[test]
fn an_app_is_destroyed_only_by_its_name() {
    let mut fly = Fly::new();
    fly.run(&["provision"]).well();
    fly.take_calls();
    let refused = fly.run(&["destroy", "--confirm", "other"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(changes(&fly.take_calls()), [""; 0]);
    fly.run(&["destroy", "--confirm", APP]).well();
    assert_eq!(changes(&fly.take_calls()), ["apps destroy my-site --yes"]);
    assert_eq!(fly.state()["apps"], json!({}));
    let again = fly.run(&["destroy", "--confirm", APP]).well();
    assert!(again.stdout.contains("there is no app"), "{}", again.stdout);
}

/// Which command fails, with which words of flyctl's, and what a person is told to do.
const FAILURES: [(&str, &str, &str); 18] = [
    (
        "status",
        "no access token available. Please login with 'flyctl auth login'",
        "fly auth login",
    ),
    (
        "status",
        "failed to get app: Authenticate: token validation error",
        "fly tokens create org",
    ),
    (
        "apps create",
        "failed to create app: unauthorized",
        "FLY_API_TOKEN",
    ),
    (
        "apps create",
        "Not authorized to access this organization",
        "token of its organisation",
    ),
    (
        "apps create",
        "Your account has been marked as high risk. Please go to https://fly.io/high-risk-unlock to verify",
        "https://fly.io/high-risk-unlock",
    ),
    (
        "apps create",
        "We need your payment information to continue! Add a credit card: https://fly.io/dashboard/ann/billing",
        "https://fly.io/dashboard/ann/billing",
    ),
    (
        "apps create",
        "Your trial has ended, please add a credit card by visiting https://fly.io/trial",
        "https://fly.io/trial",
    ),
    (
        "ips allocate-v6",
        "too many requests: rate limit exceeded",
        "run it again",
    ),
    (
        "secrets import",
        "Post \"https://api.fly.io/graphql\": dial tcp: lookup api.fly.io: no such host",
        "check the network",
    ),
    (
        "volumes create",
        "failed to create volume: {\"error\":\"no capacity\",\"status\":\"insufficient_capacity\"}",
        "another region",
    ),
    (
        "volumes create",
        "organization \"Ann\" is using 512 MB of memory in arn which is over the allowed quota",
        "raise the organisation's quota",
    ),
    (
        "deploy",
        "failed to launch VM: insufficient resources to create new machine with existing volume 'vol_1' (Request ID: 01J-arn)",
        "the volume's host is full",
    ),
    (
        "deploy",
        "aborted: could not reserve resource for machine: insufficient memory available",
        "another region",
    ),
    (
        "deploy",
        "Mounts source volume \"vol_1\" is in the wrong region (\"dfw\" != \"arn\")",
        "set the region to that of the volume",
    ),
    (
        "deploy",
        "failed to launch VM: volume does not exist",
        "a volume that is gone is made anew",
    ),
    (
        "deploy",
        "To create more than 1 machine per app please add a payment method. https://fly.io/dashboard/ann/billing",
        "https://fly.io/dashboard/ann/billing",
    ),
    (
        "deploy",
        "failed to acquire lease: lease currently held by ann@example.org, expires soon",
        "ann@example.org",
    ),
    (
        "deploy",
        "Not enough space to unpack image, possibly exceeds maximum of 8GB uncompressed",
        "smaller image",
    ),
];

#[test]
fn each_failure_is_told_with_what_to_do_and_the_next_run_goes_on() {
    let mut fly = Fly::new();
    for (command, says, hint) in FAILURES {
        fly.fail(command, &json!({"says": says}));
        let ran = fly.run(&["provision"]);
        assert!(!ran.status.success(), "{says}");
        assert!(ran.stderr.contains(says), "{says}:\n{}", ran.stderr);
        let told = ran.stderr.split("hint: ").nth(1).unwrap_or_default();
        assert!(told.contains(hint), "{says}:\n{}", ran.stderr);
    }
    // What nobody knows is shown whole.
    fly.fail(
        "deploy",
        &json!({"says": "the moon is full\nsecond line (Request ID: 01J-arn)"}),
    );
    let ran = fly.run(&["provision", "--json"]);
    let told = ran.json()["error"].as_str().unwrap().to_owned();
    assert!(
        told.contains("the moon is full") && told.contains("second line (Request ID: 01J-arn)"),
        "{told}"
    );
    // Whatever failed, what was done stayed done.
    fly.fail_no_more();
    fly.take_calls();
    fly.run(&["publish"]).well();
    let changes = changes(&fly.take_calls());
    assert!(
        !changes
            .iter()
            .any(|line| line.starts_with("apps create") || line.starts_with("volumes")),
        "{changes:?}"
    );
    assert_serves(fly.relay.address(), &fly.world.site.tree());
}

#[test]
fn an_image_that_is_not_seen_yet_is_waited_for() {
    let mut fly = Fly::new();
    let says = format!("Could not find image \"{IMAGE}\"");
    fly.fail("deploy", &json!({"says": says, "left": 1}));
    fly.run(&["provision"]).well();
    let deploys = changes(&fly.take_calls());
    let deploys = deploys.iter().filter(|line| line.starts_with("deploy"));
    assert_eq!(deploys.count(), 2);
}

#[test]
fn without_flyctl_it_is_said_where_it_comes_from() {
    let mut fly = Fly::new();
    fs::remove_file(fly.world.path("bin/flyctl")).unwrap();
    let mut command = fly.command(&["publish"]);
    command.env("PATH", fly.world.path("bin"));
    let ran = fly.run_command(&mut command);
    assert_eq!(ran.status.code(), Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("there is no flyctl"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("https://fly.io/docs/flyctl/install/"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_site_that_is_there_is_published_to_without_flyctl() {
    let mut fly = Fly::new();
    fly.run(&["publish"]).well();
    fs::remove_file(fly.world.path("bin/flyctl")).unwrap();
    fly.configure("memory_mb = 512\n");
    fly.world.site.save("index.html", "<h1>second</h1>");
    let ran = fly.run(&["publish"]).well();
    assert!(ran.stderr.contains("there is no flyctl"), "{}", ran.stderr);
    assert_serves(fly.relay.address(), &fly.world.site.tree());
}

#[test]
fn a_daemon_makes_the_app_at_its_start() {
    let mut fly = Fly::new();
    let mut command = fly.command(&["watch"]);
    let mut daemon = fly.world.start("watch", &mut command);
    let is_live = |fly: &Fly, text: &str| {
        let answer = http::get(fly.relay.address(), "/");
        answer.is_some_and(|answer| answer.text() == text)
    };
    eventually("the site to be live", || {
        daemon.assert_running();
        fly.boot();
        is_live(&fly, "<h1>first</h1>")
    });
    fly.world.site.save("index.html", "<h1>second</h1>");
    eventually("the save to be live", || is_live(&fly, "<h1>second</h1>"));
    assert_eq!(daemon.terminate().code(), Some(0));
    let deploys = changes(&fly.take_calls());
    let deploys = deploys.iter().filter(|line| line.starts_with("deploy"));
    assert_eq!(deploys.count(), 1);
}

#[test]
fn the_image_is_pushed_with_the_token_that_flyctl_has() {
    let registry = DockerRegistry::start();
    let mut fly = Fly::new();
    let program = server::static_program();
    fly.configure(&format!("server_binary = \"{}\"\n", program.display()));
    let mut command = fly.command(&["publish"]);
    let host = registry.address().to_string();
    command.env("FLY_REGISTRY_HOST", &host);
    let ran = fly.run_command(&mut command).well();
    assert!(ran.stderr.contains("MB sent"), "{}", ran.stderr);
    assert_serves(fly.relay.address(), &fly.world.site.tree());
    let calls = fly.take_calls();
    assert!(lines(&calls).contains(&"auth token --json".to_owned()));
    let image = fly.app()["machines"][0]["config"]["image"].clone();
    let image = image
        .as_str()
        .unwrap()
        .split('@')
        .next()
        .unwrap()
        .to_owned();
    assert!(image.starts_with(&format!("{host}/{APP}:")), "{image}");
    registry.skopeo(&[
        "inspect",
        "--tls-verify=false",
        &format!("docker://{image}"),
    ]);

    // The same server again: nothing differs, and nothing is sent.
    let mut command = fly.command(&["provision", "--rebuild", "--json"]);
    command.env("FLY_REGISTRY_HOST", &host);
    let ran = fly.run_command(&mut command).well();
    assert_eq!(ran.json()["status"], "inStep", "{}", ran.stdout);
}

#[test]
fn no_secret_is_an_argument_or_printed() {
    let mut fly = Fly::new();
    let token = "fm2_hunter2-of-the-environment";
    let mut everything = String::new();
    for arguments in [
        ["publish"].as_slice(),
        &["provision", "--json"],
        &["secret", "rotate"],
        &["provision", "--plan"],
    ] {
        let mut command = fly.command(arguments);
        command
            .env("RUST_LOG", "trace")
            .env("FLY_API_TOKEN", format!("FlyV1 {token}"));
        let ran = fly.run_command(&mut command).well();
        everything += &(ran.stdout + &ran.stderr);
    }
    // A failure that repeats what it was given.
    let secret = fly.app()["secrets"]["SYNC_SECRET"].clone();
    let secret = secret.as_str().unwrap();
    fly.fail(
        "status",
        &json!({"says": format!("cannot use {token} here")}),
    );
    let mut command = fly.command(&["provision"]);
    command.env("FLY_API_TOKEN", token);
    let ran = fly.run_command(&mut command);
    assert!(
        ran.stderr.contains("cannot use **** here"),
        "{}",
        ran.stderr
    );
    everything += &(ran.stdout + &ran.stderr);

    let calls = fly.take_calls();
    assert!(calls.len() > 20 && everything.contains("running flyctl"));
    let previous = fly.app()["secrets"]["SYNC_SECRET_PREVIOUS"].clone();
    let previous = previous.as_str().unwrap();
    for hidden in [secret, previous, token, TOKEN] {
        assert!(!everything.contains(hidden), "{hidden} was printed");
        let lines = lines(&calls).join("\n");
        assert!(!lines.contains(hidden), "{hidden} was an argument");
    }
    let inputs = calls.iter().filter(|call| call["stdin"] != "");
    for call in inputs {
        assert_eq!(call["arguments"][1], "import");
    }
    for call in &calls {
        let names = call["environment"].as_array().unwrap();
        assert!(names.contains(&"FLY_API_TOKEN".into()), "{names:?}");
    }
    assert!(
        !http::get(fly.relay.address(), "/")
            .unwrap()
            .text()
            .contains(secret)
    );
}
