//! Serving while a publish lands every 100 ms: whether a visitor sees an error or two trees in one,
//! and what it costs the others.
//!
//! Each publish changes two pages that belong together. Both hold the number of their publish and a
//! digest of themselves. A reader asks for one and then for the other: since each answer is of the
//! tree that is current when it is asked for, numbers never go back. Where they do, an answer came
//! of an older tree than one before it.

use std::{
    fmt::Write as _,
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use onsave_protocol::Sha256Digest;
use tokio::time::Instant;

use crate::{
    check::{Checked, check},
    flags::Flags,
    goals::{Bound, Goal, Verdict},
    harness::{
        World,
        deadline::throughout,
        http::{Answer, Connection, Request},
        site::Tree,
        sync_client,
    },
    servers::Server,
    workload::Workload,
    wrk::{Figures, Load, Wrk},
};

/// Time from one publish to the next.
const PACE: Duration = Duration::from_millis(100);

/// Connections of wrk.
const CONNECTIONS: u32 = 64;

/// Connections that the reader keeps, and asks in turn.
const READERS: usize = 4;

/// Faults that are shown; all are counted.
const FAULTS_SHOWN: usize = 10;

/// The two pages that belong together.
const PAIR: [&str; 2] = ["pair/first.html", "pair/second.html"];

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    quiet: Vec<Figures>,
    publishing: Vec<Figures>,
    publishes: u64,
    /// Publishes that began after their time, since the one before took longer than the pace.
    late: u64,
    reads: u64,
    /// What went wrong, and was not to.
    faults: Vec<String>,
}

/// Returns the pair as publish `number` writes it.
pub(crate) fn pair(number: u64) -> Tree {
    let page = |name: &str| {
        let mut text = format!("{number}\n");
        for line in 0..200 {
            writeln!(text, "<p>{name}, line {line} of publish {number}.</p>")
                .expect("a string takes text");
        }
        let digest = Sha256Digest::of(text.as_bytes()).to_hex();
        format!("{digest}\n{text}").into_bytes()
    };
    PAIR.into_iter()
        .map(|name| (name.to_owned(), page(name)))
        .collect()
}

/// Returns which publish wrote a page, when the page is whole.
fn number_of(answer: &Answer) -> Result<u64, String> {
    if answer.status != 200 {
        return Err(format!("status {}", answer.status));
    }
    let text = answer.text();
    let (digest, rest) = text.split_once('\n').ok_or("a page without a digest")?;
    if Sha256Digest::of(rest.as_bytes()).to_hex() != digest {
        return Err("a page that is not whole".into());
    }
    let number = rest.lines().next().and_then(|line| line.parse().ok());
    number.ok_or_else(|| "a page without a number".to_owned())
}

/// Measures this project's server; the site that it serves holds `pair(0)`.
pub(crate) fn measure(world: &World, server: &Server, site: &Tree, flags: &Flags) -> Seen {
    let mut seen = Seen::default();
    let checked = match check(server, Workload::Mixed, site) {
        Ok(checked) => checked,
        Err(fault) => {
            seen.faults.push(fault);
            return seen;
        }
    };
    let load = Load {
        connections: CONNECTIONS,
        seconds: flags.seconds,
    };
    let stage = Stage {
        world,
        server,
        checked: &checked,
        load,
    };
    for _ in 0..flags.rounds {
        stage.run(&mut seen, Visit::Quiet);
        stage.run(&mut seen, Visit::Publishing);
    }
    stage.run(&mut seen, Visit::Quiet);
    seen
}

/// Whether publishes land during a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visit {
    Quiet,
    Publishing,
}

struct Stage<'a> {
    world: &'a World,
    server: &'a Server,
    checked: &'a Checked,
    load: Load,
}

impl Stage<'_> {
    /// Runs wrk once, with a reader beside it in any case, so that only the publishes differ.
    fn run(&self, seen: &mut Seen, visit: Visit) {
        let first = seen.publishes;
        let is_over = AtomicBool::new(false);
        let (figures, read, counted) = std::thread::scope(|scope| {
            let reader = scope.spawn(|| read(self.server, &is_over));
            let publisher = (visit == Visit::Publishing)
                .then(|| scope.spawn(|| publish(self.world, first, &is_over)));
            let folder = self.world.path("logs");
            let figures = Wrk::start(&folder, self.server, self.checked, self.load).finish();
            is_over.store(true, Ordering::Relaxed);
            let read = reader.join().expect("the reader counts faults");
            let counted = publisher.map(|thread| thread.join().expect("publishes are accepted"));
            (figures, read, counted)
        });
        match (figures, visit) {
            (Ok(figures), Visit::Quiet) => seen.quiet.push(figures),
            (Ok(figures), Visit::Publishing) => seen.publishing.push(figures),
            (Err(fault), _) => seen.faults.push(fault),
        }
        seen.reads += read.0;
        seen.faults.extend(read.1);
        let (count, late) = counted.unwrap_or_default();
        seen.publishes += count;
        seen.late += late;
    }
}

