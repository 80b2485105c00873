//! Which core a program runs on, what processes burn, and who their children are.

use std::{fs, time::Duration};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::time::Instant;

use crate::{harness::deadline::throughout, resources::processor_ticks};

/// Microseconds of one tick of the kernel's accounts.
const TICK_MICROSECONDS: f64 = 10_000.0;

/// How long a process must use no processor time to count as at rest.
const QUIET: Duration = Duration::from_millis(600);

/// The two cores of the benchmark: one for the server that is measured, one for everything else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    server: usize,
    load: usize,
}

impl Cores {
    /// Takes the first two cores that this process may use, and moves it to the second.
    ///
    /// # Errors
    ///
    /// A text that says what is missing.
    pub(crate) fn take() -> Result<Self, String> {
        let allowed = sched_getaffinity(None).map_err(|error| error.to_string())?;
        let mut free = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let (Some(server), Some(load)) = (free.next(), free.next()) else {
            return Err("needs two cores: one for the server, one for wrk".into());
        };
        let cores = Self { server, load };
        pin(load);
        Ok(cores)
    }

    /// Runs `start` on the server's core. Programs that it starts stay there, as under
    /// `taskset -c`, from their first instruction on, so that they count one core alone.
    pub(crate) fn on_the_servers<T>(self, start: impl FnOnce() -> T) -> T {
        pin(self.server);
        let started = start();
        pin(self.load);
        started
    }
}

fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).expect("a thread may choose among its cores");
}

/// Returns the processes that were started by `id`.
pub(crate) fn children(id: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("Linux has /proc");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|other| parent(*other) == Some(id))
        .collect()
}

fn parent(id: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name may hold spaces; what follows it is the state, and then the parent.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

/// Returns the processor time that processes have used, in microseconds.
pub(crate) fn processor_microseconds(processes: &[u32]) -> f64 {
    let ticks: u64 = processes.iter().map(|id| processor_ticks(*id)).sum();
    ticks as f64 * TICK_MICROSECONDS
}

/// Waits until a process uses no processor time, and returns whether it came to that within `limit`.
pub(crate) fn comes_to_rest(id: u32, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    loop {
        let before = processor_ticks(id);
        throughout(QUIET, "time passes", || true);
        if processor_ticks(id) == before {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
    }
}

/// Returns how busy the machine was in the last minute, for the head of a result.
pub(crate) fn load_average() -> String {
    let averages = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let last_minute = averages.split(' ').next().unwrap_or_default();
    format!("load of the last minute {last_minute}")
}
