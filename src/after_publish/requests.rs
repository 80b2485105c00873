//! From an event to what is sent: which requests, and their bodies. Pure.
//!
//! A request names the paths that it is about, so that one that is refused can be put aside by itself,
//! and has a key under which it is noted as done.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use onsave_protocol::{Sha256Digest, SitePath};
use onsave_server::config::TrailingSlash;
use serde::Serialize;
use serde_json::Value;

use super::{
    content::{Content, ContentTemplate, content_of},
    event::{Change, Event},
    routes,
};
use crate::config::{AfterAction, CachePurge, WebhookFormat};

/// Addresses in one purge: what every plan of Cloudflare's takes.
const PURGED_AT_ONCE: usize = 30;

/// The site that events are of.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its name.
    pub app: String,
    /// Where visitors see it, without a slash at the end.
    pub url: String,
    /// Which addresses its pages have.
    pub slash: TrailingSlash,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Planned {
    /// What it is noted as done under.
    pub(super) key: String,
    /// The paths that it is about; all where there are none.
    pub(super) paths: Vec<SitePath>,
    pub(super) what: What,
}

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// The event.
    Event,
    /// A content that is to be shown anew.
    Content {
        content: Content,
        action: &'static str,
        routes: Vec<String>,
        /// What is in it, where that is a JSON document.
        document: Option<(SitePath, Sha256Digest)>,
    },
    /// A document; none where it is gone.
    Document {
        path: SitePath,
        content: Option<Content>,
        digest: Option<Sha256Digest>,
    },
    /// Addresses to purge.
    Purge(Vec<String>),
}

/// Returns the requests of an event, in order.
pub(super) fn plan(action: &AfterAction, event: &Event, site: &Site) -> Vec<Planned> {
    match action {
        AfterAction::Webhook(webhook) if webhook.format == WebhookFormat::Icd => {
            contents(event, &webhook.templates, site)
        }
        AfterAction::Webhook(_) | AfterAction::FlyRestart(_) | AfterAction::Command(_) => {
            vec![Planned {
                key: "event".to_owned(),
                paths: Vec::new(),
                what: What::Event,
            }]
        }
        AfterAction::ContentSync(sync) => documents(event, &sync.templates),
        AfterAction::CachePurge(purge) => purges(event, purge, site),
        AfterAction::ByDaemon => Vec::new(),
    }
}

fn contents(event: &Event, templates: &[ContentTemplate], site: &Site) -> Vec<Planned> {
    let mut groups: BTreeMap<Content, BTreeMap<&SitePath, Change>> = BTreeMap::new();
    for (path, change) in &event.files {
        if let Some(content) = content_of(path, templates) {
            groups.entry(content).or_default().insert(path, *change);
        }
    }
    groups
        .into_iter()
        .map(|(content, files)| Planned {
            key: format!(
                "{}/{}",
                content.collection.as_deref().unwrap_or_default(),
                content.slug
            ),
            paths: files.keys().map(|path| (*path).clone()).collect(),
            what: What::Content {
                action: action(&files),
                routes: content_routes(&content, &files, site),
                document: files
                    .iter()
                    .filter(|(path, _)| is_json(path))
                    .find_map(|(path, change)| Some(((*path).clone(), digest(*change)?))),
                content,
            },
        })
        .collect()
}

fn action(files: &BTreeMap<&SitePath, Change>) -> &'static str {
    let all = |kind: fn(&Change) -> bool| files.values().all(kind);
    if all(|change| matches!(change, Change::Removed)) {
        "delete"
    } else if all(|change| matches!(change, Change::Added(_))) {
        "create"
    } else {
        "update"
    }
}

/// The addresses of its pages; a content that has no page here has one of its own name where it is shown.
fn content_routes(
    content: &Content,
    files: &BTreeMap<&SitePath, Change>,
    site: &Site,
) -> Vec<String> {
    let pages = files.keys().filter(|path| routes::is_page(path));
    let routes: Vec<String> = pages.map(|path| routes::route(path, site.slash)).collect();
    if !routes.is_empty() {
        return routes;
    }
    let name = match &content.collection {
        Some(collection) => format!("{collection}/{}", content.slug),
        None => content.slug.clone(),
    };
    vec![format!("/{}", routes::encoded(&name))]
}

fn documents(event: &Event, templates: &[ContentTemplate]) -> Vec<Planned> {
    let files = event.files.iter().filter(|(path, _)| is_json(path));
    files
        .map(|(path, change)| Planned {
            key: path.to_string(),
            paths: vec![path.clone()],
            what: What::Document {
                path: path.clone(),
                content: templates.iter().find_map(|template| template.content(path)),
                digest: digest(*change),
            },
        })
        .collect()
}

