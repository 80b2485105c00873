//! How fast the site is served, side by side with other static servers in one run.
//!
//! Prints one markdown document: requests per second, latency and processor time of each server
//! under each workload; the goals and whether they hold; serving while publishes land; memory with
//! a large site. Every server runs on one core, and wrk on another. Before a server is measured, its
//! answers are compared with the site, byte by byte. `docs/PERFORMANCE.md` holds dated results.
//!
//! Run by `scripts/bench serving`, which builds and installs what it needs first. Flags:
//!
//!     --only onsave,nginx            of onsave, nginx, caddy, lighttpd, static-web-server
//!     --workload page,br             of page, br, asset, 304, mixed, publishing, memory
//!     --connections 1,64             open connections, one measurement each
//!     --rounds 3                     rounds; their median counts
//!     --seconds 5                    of each run, at most 20
//!     --files 50000                  files of the site that memory is measured with
//!     --quick                        one round of a second each and 2,000 files: for developing

mod check;
mod configurations;
mod flags;
mod goals;
mod memory;
mod processes;
mod publishing;
mod servers;
mod side_by_side;
mod site;
mod workload;
mod wrk;

// What both benchmarks do alike.
#[path = "../save_to_live/big_site.rs"]
#[expect(dead_code, reason = "the other benchmark edits its pages")]
mod big_site;
#[path = "../save_to_live/random.rs"]
mod random;
#[path = "../save_to_live/resources.rs"]
#[expect(dead_code, reason = "the other benchmark watches processes at rest")]
mod resources;
#[path = "../save_to_live/samples.rs"]
#[expect(dead_code, reason = "wrk does its own statistics")]
mod samples;

/// The harness of the end-to-end tests, which starts the same programs.
#[path = "../../tests/e2e/harness"]
#[expect(dead_code, reason = "the stories use more of it than the benchmark")]
mod harness {
    pub(crate) mod deadline;
    pub(crate) mod http;
    pub(crate) mod process;
    pub(crate) mod server;
    pub(crate) mod site;
    pub(crate) mod sync_client;
    pub(crate) mod world;

    pub(crate) use site::SiteFolder;
    pub(crate) use world::World;
}

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::Command,
};

use flags::{Flags, Part};
use goals::Goal;
use harness::{World, site::Tree};
use processes::Cores;
use servers::{INSTALL, Kind, Peer, Server};

fn main() -> io::Result<()> {
    let ready = Flags::parse(std::env::args().skip(1)).and_then(|flags| {
        let versions = versions(&flags)?;
        // Asked before this process restricts itself to one core.
        let machine = resources::machine();
        Ok((flags, versions, machine, Cores::take()?))
    });
    let (flags, versions, machine, cores) = match ready {
        Ok(ready) => ready,
        Err(fault) => {
            writeln!(io::stderr(), "serving: {fault}")?;
            return Err(io::ErrorKind::InvalidInput.into());
        }
    };
    let mut out = io::stdout().lock();
    writeln!(out, "{machine}; {}.\n", processes::load_average())?;
    print_head(&flags, &versions, &mut out)?;
    let mut goals = served(cores, &flags, &mut out)?;
    if flags.parts.contains(&Part::Memory) {
        let memory = memory::measure(cores, flags.files);
        memory.print(&mut out)?;
        goals.extend(memory.goals());
    }
    if goals.is_empty() {
        return Ok(());
    }
    writeln!(out, "**Goals**\n")?;
    goals::print(&goals, &mut out)
}

/// Returns the versions of all programs that take part.
fn versions(flags: &Flags) -> Result<Vec<String>, String> {
    let mut versions = vec![servers::version_of(Path::new("wrk"), "-v")?];
    for kind in &flags.servers {
        let version = kind.version()?;
        // Some say their name themselves.
        versions.push(if version.contains(kind.name()) {
            version
        } else {
            format!("{} {version}", kind.name())
        });
    }
    Ok(versions)
}

fn print_head(flags: &Flags, versions: &[String], out: &mut impl Write) -> io::Result<()> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|one| one != "--bench")
        .collect();
    writeln!(
        out,
        "`./scripts/bench serving {}`: the median of {} rounds of {} s; servers on one core, wrk on another.\n",
        arguments.join(" "),
        flags.rounds,
        flags.seconds
    )?;
    for version in versions {
        writeln!(out, "- {version}")?;
    }
    writeln!(out)
}

/// Runs what needs the comparison's site, and returns the goals of it.
fn served(cores: Cores, flags: &Flags, out: &mut impl Write) -> io::Result<Vec<Goal>> {
    let workloads = flags.workloads();
    let is_publishing = flags.parts.contains(&Part::Publishing);
    let mut goals = Vec::new();
    if workloads.is_empty() && !is_publishing {
        return Ok(goals);
    }
    let site = site::tree();
    let mut world = cores.on_the_servers(World::new);
    for tree in [&site, &publishing::pair(0)] {
        write(world.site.root(), tree);
    }
    world.run_well(&["publish"]);
    let own = Server {
        kind: Kind::Onsave,
        address: world.address(),
        processes: vec![world.server.process().id()],
    };
    if !workloads.is_empty() {
        let peers = start_peers(cores, flags, &world, &site);
        let mut servers: Vec<Server> = peers.iter().map(|peer| peer.server().clone()).collect();
        if flags.servers.contains(&Kind::Onsave) {
            servers.insert(0, own.clone());
        }
        let measured = side_by_side::measure(&servers, &site, flags, &world.path("logs"));
        side_by_side::print(&measured, out)?;
        goals::print_ratios(&measured, out)?;
        goals.extend(goals::of_side_by_side(&measured));
    }
    if is_publishing {
        let seen = publishing::measure(&world, &own, &site, flags);
        seen.print(out)?;
        goals.extend(seen.goals());
    }
    Ok(goals)
}

/// Starts the peers that were chosen over a copy of the site, which holds the compressed page beside
/// the page.
fn start_peers(cores: Cores, flags: &Flags, world: &World, site: &Tree) -> Vec<Peer> {
    let root = world.path("peers-site");
    write(&root, site);
    for (program, flags) in [("brotli", "--quality=11"), ("gzip", "-9")] {
        let status = Command::new(program)
            .args([flags, "--keep"])
            .arg(root.join(site::PAGE))
            .status()
            .unwrap_or_else(|error| panic!("{program}: {error}; {INSTALL}"));
        assert!(status.success(), "{program}: {status}");
    }
    let folder = world.path("peers");
    fs::create_dir(&folder).expect("the folder is new");
    let peers = flags.servers.iter().filter(|kind| **kind != Kind::Onsave);
    peers
        .map(|kind| Peer::start(*kind, cores, &root, &folder))
        .collect()
}

/// Writes a tree of files below `root`.
fn write(root: &Path, tree: &Tree) {
    for (path, bytes) in tree {
        let path = root.join(path);
        let folder = path.parent().expect("a file is in a folder");
        fs::create_dir_all(folder).expect("the folder can be made");
        fs::write(path, bytes).expect("the folder can be written");
    }
}
