//! Finding out: against the real server, and a platform that answers and notes what it is asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{IMAGE, assert_worst};
use crate::{
    config::{self, FlagLayer},
    doctor::{
        Report,
        Verdict::{Broken, Ok as Well, Warning},
        gather::gather,
    },
    provision::{machine_config, tests::target},
    publish::tests::harness::{Relay, Relaying, TestServer, secret},
    state_folder::SiteState,
    surroundings::{Stream, Surroundings},
};

const TOKEN: &str = "fm2_hunter2token";

/// A home with a project, and what is set in the environment.
struct Home {
    folder: TempDir,
    variables: BTreeMap<String, String>,
}

impl Home {
    fn new(variables: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir_all(folder.path().join("project/deploy")).unwrap();
        fs::write(folder.path().join("project/deploy/index.html"), "x").unwrap();
        let variables = variables.iter();
        Self {
            folder,
            variables: variables
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    /// A home whose target is a running server.
    fn of_server(url: &str, secret: &str) -> Self {
        Self::new(&[("ONSAVE_TARGET_URL", url), ("ONSAVE_SYNC_SECRET", secret)])
    }

    fn configure(&self, text: &str) {
        fs::write(self.folder.path().join("project/onsave.toml"), text).unwrap();
    }

    fn surroundings(&self) -> Surroundings {
        let variables = self.variables.iter();
        Surroundings {
            variables: variables
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            working_folder: self.folder.path().join("project"),
            home: Some(self.folder.path().join("home")),
            host: "desk".into(),
            stderr: Stream::Other,
            program: None,
        }
    }

    async fn examine(&self) -> Report {
        let surroundings = self.surroundings();
        let examined = config::examine(&surroundings, &FlagLayer::default());
        Report::of(&gather(&examined, &surroundings).await)
    }

    /// Returns every path in this home.
    fn paths(&self) -> BTreeSet<String> {
        let mut paths = BTreeSet::new();
        let mut ahead = vec![self.folder.path().to_owned()];
        while let Some(folder) = ahead.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                paths.insert(path.display().to_string());
                if path.is_dir() {
                    ahead.push(path);
                }
            }
        }
        paths
    }
}

fn secret_text() -> String {
    String::from_utf8(secret().expose().to_vec()).unwrap()
}

#[tokio::test]
async fn a_running_server_is_asked_and_nothing_is_made() {
    let mut server = TestServer::start().await;
    let home = Home::of_server(&server.url(), &secret_text());
    let before = home.paths();
    let report = home.examine().await;
    assert_eq!(report.count(Broken), 0, "{}", report.text());
    let found = &report.findings;
    assert_worst(found, "config", (Well, "the target is url", ""));
    assert_worst(found, "folder", (Well, "1 folder", ""));
    assert_worst(found, "server", (Well, "nothing was published", ""));
    assert_worst(found, "secret", (Well, "ONSAVE_SYNC_SECRET", ""));
    assert_worst(found, "clock", (Well, "0.", ""));
    assert_worst(found, "version", (Well, env!("CARGO_PKG_VERSION"), ""));
    assert_worst(found, "public", (Well, "first publish", ""));
    assert_eq!(home.paths(), before);
    server.stop().await;
}

