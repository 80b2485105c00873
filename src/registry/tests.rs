//! Pushes against a registry that does what a test asks of it, over real sockets.

mod responder;

use std::{cell::RefCell, time::Duration};

use super::*;
use crate::http::HttpError;
use responder::{Auth, Locations, Reply, Responder};

const TOKEN: &str = "fm2_secret-of-the-test";

/// The same law as in earnest, a hundred times as fast.
fn fast() -> Pace {
    Pace {
        backoff: crate::publish::Backoff::new(Duration::from_millis(5), Duration::from_millis(20)),
        tries: 6,
        appearing: Duration::from_millis(5),
        looks: 4,
    }
}

fn registry(responder: &Responder) -> Registry {
    let credentials = Credentials::new("x", TOKEN);
    Registry::with_pace(&responder.host(), credentials, fast()).unwrap()
}

fn image() -> Image {
    let program = crate::image::static_program();
    Image::of_server(&program, "0.1.0").unwrap()
}

async fn push(responder: &Responder, image: &Image) -> Result<Pushed, RegistryError> {
    registry(responder)
        .push("my-app", image, "v1", |_| {})
        .await
}

/// Pushes and returns the events, without the digests.
async fn events(responder: &Responder, image: &Image) -> Vec<PushEvent> {
    let events = RefCell::new(Vec::new());
    registry(responder)
        .push("my-app", image, "v1", |event| {
            events.borrow_mut().push(event);
        })
        .await
        .unwrap();
    events.into_inner()
}

#[tokio::test]
async fn a_push_sends_two_blobs_and_a_manifest() {
    let responder = Responder::start().await;
    let image = image();
    let pushed = push(&responder, &image).await.unwrap();
    let bytes = (image.layer.bytes.len() + image.config.bytes.len()) as u64;
    let expected = Pushed {
        digest: image.digest(),
        reference: format!("{}/my-app@{}", responder.host(), image.digest()),
        blobs_sent: 2,
        bytes_sent: bytes,
    };
    assert_eq!(pushed, expected);
    for blob in [&image.layer, &image.config] {
        assert_eq!(responder.blob(blob.digest), Some(blob.bytes.clone()));
    }
    let (media_type, manifest) = responder.manifest("v1").unwrap();
    assert_eq!(
        (media_type.as_str(), manifest),
        (image.manifest.media_type, image.manifest.bytes.clone())
    );
    // With the first request already, and nothing but the credentials.
    let seen = responder.take_requests();
    assert_eq!(seen.len(), 7, "{seen:?}");
    assert!(seen.iter().all(|request| request.is_basic("x", TOKEN)));
}

/// Whoever provisions may do so in a task of its own.
#[tokio::test]
async fn a_push_can_be_moved_between_threads() {
    fn assert_send(_: &impl Send) {}
    let registry = Registry::new("registry.fly.io", Credentials::new("x", TOKEN)).unwrap();
    let image = image();
    assert_send(&registry.push("my-app", &image, "v1", |_| {}));
    assert_send(&registry.exists("my-app", "v1"));
}

#[tokio::test]
async fn a_second_push_sends_no_blob() {
    let responder = Responder::start().await;
    let image = image();
    push(&responder, &image).await.unwrap();
    responder.take_requests();
    let again = push(&responder, &image).await.unwrap();
    assert_eq!((again.blobs_sent, again.bytes_sent), (0, 0));
    let mut methods = responder.take_methods();
    methods.sort_unstable();
    assert_eq!(methods, ["HEAD", "HEAD", "PUT"]);
}

#[tokio::test]
async fn the_progress_tells_each_blob() {
    let responder = Responder::start().await;
    let image = image();
    let first = events(&responder, &image).await;
    let sizes = |blob: &crate::image::Blob| (blob.digest, blob.bytes.len() as u64);
    for (digest, bytes) in [sizes(&image.layer), sizes(&image.config)] {
        let sending = first
            .iter()
            .position(|event| *event == PushEvent::Sending { digest, bytes });
        let sent = first
            .iter()
            .position(|event| *event == PushEvent::Sent { digest, bytes });
        assert!(sending.unwrap() < sent.unwrap(), "{first:?}");
    }
    let digest = image.digest();
    assert_eq!(first.last(), Some(&PushEvent::Tagged { digest }));
    let second = events(&responder, &image).await;
    let (digest, bytes) = sizes(&image.layer);
    assert!(
        second.contains(&PushEvent::Present { digest, bytes }),
        "{second:?}"
    );
}

#[tokio::test]
async fn uploads_go_where_the_registry_says() {
    for locations in [
        Locations::Relative,
        Locations::Absolute,
        Locations::WithQuery,
        Locations::WithoutSlash,
    ] {
        let responder = Responder::start().await;
        responder.locate(locations);
        let image = image();
        push(&responder, &image).await.unwrap();
        assert_eq!(
            responder.blob(image.layer.digest),
            Some(image.layer.bytes.clone())
        );
    }
}

