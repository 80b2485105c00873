//! Random commits, rollbacks and restarts against a plain map.

use std::{collections::BTreeMap, fs, num::NonZeroUsize};

use onsave_protocol::{Changeset, DeployId};
use onsave_server::store::{CommitRequest, DeployNote, Store, StoreError, StoreOptions};
use proptest::prelude::*;

use super::site::{TestVolume, entry, folders_below, ids, path, served, upload};

const KEEP: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    /// Puts (path, content) and removes.
    Commit(Vec<(String, u8)>, Vec<String>),
    /// To the kept deploy at this place, modulo their number.
    RollBack(usize),
    /// Closes in order and opens again.
    Reopen,
    /// Lets the background worker finish.
    Settle,
}

type Files = BTreeMap<String, Vec<u8>>;

#[derive(Default)]
struct Model {
    deploys: BTreeMap<DeployId, Files>,
    current: Option<DeployId>,
}

impl Model {
    fn files(&self) -> Files {
        self.current
            .map(|id| self.deploys[&id].clone())
            .unwrap_or_default()
    }

    fn set_current(&mut self, id: DeployId) {
        self.current = Some(id);
        let newest: Vec<DeployId> = self.deploys.keys().rev().take(KEEP).copied().collect();
        self.deploys
            .retain(|other, _| *other == id || newest.contains(other));
    }

    fn apply(&self, puts: &[(String, u8)], removes: &[String]) -> Files {
        let mut files = self.files();
        for path in removes {
            files.remove(path);
        }
        for (path, content) in puts {
            files.insert(path.clone(), vec![*content; usize::from(*content)]);
        }
        files
    }
}

fn is_a_tree(files: &Files) -> bool {
    files.keys().all(|path| {
        let mut folders = path.match_indices('/').map(|(at, _)| &path[..at]);
        !folders.any(|folder| files.contains_key(folder))
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let path = || "[ab](/[ab0-]){0,3}";
    let commit = (
        prop::collection::vec((path(), 0_u8..6), 0..4),
        prop::collection::vec(path(), 0..3),
    );
    let step = prop_oneof![
        8 => commit.prop_map(|(puts, removes)| Step::Commit(puts, removes)),
        1 => (0_usize..5).prop_map(Step::RollBack),
        1 => Just(Step::Reopen),
        4 => Just(Step::Settle),
    ];
    prop::collection::vec(step, 1..24)
}

fn open(volume: &TestVolume) -> Store {
    Store::open(StoreOptions {
        keep_deploys: NonZeroUsize::new(KEEP).unwrap(),
        ..volume.options()
    })
    .unwrap()
}

fn commit(store: &Store, model: &mut Model, puts: &[(String, u8)], removes: &[String]) {
    let mut changeset = Changeset::default();
    for (name, content) in puts {
        let content = String::from_utf8(vec![*content; usize::from(*content)]).unwrap();
        upload(store, &content).unwrap();
        changeset.puts.insert(path(name), entry(&content));
    }
    changeset.removes = removes.iter().map(|name| path(name)).collect();
    let base = model.current;
    let note = DeployNote::default();
    let files = model.apply(puts, removes);
    match store.commit(CommitRequest {
        base,
        changeset,
        note,
    }) {
        Ok(committed) => {
            assert!(is_a_tree(&files), "a conflict was accepted: {files:?}");
            assert!(model.deploys.keys().all(|id| *id < committed.deploy_id));
            assert_eq!(committed.previous, base);
            assert_eq!(committed.files, files.len() as u64);
            let bytes: usize = files.values().map(Vec::len).sum();
            assert_eq!(committed.bytes, bytes as u64);
            model.deploys.insert(committed.deploy_id, files);
            model.set_current(committed.deploy_id);
        }
        Err(StoreError::PathConflict(_)) => assert!(!is_a_tree(&files), "refused: {files:?}"),
        Err(error) => panic!("{error}"),
    }
}

/// Once the worker is idle, every kept deploy stands as a tree, and the symlink names current's.
fn assert_trees(volume: &TestVolume, model: &Model) {
    let trees: Vec<String> = fs::read_dir(volume.path("deploys"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(trees.len(), model.deploys.len(), "{trees:?}");
    for (id, files) in &model.deploys {
        let tree = volume.tree(*id);
        assert_eq!(&super::site::files_below(&tree), files, "the tree of {id}");
        for folder in folders_below(&tree) {
            let empty = fs::read_dir(&folder).unwrap().next().is_none();
            assert!(!empty || folder == tree, "{} is empty", folder.display());
        }
    }
    if let Some(current) = model.current {
        assert_eq!(volume.served_tree().0, current);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn the_store_equals_a_map_of_deploys(steps in steps()) {
        let volume = TestVolume::new();
        let mut store = open(&volume);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Commit(puts, removes) => commit(&store, &mut model, &puts, &removes),
                Step::RollBack(place) => {
                    let kept: Vec<DeployId> = model.deploys.keys().copied().collect();
                    if let Some(id) = kept.get(place % kept.len().max(1)) {
                        let done = store.rollback(Some(*id), model.current).unwrap();
                        prop_assert_eq!(done.previous, model.current);
                        model.set_current(*id);
                    }
                }
                Step::Reopen => {
                    drop(store);
                    store = open(&volume);
                }
                Step::Settle => {
                    store.wait_idle();
                    assert_trees(&volume, &model);
                }
            }
            prop_assert_eq!(store.current().deploy_id(), model.current);
            prop_assert_eq!(served(&store), model.files());
            let kept: Vec<DeployId> = model.deploys.keys().rev().copied().collect();
            prop_assert_eq!(ids(&store), kept);
        }
        store.wait_idle();
        assert_trees(&volume, &model);
        drop(store);
        volume.assert_whole();
    }
}
