//! An editor presses Publish in Sanity: the document is fetched, built and live; and gone when it is.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use super::{
    desk::{Desk, Order, Watched, header, signed},
    lake::{Lake, TOKEN},
};
use crate::harness::{deadline::throughout, eventually, http};

const SECRET: &str = "sanity-hunter2";

fn desk() -> (Desk, Lake) {
    let placeholder = Desk::new("");
    let lake = Lake::start(&placeholder.world.path("logs"));
    let desk = placeholder;
    desk.world.configure(&format!(
        "[build]\ncommand = \"sh .build.sh\"\n[hooks]\nlisten = \"127.0.0.1:0\"\n[hooks.cms]\n\
         verify = \"sanity\"\nsecret_file = \"../sanity-secret\"\n[hooks.cms.fetch]\nurl = \"{}\"\n\
         query = \"*[_id == $id][0]{{_type, title, slug, 'author': author->name}}\"\n\
         path = \"content/{{_type}}/{{slug.current}}.json\"\ntoken_file = \"../sanity-token\"\n",
        lake.url()
    ));
    desk.secret("sanity-secret", SECRET);
    desk.secret("sanity-token", TOKEN);
    (desk, lake)
}

/// Returns the documents of the dataset: a post, its author, and a draft of the post.
fn documents(slug: &str, title: &str) -> Value {
    json!([
        {"_id": "p1", "_type": "post", "title": title, "slug": {"current": slug}, "author": {"_ref": "a1"}},
        {"_id": "drafts.p1", "_type": "post", "title": "not yet", "slug": {"current": slug}},
        {"_id": "a1", "_type": "author", "name": "Ann \"A\" Häuser"},
    ])
}

/// Signs as Sanity does, and says what was done to which document.
fn headers(body: &str, operation: &str, key: &str) -> Vec<(String, String)> {
    let mut headers = signed(&Order {
        sender: "sanity",
        secret: SECRET,
        body,
        id: "",
    });
    headers.push(header("sanity-operation", operation));
    headers.push(header("idempotency-key", key));
    headers
}

fn tell(watched: &Watched, operation: &str, key: &str) -> String {
    let body = json!({"_id": "p1", "_type": "post"}).to_string();
    watched.tell("cms", &headers(&body, operation, key), &body)
}

#[test]
fn a_document_is_live_when_it_is_published_and_gone_when_it_is_deleted() {
    let (desk, lake) = desk();
    let watched = desk.watch("watch");
    lake.hold(&documents("hello", "First"));
    let id = tell(&watched, "create", "k1");
    let outcome = watched.wait_for_state(&id, &["published"]);
    assert_eq!(outcome["document"]["path"], "content/post/hello.json");
    assert_eq!(outcome["document"]["change"], "written");
    assert_eq!(outcome["deployId"], json!(desk.world.current_deploy()));
    let page = http::get(desk.world.address(), "/hello.html").expect("it answers");
    let page: Value = serde_json::from_str(&page.text()).expect("the document");
    let expected = json!({
        "_type": "post", "title": "First", "slug": {"current": "hello"}, "author": "Ann \"A\" Häuser",
    });
    assert_eq!(page, expected);
    assert_eq!(lake.asked()[0]["params"], json!({"id": "p1"}));

    // It moves.
    lake.hold(&documents("moved", "Second"));
    let id = tell(&watched, "update", "k2");
    watched.wait_for_state(&id, &["published"]);
    desk.world.wait_for_no_page("/hello.html");
    assert!(!desk.source("content/post/hello.json").exists());
    let page = http::get(desk.world.address(), "/moved.html").expect("it answers");
    assert!(page.text().contains("\"Second\""));

    // It is deleted.
    lake.hold(&json!([]));
    let id = tell(&watched, "delete", "k3");
    let outcome = watched.wait_for_state(&id, &["published"]);
    assert_eq!(outcome["document"]["change"], "removed");
    desk.world.wait_for_no_page("/moved.html");
    assert!(!desk.source("content/post/moved.json").exists());

    let told = desk.told();
    let operations: Vec<_> = told.iter().map(|events| &events[0]["operation"]).collect();
    assert_eq!(operations, ["create", "update", "delete"]);
    assert_eq!(told[0][0]["documentId"], "p1");
    assert_eq!(told[0][0]["payload"], json!({"_id": "p1", "_type": "post"}));
    let environment = fs::read_to_string(desk.world.path("environment")).expect("it was noted");
    for secret in [SECRET, TOKEN] {
        assert!(!desk.world.all_logs().contains(secret), "{secret} is told");
        assert!(!environment.contains(secret), "{secret} is given");
    }
}

#[test]
fn what_is_repeated_forged_or_not_published_does_nothing() {
    let (desk, lake) = desk();
    let watched = desk.watch("watch");
    lake.hold(&documents("hello", "First"));
    let body = json!({"_id": "p1"}).to_string();
    let right = headers(&body, "create", "k1");
    let id = watched.tell("cms", &right, &body);
    watched.wait_for_state(&id, &["published"]);
    let (runs, asked) = (desk.runs(), lake.asked().len());

    // Again, by its key with a new signature, and by its signature with a new key.
    assert_eq!(
        watched.tell("cms", &headers(&body, "update", "k1"), &body),
        id
    );
    let mut replayed = right.clone();
    replayed.last_mut().expect("the key").1 = "k2".to_owned();
    assert_eq!(watched.tell("cms", &replayed, &body), id);

    for (headers, body) in [
        (right.clone(), json!({"_id": "p2"}).to_string()),
        (Vec::new(), body.clone()),
        (
            signed(&Order {
                sender: "sanity",
                secret: "another",
                body: &body,
                id: "",
            }),
            body.clone(),
        ),
    ] {
        let answer = watched.ask(("POST", "/hooks/cms"), &headers, &body);
        assert_eq!(answer.status, 401);
        assert!(!answer.text().contains("signature"), "{}", answer.text());
    }
    let said = watched.daemon.stderr();
    assert!(said.contains("the signature is not right"), "{said}");

    let draft = json!({"_id": "drafts.p1"}).to_string();
    let answer = watched.ask(
        ("POST", "/hooks/cms"),
        &headers(&draft, "create", "k3"),
        &draft,
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    throughout(Duration::from_millis(300), "nothing is done", || {
        desk.runs() == runs && lake.asked().len() == asked
    });

    // Also after a restart.
    drop(watched);
    let watched = desk.start("watch-2");
    assert_eq!(
        watched.tell("cms", &headers(&body, "update", "k1"), &body),
        id
    );
    assert_eq!(watched.outcome(&id)["state"], "published");
}

#[test]
fn an_api_that_fails_is_asked_again_and_one_that_refuses_is_told() {
    let (desk, lake) = desk();
    let watched = desk.watch("watch");
    lake.hold(&documents("hello", "First"));
    lake.fail(1, 503);
    let id = tell(&watched, "create", "k1");
    eventually("the failure to be told", || {
        let outcome = watched.outcome(&id);
        let why = outcome["detail"].as_str().unwrap_or_default();
        outcome["state"] == "fetching" && why.contains("503: try later; tried again in 1 s")
    });
    watched.wait_for_state(&id, &["published"]);
    let runs = desk.runs();
    lake.fail(1, 403);
    let id = tell(&watched, "update", "k2");
    let outcome = watched.wait_for_state(&id, &["failed"]);
    assert_eq!(outcome["detail"], "Sanity refused with 403: try later");
    assert_eq!(desk.runs(), runs, "nothing is built of what is not there");
}
