//! The daemon's API over its address: what it tells, what it does, and whom it refuses.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt as _,
};

use serde_json::Value;
use tokio::time::Instant;

use crate::harness::{
    World, deadline, eventually,
    http::{Answer, Connection, Request},
    process::Process,
    receiver::Receiver,
    wait_for,
};

/// A daemon whose site is live, and how to speak to it.
struct Desk {
    // Dropped first: the daemon ends before its folder.
    daemon: Process,
    address: SocketAddr,
    token: String,
    world: World,
}

impl Desk {
    fn new() -> Self {
        Self::configured("")
    }

    /// With these lines in the configuration.
    fn configured(text: &str) -> Self {
        let world = World::with_small_site();
        world.configure(text);
        let mut daemon = world.watch_until_live();
        let address = address_of(&world, &mut daemon);
        let token = fs::read_to_string(state_file(&world, "control-token")).expect("it was made");
        Self {
            daemon,
            address,
            token: token.trim().to_owned(),
            world,
        }
    }

    fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut lines = vec![("host", self.address.to_string())];
        if !body.is_empty() {
            lines.push(("content-type", "application/json".to_owned()));
        }
        for (name, value) in headers {
            lines.retain(|(known, _)| known != name);
            lines.push((name, (*value).to_owned()));
        }
        let request = Request {
            method,
            target,
            headers: lines,
            body: body.as_bytes(),
        };
        let mut connection = Connection::open(self.address).expect("the daemon listens");
        connection.send(&request).expect("it answers")
    }

    fn get(&self, target: &str) -> Value {
        let answer = self.send("GET", target, &[], "");
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        json(&answer)
    }

    /// Asks for something with the token.
    fn post(&self, target: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        self.send("POST", target, &[("authorization", &bearer)], body)
    }

    fn posted(&self, target: &str, body: &str) -> Value {
        let answer = self.post(target, body);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        json(&answer)
    }
}

fn json(answer: &Answer) -> Value {
    assert_eq!(answer.header("content-type"), Some("application/json"));
    serde_json::from_slice(&answer.body).expect("it is JSON")
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(json(answer)["code"], code);
}

fn state_file(world: &World, name: &str) -> std::path::PathBuf {
    let states = fs::read_dir(world.path("home/state/onsave")).expect("there is state");
    let state = states
        .last()
        .expect("of one site")
        .expect("it can be listed");
    state.path().join(name)
}

