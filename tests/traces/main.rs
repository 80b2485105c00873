//! Recorded traces of real editors and generators, replayed through the settle machine in virtual time.
//!
//! Each file of `recorded/` is what the real watcher told of one program's work, several runs of it;
//! `notation` says how it is written, and `tests/record_traces` records them again. What is counted is *half-built
//! publishes*: batches that close although their run goes on with more. `table` prints them all:
//!
//! ```text
//! cargo test --test traces -- --nocapture table
//! ```

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where what it needs is missing"
)]

mod notation;

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf, time::Duration};

use onsave::{
    config::Quiet,
    dirty::{Change, Dirty, News, Notice, Trace},
    rhythm,
    settle::Settle,
};
use tokio::time::Instant;

use self::notation::{CHANGES, folder};

/// Time between two runs: a person saves again.
const BETWEEN_RUNS: Duration = Duration::from_secs(5);

/// How often the runs of a trace are replayed; from the second time on they are known.
const REPLAYS: usize = 4;

/// The default of `watch.max_wait_ms`.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// What a program did, each run from its first notice on.
struct Recorded {
    name: String,
    runs: Vec<Run>,
}

type Run = Vec<(Duration, BTreeMap<PathBuf, Trace>)>;

fn recorded() -> Vec<Recorded> {
    let entries = fs::read_dir(folder()).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 10, "the traces are there: {paths:?}");
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        Recorded {
            runs: parse(&text).unwrap_or_else(|line| panic!("{name}: {line}")),
            name,
        }
    };
    paths.iter().map(read).collect()
}

/// Reads a trace; a line that cannot be read is the error.
fn parse(text: &str) -> Result<Vec<Run>, String> {
    let mut runs: Vec<Run> = Vec::new();
    for line in text.lines() {
        if line.starts_with('#') {
            continue;
        }
        if line == "run" {
            runs.push(Run::new());
            continue;
        }
        let (at, trace, path) = parse_line(line).ok_or(line)?;
        let run = runs.last_mut().ok_or(line)?;
        match run.last_mut() {
            Some((last, changes)) if *last == at => {
                changes.insert(path, trace);
            }
            _ => run.push((at, [(path, trace)].into())),
        }
    }
    Ok(runs)
}

fn parse_line(line: &str) -> Option<(Duration, Trace, PathBuf)> {
    let mut words = line.splitn(3, ' ');
    let at = Duration::try_from_secs_f64(words.next()?.parse::<f64>().ok()? / 1e3).ok()?;
    let named = |word: &str| CHANGES.iter().find(|(name, _)| *name == word);
    let trace = words.next()?;
    let (first, last) = trace.split_once('>').unwrap_or((trace, trace));
    let trace = Trace {
        first: named(first)?.1,
        last: named(last)?.1,
    };
    Some((at, trace, PathBuf::from(words.next()?)))
}

/// What became of one run.
#[derive(Debug, Default, Clone, Copy)]
struct Outcome {
    /// Batches that closed although the run went on.
    half_built: usize,
    batches: usize,
    /// From the run's last change to the close of the batch that has it.
    settled: Option<Duration>,
}

/// Feeds a run to the machine, from `start` on.
fn replay(settle: &mut Settle, run: &Run, start: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    // A look at a folder that the watcher itself asks for, and a mode, are nothing that is missing.
    let is_content = |(_, changes): &&(Duration, BTreeMap<PathBuf, Trace>)| {
        changes.values().any(|trace| trace.last != Change::Touched)
    };
    let last = run
        .iter()
        .rfind(is_content)
        .expect("a run changes something")
        .0;
    for (at, changes) in run {
        let closed = close(settle, start + *at, &mut outcome.batches);
        if *at <= last {
            outcome.half_built += closed.len();
        } else if let Some(first) = closed.first() {
            outcome.settled.get_or_insert(*first - (start + last));
        }
        settle.event(Notice {
            at: start + *at,
            news: News::Changes(changes.clone()),
        });
    }
    let closed = close(settle, start + last + BETWEEN_RUNS, &mut outcome.batches);
    if let Some(first) = closed.first() {
        outcome.settled.get_or_insert(*first - (start + last));
    }
    outcome
}