/// Its address is the permission; the token is nobody else's business.
#[tokio::test]
async fn an_upload_elsewhere_carries_no_credentials() {
    let responder = Responder::start().await;
    let storage = Responder::start().await;
    responder.locate(Locations::At(storage.url("/put-here?sig=abc")));
    let image = image();
    // The registry does not see what its storage has; this one does not look.
    push(&responder, &image).await.unwrap();
    assert_eq!(
        storage.blob(image.layer.digest),
        Some(image.layer.bytes.clone())
    );
    let seen = storage.take_requests();
    assert_eq!(seen.len(), 2);
    for request in seen {
        assert_eq!(request.authorisation, None);
        assert!(
            request
                .target
                .starts_with("/put-here?sig=abc&digest=sha256:"),
            "{request:?}"
        );
    }
}

#[tokio::test]
async fn addresses_that_would_leak_are_refused() {
    let responder = Responder::start().await;
    let own = responder.host();
    for location in [
        "http://example.org/upload".to_owned(),
        "ftp://127.0.0.1/upload".into(),
        format!("http://{own}//example.org/upload"),
        "http://[".into(),
    ] {
        responder.locate(Locations::At(location.clone()));
        let error = push(&responder, &image()).await.unwrap_err();
        assert!(
            matches!(error, RegistryError::BadAnswer { .. }),
            "{location}: {error:?}"
        );
    }
    responder.locate(Locations::Missing);
    let error = push(&responder, &image()).await.unwrap_err();
    assert!(error.to_string().contains("names no address"), "{error}");
}

#[tokio::test]
async fn what_passes_is_tried_again_for_each_blob() {
    let responder = Responder::start().await;
    for (method, part, reply) in [
        ("HEAD", "/blobs/", Reply::status(503)),
        (
            "POST",
            "/uploads/",
            Reply::status(429).with("retry-after", "0"),
        ),
        ("PUT", "/uploads/", Reply::status(502)),
        ("PUT", "/uploads/", Reply::hang_up()),
        ("PUT", "/manifests/", Reply::status(500)),
        (
            "PUT",
            "/manifests/",
            Reply::status(400).error("MANIFEST_BLOB_UNKNOWN", "blob unknown"),
        ),
    ] {
        responder.fail_once(method, part, reply);
    }
    let image = image();
    let events = events(&responder, &image).await;
    let retries: Vec<&String> = events
        .iter()
        .filter_map(|event| match event {
            PushEvent::Retrying { error, .. } => Some(error),
            _ => None,
        })
        .collect();
    assert_eq!(retries.len(), 6, "{retries:?}");
    assert!(
        retries
            .iter()
            .any(|error| error.contains("the connection broke")),
        "{retries:?}"
    );
    assert_eq!(
        responder.blob(image.layer.digest),
        Some(image.layer.bytes.clone())
    );
    assert!(responder.manifest("v1").is_some());
}

#[tokio::test]
async fn a_registry_that_stays_broken_is_given_up() {
    let responder = Responder::start().await;
    responder.fail_always(
        "POST",
        "/uploads/",
        Reply::status(503).error("UNAVAILABLE", "down"),
    );
    let error = push(&responder, &image()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Failed { .. }), "{error:?}");
    assert!(
        error.to_string().contains("unavailable: down (status 503)"),
        "{error}"
    );
}

#[tokio::test]
async fn nobody_there_is_said_so() {
    // A port that is taken and not listened on: nobody else can get it meanwhile.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let host = taken.local_addr().unwrap().to_string();
    let registry = Registry::with_pace(&host, Credentials::new("x", TOKEN), fast()).unwrap();
    let error = registry.exists("my-app", "v1").await.unwrap_err();
    let RegistryError::NoAnswer { source, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(matches!(source, HttpError::Connect(_)), "{source:?}");
}

#[tokio::test]
async fn an_app_that_was_just_made_is_waited_for() {
    let unknown = || Reply::status(404).error("NAME_UNKNOWN", "app repository not found");
    let responder = Responder::start().await;
    for reply in [unknown(), Reply::status(404).body("not found"), unknown()] {
        responder.fail_once("POST", "/uploads/", reply);
    }
    push(&responder, &image()).await.unwrap();

    let responder = Responder::start().await;
    responder.fail_always("POST", "/uploads/", unknown());
    let error = push(&responder, &image()).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::UnknownRepository { .. }),
        "{error:?}"
    );
    assert!(error.hint().contains("my-app exists"), "{}", error.hint());
}

#[tokio::test]
async fn refusals_end_a_push_at_once() {
    for (status, expected) in [
        (401, "does not accept"),
        (403, "may not push"),
        (413, "too large"),
    ] {
        let responder = Responder::start().await;
        responder.fail_always("PUT", "/uploads/", Reply::status(status));
        let error = push(&responder, &image()).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        let puts = responder.take_methods();
        let puts = puts.iter().filter(|method| *method == "PUT").count();
        assert!(puts <= 2, "one for each blob: {puts}");
    }
}

