//! A root file system → a running program in mount, process and network namespaces of its own.
//!
//! Needs root, and util-linux, iproute2 and coreutils. Everything that is mounted is so in the
//! machine's own mount namespace, and is gone with its last process; the program dies with the thread
//! that started it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::{fd::AsFd as _, unix::process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, SyncSender},
    thread,
    time::Duration,
};

use rustix::{
    process::{Pid, Signal, kill_process},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use tokio::time::Instant;

use crate::harness::deadline::look_until;

/// The machine's private address: a program that listens on 127.0.0.1 alone is not reached there, as
/// on the platform.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 19, 0, 2);

/// What a program that was killed is said to have ended with.
const KILLED: i32 = 128 + 9;

/// How long the end of a killed program may take.
const LONGEST_END: Duration = Duration::from_secs(5);

/// How long namespaces may take to be there.
const LONGEST_SETUP: Duration = Duration::from_secs(10);

/// What is run in the namespaces around the program: arguments are the root, the volume's folder, its
/// place, the user, and the command. Its own variables are not the program's, so they are removed. It
/// stays as the first process, so that a signal means to the program what it means anywhere: the first
/// process of a namespace ignores those that it does not handle.
const SETUP: &str = r#"
set -e
root=$1 volume=$2 place=$3 user=$4
shift 4
ip link set lo up
ip address add 172.19.0.2/32 dev lo
ip -6 address add fdaa:0:1::2/128 dev lo nodad 2>/dev/null || true
mkdir -p "$root/proc" "$root/dev" "$root/tmp"
chmod 1777 "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
if [ -n "$volume" ]; then
    mkdir -p "$root$place"
    mount --bind "$volume" "$root$place"
fi
set +e
env -u PWD -u OLDPWD -u SHLVL -u _ /usr/sbin/chroot ${user:+--userspec="$user"} "$root" "$@"
exit $?
"#;

/// What to start.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) root: PathBuf,
    pub(crate) command: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    /// The volume's folder, and its place in the machine.
    pub(crate) volume: Option<(PathBuf, String)>,
    /// As in the image: empty, or ids as numbers.
    pub(crate) user: String,
    /// Where both streams of output go.
    pub(crate) log: PathBuf,
}

/// A program in its namespaces; ended when dropped.
#[derive(Debug)]
pub(crate) struct Booted {
    child: Child,
    dialer: Dialer,
}

impl Booted {
    /// Starts a program.
    ///
    /// # Errors
    ///
    /// What kept it from starting.
    pub(crate) fn start(plan: &Plan) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err(
                "machines need namespaces, which only root may make: run the tests as root"
                    .to_owned(),
            );
        }
        let text = |path: &Path| path.display().to_string();
        let (volume, place) = plan
            .volume
            .as_ref()
            .map(|(folder, place)| (text(folder), place.clone()))
            .unwrap_or_default();
        let log = File::options().create(true).append(true).open(&plan.log);
        let log = log.map_err(|error| format!("no log: {error}"))?;
        let other = log
            .try_clone()
            .map_err(|error| format!("no log: {error}"))?;
        let mut child = Command::new("/usr/bin/setpriv")
            .args(["--pdeathsig", "KILL", "/usr/bin/unshare"])
            .args(["--mount", "--net", "--pid", "--fork", "--kill-child"])
            .args(["/bin/sh", "-c", SETUP, "setup"])
            .args([&text(&plan.root), &volume, &place, &plan.user])
            .args(&plan.command)
            .env_clear()
            .envs(&plan.env)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(other)
            .spawn()
            .map_err(|error| format!("setpriv and unshare of util-linux are needed: {error}"))?;
        match Dialer::into_namespace_of(&mut child) {
            Ok(dialer) => Ok(Self { child, dialer }),
            Err(fault) => {
                // It may have ended in between; either way it is collected.
                child.kill().ok();
                child.wait().ok();
                Err(fault)
            }
        }
    }

    /// Returns who connects to the machine.
    pub(crate) fn dialer(&self) -> Dialer {
        self.dialer.clone()
    }

    /// Returns how the program ended, when it has; killed by a signal is 128 and its number.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let status = self.child.try_wait().expect("a child can be asked")?;
        status
            .code()
            .or_else(|| status.signal().map(|signal| 128 + signal))
    }

    /// Asks the program to end, kills it when it has not after `timeout`, and returns how it ended.
    pub(crate) fn stop(&mut self, signal: Signal, timeout: Duration) -> i32 {
        let end = Instant::now() + timeout;
        // One that was just started is not there yet.
        let program = look_until(end, || match self.exit_code() {
            Some(code) => Some(Err(code)),
            None => self.program().map(Ok),
        });
        match program {
            Some(Err(code)) => return code,
            // It may have ended in between.
            Some(Ok(pid)) => drop(kill_process(pid, signal)),
            None => {}
        }
        look_until(end, || self.exit_code()).unwrap_or_else(|| self.kill())
    }

    /// Ends the program at once, and returns how it ended.
    fn kill(&mut self) -> i32 {
        if let Some(pid) = self.program() {
            kill_process(pid, Signal::KILL).ok();
        }
        // What is around the program follows it, and has then collected everything.
        let followed = look_until(Instant::now() + LONGEST_END, || self.exit_code());
        followed.unwrap_or_else(|| {
            self.child.kill().ok();
            self.child.wait().ok();
            KILLED
        })
    }

    /// Returns the program, once it is in its root. It is the child of the setup, which is the only child
    /// of `unshare`, which has become what was started.
    fn program(&self) -> Option<Pid> {
        let setup = first_child(self.child.id())?;
        let program = first_child(setup)?;
        let root = fs::read_link(format!("/proc/{program}/root")).ok()?;
        let pid = Pid::from_raw(program.try_into().ok()?)?;
        (root != Path::new("/")).then_some(pid)
    }
}