#[tokio::test]
async fn a_wrong_secret_is_broken_and_not_shown() {
    let mut server = TestServer::start().await;
    let report = Home::of_server(&server.url(), "another-hunter2")
        .examine()
        .await;
    assert_worst(&report.findings, "server", (Well, "answers", ""));
    let expected = (
        Broken,
        "variable ONSAVE_SYNC_SECRET",
        "SYNC_SECRET of the server",
    );
    assert_worst(&report.findings, "secret", expected);
    assert!(!report.text().contains("hunter2"));
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_broken() {
    let mut server = TestServer::start().await;
    server.stop().await;
    let mut home = Home::of_server(&server.url(), "x");
    let report = home.examine().await;
    assert_worst(&report.findings, "server", (Broken, "no answer from", ""));
    let public = |report: &Report| report.findings.iter().any(|f| f.topic == "public");
    assert!(!public(&report), "the same silence is told once");
    let elsewhere = format!("{}/blog", server.url());
    set(&mut home, "ONSAVE_PUBLISH_PUBLIC_URL", &elsewhere);
    let report = home.examine().await;
    assert_worst(
        &report.findings,
        "public",
        (Broken, "no answer", "public_url"),
    );
}

#[tokio::test]
async fn a_server_of_the_first_generation_is_recognised() {
    let mut server = TestServer::start().await;
    let relay = Relay::before(server.address(), Relaying::FirstGeneration).await;
    let report = Home::of_server(&relay.url(), &secret_text())
        .examine()
        .await;
    let expected = (Warning, "first generation", "one call for each file");
    assert_worst(&report.findings, "server", expected);
    assert_worst(&report.findings, "secret", (Well, "takes the secret", ""));
    let report = Home::of_server(&relay.url(), "another").examine().await;
    assert_worst(
        &report.findings,
        "secret",
        (Broken, "refuses", "SYNC_SECRET"),
    );
    server.stop().await;
}

#[tokio::test]
async fn a_local_target_without_a_watch_makes_neither_secret_nor_volume() {
    let home = Home::new(&[]);
    let before = home.paths();
    let report = home.examine().await;
    assert_eq!(report.count(Broken), 0, "{}", report.text());
    assert_worst(
        &report.findings,
        "config",
        (Well, "the target is local", ""),
    );
    assert_worst(
        &report.findings,
        "server",
        (Well, "no `onsave watch` runs", ""),
    );
    let space = super::worst(&report.findings, "space");
    assert!(space.what.contains("are free on the volume"), "{space:?}");
    assert_eq!(home.paths(), before);
}

#[tokio::test]
async fn faults_do_not_keep_the_rest_from_being_looked_at() {
    let mut server = TestServer::start().await;
    let home = Home::of_server(&server.url(), &secret_text());
    home.configure("[watch]\nquiet = 25\nquiet_ms = 0\n");
    let report = home.examine().await;
    let faults = report.findings.iter().filter(|f| f.topic == "config");
    assert_eq!(faults.count(), 2, "{}", report.text());
    assert_worst(&report.findings, "config", (Broken, "quiet", "correct it"));
    assert_worst(
        &report.findings,
        "server",
        (Well, "nothing was published", ""),
    );
    assert_worst(&report.findings, "folder", (Well, "deploy", ""));

    home.configure("[watch\n");
    let report = home.examine().await;
    assert_worst(
        &report.findings,
        "config",
        (Broken, "onsave.toml", "correct it"),
    );
    assert_worst(&report.findings, "state", (Well, "project-", ""));
    assert!(
        report
            .findings
            .iter()
            .all(|finding| finding.topic != "server")
    );
    server.stop().await;
}

#[tokio::test]
async fn a_missing_site_folder_is_broken() {
    let home = Home::new(&[("ONSAVE_DIR", "no-such-folder")]);
    let report = home.examine().await;
    assert_worst(
        &report.findings,
        "folder",
        (Broken, "no-such-folder", "--dir"),
    );
}

/// A platform that answers by path, and notes every request.
struct Platform {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Platform {
    async fn answering(answers: Vec<(&'static str, Value)>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        let answers: Arc<BTreeMap<_, _>> = Arc::new(answers.into_iter().collect());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(answer(stream, Arc::clone(&noted), Arc::clone(&answers)));
            }
        });
        Self {
            address,
            asked,
            _tasks: tasks,
        }
    }

    fn asked(&self) -> BTreeSet<String> {
        self.asked.lock().unwrap().iter().cloned().collect()
    }

    /// A home whose app is on this platform.
    fn home(&self) -> Home {
        let url = format!("http://{}", self.address);
        Home::new(&[
            ("ONSAVE_TARGET_KIND", "fly"),
            ("ONSAVE_APP", "my-site"),
            ("FLY_API_TOKEN", TOKEN),
            ("FLY_FLAPS_BASE_URL", &url),
            ("FLY_API_BASE_URL", &url),
        ])
    }
}

