//! The server is killed (SIGKILL) at every step at which a commit changes the volume, then started
//! again: the current deploy is the old one or the new one, whole; an answered publish is the new
//! one; and the volume is sound.
//!
//! `strace` is attached to the running server and kills it when one of its threads makes its Nth
//! call of one kind; N grows until the publish and the work behind it need no more calls of that
//! kind. So every step is met whatever the code does, also steps that are added later.

use std::{fs, path::Path, process::Command};

use crate::harness::{
    World, eventually,
    process::Process,
    server::{self, was_killed},
    site::Tree,
    sync_client, world,
};

/// Every call that changes what a volume holds or makes it durable. Calls with and without `at`
/// are one step each here; strace leaves out those that a machine does not have.
const CALLS: [&str; 12] = [
    "openat",
    "write",
    "pwrite64",
    "fsync,fdatasync",
    "syncfs",
    "?rename,?renameat,renameat2",
    "?link,linkat",
    "?unlink,unlinkat",
    "?symlink,symlinkat",
    "?mkdir,mkdirat",
    "?chmod,fchmod,fchmodat",
    "ftruncate,fallocate",
];

/// No commit of these stories makes so many calls of one kind in one thread.
const MOST_CALLS: u32 = 600;

/// One way to change a site.
struct Step {
    name: &'static str,
    old: fn() -> Tree,
    new: fn(u32) -> Tree,
    /// Up to this call every one is a step; beyond, where a commit does the same for one file
    /// after another, one in eight.
    every_call_up_to: u32,
}

impl Step {
    fn next(&self, nth: u32) -> u32 {
        if nth < self.every_call_up_to {
            nth + 1
        } else {
            nth + nth.div_ceil(8)
        }
    }
}

fn page(path: &str, text: &str) -> (String, Vec<u8>) {
    (path.to_owned(), text.as_bytes().to_vec())
}

/// A site in which the edit below finds something to add, change, remove, and turn from a file
/// into a folder and back.
fn before_edit() -> Tree {
    [
        page("index.html", "<h1>old</h1>"),
        page("gone/deep/page.html", "<h1>goes</h1>"),
        page("file", "a file"),
        page("folder/index.html", "<h1>a folder</h1>"),
        page("kept.html", "<h1>kept</h1>"),
    ]
    .into()
}

fn after_edit(salt: u32) -> Tree {
    [
        page("index.html", &format!("<h1>new {salt}</h1>")),
        page("new/deep/page.html", &format!("<h1>comes {salt}</h1>")),
        page("large.bin", &format!("{salt:064}").repeat(4_096)),
        page("file/index.html", "<h1>a folder now</h1>"),
        page("folder", "a file now"),
        page("kept.html", "<h1>kept</h1>"),
    ]
    .into()
}

/// Enough new objects that they are made durable together rather than each for itself.
fn after_many(salt: u32) -> Tree {
    let mut tree = before_edit();
    for number in 0..40 {
        tree.extend([page(
            &format!("many/{number}.html"),
            &format!("<h1>{salt} {number}</h1>"),
        )]);
    }
    tree
}

#[test]
fn an_edit_is_whole_or_not_there() {
    kill_at_every_step(&Step {
        name: "edit",
        old: before_edit,
        new: after_edit,
        every_call_up_to: MOST_CALLS,
    });
}

#[test]
fn many_new_files_are_whole_or_not_there() {
    kill_at_every_step(&Step {
        name: "many",
        old: before_edit,
        new: after_many,
        every_call_up_to: 8,
    });
}

fn kill_at_every_step(step: &Step) {
    let mut world = World::new();
    let mut state = (Tree::new(), None);
    // Enough deploys that trees are recycled and the oldest deploys pruned from here on.
    for salt in 0..7 {
        state = move_to(&world, state, (step.new)(salt));
    }
    state = move_to(&world, state, (step.old)());
    let mut salt = 100;
    for calls in CALLS {
        let mut kills = 0;
        let mut nth = 1;
        loop {
            assert!(nth <= MOST_CALLS, "{} never ends: {calls}", step.name);
            salt += 1;
            let new = (step.new)(salt);
            let killed = publish_under_strace(&mut world, (calls, nth), (&state, &new));
            state = check_after(&mut world, state, (&new, &killed));
            state = move_to(&world, state, (step.old)());
            if !killed.killed {
                break;
            }
            kills += 1;
            nth = step.next(nth);
        }
        // Every commit opens, writes, syncs and renames something; a story that kills nowhere
        // would prove nothing.
        let must = [
            "openat",
            "write",
            "fsync,fdatasync",
            "?rename,?renameat,renameat2",
        ];
        assert!(
            kills > 0 || !must.contains(&calls),
            "{}: no {calls} was met",
            step.name
        );
    }
    world.server.stop();
    server::assert_sound(&world.volume());
}

