//! Every server against every workload, in turns, so that what disturbs the machine disturbs all alike.

use std::{
    io::{self, Write},
    path::Path,
};

use crate::{
    check::check,
    flags::Flags,
    harness::site::Tree,
    servers::{Kind, Server},
    workload::Workload,
    wrk::{Figures, Load, Wrk},
};

/// What one server did under one load.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) kind: Kind,
    pub(crate) workload: Workload,
    pub(crate) connections: u32,
    pub(crate) outcome: Outcome,
}

/// How it went.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The median of the rounds.
    Done { figures: Figures, body_bytes: usize },
    /// This project's server does not do it, or fails at it; the text says which and how.
    Failed(String),
}

/// One server under one load, while it is being measured.
struct Running<'a> {
    server: &'a Server,
    workload: Workload,
    connections: u32,
    body_bytes: usize,
    runs: Vec<Figures>,
    fault: Option<String>,
}

/// Measures; wrk's files go to `folder`.
///
/// # Panics
///
/// When a peer does not answer as it has to: then its configuration is wrong.
pub(crate) fn measure(
    servers: &[Server],
    site: &Tree,
    flags: &Flags,
    folder: &Path,
) -> Vec<Measured> {
    let mut running = Vec::new();
    for workload in flags.workloads() {
        for connections in &flags.connections {
            running.extend(servers.iter().map(|server| Running {
                server,
                workload,
                connections: *connections,
                body_bytes: 0,
                runs: Vec::new(),
                fault: None,
            }));
        }
    }
    for round in 1..=flags.rounds {
        for one in &mut running {
            one.run(site, flags.seconds, folder);
            one.report(round, flags.rounds);
        }
    }
    running.into_iter().map(Running::measured).collect()
}

impl Running<'_> {
    /// Checks the server's answers, and then measures them.
    fn run(&mut self, site: &Tree, seconds: u32, folder: &Path) {
        if self.fault.is_some() {
            return;
        }
        let load = Load {
            connections: self.connections,
            seconds,
        };
        let run = check(self.server, self.workload, site).and_then(|checked| {
            self.body_bytes = checked.body_bytes;
            Wrk::start(folder, self.server, &checked, load).finish()
        });
        match run {
            Ok(figures) => self.runs.push(figures),
            Err(fault) => {
                let name = self.server.kind.name();
                assert!(self.server.kind == Kind::Onsave, "{name}: {fault}");
                self.fault = Some(fault);
            }
        }
    }

    /// Says on standard error what was just measured.
    fn report(&self, round: u32, rounds: u32) {
        let what = match (&self.fault, self.runs.last()) {
            (None, Some(run)) => format!("{:.0} requests/s", run.requests_per_second),
            (Some(fault), _) => fault.clone(),
            (None, None) => "not measured".to_owned(),
        };
        // Nobody has to read along.
        writeln!(
            io::stderr(),
            "round {round} of {rounds}: {}, connections: {}, {}: {what}",
            self.workload.title(),
            self.connections,
            self.server.kind.name(),
        )
        .ok();
    }

    fn measured(self) -> Measured {
        let outcome = self.fault.map_or_else(
            || Outcome::Done {
                figures: Figures::median(&self.runs),
                body_bytes: self.body_bytes,
            },
            Outcome::Failed,
        );
        Measured {
            kind: self.server.kind,
            workload: self.workload,
            connections: self.connections,
            outcome,
        }
    }
}

/// Prints what was measured, a table for each workload.
pub(crate) fn print(measured: &[Measured], out: &mut impl Write) -> io::Result<()> {
    for group in measured.chunk_by(|one, next| one.workload == next.workload) {
        let title = group.first().map_or("", |one| one.workload.title());
        writeln!(
            out,
            "**{title}**\n\n\
             | connections | server | requests/s | MB/s | p50 µs | p99 µs | server's CPU µs a request | server's core % | wrk's core % | body bytes |\n\
             |---:|---|---:|---:|---:|---:|---:|---:|---:|---:|"
        )?;
        for one in group {
            writeln!(
                out,
                "| {} | {} | {} |",
                one.connections,
                one.kind.name(),
                cells(&one.outcome)
            )?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn cells(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done {
            figures,
            body_bytes,
        } => format!(
            "{:.0} | {:.1} | {:.0} | {:.0} | {:.2} | {:.0} | {:.0} | {body_bytes}",
            figures.requests_per_second,
            figures.bytes_per_second / 1e6,
            figures.p50_microseconds,
            figures.p99_microseconds,
            figures.processor_microseconds,
            figures.server_busy * 100.0,
            figures.wrk_busy * 100.0,
        ),
        Outcome::Failed(fault) => {
            format!("**failed**: {fault} | | | | | | |")
        }
    }
}