fn purges(event: &Event, purge: &CachePurge, site: &Site) -> Vec<Planned> {
    let own = [site.url.clone()];
    let bases = if purge.bases.is_empty() {
        &own[..]
    } else {
        &purge.bases
    };
    let mut seen = BTreeSet::new();
    let mut urls = Vec::new();
    for path in event.files.keys() {
        for route in routes::cached_routes(path) {
            for base in bases {
                let url = format!("{base}{route}");
                if seen.insert(url.clone()) {
                    urls.push(url);
                }
            }
        }
    }
    urls.chunks(PURGED_AT_ONCE)
        .map(|urls| Planned {
            // What is in a batch changes when events are merged: its first address does not name it.
            key: Sha256Digest::of(urls.join("\n").as_bytes()).to_hex(),
            paths: Vec::new(),
            what: What::Purge(urls.to_vec()),
        })
        .collect()
}

const fn digest(change: Change) -> Option<Sha256Digest> {
    match change {
        Change::Added(digest) | Change::Changed(digest) => Some(digest),
        Change::Removed => None,
    }
}

fn is_json(path: &SitePath) -> bool {
    path.as_str().strip_suffix(".json").is_some()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventBody<'a> {
    deploy_id: &'a str,
    app: &'a str,
    url: &'a str,
    published_at: String,
    added: Vec<&'a SitePath>,
    changed: Vec<&'a SitePath>,
    removed: Vec<&'a SitePath>,
    routes: BTreeSet<String>,
}

#[derive(Serialize)]
struct ContentBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    collection: Option<&'a str>,
    slug: &'a str,
    action: &'a str,
    paths: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DocumentBody<'a> {
    path: &'a SitePath,
    action: &'a str,
    deploy_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    collection: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slug: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Value>,
}

#[derive(Serialize)]
struct PurgeBody<'a> {
    files: &'a [String],
}

/// Returns the JSON that is sent, with the document where there is one.
pub(super) fn body(
    what: &What,
    (event, site): (&Event, &Site),
    document: Option<Value>,
) -> Vec<u8> {
    let written = match what {
        What::Event => serde_json::to_vec(&event_body(event, site)),
        What::Content {
            content,
            action,
            routes,
            ..
        } => serde_json::to_vec(&ContentBody {
            collection: content.collection.as_deref(),
            slug: &content.slug,
            action,
            paths: routes,
            document,
        }),
        What::Document {
            path,
            content,
            digest,
        } => serde_json::to_vec(&DocumentBody {
            path,
            action: if digest.is_some() { "upsert" } else { "delete" },
            deploy_id: &event.deploy_id,
            collection: content
                .as_ref()
                .and_then(|content| content.collection.as_deref()),
            slug: content.as_ref().map(|content| content.slug.as_str()),
            document,
        }),
        What::Purge(urls) => serde_json::to_vec(&PurgeBody { files: urls }),
    };
    written.expect("bodies have text keys and finite numbers")
}

