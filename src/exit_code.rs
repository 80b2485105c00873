//! The exit codes of `onsave`, one enum: what the help lists, what scripts can rely on.
//!
//! A code never changes its meaning; a new reason gets a new code. Which error gets which code is
//! decided by [`crate::commands::CommandError`], by type.

/// What the process says about its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Done; also `watch` that was stopped with Ctrl-C.
    Ok = 0,
    /// Any failure without a code of its own.
    Failure = 1,
    /// The command line was not understood; clap ends the process with it.
    Usage = 2,
    /// The configuration has faults.
    Configuration = 3,
    /// The target did not answer.
    Unreachable = 4,
    /// The target refused: wrong secret, or a request that it does not allow.
    Refused = 5,
    /// The publish would remove too much and was held.
    Held = 6,
    /// A file would have been skipped, and `strict` forbids that.
    Strict = 7,
    /// The site folder is missing or cannot be read.
    SiteFolder = 8,
    /// `doctor` found something that is broken.
    Unwell = 9,
    /// Another process watches this site already.
    AlreadyWatched = 10,
    /// The build command failed.
    Build = 11,
    /// Ctrl-C ended a command before it was done.
    Interrupted = 130,
}

impl ExitCode {
    /// Every code, in the order of the help.
    pub const ALL: [Self; 13] = [
        Self::Ok,
        Self::Failure,
        Self::Usage,
        Self::Configuration,
        Self::Unreachable,
        Self::Refused,
        Self::Held,
        Self::Strict,
        Self::SiteFolder,
        Self::Unwell,
        Self::AlreadyWatched,
        Self::Build,
        Self::Interrupted,
    ];

    /// Returns the number that the shell sees.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Returns what the help says about the code.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done; also when Ctrl-C ends `watch`",
            Self::Failure => "failed for a reason without a code of its own",
            Self::Usage => "the command line was not understood",
            Self::Configuration => "the configuration has faults; `onsave check` lists them",
            Self::Unreachable => "the target did not answer",
            Self::Refused => "the target refused, for example because the secret is wrong",
            Self::Held => "held: would remove too many files; see `publish --allow-removals`",
            Self::Strict => "a file would be skipped, and --strict forbids that",
            Self::SiteFolder => "the site folder is missing or cannot be read",
            Self::Unwell => "`doctor` found something that is broken",
            Self::AlreadyWatched => "another process watches this site already",
            Self::Build => "the build command failed",
            Self::Interrupted => "ended by Ctrl-C before it was done",
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}

/// Returns the section of the help that lists every code.
#[must_use]
pub fn help_section() -> String {
    let lines = ExitCode::ALL.map(|code| format!("  {:>3}  {}\n", code.number(), code.meaning()));
    format!("Exit codes:\n{}", lines.concat())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_are_the_documented_ones() {
        let numbers = ExitCode::ALL.map(ExitCode::number);
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 130]);
        assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), numbers.len());
    }

    #[test]
    fn the_section_names_every_code_once() {
        let section = help_section();
        for code in ExitCode::ALL {
            let line = format!("{:>3}  {}", code.number(), code.meaning());
            assert_eq!(section.matches(&line).count(), 1, "{line}");
        }
    }
}
