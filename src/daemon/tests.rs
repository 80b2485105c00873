//! The loop as a whole: a real watcher, a real server, and what lies between them going wrong.

mod hooks;

use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use hyper::Method;
use onsave_server::config::TrailingSlash;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::interval,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    after_publish::{Setup, Site},
    config::{
        BuildCommand, BuildConfig, ControlConfig, HooksConfig, LogConfig, LogFormat, NotifyConfig,
        OnChange, PollMode, PublishConfig, Quiet, Source, TargetConfig, UrlTarget, WatchConfig,
    },
    control::{
        Means,
        client::ControlClient,
        status::{Change, ChangedPath, HeldPublish, Published, StateWord, Status},
    },
    ignore_rules::SharedRules,
    publish::tests::harness::{TestServer, endpoint, secret},
    rhythm::{self, Habit},
    site_folder::SiteFolder,
    state_folder::SiteState,
    surroundings::{Stream, Surroundings},
};

/// Far above what anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A site folder, its state folder, and the server that it is published to.
struct Desk {
    home: TempDir,
    server: TestServer,
    config: Config,
}

impl Desk {
    async fn new(files: &[(&str, &str)]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let server = TestServer::start().await;
        let root = home.path().canonicalize().unwrap();
        fs::create_dir(root.join("state")).unwrap();
        let config = Config {
            app: "desk".into(),
            dir: root.join("deploy"),
            root,
            file: None,
            build: None,
            target: TargetConfig::Url(UrlTarget {
                url: server.url(),
                secret: secret(),
                secret_source: Source::File("secret".into()),
            }),
            watch: WatchConfig {
                quiet: Quiet::Fixed(Duration::from_millis(5)),
                max_wait: Duration::from_secs(1),
                poll: PollMode::Never,
                poll_interval: Duration::from_millis(20),
                reconcile_interval: Duration::from_mins(10),
            },
            publish: PublishConfig {
                strict: false,
                max_removal_percent: 50,
                published_by: "ann@desk".into(),
                verify_live: true,
                public_url: None,
            },
            control: ControlConfig::default(),
            notify: NotifyConfig { desktop: false },
            hooks: HooksConfig::default(),
            after_publish: Vec::new(),
            log: LogConfig {
                format: LogFormat::Pretty,
                filter: "info".into(),
            },
        };
        let desk = Self {
            home,
            server,
            config,
        };
        for (path, text) in files {
            desk.save(path, text);
        }
        desk
    }

    fn path(&self, path: &str) -> PathBuf {
        self.config.dir.join(path)
    }

    /// Saves as editors do: whole, by rename.
    fn save(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let temporary = self.home.path().join("being saved");
        fs::write(&temporary, text).unwrap();
        fs::rename(temporary, path).unwrap();
    }

    fn rhythm(&self) -> PathBuf {
        self.home.path().join("rhythm")
    }

    fn memory(&self) -> PathBuf {
        self.home.path().join("last-publish")
    }

    fn socket(&self) -> PathBuf {
        self.home.path().join("control.sock")
    }

    /// Connects to the running daemon.
    async fn control(&self) -> ControlClient {
        ControlClient::connect(&self.socket()).await.unwrap()
    }

    fn publisher(&self) -> Publisher {
        Publisher::new(endpoint(&self.server.url())).unwrap()
    }

