//! With a build command: a save of a source is a run, its success is live at once, and its failure leaves
//! the site alone.

mod generators;

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::harness::{
    World, deadline::throughout, eventually, http, process::Process, sync_client, wait_for,
};

/// Where the programs are that a build command names.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A project whose site is built.
struct Project {
    world: World,
}

impl Project {
    /// Makes a project with sources, and `onsave.toml` with this `[build]`.
    fn new(sources: &[(&str, &str)], build: &str) -> Self {
        let project = Self {
            world: World::without_site(),
        };
        project.world.configure(&format!("[build]\n{build}\n"));
        for (path, text) in sources {
            project.save(path, text);
        }
        project
    }

    /// A project whose command is this script for the shell, with one source, `page.md`.
    fn with_script(script: &str, build: &str) -> Self {
        let sources = [("page.md", "first\n")];
        let project = Self::new(&sources, &format!("command = \"sh .build.sh\"\n{build}"));
        project.save(".build.sh", script);
        project
    }

    fn source(&self, path: &str) -> PathBuf {
        self.world.project().join(path)
    }

    /// Saves a source as editors do, whole.
    fn save(&self, path: &str, text: &str) {
        let path = self.source(path);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("it can be made");
        let temporary = self.world.path("being-saved");
        fs::write(&temporary, text).expect("the world can be written");
        fs::rename(temporary, path).expect("it can be renamed");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command(arguments);
        command.env("PATH", PATH);
        command
    }

    fn watch(&self) -> Process {
        self.world.start("watch", &mut self.command(&["watch"]))
    }

    /// Returns what a command of the script wrote beside the project, once it did.
    fn wait_for_file(&self, name: &str) -> String {
        let path = self.world.path(name);
        wait_for(name, || {
            let text = fs::read_to_string(&path).ok()?;
            text.ends_with('\n').then_some(text)
        })
    }

    /// Returns how many runs have begun; each script that is asked notes them.
    fn runs(&self) -> usize {
        fs::read_to_string(self.world.path("runs")).map_or(0, |text| text.lines().count())
    }

    fn let_go(&self) {
        fs::write(self.world.path("go"), "").expect("the world can be written");
    }
}

fn is_running(id: &str) -> bool {
    // A child that nobody collects yet has ended as well.
    fs::read_to_string(Path::new("/proc").join(id.trim()).join("stat"))
        .is_ok_and(|stat| !stat.contains(") Z "))
}

/// Waits until a run was let go; notes the run and its process.
const GATED: &str = "echo $$ >> ../runs\n\
     text=$(cat page.md)\n\
     until [ -e ../go ]; do sleep 0.01; done\n\
     mkdir -p deploy && echo \"$text\" > deploy/index.html\n";

#[test]
fn every_deploy_is_of_one_run_however_slow_the_generator_is() {
    let script = "text=$(cat page.md)\n\
         mkdir -p deploy && rm -f deploy/*\n\
         for n in 1 2 3 4 5 6 7 8; do sleep 0.06; echo \"$text\" > deploy/$n.html; done\n";
    let project = Project::with_script(script, "");
    // Far shorter than a run: without the build's word, each page would be published by itself.
    let mut command = project.command(&["watch"]);
    let _daemon = project
        .world
        .start("watch", command.env("ONSAVE_WATCH_QUIET_MS", "1"));
    let address = project.world.address();
    let mut deploys = BTreeSet::new();
    for text in ["first", "second", "third"] {
        project.save("page.md", &format!("{text}\n"));
        eventually("the page to be live", || {
            let manifest = sync_client::manifest(address).expect("the server answers");
            if let Some(id) = manifest.deploy_id {
                let contents: BTreeSet<_> = manifest.files.values().collect();
                assert_eq!((manifest.files.len(), contents.len()), (8, 1), "of {text}");
                deploys.insert(id);
            }
            http::get(address, "/8.html").is_some_and(|answer| answer.text() == format!("{text}\n"))
        });
    }
    let count = sync_client::deploys(address).deploys.len();
    assert!((3..=4).contains(&count), "{count} deploys of three saves");
}

