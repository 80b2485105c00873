//! Every case of settling as a table in virtual time, and the laws of all of them.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use Change::{Created, Folder, FolderRemoved, MovedAway, Removed, Touched, Writing, Written};

const QUIET: u64 = 25;
const MAX_WAIT: u64 = 2_000;

fn machine() -> Settle {
    Settle::new(
        Quiet::Fixed(Duration::from_millis(QUIET)),
        Duration::from_millis(MAX_WAIT),
    )
}

fn at(start: Instant, ms: u64) -> Instant {
    start + Duration::from_millis(ms)
}

fn change(start: Instant, ms: u64, path: &str, change: Change) -> Notice {
    Notice {
        at: at(start, ms),
        news: News::Changes([(PathBuf::from(path), Trace::new(change))].into()),
    }
}

type Events<'a> = &'a [(u64, &'a str, Change)];

/// Feeds the events; returns when each batch is due, in milliseconds, and its paths.
fn run(events: Events<'_>) -> Vec<(u64, Vec<String>)> {
    let start = Instant::now();
    let mut settle = machine();
    let mut batches = Vec::new();
    let mut take = |settle: &mut Settle, until: Option<Instant>| {
        while let Some(deadline) = settle.deadline() {
            if until.is_some_and(|until| deadline > until) {
                break;
            }
            let Dirty::Paths(paths) = settle.due(deadline).unwrap().dirty else {
                panic!("only paths were fed");
            };
            let ms = deadline.duration_since(start).as_millis();
            let names = paths.iter().map(|path| path.display().to_string());
            batches.push((u64::try_from(ms).unwrap(), names.collect()));
        }
    };
    for (ms, path, kind) in events {
        take(&mut settle, Some(at(start, *ms)));
        settle.event(change(start, *ms, path, *kind));
    }
    take(&mut settle, None);
    batches
}

/// What happens, the events in time, and when each batch is due.
type Case<'a> = (&'a str, Events<'a>, &'a [u64]);

fn assert_due(cases: &[Case<'_>]) {
    for (name, events, due) in cases {
        let times: Vec<u64> = run(events).into_iter().map(|(ms, _)| ms).collect();
        assert_eq!(&times, due, "{name}");
    }
}

#[test]
fn saves_of_one_file() {
    assert_due(&[
        (
            "in place: truncate, write, close",
            &[(0, "i", Writing), (1, "i", Writing), (2, "i", Written)],
            &[27],
        ),
        (
            "vim: the file becomes an (ignored) backup and is written anew",
            &[
                (0, "i", Removed),
                (0, "i", Created),
                (1, "i", Writing),
                (3, "i", Written),
                (3, "i", Touched),
            ],
            &[28],
        ),
        (
            "a temporary file renamed into place (sed -i, many editors)",
            &[
                (0, "sedA1b2C3", Created),
                (1, "sedA1b2C3", Writing),
                (2, "sedA1b2C3", Written),
                (2, "sedA1b2C3", Removed),
                (2, "i", Written),
                (2, "sedA1b2C3", MovedAway),
            ],
            &[27],
        ),
        ("moved in from elsewhere", &[(0, "i", Written)], &[25]),
    ]);
}

#[test]
fn bursts_that_outlast_a_window() {
    assert_due(&[
        (
            "a generator that takes 40 ms a page lets its first page out, and no other",
            &[
                (0, "a", Written),
                (40, "b", Written),
                (80, "c", Written),
                (120, "d", Written),
            ],
            &[25, 120 + 160],
        ),
        (
            "one file saved again and again by rename stays fast",
            &[
                (0, "i", Written),
                (40, "i.tmp", Created),
                (41, "i.tmp", MovedAway),
                (41, "i", Written),
                (80, "i", Written),
            ],
            &[25, 66, 105],
        ),
        (
            "another file, later than a generator would be",
            &[(0, "a", Written), (101, "b", Written)],
            &[25, 126],
        ),
    ]);
}

#[test]
fn what_stretches_a_window() {
    assert_due(&[
        (
            "a lock file that comes and goes beside the save",
            &[
                (0, "i.lock", Created),
                (1, "i", Written),
                (2, "i.lock", Removed),
            ],
            &[27],
        ),
        (
            "a single removal may be half of a replacement",
            &[(0, "i", Removed)],
            &[100],
        ),
        (
            "removed and written again 60 ms later is one batch",
            &[(0, "i", Removed), (60, "i", Created), (61, "i", Written)],
            &[86],
        ),
        ("a link has no close", &[(0, "i", Created)], &[100]),
        (
            "a slow copy waits for its close",
            &[
                (0, "v", Created),
                (1, "v", Writing),
                (300, "v", Writing),
                (600, "v", Written),
            ],
            &[625],
        ),
        ("a writer that hangs", &[(0, "v", Writing)], &[400]),
        (
            "two saves far apart",
            &[(0, "a", Written), (100, "a", Written)],
            &[25, 125],
        ),
        (
            "two files at once",
            &[(0, "a", Written), (1, "b", Written)],
            &[51],
        ),
        ("a new folder", &[(0, "d", Folder)], &[100]),
        ("a removed folder", &[(0, "d", FolderRemoved)], &[400]),
        (
            "a file renamed is one path",
            &[(0, "a", Removed), (0, "b", Written), (0, "a", MovedAway)],
            &[25],
        ),
    ]);
}

#[test]
fn the_gap_rule_holds_within_one_window() {
    // Two paths at once make it a burst; a gap of 40 ms then makes it wait 160 ms.
    let batches = run(&[(0, "a", Written), (0, "b", Written), (40, "c", Written)]);
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].0, 200);
}