/// A tree and the deploy that it is.
type State = (Tree, Option<String>);

/// Publishes `tree` without disturbance.
fn move_to(world: &World, (from, base): State, tree: Tree) -> State {
    let published = sync_client::publish(world.address(), base.as_deref(), (&from, &tree))
        .expect("an undisturbed publish is answered");
    (tree, Some(published.deploy_id.to_string()))
}

/// How a publish under strace ended.
struct Attempt {
    killed: bool,
    /// The deploy that the server answered with, when it answered.
    answered: Option<String>,
}

/// Publishes while the server dies at its `nth` call; ends the server by SIGTERM when it does not.
fn publish_under_strace(
    world: &mut World,
    (calls, nth): (&str, u32),
    ((old, base), new): (&State, &Tree),
) -> Attempt {
    let mut strace = attach(world, calls, nth);
    let answered = sync_client::publish(world.address(), base.as_deref(), (old, new))
        .ok()
        .map(|published| published.deploy_id.to_string());
    // The work after the answer is made of steps as well: SIGTERM lets it end.
    let status = world.server.process().terminate();
    strace.wait();
    let killed = was_killed(status);
    assert!(
        killed || status.code() == Some(0),
        "{calls} {nth}: {status}"
    );
    assert!(
        killed || answered.is_some(),
        "{calls} {nth}: an undisturbed publish is answered"
    );
    Attempt { killed, answered }
}

fn attach(world: &mut World, calls: &str, nth: u32) -> Process {
    let id = world.server.process().id();
    wait_until_at_rest(id);
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-o", "/dev/null"])
        .args(["-e", &format!("trace={calls}")])
        .args(["-e", &format!("inject={calls}:signal=SIGKILL:when={nth}")])
        .args(["-p", &id.to_string()]);
    let strace = world.start("strace", &mut command);
    eventually("strace to hold every thread", || {
        // Work behind the scenes may meet the call first, which is as good a place to be killed.
        let killed = world.server.process().try_wait().is_some();
        let tracers = of_each_thread(id, "TracerPid:");
        killed || (!tracers.is_empty() && tracers.iter().all(|tracer| *tracer == strace.id()))
    });
    strace
}

/// Waits until what a start or a commit left to do behind the scenes is done, so that the calls
/// that are counted are those of the publish.
fn wait_until_at_rest(id: u32) {
    let mut last = Vec::new();
    let mut looks = 0;
    eventually("the server to come to rest", || {
        let switches = of_each_thread(id, "voluntary_ctxt_switches:");
        looks = if switches == last { looks + 1 } else { 0 };
        last = switches;
        looks >= 5
    });
}

/// Returns a number that the kernel tells of each thread of a process; nothing when it has ended.
fn of_each_thread(id: u32, name: &str) -> Vec<u32> {
    let tasks = fs::read_dir(Path::new("/proc").join(id.to_string()).join("task"));
    tasks
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("status")).ok())
        .filter_map(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse().ok()
        })
        .collect()
}

/// Starts the server again and checks what it serves; returns the state that it is in.
fn check_after(world: &mut World, (old, base): State, (new, attempt): (&Tree, &Attempt)) -> State {
    world.restart_server();
    let manifest = sync_client::manifest(world.address()).expect("the server answers");
    let current = manifest.deploy_id.clone();
    let is_new = manifest.files == sync_client::digests(new);
    let is_old = manifest.files == sync_client::digests(&old);
    assert!(is_new || is_old, "a mix of two deploys: {manifest:?}");
    if let Some(answered) = &attempt.answered {
        assert!(is_new, "an answered publish was lost");
        assert_eq!(current.as_ref(), Some(answered));
    }
    let tree = if is_new { new.clone() } else { old };
    if !is_new {
        assert_eq!(current, base, "the old deploy has its old id");
    }
    world::assert_serves(world.address(), &tree);
    // The trees are mended behind the first answers; a stop waits for that.
    world.server.stop();
    server::assert_sound(&world.volume());
    assert_eq!(
        crate::harness::SiteFolder::at(world.volume().join("current")).tree(),
        tree,
        "the plain tree is the current deploy"
    );
    world.restart_server();
    (tree, current)
}