async fn answer(
    mut stream: TcpStream,
    asked: Arc<Mutex<Vec<String>>>,
    answers: Arc<BTreeMap<&'static str, Value>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else {
            return;
        };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let line = head
        .lines()
        .next()
        .unwrap()
        .trim_end_matches(" HTTP/1.1")
        .to_owned();
    let authorised = head.contains(&format!("authorization: FlyV1 {TOKEN}"));
    asked.lock().unwrap().push(line.clone());
    let (status, body) = match answers.get(line.as_str()) {
        _ if !authorised => (401, json!({"error": format!("bad token {TOKEN}")})),
        Some(body) => (200, body.clone()),
        None => (404, json!({"error": "not found"})),
    };
    let body = body.to_string();
    let answer = format!(
        "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    // A client that has left wants no answer.
    stream.write_all(answer.as_bytes()).await.ok();
}

/// What a platform with a healthy app answers.
fn of_healthy_app() -> Vec<(&'static str, Value)> {
    let config = machine_config::wanted(&target(), IMAGE, "vol_1");
    let certificate = json!({
        "hostname": "site.invalid", "configured": false, "status": "pending_validation",
        "dns_requirements": {"a": ["66.241.125.1"], "aaaa": ["2a09:8280:1::1"]},
    });
    vec![
        (
            "GET /v1/tokens/current",
            json!({"tokens": [{"org_slug": "personal"}]}),
        ),
        (
            "GET /api/v1/organizations?admin=false",
            json!({"organizations": [
                {"slug": "personal", "raw_slug": "personal", "name": "Ann", "billing_status": "CURRENT"},
            ]}),
        ),
        (
            "GET /v1/apps/my-site",
            json!({"name": "my-site", "status": "deployed", "organization": {"slug": "personal"}}),
        ),
        (
            "GET /v1/apps/my-site/ip_assignments",
            json!({"ips": [{"ip": "2a09:8280:1::1"}, {"ip": "66.241.125.1", "shared": true}]}),
        ),
        (
            "GET /v1/apps/my-site/secrets",
            json!({"secrets": [{"name": "SYNC_SECRET", "digest": "d1"}]}),
        ),
        (
            "GET /v1/apps/my-site/volumes",
            json!([{"id": "vol_1", "name": "site_data", "state": "created", "size_gb": 1,
                    "region": "arn", "snapshot_retention": 5}]),
        ),
        ("GET /v1/apps/my-site/volumes/vol_1/snapshots", json!([])),
        (
            "GET /v1/apps/my-site/machines",
            json!([{"id": "m1", "name": "onsave", "state": "started", "region": "arn",
                    "config": config, "checks": [{"name": "web", "status": "passing"}]}]),
        ),
        (
            "GET /v1/apps/my-site/certificates?limit=100",
            json!({"certificates": [{"hostname": "site.invalid"}]}),
        ),
        (
            "POST /v1/apps/my-site/certificates/site.invalid/check",
            certificate,
        ),
    ]
}

fn set(home: &mut Home, name: &str, value: &str) {
    home.variables.insert(name.into(), value.into());
}

#[tokio::test]
async fn an_app_is_only_looked_at() {
    let mut server = TestServer::start().await;
    let platform = Platform::answering(of_healthy_app()).await;
    let mut home = platform.home();
    set(&mut home, "ONSAVE_FLY_APP_URL", &server.url());
    set(&mut home, "ONSAVE_SYNC_SECRET", &secret_text());
    set(
        &mut home,
        "ONSAVE_FLY_DOMAINS",
        "site.invalid,www.site.invalid",
    );
    set(&mut home, "ONSAVE_PUBLISH_PUBLIC_URL", &server.url());
    let before = home.paths();
    let report = home.examine().await;

    let found = &report.findings;
    for topic in [
        "token",
        "org",
        "billing",
        "app",
        "ips",
        "volume",
        "snapshots",
        "machine",
        "checks",
        "image",
        "settings",
        "server",
        "secret",
        "clock",
        "version",
        "public",
    ] {
        assert_eq!(
            super::worst(found, topic).verdict,
            Well,
            "{}",
            report.text()
        );
    }
    let pending = "site.invalid waits for its DNS records";
    let cert = |what: &str| {
        found
            .iter()
            .find(|f| f.topic == "cert" && f.what.contains(what))
    };
    assert!(
        cert(pending)
            .unwrap()
            .fix
            .as_ref()
            .unwrap()
            .contains("AAAA 2a09")
    );
    assert!(cert("no certificate was requested for www.site.invalid").is_some());
    let dns: Vec<_> = found.iter().filter(|f| f.topic == "dns").collect();
    assert_eq!(dns.len(), 2, "one for each domain: {dns:?}");
    let fix = dns[0].fix.as_ref().unwrap();
    assert!(fix.contains("66.241.125.1 and 2a09:8280:1::1"), "{fix}");

    // Exactly what is answered was asked: reads, and one look at the records.
    let answered: BTreeSet<String> = of_healthy_app()
        .iter()
        .map(|(line, _)| (*line).to_owned())
        .collect();
    assert_eq!(platform.asked(), answered);
    let changing = answered.iter().filter(|line| !line.starts_with("GET "));
    assert_eq!(changing.count(), 1);
    assert_eq!(home.paths(), before);
    assert!(!report.text().contains("hunter2") && !report.text().contains(&secret_text()));
    server.stop().await;
}