/// Publishes at the pace until it is over; returns how many there were, and how many came late.
fn publish(world: &World, first: u64, is_over: &AtomicBool) -> (u64, u64) {
    let mut base = world.current_deploy();
    let (mut count, mut late) = (0, 0);
    let mut next = Instant::now() + PACE;
    let mut old = pair(first);
    while !is_over.load(Ordering::Relaxed) {
        let wait = next.saturating_duration_since(Instant::now());
        throughout(wait, "time passes", || true);
        late += u64::from(wait.is_zero());
        next += PACE;
        count += 1;
        let new = pair(first + count);
        let published = sync_client::publish(world.address(), base.as_deref(), (&old, &new))
            .expect("the server answers");
        base = Some(published.deploy_id.to_string());
        old = new;
    }
    (count, late)
}

/// Reads the pair until it is over; returns how many pages were read, and what was wrong with them.
fn read(server: &Server, is_over: &AtomicBool) -> (u64, Vec<String>) {
    let mut connections: Vec<Connection> = (0..READERS)
        .map(|_| Connection::open(server.address).expect("the server listens"))
        .collect();
    let (mut reads, mut newest) = (0, 0);
    let mut faults = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        for (at, connection) in connections.iter_mut().enumerate() {
            let target = format!("/{}", PAIR[at % PAIR.len()]);
            let answer = connection.send(&Request {
                method: "GET",
                target: &target,
                ..Request::default()
            });
            reads += 1;
            let number = answer
                .map_err(|error| error.to_string())
                .and_then(|answer| number_of(&answer));
            match number {
                Ok(number) if number < newest => faults.push(format!(
                    "{target} of publish {number} after a page of publish {newest}"
                )),
                Ok(number) => newest = number,
                Err(fault) => {
                    faults.push(format!("{target}: {fault}"));
                    // What is left of a broken answer must not be read as the next one.
                    *connection = Connection::open(server.address).expect("the server listens");
                }
            }
        }
        throughout(Duration::from_millis(1), "time passes", || true);
    }
    (reads, faults)
}

impl Seen {
    /// Prints what was seen.
    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(
            out,
            "**{}, {CONNECTIONS} connections, a publish every {} ms**\n\n\
             | | requests/s | p50 µs | p99 µs | server's core % |\n|---|---:|---:|---:|---:|",
            Workload::Mixed.title(),
            PACE.as_millis()
        )?;
        for (name, runs) in [("quiet", &self.quiet), ("publishing", &self.publishing)] {
            if runs.is_empty() {
                writeln!(out, "| {name} | not measured | | | |")?;
                continue;
            }
            let median = Figures::median(runs);
            writeln!(
                out,
                "| {name} | {:.0} | {:.0} | {:.0} | {:.0} |",
                median.requests_per_second,
                median.p50_microseconds,
                median.p99_microseconds,
                median.server_busy * 100.0
            )?;
        }
        writeln!(
            out,
            "\n{} publishes, {} of them late; {} pages read beside wrk; {} faults.\n",
            self.publishes,
            self.late,
            self.reads,
            self.faults.len()
        )?;
        for fault in self.faults.iter().take(FAULTS_SHOWN) {
            writeln!(out, "- {fault}")?;
        }
        if self.faults.is_empty() {
            Ok(())
        } else {
            writeln!(out)
        }
    }

    /// Returns the goals of serving while publishes land.
    pub(crate) fn goals(&self) -> Vec<Goal> {
        let ran = self.publishes > 0 && self.reads > 0;
        let mut goals = vec![Goal {
            wanted: "no error and no mixed tree while a publish lands every 100 ms".into(),
            measured: format!("{} faults", self.faults.len()),
            verdict: Verdict::of(ran && self.faults.is_empty()),
        }];
        if !self.quiet.is_empty() && !self.publishing.is_empty() {
            let [quiet, publishing] =
                [&self.quiet, &self.publishing].map(|runs| Figures::median(runs).p99_microseconds);
            let ratio = publishing / quiet;
            goals.push(Goal {
                wanted: "p99 within 2 × of quiet meanwhile".into(),
                measured: format!("{ratio:.2}"),
                verdict: Verdict::of(Bound::AtMost(2.0).holds(ratio)),
            });
        }
        goals
    }
}