#[tokio::test]
async fn a_token_is_fetched_where_the_registry_wants_one() {
    let responder = Responder::start().await;
    let tokens = Responder::start().await;
    responder.authenticate(Auth::Bearer {
        realm: tokens.url("/token?account=x"),
        token: "made-for-this-push".into(),
    });
    tokens.fail_always(
        "GET",
        "/token",
        Reply::status(200).body(r#"{"token":"made-for-this-push"}"#),
    );
    push(&responder, &image()).await.unwrap();
    for request in tokens.take_requests() {
        assert!(request.is_basic("x", TOKEN), "{request:?}");
        assert_eq!(
            request.target,
            "/token?account=x&service=test&scope=repository%3Amy-app%3Apull%2Cpush"
        );
    }
    // The credentials went with what came before the challenge alone.
    let seen = responder.take_requests();
    let basic = seen
        .iter()
        .filter(|request| request.is_basic("x", TOKEN))
        .count();
    assert!((1..=2).contains(&basic), "{basic} of {}", seen.len());
}

#[tokio::test]
async fn a_token_service_that_refuses_or_leaks_is_told() {
    let tokens = Responder::start().await;
    let bearer = |realm: String| Auth::Bearer {
        realm,
        token: "t".into(),
    };
    tokens.fail_always("GET", "/no", Reply::status(401));
    tokens.fail_always(
        "GET",
        "/other",
        Reply::status(200).body(r#"{"token":"another"}"#),
    );
    tokens.fail_always(
        "GET",
        "/bad",
        Reply::status(200).body("{\"token\":\"a\\r\\nb\"}"),
    );
    let table = [
        (tokens.url("/no"), "does not accept the token"),
        // It is good for nothing here: the second 401 is the last.
        (tokens.url("/other"), "does not accept the token"),
        (tokens.url("/bad"), "sends no token"),
        ("http://example.org/token".into(), "without TLS"),
        ("no url".into(), "no usable URL"),
    ];
    for (realm, expected) in table {
        let responder = Responder::start().await;
        responder.authenticate(bearer(realm));
        let error = registry(&responder)
            .exists("my-app", "v1")
            .await
            .unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn what_is_there_is_found_by_tag_and_by_digest() {
    let responder = Responder::start().await;
    let image = image();
    let registry = registry(&responder);
    assert_eq!(registry.exists("my-app", "v1").await.unwrap(), None);
    push(&responder, &image).await.unwrap();
    let digest = Some(image.digest());
    assert_eq!(registry.exists("my-app", "v1").await.unwrap(), digest);
    let by_digest = image.digest().to_string();
    assert_eq!(registry.exists("my-app", &by_digest).await.unwrap(), digest);
    // A registry that names no digest is asked for the bytes.
    responder.hide_digests();
    assert_eq!(registry.exists("my-app", "v1").await.unwrap(), digest);
    push(&responder, &image).await.unwrap();
}

#[tokio::test]
async fn a_registry_that_keeps_something_else_is_found_out() {
    let other = crate::image::BlobDigest::of(b"another").to_string();
    for (part, status) in [("/manifests/", 201), ("/uploads/", 201)] {
        let responder = Responder::start().await;
        let reply = Reply::status(status).with("docker-content-digest", &other);
        responder.fail_always("PUT", part, reply);
        let error = push(&responder, &image()).await.unwrap_err();
        assert!(
            matches!(error, RegistryError::OtherDigest { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(&other), "{error}");
    }
    let responder = Responder::start().await;
    responder.hide_digests();
    responder.fail_always("PUT", "/manifests/", Reply::status(201));
    let error = push(&responder, &image()).await.unwrap_err();
    assert!(error.to_string().contains("not there after"), "{error}");
}

#[tokio::test]
async fn wrong_names_never_leave() {
    let responder = Responder::start().await;
    let registry = registry(&responder);
    let image = image();
    for (repository, tag) in [("My App", "v1"), ("my-app", "v/1"), ("../x", "v1")] {
        let error = registry
            .push(repository, &image, tag, |_| {})
            .await
            .unwrap_err();
        assert!(!error.hint().is_empty());
        assert!(registry.exists(repository, tag).await.is_err());
    }
    assert!(responder.take_requests().is_empty());
}

#[tokio::test]
async fn nothing_shows_the_password() {
    let responder = Responder::start().await;
    let registry = registry(&responder);
    let session = Session::new(&registry, "my-app");
    responder.fail_always("HEAD", "/manifests/", Reply::status(401));
    let error = registry.exists("my-app", "v1").await.unwrap_err();
    for text in [
        format!("{registry:?}"),
        format!("{session:?}"),
        format!("{error:?}"),
        error.to_string(),
    ] {
        assert!(!text.contains(TOKEN), "{text}");
    }
}
