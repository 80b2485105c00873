//! What was to be reached, against what was measured in the same run.

use std::io::{self, Write};

use crate::{
    servers::Kind,
    side_by_side::{Measured, Outcome},
    workload::Workload,
    wrk::Figures,
};

/// One goal and how far it is reached.
#[derive(Debug)]
pub(crate) struct Goal {
    pub(crate) wanted: String,
    pub(crate) measured: String,
    pub(crate) verdict: Verdict,
}

/// Whether a goal is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Holds,
    Misses,
}

impl Verdict {
    /// Returns whether what was asked is so.
    pub(crate) const fn of(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::Misses }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Misses => "**misses**",
        }
    }
}

/// Prints goals as a table.
pub(crate) fn print(goals: &[Goal], out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "| goal | measured | |\n|---|---|---|")?;
    for Goal {
        wanted,
        measured,
        verdict,
    } in goals
    {
        writeln!(out, "| {wanted} | {measured} | {} |", verdict.word())?;
    }
    writeln!(out)
}

/// A figure of two servers that is compared.
#[derive(Debug, Clone, Copy)]
enum Figure {
    Requests,
    Processor,
    P99,
}

/// A bound on the ratio of two figures, to two decimals.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    /// Returns whether a ratio keeps within it.
    pub(crate) fn holds(self, ratio: f64) -> bool {
        let rounded = (ratio * 100.0).round() / 100.0;
        match self {
            Self::AtLeast(least) => rounded >= least,
            Self::AtMost(most) => rounded <= most,
        }
    }

    /// Returns the ratio that is further from the goal.
    fn worse(self, one: f64, other: f64) -> f64 {
        match self {
            Self::AtLeast(_) => one.min(other),
            Self::AtMost(_) => one.max(other),
        }
    }
}

/// A comparison with one peer over some workloads.
struct Comparison {
    wanted: &'static str,
    peer: Kind,
    figure: Figure,
    bound: Bound,
    counts: fn(Workload) -> bool,
}

const COMPARISONS: [Comparison; 5] = [
    Comparison {
        wanted: "requests/s at least nginx's: 10 KB, br, 304, mixed",
        peer: Kind::Nginx,
        figure: Figure::Requests,
        bound: Bound::AtLeast(1.0),
        counts: is_small,
    },
    Comparison {
        wanted: "CPU a request at most nginx's: 10 KB, br, 304, mixed",
        peer: Kind::Nginx,
        figure: Figure::Processor,
        bound: Bound::AtMost(1.0),
        counts: is_small,
    },
    Comparison {
        wanted: "requests/s at least 0.9 × nginx's: 1 MB",
        peer: Kind::Nginx,
        figure: Figure::Requests,
        bound: Bound::AtLeast(0.9),
        counts: |workload| !is_small(workload),
    },
    Comparison {
        wanted: "p99 at most nginx's",
        peer: Kind::Nginx,
        figure: Figure::P99,
        bound: Bound::AtMost(1.0),
        counts: |_| true,
    },
    Comparison {
        wanted: "requests/s at least 2 × static-web-server's",
        peer: Kind::StaticWebServer,
        figure: Figure::Requests,
        bound: Bound::AtLeast(2.0),
        counts: |_| true,
    },
];

const fn is_small(workload: Workload) -> bool {
    match workload {
        Workload::Page | Workload::Brotli | Workload::NotModified | Workload::Mixed => true,
        Workload::Asset => false,
    }
}

impl Comparison {
    /// Returns the ratio of two servers' figures.
    fn ratio(&self, ours: &Figures, theirs: &Figures) -> f64 {
        match self.figure {
            // It answers all that wrk can ask, so that only what it costs tells them apart.
            Figure::Requests if ours.is_held_back_by_wrk() => {
                theirs.processor_microseconds / ours.processor_microseconds
            }
            Figure::Requests => ours.requests_per_second / theirs.requests_per_second,
            Figure::Processor => ours.processor_microseconds / theirs.processor_microseconds,
            Figure::P99 => ours.p99_microseconds / theirs.p99_microseconds,
        }
    }