#[test]
fn a_failure_leaves_the_site_alone_and_is_told_with_the_last_lines() {
    let script = "mkdir -p deploy && cp page.md deploy/index.html\n\
         if grep -q broken page.md; then echo reading page.md; echo 'line 3: no such layout' >&2; exit 3; fi\n";
    let project = Project::with_script(script, "");
    let daemon = project.watch();
    project.world.wait_for_page("/", "first\n");
    let before = project.world.current_deploy();
    project.save("page.md", "broken\n");
    eventually("the failure to be told", || {
        daemon
            .stderr()
            .contains("the build failed with exit code 3")
    });
    let said = daemon.stderr();
    assert!(said.contains("\n  line 3: no such layout"), "{said}");
    assert!(said.contains("build.log"), "{said}");
    assert_eq!(said.matches("the build failed").count(), 1, "{said}");
    // Half of it was written, and stays where it is.
    assert_eq!(
        fs::read_to_string(project.source("deploy/index.html")).unwrap(),
        "broken\n"
    );
    throughout(Duration::from_millis(300), "the site is left alone", || {
        project.world.current_deploy() == before
    });
    let status = String::from_utf8(project.command(&["status"]).output().unwrap().stdout).unwrap();
    assert!(
        status.contains("the build failed with exit code 3"),
        "{status}"
    );
    // A publish by hand builds as well, and fails the same.
    let asked = project.command(&["publish"]).output().unwrap();
    assert!(!asked.status.success());
    project.save("page.md", "mended\n");
    project.world.wait_for_page("/", "mended\n");
    let status = String::from_utf8(project.command(&["status"]).output().unwrap().stdout).unwrap();
    assert!(!status.contains("the build failed"), "{status}");
}

#[test]
fn saves_while_a_queued_run_is_under_way_are_one_more_run() {
    let project = Project::with_script(GATED, "on_change = \"queue\"");
    let mut daemon = project.watch();
    let first = project.wait_for_file("runs");
    for text in ["second\n", "third\n", "last\n"] {
        project.save("page.md", text);
        // Longer than the debounce: they are seen one by one.
        throughout(Duration::from_millis(100), "the run goes on", || {
            is_running(&first) && project.runs() == 1
        });
    }
    assert_eq!(
        project.world.current_deploy(),
        None,
        "nothing was published"
    );
    project.let_go();
    project.world.wait_for_page("/", "last\n");
    throughout(Duration::from_millis(300), "no further run", || {
        project.runs() == 2
    });
    assert_eq!(daemon.terminate().code(), Some(0));
}

#[test]
fn a_save_ends_the_run_under_way_where_that_is_asked_for() {
    let project = Project::with_script(GATED, "on_change = \"restart\"");
    let _daemon = project.watch();
    let first = project.wait_for_file("runs");
    project.save("page.md", "second\n");
    eventually("another run", || project.runs() == 2);
    assert!(!is_running(&first), "one at a time");
    project.let_go();
    project.world.wait_for_page("/", "second\n");
    assert_eq!(project.runs(), 2);
}

#[test]
fn a_stop_ends_the_build_and_what_it_started() {
    let script = "sleep 600 & echo $! > ../child\necho $$ > ../leader\nwait\n";
    let project = Project::with_script(script, "");
    for signal in [Process::terminate, Process::interrupt] {
        let mut daemon = project.watch();
        let (leader, child) = (
            project.wait_for_file("leader"),
            project.wait_for_file("child"),
        );
        assert!(is_running(&leader) && is_running(&child));
        assert_eq!(signal(&mut daemon).code(), Some(0));
        assert!(!is_running(&leader), "the command");
        eventually("what it started to end", || !is_running(&child));
        for name in ["leader", "child"] {
            fs::remove_file(project.world.path(name)).unwrap();
        }
    }
}

#[test]
fn a_command_that_writes_its_own_sources_does_not_run_for_ever() {
    let script = "echo >> ../runs; mkdir -p deploy; cp page.md deploy/index.html\n\
         echo always the same > made.txt\n";
    let project = Project::with_script(script, "");
    let daemon = project.watch();
    project.world.wait_for_page("/", "first\n");
    throughout(
        Duration::from_millis(500),
        "the same bytes are no change",
        || project.runs() <= 2,
    );
    drop(daemon);
    project.save(
        ".build.sh",
        &script.replace("always the same", "$(date +%N)"),
    );
    let daemon = project.watch();
    eventually("it to be told", || {
        daemon
            .stderr()
            .contains("made.txt changed while the command ran")
    });
    eventually("it to be over", || {
        daemon.stderr().contains("the build writes its own sources")
    });
    let runs = project.runs();
    throughout(Duration::from_millis(500), "no further run", || {
        project.runs() == runs
    });
    project.save("page.md", "second\n");
    project.world.wait_for_page("/", "second\n");
}

