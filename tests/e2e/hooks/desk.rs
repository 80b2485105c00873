//! A project that is told of changes: its build, its hooks, and senders that sign as the real ones do.

use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::harness::{
    World,
    http::{Answer, Connection, Request},
    installed::{INSTALL, installed},
    process::Process,
    wait_for,
};

/// Where the programs are that the build command names.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Makes a page of each document, and notes what it was told and knows.
const SCRIPT: &str = "if [ -e ../gate ]; then until [ -e ../go ]; do sleep 0.01; done; fi
if [ -n \"$ONSAVE_EVENT_FILE\" ]; then cmp -s - \"$ONSAVE_EVENT_FILE\" || exit 9
  printf '%s\\n' \"$(cat \"$ONSAVE_EVENT_FILE\")\" >> ../told; fi
env > ../environment
rm -rf deploy; mkdir -p deploy; echo start > deploy/index.html
for file in content/post/*.json; do
  if [ -e \"$file\" ]; then cp \"$file\" \"deploy/$(basename \"$file\" .json).html\"; fi
done
echo run >> ../runs
";

/// A project, and where its hooks answer once it is watched.
pub(super) struct Desk {
    pub(super) world: World,
}

/// A daemon that answers hooks.
pub(super) struct Watched {
    pub(super) daemon: Process,
    pub(super) hooks: SocketAddr,
}

impl Desk {
    /// Makes a project with a build and these sections below `[hooks]`.
    pub(super) fn new(hooks: &str) -> Self {
        let world = World::without_site();
        world.configure(&format!(
            "[build]\ncommand = \"sh .build.sh\"\n[hooks]\nlisten = \"127.0.0.1:0\"\n{hooks}"
        ));
        fs::write(world.project().join(".build.sh"), SCRIPT).expect("the project can be written");
        Self { world }
    }

    /// Writes a secret that only its owner may read, beside the project.
    pub(super) fn secret(&self, name: &str, text: &str) {
        let path = self.world.path(name);
        fs::write(&path, text).expect("the world can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
    }

    /// Starts the daemon, and waits until its first build is live.
    pub(super) fn watch(&self, name: &str) -> Watched {
        let watched = self.start(name);
        self.world.wait_for_page("/", "start\n");
        watched
    }

    /// Starts a daemon whose hooks have no address of their own, and waits until its first build is live.
    pub(super) fn watch_beside_api(&self, name: &str) -> Watched {
        let daemon = self.world.start(name, &mut self.command());
        self.world.wait_for_page("/", "start\n");
        let said = self.world.run_well(&["status", "--json"]);
        let status: Value = serde_json::from_str(&said).expect("one object");
        let url = status["address"].as_str().expect("an address");
        let hooks = url
            .trim_start_matches("http://")
            .parse()
            .expect("an address");
        Watched { daemon, hooks }
    }

    fn command(&self) -> Command {
        let mut command = self.world.command(&["watch"]);
        command
            .env("PATH", PATH)
            .env("HOOK_SECRET", "hunter2-of-env");
        command
    }

    /// Starts the daemon, and waits until its hooks answer.
    pub(super) fn start(&self, name: &str) -> Watched {
        let mut daemon = self.world.start(name, &mut self.command());
        let url = daemon.wait_for_line("answering hooks at http://");
        let hooks = url.trim_end_matches("/hooks/").parse().expect("an address");
        Watched { daemon, hooks }
    }

    /// Returns how many runs of the build came to their end.
    pub(super) fn runs(&self) -> usize {
        fs::read_to_string(self.world.path("runs")).map_or(0, |text| text.lines().count())
    }

    /// Returns the events of each run that was told of some.
    pub(super) fn told(&self) -> Vec<Vec<Value>> {
        let text = fs::read_to_string(self.world.path("told")).unwrap_or_default();
        let runs = text.lines();
        runs.map(|line| serde_json::from_str(line).expect("an array"))
            .collect()
    }

    /// Lets runs wait for [`let_go`](Self::let_go).
    pub(super) fn hold_builds(&self) {
        fs::write(self.world.path("gate"), "").expect("the world can be written");
    }

    pub(super) fn let_go(&self) {
        fs::write(self.world.path("go"), "").expect("the world can be written");
    }

    pub(super) fn source(&self, path: &str) -> PathBuf {
        self.world.project().join(path)
    }
}

impl Watched {
    /// Sends a request, and returns its answer.
    pub(super) fn ask(
        &self,
        (method, target): (&str, &str),
        headers: &[(String, String)],
        body: &str,
    ) -> Answer {
        let mut connection = Connection::open(self.hooks).expect("it listens");
        let headers = headers.iter();
        let request = Request {
            method,
            target,
            headers: headers
                .map(|(name, value)| (name.as_str(), value.clone()))
                .collect(),
            body: body.as_bytes(),
        };
        connection.send(&request).expect("it answers")
    }

    /// Sends what has to be accepted, and returns the id of its outcome.
    pub(super) fn tell(&self, hook: &str, headers: &[(String, String)], body: &str) -> String {
        let answer = self.ask(("POST", &format!("/hooks/{hook}")), headers, body);
        assert_eq!(answer.status, 202, "{}", answer.text());
        let said: Value = serde_json::from_str(&answer.text()).expect("JSON");
        let id = said["id"].as_str().expect("an id").to_owned();
        assert_eq!(said["outcome"], format!("/hooks/outcomes/{id}"));
        id
    }

    /// Returns what has become of an event so far.
    pub(super) fn outcome(&self, id: &str) -> Value {
        let answer = self.ask(("GET", &format!("/hooks/outcomes/{id}")), &[], "");
        assert_eq!(answer.status, 200);
        serde_json::from_str(&answer.text()).expect("JSON")
    }

    /// Waits until an event is in one of these states.
    pub(super) fn wait_for_state(&self, id: &str, states: &[&str]) -> Value {
        wait_for(&format!("the event to be {states:?}"), || {
            let outcome = self.outcome(id);
            let state = outcome["state"].as_str().expect("a state");
            states.contains(&state).then_some(outcome)
        })
    }
}

/// What a sender signs.
pub(super) struct Order<'a> {
    pub(super) sender: &'a str,
    pub(super) secret: &'a str,
    pub(super) body: &'a str,
    pub(super) id: &'a str,
}

/// Returns the headers that a sender's own package makes, and accepts.
pub(super) fn signed(order: &Order<'_>) -> Vec<(String, String)> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/hooks/sign.mjs");
    let mut child = Command::new("node")
        .arg(program)
        .arg(installed("node-hooks"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run node: {error}; {INSTALL}"));
    let text = json!({
        "sender": order.sender,
        "secret": order.secret,
        "body": order.body,
        "id": order.id,
        "at": now_ms(),
    });
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin
        .write_all(text.to_string().as_bytes())
        .expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it was started");
    assert!(output.status.success(), "{}; {INSTALL}", output.status);
    let headers: serde_json::Map<String, Value> =
        serde_json::from_slice(&output.stdout).expect("headers");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    headers
        .iter()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

/// Returns a header.
pub(super) fn header(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the senders' packages compare with the clock of the machine"
)]
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = since.expect("it is after 1970").as_millis();
    u64::try_from(ms).expect("it fits")
}
