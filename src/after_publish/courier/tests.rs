//! One entry's deliveries against a receiver on the loopback: order, refusals, merging, the end of all.

use std::{sync::Mutex, time::Duration};

use onsave_protocol::Secret;
use onsave_server::config::TrailingSlash;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
};

use super::*;
use crate::{
    after_publish::{event::tests::event, outbox::tests::entry, requests::Site},
    config::{BuildCommand, CachePurge, CallUrl, ContentSync, Webhook, WebhookFormat},
};

type Heard = Arc<Mutex<Vec<(String, serde_json::Value)>>>;
type Answers = Box<dyn Fn(usize, &serde_json::Value) -> (u16, &'static str) + Send + Sync>;

/// A receiver that answers as it is told, and keeps what it heard.
struct Receiver {
    origin: String,
    heard: Heard,
    _serving: JoinSet<()>,
}

impl Receiver {
    async fn new(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let heard = Heard::default();
        let mut serving = JoinSet::new();
        let kept = Arc::clone(&heard);
        serving.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (lines, body) = request(&mut stream).await;
                let (status, answer) = {
                    let mut heard = kept.lock().unwrap();
                    let answer = answers(heard.len(), &body);
                    heard.push((lines, body));
                    answer
                };
                let length = answer.len();
                let text = format!(
                    "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{answer}"
                );
                stream.write_all(text.as_bytes()).await.unwrap();
            }
        });
        Self {
            origin,
            heard,
            _serving: serving,
        }
    }

    fn bodies(&self) -> Vec<serde_json::Value> {
        let heard = self.heard.lock().unwrap();
        heard.iter().map(|(_, body)| body.clone()).collect()
    }

    fn url(&self) -> CallUrl {
        CallUrl {
            origin: self.origin.clone(),
            target: "/hook?x=1".into(),
        }
    }
}

async fn request(stream: &mut tokio::net::TcpStream) -> (String, serde_json::Value) {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.unwrap();
        assert!(count > 0, "the request ended early");
        bytes.extend(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        if body.len() >= length {
            let body = serde_json::from_str(body).unwrap_or_default();
            return (head.to_owned(), body);
        }
    }
}

struct Desk {
    home: TempDir,
    courier: Courier,
}

impl Desk {
    fn new(action: AfterAction) -> Self {
        let home = tempfile::tempdir().unwrap();
        let setup = Setup {
            folder: home.path().join("deliveries"),
            target: "t".into(),
            // Nobody listens there.
            target_url: "http://127.0.0.1:1".into(),
            site: Site {
                app: "site".into(),
                url: "https://example.org".into(),
                slash: TrailingSlash::Auto,
            },
            root: home.path().to_owned(),
            dir: home.path().join("deploy"),
            entries: Vec::new(),
            kept: vec!["HOME".into()],
        };
        let entry = AfterPublish {
            action,
            ..entry("x", &[])
        };
        let courier = Courier::new(entry, Arc::new(setup));
        courier.queue.create().unwrap();
        Self { home, courier }
    }

    fn add(&self, number: u64, event: Event) {
        self.courier.queue.add(number, event).unwrap();
    }

    async fn pass(&self) -> Next {
        self.courier.pass(&CancellationToken::new()).await.unwrap()
    }

    /// Lets the time of the next try come.
    fn hasten(&self) {
        let queue = &self.courier.queue;
        for number in queue.numbers(Place::Waiting).unwrap() {
            let letter = queue.read(Place::Waiting, number).unwrap().unwrap();
            let letter = Letter {
                next_unix_ms: 0,
                ..letter
            };
            queue.write(Place::Waiting, number, &letter).unwrap();
        }
    }

    fn dead(&self) -> Vec<Letter> {
        let queue = &self.courier.queue;
        let numbers = queue.numbers(Place::Dead).unwrap();
        let read = |number| queue.read(Place::Dead, number).unwrap().unwrap();
        numbers.into_iter().map(read).collect()
    }
}

fn webhook(receiver: &Receiver) -> AfterAction {
    AfterAction::Webhook(Webhook {
        url: receiver.url(),
        format: WebhookFormat::Onsave,
        secret: Some(Secret::from_text("hunter2").unwrap()),
        templates: Vec::new(),
    })
}

fn one(id: &str, text: &str) -> Event {
    event(id, &[("a.json", "0")], &[("a.json", text)])
}

