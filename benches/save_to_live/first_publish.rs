//! A first publish of a whole site against `rsync -a` to a local rsync daemon, in turns, so that both
//! meet the machine in the same state.

use std::{
    fs,
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    big_site,
    harness::World,
    samples::{Samples, milliseconds},
};

/// What was measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pages: u32,
    bytes: u64,
    onsave: Samples,
    rsync: Samples,
}

/// Measures both, `rounds` times each, every time into an empty volume.
pub(crate) fn measure(pages: u32, rounds: u32) -> Measured {
    let mut measured = Measured {
        pages,
        bytes: 0,
        onsave: Samples::default(),
        rsync: Samples::default(),
    };
    for _ in 0..rounds {
        let world = World::new();
        big_site::write(&world.site, pages);
        measured.bytes = world
            .site
            .tree()
            .values()
            .map(|bytes| bytes.len() as u64)
            .sum();
        // What is still to be written for one must not be waited for by the other.
        rustix::fs::sync();
        measured.rsync.push(rsync(&world));
        rustix::fs::sync();
        let started = Instant::now();
        world.run_well(&["publish"]);
        measured.onsave.push(started.elapsed());
    }
    measured
}

/// Prints what was measured as a table.
pub(crate) fn print(measured: &Measured, out: &mut impl Write) -> io::Result<()> {
    let megabytes = measured.bytes as f64 / 1e6;
    writeln!(
        out,
        "\nFirst publish of {} pages, {megabytes:.0} MB, in ms:\n",
        measured.pages
    )?;
    writeln!(out, "| | p50 / p95 / max |\n|---|---:|")?;
    writeln!(
        out,
        "| onsave publish, durable | {} |",
        measured.onsave.cell()
    )?;
    writeln!(out, "| rsync -a, not durable | {} |", measured.rsync.cell())?;
    let [ours, theirs] = [&measured.onsave, &measured.rsync].map(|samples| samples.percentile(50));
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    writeln!(
        out,
        "\n{ratio:.2} times rsync ({} ms to {} ms).",
        milliseconds(ours),
        milliseconds(theirs)
    )
}

/// Copies the site to an rsync daemon and returns how long it took.
fn rsync(world: &World) -> Duration {
    let copy = world.path("rsync-copy");
    fs::create_dir(&copy).expect("the folder is new");
    let configuration = world.path("rsyncd.conf");
    fs::write(&configuration, daemon_configuration(&copy)).expect("it can be written");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");

    let started = Instant::now();
    let mut client = copy_to(world, address)
        .spawn()
        .expect("rsync is there; scripts/test installs it");
    let (connection, _) = listener.accept().expect("rsync connects");
    // A daemon whose standard input is a socket serves that one connection, as under inetd.
    let mut daemon = Command::new("rsync")
        .arg("--daemon")
        .arg("--config")
        .arg(&configuration)
        .stdin(Stdio::from(OwnedFd::from(connection)))
        .spawn()
        .expect("rsync is there");
    let status = client.wait().expect("a child can be waited for");
    let took = started.elapsed();
    assert!(status.success(), "rsync: {status}");
    daemon.wait().expect("a child can be waited for");
    assert!(
        copy.join(big_site::EDITED).is_file(),
        "rsync copied the site"
    );
    took
}

fn copy_to(world: &World, address: SocketAddr) -> Command {
    let mut command = Command::new("rsync");
    command
        .arg("-a")
        .arg(format!("{}/", world.site.root().display()))
        .arg(format!("rsync://{address}/site/"));
    command
}

fn daemon_configuration(copy: &Path) -> String {
    // Root would be given up for nobody, who may not write there; others cannot change who they
    // are.
    let user = if rustix::process::geteuid().is_root() {
        "uid = root\ngid = root\n"
    } else {
        ""
    };
    format!(
        "use chroot = no\n{user}log file = /dev/null\n[site]\npath = {}\nread only = no\n",
        copy.display()
    )
}
