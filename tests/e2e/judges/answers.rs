//! httplint on every kind of answer that the server has.

use serde_json::{Value, json};

use super::notes::{self, Accepted};
use crate::harness::{
    World,
    http::{Answer, Connection, Request},
    sync_client, wait_for,
};

const OLD_SCRIPT: &str = "assets/app.3f9c2b1a.js";
const NEW_SCRIPT: &str = "assets/app.77d0e4c2.js";
const PAGE: &str = "text/html,application/xhtml+xml,*/*;q=0.8";
/// The day before anything here was saved.
const LONG_AGO: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

const ACCEPTED: &[Accepted] = &[
    Accepted {
        note: "STORE_PUBLIC_UNNECESSARY",
        answers: &[
            "stylesheet",
            "image",
            "fingerprinted script",
            "script of an earlier deploy",
        ],
        why: "a shared cache may keep assets also where a proxy in front asks for a password (RFC 9111, section 3.5)",
    },
    Accepted {
        note: "PARTIAL_WITHOUT_RANGE",
        answers: &["two ranges"],
        why: "of several parts each has its own Content-Range, and the answer must have none (RFC 9110, section 15.3.7.2)",
    },
    Accepted {
        note: "FRESHNESS_NO_CACHE_NO_VALIDATOR",
        answers: &["rule 301", "gone", "gone with a page"],
        why: "what caches would keep by themselves has to be asked for anew, since the next save may change it",
    },
    Accepted {
        note: "STATUS_BAD_REQUEST",
        answers: &["malformed"],
        why: "the request is at fault, as the test means it to be",
    },
];

/// One exchange as it is asked for: the name of the answer, its status, and the request.
struct Kind {
    answer: &'static str,
    status: u16,
    method: &'static str,
    target: &'static str,
    headers: Vec<(&'static str, String)>,
}

impl Kind {
    fn get(answer: &'static str, status: u16, target: &'static str) -> Self {
        Self {
            answer,
            status,
            method: "GET",
            target,
            headers: Vec::new(),
        }
    }

    fn method(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Asks for it and returns the exchange as the linter reads it.
    fn exchange(&self, connection: &mut Connection) -> Value {
        let answer = connection
            .send(&self.request())
            .unwrap_or_else(|error| panic!("{}: {error}", self.answer));
        assert_eq!(answer.status, self.status, "{}", self.answer);
        let mut asked = self.headers.clone();
        asked.push(("user-agent", "e2e".to_owned()));
        json!({
            "answer": self.answer,
            "method": self.method,
            "target": self.target,
            "asked": asked,
            "status": answer.status,
            "headers": answer.headers(),
            "body": answer.body,
        })
    }

    fn request(&self) -> Request<'static> {
        Request {
            method: self.method,
            target: self.target,
            headers: self.headers.clone(),
            ..Request::default()
        }
    }
}

/// Publishes a site twice: the second deploy has another script and a page that was rewritten.
fn publish(world: &World) {
    let words =
        "Every word of this page is here to be encoded, and then it is here again. ".repeat(60);
    world.site.write("index.html", &page(&words));
    world.site.write("about.html", &page("about"));
    world.site.write("blog/index.html", &page("blog"));
    world
        .site
        .write("blog/404.html", &page("nothing in the blog"));
    world.site.write("farewell.html", &page("it was here"));
    world.site.write("css/site.css", "main { color: navy }\n");
    world.site.write(
        "img/mark.svg",
        "<svg xmlns=\"http://www.w3.org/2000/svg\"/>\n",
    );
    world.site.write("notes.txt", &words);
    world.site.write(OLD_SCRIPT, "console.log(1);\n");
    world.site.write(
        "_redirects",
        "/old /about 301\n/temp /about 302\n/gone /farewell 410\n/away /nowhere 410\n\
         /app/* /index.html 200\n",
    );
    world
        .site
        .write("_headers", "/about\n  Content-Language: en\n");
    let first = world.site.tree();
    let published = sync_client::publish(world.address(), None, (&<_>::default(), &first))
        .expect("the server answers");
    world.site.remove(OLD_SCRIPT);
    world.site.write(NEW_SCRIPT, "console.log(2);\n");
    let base = published.deploy_id.to_string();
    sync_client::publish(world.address(), Some(&base), (&first, &world.site.tree()))
        .expect("the server answers");
}

fn page(text: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>A page</title>\n<p>{text}\n"
    )
}

