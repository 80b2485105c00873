//! The watcher on real folders with real events, alone and driving settle and scan.

use std::{fs, os::unix::fs::symlink, path::Path, time::SystemTime};

use tokio::time::timeout;

use super::{losses::CALM, *};
use crate::{
    config::Quiet,
    dirty::Dirty,
    ignore_rules::SharedRules,
    scan::{Scan, Scanner},
    settle::Settle,
};

/// Far longer than anything takes; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

const QUIET: Duration = Duration::from_millis(25);

/// A site folder with all that turns its changes into a manifest.
struct Scene {
    home: tempfile::TempDir,
    watcher: Watcher,
    settle: Settle,
    scanner: Scanner,
    absent: bool,
}

fn config() -> WatchConfig {
    WatchConfig {
        quiet: Quiet::Fixed(QUIET),
        max_wait: Duration::from_secs(2),
        poll: PollMode::Auto,
        poll_interval: Duration::from_millis(20),
        reconcile_interval: Duration::from_hours(1),
    }
}

impl Scene {
    /// Watches `deploy/` in a home of its own, prepared by `prepare`.
    fn with(config: &WatchConfig, prepare: impl FnOnce(&Path)) -> Self {
        let home = tempfile::tempdir().unwrap();
        prepare(home.path());
        let rules = Arc::<SharedRules>::default();
        let folder = SiteFolder::new(home.path().canonicalize().unwrap().join("deploy"));
        let scanner = Scanner::new(
            folder.clone(),
            home.path().join("state"),
            Arc::clone(&rules),
        );
        Self {
            watcher: Watcher::start(folder, config, rules),
            settle: Settle::new(config.quiet, config.max_wait),
            scanner,
            absent: false,
            home,
        }
    }

    /// Watches `deploy/`, which holds one page; returns once it is published.
    async fn ready() -> Self {
        let mut scene = Self::with(&config(), |home| {
            fs::create_dir(home.join("deploy")).unwrap();
            fs::write(home.join("deploy/index.html"), "home").unwrap();
        });
        scene.until_published(&["index.html=home"]).await;
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join("deploy").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes as many editors do: a temporary file, renamed into place.
    fn replace(&self, name: &str, text: &str) {
        let temporary = self.path("sedA1b2C3");
        fs::write(&temporary, text).unwrap();
        fs::rename(temporary, self.path(name)).unwrap();
    }

    async fn next(&mut self) -> Notice {
        timeout(PATIENCE, self.watcher.next())
            .await
            .expect("news in time")
    }

    /// Takes notices until one has a change of `name`; returns all that were taken.
    async fn until_change_of(&mut self, name: &str) -> Vec<Notice> {
        let mut taken = Vec::new();
        loop {
            let notice = self.next().await;
            let is_it = matches!(&notice.news, News::Changes(c) if c.contains_key(Path::new(name)));
            taken.push(notice);
            if is_it {
                return taken;
            }
        }
    }

    /// Does one step of what the daemon does; returns what was scanned, when it came to that.
    async fn step(&mut self) -> Option<Dirty> {
        let deadline = self.settle.deadline();
        let due = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => pending().await,
            }
        };
        tokio::select! {
            notice = self.watcher.next() => {
                self.settle.event(notice);
                return None;
            }
            () = due => {}
        }
        let batch = self.settle.due(Instant::now())?;
        #[expect(clippy::disallowed_methods, reason = "file times are compared with it")]
        let now = SystemTime::now();
        match self.scanner.scan(&batch.dirty, now).unwrap() {
            Scan::Absent => self.absent = true,
            Scan::Done(outcome) => {
                self.absent = false;
                let again = outcome.unstable.into_iter();
                let changes: BTreeMap<_, _> = again
                    .map(|path| (path, Trace::new(Change::Touched)))
                    .collect();
                if !changes.is_empty() {
                    let at = Instant::now();
                    self.settle.event(Notice {
                        at,
                        news: News::Changes(changes),
                    });
                }
            }
        }
        Some(batch.dirty)
    }

    /// Runs until exactly these files are published, each as `path=text`.
    async fn until_published(&mut self, expected: &[&str]) {
        let mut expected: Vec<String> = expected.iter().map(|file| (*file).to_owned()).collect();
        expected.sort();
        let run = async {
            while self.published() != expected {
                self.step().await;
            }
        };
        let in_time = timeout(PATIENCE, run).await.is_ok();
        assert!(in_time, "{:?} instead of {expected:?}", self.published());
    }

    /// Returns what is published, as long as it is also what is on disk.
    fn published(&self) -> Vec<String> {
        let files = self.scanner.manifest().iter().filter_map(|(path, entry)| {
            let local = self.scanner.local_file(path)?;
            let bytes = crate::scan::read_checked(&local, entry).ok()?;
            Some(format!("{path}={}", String::from_utf8(bytes).ok()?))
        });
        let mut files: Vec<_> = files.collect();
        files.sort();
        files
    }
}

