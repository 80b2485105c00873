//! How far a publish is, shown to a person: a bar on a terminal, plain lines elsewhere, or nothing.
//!
//! Owns what was counted so far. It counts what is done, and decides nothing: a publish without
//! anybody watching runs the same.

use std::{
    fmt,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

/// Time between two plain lines: a log stays readable, and a person sees that it lives.
const LINE_INTERVAL: Duration = Duration::from_secs(2);

/// A publish shorter than this shows no bar: it would only flicker.
const BAR_FROM_BYTES: u64 = 256 * 1024;

/// Who is told how far a publish is; clones tell the same.
#[derive(Debug, Clone)]
pub enum Progress {
    /// Nobody.
    Silent,
    /// A terminal.
    Bar(Bar),
    /// A log or a pipe.
    Lines(Lines),
}

/// A bar with files, bytes, rate and time left.
#[derive(Debug, Clone)]
pub struct Bar {
    bar: ProgressBar,
    files: Arc<Mutex<Tally>>,
}

/// Plain lines, one every two seconds at most.
#[derive(Clone)]
pub struct Lines {
    state: Arc<Mutex<LineState>>,
}

struct LineState {
    out: Box<dyn Write + Send>,
    tally: Tally,
    last: Option<Instant>,
}

/// What is to be sent, and what was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    files: u64,
    of_files: u64,
    bytes: u64,
    of_bytes: u64,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

impl Progress {
    /// Returns a bar that is drawn on standard error.
    #[must_use]
    pub fn bar() -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
        Self::Bar(Bar {
            bar,
            files: Arc::default(),
        })
    }

    /// Returns plain lines, written to `out`.
    #[must_use]
    pub fn lines(out: Box<dyn Write + Send>) -> Self {
        let state = LineState {
            out,
            tally: Tally::default(),
            last: None,
        };
        Self::Lines(Lines {
            state: Arc::new(Mutex::new(state)),
        })
    }

    /// Says how much there is to send, in all; what was counted before starts again.
    pub fn begin(&self, files: u64, bytes: u64) {
        let tally = Tally {
            of_files: files,
            of_bytes: bytes,
            ..Tally::default()
        };
        match self {
            Self::Silent => {}
            Self::Bar(bar) => bar.begin(tally),
            Self::Lines(lines) => lines.change(|state| {
                state.tally = tally;
                state.last = None;
            }),
        }
    }

    /// Says that `files` more files and `bytes` more bytes are with the server.
    pub fn advance(&self, files: u64, bytes: u64) {
        match self {
            Self::Silent => {}
            Self::Bar(bar) => bar.advance(files, bytes),
            Self::Lines(lines) => lines.change(|state| {
                state.tally.files += files;
                state.tally.bytes += bytes;
                state.write_when_due();
            }),
        }
    }

    /// Takes the display away: the result is said by somebody else.
    pub fn finish(&self) {
        match self {
            Self::Silent | Self::Lines(_) => {}
            Self::Bar(bar) => bar.bar.finish_and_clear(),
        }
    }
}

impl Bar {
    fn begin(&self, tally: Tally) {
        *self.tally() = tally;
        self.bar.reset();
        self.bar.set_length(tally.of_bytes);
        self.bar.set_style(style());
        self.bar.set_message(tally.files_text());
        let target = if tally.of_bytes < BAR_FROM_BYTES {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        self.bar.set_draw_target(target);
    }

    fn advance(&self, files: u64, bytes: u64) {
        let text = {
            let mut tally = self.tally();
            tally.files += files;
            tally.files_text()
        };
        self.bar.inc(bytes);
        self.bar.set_message(text);
    }

    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        // Counts are whole whatever happened to the thread that wrote them.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn change(&self, change: impl FnOnce(&mut LineState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl LineState {
    fn write_when_due(&mut self) {
        let now = Instant::now();
        let due = *self.last.get_or_insert(now) + LINE_INTERVAL;
        if now < due {
            return;
        }
        self.last = Some(now);
        if let Err(error) = self.write_line() {
            tracing::debug!(%error, "progress cannot be written");
        }
    }

    fn write_line(&mut self) -> io::Result<()> {
        let Tally {
            bytes, of_bytes, ..
        } = self.tally;
        writeln!(
            self.out,
            "{}, {} of {}",
            self.tally.files_text(),
            HumanBytes(bytes),
            HumanBytes(of_bytes)
        )
    }
}

impl Tally {
    fn files_text(self) -> String {
        format!("{} of {} files", self.files, self.of_files)
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template(
        "{msg}  {wide_bar}  {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was written, seen by the test as well.
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn lines_are_few_and_say_how_far_it_is() {
        let shared = Shared::default();
        let progress = Progress::lines(Box::new(shared.clone()));
        progress.begin(10, 10 * 1_024);
        for _ in 0..10 {
            progress.advance(1, 1_024);
            tokio::time::advance(Duration::from_millis(500)).await;
        }
        progress.finish();
        let text = String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
        assert_eq!(
            text,
            "5 of 10 files, 5.00 KiB of 10.00 KiB\n9 of 10 files, 9.00 KiB of 10.00 KiB\n"
        );
    }

    #[test]
    fn a_bar_counts_bytes_and_files() {
        let progress = Progress::bar();
        progress.begin(3, 100);
        progress.advance(1, 40);
        let Progress::Bar(bar) = &progress else {
            panic!("{progress:?}");
        };
        assert_eq!((bar.bar.position(), bar.bar.length()), (40, Some(100)));
        assert_eq!(bar.bar.message(), "1 of 3 files");
        progress.begin(2, 50);
        assert_eq!((bar.bar.position(), bar.bar.length()), (0, Some(50)));
        progress.finish();
    }
}