/// Closes what is due by `until`, and says when each was.
fn close(settle: &mut Settle, until: Instant, batches: &mut usize) -> Vec<Instant> {
    let mut closed = Vec::new();
    while let Some(deadline) = settle.deadline().filter(|deadline| *deadline <= until) {
        let batch = settle.due(deadline).expect("it is due");
        assert_ne!(batch.dirty, Dirty::nothing());
        *batches += 1;
        closed.push(deadline);
    }
    closed
}

/// A machine, and its virtual time.
struct Clock {
    settle: Settle,
    now: Instant,
}

impl Clock {
    fn new(quiet: Quiet) -> Self {
        Self {
            settle: Settle::new(quiet, MAX_WAIT),
            now: Instant::now(),
        }
    }

    /// A machine that learns, and knows nothing yet.
    fn learning() -> Self {
        Self::new(Quiet::Learned)
    }

    /// A machine that saw all editors save, each so often.
    fn used_to_editors(all: &[Recorded]) -> Self {
        let mut clock = Self::learning();
        for editor in all.iter().filter(|recorded| is_single_save(recorded)) {
            clock.replays(editor, REPLAYS);
        }
        clock
    }

    fn replay(&mut self, run: &Run) -> Outcome {
        let outcome = replay(&mut self.settle, run, self.now);
        self.now += run.last().expect("a run has notices").0 + BETWEEN_RUNS * 2;
        outcome
    }

    /// Replays all runs of a trace so often; returns what became of each run of each replay.
    fn replays(&mut self, recorded: &Recorded, times: usize) -> Vec<Vec<Outcome>> {
        let mut once = || recorded.runs.iter().map(|run| self.replay(run)).collect();
        (0..times).map(|_| once()).collect()
    }
}

fn half_built(outcomes: &[Outcome]) -> usize {
    outcomes.iter().map(|outcome| outcome.half_built).sum()
}

/// The traces that save one file.
const SINGLE_SAVES: [&str; 9] = [
    "cp",
    "in-place",
    "in-place-flushed",
    "rename-over",
    "safe-write",
    "sed",
    "vim",
    "vim-backup-by-rename",
    "vim-kept-backup",
];

fn is_single_save(recorded: &Recorded) -> bool {
    SINGLE_SAVES.contains(&recorded.name.as_str())
}

fn milliseconds(outcome: &[Outcome]) -> String {
    let settled = outcome.iter().filter_map(|outcome| outcome.settled).max();
    let settled = settled.expect("a run is published");
    format!("{:.1}", settled.as_secs_f64() * 1e3)
}

/// The traces of scripts that are slower than [`rhythm::SAFE`], and how many of their first pages are
/// published before that is known.
const SLOW_SCRIPTS: [(&str, usize); 2] = [("shell-generator", 1), ("slow-generator", 3)];

fn published_first(recorded: &Recorded) -> usize {
    let slow = |(name, count): &(&str, usize)| (*name == recorded.name).then_some(*count);
    SLOW_SCRIPTS.iter().find_map(slow).unwrap_or(0)
}

#[test]
fn nothing_half_built_is_published() {
    let all = recorded();
    for recorded in &all {
        let name = &recorded.name;
        let first = published_first(recorded);
        let learned = Clock::learning().replays(recorded, REPLAYS);
        let first_run = half_built(&learned[0][..1]);
        assert_eq!(first_run, first, "{name}: the first run, nothing known");
        let later = half_built(&learned.concat()) - first_run;
        assert_eq!(later, 0, "{name}: after its first run");
        let met = Clock::used_to_editors(&all).replays(recorded, REPLAYS);
        assert_eq!(half_built(&met[0][..1]), first, "{name}: after editors");
        let later = half_built(&met.concat()) - first;
        assert_eq!(later, 0, "{name}: after editors and its first run");
    }
}

