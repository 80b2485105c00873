//! What hooks ask for: every event has an end, whatever else goes on.

use tokio::sync::oneshot;

use super::*;
use crate::{
    config::HookAction,
    hooks::{Ended, HookRun},
};

/// A hook of the desk's daemon.
struct Hook<'a> {
    desk: &'a Desk,
    ask: mpsc::Sender<HookRun>,
    count: usize,
}

impl Hook<'_> {
    async fn tell(&mut self, action: HookAction) -> oneshot::Receiver<Ended> {
        self.count += 1;
        let folder = self.desk.home.path().join("events");
        let (run, ended) = HookRun::made_up(action, &self.count.to_string(), folder);
        self.ask.send(run).await.unwrap();
        ended
    }
}

async fn end(ended: oneshot::Receiver<Ended>) -> Ended {
    timeout(PATIENCE, ended)
        .await
        .expect("it ends")
        .expect("it is told")
}

/// Runs a daemon with a hook while `story` is told, and stops it well.
async fn told(desk: &Desk, story: impl AsyncFnOnce(&mut Hook<'_>)) {
    let (ask, hooks) = mpsc::channel(1);
    let mut parts = desk.parts();
    parts.hooks = Some(hooks);
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    let running = Box::pin(run(parts, Arc::new(desk.config.clone()), stopped));
    let mut hook = Hook {
        desk,
        ask,
        count: 0,
    };
    let story = async {
        Box::pin(story(&mut hook)).await;
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(running, story);
    ended.unwrap();
}

#[tokio::test]
async fn a_hook_that_publishes_waits_for_no_quiet_window() {
    let mut desk = Desk::new(&[("index.html", "first")]).await;
    desk.config.watch.quiet = Quiet::Fixed(Duration::from_mins(1));
    desk.config.watch.max_wait = Duration::from_mins(1);
    told(&desk, async |hook| {
        desk.shows("/", "first").await;
        desk.save("index.html", "second");
        let ended = end(hook.tell(HookAction::Publish).await).await;
        assert_eq!(Ended::Published(desk.current().await.unwrap()), ended);
        desk.shows("/", "second").await;
        assert_eq!(
            end(hook.tell(HookAction::Publish).await).await,
            Ended::InStep
        );
    })
    .await;
}

#[tokio::test]
async fn a_hook_allows_nothing_that_a_save_does_not() {
    let names: Vec<String> = (0..12).map(|n| format!("{n}.html")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let mut desk = Desk::new(&files).await;
    // Nothing is published while it is removed.
    desk.config.watch.quiet = Quiet::Fixed(Duration::from_mins(1));
    desk.config.watch.max_wait = Duration::from_mins(1);
    told(&desk, async |hook| {
        desk.shows("/11.html", "x").await;
        for name in &names[1..] {
            fs::remove_file(desk.path(name)).unwrap();
        }
        let held = end(hook.tell(HookAction::Publish).await).await;
        assert!(
            matches!(&held, Ended::Held(why) if why.contains("11 of 12")),
            "{held:?}"
        );
        let mut control = desk.control().await;
        switched(&mut control, "/v1/pause").await;
        let held = end(hook.tell(HookAction::Publish).await).await;
        assert!(
            matches!(&held, Ended::Held(why) if why.contains("paused")),
            "{held:?}"
        );
    })
    .await;
}

/// One that is told while a round is under way must not wait for a save.
#[tokio::test]
async fn every_event_ends_whatever_is_under_way() {
    let mut desk = Desk::new(&[]).await;
    fs::write(desk.config.root.join("page.md"), "first").unwrap();
    desk.built_by("mkdir -p deploy && cp page.md deploy/index.html");
    told(&desk, async |hook| {
        let mut waiting = Vec::new();
        for n in 0..30 {
            if n % 7 == 0 {
                fs::write(desk.config.root.join("page.md"), n.to_string()).unwrap();
            }
            let action = match n % 3 {
                0 => HookAction::Build,
                _ => HookAction::Publish,
            };
            waiting.push(hook.tell(action).await);
            if n % 4 == 0 {
                end(waiting.pop().unwrap()).await;
            }
        }
        for ended in waiting {
            let ended = end(ended).await;
            assert!(
                matches!(ended, Ended::Published(_) | Ended::InStep),
                "{ended:?}"
            );
        }
        desk.shows("/", "28").await;
    })
    .await;
}

#[tokio::test]
async fn a_build_that_fails_ends_its_events_and_the_next_one_is_tried() {
    let mut desk = Desk::new(&[]).await;
    fs::write(desk.config.root.join("page.md"), "first").unwrap();
    desk.built_by("mkdir -p deploy && cp page.md deploy/index.html && ! grep -q broken page.md");
    told(&desk, async |hook| {
        desk.shows("/", "first").await;
        fs::write(desk.config.root.join("page.md"), "broken").unwrap();
        for action in [HookAction::Build, HookAction::Publish] {
            let failed = end(hook.tell(action).await).await;
            assert!(
                matches!(&failed, Ended::Failed(why) if why.contains("exit code 1")),
                "{failed:?}"
            );
        }
        fs::write(desk.config.root.join("page.md"), "mended").unwrap();
        let ended = end(hook.tell(HookAction::Build).await).await;
        assert!(matches!(ended, Ended::Published(_)), "{ended:?}");
        desk.shows("/", "mended").await;
    })
    .await;
}
