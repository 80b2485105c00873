//! After a publish, others are told of it: at least once, in order, and whatever happens in between.

use std::{
    collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _, process::Command, time::Duration,
};

use serde_json::{Value, json};

use crate::harness::{
    World,
    deadline::throughout,
    eventually,
    installed::{INSTALL, installed},
    receiver::{Heard, Receiver},
    wait_for,
};

/// A project whose publishes are told to a receiver.
struct Project {
    world: World,
    receiver: Receiver,
}

impl Project {
    /// Makes a project with these entries, in which `URL` stands for the receiver's.
    fn new(entries: &str) -> Self {
        let project = Self {
            world: World::with_small_site(),
            receiver: Receiver::start(),
        };
        project.configure(entries);
        project
    }

    fn configure(&self, entries: &str) {
        self.world
            .configure(&entries.replace("URL", &self.receiver.url()));
    }

    /// Writes a secret that only its owner may read.
    fn secret(&self, name: &str, text: &str) {
        let path = self.world.project().join(name);
        fs::write(&path, text).expect("the project can be written");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("it is ours");
    }

    /// Waits until so many requests were taken.
    fn wait_for_taken(&self, count: usize) -> Vec<Heard> {
        wait_for(&format!("{count} requests to be taken"), || {
            let taken = self.receiver.taken();
            (taken.len() >= count).then_some(taken)
        })
    }

    fn deliveries(&self) -> Vec<Value> {
        let text = self.world.run_well(&["deliveries", "list", "--json"]);
        let listed: Value = serde_json::from_str(&text).expect("it is JSON");
        listed["deliveries"].as_array().expect("a list").clone()
    }

    /// Saves a page, and waits until it is live.
    fn publish(&self, path: &str, text: &str) {
        self.world.site.save(path, text);
        self.world.wait_until_live(&self.world.site.tree());
    }
}

const WEBHOOK: &str =
    "[[after_publish]]\nkind = \"webhook\"\nname = \"cms\"\nurl = \"URL/hook?a=1\"\n";

/// The judge is the package of Standard Webhooks: it gives back the body that it verified.
fn verified(heard: &Heard, secret: &str, format: &str) -> Value {
    const JUDGE: &str = "\
import { createRequire } from 'node:module';\n\
const require = createRequire(process.argv[1] + '/');\n\
const { Webhook } = require('standardwebhooks');\n\
const { secret, format, body, headers } = JSON.parse(process.argv[2]);\n\
const webhook = new Webhook(secret, format === 'raw' ? { format: 'raw' } : undefined);\n\
console.log(JSON.stringify(webhook.verify(body, headers)));\n";
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers: serde_json::Map<_, _> = names
        .iter()
        .map(|name| ((*name).to_owned(), json!(heard.header(name))))
        .collect();
    let order = json!({"secret": secret, "format": format, "body": heard.body, "headers": headers});
    let output = Command::new("node")
        .args(["--input-type=module", "--eval", JUDGE, "--"])
        .arg(installed("node-judges"))
        .arg(order.to_string())
        .output()
        .unwrap_or_else(|error| panic!("cannot run node: {error}; {INSTALL}"));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

#[test]
fn a_webhook_tells_each_publish_and_its_signature_holds() {
    for (secret, format) in [
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "base64"),
        ("a plain secret", "raw"),
    ] {
        let project = Project::new(&format!("{WEBHOOK}secret_file = \"key\"\n"));
        project.secret("key", secret);
        let daemon = project.world.watch_until_live();
        let first = project.wait_for_taken(1);
        assert_eq!(first[0].line, "POST /hook?a=1");
        let told = verified(&first[0], secret, format);
        assert_eq!(
            told["added"],
            json!(["about.html", "blog/a/index.html", "index.html"])
        );
        assert_eq!(told["routes"], json!(["/", "/about", "/blog/a/"]));
        assert_eq!(told["app"], "project");
        assert_eq!(told["deployId"], json!(project.world.current_deploy()));
        project.world.site.remove("about.html");
        project.publish("index.html", "<h1>second</h1>");
        let heard = wait_for("the removal to be told", || {
            let taken = project.receiver.taken();
            let told: BTreeSet<_> = taken[1..]
                .iter()
                .flat_map(|heard| heard.json()["removed"].as_array().unwrap().clone())
                .map(|path| path.to_string())
                .collect();
            let changed = taken
                .iter()
                .any(|heard| heard.json()["changed"] == json!(["index.html"]));
            (told.len() == 1 && changed).then_some(taken)
        });
        for heard in &heard {
            verified(heard, secret, format);
        }
        assert!(!daemon.stderr().contains(secret), "{}", daemon.stderr());
        assert!(project.deliveries().is_empty());
    }
}

