//! GitHub, Standard Webhooks and scripts; what is lost when the daemon dies, which is nothing; and what else
//! answers at the hooks' address, which is nothing either.

use std::{fs, process::Command};

use serde_json::json;

use super::desk::{Desk, Order, header, signed};
use crate::harness::{eventually, wait_for};

const STANDARD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const HOOKS: &str = "[hooks.git]\nverify = \"github\"\nsecret_file = \"../git-secret\"\n\
     [hooks.other]\nverify = \"standard-webhooks\"\nsecret_file = \"../standard-secret\"\n\
     [hooks.script]\nverify = \"shared-secret\"\nsecret_env = \"HOOK_SECRET\"\n";

fn desk() -> Desk {
    let desk = Desk::new(HOOKS);
    desk.secret("git-secret", "git-hunter2\n");
    // A new one, and the one that the sender still has.
    desk.secret(
        "standard-secret",
        &format!("whsec_AQIDBAUGBwg=\n{STANDARD}\n"),
    );
    desk
}

fn github(body: &str, delivery: &str, event: &str) -> Vec<(String, String)> {
    let mut headers = signed(&Order {
        sender: "github",
        secret: "git-hunter2",
        body,
        id: delivery,
    });
    headers.push(header("x-github-event", event));
    headers
}

fn standard(body: &str, id: &str) -> Vec<(String, String)> {
    signed(&Order {
        sender: "standard",
        secret: STANDARD,
        body,
        id,
    })
}

#[test]
fn each_sender_proves_itself_and_builds() {
    let desk = desk();
    let watched = desk.watch("watch");
    let runs = desk.runs();

    let ping = watched.ask(("POST", "/hooks/git"), &github("{}", "d0", "ping"), "{}");
    assert_eq!(ping.status, 200, "{}", ping.text());
    assert_eq!(desk.runs(), runs);
    let body = json!({"ref": "refs/heads/main"}).to_string();
    let id = watched.tell("git", &github(&body, "d1", "push"), &body);
    watched.wait_for_state(&id, &["in_step"]);
    assert_eq!(desk.told()[0][0]["event"], "push");
    assert_eq!(desk.told()[0][0]["payload"]["ref"], "refs/heads/main");
    let forged = watched.ask(("POST", "/hooks/git"), &github("[]", "d2", "push"), "{}");
    assert_eq!(forged.status, 401);

    let body = json!({"type": "entry.deleted"}).to_string();
    let id = watched.tell("other", &standard(&body, "msg_1"), &body);
    watched.wait_for_state(&id, &["in_step"]);
    assert_eq!(watched.tell("other", &standard(&body, "msg_1"), &body), id);
    assert_eq!(desk.told()[1][0]["operation"], "delete");

    // As docs/HOOKS.md says it.
    let said = Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--config", "-"])
        .args(["--data", "{\"event\": \"imported\"}"])
        .arg(format!("http://{}/hooks/script", watched.hooks))
        .stdin(secret_header(&desk))
        .output()
        .expect("curl can be started");
    assert!(said.status.success(), "{said:?}");
    eventually("the third run", || desk.told().len() == 3);
    assert_eq!(desk.told()[2][0]["event"], "imported");
    let environment = fs::read_to_string(desk.world.path("environment")).expect("it was noted");
    assert!(
        !environment.contains("hunter2-of-env"),
        "a build gets no secret"
    );
}

/// Returns what curl reads its header from, so that no list of processes shows the secret.
fn secret_header(desk: &Desk) -> fs::File {
    desk.secret("curl", "header = \"X-Onsave-Secret: hunter2-of-env\"\n");
    fs::File::open(desk.world.path("curl")).expect("it was written")
}

#[test]
fn what_comes_while_a_build_runs_is_one_more_run_with_all_of_it() {
    let desk = desk();
    let watched = desk.watch("watch");
    let runs = desk.runs();
    desk.hold_builds();
    let first = watched.tell("other", &standard("{\"n\": 0}", "msg_0"), "{\"n\": 0}");
    watched.wait_for_state(&first, &["building"]);
    let later: Vec<_> = (1..4)
        .map(|n| {
            let body = json!({ "n": n }).to_string();
            watched.tell("other", &standard(&body, &format!("msg_{n}")), &body)
        })
        .collect();
    assert_eq!(watched.outcome(&later[2])["state"], "queued");
    let git = watched.tell("git", &github("{}", "d1", "push"), "{}");
    desk.let_go();
    for id in later.iter().chain([&first, &git]) {
        watched.wait_for_state(id, &["in_step"]);
    }
    let told = desk.told();
    let all: Vec<_> = told.iter().flatten().collect();
    assert_eq!(all.len(), 5);
    let together = told
        .iter()
        .find(|events| events.iter().any(|event| event["payload"]["n"] == 1));
    let together = together.expect("they were told");
    let numbers: Vec<_> = together
        .iter()
        .filter_map(|event| event["payload"]["n"].as_u64())
        .collect();
    assert_eq!(numbers, [1, 2, 3], "one run, in their order");
    assert!(desk.runs() <= runs + 3);
}

