//! The deliveries of a daemon as a whole: what is handed over, what a stop leaves, what a start finds.

use std::{path::Path, sync::Arc};

use onsave_protocol::{Changeset, Manifest, changeset::diff, wire::v1::ManifestBody};
use onsave_server::config::TrailingSlash;

use super::*;
use crate::{
    after_publish::{event::tests::tree, outbox::tests::entry},
    http::Wire,
    publish::ChangeCounts,
};

/// Deliveries whose command notes each event in a file, a line each.
fn setup(home: &Path) -> Setup {
    let line = "cat >> told.json && echo >> told.json";
    let mut entry = entry("x", &[]);
    entry.action =
        crate::config::AfterAction::Command(crate::config::BuildCommand::Shell(line.into()));
    Setup {
        folder: home.join("deliveries"),
        target: "t".into(),
        target_url: "http://127.0.0.1:1".into(),
        site: Site {
            app: "site".into(),
            url: "https://example.org".into(),
            slash: TrailingSlash::Auto,
        },
        root: home.to_owned(),
        dir: home.join("deploy"),
        entries: vec![entry],
        kept: Vec::new(),
    }
}

fn remote(id: &str, manifest: &Manifest) -> RemoteState {
    RemoteState::from_wire(ManifestBody {
        deploy_id: Some(id.to_owned()),
        files: manifest
            .iter()
            .map(|(path, entry)| (path.to_string(), entry.digest.to_hex()))
            .collect(),
    })
}

fn report(id: &str, base: &str, changeset: Changeset) -> PublishReport {
    PublishReport {
        deploy_id: id.to_owned(),
        base: Some(base.to_owned()),
        added: std::collections::BTreeSet::new(),
        changeset: Arc::new(changeset),
        counts: ChangeCounts::default(),
        wire: Wire::default(),
        send: Duration::ZERO,
        server: None,
    }
}

async fn begun(setup: &Setup, id: &str, manifest: &Manifest) {
    let (id, manifest) = (id.to_owned(), manifest.clone());
    with_outbox(setup, move |outbox| outbox.begin(Some(&id), manifest))
        .await
        .unwrap();
}

/// Returns the deploys that were told, once there are so many.
async fn told(home: &Path, count: usize) -> Vec<String> {
    let wait = async {
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        loop {
            let text = std::fs::read_to_string(home.join("told.json")).unwrap_or_default();
            let told: Vec<String> = text
                .lines()
                .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
                .map(|event| event["deployId"].as_str().unwrap().to_owned())
                .collect();
            if told.len() >= count {
                return told;
            }
            looks.tick().await;
        }
    };
    timeout(Duration::from_secs(20), wait).await.unwrap()
}

#[tokio::test]
async fn publishes_are_told_in_order_and_what_was_seen_already_is_not() {
    let home = tempfile::tempdir().unwrap();
    let setup = setup(home.path());
    let trees = ["1", "2", "3"].map(|text| tree(&[("a", text)]));
    begun(&setup, "1", &trees[0]).await;
    let mut deliveries = Deliveries::start(setup);
    assert!(deliveries.is_on());
    deliveries.seen(&remote("1", &trees[0]), None);
    for (index, pair) in trees.windows(2).enumerate() {
        let (base, id) = ((index + 1).to_string(), (index + 2).to_string());
        let report = report(&id, &base, diff(&pair[0], &pair[1]));
        deliveries.seen(&remote(&id, &pair[1]), Some(&report));
        deliveries.seen(&remote(&id, &pair[1]), None);
    }
    assert_eq!(told(home.path(), 2).await, ["2", "3"]);
    deliveries.stop().await;
}

#[tokio::test]
async fn what_is_handed_over_before_a_stop_is_written() {
    let home = tempfile::tempdir().unwrap();
    let setup = setup(home.path());
    let (first, second) = (tree(&[("a", "1")]), tree(&[("a", "2")]));
    begun(&setup, "1", &first).await;
    let mut deliveries = Deliveries::start(setup.clone());
    deliveries.seen(&remote("2", &second), None);
    deliveries.stop().await;
    // Whether or not the command came to run before the stop, nothing is lost.
    let again = Deliveries::start(setup);
    assert_eq!(told(home.path(), 1).await, ["2"]);
    again.stop().await;
    assert_eq!(told(home.path(), 1).await, ["2"]);
}

#[tokio::test]
async fn more_than_can_be_kept_in_memory_is_found_by_the_next_look() {
    let home = tempfile::tempdir().unwrap();
    let setup = setup(home.path());
    let text = |number: usize| tree(&[("a", number.to_string().as_str())]);
    begun(&setup, "0", &text(0)).await;
    let mut deliveries = Deliveries::start(setup);
    // The manager does not come to run between two of them.
    let last = MOST_UNRECORDED * 2;
    for number in 1..=last {
        let (id, base) = (number.to_string(), (number - 1).to_string());
        let report = report(&id, &base, diff(&text(number - 1), &text(number)));
        deliveries.seen(&remote(&id, &text(number)), Some(&report));
    }
    told(home.path(), MOST_UNRECORDED).await;
    deliveries.seen(&remote(&last.to_string(), &text(last)), None);
    let all = told(home.path(), MOST_UNRECORDED + 1).await;
    assert_eq!(all.last().unwrap(), &last.to_string());
    deliveries.stop().await;
}

#[tokio::test]
async fn without_entries_nothing_is_written() {
    let home = tempfile::tempdir().unwrap();
    let setup = Setup {
        entries: Vec::new(),
        ..setup(home.path())
    };
    let mut deliveries = Deliveries::start(setup.clone());
    assert!(!deliveries.is_on());
    deliveries.seen(&remote("1", &tree(&[("a", "1")])), None);
    deliveries.stop().await;
    assert_eq!(
        record_once(&setup, &remote("1", &Manifest::new()), None)
            .await
            .unwrap(),
        0
    );
    assert!(!setup.folder.exists());
}