#[tokio::test]
async fn a_save_in_place_is_one_path_that_settles_fast() {
    let mut scene = Scene::ready().await;
    scene.write("index.html", "edited");
    loop {
        if let Some(dirty) = scene.step().await {
            assert_eq!(dirty, Dirty::Paths([PathBuf::from("index.html")].into()));
            break;
        }
    }
    assert_eq!(scene.published(), ["index.html=edited"]);
}

#[tokio::test]
async fn a_save_by_rename_waits_no_longer_than_quiet() {
    let mut scene = Scene::ready().await;
    scene.replace("index.html", "edited");
    let mut last = Instant::now();
    while !matches!(scene.settle.deadline(), Some(deadline) if deadline == last + QUIET) {
        let notice = scene.next().await;
        last = notice.at;
        scene.settle.event(notice);
    }
    scene.until_published(&["index.html=edited"]).await;
}

#[tokio::test]
async fn vims_backup_and_rewrite_is_one_save() {
    let mut scene = Scene::ready().await;
    fs::write(scene.path("4913"), "").unwrap();
    fs::remove_file(scene.path("4913")).unwrap();
    fs::write(scene.path(".index.html.swp"), "swap").unwrap();
    fs::rename(scene.path("index.html"), scene.path("index.html~")).unwrap();
    fs::write(scene.path("index.html"), "edited").unwrap();
    fs::remove_file(scene.path("index.html~")).unwrap();
    for notice in scene.until_change_of("index.html").await {
        let News::Changes(changes) = notice.news else {
            panic!("only changes: {notice:?}");
        };
        assert_eq!(
            changes.keys().collect::<Vec<_>>(),
            [Path::new("index.html")]
        );
        scene.settle.event(Notice {
            at: notice.at,
            news: News::Changes(changes),
        });
    }
    scene.until_published(&["index.html=edited"]).await;
}

#[tokio::test]
async fn our_own_reads_and_ignored_names_are_no_news() {
    let mut scene = Scene::ready().await;
    for _ in 0..200 {
        fs::read(scene.path("index.html")).unwrap();
    }
    scene.write(".index.html.swp", "swap");
    scene.write("index.html~", "backup");
    scene.write(".git/index", "history");
    scene.write("marker.html", "m");
    for notice in scene.until_change_of("marker.html").await {
        let News::Changes(changes) = notice.news else {
            panic!("only changes: {notice:?}");
        };
        assert_eq!(
            changes.keys().collect::<Vec<_>>(),
            [Path::new("marker.html")]
        );
    }
}

