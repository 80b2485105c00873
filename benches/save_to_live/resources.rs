//! What the kernel says of processes and of this machine.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    harness::deadline::{eventually, throughout},
    samples::Samples,
};

/// How long a process is watched at rest.
const REST: Duration = Duration::from_secs(5);

/// How long a process must use no processor time to count as at rest.
const QUIET: Duration = Duration::from_millis(600);

/// Durable saves that are measured.
const DURABLE_SAVES: u32 = 60;

/// What a process holds and burns at rest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AtRest {
    /// Resident memory in bytes.
    pub(crate) resident: u64,
    /// Share of one processor, in percent.
    pub(crate) processor: f64,
}

/// Waits until processes have done what they do behind the scenes: until they used no processor
/// time for a while.
pub(crate) fn wait_until_at_rest<const N: usize>(processes: [u32; N]) {
    let mut last = processes.map(processor_ticks);
    let mut since = Instant::now();
    eventually("the processes to come to rest", || {
        let ticks = processes.map(processor_ticks);
        if ticks != last {
            (last, since) = (ticks, Instant::now());
        }
        since.elapsed() >= QUIET
    });
}

/// Watches processes that have nothing to do.
pub(crate) fn at_rest(processes: [u32; 2]) -> [AtRest; 2] {
    wait_until_at_rest(processes);
    let before = processes.map(processor_ticks);
    throughout(REST, "the processes run", || {
        processes
            .iter()
            .all(|id| fs::exists(format!("/proc/{id}")).is_ok_and(|there| there))
    });
    let after = processes.map(processor_ticks);
    // A tick is a hundredth of a second.
    let percent = |index: usize| (after[index] - before[index]) as f64 / REST.as_secs_f64();
    [0, 1].map(|index| AtRest {
        resident: resident(processes[index]),
        processor: percent(index),
    })
}

/// Saves a file durably (write, fsync, rename, fsync of the folder) as often as makes a sample: what
/// no commit can be faster than on this disk, and how noisy the machine is.
pub(crate) fn durable_saves(folder: &Path) -> Samples {
    let written = "the folder can be written";
    let directory = File::open(folder).expect("the folder is there");
    let [temporary, saved] = ["temporary", "saved"].map(|name| folder.join(name));
    let mut samples = Samples::default();
    for _ in 0..DURABLE_SAVES {
        let started = Instant::now();
        let mut file = File::create(&temporary).expect(written);
        file.write_all(&[b'x'; 11_500]).expect(written);
        file.sync_all().expect(written);
        fs::rename(&temporary, &saved).expect(written);
        directory.sync_all().expect(written);
        samples.push(started.elapsed());
    }
    samples
}

/// Returns the date, the processor and the kernel, for the head of a result.
pub(crate) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or_else(String::new, |name| {
            name.trim_start_matches([' ', '\t', ':']).to_owned()
        });
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{}, {cores} cores of {processor}, Linux {}",
        jiff::Zoned::now().date(),
        read("/proc/sys/kernel/osrelease").trim()
    )
}

/// Returns the processor time that a process has used, in hundredths of a second, which is what
/// `USER_HZ` is on every Linux that this runs on.
pub(crate) fn processor_ticks(id: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("the process runs");
    // The name may hold spaces; user and system time are fields 14 and 15 of all, so the 12th and
    // 13th after it.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |index: usize| fields[index].parse::<u64>().expect("it is a number");
    ticks(11) + ticks(12)
}

/// Returns the resident memory of a process in bytes.
pub(crate) fn resident(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line
        .expect("the kernel counts it")
        .trim()
        .trim_end_matches(" kB");
    kilobytes.parse::<u64>().expect("it is a number") * 1_024
}