fn address_of(world: &World, daemon: &mut Process) -> SocketAddr {
    wait_for("the address of the API", || {
        daemon.assert_running();
        let output = world.run(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        let url = status["address"].as_str()?;
        url.strip_prefix("http://")?.parse().ok()
    })
}

/// Reads server-sent events as they come.
struct Events(BufReader<TcpStream>);

impl Events {
    fn open(desk: &Desk, target: &str) -> Self {
        let mut stream = TcpStream::connect(desk.address).expect("the daemon listens");
        stream
            .set_read_timeout(Some(deadline::LIMIT))
            .expect("it is a limit");
        write!(
            stream,
            "GET {target} HTTP/1.1\r\nhost: {}\r\n\r\n",
            desk.address
        )
        .expect("it takes it");
        Self(BufReader::new(stream))
    }

    /// Returns the data of the next event of that name which `wanted` takes.
    fn next(&mut self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut is_named = false;
        let give_up = Instant::now() + deadline::LIMIT;
        loop {
            // Heartbeats go on for ever.
            assert!(Instant::now() < give_up, "waited in vain for {name}");
            let mut line = String::new();
            assert_ne!(
                self.0.read_line(&mut line).expect("events go on"),
                0,
                "it ended"
            );
            if let Some(found) = line.strip_prefix("event: ") {
                is_named = found.trim_end() == name;
            }
            let data = line.strip_prefix("data: ").filter(|_| is_named);
            if let Some(data) = data {
                let data = serde_json::from_str(data).expect("it is JSON");
                if wanted(&data) {
                    return data;
                }
            }
        }
    }
}

#[test]
fn a_page_learns_how_the_site_stands() {
    let mut desk = Desk::new();
    eventually("the state", || desk.get("/v1/status")["state"] == "live");
    let status = desk.get("/v1/status");
    let publish = &status["publishes"][0];
    assert_eq!(status["live"]["deployId"], publish["deployId"]);
    assert_eq!(
        publish["paths"][0],
        serde_json::json!({"path": "about.html", "change": "added"})
    );
    let part = |name: &str| publish[name].as_f64().expect("a number");
    let parts = part("settleMs") + part("scanMs") + part("sendMs");
    assert!((parts - part("tookMs")).abs() < 1.5, "{publish}");

    let deploys = desk.get("/v1/deploys");
    let id = deploys["deploys"][0]["deployId"].as_str().expect("an id");
    assert_eq!(deploys["deploys"][0]["current"], true);
    let deploy = desk.get(&format!("/v1/deploys/{id}"));
    assert_eq!(deploy["paths"].as_array().map(Vec::len), Some(3));
    let unknown = desk.send("GET", "/v1/deploys/1-00000000", &[], "");
    refused(&unknown, 404, "no_such_deploy");

    let server = desk.get("/v1/server");
    assert_eq!(server["kind"], "url");
    assert_eq!(server["health"]["outdated"], false);
    assert_eq!(server["health"]["keptDeploys"], 1);
    assert_eq!(server["canRebuild"], false);
    refused(&desk.post("/v1/rebuild", ""), 409, "not_fly");

    let page = desk.send("GET", "/", &[("sec-fetch-site", "cross-site")], "");
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").expect("it has one");
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert_eq!(page.header("access-control-allow-origin"), None);
    assert_eq!(desk.get("/openapi.json")["openapi"], "3.1.0");
    assert_eq!(desk.daemon.interrupt().code(), Some(0));
}

#[test]
fn what_is_pending_is_seen_before_it_is_published_and_can_be_taken_back() {
    let desk = Desk::new();
    let nothing = desk.get("/v1/pending");
    assert_eq!(nothing["added"], 0);
    assert_eq!(nothing["paths"], serde_json::json!([]));
    assert_eq!(desk.posted("/v1/pause", "")["paused"], true);
    let before = desk.world.current_deploy();
    desk.world.site.save("index.html", "<h1>second</h1>");
    desk.world.site.save("new.html", "new");
    desk.world.site.remove("about.html");
    let pending = desk.get("/v1/pending");
    assert_eq!(
        pending["paths"],
        serde_json::json!([
            {"path": "about.html", "change": "removed"},
            {"path": "index.html", "change": "changed"},
            {"path": "new.html", "change": "added"},
        ])
    );
    assert_eq!(pending["bytes"], "<h1>second</h1>new".len());
    assert_eq!(pending["baseDeployId"].as_str(), before.as_deref());
    assert_eq!(
        desk.world.current_deploy(),
        before,
        "looking publishes nothing"
    );

    let published = desk.posted("/v1/publish", "{}");
    assert_eq!(published["status"], "published");
    assert_eq!(desk.get("/v1/pending")["paths"], serde_json::json!([]));

    let back = desk.posted("/v1/rollback", "");
    assert_eq!(back["deployId"].as_str(), before.as_deref());
    assert_eq!(back["previousDeployId"], published["deployId"]);
    desk.world.wait_for_page("/", "<h1>first</h1>");
    eventually("the daemon to say so", || {
        let status = desk.get("/v1/status");
        status["live"]["deployId"].as_str() == before.as_deref()
    });
    assert_eq!(desk.posted("/v1/resume", "")["state"], "leftAlone");
    let unknown = desk.post("/v1/rollback", r#"{"deployId":"1-00000000"}"#);
    refused(&unknown, 404, "no_such_deploy");
    desk.world.site.save("index.html", "<h1>third</h1>");
    desk.world.wait_for_page("/", "<h1>third</h1>");
}

#[test]
fn a_page_elsewhere_gets_nothing() {
    let desk = Desk::configured("[control]\nallow_origins = [\"https://cms.example.org\"]\n");
    let bearer = format!("Bearer {}", desk.token);
    let get = |headers: &[(&str, &str)]| desk.send("GET", "/v1/status", headers, "");
    let post = |headers: &[(&str, &str)]| desk.send("POST", "/v1/pause", headers, "");

    let rebound = format!("evil.example:{}", desk.address.port());
    refused(&get(&[("host", &rebound)]), 403, "host_refused");
    let absolute = format!("http://{rebound}/v1/status");
    refused(&desk.send("GET", &absolute, &[], ""), 403, "host_refused");
    let foreign = get(&[("origin", "https://evil.example")]);
    refused(&foreign, 403, "origin_refused");
    assert_eq!(foreign.header("access-control-allow-origin"), None);
    refused(&post(&[]), 401, "token_missing");
    let missing = post(&[]);
    assert_eq!(missing.header("www-authenticate"), Some("Bearer"));
    refused(&post(&[("authorization", "Bearer 00")]), 401, "token_wrong");
    let crossing = [
        ("authorization", bearer.as_str()),
        ("sec-fetch-site", "cross-site"),
    ];
    refused(&post(&crossing), 403, "cross_site");
    let form = [
        ("authorization", bearer.as_str()),
        ("content-type", "text/plain"),
    ];
    refused(
        &desk.send("POST", "/v1/publish", &form, "{}"),
        415,
        "bad_type",
    );
    assert_eq!(desk.get("/v1/status")["paused"], false, "nothing was done");

    let cms = ("origin", "https://cms.example.org");
    let asked = ("access-control-request-method", "POST");
    let preflight = desk.send("OPTIONS", "/v1/pause", &[cms, asked], "");
    assert_eq!(preflight.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", "https://cms.example.org"),
        ("access-control-allow-methods", "POST"),
        (
            "access-control-allow-headers",
            "authorization, content-type",
        ),
        ("vary", "origin"),
    ] {
        assert_eq!(preflight.header(name), Some(value), "{name}");
    }
    let evil = ("origin", "https://evil.example");
    let preflight = desk.send("OPTIONS", "/v1/pause", &[evil, asked], "");
    refused(&preflight, 403, "origin_refused");
    let allowed = post(&[
        cms,
        ("authorization", &bearer),
        ("sec-fetch-site", "cross-site"),
    ]);
    assert_eq!(allowed.status, 200, "{}", allowed.text());
    let origin = allowed.header("access-control-allow-origin");
    assert_eq!(origin, Some("https://cms.example.org"));
    assert_eq!(desk.get("/v1/status")["paused"], true);
}

#[test]
fn what_a_receiver_refused_is_seen_sent_again_and_given_up() {
    let receiver = Receiver::start();
    receiver.answer(422, "no such collection");
    let desk = Desk::configured(&format!(
        "[[after_publish]]\nkind = \"webhook\"\nname = \"cms\"\nurl = \"{}/hook\"\n",
        receiver.url()
    ));
    let deliveries = || {
        let told = desk.get("/v1/deliveries");
        told["deliveries"].as_array().expect("a list").clone()
    };
    let dead = || deliveries().into_iter().find(|it| it["state"] == "dead");
    let first = wait_for("the refusal", dead);
    assert_eq!(first["error"], "the answer is 422: no such collection");
    let id = first["id"].as_str().expect("it has an id").to_owned();
    receiver.answer(200, "");
    desk.posted(&format!("/v1/deliveries/{id}/resend"), "");
    eventually("it to be taken", || deliveries().is_empty());
    let gone = desk.post(&format!("/v1/deliveries/{id}/resend"), "");
    refused(&gone, 404, "no_such_delivery");
    let nothing = desk.post("/v1/deliveries/nothing/drop", "{}");
    refused(&nothing, 404, "no_such_delivery");
    receiver.answer(410, "");
    desk.world.site.save("index.html", "<h1>refused too</h1>");
    let second = wait_for("another refusal", dead);
    let id = second["id"].as_str().expect("it has an id");
    let left = desk.posted(&format!("/v1/deliveries/{id}/drop"), "");
    assert_eq!(left["deliveries"], Value::Array(Vec::new()));
}

#[test]
fn the_token_is_the_owners_and_is_never_told() {
    let desk = Desk::new();
    let path = state_file(&desk.world, "control-token");
    let mode = path.metadata().expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    desk.post("/v1/pause", "");
    desk.send("POST", "/v1/pause", &[("authorization", "Bearer 00")], "");
    desk.get("/v1/logs?lines=1000");
    assert!(!desk.world.all_logs().contains(&desk.token));
    let logs = desk.send("GET", "/v1/logs?lines=1000", &[], "");
    assert!(!logs.text().contains(&desk.token));
}

#[test]
fn events_tell_the_status_and_the_log_as_they_come() {
    let desk = Desk::new();
    let mut events = Events::open(&desk, "/events?logs=1000");
    events.next("status", |status| status["paused"] == false);
    desk.post("/v1/pause", "");
    let paused = events.next("status", |status| status["paused"] == true);
    assert_eq!(paused["state"], "paused");
    desk.post("/v1/resume", "");
    events.next("log", |line| line["message"] == "saves are published again");
    let mut logs = Events::open(&desk, "/v1/logs?lines=1000&follow");
    let line = logs.next("log", |line| line["message"] == "saves are published again");
    assert_eq!(line["level"], "info");
    let lines = desk.get("/v1/logs?lines=1");
    assert_eq!(lines["lines"][0]["number"], line["number"]);
    refused(
        &desk.send("GET", "/v1/logs?lines=x", &[], ""),
        400,
        "bad_query",
    );
}

#[test]
fn the_terminal_shows_the_log_and_opens_the_dashboard() {
    let desk = Desk::new();
    let shown = desk.world.run_well(&["logs"]);
    assert!(
        shown.contains("INFO the dashboard is at http://127.0.0.1:"),
        "{shown}"
    );
    let last = desk.world.run_well(&["logs", "--json", "--lines", "1"]);
    let last: Value = serde_json::from_str(&last).expect("one line, one object");
    assert!(last["number"].as_u64() > Some(1));
    let mut follower = desk
        .world
        .start("logs", &mut desk.world.command(&["logs", "-f"]));
    eventually("the log", || {
        follower.stdout().contains("the dashboard is at")
    });
    desk.world.run_well(&["pause"]);
    eventually("the pause", || {
        follower.stdout().contains("saves are not published")
    });
    follower.kill();

    let url = format!("http://{}/#token={}\n", desk.address, desk.token);
    assert_eq!(desk.world.run_well(&["open", "--print"]), url);
    // A browser that says what it was given.
    let programs = desk.world.path("programs");
    fs::create_dir(&programs).expect("it is new");
    let browser = programs.join("xdg-open");
    fs::write(&browser, "#!/bin/sh\nprintf %s \"$*\" > \"$HOME/opened\"\n").expect("it is new");
    fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let mut open = desk.world.command(&["open"]);
    let path = format!("{}:/usr/bin:/bin", programs.display());
    let output = open
        .env("PATH", path)
        .output()
        .expect("onsave can be started");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let opened = fs::read_to_string(desk.world.path("home/opened")).expect("it was opened");
    assert!(!opened.contains(&desk.token), "an argument is no secret");
    let page = fs::read_to_string(&opened).expect("it is a file");
    assert!(page.contains(url.trim_end()), "{page}");
    let mode = fs::metadata(&opened)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut without = desk.world.command(&["open"]);
    let output = without
        .env("PATH", "/nowhere")
        .output()
        .expect("onsave can be started");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("onsave open --print"), "{said}");
}

/// Two daemons on one machine are the rule for who has two sites.
#[test]
fn a_port_that_is_taken_is_passed_by_and_off_is_off() {
    let first = Desk::new();
    let taken = format!("[control]\nlisten = \"{}\"\n", first.address);
    let second = World::with_small_site();
    second.configure(&taken);
    let mut command = second.command(&["watch"]);
    command.env_remove("ONSAVE_CONTROL_LISTEN");
    let mut daemon = second.start("second", &mut command);
    assert_ne!(address_of(&second, &mut daemon), first.address);
    assert_eq!(daemon.interrupt().code(), Some(0));

    let mut command = second.command(&["watch"]);
    command.env("ONSAVE_CONTROL_LISTEN", "off");
    let _daemon = second.start("off", &mut command);
    eventually("the status", || second.run(&["status"]).status.success());
    let status: Value =
        serde_json::from_str(&second.run_well(&["status", "--json"])).expect("JSON");
    assert_eq!(status["address"], Value::Null);
    let output = second.run(&["open"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("no dashboard"), "{said}");
}