#[tokio::test]
async fn files_and_folders_come_move_and_go() {
    let mut scene = Scene::ready().await;
    scene.write("a/b/c.html", "c");
    scene
        .until_published(&["index.html=home", "a/b/c.html=c"])
        .await;
    fs::rename(scene.path("a"), scene.path("z")).unwrap();
    scene
        .until_published(&["index.html=home", "z/b/c.html=c"])
        .await;
    scene.write("z/b/c.html", "edited in the moved folder");
    scene
        .until_published(&["index.html=home", "z/b/c.html=edited in the moved folder"])
        .await;
    fs::remove_dir_all(scene.path("z")).unwrap();
    scene.write("z", "a file now");
    scene
        .until_published(&["index.html=home", "z=a file now"])
        .await;
    fs::remove_file(scene.path("z")).unwrap();
    scene.write("z/x", "a folder again");
    scene
        .until_published(&["index.html=home", "z/x=a folder again"])
        .await;
    fs::rename(scene.path("index.html"), scene.path("start.html")).unwrap();
    scene
        .until_published(&["start.html=home", "z/x=a folder again"])
        .await;
}

#[tokio::test]
async fn a_moved_in_folder_is_looked_at_now_and_once_more() {
    let mut scene = Scene::ready().await;
    let away = scene.home.path().join("away");
    fs::create_dir_all(away.join("deep")).unwrap();
    fs::write(away.join("deep/page.html"), "p").unwrap();
    fs::rename(&away, scene.path("here")).unwrap();
    let path = Path::new("here");
    let first = scene.until_change_of("here").await.pop().unwrap();
    let News::Changes(changes) = first.news else {
        panic!()
    };
    assert_eq!(changes[path].last, Change::Folder);
    let second = scene.until_change_of("here").await.pop().unwrap();
    assert!(second.at >= first.at + SECOND_LOOK - Duration::from_millis(1));
    scene.settle.event(second);
    scene
        .until_published(&["index.html=home", "here/deep/page.html=p"])
        .await;
}

#[tokio::test]
async fn a_new_tree_is_found_whole_though_most_of_it_has_no_event() {
    let mut scene = Scene::ready().await;
    let mut expected = vec!["index.html=home".to_owned()];
    for section in 0..40 {
        for page in 0..5 {
            let name = format!("s{section}/p{page}/index.html");
            scene.write(&name, &name);
            expected.push(format!("{name}={name}"));
        }
    }
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    scene.until_published(&expected).await;
}

