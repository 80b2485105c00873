//! The socket from both sides, with a daemon that is played here.

use std::os::unix::fs::FileTypeExt as _;

use hyper::Method;
use tempfile::TempDir;

use super::{
    client::{ControlClient, ControlError},
    status::{PublishNow, Published, StateWord, Status},
    *,
};

fn status() -> Status {
    Status::starting("my-site")
}

struct Desk {
    folder: TempDir,
    control: Control,
}

impl Desk {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let mut control = Control::new(status(), Means::default());
        control
            .listen_at(folder.path().join("control.sock"))
            .unwrap();
        Self { folder, control }
    }

    async fn client(&self) -> ControlClient {
        let path = self.folder.path().join("control.sock");
        ControlClient::connect(&path).await.unwrap()
    }
}

#[tokio::test]
async fn the_status_is_what_was_told_last() {
    let desk = Desk::new();
    let mut client = desk.client().await;
    assert_eq!(client.status().await.unwrap(), status());
    desk.control.tell(|status| status.state = StateWord::Live);
    assert_eq!(client.status().await.unwrap().state, StateWord::Live);
}

#[tokio::test]
async fn events_begin_with_what_holds_and_tell_each_change_once() {
    let desk = Desk::new();
    let mut client = desk.client().await;
    let mut seen = Vec::new();
    let control = &desk.control;
    let followed = client.follow::<ControlError>(|status| {
        seen.push(status.state);
        match seen.len() {
            // Told while the peer listens; what is no news is not told.
            1 => {
                control.tell(|status| status.state = StateWord::Starting);
                control.tell(|status| status.state = StateWord::Live);
                Ok(())
            }
            _ => Err(ControlError::NoDaemon),
        }
    });
    assert!(matches!(followed.await, Err(ControlError::NoDaemon)));
    assert_eq!(seen, [StateWord::Starting, StateWord::Live]);
}

#[tokio::test]
async fn the_daemon_is_asked_and_its_answer_comes_back() {
    let mut desk = Desk::new();
    let mut client = desk.client().await;
    let how = PublishNow {
        allow_removals: true,
    };
    let body = serde_json::to_vec(&how).unwrap();
    let asking = client.ask::<Published>(Method::POST, "/v1/publish", body);
    let daemon = async {
        match desk.control.next().await {
            Asked::Publish { how, done } => {
                assert!(how.allow_removals);
                done.send(Published::InStep).unwrap();
            }
            other => panic!("{other:?}"),
        }
    };
    let (published, ()) = tokio::join!(asking, daemon);
    assert_eq!(published.unwrap(), Published::InStep);

    let pausing = client.ask::<Status>(Method::POST, "/v1/pause", Vec::new());
    let daemon = async {
        match desk.control.next().await {
            Asked::Pause { done } => {
                desk.control.tell(|status| status.paused = true);
                done.send(()).unwrap();
            }
            other => panic!("{other:?}"),
        }
    };
    let (paused, ()) = tokio::join!(pausing, daemon);
    assert!(paused.unwrap().paused);
}

#[tokio::test]
async fn what_is_no_call_is_refused_with_a_reason() {
    let desk = Desk::new();
    let mut client = desk.client().await;
    let mut refused = async |method: Method, path: &'static str, body: &[u8]| match client
        .ask::<Status>(method, path, body.to_vec())
        .await
    {
        Err(ControlError::Refused { error, .. }) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        refused(Method::GET, "/v1/x", b"").await,
        "there is no call /v1/x"
    );
    assert_eq!(
        refused(Method::GET, "/v1/pause", b"").await,
        "this call takes POST"
    );
    let typing_error = br#"{"allowRemoval":true}"#;
    let error = refused(Method::POST, "/v1/publish", typing_error).await;
    assert!(error.contains("allowRemoval"), "{error}");
    let long = vec![b' '; 5_000];
    let error = refused(Method::POST, "/v1/publish", &long).await;
    assert!(error.contains("longer than 4096"), "{error}");
}

#[tokio::test]
async fn the_socket_is_the_owners_and_goes_with_the_daemon() {
    let desk = Desk::new();
    let path = desk.folder.path().join("control.sock");
    assert!(path.metadata().unwrap().file_type().is_socket());
    drop(desk.control);
    assert!(!path.exists());
    // What a killed daemon leaves is replaced, and is nobody until then.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let error = ControlClient::connect(&path).await.unwrap_err();
    assert!(matches!(error, ControlError::NoDaemon));
    let mut control = Control::new(status(), Means::default());
    control.listen_at(path.clone()).unwrap();
    ControlClient::connect(&path).await.unwrap();
    drop(control);
}

#[tokio::test]
async fn a_daemon_that_ends_says_so() {
    let mut desk = Desk::new();
    let mut client = desk.client().await;
    let asking = client.ask::<Published>(Method::POST, "/v1/publish", Vec::new());
    let daemon = async { drop(desk.control.next().await) };
    let (published, ()) = tokio::join!(asking, daemon);
    assert!(
        matches!(published, Err(ControlError::Refused { error, .. }) if error.contains("ended"))
    );
}