#[test]
fn what_could_not_be_delivered_comes_later_and_in_order() {
    let project = Project::new(WEBHOOK);
    let mut daemon = project.world.watch_until_live();
    project.wait_for_taken(1);
    project.receiver.answer(503, "not now");
    for text in ["one", "two", "three"] {
        project.publish("index.html", text);
    }
    eventually("a try to fail", || project.receiver.heard().len() > 1);
    eventually("all three to wait", || project.deliveries().len() == 3);
    project.receiver.answer(200, "");
    let taken = project.wait_for_taken(4);
    let ids: Vec<String> = taken
        .iter()
        .map(|heard| heard.json()["deployId"].to_string())
        .collect();
    assert!(
        ids.is_sorted() && ids.iter().collect::<BTreeSet<_>>().len() == 4,
        "{ids:?}"
    );
    eventually("nothing to wait", || project.deliveries().is_empty());
    assert_eq!(project.receiver.taken().len(), 4, "each came once");
    assert!(daemon.terminate().success());
}

#[test]
fn what_is_refused_is_put_aside_and_can_be_sent_again() {
    let project = Project::new(WEBHOOK);
    let _daemon = project.world.watch_until_live();
    project.wait_for_taken(1);
    project.receiver.answer(422, "no such collection");
    project.publish("index.html", "refused");
    let dead = wait_for("the refusal", || {
        let deliveries = project.deliveries();
        (deliveries.len() == 1 && deliveries[0]["state"] == "dead").then(|| deliveries[0].clone())
    });
    assert_eq!(dead["error"], "the answer is 422: no such collection");
    assert_eq!(
        (&dead["entry"], &dead["paths"]),
        (&json!("cms"), &json!(["index.html"]))
    );
    project.receiver.answer(200, "");
    // The next one is not kept back.
    project.publish("about.html", "taken");
    let taken = project.wait_for_taken(2);
    assert_eq!(taken[1].json()["changed"], json!(["about.html"]));
    let id = dead["id"].as_str().unwrap();
    let said = project.world.run_well(&["deliveries", "resend", id]);
    assert!(said.contains("the running daemon sends it"), "{said}");
    let taken = project.wait_for_taken(3);
    assert_eq!(taken[2].json()["changed"], json!(["index.html"]));
    let refused = project.receiver.heard();
    let refused = refused.iter().find(|heard| heard.status == 422).unwrap();
    assert_eq!(refused.header("webhook-id"), taken[2].header("webhook-id"));
    eventually("nothing to be left", || project.deliveries().is_empty());
    let unknown = project.world.run(&["deliveries", "drop", id]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("there is no delivery"));
}

#[test]
fn without_a_daemon_a_command_delivers_by_itself() {
    let project = Project::new(WEBHOOK);
    project.world.run_well(&["publish"]);
    assert_eq!(project.receiver.taken().len(), 1);
    project.receiver.answer(400, "");
    project.world.site.save("index.html", "<h1>second</h1>");
    let output = project.world.run(&["publish"]);
    assert!(
        output.status.success(),
        "the publish itself is well: {output:?}"
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("1 deliveries were not made"), "{said}");
    let text = project.world.run_well(&["deliveries", "list"]);
    assert!(text.starts_with("failed cms."), "{text}");
    project.receiver.answer(200, "");
    let resent = project
        .world
        .run_well(&["deliveries", "resend", "--all", "--json"]);
    assert_eq!(
        serde_json::from_str::<Value>(&resent).unwrap(),
        json!({"resent": 1, "left": []})
    );
    let second = project.receiver.taken()[1].json();
    // What a rollback changes is told too.
    project.world.run_well(&["rollback"]);
    let told = project.receiver.taken()[2].json();
    assert_eq!(told["changed"], json!(["index.html"]));
    assert_ne!(told["deployId"], second["deployId"]);
    assert_eq!(told["deployId"], json!(project.world.current_deploy()));
    // Nothing new, nothing told.
    project.world.run_well(&["publish", "--dry-run"]);
    assert_eq!(project.receiver.taken().len(), 3);
}

