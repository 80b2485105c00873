//! `wrk` as it puts load on one server, and what it says of it.

use std::{fmt::Write as _, fs, path::Path, process::Command, time::Duration};

use crate::{
    check::Checked,
    harness::{deadline::wait_for, process::Process},
    processes::processor_microseconds,
    servers::Server,
    workload::NOT_FOUND_EVERY,
};

/// How many refusals more or less than planned are in flight when the time is over.
const IN_FLIGHT: u64 = 8;

/// What the script's last function prints, for `Wrk::finish` to read.
const REPORT: &str = r#"
done = function(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format("measured %d %d %d %d %d %d %d\n",
        summary.requests, summary.duration, summary.bytes,
        errors.connect + errors.read + errors.write + errors.timeout, errors.status,
        latency:percentile(50), latency:percentile(99)))
end
"#;

/// How hard and how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Open connections; one thread of wrk drives them all.
    pub(crate) connections: u32,
    pub(crate) seconds: u32,
}

/// What one run gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) requests_per_second: f64,
    pub(crate) bytes_per_second: f64,
    pub(crate) p50_microseconds: f64,
    pub(crate) p99_microseconds: f64,
    /// The server's processor time for each request.
    pub(crate) processor_microseconds: f64,
    /// Share of its core that the server used.
    pub(crate) server_busy: f64,
    /// Share of its core that wrk used.
    pub(crate) wrk_busy: f64,
}

impl Figures {
    /// Returns the median of some runs, figure by figure.
    ///
    /// # Panics
    ///
    /// Without runs.
    pub(crate) fn median(runs: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| {
            let mut sorted: Vec<f64> = runs.iter().map(figure).collect();
            sorted.sort_by(f64::total_cmp);
            f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2])
        };
        Self {
            requests_per_second: of(|run| run.requests_per_second),
            bytes_per_second: of(|run| run.bytes_per_second),
            p50_microseconds: of(|run| run.p50_microseconds),
            p99_microseconds: of(|run| run.p99_microseconds),
            processor_microseconds: of(|run| run.processor_microseconds),
            server_busy: of(|run| run.server_busy),
            wrk_busy: of(|run| run.wrk_busy),
        }
    }

    /// Returns whether the server could have answered more than wrk asked.
    pub(crate) fn is_held_back_by_wrk(&self) -> bool {
        self.wrk_busy > 0.95 && self.server_busy < 0.9
    }
}

/// A run that is under way.
#[derive(Debug)]
pub(crate) struct Wrk {
    process: Process,
    server: Server,
    connections: u32,
    asks: usize,
    used_before: f64,
}

impl Wrk {
    /// Starts a run against a server; its script and output go to `folder`.
    pub(crate) fn start(folder: &Path, server: &Server, checked: &Checked, load: Load) -> Self {
        let script = folder.join("wrk.lua");
        fs::write(&script, script_of(checked)).expect("the folder is there");
        let used_before = processor_microseconds(&server.processes);
        let mut command = Command::new("wrk");
        command
            .args(["--threads", "1", "--latency", "--timeout", "10s"])
            .args(["--connections", &load.connections.to_string()])
            .args(["--duration", &format!("{}s", load.seconds)])
            .arg("--script")
            .arg(&script)
            .arg(format!("http://{}/", server.address));
        Self {
            process: Process::start("wrk", &mut command, folder),
            server: server.clone(),
            connections: load.connections,
            asks: checked.requests.len(),
            used_before,
        }
    }

    /// Waits until the run is over.
    ///
    /// # Errors
    ///
    /// A text, where a request failed or was refused that should not have been: a run with errors
    /// measures something else.
    pub(crate) fn finish(mut self) -> Result<Figures, String> {
        let mut wrk_used = 0.0;
        let status = wait_for("wrk to end", || {
            // A process that ended has its account until it is collected.
            wrk_used = processor_microseconds(&[self.process.id()]);
            self.process.try_wait()
        });
        let used = processor_microseconds(&self.server.processes) - self.used_before;
        let said = self.process.stdout();
        assert!(status.success(), "wrk: {status}\n{said}");
        let line = said.lines().find_map(|line| line.strip_prefix("measured "));
        let numbers: Vec<u64> = line
            .unwrap_or_default()
            .split(' ')
            .filter_map(|number| number.parse().ok())
            .collect();
        let [requests, took, bytes, broken, refused, p50, p99] = numbers[..] else {
            panic!("wrk did not report: {said}");
        };
        self.has_no_errors(requests, broken, refused)?;
        let seconds = Duration::from_micros(took).as_secs_f64();
        Ok(Figures {
            requests_per_second: requests as f64 / seconds,
            bytes_per_second: bytes as f64 / seconds,
            p50_microseconds: p50 as f64,
            p99_microseconds: p99 as f64,
            processor_microseconds: used / requests as f64,
            server_busy: used / took as f64,
            wrk_busy: wrk_used / took as f64,
        })
    }

    fn has_no_errors(&self, requests: u64, broken: u64, refused: u64) -> Result<(), String> {
        // Of a list, a known share asks for what is not there.
        let (planned, slack) = if self.asks > 1 {
            (requests / NOT_FOUND_EVERY as u64, IN_FLIGHT)
        } else {
            (0, 0)
        };
        if requests > 0 && broken == 0 && refused.abs_diff(planned) <= slack {
            return Ok(());
        }
        Err(format!(
            "of {requests} requests over {} connections, {broken} broke off and {refused} were refused, \
             where {planned} ask for what is not there",
            self.connections
        ))
    }
}

/// Returns the script that sends checked requests in turn.
fn script_of(checked: &Checked) -> String {
    let mut script = String::new();
    if let [only] = &checked.requests[..] {
        // Without a function of its own, wrk sends the same bytes again and again.
        writeln!(script, "wrk.path = {}", quoted(&only.target)).expect("a string takes text");
        for (name, value) in &only.headers {
            writeln!(script, "wrk.headers[\"{name}\"] = {}", quoted(value))
                .expect("a string takes text");
        }
    } else {
        script.push_str("local asks = {\n");
        for request in &checked.requests {
            write!(script, "{{ {}, {{", quoted(&request.target)).expect("a string takes text");
            for (name, value) in &request.headers {
                write!(script, "[\"{name}\"] = {},", quoted(value)).expect("a string takes text");
            }
            script.push_str("} },\n");
        }
        script.push_str(
            "}\nlocal requests, at = {}, 0\n\
             init = function()\n\
             for i, ask in ipairs(asks) do\n\
             requests[i] = wrk.format(\"GET\", ask[1], ask[2])\n\
             end\n\
             end\n\
             request = function()\n\
             at = at % #requests + 1\n\
             return requests[at]\n\
             end\n",
        );
    }
    script.push_str(REPORT);
    script
}

/// Returns text as Lua writes it.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}