fn event_body<'a>(event: &'a Event, site: &'a Site) -> EventBody<'a> {
    let ms = i64::try_from(event.published_unix_ms).unwrap_or(i64::MAX);
    let at = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX);
    let files = event.files.keys();
    EventBody {
        deploy_id: &event.deploy_id,
        app: &site.app,
        url: &site.url,
        published_at: at.to_string(),
        added: event.paths(|change| matches!(change, Change::Added(_))),
        changed: event.paths(|change| matches!(change, Change::Changed(_))),
        removed: event.paths(|change| matches!(change, Change::Removed)),
        routes: files.map(|path| routes::route(path, site.slash)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use onsave_protocol::Secret;
    use serde_json::json;

    use super::*;
    use crate::{
        after_publish::event::tests::event,
        config::{BuildCommand, CallUrl, ContentSync, Webhook},
    };

    fn site() -> Site {
        Site {
            app: "my-site".into(),
            url: "https://example.org".into(),
            slash: TrailingSlash::Auto,
        }
    }

    fn url() -> CallUrl {
        CallUrl {
            origin: "https://cms.example".into(),
            target: "/hook".into(),
        }
    }

    fn templates(texts: &[&str]) -> Vec<ContentTemplate> {
        texts
            .iter()
            .map(|text| ContentTemplate::parse(text).unwrap())
            .collect()
    }

    fn webhook(format: WebhookFormat, texts: &[&str]) -> AfterAction {
        AfterAction::Webhook(Webhook {
            url: url(),
            format,
            secret: None,
            templates: templates(texts),
        })
    }

    fn bodies(action: &AfterAction, event: &Event, document: Option<&Value>) -> Vec<Value> {
        plan(action, event, &site())
            .iter()
            .map(|planned| body(&planned.what, (event, &site()), document.cloned()))
            .map(|bytes| serde_json::from_slice(&bytes).unwrap())
            .collect()
    }

    #[test]
    fn a_webhook_tells_the_whole_event() {
        let event = event(
            "17-a",
            &[("about.html", "1"), ("old.css", "1")],
            &[("about.html", "2"), ("docs/index.html", "1")],
        );
        let expected = json!({
            "deployId": "17-a",
            "app": "my-site",
            "url": "https://example.org",
            "publishedAt": "2026-04-24T03:06:40Z",
            "added": ["docs/index.html"],
            "changed": ["about.html"],
            "removed": ["old.css"],
            "routes": ["/about", "/docs/", "/old.css"],
        });
        assert_eq!(
            bodies(&webhook(WebhookFormat::Onsave, &[]), &event, None),
            std::slice::from_ref(&expected)
        );
        let command = AfterAction::Command(BuildCommand::Shell("x".into()));
        assert_eq!(bodies(&command, &event, None), [expected]);
    }

    #[test]
    fn each_content_is_told_by_itself() {
        let event = event(
            "2",
            &[
                ("content/posts/a.json", "1"),
                ("content/posts/b.json", "1"),
                ("x.css", "1"),
            ],
            &[
                ("content/posts/a.json", "2"),
                ("content/posts/c.json", "1"),
                ("x.css", "2"),
            ],
        );
        let action = webhook(WebhookFormat::Icd, &["content/{collection}/{slug}.json"]);
        let document = json!({"title": "A"});
        let told = bodies(&action, &event, Some(&document));
        let content = |slug: &str, action: &str| {
            let path = format!("/posts/{slug}");
            json!({"collection": "posts", "slug": slug, "action": action, "paths": [path], "document": document})
        };
        let expected = [
            content("a", "update"),
            content("b", "delete"),
            content("c", "create"),
        ];
        assert_eq!(told, expected);
        let planned = plan(&action, &event, &site());
        let documents: Vec<_> = planned
            .iter()
            .map(|planned| {
                matches!(
                    &planned.what,
                    What::Content {
                        document: Some(_),
                        ..
                    }
                )
            })
            .collect();
        assert_eq!(
            documents,
            [true, false, true],
            "what is gone has no document"
        );
        let pages = event_of_pages();
        let told = bodies(&webhook(WebhookFormat::Icd, &[]), &pages, None);
        assert_eq!(
            told,
            [json!({"collection": "blog", "slug": "a", "action": "update", "paths": ["/blog/a/"]})]
        );
    }

    fn event_of_pages() -> Event {
        event(
            "2",
            &[("blog/a/index.html", "1")],
            &[("blog/a/index.html", "2"), ("a.css", "")],
        )
    }

    #[test]
    fn documents_are_told_with_what_became_of_them() {
        let action = AfterAction::ContentSync(ContentSync {
            url: url(),
            secret: Secret::from_text("s").unwrap(),
            templates: templates(&["{collection}/{slug}.json"]),
        });
        let event = event(
            "2",
            &[("p/a.json", "1")],
            &[("p/b.json", "1"), ("p/b.html", "1")],
        );
        let planned = plan(&action, &event, &site());
        assert_eq!(planned.len(), 2);
        let gone = body(&planned[0].what, (&event, &site()), None);
        let gone: Value = serde_json::from_slice(&gone).unwrap();
        let expected = json!({"path": "p/a.json", "action": "delete", "deployId": "2", "collection": "p", "slug": "a"});
        assert_eq!(gone, expected);
        let there = body(&planned[1].what, (&event, &site()), Some(json!([1])));
        let there: Value = serde_json::from_slice(&there).unwrap();
        let expected = json!({"path": "p/b.json", "action": "upsert", "deployId": "2", "collection": "p", "slug": "b", "document": [1]});
        assert_eq!(there, expected);
    }

    #[test]
    fn purges_come_in_batches_of_thirty_and_no_address_twice() {
        let purge = |bases: &[&str]| {
            AfterAction::CachePurge(CachePurge {
                zone: "0".repeat(32),
                token: Secret::from_text("t").unwrap(),
                bases: bases.iter().map(ToString::to_string).collect(),
                api_url: "https://api.cloudflare.com".into(),
            })
        };
        let one = event("2", &[], &[("a/index.html", "")]);
        let told = bodies(&purge(&[]), &one, None);
        let urls =
            ["/a/", "/a", "/a/index.html"].map(|route| format!("https://example.org{route}"));
        assert_eq!(told, [json!({"files": urls})]);
        let names: Vec<String> = (10..32).map(|number| format!("{number}.css")).collect();
        let files: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
        let told = bodies(
            &purge(&["https://a.example", "https://b.example"]),
            &event("2", &[], &files),
            None,
        );
        let counts: Vec<_> = told
            .iter()
            .map(|body| body["files"].as_array().unwrap().len())
            .collect();
        assert_eq!(counts, [30, 14]);
    }
}