#[tokio::test]
async fn a_generator_that_wipes_and_rewrites() {
    let mut scene = Scene::ready().await;
    for n in 0..100 {
        scene.write(&format!("p{n}/index.html"), "old");
    }
    let old: Vec<_> = (0..100).map(|n| format!("p{n}/index.html=old")).collect();
    let all = old.iter().map(String::as_str).chain(["index.html=home"]);
    scene.until_published(&all.collect::<Vec<_>>()).await;
    for entry in fs::read_dir(scene.path("")).unwrap() {
        let path = entry.unwrap().path();
        fs::remove_file(&path)
            .or_else(|_| fs::remove_dir_all(&path))
            .unwrap();
    }
    for n in 0..100 {
        scene.write(&format!("p{n}/index.html"), "new");
    }
    let new: Vec<_> = (0..100).map(|n| format!("p{n}/index.html=new")).collect();
    scene
        .until_published(&new.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
}

#[tokio::test]
async fn a_site_folder_that_is_deleted_and_made_anew() {
    let mut scene = Scene::ready().await;
    for round in 0..3 {
        fs::remove_dir_all(scene.path("")).unwrap();
        let text = format!("round {round}");
        scene.write("index.html", &text);
        scene
            .until_published(&[&format!("index.html={text}")])
            .await;
        scene.write("index.html", "saved");
        scene.until_published(&["index.html=saved"]).await;
    }
    assert_eq!(*scene.watcher.health(), WatchHealth::Events);
}

#[tokio::test]
async fn a_site_folder_that_is_renamed_over() {
    let mut scene = Scene::ready().await;
    let home = scene.home.path().to_owned();
    fs::create_dir(home.join("staged")).unwrap();
    fs::write(home.join("staged/new.html"), "new").unwrap();
    fs::rename(scene.path(""), home.join("old")).unwrap();
    fs::rename(home.join("staged"), home.join("deploy")).unwrap();
    scene.until_published(&["new.html=new"]).await;
    fs::write(home.join("old/index.html"), "not watched any more").unwrap();
    scene.write("new.html", "saved");
    scene.until_published(&["new.html=saved"]).await;
}

#[tokio::test]
async fn a_site_folder_that_vanishes_is_waited_for() {
    let mut scene = Scene::ready().await;
    let away = scene.home.path().join("away");
    fs::rename(scene.path(""), &away).unwrap();
    while !scene.absent {
        timeout(PATIENCE, scene.step()).await.unwrap();
    }
    assert_eq!(*scene.watcher.health(), WatchHealth::Absent);
    assert_eq!(scene.scanner.manifest().len(), 1, "no empty site");
    fs::rename(&away, scene.home.path().join("deploy")).unwrap();
    scene.write("more.html", "m");
    scene
        .until_published(&["index.html=home", "more.html=m"])
        .await;
}

#[tokio::test]
async fn a_site_folder_that_does_not_exist_yet() {
    let mut scene = Scene::with(&config(), |_| {});
    while *scene.watcher.health() != WatchHealth::Absent {
        timeout(PATIENCE, scene.step()).await.unwrap();
    }
    scene.write("index.html", "first");
    scene.until_published(&["index.html=first"]).await;
    scene.write("index.html", "second");
    scene.until_published(&["index.html=second"]).await;
}

#[tokio::test]
async fn a_symlink_that_is_pointed_elsewhere() {
    let mut scene = Scene::with(&config(), |home| {
        for release in ["r1", "r2"] {
            fs::create_dir(home.join(release)).unwrap();
            fs::write(home.join(release).join("index.html"), release).unwrap();
        }
        symlink("r1", home.join("deploy")).unwrap();
    });
    scene.until_published(&["index.html=r1"]).await;
    symlink("r2", scene.home.path().join("next")).unwrap();
    fs::rename(
        scene.home.path().join("next"),
        scene.home.path().join("deploy"),
    )
    .unwrap();
    scene.until_published(&["index.html=r2"]).await;
    scene.write("index.html", "saved");
    scene.until_published(&["index.html=saved"]).await;
    fs::remove_dir_all(scene.home.path().join("r2")).unwrap();
    fs::create_dir(scene.home.path().join("r2")).unwrap();
    scene.write("index.html", "made anew behind the symlink");
    scene
        .until_published(&["index.html=made anew behind the symlink"])
        .await;
}

#[tokio::test]
async fn what_gives_no_event_is_found_by_the_tick() {
    let mut scene = Scene::with(&config(), |home| {
        fs::create_dir_all(home.join("real/one")).unwrap();
        fs::create_dir_all(home.join("real/two")).unwrap();
        fs::write(home.join("real/one/a"), "1").unwrap();
        fs::write(home.join("real/two/a"), "2").unwrap();
        symlink("one", home.join("real/middle")).unwrap();
        symlink("real/middle", home.join("deploy")).unwrap();
    });
    scene.until_published(&["a=1"]).await;
    // The folder of the symlink in the middle is watched, but the symlink is not looked for.
    let real = scene.home.path().join("real");
    symlink("two", real.join("next")).unwrap();
    fs::rename(real.join("next"), real.join("middle")).unwrap();
    scene.until_published(&["a=2"]).await;
}

#[tokio::test]
async fn rule_files_take_effect_at_once() {
    let mut scene = Scene::ready().await;
    scene.write("x.map", "map");
    scene
        .until_published(&["index.html=home", "x.map=map"])
        .await;
    scene.write(".onsaveignore", "*.map\n");
    scene.until_published(&["index.html=home"]).await;
    scene.write("y.map", "never seen");
    scene.write("marker", "m");
    for notice in scene.until_change_of("marker").await {
        let News::Changes(changes) = &notice.news else {
            panic!()
        };
        assert!(!changes.contains_key(Path::new("y.map")), "{notice:?}");
        scene.settle.event(notice);
    }
    scene
        .until_published(&["index.html=home", "marker=m"])
        .await;
}

#[tokio::test]
async fn changes_are_seen_through_symlinks() {
    let mut scene = Scene::ready().await;
    scene.write("a/x", "x");
    symlink("a", scene.path("b")).unwrap();
    scene
        .until_published(&["index.html=home", "a/x=x", "b/x=x"])
        .await;
    scene.write("a/x", "edited");
    scene
        .until_published(&["index.html=home", "a/x=edited", "b/x=edited"])
        .await;
}

#[tokio::test]
async fn polling_needs_no_events() {
    let config = WatchConfig {
        poll: PollMode::Always,
        ..config()
    };
    let mut scene = Scene::with(&config, |_| {});
    scene.write("index.html", "first");
    scene.until_published(&["index.html=first"]).await;
    scene.write("index.html", "second");
    scene.until_published(&["index.html=second"]).await;
    assert!(scene.watcher.armed.as_ref().unwrap().watches.is_none());
    assert_eq!(
        *scene.watcher.health(),
        WatchHealth::Polling(WatchTrouble::Configured)
    );
}

#[tokio::test]
async fn at_the_watch_limit_it_polls() {
    let mut scene = Scene::ready().await;
    let limit = Err(notify::Error::new(notify::ErrorKind::MaxFilesWatch));
    let armed = scene.watcher.armed.as_ref().unwrap();
    let view = inbox::View {
        root: armed.found.as_ref().map(|found| found.real.clone()),
        anchors: Vec::new(),
        rules: Arc::<SharedRules>::default(),
    };
    scene.watcher.arming.inbox.put(&limit, &view);
    let notice = scene.next().await;
    assert_eq!(notice.news, News::Whole(Cause::Overflow));
    assert_eq!(
        *scene.watcher.health(),
        WatchHealth::Polling(WatchTrouble::WatchLimit)
    );
    assert!(scene.watcher.armed.as_ref().unwrap().watches.is_none());
    scene.write("index.html", "found by polling");
    scene
        .until_published(&["index.html=found by polling"])
        .await;
}

#[tokio::test]
async fn without_polling_the_limit_leaves_the_reconcile() {
    let config = WatchConfig {
        poll: PollMode::Never,
        reconcile_interval: Duration::from_millis(50),
        ..config()
    };
    let mut scene = Scene::with(&config, |home| fs::create_dir(home.join("deploy")).unwrap());
    scene.until_published(&[]).await;
    scene
        .watcher
        .lose_events(WatchTrouble::WatchLimit, Instant::now());
    assert_eq!(
        *scene.watcher.health(),
        WatchHealth::ReconcileOnly(WatchTrouble::WatchLimit)
    );
    scene.write("index.html", "found by the reconcile");
    scene
        .until_published(&["index.html=found by the reconcile"])
        .await;
    assert_eq!(
        *scene.watcher.health(),
        WatchHealth::Events,
        "the watches were set anew"
    );
}

#[tokio::test]
async fn lost_events_widen_the_look_and_set_the_watches_anew() {
    let mut scene = Scene::ready().await;
    let lost = notify::Event::new(notify::EventKind::Other).set_flag(notify::event::Flag::Rescan);
    let view = inbox::View {
        root: None,
        anchors: Vec::new(),
        rules: Arc::<SharedRules>::default(),
    };
    // As if the watches had been set long ago.
    scene.watcher.armed_at -= JUST_ARMED;
    scene.watcher.arming.inbox.put(&Ok(lost), &view);
    // At once, and once more when the watches are set anew.
    for _ in 0..2 {
        assert_eq!(scene.next().await.news, News::Whole(Cause::Overflow));
    }
    scene.write("index.html", "still watched");
    scene.until_published(&["index.html=still watched"]).await;
}

#[tokio::test]
async fn the_reconcile_comes_without_events() {
    let config = WatchConfig {
        reconcile_interval: Duration::from_millis(30),
        ..config()
    };
    let mut scene = Scene::with(&config, |home| fs::create_dir(home.join("deploy")).unwrap());
    assert_eq!(scene.next().await.news, News::Whole(Cause::Start));
    for _ in 0..3 {
        assert_eq!(scene.next().await.news, News::Whole(Cause::Reconcile));
    }
}

#[tokio::test]
async fn a_cancelled_wait_loses_nothing() {
    let mut scene = Scene::ready().await;
    scene.write("a", "a");
    let mut seen = BTreeMap::new();
    let collect = async {
        while !seen.contains_key(Path::new("a")) {
            // Dropped as soon as it would wait.
            let notice = tokio::select! {
                biased;
                notice = scene.watcher.next() => notice,
                () = tokio::task::yield_now() => continue,
            };
            if let News::Changes(changes) = notice.news {
                seen.extend(changes);
            }
        }
    };
    timeout(PATIENCE, collect).await.unwrap();
}

#[tokio::test]
async fn a_loss_from_setting_the_watches_does_not_set_them_again() {
    let mut scene = Scene::ready().await;
    scene.watcher.armed_at = Instant::now();
    scene.watcher.note_loss(Instant::now());
    assert_eq!(scene.next().await.news, News::Whole(Cause::Overflow));
    assert_eq!(scene.watcher.alarms.rearm_after_loss, None);
}

#[test]
fn losses_in_a_row_are_answered_ever_later() {
    let mut losses = Losses::default();
    let mut now = Instant::now();
    let mut pauses = Vec::new();
    for _ in 0..10 {
        let pause = losses.pause(now);
        pauses.push(pause.as_millis());
        now += pause;
    }
    let expected = [
        0, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000,
    ];
    assert_eq!(pauses, expected);
    assert_eq!(losses.pause(now + CALM * 2), Duration::ZERO, "calm again");
}

/// Leaves `skipped` folders out, and has no watch on them.
#[derive(Debug)]
struct Selective;

impl WatchRules for Selective {
    fn leaves_out(&self, path: &str, _change: Change) -> bool {
        path.split('/').any(|name| name == "skipped")
    }

    fn folders(&self, folder: &Path) -> Option<Vec<PathBuf>> {
        let mut found = vec![folder.to_owned()];
        let mut ahead = found.clone();
        while let Some(folder) = ahead.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                if entry.path().is_dir() && entry.file_name() != "skipped" {
                    found.push(entry.path());
                    ahead.push(entry.path());
                }
            }
        }
        // One that went meanwhile is nothing to stop for.
        found.push(folder.join("gone"));
        Some(found)
    }
}

