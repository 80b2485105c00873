//! How long a save takes to be live, and what it costs, measured on the real programs.
//!
//! Prints one markdown document: save→live over loopback at several site sizes, bytes on the wire,
//! the server's milliseconds per commit, a first publish against rsync, memory and idle processor
//! time. No numbers are asserted here; `docs/PERFORMANCE.md` holds dated results.
//!
//! Run by `scripts/bench`, which builds the programs first. Flags:
//!
//!     --sizes 100,1000,10000,50000   files per site
//!     --edits 60                     edits per size
//!     --first-publish 10000          pages of the comparison with rsync; 0 leaves it out
//!     --rounds 3                     rounds of that comparison

mod big_site;
mod first_publish;
mod flags;
mod latency;
mod random;
mod resources;
mod samples;

/// The harness of the end-to-end tests, which starts the same programs.
#[path = "../../tests/e2e/harness"]
#[expect(dead_code, reason = "the stories use more of it than the benchmark")]
mod harness {
    pub(crate) mod deadline;
    pub(crate) mod http;
    pub(crate) mod process;
    pub(crate) mod relay;
    pub(crate) mod server;
    pub(crate) mod site;
    pub(crate) mod sync_client;
    pub(crate) mod world;

    pub(crate) use site::SiteFolder;
    pub(crate) use world::World;
}

use std::io::{self, Write as _};

use flags::Flags;

fn main() -> io::Result<()> {
    let flags = match Flags::parse(std::env::args().skip(1)) {
        Ok(flags) => flags,
        Err(fault) => {
            writeln!(io::stderr(), "save_to_live: {fault}")?;
            return Err(io::ErrorKind::InvalidInput.into());
        }
    };
    let mut out = io::stdout().lock();
    writeln!(out, "{}\n", resources::machine())?;

    // Every world is kept until all is measured: ext4 passes over inodes that were deleted in the
    // last minutes one by one, so that to clear up after one measurement would slow down the next.
    let mut worlds = Vec::new();
    if flags.first_publish > 0 {
        let (measured, used) = first_publish::measure(flags.first_publish, flags.rounds);
        first_publish::print(&measured, &mut out)?;
        worlds.extend(used);
    }
    let mut measured = Vec::new();
    for files in &flags.sizes {
        let (one, used) = latency::measure(*files, flags.edits);
        measured.push(one);
        worlds.push(used);
    }
    latency::print(&measured, &mut out)
}