    /// Nobody is told of anything.
    fn setup(&self) -> Setup {
        Setup {
            folder: self.home.path().join("deliveries"),
            target: self.server.url(),
            target_url: self.server.url(),
            site: Site {
                app: self.config.app.clone(),
                url: self.server.url(),
                slash: TrailingSlash::Auto,
            },
            root: self.config.root.clone(),
            dir: self.config.dir.clone(),
            entries: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// Watches a file that is never there.
    fn config_watch(&self) -> ConfigWatch {
        let file = self.home.path().join("onsave.toml");
        ConfigWatch::new(Arc::new(|| panic!("nobody asks")), file, Vec::new())
    }

    /// Has the site made by this line for the shell from `page.md`.
    fn built_by(&mut self, line: &str) {
        self.config.build = Some(BuildConfig {
            command: BuildCommand::Shell(line.to_owned()),
            watch: vec!["*.md".to_owned()],
            on_change: OnChange::Queue,
            debounce: Duration::from_millis(5),
            timeout: None,
        });
    }

    fn builds(&self) -> Option<Builds> {
        let build = self.config.build.as_ref()?;
        let state_home = self.config.root.join("state").into();
        let surroundings = Surroundings {
            variables: [("XDG_STATE_HOME".into(), state_home)].into(),
            working_folder: self.config.root.clone(),
            home: None,
            host: "desk".to_owned(),
            stderr: Stream::Other,
            program: None,
        };
        let state = SiteState::locate(&surroundings, &self.config.root).unwrap();
        Some(Builds::start(&self.config, build, &state))
    }

    fn parts(&self) -> Parts {
        let folder = SiteFolder::new(self.config.dir.clone());
        let rules = Arc::new(SharedRules::default());
        Parts {
            watcher: Watcher::start(folder.clone(), &self.config.watch, Arc::clone(&rules)),
            scanner: Scanner::new(folder, self.home.path().join("state"), rules),
            builds: self.builds(),
            publisher: self.publisher(),
            deliveries: Deliveries::start(self.setup()),
            mender: None,
            live: Some(LiveVerifier::new(&self.server.url()).unwrap()),
            last_publish: self.memory(),
            rhythm: self.rhythm(),
            target: self.server.url(),
            target_url: self.server.url(),
            config_watch: self.config_watch(),
            manager: ServiceManager::absent(),
            control: self.control_api(),
            hooks: None,
        }
    }

    fn control_api(&self) -> Control {
        let mut control = Control::new(Status::starting("desk"), Means::default());
        control.listen_at(self.socket()).unwrap();
        control
    }

    /// Runs a daemon while `story` is told, and stops it well.
    async fn watched<T>(&self, story: impl Future<Output = T>) -> T {
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let running = Box::pin(run(self.parts(), Arc::new(self.config.clone()), stopped));
        let story = async {
            let told = Box::pin(story).await;
            stop.cancel();
            told
        };
        let (ended, told) = tokio::join!(running, story);
        ended.unwrap();
        told
    }

    async fn shows(&self, page: &str, text: &str) {
        let is_there = async || self.server.get(page).await == (200, text.as_bytes().to_vec());
        eventually(page, is_there).await;
    }

    async fn current(&self) -> Option<String> {
        let mut publisher = self.publisher();
        publisher
            .refresh()
            .await
            .unwrap()
            .deploy_id()
            .map(str::to_owned)
    }

    /// Looks for long enough that the daemon would have published if it did.
    async fn stays(&self, what: &str, current: Option<&str>) {
        let mut looks = interval(Duration::from_millis(30));
        for _ in 0..20 {
            looks.tick().await;
            assert_eq!(self.current().await.as_deref(), current, "{what}");
        }
    }

    /// Publishes the folder as it is, as `onsave publish --allow-removals` does.
    async fn publish_by_hand(&self) {
        let folder = SiteFolder::new(self.config.dir.clone());
        let state = self.home.path().join("other state");
        let mut scanner = Scanner::new(folder, state, Arc::default());
        scanner
            .scan(&Dirty::Everything, crate::wall_clock::now())
            .unwrap();
        let local = crate::publish::LocalSite {
            manifest: scanner.manifest(),
            site: Arc::new(scanner.files()),
            removals: crate::guard::Removals::Allowed,
            note: crate::publish::Note::default(),
            progress: crate::progress::Progress::Silent,
        };
        let scope = crate::publish::Scope::Whole;
        self.publisher().converge(&local, scope).await.unwrap();
    }
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let mut looks = interval(Duration::from_millis(10));
    let look = async {
        while !holds().await {
            looks.tick().await;
        }
    };
    timeout(PATIENCE, look).await.expect(what);
}

/// Stands in for a server: answers everything with `status` until a changeset was sent.
async fn refuse_a_changeset(address: SocketAddr, status: &str) {
    let listener = TcpListener::bind(address).await.unwrap();
    let refuse = async {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            if refuse_on(&mut stream, status).await {
                return;
            }
        }
    };
    timeout(PATIENCE, refuse).await.expect("a changeset");
}

async fn refuse_on(stream: &mut TcpStream, status: &str) -> bool {
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut some = [0; 4096];
        match stream.read(&mut some).await {
            Ok(length @ 1..) => head.extend_from_slice(&some[..length]),
            _ => return false,
        }
    }
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    head.starts_with(b"POST /_icd/changesets")
}

fn tree_of(path: &Path, target: &str) -> LastPublish {
    LastPublish::load(path, target).expect("it is remembered")
}