#[tokio::test]
async fn only_the_folders_that_matter_are_watched_and_new_ones_too() {
    let mut scene = Scene::ready().await;
    for folder in ["a/skipped/deep", "b"] {
        fs::create_dir_all(scene.path(folder)).unwrap();
    }
    let folder = SiteFolder::new(scene.home.path().canonicalize().unwrap().join("deploy"));
    scene.watcher = Watcher::start(folder, &config(), Arc::new(Selective));
    assert_eq!(scene.next().await.news, News::Whole(Cause::Start));
    scene.write("a/skipped/deep/x", "unseen");
    scene.write("skipped/x", "unseen");
    scene.write("a/x", "seen");
    let seen = |notices: &[Notice]| {
        let skipped = |notice: &Notice| match &notice.news {
            News::Changes(changes) => changes.keys().any(|path| path.starts_with("skipped")),
            News::Whole(_) => false,
        };
        assert!(!notices.iter().any(skipped), "{notices:?}");
    };
    seen(&scene.until_change_of("a/x").await);
    // The new folder has no watch until they are set anew, which is told.
    fs::create_dir_all(scene.path("b/new/er")).unwrap();
    while scene.next().await.news != News::Whole(Cause::Reconcile) {}
    scene.write("b/new/er/x", "seen");
    seen(&scene.until_change_of("b/new/er/x").await);
    assert_eq!(*scene.watcher.health(), WatchHealth::Events);
}