#[test]
fn what_is_no_source_starts_no_run() {
    let script = "echo >> ../runs; mkdir -p deploy; cp page.md deploy/index.html\n";
    let project = Project::with_script(script, "watch = [\"*.md\", \"/data\", \"!draft.md\"]");
    let _daemon = project.watch();
    project.world.wait_for_page("/", "first\n");
    for path in [
        "notes.txt",
        "draft.md",
        "node_modules/x/readme.md",
        ".git/x.md",
        "deploy/x.md",
        "data/.a.swp",
    ] {
        project.save(path, "x");
    }
    throughout(Duration::from_millis(300), "no further run", || {
        project.runs() == 1
    });
    // Folders that are new are watched as well.
    project.save("data/deep/er.json", "{}");
    eventually("a run for the data", || project.runs() == 2);
    project.save("data/deep/er.json", "[]");
    eventually("a run for the new folder", || project.runs() == 3);
}

#[test]
fn builds_where_no_events_come_are_published_once_they_are_done() {
    let script = "text=$(cat page.md); mkdir -p deploy\n\
         for n in 1 2 3; do sleep 0.1; echo \"$text\" > deploy/$n.html; done\n";
    let project = Project::with_script(script, "");
    let mut command = project.command(&["watch", "--poll", "always"]);
    command.env("ONSAVE_WATCH_POLL_INTERVAL_MS", "20");
    let _daemon = project.world.start("watch", &mut command);
    project.world.wait_for_page("/3.html", "first\n");
    project.save("page.md", "second\n");
    project.world.wait_for_page("/3.html", "second\n");
    let deploys = sync_client::deploys(project.world.address()).deploys.len();
    assert_eq!(deploys, 2, "one for each build");
}

#[test]
fn a_publish_builds_first_unless_it_is_told_not_to() {
    let project = Project::with_script("env; mkdir -p deploy; cp page.md deploy/index.html\n", "");
    let run = |arguments: &[&str]| project.command(arguments).output().unwrap();
    let published = run(&["publish", "--json"]);
    assert!(
        published.status.success(),
        "{}",
        String::from_utf8_lossy(&published.stderr)
    );
    let _one_object: serde_json::Value = serde_json::from_slice(&published.stdout).unwrap();
    project.world.wait_for_page("/", "first\n");
    project.save("page.md", "second\n");
    assert!(run(&["publish", "--no-build"]).status.success());
    project.world.wait_for_page("/", "first\n");

    project.save(".build.sh", "echo 'no such layout' >&2; exit 1\n");
    let failed = run(&["publish", "-q"]);
    assert_eq!(failed.status.code(), Some(11));
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(said.contains("the build failed with exit code 1"), "{said}");
    assert!(said.contains("no such layout"), "{said}");
    project.world.wait_for_page("/", "first\n");

    project.save(".build.sh", "echo $$ > ../leader; sleep 600\n");
    let mut publish = project
        .world
        .start("publish", &mut project.command(&["publish"]));
    let leader = project.wait_for_file("leader");
    assert_eq!(publish.interrupt().code(), Some(130));
    assert!(!is_running(&leader));
}

#[test]
fn no_secret_reaches_the_command() {
    let script = "env > ../environment; mkdir -p deploy; cp page.md deploy/index.html\n";
    let project = Project::with_script(script, "");
    let mut command = project.command(&["publish"]);
    command
        .env("FLY_API_TOKEN", "hunter2")
        .env("SITE_LANGUAGE", "en");
    assert!(command.output().unwrap().status.success());
    let given = project.wait_for_file("environment");
    assert!(given.contains("SITE_LANGUAGE=en\n"), "{given}");
    for name in ["ONSAVE_SYNC_SECRET", "FLY_API_TOKEN"] {
        assert!(!given.contains(name), "{given}");
    }
}

#[test]
fn a_project_in_a_folder_with_sources_of_its_own_is_told_what_it_gets() {
    let project = Project::new(&[], "command = [\"make\", \"site\"]\noutput = \"dist\"");
    let checked = project.world.run_well(&["check"]);
    let line = |key: &str| {
        let found = checked.lines().find(|line| line.starts_with(key));
        found
            .unwrap_or_else(|| panic!("{key}: {checked}"))
            .to_owned()
    };
    assert!(line("build.command").contains("make, site"));
    assert!(line("dir ").contains("project/dist"));
    let mut file = fs::File::options()
        .append(true)
        .open(project.source("onsave.toml"))
        .unwrap();
    writeln!(file, "on_change = \"never\"").unwrap();
    drop(file);
    let refused = project.world.run(&["check"]);
    assert_eq!(refused.status.code(), Some(3));
}
