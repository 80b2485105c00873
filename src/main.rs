//! The `onsave` command: parse, build the runtime, run, and turn the outcome into an exit code.

use std::{io, process};

use anyhow::Context as _;
use clap::Parser as _;
use onsave::{cli::Cli, commands, error_report, surroundings::Surroundings};

fn main() -> process::ExitCode {
    // Ends the process itself when the command line is not understood, or asks for help.
    let cli = Cli::parse();
    if let Err(error) = cli.refuse_unused() {
        error.exit();
    }
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            // Nobody is left to tell when standard error is gone.
            drop(error_report::write(&mut io::stderr(), error.as_ref(), None));
            process::ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<process::ExitCode> {
    // The only error is that there is a provider already, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    let surroundings = Surroundings::of_process().context("failed to read the working folder")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let outcome = runtime.block_on(commands::run(cli, &surroundings, &mut io::stdout()));
    let code = error_report::outcome(&outcome, &mut io::stderr());
    Ok(code.into())
}
