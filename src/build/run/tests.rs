//! Runs of real shells: how they end, what is kept, and that nothing is left behind.

use std::{fs, path::Path};

use tokio::time::interval;

use super::*;

/// Far above what anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

struct Desk {
    home: tempfile::TempDir,
    build: Build,
}

impl Desk {
    fn new(command: BuildCommand) -> Self {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().canonicalize().unwrap();
        let variable = ("XDG_STATE_HOME".into(), root.join("state").into());
        let surroundings = crate::surroundings::Surroundings {
            variables: [variable].into(),
            working_folder: root.clone(),
            home: None,
            host: "desk".to_owned(),
            stderr: crate::surroundings::Stream::Other,
            program: None,
        };
        let state = SiteState::locate(&surroundings, &root).unwrap();
        let build = Build {
            command,
            timeout: None,
            root,
            state,
            kept: Vec::new(),
        };
        Self { home, build }
    }

    fn shell(line: &str) -> Self {
        Self::new(BuildCommand::Shell(line.to_owned()))
    }

    async fn run(&self) -> Result<Duration, BuildError> {
        let stop = CancellationToken::new();
        let running = self.build.run(None, &stop);
        tokio::time::timeout(PATIENCE, running)
            .await
            .expect("it ends")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.build.state.build_log()).unwrap()
    }

    async fn until_there(&self, name: &str) -> String {
        let mut looks = interval(Duration::from_millis(5));
        let look = async {
            loop {
                match fs::read_to_string(self.path(name)) {
                    Ok(text) if text.ends_with('\n') => return text,
                    _ => looks.tick().await,
                };
            }
        };
        tokio::time::timeout(PATIENCE, look).await.expect(name)
    }

    /// Waits until the process whose number is in this file is gone, or waits to be collected.
    async fn until_gone(&self, name: &str) {
        let id = self.until_there(name).await;
        let stat = format!("/proc/{}/stat", id.trim());
        let mut looks = interval(Duration::from_millis(5));
        let look = async {
            while Path::new(&stat).exists()
                && !fs::read_to_string(&stat)
                    .unwrap_or_default()
                    .contains(") Z ")
            {
                looks.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, look)
            .await
            .expect("it is gone");
    }
}

#[tokio::test]
async fn a_command_runs_in_its_folder_and_what_it_says_is_kept() {
    let desk = Desk::shell("pwd; echo oops >&2; printf end; echo made > page.html");
    desk.run().await.unwrap();
    let log = desk.log();
    // Two pipes have no order between them.
    for said in [desk.build.root.to_str().unwrap(), "oops\n", "end"] {
        assert!(log.contains(said), "{said}: {log}");
    }
    assert!(desk.path("page.html").exists());
    let desk = Desk::new(BuildCommand::Program(vec![
        "printf".into(),
        "%s".into(),
        "$HOME *".into(),
    ]));
    desk.run().await.unwrap();
    assert_eq!(desk.log(), "$HOME *", "no shell sees it");
}

#[tokio::test]
async fn a_failure_tells_its_code_and_its_last_lines() {
    let desk = Desk::shell("for n in 1 2 3; do echo line $n; done; exit 7");
    let error = desk.run().await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the build failed with exit code 7 after "),
        "{error}"
    );
    let hint = error.hint().unwrap();
    assert!(
        hint.ends_with("it ended with\n  line 1\n  line 2\n  line 3"),
        "{hint}"
    );
    assert!(hint.contains("build.log"), "{hint}");
    let error = Desk::shell("kill -9 $$").run().await.unwrap_err();
    assert!(error.to_string().contains("signal 9"), "{error}");
}

#[tokio::test]
async fn a_command_that_is_not_there_is_named() {
    let desk = Desk::new(BuildCommand::Program(vec!["no-such-generator".into()]));
    let error = desk.run().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the build command no-such-generator could not be run"
    );
    let error = Desk::shell("no-such-generator").run().await.unwrap_err();
    assert!(error.to_string().contains("exit code 127"), "{error}");
}