#[tokio::test]
async fn a_server_that_was_down_gets_the_newest_state_once() {
    let mut desk = Desk::new(&[("index.html", "first")]).await;
    desk.server.stop().await;
    let address = desk.server.address();
    let parts = desk.parts();
    let (stop, config) = (CancellationToken::new(), Arc::new(desk.config.clone()));
    let running = Box::pin(run(parts, config, stop.clone().cancelled_owned()));
    let story = async {
        for text in ["second", "third", "newest"] {
            // One try at least for each of them.
            let listener = TcpListener::bind(address).await.unwrap();
            desk.save("index.html", text);
            drop(timeout(PATIENCE, listener.accept()).await.unwrap().unwrap());
        }
        desk.server.start_again().await;
        desk.shows("/", "newest").await;
        assert_eq!(desk.publisher().deploys().await.unwrap().len(), 1);
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(running, story);
    ended.unwrap();
}

#[tokio::test]
async fn a_save_is_not_lost_on_whoever_answers_in_the_servers_place() {
    let mut desk = Desk::new(&[("index.html", "first")]).await;
    let address = desk.server.address();
    let parts = desk.parts();
    let (stop, config) = (CancellationToken::new(), Arc::new(desk.config.clone()));
    let running = Box::pin(run(parts, config, stop.clone().cancelled_owned()));
    let story = async {
        desk.shows("/", "first").await;
        // As a proxy does while the server behind it is replaced.
        for status in ["404 Not Found", "502 Bad Gateway", "503 Unavailable"] {
            desk.server.stop().await;
            desk.save("index.html", status);
            refuse_a_changeset(address, status).await;
            desk.server.start_again().await;
            desk.shows("/", status).await;
        }
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(running, story);
    ended.unwrap();
}

#[tokio::test]
async fn removals_that_are_held_until_a_person_allows_them() {
    let names: Vec<String> = (0..12).map(|n| format!("{n}.html")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let desk = Desk::new(&files).await;
    desk.watched(async {
        desk.shows("/11.html", "x").await;
        let before = desk.current().await;
        for name in &names[1..] {
            fs::remove_file(desk.path(name)).unwrap();
        }
        desk.stays("the removals are held", before.as_deref()).await;
        desk.publish_by_hand().await;
        assert_eq!(desk.server.get("/11.html").await.0, 404);
        desk.save("0.html", "the next save");
        desk.shows("/0.html", "the next save").await;
        assert_eq!(desk.server.get("/11.html").await.0, 404);
    })
    .await;
}

#[tokio::test]
async fn a_rollback_stays_until_a_save_whatever_the_folder_does() {
    let desk = Desk::new(&[("index.html", "first")]).await;
    desk.watched(async {
        desk.shows("/", "first").await;
        desk.save("index.html", "second");
        desk.shows("/", "second").await;
    })
    .await;
    desk.publisher().rollback(None).await.unwrap();
    let first = desk.current().await;
    desk.watched(async {
        desk.stays("the start leaves it alone", first.as_deref())
            .await;
        let away = desk.home.path().join("away");
        fs::rename(&desk.config.dir, &away).unwrap();
        desk.stays("the folder is away", first.as_deref()).await;
        fs::rename(&away, &desk.config.dir).unwrap();
        desk.stays(
            "the folder is back, and nothing was saved",
            first.as_deref(),
        )
        .await;
        desk.save("about.html", "saved");
        desk.shows("/about.html", "saved").await;
        desk.shows("/", "second").await;
    })
    .await;
}

#[tokio::test]
async fn a_folder_that_comes_goes_and_comes_back() {
    let desk = Desk::new(&[]).await;
    desk.watched(async {
        desk.stays("there is nothing to publish", None).await;
        desk.save("index.html", "here");
        desk.shows("/", "here").await;
        let here = desk.current().await;
        fs::remove_dir_all(&desk.config.dir).unwrap();
        desk.stays("it is gone", here.as_deref()).await;
        desk.save("index.html", "back");
        desk.shows("/", "back").await;
    })
    .await;
}

#[tokio::test]
async fn strict_waits_until_the_folder_is_mended() {
    let mut desk = Desk::new(&[("index.html", "first"), ("a.p12", "secret")]).await;
    desk.config.publish.strict = true;
    desk.watched(async {
        desk.stays("a file would be left out", None).await;
        fs::remove_file(desk.path("a.p12")).unwrap();
        desk.shows("/", "first").await;
        desk.save("a.p12", "secret again");
        desk.save("index.html", "second");
        let before = desk.current().await;
        desk.stays("again", before.as_deref()).await;
        desk.save(".onsaveignore", "*.p12\n");
        desk.shows("/", "second").await;
    })
    .await;
}

#[tokio::test]
async fn a_file_that_never_holds_still_delays_no_other_and_is_live_in_the_end() {
    let desk = Desk::new(&[("index.html", "first")]).await;
    let log = desk.path("log.txt");
    desk.watched(async {
        desk.shows("/", "first").await;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let writing = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            while !stopped.is_cancelled() {
                text.push_str("a line of a log that goes on and on\n");
                fs::write(&log, &text).unwrap();
            }
            text
        });
        desk.save("index.html", "second");
        desk.shows("/", "second").await;
        stop.cancel();
        let text = writing.await.unwrap();
        desk.shows("/log.txt", &text).await;
    })
    .await;
}

#[tokio::test]
async fn a_start_takes_no_file_off_the_site_that_is_being_written() {
    // So large that something is always written while it is read.
    let begun = "a line of a log that goes on and on\n".repeat(200_000);
    let mut desk = Desk::new(&[("index.html", "first"), ("log.txt", &begun)]).await;
    desk.publish_by_hand().await;
    desk.config.watch.max_wait = PATIENCE;
    let (desk, path) = (&desk, desk.path("log.txt"));
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    // Also when the story fails: the writer would go on without end.
    let _stops = stop.clone().drop_guard();
    let writing = tokio::task::spawn_blocking(move || {
        let mut log = fs::OpenOptions::new().append(true).open(&path).unwrap();
        while !stopped.is_cancelled() {
            log.write_all(b"another line\n").unwrap();
        }
        fs::read_to_string(path).unwrap()
    });
    desk.watched(async {
        let mut looks = interval(Duration::from_millis(10));
        for _ in 0..30 {
            looks.tick().await;
            assert_eq!(desk.server.get("/log.txt").await.0, 200);
        }
        stop.cancel();
        let text = writing.await.unwrap();
        desk.shows("/log.txt", &text).await;
    })
    .await;
}

#[tokio::test]
async fn polling_finds_what_no_event_tells() {
    let mut desk = Desk::new(&[("index.html", "first")]).await;
    desk.config.watch.poll = PollMode::Always;
    desk.watched(async {
        desk.shows("/", "first").await;
        desk.save("index.html", "second");
        desk.shows("/", "second").await;
        desk.save("new/page.html", "third");
        desk.shows("/new/page.html", "third").await;
    })
    .await;
}

#[tokio::test]
async fn what_is_remembered_is_what_was_published() {
    let mut desk = Desk::new(&[("index.html", "first")]).await;
    let (address, target) = (desk.server.address(), desk.server.url());
    let parts = desk.parts();
    let (stop, config) = (CancellationToken::new(), Arc::new(desk.config.clone()));
    let running = Box::pin(run(parts, config, stop.clone().cancelled_owned()));
    let story = async {
        desk.shows("/", "first").await;
        let mut asking = desk.publisher();
        let published = asking.refresh().await.unwrap().manifest().tree_digest();
        desk.server.stop().await;
        desk.save("index.html", "saved, and never published");
        refuse_a_changeset(address, "503 Unavailable").await;
        stop.cancel();
        published
    };
    let (ended, published) = tokio::join!(running, story);
    ended.unwrap();
    let remembered = tree_of(&desk.memory(), &target);
    assert_eq!(
        remembered.tree, published,
        "or the save would count as published"
    );
}

/// Asks the daemon to publish now.
async fn publish_now(client: &mut ControlClient, body: &str) -> Published {
    let body = body.as_bytes().to_vec();
    client.ask(Method::POST, "/v1/publish", body).await.unwrap()
}

async fn switched(client: &mut ControlClient, path: &'static str) -> Status {
    client.ask(Method::POST, path, Vec::new()).await.unwrap()
}

#[tokio::test]
async fn a_paused_daemon_publishes_when_it_is_asked_and_when_it_goes_on() {
    let desk = Desk::new(&[("index.html", "one")]).await;
    desk.watched(async {
        desk.shows("/", "one").await;
        let mut client = desk.control().await;
        let paused = switched(&mut client, "/v1/pause").await;
        assert!(paused.paused);
        assert_eq!(paused.state, StateWord::Paused);
        let before = desk.current().await;
        desk.save("index.html", "two");
        desk.stays("paused", before.as_deref()).await;

        let published = publish_now(&mut client, "").await;
        assert!(
            matches!(&published, Published::Published(record) if record.paths[0].path == "index.html")
        );
        desk.shows("/", "two").await;
        assert_eq!(publish_now(&mut client, "").await, Published::InStep);

        desk.save("index.html", "three");
        let resumed = switched(&mut client, "/v1/resume").await;
        assert!(!resumed.paused);
        desk.shows("/", "three").await;
        eventually("the state", async || {
            desk.control().await.status().await.unwrap().state == StateWord::Live
        })
        .await;
        let status = client.status().await.unwrap();
        let page = |change| {
            let path = "index.html".to_owned();
            vec![ChangedPath { path, change }]
        };
        let paths: Vec<_> = status.publishes.iter().map(|p| p.paths.clone()).collect();
        let saved = page(Change::Changed);
        assert_eq!(paths, [saved.clone(), saved, page(Change::Added)]);
        let live = status.live.unwrap();
        assert_eq!(live.deploy_id, status.publishes[0].deploy_id);
        assert_eq!(live.since_unix_ms, status.publishes[0].at_unix_ms);
    })
    .await;
}

#[tokio::test]
async fn a_held_publish_goes_on_with_a_persons_yes() {
    let pages: Vec<(String, String)> = (0..10).map(|n| (format!("{n}.html"), "x".into())).collect();
    let pages: Vec<(&str, &str)> = pages
        .iter()
        .map(|(p, t)| (p.as_str(), t.as_str()))
        .collect();
    let desk = Desk::new(&pages).await;
    desk.watched(async {
        desk.shows("/9.html", "x").await;
        for (page, _) in &pages[1..] {
            fs::remove_file(desk.path(page)).unwrap();
        }
        let mut client = desk.control().await;
        eventually("the hold", async || {
            desk.control().await.status().await.unwrap().state == StateWord::Held
        })
        .await;
        let held = HeldPublish { removes: 9, of: 10 };
        assert_eq!(client.status().await.unwrap().held, Some(held));
        assert_eq!(publish_now(&mut client, "{}").await, Published::Held(held));
        let published = publish_now(&mut client, r#"{"allowRemovals":true}"#).await;
        assert!(matches!(&published, Published::Published(record) if record.removed == 9));
        eventually("the end of the hold", async || {
            desk.control().await.status().await.unwrap().held.is_none()
        })
        .await;
        assert_eq!(desk.server.get("/9.html").await.0, 404);
    })
    .await;
}

#[tokio::test]
async fn what_goes_wrong_is_answered() {
    let desk = Desk::new(&[("index.html", "one")]).await;
    desk.watched(async {
        desk.shows("/", "one").await;
        fs::remove_dir_all(&desk.config.dir).unwrap();
        let mut client = desk.control().await;
        let failed = publish_now(&mut client, "").await;
        let error = "there is no site folder".to_owned();
        assert_eq!(failed, Published::Failed { error });
    })
    .await;
}

#[tokio::test]
async fn a_publish_that_is_asked_for_after_a_failed_build_builds_again() {
    let mut desk = Desk::new(&[("index.html", "of nobody knows when")]).await;
    let page = desk.home.path().join("page.md");
    let allowed = desk.home.path().join("allowed");
    fs::write(&page, "one").unwrap();
    desk.built_by("cp page.md deploy/index.html; ls allowed");
    desk.watched(async {
        desk.stays("nothing is published before a success", None)
            .await;
        let mut client = desk.control().await;
        let failed = publish_now(&mut client, "").await;
        let Published::Failed { error } = failed else {
            panic!("{failed:?}");
        };
        assert!(
            error.starts_with("the build failed with exit code "),
            "{error}"
        );
        let status = client.status().await.unwrap();
        assert_eq!(status.state, StateWord::Waiting);
        assert_eq!(desk.current().await, None);

        fs::write(&allowed, "").unwrap();
        let published = publish_now(&mut client, "").await;
        assert!(
            matches!(published, Published::Published(_)),
            "{published:?}"
        );
        desk.shows("/", "one").await;
        fs::write(&page, "two").unwrap();
        desk.shows("/", "two").await;
    })
    .await;
}

#[tokio::test]
async fn what_saves_teach_outlives_the_daemon() {
    let mut desk = Desk::new(&[("index.html", "0"), ("about.html", "about")]).await;
    desk.config.watch.quiet = Quiet::Learned;
    let saves = async |numbers: std::ops::Range<u32>| {
        for number in numbers {
            let text = number.to_string();
            desk.save("index.html", &text);
            desk.shows("/", &text).await;
        }
    };
    // The last is known to have stood alone by the next one only.
    desk.watched(async {
        desk.shows("/", "0").await;
        saves(1..5).await;
    })
    .await;
    let learned = || rhythm::kept::load(&desk.rhythm());
    let before = learned().evidence(Habit::Renamed);
    assert!(before.single >= 2, "{before:?}");
    desk.watched(async {
        saves(10..16).await;
    })
    .await;
    let after = learned().evidence(Habit::Renamed);
    assert!(
        after.single > before.single,
        "it went on from there: {after:?}"
    );
}