fn first_child(id: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

impl Drop for Booted {
    fn drop(&mut self) {
        if self.exit_code().is_none() {
            self.kill();
        }
    }
}

/// A connection that is wanted: to which port, and who waits for it.
type Dial = (u16, SyncSender<io::Result<TcpStream>>);

/// Connects to a machine from inside of its network namespace, by a thread that lives there.
#[derive(Debug, Clone)]
pub(crate) struct Dialer {
    dials: SyncSender<Dial>,
}

impl Dialer {
    fn into_namespace_of(child: &mut Child) -> Result<Self, String> {
        let path = format!("/proc/{}/ns/net", child.id());
        let outside = fs::read_link("/proc/self/ns/net").map_err(|error| error.to_string())?;
        let inside = look_until(Instant::now() + LONGEST_SETUP, || {
            if let Ok(Some(status)) = child.try_wait() {
                return Some(Err(format!("the machine ended before it began: {status}")));
            }
            let found = fs::read_link(&path).ok()?;
            (found != outside).then_some(Ok(()))
        });
        inside.unwrap_or_else(|| Err("no network namespace came about".to_owned()))?;
        let namespace = File::open(&path).map_err(|error| format!("{path}: {error}"))?;
        let (dials, wanted) = mpsc::sync_channel::<Dial>(64);
        thread::spawn(move || {
            let moved =
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network));
            for (port, waiting) in wanted {
                let stream = match moved {
                    Ok(()) => TcpStream::connect(SocketAddr::from((ADDRESS, port))),
                    Err(error) => Err(error.into()),
                };
                // Who waited may be gone.
                waiting.send(stream).ok();
            }
        });
        Ok(Self { dials })
    }

    /// Connects to a port of the machine.
    ///
    /// # Errors
    ///
    /// When nothing listens there, or the machine is gone.
    pub(crate) fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let (waiting, stream) = mpsc::sync_channel(1);
        let gone = || io::Error::other("the machine is gone");
        self.dials.send((port, waiting)).map_err(|_| gone())?;
        stream.recv().map_err(|_| gone())?
    }
}

/// Returns the signal that a name means.
pub(crate) fn signal(name: &str) -> Option<Signal> {
    Some(match name {
        "SIGINT" => Signal::INT,
        "SIGTERM" => Signal::TERM,
        "SIGQUIT" => Signal::QUIT,
        "SIGHUP" => Signal::HUP,
        "SIGUSR1" => Signal::USR1,
        "SIGUSR2" => Signal::USR2,
        "SIGKILL" => Signal::KILL,
        _ => return None,
    })
}
