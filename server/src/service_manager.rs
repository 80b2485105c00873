//! What a service manager (systemd) is told of this process: ready, how it stands, alive, stopping.
//!
//! The protocol is `sd_notify(3)`: datagrams of lines to the socket that `NOTIFY_SOCKET` names. The
//! words are those of the `sd-notify` crate, whose only user this is; the socket is our own, since
//! that crate reads the process's environment at each message and does not know abstract sockets.
//! Where no manager listens, every call does nothing, so that callers need not ask.
//!
//! Nothing here ever waits: a message that the manager does not take at once is lost, and the next
//! one is as good. Nothing here owns a task: whoever has the process's main loop feeds the watchdog
//! from it, so that a stuck loop is noticed.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use sd_notify::NotifyState;
use tokio::time::Instant;

/// The variable that names the manager's socket.
const SOCKET: &str = "NOTIFY_SOCKET";

/// The variable that holds the watchdog's limit in microseconds.
const WATCHDOG_LIMIT: &str = "WATCHDOG_USEC";

/// The variable that names the process whose watchdog it is; a child inherits all three.
const WATCHDOG_PROCESS: &str = "WATCHDOG_PID";

/// More than fits into a line of `systemctl status`.
const MAX_STATUS_CHARS: usize = 300;

/// The service manager that started this process, or none.
#[derive(Debug, Default)]
pub struct ServiceManager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Watchdog>,
    is_ready: bool,
    status: String,
}

#[derive(Debug)]
struct Watchdog {
    /// Half of the limit, as `sd_watchdog_enabled(3)` advises: one late feed is no death.
    interval: Duration,
    /// When it is to be fed; at once, as long as it never was.
    due: Option<Instant>,
}

impl ServiceManager {
    /// Returns one that nobody listens to.
    #[must_use]
    pub fn absent() -> Self {
        Self::default()
    }

    /// Returns the manager that the environment of process `pid` names; without one, or when its
    /// socket cannot be used, one that nobody listens to.
    ///
    /// `variable` reads the environment. An unusable socket is logged: the service goes on, and the
    /// manager says what it misses.
    #[must_use]
    pub fn find(variable: &dyn Fn(&str) -> Option<OsString>, pid: u32) -> Self {
        let Some(address) = variable(SOCKET).filter(|address| !address.is_empty()) else {
            return Self::absent();
        };
        match connect(&address) {
            Ok(socket) => Self {
                socket: Some(socket),
                watchdog: watchdog_interval(variable, pid).map(|interval| Watchdog {
                    interval,
                    due: None,
                }),
                ..Self::default()
            },
            Err(error) => {
                tracing::warn!("the service manager cannot be told anything: {SOCKET}: {error}");
                Self::absent()
            }
        }
    }

    /// Returns whether anybody listens.
    #[must_use]
    pub const fn is_present(&self) -> bool {
        self.socket.is_some()
    }

    /// Says that the service is up; once, however often it is called.
    pub fn ready(&mut self) {
        if !self.is_ready {
            self.is_ready = true;
            self.tell(&[NotifyState::Ready]);
        }
    }

    /// Says how the service stands, in one line for people; only when that is news.
    pub fn status(&mut self, text: &str) {
        if !self.is_present() || self.status == text {
            return;
        }
        text.clone_into(&mut self.status);
        let line: String = text
            .chars()
            .map(|char| if char.is_control() { ' ' } else { char })
            .take(MAX_STATUS_CHARS)
            .collect();
        self.tell(&[NotifyState::Status(&line)]);
    }

    /// Returns when the watchdog is to be fed next; never where there is none.
    #[must_use]
    pub fn feed_due(&self, now: Instant) -> Option<Instant> {
        let watchdog = self.watchdog.as_ref()?;
        Some(watchdog.due.unwrap_or(now))
    }

    /// Feeds the watchdog when it is time.
    pub fn feed_if_due(&mut self, now: Instant) {
        let Some(watchdog) = &mut self.watchdog else {
            return;
        };
        if watchdog.due.is_none_or(|due| due <= now) {
            watchdog.due = Some(now + watchdog.interval);
            self.tell(&[NotifyState::Watchdog]);
        }
    }

