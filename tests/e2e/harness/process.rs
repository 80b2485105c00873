//! A started program: where its output goes, how it is ended, and what it leaves behind.
//!
//! Output goes to files, so that a program that writes much never blocks on the test. Dropping the
//! handle kills the program; when the test is failing, its output is printed first.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

use super::deadline::wait_for;

/// A program that was started and not yet collected.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command`; its output goes to `<name>.out` and `<name>.err` in `logs`.
    pub(crate) fn start(name: &str, command: &mut Command, logs: &Path) -> Self {
        let stdout = logs.join(format!("{name}.out"));
        let stderr = logs.join(format!("{name}.err"));
        let file = |path: &Path| File::create(path).expect("the log folder can be written");
        let child = command
            .stdin(Stdio::null())
            .stdout(file(&stdout))
            .stderr(file(&stderr))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self {
            name: name.to_owned(),
            child,
            stdout,
            stderr,
            ended: None,
        }
    }

    /// Returns the process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns everything written to standard output so far.
    pub(crate) fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// Returns everything written to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Returns what follows `prefix` in the first whole line of standard output that starts so.
    pub(crate) fn wait_for_line(&mut self, prefix: &str) -> String {
        let what = format!("{} to print {prefix:?}", self.name);
        wait_for(&what, || {
            let text = self.stdout();
            let found = text
                .split_inclusive('\n')
                .filter_map(|line| line.strip_suffix('\n'))
                .find_map(|line| line.strip_prefix(prefix))
                .map(str::to_owned);
            if found.is_none() {
                self.assert_running();
            }
            found
        })
    }

    /// Fails the test when the program has ended by itself.
    pub(crate) fn assert_running(&mut self) {
        if let Some(status) = self.try_wait() {
            panic!("{} ended by itself: {status}", self.name);
        }
    }

    /// Returns how the program ended, when it has.
    pub(crate) fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child can be asked");
        }
        self.ended
    }

    /// Waits until the program has ended and returns how.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let what = format!("{} to end", self.name);
        wait_for(&what, || self.try_wait())
    }

    /// Asks the program to end (SIGTERM) and returns how it did.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Asks the program to end (SIGTERM) and does not wait for it.
    pub(crate) fn ask_to_end(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Lets the program do nothing more until it is resumed (SIGSTOP).
    pub(crate) fn suspend(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Lets a suspended program go on (SIGCONT).
    pub(crate) fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    /// Asks the program to end as Ctrl-C does (SIGINT) and returns how it did.
    pub(crate) fn interrupt(&mut self) -> ExitStatus {
        self.signal(Signal::INT);
        self.wait()
    }

    /// Ends the program at once (SIGKILL), as a crash of the machine would.
    pub(crate) fn kill(&mut self) {
        if self.try_wait().is_none() {
            self.child.kill().expect("a running child can be killed");
            self.wait();
        }
    }

    fn signal(&mut self, signal: Signal) {
        if self.try_wait().is_none() {
            kill_process(Pid::from_child(&self.child), signal)
                .expect("a running child can be signalled");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended in between; either way it is collected.
        self.child.kill().ok();
        self.child.wait().ok();
        if thread::panicking() {
            show(&self.name, "stdout", &self.stdout());
            show(&self.name, "stderr", &self.stderr());
        }
    }
}

fn read(path: &Path) -> String {
    let bytes = fs::read(path).expect("the log file is there");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[expect(
    clippy::print_stderr,
    reason = "a failing test shows what its programs wrote"
)]
fn show(name: &str, stream: &str, text: &str) {
    if !text.is_empty() {
        eprintln!("--- {name} {stream} ---\n{}", text.trim_end());
    }
}
