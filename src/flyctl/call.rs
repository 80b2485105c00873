//! One call: a command is run, and what comes of it is its answer or an error.
//!
//! Owns what an error may show: nothing that is secret, and all else where it is not understood.

use std::{collections::BTreeMap, ffi::OsString};

use super::{
    Flyctl, FlyctlError,
    command::Command,
    error::{Failure, Words},
    process::{Run, RunError, Said, run},
};
use crate::fly::{Reason, told_reason};

/// What stands where a secret stood.
const MASK: &str = "****";

impl Flyctl {
    /// Runs a command, and reads what it prints.
    pub(super) async fn read<T>(
        &self,
        command: Command<'_>,
        answer: fn(&[u8]) -> serde_json::Result<T>,
    ) -> Result<T, FlyctlError> {
        let said = self.done(command).await?;
        answer(&said.stdout).map_err(|source| FlyctlError::NotUnderstood {
            asked: command.asked(),
            said: Words::of(&self.masked(&text_of(&said), &[])),
            source,
        })
    }

    /// Runs a command that reads nothing.
    pub(super) async fn done(&self, command: Command<'_>) -> Result<Said, FlyctlError> {
        self.run(command, None, &[]).await
    }

    /// Runs a command; `hidden` is what no error may repeat.
    pub(super) async fn run(
        &self,
        command: Command<'_>,
        input: Option<&[u8]>,
        hidden: &[&str],
    ) -> Result<Said, FlyctlError> {
        let Some(program) = &self.setup.program else {
            return Err(FlyctlError::Missing);
        };
        let arguments = command.arguments();
        let limit = command.limit();
        let variables = self.variables();
        tracing::debug!(?arguments, "running flyctl");
        let outcome = run(Run {
            program,
            arguments: &arguments,
            variables: &variables,
            input,
            limit,
        });
        let shown = |said: &Said| self.masked(&text_of(said), hidden);
        match outcome.await {
            Ok(said) if said.is_success => Ok(said),
            Ok(said) => Err(failed(command, &shown(&said))),
            Err(RunError::Start(source)) => Err(FlyctlError::NotRun {
                program: program.clone(),
                source,
            }),
            Err(RunError::TooSlow(said)) => Err(FlyctlError::TooSlow {
                asked: command.asked(),
                limit,
                said: Words::of(&shown(&said)),
            }),
        }
    }

    /// Returns its environment: the configured token is in it, and not among its arguments.
    fn variables(&self) -> BTreeMap<OsString, OsString> {
        let mut variables = self.setup.variables.clone();
        if let Some((given, _)) = &self.token {
            let text = String::from_utf8_lossy(given.expose());
            variables.insert("FLY_API_TOKEN".into(), text.trim().into());
        }
        variables
    }

    fn masked(&self, text: &str, hidden: &[&str]) -> String {
        let text = match &self.token {
            Some((_, token)) => token.masked(text),
            None => text.to_owned(),
        };
        let hidden = hidden.iter().filter(|value| !value.is_empty());
        hidden.fold(text, |text, value| text.replace(value, MASK))
    }
}

/// Returns all that was said: what went well first, then the error.
fn text_of(said: &Said) -> String {
    let [out, err] = [&said.stdout, &said.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{}\n{}", out.trim_end(), err.trim_end())
}

/// Returns what a failure means, with flyctl's own sentence where that is understood.
fn failed(command: Command<'_>, said: &str) -> FlyctlError {
    let asked = command.asked();
    let sentence = said
        .find("Error: ")
        .map(|at| said[at..].trim_start_matches("Error: "));
    let reason = told_reason(asked.action, sentence.unwrap_or(said));
    let shown = match sentence {
        Some(sentence) if reason != Reason::Unknown => sentence,
        _ => said,
    };
    FlyctlError::Failed(Box::new(Failure {
        said: Words::of(shown),
        asked,
        reason,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_understood_is_told_short_and_the_rest_whole() {
        let command = Command::CreateApp {
            app: "site",
            organisation: "personal",
        };
        let known = "automatically selected\nError: Validation failed: Name has already been taken";
        let error = failed(command, known);
        assert_eq!(error.reason(), Some(&Reason::NameTaken));
        let text = error.to_string();
        assert!(
            text.ends_with("flyctl failed: Validation failed: Name has already been taken"),
            "{text}"
        );
        let strange = failed(
            command,
            "first\nError: something strange (Request ID: 01-arn)",
        );
        assert_eq!(strange.reason(), Some(&Reason::Unknown));
        let text = strange.to_string();
        assert!(text.contains("first") && text.contains("01-arn"), "{text}");
    }
}
