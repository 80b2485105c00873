//! The `onsave-server` command: flags and environment, logging, a runtime, and the exit code.
//!
//! No logic lives here that a test could want to reach; see [`onsave_server::cli`].

use std::{
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroUsize,
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use clap::Parser as _;
use onsave_server::{
    Store,
    cli::{Arguments, Command, ServeCommand, exit_code, reachable},
    health,
    metrics::{Metrics, serve_metrics},
    observer::AccessLog,
    serve,
    service_manager::ServiceManager,
    shutdown::ShutdownSignals,
    store, telemetry,
};
use tokio::{
    net::TcpListener,
    runtime::{self, Runtime},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let done = match Arguments::parse().resolve(&|name| std::env::var_os(name)) {
        Ok(Command::Verify { root }) => verify(&root),
        Ok(Command::Health { address }) => check_health(address),
        Ok(Command::Serve(command)) => run(*command),
        Err(faults) => {
            complain(&anyhow::Error::new(faults));
            return exit_code::USAGE.into();
        }
    };
    done.unwrap_or_else(|error| {
        complain(&error);
        exit_code::FAILURE.into()
    })
}

fn complain(error: &anyhow::Error) {
    // Nobody is left to be told when standard error is closed.
    let _written = writeln!(io::stderr(), "onsave-server: {error:#}");
}

fn verify(root: &std::path::Path) -> anyhow::Result<ExitCode> {
    let report = store::verify(root).context("the volume cannot be checked")?;
    writeln!(io::stdout(), "{report}").context("the report cannot be written")?;
    let code = if report.is_damaged() {
        exit_code::DAMAGED
    } else {
        exit_code::OK
    };
    Ok(code.into())
}

fn check_health(address: SocketAddr) -> anyhow::Result<ExitCode> {
    health::ask(address).with_context(|| format!("the server at {address} is not well"))?;
    Ok(exit_code::OK.into())
}

fn run(command: ServeCommand) -> anyhow::Result<ExitCode> {
    telemetry::start(command.log_format, &command.log_filter)?;
    let runtime = runtime().context("the runtime cannot be started")?;
    runtime.block_on(serve_until_signal(command))?;
    Ok(exit_code::OK.into())
}

/// Returns a runtime for the processors that this process may use.
///
/// One processor, as the smallest machines have, is served best by one thread that does everything:
/// no connection is handed from one thread to another.
fn runtime() -> io::Result<Runtime> {
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    if processors == 1 {
        runtime::Builder::new_current_thread().enable_all().build()
    } else {
        Runtime::new()
    }
}

async fn serve_until_signal(command: ServeCommand) -> anyhow::Result<()> {
    let signals = ShutdownSignals::new().context("signals cannot be received")?;
    let listener = bind(command.address, command.port).await?;
    let local = listener.local_addr().context("the address is unknown")?;
    let metrics_listener = match command.metrics_address {
        Some(address) => {
            let bound = TcpListener::bind(address).await;
            Some(bound.with_context(|| format!("cannot listen for scrapes on {address}"))?)
        }
        None => None,
    };
    let options = command.store;
    let mut manager = ServiceManager::find(&|name| std::env::var_os(name), std::process::id());
    manager.status("opening the volume");
    let store = tokio::task::spawn_blocking(move || Store::open(options)).await??;
    say(format_args!(
        "onsave-server ready on http://{}",
        reachable(local)
    ))?;
    let mut config = command.config;
    let stop = CancellationToken::new();
    let mut scrapes = JoinSet::new();
    if let Some(listener) = metrics_listener {
        let local = listener.local_addr().context("the address is unknown")?;
        let place = reachable(local);
        say(format_args!(
            "onsave-server metrics on http://{place}/metrics"
        ))?;
        let metrics = Arc::new(Metrics::default());
        config.observation.metrics = Some(Arc::clone(&metrics));
        let stopped = stop.clone().cancelled_owned();
        scrapes.spawn(serve_metrics(listener, metrics, store.clone(), stopped));
    }
    if let Some(format) = command.access_log {
        let log = AccessLog::start(format, io::stdout());
        config.observation.access_log =
            Some(Arc::new(log.context("the access log cannot be started")?));
    }
    manager.ready();
    manager.status(&format!("serving at http://{}", reachable(local)));
    let shutdown = async {
        tokio::select! {
            () = signals.received() => {}
            // In the same task as the accept loop: one that is stuck lets nobody be fed.
            () = manager.feed() => {}
        }
        manager.stopping("finishing what is under way");
    };
    let served = serve(config, store, listener, shutdown).await;
    stop.cancel();
    scrapes.join_all().await;
    Ok(served?)
}

fn say(line: std::fmt::Arguments<'_>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .context("the ready line cannot be written")
}

/// Listens on `address`, or on every address of the machine.
async fn bind(address: Option<IpAddr>, port: u16) -> anyhow::Result<TcpListener> {
    let address = address.unwrap_or(Ipv6Addr::UNSPECIFIED.into());
    match TcpListener::bind((address, port)).await {
        // A machine without IPv6 has no address of this family.
        Err(error) if address.is_unspecified() && error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
        }
        bound => bound,
    }
    .with_context(|| format!("cannot listen on port {port} of {address}"))
}