#[tokio::test]
async fn a_stop_ends_the_command_and_what_it_started() {
    let desk = Desk::shell("sleep 600 & echo $! > child; echo $$ > leader; wait");
    let stop = CancellationToken::new();
    let running = desk.build.run(None, &stop);
    let story = async {
        desk.until_there("leader").await;
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(running, story);
    assert!(matches!(ended, Err(BuildError::Stopped)), "{ended:?}");
    desk.until_gone("child").await;
    desk.until_gone("leader").await;
}

#[tokio::test]
async fn what_does_not_end_when_asked_is_killed() {
    let mut desk =
        Desk::shell("trap '' TERM; echo begun; echo $$ > leader; while :; do sleep 0.1; done");
    desk.build.timeout = Some(Duration::from_millis(200));
    let error = desk.run().await.unwrap_err();
    let BuildError::TooSlow { said, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(said.last_lines, ["begun"]);
    desk.until_gone("leader").await;
}

#[tokio::test]
async fn what_a_command_leaves_running_ends_with_it() {
    let desk = Desk::shell("sleep 600 & echo $! > child; exit 0");
    desk.run().await.unwrap();
    desk.until_gone("child").await;
    let desk = Desk::shell("sleep 600 >/dev/null 2>&1 & echo $! > child; exit 0");
    desk.run().await.unwrap();
    desk.until_gone("child").await;
}

#[tokio::test]
async fn a_run_that_is_dropped_leaves_nothing_running() {
    let desk = Desk::shell("echo $$ > leader; sleep 600");
    let stop = CancellationToken::new();
    tokio::select! {
        ended = desk.build.run(None, &stop) => panic!("{ended:?}"),
        _ = desk.until_there("leader") => {}
    }
    desk.until_gone("leader").await;
}

#[tokio::test]
async fn one_run_at_a_time_whoever_asks() {
    let desk = Desk::shell("mkdir busy && sleep 0.1 && rmdir busy");
    let (one, two, three) = tokio::join!(desk.run(), desk.run(), desk.run());
    one.and(two).and(three).unwrap();
    let desk = Desk::shell("true");
    let lock = desk.build.state.try_lock_build().unwrap().unwrap();
    let stop = CancellationToken::new();
    let running = desk.build.run(None, &stop);
    let (ended, ()) = tokio::join!(running, async { stop.cancel() });
    assert!(
        matches!(ended, Err(BuildError::Stopped)),
        "a wait for another ends with a stop"
    );
    drop(lock);
    desk.run().await.unwrap();
}

#[tokio::test]
async fn a_run_is_told_its_events_twice_and_no_secret() {
    let line = "cat > stdin; cat \"$ONSAVE_EVENT_FILE\" > file; stat -c %a \"$ONSAVE_EVENT_FILE\" > mode; \
                env > environment";
    let mut desk = Desk::shell(line);
    // Cargo gives it to every test.
    let kept = "CARGO_MANIFEST_DIR";
    assert!(std::env::vars_os().any(|(name, _)| name == kept));
    desk.build.kept = vec![kept.to_owned()];
    let stop = CancellationToken::new();
    let events = b"[{\"id\":\"a\"}]";
    let running = desk.build.run(Some(events), &stop);
    tokio::time::timeout(PATIENCE, running)
        .await
        .unwrap()
        .unwrap();
    for name in ["stdin", "file"] {
        assert_eq!(fs::read(desk.path(name)).unwrap(), events, "{name}");
    }
    assert_eq!(fs::read_to_string(desk.path("mode")).unwrap(), "600\n");
    assert!(
        !desk.build.state.build_events().exists(),
        "it is gone with the run"
    );
    let environment = fs::read_to_string(desk.path("environment")).unwrap();
    assert!(environment.contains("PATH=") && !environment.contains(kept));
}

#[tokio::test]
async fn a_run_that_nobody_outside_asked_for_is_told_nothing() {
    let desk = Desk::shell("cat > stdin; echo \"[$ONSAVE_EVENT_FILE]\" > file");
    desk.run().await.unwrap();
    assert_eq!(fs::read_to_string(desk.path("stdin")).unwrap(), "");
    assert_eq!(fs::read_to_string(desk.path("file")).unwrap(), "[]\n");
}
