//! How long the first run on the simulated platform takes, and a run that has nothing to do.
//!
//! Prints one markdown table: the time of `onsave publish` from nothing to a live site, the delays of
//! the simulated platform within it (its states, and pulling and starting the image), the difference,
//! which is onsave's own; and the time and the writes of an `onsave provision` after it.
//! `docs/PERFORMANCE.md` holds dated results.
//!
//! Run by `scripts/bench`, which builds the programs first. Needs root, for the namespaces of the
//! simulated machines. Flags:
//!
//!     --rounds 5                     rounds; the median counts

#[path = "../save_to_live/resources.rs"]
#[expect(dead_code, reason = "the other benchmark watches processes")]
mod resources;
#[path = "../save_to_live/samples.rs"]
#[expect(dead_code, reason = "a few rounds need no statistics")]
mod samples;

/// The simulated platform and the harness of the end-to-end tests, which start the same programs.
#[path = "../../tests/e2e"]
#[expect(
    dead_code,
    unused_imports,
    reason = "the stories use more of it than the benchmark"
)]
mod e2e {
    pub(crate) mod fly_simulator;

    pub(crate) mod harness {
        pub(crate) mod deadline;
        pub(crate) mod http;
        pub(crate) mod installed;
        pub(crate) mod process;
        pub(crate) mod registry;
        pub(crate) mod server;
        pub(crate) mod site;
        pub(crate) mod sync_client;
        pub(crate) mod world;

        pub(crate) use deadline::{eventually, wait_for};
        pub(crate) use server::Server;
        pub(crate) use site::SiteFolder;
        pub(crate) use world::World;
    }
}

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use e2e::{fly_simulator, harness};
use fly_simulator::{FlySimulator, ORGANIZATION_TOKEN, Options};
use harness::World;
use tokio::time::Instant;

/// Rounds, when no flag says another number.
const ROUNDS: usize = 5;

/// What one round took.
#[derive(Debug)]
struct Round {
    first: Duration,
    platform: Duration,
    again: Duration,
    writes: usize,
}

fn main() -> io::Result<()> {
    let rounds = match rounds(std::env::args().skip(1)) {
        Ok(rounds) => rounds,
        Err(fault) => {
            writeln!(io::stderr(), "first_run: {fault}")?;
            return Err(io::ErrorKind::InvalidInput.into());
        }
    };
    let measured: Vec<Round> = (0..rounds).map(|_| measure()).collect();
    let median = |value: fn(&Round) -> Duration| {
        let mut all: Vec<Duration> = measured.iter().map(value).collect();
        all.sort();
        all[all.len() / 2].as_secs_f64() * 1e3
    };
    let writes = measured.iter().map(|round| round.writes).max();
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{}\n\n**A first run on the simulated platform**, the median of {rounds}\n\n\
         | | ms |\n|---|---:|\n\
         | `onsave publish`, from nothing to live | {:.0} |\n\
         | of that, the platform's own delays | {:.0} |\n\
         | of that, onsave | {:.0} |\n\
         | `onsave provision` after it, with nothing to do | {:.0} |\n\n\
         The second run wrote {} times.\n",
        resources::machine(),
        median(|round| round.first),
        median(|round| round.platform),
        median(|round| round.first.saturating_sub(round.platform)),
        median(|round| round.again),
        writes.unwrap_or(0),
    )
}

fn rounds(arguments: impl Iterator<Item = String>) -> Result<usize, String> {
    // Cargo adds `--bench` to what it runs.
    let mut arguments = arguments.filter(|argument| argument != "--bench");
    let rounds = match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => ROUNDS,
        (Some("--rounds"), Some(number)) => number
            .parse()
            .map_err(|_| format!("--rounds needs a number, not {number:?}"))?,
        (Some(flag), _) => return Err(format!("no such flag, or no value for it: {flag}")),
    };
    if rounds == 0 {
        return Err("--rounds has to be at least 1".into());
    }
    Ok(rounds)
}

fn measure() -> Round {
    let world = World::with_small_site();
    let fly = FlySimulator::start(&Options::default());
    let run = |arguments: &[&str]| {
        let mut command = world.bare_command(arguments);
        let begun = Instant::now();
        let output = towards(&fly, &mut command)
            .output()
            .expect("onsave can be started");
        let took = begun.elapsed();
        assert!(output.status.success(), "{output:?}");
        took
    };
    let first = run(&["--target", "fly", "publish"]);
    let platform = fly.simulated_delay();
    let writes = fly.writes().len();
    let again = run(&["--target", "fly", "provision"]);
    Round {
        first,
        platform,
        again,
        writes: fly.writes().len() - writes,
    }
}

fn towards<'a>(fly: &FlySimulator, command: &'a mut Command) -> &'a mut Command {
    command
        .env("FLY_API_TOKEN", ORGANIZATION_TOKEN)
        .env("FLY_FLAPS_BASE_URL", fly.api_url())
        .env("FLY_API_BASE_URL", fly.older_api_url())
        .env("FLY_REGISTRY_HOST", fly.registry_host())
        .env("ONSAVE_FLY_APP_URL", fly.edge_url())
        .env("ONSAVE_FLY_SERVER_BINARY", static_program())
}

/// Returns the server that goes into the image, built as a user builds it.
fn static_program() -> PathBuf {
    let target_folder = Path::new(env!("CARGO_BIN_EXE_onsave"))
        .ancestors()
        .nth(2)
        .expect("Cargo's folder is above the profile's");
    let path = target_folder.join("x86_64-unknown-linux-gnu/release/onsave-server");
    assert!(
        path.is_file(),
        "{} is missing; ./scripts/bench first_run builds it",
        path.display()
    );
    path
}