#[tokio::test]
async fn a_certificate_that_may_not_be_checked_is_read() {
    let mut answers = of_healthy_app();
    // What is not answered is refused, as it is to a token that may only read.
    answers.retain(|(line, _)| !line.starts_with("POST "));
    answers.push((
        "GET /v1/apps/my-site/certificates/site.invalid",
        json!({"hostname": "site.invalid", "configured": true, "status": "active"}),
    ));
    let platform = Platform::answering(answers).await;
    let report = platform.home().examine().await;
    let expected = (Well, "site.invalid has its certificate", "");
    assert_worst(&report.findings, "cert", expected);
}

#[tokio::test]
async fn an_app_that_is_not_there_is_no_silent_server() {
    let mut answers = of_healthy_app();
    answers.retain(|(line, _)| !line.contains("/v1/apps/"));
    let platform = Platform::answering(answers).await;
    let report = platform.home().examine().await;
    assert_worst(
        &report.findings,
        "app",
        (Warning, "no app my-site yet", "next publish"),
    );
    assert_eq!(report.count(Broken), 0, "{}", report.text());
    for topic in ["server", "secret", "machine", "public", "dns"] {
        assert!(
            report.findings.iter().all(|finding| finding.topic != topic),
            "{topic}"
        );
    }
}

#[tokio::test]
async fn a_refused_token_is_told_and_never_shown() {
    let platform = Platform::answering(of_healthy_app()).await;
    let mut home = platform.home();
    set(&mut home, "FLY_API_TOKEN", "fm2_another");
    let report = home.examine().await;
    assert_worst(
        &report.findings,
        "token",
        (Broken, "status 401", "fly tokens create org"),
    );
    assert!(!report.text().contains("fm2_another"), "{}", report.text());
}

#[tokio::test]
async fn a_rotation_that_reached_the_server_is_seen_and_left_to_provision() {
    let mut server = TestServer::start().await;
    let platform = Platform::answering(of_healthy_app()).await;
    let mut home = platform.home();
    set(&mut home, "ONSAVE_FLY_APP_URL", &server.url());
    let state_home = home.folder.path().join("state").display().to_string();
    set(&mut home, "XDG_STATE_HOME", &state_home);
    let text = server_with_made_secret(&mut server, &home).await;
    let report = home.examine().await;
    let expected = (Warning, "reached the server", "onsave provision");
    assert_worst(&report.findings, "secret", expected);
    assert!(!report.text().contains(&text));
    let state = state_folder(&home);
    assert!(
        state.join("fly-secret.next").is_file(),
        "nothing was finished"
    );
    server.stop().await;
}

fn state_folder(home: &Home) -> PathBuf {
    let root = home.folder.path().join("project").canonicalize().unwrap();
    let state = SiteState::locate(&home.surroundings(), &root).unwrap();
    state.folder().to_owned()
}

/// Lets the state folder hold another secret as the known one, and the server's as the next one.
async fn server_with_made_secret(server: &mut TestServer, home: &Home) -> String {
    let folder = state_folder(home);
    fs::create_dir_all(&folder).unwrap();
    let (known, next) = ("1".repeat(64), "2".repeat(64));
    write(&folder.join("fly-secret"), &known);
    write(&folder.join("fly-secret.next"), &next);
    server.stop().await;
    server
        .start_again_with(onsave_protocol::Secret::from_text(&next).unwrap())
        .await;
    next
}

fn write(path: &Path, text: &str) {
    fs::write(path, format!("{text}\n")).unwrap();
}