#[test]
fn a_generator_that_cleans_and_rewrites_is_one_batch() {
    let names: Vec<String> = (0..40).map(|n| format!("p{n}")).collect();
    let mut events = Vec::new();
    for (n, name) in (0..).zip(&names) {
        events.push((n, name.as_str(), Removed));
    }
    // It thinks for 300 ms between its clean step and its first page.
    for (n, name) in (0..).zip(&names) {
        events.push((340 + n * 2, name.as_str(), Created));
        events.push((341 + n * 2, name.as_str(), Written));
    }
    let batches = run(&events);
    assert_eq!(batches.len(), 1, "{batches:?}");
    assert_eq!(batches[0].1.len(), 40);
    assert!(batches[0].0 >= 340 + 80 + QUIET);
}

#[test]
fn the_cap_ends_an_endless_burst() {
    let start = Instant::now();
    let mut settle = machine();
    for ms in (0..MAX_WAIT).step_by(10) {
        settle.event(change(start, ms, &format!("f{}", ms % 70), Writing));
        assert!(settle.due(at(start, ms)).is_none());
    }
    assert_eq!(settle.deadline(), Some(at(start, MAX_WAIT)));
    assert!(settle.due(at(start, MAX_WAIT)).is_some());
    assert_eq!(settle.deadline(), None);
}

#[test]
fn lost_events_wait_long_and_routine_looks_do_not() {
    let start = Instant::now();
    for (cause, wait) in [
        (Cause::Start, QUIET),
        (Cause::Poll, QUIET),
        (Cause::Reconcile, QUIET),
        (Cause::Overflow, 400),
        (Cause::FolderReplaced, 400),
    ] {
        let mut settle = machine();
        settle.event(Notice {
            at: start,
            news: News::Whole(cause),
        });
        assert_eq!(settle.deadline(), Some(at(start, wait)), "{cause:?}");
        let batch = settle.due(at(start, wait)).unwrap();
        assert_eq!(batch.dirty, Dirty::Everything);
    }
}

#[test]
fn more_paths_than_the_bound_are_everything() {
    let start = Instant::now();
    let mut settle = machine();
    for n in 0..=MAX_DIRTY_PATHS {
        settle.event(change(start, 0, &n.to_string(), Written));
    }
    assert_eq!(settle.due(at(start, 400)).unwrap().dirty, Dirty::Everything);
}

/// A machine that learns, and its virtual time in microseconds.
struct Site {
    settle: Settle,
    start: Instant,
    now: u64,
}

impl Site {
    fn new() -> Self {
        Self {
            settle: Settle::new(Quiet::Learned, Duration::from_millis(MAX_WAIT)),
            start: Instant::now(),
            now: 0,
        }
    }

    /// Plays the events from now on, waits for long, and returns when each batch was due.
    fn plays(&mut self, events: Events<'_>) -> Vec<u64> {
        let from = at(self.start, self.now);
        let mut batches = Vec::new();
        let mut close = |settle: &mut Settle, until: Instant| {
            while let Some(deadline) = settle.deadline().filter(|deadline| *deadline <= until) {
                settle.due(deadline).unwrap();
                let ms = deadline.duration_since(from).as_millis();
                batches.push(u64::try_from(ms).unwrap());
            }
        };
        for (ms, path, kind) in events {
            close(&mut self.settle, at(from, *ms));
            self.settle.event(change(from, *ms, path, *kind));
        }
        close(&mut self.settle, at(from, 60_000));
        self.now += 120_000;
        batches
    }

    fn plays_often(&mut self, events: Events<'_>, times: usize) {
        for _ in 0..times {
            self.plays(events);
        }
    }
}

const BY_RENAME: Events<'_> = &[(0, "i", Written)];
const IN_PLACE: Events<'_> = &[(0, "i", Writing), (1, "i", Written)];
/// A generator that takes 40 ms for each page.
const SLOW: Events<'_> = &[
    (0, "a", Writing),
    (1, "a", Written),
    (41, "b", Writing),
    (42, "b", Written),
    (82, "c", Writing),
    (83, "c", Written),
];

