//! A model test: random edits, renames and restarts; once all is quiet, what the server holds is
//! what the folder holds.
//!
//! Each run is decided by its seed. A seed that ever failed stays in the list.

use crate::harness::{World, process::Process, relay::Relay};

/// Rounds of a run; after each one the trees are compared.
const ROUNDS: u32 = 8;

/// Edits of a round, without a pause between them.
const EDITS: u32 = 12;

#[test]
fn whatever_is_done_the_trees_are_equal_once_quiet() {
    for seed in [1, 2, 3] {
        Run::new(seed).play();
    }
}

/// A small generator of numbers (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ (mixed >> 27)) % bound
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.below(from.len() as u64)).expect("it is a small number")]
    }

    /// Returns a path of one to three segments out of few, so that files and folders meet.
    fn path(&mut self) -> String {
        let folders = (0..self.below(3))
            .map(|_| self.pick(&["a", "b", "c"]))
            .collect::<Vec<_>>();
        let name = self.pick(&["a", "b", "x.html", "y.html", "index.html"]);
        [folders.as_slice(), &[name]].concat().join("/")
    }
}

struct Run {
    seed: u64,
    dice: Dice,
    // Dropped before the world, whose log folder it writes to.
    daemon: Process,
    world: World,
    relay: Relay,
    starts: u32,
    log: Vec<String>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let world = World::new();
        // What the edits remove stays below what the guard holds.
        for number in 0..30 {
            world
                .site
                .write(&format!("kept/{number}.html"), "<h1>kept</h1>");
        }
        let relay = Relay::start(world.address());
        let daemon = start(&world, &relay, 0);
        Self {
            seed,
            dice: Dice(seed),
            world,
            relay,
            daemon,
            starts: 0,
            log: Vec::new(),
        }
    }

    fn play(mut self) {
        for _ in 0..ROUNDS {
            for _ in 0..EDITS {
                self.edit();
            }
            match self.dice.below(4) {
                0 => self.restart_daemon(),
                1 => self.restart_server(),
                _ => {}
            }
            self.world.wait_until_live(&self.world.site.tree());
            self.log.clear();
        }
    }

    fn edit(&mut self) {
        let path = self.dice.path();
        let text = format!("<h1>{:03}</h1>", self.dice.below(1_000));
        let place = self.world.site.path(&path);
        let kind = self.dice.below(8);
        self.log.push(format!("{kind} {path} {text}"));
        match kind {
            0 | 1 => {
                self.make_way_for(&path);
                self.world.site.save(&path, &text);
            }
            2 | 3 => {
                self.make_way_for(&path);
                self.world.site.write(&path, &text);
            }
            4 if place.is_file() => self.world.site.remove(&path),
            5 if place.is_dir() => self.world.site.remove_folder(&path),
            6 if place.exists() => {
                let to = self.dice.path();
                // A folder cannot be moved into itself.
                if !format!("{to}/").starts_with(&format!("{path}/")) {
                    self.log.push(format!("  to {to}"));
                    self.make_way_for(&to);
                    if self.world.site.path(&path).exists() {
                        self.world.site.rename(&path, &to);
                    }
                }
            }
            // Written and removed again, as an editor's swap file.
            _ => {
                self.world.site.write(".index.html.swp", &text);
                self.world.site.remove(".index.html.swp");
            }
        }
    }

    /// Removes what stands in the way of a file: a folder of its name, or files where its folders
    /// have to be.
    fn make_way_for(&self, path: &str) {
        let place = self.world.site.path(path);
        if place.is_dir() {
            self.world.site.remove_folder(path);
        } else if place.is_file() {
            self.world.site.remove(path);
        }
        for (at, _) in path.match_indices('/') {
            if self.world.site.path(&path[..at]).is_file() {
                self.world.site.remove(&path[..at]);
            }
        }
    }

    fn restart_daemon(&mut self) {
        self.log.push("daemon killed".into());
        self.starts += 1;
        self.daemon.kill();
        self.daemon = start(&self.world, &self.relay, self.starts);
    }

    fn restart_server(&mut self) {
        self.log.push("server killed".into());
        self.world.server.kill();
        self.world.restart_server();
        self.relay.point_to(self.world.address());
    }
}

impl Drop for Run {
    #[expect(clippy::print_stderr, reason = "a failing run shows how it came about")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "seed {}, edits of the last round: {:#?}",
                self.seed, self.log
            );
        }
    }
}

fn start(world: &World, relay: &Relay, number: u32) -> Process {
    let mut command = world.command_to(relay.address(), &["watch"]);
    world.start(&format!("watch-{number}"), &mut command)
}