#[test]
fn one_changed_page_is_told_only_to_whom_it_is_for() {
    let entry = |name: &str, paths: &str| {
        let path = format!("url = \"URL/{name}\"");
        format!(
            "[[after_publish]]\nkind = \"webhook\"\nname = \"{name}\"\n{path}\npaths = {paths}\n"
        )
    };
    let project = Project::new(&(entry("blog", "[\"blog/\"]") + &entry("pages", "[\"/*.html\"]")));
    let daemon = project.world.watch_until_live();
    project.wait_for_taken(2);
    project.publish("about.html", "changed");
    let taken = project.wait_for_taken(3);
    assert_eq!(taken[2].line, "POST /pages");
    // Another receiver, without a restart.
    project.configure(&(entry("blog", "[\"nothing/\"]") + &entry("other", "[\"blog/\"]")));
    eventually("the reload", || {
        daemon.stderr().contains("reloaded, from the next save on")
    });
    project.publish("blog/a/index.html", "changed");
    let taken = project.wait_for_taken(4);
    assert_eq!(taken[3].line, "POST /other");
    throughout(Duration::from_millis(300), "nobody else is told", || {
        project.receiver.heard().len() == 4
    });
}

#[test]
fn documents_are_told_with_what_became_of_them() {
    let project = Project::new(
        "[[after_publish]]\nkind = \"content-sync\"\nurl = \"URL/internal/content-sync\"\n\
         secret_file = \"key\"\npaths = [\"content/\"]\n\n\
         [[after_publish]]\nkind = \"webhook\"\nname = \"next\"\nformat = \"icd\"\nurl = \"URL/revalidate\"\n\
         template = [\"content/{collection}/{slug}.json\"]\n",
    );
    project.secret("key", "s3cret");
    let _daemon = project.world.watch_until_live();
    project.publish("content/posts/a.json", "{\"title\":\"A\"}");
    let of = |path: &str, count: usize| {
        wait_for(path, || {
            let mut taken = project.receiver.taken();
            taken.retain(|heard| heard.line == format!("POST {path}"));
            (taken.len() >= count).then(|| taken[count - 1].clone())
        })
    };
    let synced = of("/internal/content-sync", 1);
    assert_eq!(synced.header("x-sync-secret"), "s3cret");
    let id = project.world.current_deploy();
    let expected = json!({"path": "content/posts/a.json", "action": "upsert", "deployId": id, "document": {"title": "A"}});
    assert_eq!(synced.json(), expected);
    let revalidated = of("/revalidate", 1);
    assert_eq!(revalidated.header("x-cms-event"), "content.revalidate");
    let expected = json!({"collection": "posts", "slug": "a", "action": "create", "paths": ["/posts/a"], "document": {"title": "A"}});
    assert_eq!(revalidated.json(), expected);
    project.world.site.remove("content/posts/a.json");
    project.world.wait_until_live(&project.world.site.tree());
    let id = project.world.current_deploy();
    let expected = json!({"path": "content/posts/a.json", "action": "delete", "deployId": id});
    assert_eq!(of("/internal/content-sync", 2).json(), expected);
    let expected =
        json!({"collection": "posts", "slug": "a", "action": "delete", "paths": ["/posts/a"]});
    assert_eq!(of("/revalidate", 2).json(), expected);
    // A rollback brings back a document that the site folder has no more.
    project.world.run_well(&["rollback"]);
    assert_eq!(
        of("/internal/content-sync", 3).json()["document"],
        json!({"title": "A"})
    );
}