#[test]
fn nothing_learned_is_the_fixed_window() {
    for events in [BY_RENAME, IN_PLACE, SLOW] {
        let fixed: Vec<u64> = run(events).into_iter().map(|(ms, _)| ms).collect();
        assert_eq!(Site::new().plays(events), fixed);
    }
}

#[test]
fn single_saves_shorten_the_wait_for_their_kind_alone() {
    let mut site = Site::new();
    site.plays_often(BY_RENAME, 4);
    assert_eq!(site.plays(BY_RENAME), [25]);
    assert_eq!(site.plays(BY_RENAME), [4], "by now the fifth stood alone");
    assert_eq!(
        site.plays(IN_PLACE),
        [26],
        "written in place is another kind"
    );
    assert_eq!(
        site.plays(&[(0, "i", Writing)]),
        [400],
        "what is open for writing is unfinished"
    );
    assert_eq!(site.plays(&[(0, "i", Removed)]), [100]);
    assert_eq!(site.plays(&[(0, "d", FolderRemoved)]), [400]);
}

#[test]
fn a_generator_lets_its_first_page_out_once() {
    let mut site = Site::new();
    assert_eq!(site.plays(SLOW).len(), 2);
    for _ in 0..10 {
        assert_eq!(site.plays(SLOW).len(), 1, "its gap is known");
    }
    let save = site.plays(IN_PLACE);
    assert!(save[0] > 1 + 40, "and waited for: {save:?}");
    assert_eq!(
        site.plays(BY_RENAME),
        [25],
        "but not by other kinds of saves"
    );
}

#[test]
fn a_short_wait_that_was_too_short_is_given_up_at_once() {
    let mut site = Site::new();
    site.plays_often(IN_PLACE, 7);
    assert_eq!(site.plays(IN_PLACE), [5]);
    let burst: Events<'_> = &[
        (0, "a", Writing),
        (1, "a", Written),
        (9, "b", Writing),
        (10, "b", Written),
    ];
    assert_eq!(site.plays(burst).len(), 2, "nobody can know");
    assert_eq!(site.plays(burst).len(), 1);
    assert_eq!(site.plays(IN_PLACE), [26]);
    site.plays_often(IN_PLACE, 8);
    assert_eq!(site.plays(IN_PLACE), [26], "more evidence is needed now");
    site.plays(IN_PLACE);
    assert_eq!(site.plays(IN_PLACE), [25], "3 × 8 ms");
    assert_eq!(site.plays(burst).len(), 1, "and it is waited for");
}

#[test]
fn a_file_that_is_written_twice_is_waited_for() {
    let twice: Events<'_> = &[
        (0, "i", Writing),
        (1, "i", Written),
        (7, "i", Writing),
        (8, "i", Written),
    ];
    let mut site = Site::new();
    site.plays_often(IN_PLACE, 7);
    assert_eq!(site.plays(twice).len(), 2, "nobody can know");
    for _ in 0..30 {
        assert_eq!(site.plays(twice).len(), 1);
    }
}

#[test]
fn a_slow_generator_is_published_page_by_page_once() {
    let names: Vec<String> = (0..8).map(|n| format!("p{n}")).collect();
    let written = |(n, name): (u64, _)| [(n * 150, name, Writing), (n * 150 + 1, name, Written)];
    let names = || (0..).zip(names.iter().map(String::as_str));
    let pages: Vec<(u64, &str, Change)> = names().flat_map(written).collect();
    let mut site = Site::new();
    assert_eq!(site.plays(&pages).len(), 4, "three pages are a habit");
    assert_eq!(site.plays(&pages).len(), 1);

    let renamed = |(n, name): (u64, _)| (n * 150, name, Written);
    let pages: Vec<(u64, &str, Change)> = names().map(renamed).collect();
    let mut site = Site::new();
    site.plays_often(&pages, 3);
    assert_eq!(
        site.plays(&pages).last(),
        Some(&(7 * 150 + 4)),
        "each rename is a save, and fast"
    );
}

#[test]
fn a_burst_that_pauses_is_one_batch_from_then_on() {
    let pausing: Events<'_> = &[
        (0, "a", Written),
        (1, "b", Written),
        (2, "c", Written),
        (202, "d", Written),
        (203, "e", Written),
    ];
    let mut site = Site::new();
    assert_eq!(site.plays(pausing).len(), 2);
    assert_eq!(site.plays(pausing), [203 + 500]);
}

#[test]
fn the_watchers_own_second_look_teaches_nothing() {
    let mut site = Site::new();
    let made: Events<'_> = &[(0, "d", Folder), (1, "d/a", Written), (500, "d", Touched)];
    site.plays_often(made, 3);
    assert_eq!(
        site.settle.lessons.rhythm().longest_pause(),
        Some(Duration::from_millis(1))
    );
}

