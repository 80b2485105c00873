//! Memory with a large site: at rest, after every page was served, and after many were served
//! compressed.

use std::{
    io::{self, Write},
    time::Duration,
};

use crate::{
    big_site,
    goals::{Goal, Verdict},
    harness::{
        World,
        http::{Connection, Request},
        server,
    },
    processes::{Cores, comes_to_rest},
    resources::resident,
};

/// Pages that are asked for compressed, at most.
const COMPRESSED: u32 = 5_000;

/// How long the server may take after the publish until it does nothing more.
const REST_LIMIT: Duration = Duration::from_mins(5);

/// The budget of a build that does not name one.
const DEFAULT_BUDGET: u64 = 64 << 20;

/// What was measured, in bytes.
#[derive(Debug)]
pub(crate) struct Memory {
    files: u32,
    budget: Budget,
    at_rest: u64,
    after_all: u64,
    after_compressed: u64,
    /// Answers that were compressed with Brotli, and with gzip.
    compressed: [u32; 2],
    asked_compressed: u32,
    /// When the server was measured although it was still at work.
    at_work: Vec<&'static str>,
}

/// The setting `CACHE_BYTES`.
#[derive(Debug, Clone, Copy)]
enum Budget {
    /// What the server's help names as its default.
    Named(u64),
    /// This build has no such setting.
    Unnamed,
}

impl Budget {
    /// Asks the server's help.
    fn ask() -> Self {
        let help = std::process::Command::new(server::program())
            .arg("--help")
            .output()
            .expect("the server can be started");
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        let default = help
            .split_once("[env: CACHE_BYTES]")
            .and_then(|(_, rest)| rest.split_once("[default: "))
            .and_then(|(_, rest)| rest.split_once(']'))
            .and_then(|(number, _)| number.trim().parse().ok());
        default.map_or(Self::Unnamed, Self::Named)
    }

    const fn bytes(self) -> u64 {
        match self {
            Self::Named(bytes) => bytes,
            Self::Unnamed => DEFAULT_BUDGET,
        }
    }
}

/// Measures with a site of `files` pages.
pub(crate) fn measure(cores: Cores, files: u32) -> Memory {
    let mut world = cores.on_the_servers(World::new);
    big_site::write(&world.site, files);
    world.run_well(&["publish"]);
    let id = world.server.process().id();
    let mut at_work = Vec::new();
    if !comes_to_rest(id, REST_LIMIT) {
        at_work.push("after the publish");
    }
    let at_rest = resident(id);
    let mut reader = Connection::open(world.address()).expect("the server listens");
    for number in 0..files {
        ask(&mut reader, number, None);
    }
    let after_all = resident(id);
    let asked_compressed = files.min(COMPRESSED);
    let mut compressed = [0, 0];
    for number in 0..asked_compressed {
        for (count, encoding) in compressed.iter_mut().zip(["br", "gzip"]) {
            *count +=
                u32::from(ask(&mut reader, number, Some(encoding)).as_deref() == Some(encoding));
        }
    }
    if !comes_to_rest(id, REST_LIMIT) {
        at_work.push("after the compressed answers");
    }
    Memory {
        files,
        budget: Budget::ask(),
        at_rest,
        after_all,
        after_compressed: resident(id),
        compressed,
        asked_compressed,
        at_work,
    }
}

/// Asks for a page and returns how it was compressed.
fn ask(reader: &mut Connection, number: u32, encoding: Option<&str>) -> Option<String> {
    let target = format!("/section-{}/page-{number}/", number / 100);
    let accepted = encoding.map(|encoding| ("accept-encoding", encoding.to_owned()));
    let answer = reader
        .send(&Request {
            method: "GET",
            target: &target,
            headers: accepted.into_iter().collect(),
            ..Request::default()
        })
        .expect("the server answers");
    assert_eq!(answer.status, 200, "{target}");
    answer.header("content-encoding").map(str::to_owned)
}

impl Memory {
    /// Prints what was measured.
    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        writeln!(
            out,
            "**Memory with {} files**\n\n\
             | resident | MB |\n|---|---:|\n\
             | after the publish, at rest | {:.1} |\n\
             | after every page was served | {:.1} |\n\
             | after {} pages were asked for with br and with gzip | {:.1} |\n",
            self.files,
            megabytes(self.at_rest),
            megabytes(self.after_all),
            self.asked_compressed,
            megabytes(self.after_compressed),
        )?;
        for moment in &self.at_work {
            writeln!(
                out,
                "Measured {} s {moment}, the server still at work.\n",
                REST_LIMIT.as_secs()
            )?;
        }
        let [brotli, gzip] = self.compressed;
        writeln!(
            out,
            "{brotli} answers were br and {gzip} were gzip. {}\n",
            match self.budget {
                Budget::Named(bytes) => format!("CACHE_BYTES is {bytes} by default."),
                Budget::Unnamed => format!(
                    "CACHE_BYTES is not supported by this build; its goal is reckoned with {DEFAULT_BUDGET}."
                ),
            }
        )
    }

    /// Returns the goals of memory.
    pub(crate) fn goals(&self) -> Vec<Goal> {
        let most = self.after_all.max(self.after_compressed);
        let bound = self.at_rest + self.budget.bytes();
        let all = [self.asked_compressed; 2];
        vec![
            Goal {
                wanted: format!(
                    "memory with {} files at most what it is at rest and CACHE_BYTES",
                    self.files
                ),
                measured: format!("{:.1} of {:.1} MB", most as f64 / 1e6, bound as f64 / 1e6),
                verdict: Verdict::of(most <= bound),
            },
            Goal {
                wanted: "those pages are compressed when asked".into(),
                measured: format!("{:?} of {all:?} answers, br and gzip", self.compressed),
                verdict: Verdict::of(self.compressed == all),
            },
        ]
    }
}