#[tokio::test]
async fn the_order_is_kept_while_the_first_fails() {
    let receiver = Receiver::new(Box::new(|count, _| match count {
        0 | 1 => (503, "later"),
        _ => (200, ""),
    }))
    .await;
    let desk = Desk::new(webhook(&receiver));
    desk.add(1, one("d1", "1"));
    desk.add(2, one("d2", "2"));
    assert!(matches!(desk.pass().await, Next::At(_)));
    desk.hasten();
    assert!(matches!(desk.pass().await, Next::At(_)));
    desk.hasten();
    assert_eq!(desk.pass().await, Next::Idle);
    let told: Vec<_> = receiver
        .bodies()
        .iter()
        .map(|body| body["deployId"].clone())
        .collect();
    assert_eq!(told, ["d1", "d1", "d1", "d2"]);
    let heard = receiver.heard.lock().unwrap();
    let id = |index: usize| {
        let lines: &str = &heard[index].0;
        let line = lines.lines().find(|line| line.starts_with("webhook-id: "));
        line.unwrap().to_owned()
    };
    assert_eq!(id(0), id(2), "a repetition can be told");
    assert_ne!(id(2), id(3));
    assert!(heard[0].0.contains("webhook-signature: v1,"));
    assert!(heard[0].0.starts_with("POST /hook?x=1 "));
    assert!(!heard[0].0.contains("hunter2"));
    drop(heard);
    assert!(desk.dead().is_empty());
}

#[tokio::test]
async fn nothing_is_sent_before_its_time() {
    let receiver = Receiver::new(Box::new(|_, _| (200, ""))).await;
    let desk = Desk::new(webhook(&receiver));
    let at = unix_ms() + 3_600_000;
    let letter = Letter {
        next_unix_ms: at,
        ..Letter::new(one("d1", "1"))
    };
    desk.courier
        .queue
        .write(Place::Waiting, 1, &letter)
        .unwrap();
    desk.add(2, one("d2", "2"));
    assert_eq!(desk.pass().await, Next::At(at));
    assert!(receiver.bodies().is_empty());
}

#[tokio::test]
async fn what_fails_too_often_is_put_aside_and_the_next_goes_on() {
    let receiver = Receiver::new(Box::new(|_, body| match body["deployId"].as_str() {
        Some("bad") => (500, "hunter2 is broken"),
        _ => (200, ""),
    }))
    .await;
    let desk = Desk::new(webhook(&receiver));
    desk.add(1, one("bad", "1"));
    desk.add(2, one("good", "2"));
    for _ in 0..2 {
        assert!(matches!(desk.pass().await, Next::At(_)));
        desk.hasten();
    }
    assert_eq!(desk.pass().await, Next::Idle);
    let dead = desk.dead();
    assert_eq!((dead.len(), dead[0].attempts), (1, 3));
    let error = dead[0].error.as_deref().unwrap();
    assert_eq!(error, "the answer is 500: **** is broken");
    assert!(desk.courier.queue.revive(1).unwrap());
    assert!(
        matches!(desk.pass().await, Next::At(_)),
        "tried as a new one"
    );
}

#[tokio::test]
async fn one_refused_document_keeps_no_other_back() {
    let receiver = Receiver::new(Box::new(|_, body| match body["path"].as_str() {
        Some("b.json") => (422, "no title"),
        _ => (200, ""),
    }))
    .await;
    let desk = Desk::new(AfterAction::ContentSync(ContentSync {
        url: receiver.url(),
        secret: Secret::from_text("s3cret").unwrap(),
        templates: Vec::new(),
    }));
    let folder = desk.home.path().join("deploy");
    std::fs::create_dir(&folder).unwrap();
    for name in ["a", "b", "c"] {
        std::fs::write(folder.join(format!("{name}.json")), "[1]").unwrap();
    }
    let files = [
        ("a.json", "[1]"),
        ("b.json", "[1]"),
        ("c.json", "[1]"),
        ("x.css", ""),
    ];
    desk.add(1, event("d1", &[("old.json", "{}")], &files));
    assert_eq!(desk.pass().await, Next::Idle);
    let told: Vec<_> = receiver
        .bodies()
        .iter()
        .map(|body| {
            (
                body["path"].clone(),
                body["action"].clone(),
                body["document"].clone(),
            )
        })
        .map(|told| serde_json::json!(told))
        .collect();
    let expected = serde_json::json!([
        ["a.json", "upsert", [1]],
        ["b.json", "upsert", [1]],
        ["c.json", "upsert", [1]],
        ["old.json", "delete", null],
    ]);
    assert_eq!(serde_json::json!(told), expected);
    assert!(
        receiver.heard.lock().unwrap()[0]
            .0
            .contains("x-sync-secret: s3cret")
    );
    let dead = desk.dead();
    let paths: Vec<_> = dead[0]
        .event
        .files
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(paths, ["b.json"]);
    // A document that is neither here nor to be fetched is tried again.
    desk.add(2, event("d2", &[], &[("gone.json", "[2]")]));
    assert!(matches!(desk.pass().await, Next::At(_)));
}