#[test]
fn learning_is_never_worse_than_the_fixed_window() {
    for recorded in recorded() {
        let fixed = Quiet::Fixed(rhythm::SAFE);
        let fixed = Clock::new(fixed).replays(&recorded, REPLAYS);
        let learned = Clock::learning().replays(&recorded, REPLAYS);
        for (fixed, learned) in fixed.concat().iter().zip(learned.concat()) {
            assert!(
                learned.half_built <= fixed.half_built,
                "{}: {learned:?} {fixed:?}",
                recorded.name
            );
        }
    }
}

#[test]
fn single_saves_are_published_fast_once_known() {
    for recorded in recorded()
        .iter()
        .filter(|recorded| is_single_save(recorded))
    {
        let name = &recorded.name;
        let learned = Clock::learning().replays(recorded, REPLAYS);
        assert_eq!(learned[0][0].batches, 1, "{name}: safe at first");
        assert!(learned[0][0].settled >= Some(rhythm::SAFE), "{name}");
        for outcome in &learned[1..].concat() {
            assert_eq!(outcome.batches, 1, "{name}");
            // A change of its mode may come after the change of the file.
            let most = rhythm::LEAST + Duration::from_millis(1);
            assert!(outcome.settled < Some(most), "{name}: {outcome:?}");
        }
    }
}

/// A person saves by hand where a generator writes too, in the same way as the generator.
#[test]
fn a_generator_and_an_editor_on_one_site() {
    let all = recorded();
    let editor = all.iter().find(|recorded| recorded.name == "in-place");
    let editor = &editor.expect("it is recorded").runs[0];
    for generator in all.iter().filter(|recorded| !is_single_save(recorded)) {
        let mut clock = Clock::learning();
        let (mut half_built, mut settled) = (0, None);
        for run in generator.runs.iter().cycle().take(generator.runs.len() * 3) {
            half_built += clock.replay(run).half_built;
            for _ in 0..6 {
                settled = clock.replay(editor).settled;
            }
        }
        let name = &generator.name;
        assert_eq!(half_built, published_first(generator), "{name}");
        let most = if published_first(generator) == 0 {
            rhythm::SAFE
        } else {
            rhythm::MOST
        };
        assert!(settled <= Some(most), "{name}: {settled:?}");
        eprintln!("{name}: a save by hand waits {settled:?}");
    }
}

/// Returns the trace of a machine that is so much slower.
fn slowed(recorded: &Recorded, factor: u32) -> Recorded {
    let slow = |run: &Run| {
        run.iter()
            .map(|(at, changes)| (*at * factor, changes.clone()))
            .collect()
    };
    Recorded {
        name: recorded.name.clone(),
        runs: recorded.runs.iter().map(slow).collect(),
    }
}

#[test]
fn what_is_learned_on_an_idle_machine_holds_on_a_busy_one() {
    for recorded in recorded()
        .iter()
        .filter(|recorded| published_first(recorded) == 0)
    {
        let mut clock = Clock::learning();
        clock.replays(recorded, REPLAYS);
        let busy = clock.replays(&slowed(recorded, 2), 1);
        assert_eq!(half_built(&busy[0]), 0, "{}", recorded.name);
    }
}

#[test]
fn table() {
    let all = recorded();
    let mut table = String::from(
        "trace                  runs  half-built: 25 ms  cold  warm  after editors   settled ms: 25 ms  cold   warm\n",
    );
    for recorded in &all {
        let fixed = Quiet::Fixed(rhythm::SAFE);
        let fixed = Clock::new(fixed).replays(recorded, 1);
        let learned = Clock::learning().replays(recorded, REPLAYS);
        let met = Clock::used_to_editors(&all).replays(recorded, 1);
        let warm = learned[1..].concat();
        writeln!(
            table,
            "{:22} {:4}  {:17}  {:4}  {:4}  {:13}   {:17}  {:>5}  {:>5}",
            recorded.name,
            recorded.runs.len(),
            half_built(&fixed[0]),
            half_built(&learned[0]),
            half_built(&warm),
            half_built(&met[0]),
            milliseconds(&fixed[0]),
            milliseconds(&learned[0]),
            milliseconds(learned.last().expect("it was replayed")),
        )
        .expect("a string takes everything");
    }
    eprintln!("{table}");
}
