//! Options that every command takes by name, but not every command has a use for.
//!
//! The parser takes them everywhere, so that `onsave --dir x publish` and `onsave publish --dir x`
//! are the same. What a command would not look at is refused: who gave it expects something of it.

use clap::{CommandFactory as _, error::ErrorKind};

use super::{Cli, Command, GlobalOptions};

const CONFIG: &str = "--config";
const TARGET: &str = "--target";
const DIR: &str = "--dir";
const LOG_FORMAT: &str = "--log-format";
const QUIET: &str = "--quiet";
const VERBOSE: &str = "--verbose";

impl Cli {
    /// Refuses options that the command has no use for.
    ///
    /// # Errors
    ///
    /// The first such option, said like any fault of the command line.
    pub fn refuse_unused(&self) -> Result<(), clap::Error> {
        let (name, unused): (_, &[_]) = match &self.command {
            // `check` shows what all of them come to, and `doctor` looks at it.
            None
            | Some(
                Command::Watch(_) | Command::Publish(_) | Command::Check(_) | Command::Doctor(_),
            ) => return Ok(()),
            Some(Command::Provision(_)) => ("provision", &[DIR]),
            Some(Command::Domain(_)) => ("domain", &[DIR]),
            // What these set would be forgotten by the service: it belongs into onsave.toml.
            Some(Command::Service(_)) => ("service", &[TARGET, DIR, LOG_FORMAT, QUIET, VERBOSE]),
            Some(Command::Secret(_)) => ("secret", &[DIR]),
            Some(Command::Destroy(_)) => ("destroy", &[DIR]),
            Some(Command::Status(_)) => ("status", &[DIR]),
            Some(Command::Pause(_)) => ("pause", &[DIR]),
            Some(Command::Resume(_)) => ("resume", &[DIR]),
            Some(Command::Logs(_)) => ("logs", &[DIR]),
            Some(Command::Open(_)) => ("open", &[DIR]),
            Some(Command::Deploys(_)) => ("deploys", &[DIR]),
            Some(Command::Rollback(_)) => ("rollback", &[DIR]),
            Some(Command::Deliveries(_)) => ("deliveries", &[DIR]),
            Some(Command::Init) => ("init", &[TARGET, LOG_FORMAT, QUIET, VERBOSE]),
            Some(Command::Completions(_)) => (
                "completions",
                &[CONFIG, TARGET, DIR, LOG_FORMAT, QUIET, VERBOSE],
            ),
            Some(Command::Man(_)) => ("man", &[CONFIG, TARGET, DIR, LOG_FORMAT, QUIET, VERBOSE]),
        };
        let given = self.options.given();
        let Some(option) = unused.iter().find(|option| given.contains(option)) else {
            return Ok(());
        };
        let message = format!("`onsave {name}` has no use for {option}");
        Err(Self::command().error(ErrorKind::ArgumentConflict, message))
    }
}

impl GlobalOptions {
    fn given(&self) -> Vec<&'static str> {
        let options = [
            (CONFIG, self.config.is_some()),
            (TARGET, self.target.is_some()),
            (DIR, self.dir.is_some()),
            (LOG_FORMAT, self.log_format.is_some()),
            (QUIET, self.quiet),
            (VERBOSE, self.verbose > 0),
        ];
        let given = options.into_iter().filter(|(_, given)| *given);
        given.map(|(option, _)| option).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn refusal(line: &str) -> Option<String> {
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        cli.refuse_unused().err().map(|error| error.to_string())
    }

    #[test]
    fn what_a_command_would_not_look_at_is_refused() {
        for (line, option) in [
            ("onsave deploys --dir x", "--dir"),
            ("onsave --dir x rollback", "--dir"),
            ("onsave service install --target local", "--target"),
            ("onsave init --target local", "--target"),
            ("onsave -q init", "--quiet"),
            ("onsave man --config x.toml", "--config"),
            ("onsave completions bash -vv", "--verbose"),
            ("onsave completions bash --log-format json", "--log-format"),
        ] {
            let said = refusal(line).unwrap_or_else(|| panic!("{line} passes"));
            assert!(said.contains(&format!("has no use for {option}")), "{said}");
        }
    }

    #[test]
    fn what_a_command_uses_passes() {
        for line in [
            "onsave --dir x --target local -v",
            "onsave publish --dir x --config y --log-format json",
            "onsave check --dir x --config y --target local -q",
            "onsave deploys --target local --config y -q",
            "onsave init --dir x --config y",
            "onsave man --out x",
        ] {
            assert_eq!(refusal(line), None, "{line}");
        }
    }
}