    /// Feeds the watchdog for ever: for a process whose main loop is one future, and this beside it
    /// in the same task.
    pub async fn feed(&mut self) {
        loop {
            let now = Instant::now();
            self.feed_if_due(now);
            match self.feed_due(now) {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Says that the configuration is being read again; [`Self::reloaded`] has to follow.
    pub fn reloading(&mut self) {
        // Without the time the manager could take an answer to an earlier signal for this one's.
        match NotifyState::monotonic_usec_now() {
            Ok(time) => self.tell(&[NotifyState::Reloading, time]),
            Err(_) => self.tell(&[NotifyState::Reloading]),
        }
    }

    /// Says that the configuration was read again, whatever came of it.
    pub fn reloaded(&mut self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// Says that the service is ending, and what it does until then.
    pub fn stopping(&mut self, status: &str) {
        self.tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
        status.clone_into(&mut self.status);
    }

    fn tell(&self, lines: &[NotifyState<'_>]) {
        let Some(socket) = &self.socket else {
            return;
        };
        let lines: Vec<_> = lines.iter().map(NotifyState::to_string).collect();
        let message = lines.join("\n") + "\n";
        if let Err(error) = socket.send(message.as_bytes()) {
            tracing::debug!("the service manager was not told: {error}");
        }
    }
}

fn connect(address: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match address.as_bytes() {
        [b'/', ..] => socket.connect(address)?,
        // An abstract socket: `@` stands for the NUL byte, which no variable can hold.
        [b'@', name @ ..] => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        _ => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "neither a path nor an abstract socket",
            ));
        }
    }
    // A manager that does not read must not hold up whoever feeds the watchdog.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Returns how often the watchdog of process `pid` has to be fed; never where it is not watched.
fn watchdog_interval(variable: &dyn Fn(&str) -> Option<OsString>, pid: u32) -> Option<Duration> {
    let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
    let limit = number(WATCHDOG_LIMIT).filter(|limit| *limit > 0)?;
    let is_ours = variable(WATCHDOG_PROCESS).is_none_or(|_| {
        // What is no number names nobody.
        number(WATCHDOG_PROCESS) == Some(u64::from(pid))
    });
    is_ours.then(|| Duration::from_micros(limit) / 2)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PID: u32 = 7;

    /// Stands in for the manager.
    struct Manager {
        socket: UnixDatagram,
        address: OsString,
        _folder: tempfile::TempDir,
    }

    impl Manager {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("notify");
            let socket = UnixDatagram::bind(&path).unwrap();
            socket.set_nonblocking(true).unwrap();
            Self {
                socket,
                address: path.into(),
                _folder: folder,
            }
        }

        fn found(&self, variables: &[(&str, &str)]) -> ServiceManager {
            let variable = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                if name == SOCKET {
                    return Some(self.address.clone());
                }
                found.map(|(_, value)| OsString::from(value))
            };
            ServiceManager::find(&variable, PID)
        }

        /// Returns what was said since the last call, each message by itself.
        fn heard(&self) -> Vec<String> {
            let mut bytes = [0; 4096];
            std::iter::from_fn(|| {
                let length = self.socket.recv(&mut bytes).ok()?;
                Some(String::from_utf8(bytes[..length].to_vec()).unwrap())
            })
            .collect()
        }
    }

    #[test]
    fn a_service_says_each_thing_once() {
        let manager = Manager::new();
        let mut told = manager.found(&[]);
        assert!(told.is_present());
        told.status("starting");
        told.ready();
        told.ready();
        told.status("live");
        told.status("live");
        told.status("held:\n3 files");
        assert_eq!(
            manager.heard(),
            [
                "STATUS=starting\n",
                "READY=1\n",
                "STATUS=live\n",
                "STATUS=held: 3 files\n"
            ]
        );
        told.stopping("stopping");
        assert_eq!(manager.heard(), ["STOPPING=1\nSTATUS=stopping\n"]);
    }

    #[test]
    fn a_reload_names_its_time_and_ends() {
        let manager = Manager::new();
        let mut told = manager.found(&[]);
        told.ready();
        told.reloading();
        told.reloaded();
        let heard = manager.heard();
        assert!(
            heard[1].starts_with("RELOADING=1\nMONOTONIC_USEC="),
            "{heard:?}"
        );
        assert_eq!(heard[2], "READY=1\n");
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_fed_at_half_of_its_limit() {
        let manager = Manager::new();
        let mut told = manager.found(&[(WATCHDOG_LIMIT, "10000000"), (WATCHDOG_PROCESS, "7")]);
        let start = Instant::now();
        told.feed_if_due(start);
        assert_eq!(manager.heard(), ["WATCHDOG=1\n"]);
        assert_eq!(told.feed_due(start), Some(start + Duration::from_secs(5)));
        told.feed_if_due(start + Duration::from_secs(4));
        assert!(manager.heard().is_empty());
        let feeding = tokio::time::timeout(Duration::from_secs(21), told.feed());
        assert!(feeding.await.is_err(), "it never ends");
        assert_eq!(manager.heard().len(), 4);
    }

    #[test]
    fn only_the_process_that_is_meant_is_watched() {
        let interval = |limit: Option<&str>, process: Option<&str>| {
            watchdog_interval(
                &|name| match name {
                    WATCHDOG_LIMIT => limit.map(OsString::from),
                    WATCHDOG_PROCESS => process.map(OsString::from),
                    _ => None,
                },
                PID,
            )
        };
        let second = Some(Duration::from_secs(1));
        assert_eq!(interval(Some("2000000"), None), second);
        assert_eq!(interval(Some("2000000"), Some("7")), second);
        assert_eq!(interval(Some("2000000"), Some("8")), None);
        assert_eq!(interval(Some("2000000"), Some("x")), None);
        assert_eq!(interval(Some("0"), None), None);
        assert_eq!(interval(Some("soon"), None), None);
        assert_eq!(interval(None, Some("7")), None);
    }

    #[test]
    fn an_abstract_socket_is_found() {
        let name = format!("onsave-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut told = ServiceManager::find(
            &|variable| (variable == SOCKET).then(|| format!("@{name}").into()),
            PID,
        );
        told.ready();
        let mut bytes = [0; 16];
        assert_eq!(socket.recv(&mut bytes).unwrap(), b"READY=1\n".len());
    }

    #[test]
    fn without_a_usable_socket_nothing_is_said() {
        for address in ["", "relative", "/nowhere/to/be/found"] {
            let mut told =
                ServiceManager::find(&|name| (name == SOCKET).then(|| address.into()), PID);
            assert!(!told.is_present(), "{address}");
            told.ready();
            told.status("x");
            told.stopping("x");
            assert_eq!(told.feed_due(Instant::now()), None);
        }
    }

    #[test]
    fn a_manager_that_does_not_read_holds_nothing_up() {
        let manager = Manager::new();
        let mut told = manager.found(&[]);
        for round in 0..10_000 {
            told.status(&format!("{round}"));
        }
        assert!(manager.heard().len() < 10_000);
    }
}