    /// Returns the ratio under the load of `ours`, as far as both could be measured.
    fn ratio_to_peer(&self, ours: &Measured, all: &[Measured]) -> Option<(f64, bool)> {
        let peer = all.iter().find(|one| {
            one.kind == self.peer
                && one.workload == ours.workload
                && one.connections == ours.connections
        })?;
        let (
            Outcome::Done {
                figures: our_figures,
                ..
            },
            Outcome::Done {
                figures: their_figures,
                ..
            },
        ) = (&ours.outcome, &peer.outcome)
        else {
            return None;
        };
        let by_cost = matches!(self.figure, Figure::Requests) && our_figures.is_held_back_by_wrk();
        Some((self.ratio(our_figures, their_figures), by_cost))
    }

    /// Returns the goal with the ratio under the load that it is furthest from.
    fn goal(&self, measured: &[Measured]) -> Option<Goal> {
        let was_measured = |one: &&Measured| one.kind == self.peer && (self.counts)(one.workload);
        measured.iter().find(was_measured)?;
        let ours = measured
            .iter()
            .filter(|one| one.kind == Kind::Onsave && (self.counts)(one.workload));
        let mut worst: Option<(f64, &Measured)> = None;
        let (mut loads, mut held) = (0, 0);
        let mut missing = Vec::new();
        for one in ours {
            loads += 1;
            let Some((ratio, _)) = self.ratio_to_peer(one, measured) else {
                missing.push(load_of(one));
                continue;
            };
            held += u32::from(self.bound.holds(ratio));
            let is_worse = worst.is_none_or(|(before, _)| {
                self.bound.worse(before, ratio).total_cmp(&before).is_ne()
            });
            if is_worse {
                worst = Some((ratio, one));
            }
        }
        let mut text = worst.map_or_else(String::new, |(ratio, one)| {
            format!("{held} of {loads}; worst {ratio:.2} ({})", load_of(one))
        });
        if !missing.is_empty() {
            text = format!("{text}; failed: {}", missing.join("; "));
        }
        Some(Goal {
            wanted: self.wanted.to_owned(),
            measured: text.trim_start_matches("; ").to_owned(),
            verdict: Verdict::of(loads > 0 && held == loads),
        })
    }
}

fn load_of(one: &Measured) -> String {
    format!("{} over {}", one.workload.title(), one.connections)
}

/// Returns what stands where there is no ratio.
const fn no_ratio(ours: &Measured) -> &'static str {
    match ours.outcome {
        Outcome::Done { .. } => "peer not measured",
        Outcome::Failed(_) => "**misses**",
    }
}

/// Returns the goals of serving side by side, as far as their peers were measured.
pub(crate) fn of_side_by_side(measured: &[Measured]) -> Vec<Goal> {
    let goals = COMPARISONS.iter();
    goals.filter_map(|one| one.goal(measured)).collect()
}

/// Prints each load's ratios, this project's server to a peer.
pub(crate) fn print_ratios(measured: &[Measured], out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "onsave's figure divided by the peer's; *: wrk could ask no more, so that the requests that a second of the \
         server's processor time answers are compared.\n\n\
         | workload | connections | requests/s, nginx | CPU a request, nginx | p99, nginx | requests/s, static-web-server |\n\
         |---|---:|---:|---:|---:|---:|"
    )?;
    let requests_to_nginx = |workload| if is_small(workload) { 0 } else { 2 };
    for one in measured.iter().filter(|one| one.kind == Kind::Onsave) {
        let cells = [requests_to_nginx(one.workload), 1, 3, 4].map(|index| {
            let comparison = &COMPARISONS[index];
            let Some((ratio, by_cost)) = comparison.ratio_to_peer(one, measured) else {
                return no_ratio(one).to_owned();
            };
            let star = if by_cost { "*" } else { "" };
            // There is no goal for the processor time of the large asset.
            let word = if (comparison.counts)(one.workload) {
                Verdict::of(comparison.bound.holds(ratio)).word()
            } else {
                ""
            };
            format!("{ratio:.2}{star} {word}")
        });
        writeln!(
            out,
            "| {} | {} | {} |",
            one.workload.title(),
            one.connections,
            cells.join(" | ")
        )?;
    }
    writeln!(out)
}
