//! `onsave completions`: the completions of a shell, from the command line's own definition.

use std::io::Write;

use clap::CommandFactory as _;

use super::CommandError;
use crate::cli::{Cli, CompletionsArgs};

/// Prints the completions.
///
/// # Errors
///
/// [`CommandError::Output`].
pub(super) fn run(args: &CompletionsArgs, out: &mut dyn Write) -> Result<(), CommandError> {
    // The generator panics where its writer fails, so it gets one that cannot.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "onsave", &mut script);
    out.write_all(&script)?;
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;
    use clap_complete::Shell;

    use super::*;

    #[test]
    fn every_shell_completes_every_command() {
        for shell in Shell::value_variants() {
            let mut out = Vec::new();
            run(&CompletionsArgs { shell: *shell }, &mut out).unwrap();
            let script = String::from_utf8(out).unwrap();
            for command in Cli::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}: {command}");
            }
        }
    }
}