/// Returns the answer that is encoded; the first request for a file may find no encoder free.
fn encoded(connection: &mut Connection, kind: &Kind) -> Answer {
    wait_for(kind.answer, || {
        let answer = connection
            .send(&kind.request())
            .expect("the server answers");
        answer
            .header("content-encoding")
            .is_some()
            .then_some(answer)
    })
}

fn kinds(of_page: &Answer) -> Vec<Kind> {
    let tag = of_page.header("etag").expect("a file has a tag").to_owned();
    let mut kinds = vec![
        Kind::get("page", 200, "/"),
        Kind::get("head", 200, "/").method("HEAD"),
        Kind::get("folder", 200, "/blog/"),
        Kind::get("page with a rule", 200, "/about"),
        Kind::get("stylesheet", 200, "/css/site.css"),
        Kind::get("image", 200, "/img/mark.svg"),
        Kind::get("fingerprinted script", 200, "/assets/app.77d0e4c2.js"),
        Kind::get(
            "script of an earlier deploy",
            200,
            "/assets/app.3f9c2b1a.js",
        ),
        Kind::get("page of an application", 200, "/app/settings").header("accept", PAGE),
        Kind::get("not modified by tag", 304, "/").header("if-none-match", tag.as_str()),
        Kind::get("not modified by date", 304, "/").header(
            "if-modified-since",
            of_page.header("last-modified").expect("it has a date"),
        ),
        Kind::get("precondition failed", 412, "/").header("if-match", "\"other\""),
        Kind::get("precondition on dates failed", 412, "/").header("if-unmodified-since", LONG_AGO),
        Kind::get("one range", 206, "/").header("range", "bytes=0-99"),
        Kind::get("one range if unchanged", 206, "/")
            .header("range", "bytes=-100")
            .header("if-range", tag.as_str()),
        Kind::get("two ranges", 206, "/").header("range", "bytes=0-9,2000-2009"),
        Kind::get("range not satisfiable", 416, "/").header("range", "bytes=999999-"),
        Kind::get("rule 301", 301, "/old"),
        Kind::get("rule 302", 302, "/temp"),
        Kind::get("slash added", 308, "/blog"),
        Kind::get("slash dropped", 308, "/about/?a=1"),
        Kind::get("not found", 404, "/nowhere"),
        Kind::get("not found with a page", 404, "/blog/nowhere"),
        Kind::get("missing script of an application", 404, "/app/missing.js"),
        Kind::get("gone", 410, "/away"),
        Kind::get("gone with a page", 410, "/gone"),
        Kind::get("malformed", 400, "/%zz"),
        Kind::get("post", 405, "/").method("POST"),
        Kind::get("options", 204, "/").method("OPTIONS"),
        Kind::get("health", 200, "/_icd/health"),
        Kind::get("health by HEAD", 200, "/_icd/health").method("HEAD"),
        Kind::get("unsigned call", 401, "/_icd/manifest"),
    ];
    for (answer, coding) in [
        ("page in brotli", "br"),
        ("page in zstd", "zstd"),
        ("page in gzip", "gzip"),
    ] {
        kinds.push(Kind::get(answer, 200, "/").header("accept-encoding", coding));
    }
    kinds
}

#[test]
fn no_answer_of_any_kind_has_a_fault() {
    let world = World::new();
    let mut connection = Connection::open(world.address()).expect("the server listens");
    let waiting = Kind::get("before the first deploy", 503, "/");
    let mut exchanges = vec![waiting.exchange(&mut connection)];
    publish(&world);
    let of_page = connection
        .send(&Kind::get("page", 200, "/").request())
        .expect("the server answers");
    for kind in kinds(&of_page) {
        if kind
            .headers
            .iter()
            .any(|(name, _)| *name == "accept-encoding")
        {
            let tag = encoded(&mut connection, &kind);
            assert_ne!(
                tag.header("etag"),
                of_page.header("etag"),
                "{}",
                kind.answer
            );
        }
        exchanges.push(kind.exchange(&mut connection));
    }
    let verdicts = notes::verdicts("lint_answers.py", &exchanges);
    notes::assert_accepted(&verdicts, ACCEPTED);
}