#[test]
fn an_accepted_event_outlives_the_daemon() {
    let desk = desk();
    let mut watched = desk.watch("watch");
    desk.hold_builds();
    let body = json!({"n": 1}).to_string();
    let id = watched.tell("other", &standard(&body, "msg_1"), &body);
    watched.daemon.kill();
    let watched = desk.start("watch-2");
    let outcome = watched.outcome(&id);
    assert!(["queued", "building"].contains(&outcome["state"].as_str().expect("a state")));
    desk.let_go();
    watched.wait_for_state(&id, &["in_step", "published"]);
    let told = desk.told();
    assert!(
        told.iter().flatten().any(|event| event["id"] == json!(id)),
        "{told:?}"
    );
}

#[test]
fn a_build_that_fails_is_told_and_a_pause_holds_what_was_built() {
    let desk = desk();
    let watched = desk.watch("watch");
    fs::write(desk.source(".build.sh"), "echo no layout >&2; exit 3\n").expect("it can be written");
    let id = watched.tell("other", &standard("{}", "msg_1"), "{}");
    let outcome = watched.wait_for_state(&id, &["failed"]);
    let why = outcome["detail"].as_str().expect("a reason");
    assert!(why.contains("failed with exit code 3"), "{why}");

    fs::write(desk.source(".build.sh"), "echo built > deploy/index.html\n")
        .expect("it can be written");
    desk.world.run_well(&["pause"]);
    let id = watched.tell("other", &standard("{}", "msg_2"), "{}");
    let outcome = watched.wait_for_state(&id, &["held"]);
    assert!(
        outcome["detail"]
            .as_str()
            .expect("a reason")
            .contains("paused")
    );
    desk.world.run_well(&["resume"]);
    desk.world.wait_for_page("/", "built\n");
}

#[test]
fn nothing_else_answers_at_the_address_of_the_hooks() {
    let desk = desk();
    let watched = desk.watch("watch");
    for target in [
        "/",
        "/v1/status",
        "/v1/events",
        "/hooks/",
        "/hooks/none",
        "/_icd/health",
    ] {
        for method in ["GET", "POST"] {
            let answer = watched.ask((method, target), &[], "");
            assert_eq!(answer.status, 404, "{method} {target}");
        }
    }
    assert_eq!(watched.ask(("GET", "/hooks/git"), &[], "").status, 405);
    let guessed = "/hooks/outcomes/00000000000000000000000000000000";
    assert_eq!(watched.ask(("GET", guessed), &[], "").status, 404);
    assert_eq!(watched.ask(("POST", "/v1/pause"), &[], "").status, 404);
    let status = wait_for("the status", || {
        let said = desk.world.run_well(&["status", "--json"]);
        said.contains("\"state\"").then_some(said)
    });
    assert!(status.contains("\"paused\":false"), "{status}");
}

#[test]
fn without_an_address_of_their_own_hooks_are_answered_beside_the_api() {
    let desk = desk();
    desk.world.configure(&format!(
        "[build]\ncommand = \"sh .build.sh\"\n[control]\nlisten = \"127.0.0.1:0\"\n{HOOKS}"
    ));
    let watched = desk.watch_beside_api("watch");
    let body = json!({"n": 1}).to_string();
    // As a tunnel passes it on.
    let mut headers = standard(&body, "msg_1");
    headers.push(header("host", "hooks.example.org"));
    let id = watched.tell("other", &headers, &body);
    watched.wait_for_state(&id, &["in_step"]);
    let forged = watched.ask(("POST", "/hooks/other"), &headers, "{}");
    assert_eq!(forged.status, 401);
    let foreign = [header("host", "hooks.example.org")];
    let refused = watched.ask(("GET", "/v1/status"), &foreign, "");
    assert!(
        refused.status >= 400,
        "the API answers to its own name alone"
    );
    assert_eq!(
        watched
            .ask(("GET", "/v1/status"), &[loopback(&watched)], "")
            .status,
        200
    );
}

fn loopback(watched: &super::desk::Watched) -> (String, String) {
    header("host", &watched.hooks.to_string())
}