#[tokio::test]
async fn waiting_purges_become_one() {
    let receiver = Receiver::new(Box::new(|count, _| match count {
        0 => (
            429,
            r#"{"success":false,"errors":[{"code":971,"message":"slow down"}]}"#,
        ),
        _ => (200, r#"{"success":true,"errors":[]}"#),
    }))
    .await;
    let desk = Desk::new(AfterAction::CachePurge(CachePurge {
        zone: "0".repeat(32),
        token: Secret::from_text("t0ken").unwrap(),
        bases: Vec::new(),
        api_url: receiver.origin.clone(),
    }));
    desk.add(1, event("d1", &[], &[("a.css", "1")]));
    assert!(matches!(desk.pass().await, Next::At(_)));
    desk.add(2, event("d2", &[], &[("b.css", "1")]));
    desk.add(3, event("d3", &[("a.css", "1")], &[]));
    desk.hasten();
    assert_eq!(desk.pass().await, Next::Idle);
    let urls = ["a.css", "b.css"].map(|name| format!("https://example.org/{name}"));
    let bodies = receiver.bodies();
    assert_eq!(
        (bodies.len(), &bodies[1]),
        (2, &serde_json::json!({"files": urls}))
    );
    let heard = receiver.heard.lock().unwrap();
    let path = format!("POST /client/v4/zones/{}/purge_cache ", "0".repeat(32));
    assert!(heard[0].0.starts_with(&path), "{}", heard[0].0);
    assert!(heard[0].0.contains("authorization: Bearer t0ken"));
}

#[tokio::test]
async fn a_command_reads_the_event_and_gets_no_secret() {
    let line = "cat > told.json; echo \"${HOME-none} ${PATH:+path}\" > env; echo to the log; exit $(cat code)";
    let desk = Desk::new(AfterAction::Command(BuildCommand::Shell(line.into())));
    std::fs::write(desk.home.path().join("code"), "3").unwrap();
    desk.add(1, one("d1", "1"));
    assert!(matches!(desk.pass().await, Next::At(_)));
    let waiting = desk.courier.queue.read(Place::Waiting, 1).unwrap().unwrap();
    let error = waiting.error.unwrap();
    assert_eq!(error, "the command failed with exit code 3: to the log");
    std::fs::write(desk.home.path().join("code"), "0").unwrap();
    desk.hasten();
    assert_eq!(desk.pass().await, Next::Idle);
    let told = std::fs::read(desk.home.path().join("told.json")).unwrap();
    let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(told["changed"], serde_json::json!(["a.json"]));
    let env = std::fs::read_to_string(desk.home.path().join("env")).unwrap();
    assert_eq!(env, "none path\n");
}

#[tokio::test]
async fn a_stop_ends_a_command_with_all_that_it_started_and_keeps_the_event() {
    let line = "echo $$ > leader; sleep 600 & wait";
    let desk = Desk::new(AfterAction::Command(BuildCommand::Shell(line.into())));
    desk.add(1, one("d1", "1"));
    let stop = CancellationToken::new();
    let leader = desk.home.path().join("leader");
    let stopping = async {
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        while !std::fs::read_to_string(&leader).is_ok_and(|text| text.ends_with('\n')) {
            looks.tick().await;
        }
        stop.cancel();
    };
    let (passed, ()) = tokio::join!(desk.courier.pass(&stop), stopping);
    assert_eq!(passed.unwrap(), Next::Idle);
    let waiting = desk.courier.queue.read(Place::Waiting, 1).unwrap().unwrap();
    assert_eq!(waiting.attempts, 0, "it is no failure of the receiver's");
    let leader = std::fs::read_to_string(leader).unwrap();
    assert!(!std::path::Path::new("/proc").join(leader.trim()).exists());
}

#[tokio::test]
async fn two_processes_do_not_deliver_at_once() {
    let receiver = Receiver::new(Box::new(|_, _| (200, ""))).await;
    let desk = Desk::new(webhook(&receiver));
    desk.add(1, one("d1", "1"));
    let lock = durable::try_lock(&desk.courier.queue.lock_file())
        .unwrap()
        .unwrap();
    assert_eq!(desk.pass().await, Next::Busy);
    drop(lock);
    assert_eq!(desk.pass().await, Next::Idle);
    assert_eq!(receiver.bodies().len(), 1);
}