#[test]
fn many_paths_are_a_generators() {
    let names: Vec<String> = (0..GENERATOR).map(|n| format!("p{n}")).collect();
    let pages: Vec<(u64, &str, Change)> = names
        .iter()
        .map(|name| (0, name.as_str(), Written))
        .collect();
    assert_eq!(run(&pages)[0].0, 100);
    assert_eq!(run(&pages[1..])[0].0, 50);
}

#[test]
fn a_fixed_window_learns_nothing() {
    let mut site = Site::new();
    site.settle.wait_otherwise(
        Quiet::Fixed(Duration::from_millis(30)),
        Duration::from_millis(MAX_WAIT),
    );
    site.plays_often(BY_RENAME, 20);
    assert_eq!(site.plays(BY_RENAME), [30]);
    assert_eq!(site.settle.learned(), None);
    site.settle
        .wait_otherwise(Quiet::Learned, Duration::from_millis(MAX_WAIT));
    assert_eq!(site.plays(BY_RENAME), [25], "a reload may turn it on");
    site.plays_often(BY_RENAME, 5);
    assert_eq!(site.plays(BY_RENAME), [4]);
    assert!(site.settle.learned().is_some());
    assert!(site.settle.learned().is_none(), "news is told once");
}

fn changes() -> impl Strategy<Value = Change> {
    prop::sample::select(vec![
        Touched,
        Created,
        Writing,
        Written,
        Folder,
        Removed,
        FolderRemoved,
        MovedAway,
    ])
}

proptest! {
    #[test]
    fn laws(events in prop::collection::vec((0_u64..60, "[a-e]", changes()), 1..60)) {
        let start = Instant::now();
        let mut settle = machine();
        let (mut now, mut first, mut last) = (0, None, 0);
        let (mut fed, mut seen) = (BTreeSet::new(), BTreeSet::new());
        for (gap, path, kind) in events {
            now += gap;
            if let Some(batch) = settle.due(at(start, now)) {
                let Dirty::Paths(paths) = batch.dirty else { panic!() };
                seen.extend(paths);
                let capped = now >= first.unwrap() + MAX_WAIT;
                prop_assert!(capped || now >= last + QUIET, "never before quiet, but for the cap");
                first = None;
            }
            fed.insert(PathBuf::from(&path));
            settle.event(change(start, now, &path, kind));
            first.get_or_insert(now);
            last = now;
            let deadline = settle.deadline().unwrap();
            prop_assert!(deadline <= at(start, first.unwrap() + MAX_WAIT), "always by the cap");
            let longest = at(start, last + QUIET * u64::from(LONGEST));
            prop_assert!(deadline <= longest, "no wait is longer than stated");
        }
        let batch = settle.due(settle.deadline().unwrap()).unwrap();
        let Dirty::Paths(paths) = batch.dirty else { panic!() };
        seen.extend(paths);
        prop_assert_eq!(seen, fed, "nothing is lost");
        prop_assert!(settle.deadline().is_none());
    }

    #[test]
    fn laws_of_learning(events in prop::collection::vec((0_u64..300, "[a-e]", changes()), 1..200)) {
        let start = Instant::now();
        let mut settle = Settle::new(Quiet::Learned, Duration::from_millis(MAX_WAIT));
        let (mut now, mut first) = (0, None);
        let (mut fed, mut seen) = (BTreeSet::new(), BTreeSet::new());
        for (gap, path, kind) in events {
            now += gap;
            if let Some(batch) = settle.due(at(start, now)) {
                let Dirty::Paths(paths) = batch.dirty else { panic!() };
                seen.extend(paths);
                first = None;
            }
            fed.insert(PathBuf::from(&path));
            settle.event(change(start, now, &path, kind));
            first.get_or_insert(now);
            let deadline = settle.deadline().unwrap();
            let cap = at(start, first.unwrap() + MAX_WAIT);
            let least = at(start, now) + rhythm::LEAST;
            prop_assert!(deadline <= cap, "always by the cap");
            prop_assert!(deadline >= least.min(cap), "never before the least wait");
            let most = at(start, now) + rhythm::MOST_IN_BURST;
            prop_assert!(deadline <= most, "no wait is longer than stated");
            if matches!(kind, Writing) {
                let unfinished = at(start, now + QUIET * u64::from(LONGEST));
                prop_assert!(deadline >= unfinished.min(cap), "what is being written is waited for");
            }
        }
        let batch = settle.due(settle.deadline().unwrap()).unwrap();
        let Dirty::Paths(paths) = batch.dirty else { panic!() };
        seen.extend(paths);
        prop_assert_eq!(seen, fed, "nothing is lost");
    }
}