#[test]
fn changed_addresses_are_purged() {
    let zone = "0123456789abcdef0123456789abcdef";
    let project = Project::new(&format!(
        "[[after_publish]]\nkind = \"cache-purge\"\nzone = \"{zone}\"\napi_url = \"URL\"\n\
         base = [\"https://www.example.org\"]\nsecret_file = \"token\"\n"
    ));
    project.secret("token", "t0ken");
    let _daemon = project.world.watch_until_live();
    project.wait_for_taken(1);
    project.publish("blog/a/index.html", "changed");
    let purged = project.wait_for_taken(2)[1].clone();
    assert_eq!(
        purged.line,
        format!("POST /client/v4/zones/{zone}/purge_cache")
    );
    assert_eq!(purged.header("authorization"), "Bearer t0ken");
    let files = ["/blog/a/", "/blog/a", "/blog/a/index.html"]
        .map(|path| format!("https://www.example.org{path}"));
    assert_eq!(purged.json(), json!({"files": files}));
    project.receiver.answer(
        200,
        "{\"success\":false,\"errors\":[{\"code\":10000,\"message\":\"Authentication error\"}]}",
    );
    project.publish("index.html", "changed");
    let dead = wait_for("the refusal", || {
        let mut deliveries = project.deliveries().into_iter();
        deliveries.find(|found| found["state"] == "dead")
    });
    assert_eq!(
        dead["error"],
        "the purge failed: Authentication error (code 10000)"
    );
}

#[test]
fn a_command_runs_with_the_event_and_without_secrets() {
    let project = Project::new(
        "[[after_publish]]\nkind = \"command\"\npaths = [\"/index.html\"]\n\
         command = [\"sh\", \"-c\", \"cat > ../event.new; env > ../env; mv ../event.new ../event\"]\n\n\
         [[after_publish]]\nkind = \"webhook\"\nurl = \"URL/\"\nsecret_env = \"HOOK_SECRET\"\n",
    );
    let mut command = project.world.command(&["watch"]);
    command
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOOK_SECRET", "hunter2");
    let _daemon = project.world.start("watch", &mut command);
    project.world.wait_until_live(&project.world.site.tree());
    let path = project.world.path("event");
    let event = wait_for("the command", || fs::read_to_string(&path).ok());
    let event: Value = serde_json::from_str(&event).unwrap();
    assert_eq!(event["added"], json!(["index.html"]));
    let env = fs::read_to_string(project.world.path("env")).unwrap();
    assert!(env.contains("PATH="), "{env}");
    for secret in ["HOOK_SECRET", "hunter2", "ONSAVE_SYNC_SECRET"] {
        assert!(!env.contains(secret), "{secret}");
    }
}

#[test]
fn a_daemon_that_is_killed_tells_everything_at_its_next_start() {
    let project = Project::new(WEBHOOK);
    let mut daemon = project.world.watch_until_live();
    project.wait_for_taken(1);
    // As soon as each is live: before it is noted, while it is, or while it is delivered.
    for round in 0..6 {
        let text = format!("round {round}");
        project.world.site.save("index.html", &text);
        project.world.wait_for_page("/", &text);
        daemon.kill();
        let id = project.world.current_deploy().unwrap();
        let name = format!("watch-{round}");
        daemon = project
            .world
            .start(&name, &mut project.world.command(&["watch"]));
        eventually("the publish to be told", || {
            let taken = project.receiver.taken();
            taken.iter().any(|heard| {
                let told = heard.json();
                told["deployId"] == id.as_str() && told["changed"] == json!(["index.html"])
            })
        });
    }
    // While the receiver is away.
    project.receiver.answer(500, "");
    project.publish("about.html", "while it was away");
    eventually("a try", || {
        project
            .receiver
            .heard()
            .iter()
            .any(|heard| heard.status == 500)
    });
    daemon.kill();
    let before = project.receiver.taken().len();
    project.receiver.answer(200, "");
    let _daemon = project
        .world
        .start("watch-last", &mut project.world.command(&["watch"]));
    let taken = project.wait_for_taken(before + 1);
    assert_eq!(taken[before].json()["changed"], json!(["about.html"]));
}
