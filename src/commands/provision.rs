//! `onsave provision`: makes the app on Fly.io what the configuration says, or shows what it would do.

use std::{
    fs,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::CommandError;
use crate::{
    cli::ProvisionArgs,
    config::{Config, FlyTarget, TargetConfig},
    provision::{
        Found, Goal, Outcome, Provisioner, ServerWish, Site, Teller, choice,
        fly_toml::{self, fly_toml},
        is_older,
        plan::{SecretWish, Step},
        records,
    },
    shown::ShownPath,
    state_folder::SiteState,
    surroundings::Stream,
};

/// What `--json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'a> {
    status: Status,
    app: &'a str,
    steps: Vec<StepOutput>,
    remarks: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    live_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_version: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum Status {
    /// Nothing was done: this is what would be.
    Plan,
    /// Something was done.
    Provisioned,
    /// There was nothing to do.
    InStep,
}

#[derive(Debug, Serialize)]
struct StepOutput {
    step: &'static str,
    what: String,
}

/// Runs the command, and returns what to print.
///
/// # Errors
///
/// [`CommandError`].
pub(super) async fn run(
    args: &ProvisionArgs,
    config: Config,
    state: &SiteState,
) -> Result<String, CommandError> {
    let target = fly_target(&config)?;
    let site = Site {
        config: &config,
        target,
        state,
    };
    let provisioner = Provisioner::new(site, &choice::ask)?;
    let goal = Goal {
        server: if args.rebuild {
            ServerWish::Rebuild
        } else {
            ServerWish::Keep
        },
        secret: SecretWish::Keep,
    };
    let found = provisioner.look(goal).await?;
    if args.plan {
        return Ok(if args.json {
            super::json_line(&plan_output(&found))
        } else {
            plan_text(&found)
        });
    }
    let mut teller = teller();
    if !found.plan.steps.is_empty() {
        teller.say(plan_text(&found).trim_end());
    }
    let outcome = provisioner.apply(found, &mut teller).await?;
    if args.write_fly_toml {
        let path = write_fly_toml(&config, target, &outcome)?;
        teller.say(&format!("wrote {}", ShownPath(&path)));
    }
    Ok(if args.json {
        super::json_line(&outcome_output(&outcome))
    } else {
        outcome_text(&outcome)
    })
}

/// Returns the target on Fly.io.
///
/// # Errors
///
/// [`CommandError::NotFly`] when the site is published to something else.
pub(super) fn fly_target(config: &Config) -> Result<&FlyTarget, CommandError> {
    match &config.target {
        TargetConfig::Fly(target) => Ok(target),
        TargetConfig::Local(_) | TargetConfig::Url(_) => Err(CommandError::NotFly),
    }
}

/// Returns who tells the steps on standard error.
pub(super) fn teller() -> Teller {
    Teller::stderr(if io::stderr().is_terminal() {
        Stream::Terminal
    } else {
        Stream::Other
    })
}

fn step_outputs(steps: &[Step]) -> Vec<StepOutput> {
    let output = |step: &Step| StepOutput {
        step: step.name(),
        what: step.to_string(),
    };
    steps.iter().map(output).collect()
}

fn plan_output(found: &Found) -> Output<'_> {
    Output {
        status: Status::Plan,
        app: found.app(),
        steps: step_outputs(&found.plan.steps),
        remarks: &found.plan.remarks,
        url: None,
        live_url: None,
        server_version: found.health().map(|health| health.server_version.as_str()),
    }
}

fn plan_text(found: &Found) -> String {
    let app = found.app();
    let mut lines = if found.plan.steps.is_empty() {
        vec![format!("nothing to do: the app {app} is as configured")]
    } else {
        let steps = found.plan.steps.iter().map(|step| format!("  {step}"));
        std::iter::once(format!("the app {app} needs:"))
            .chain(steps)
            .collect()
    };
    lines.extend(
        found
            .plan
            .remarks
            .iter()
            .map(|remark| format!("note: {remark}")),
    );
    lines.join("\n") + "\n"
}

fn outcome_output(outcome: &Outcome) -> Output<'_> {
    Output {
        status: if outcome.steps.is_empty() {
            Status::InStep
        } else {
            Status::Provisioned
        },
        app: &outcome.app,
        steps: step_outputs(&outcome.steps),
        remarks: &outcome.remarks,
        url: Some(&outcome.url),
        live_url: Some(&outcome.live_url),
        server_version: outcome
            .health
            .as_ref()
            .map(|health| health.server_version.as_str()),
    }
}

fn outcome_text(outcome: &Outcome) -> String {
    let mut lines = Vec::new();
    if outcome.steps.is_empty() {
        lines.push(format!(
            "nothing to do: the app {} is as configured",
            outcome.app
        ));
    }
    let remarks = outcome.remarks.iter();
    lines.extend(remarks.map(|remark| format!("note: {remark}")));
    if let Some(health) = &outcome.health {
        let (server, client) = (&health.server_version, env!("CARGO_PKG_VERSION"));
        if is_older(server, client) {
            lines.push(format!(
                "note: the server is {server} and this is {client}; --rebuild replaces it"
            ));
        }
    }
    lines.extend(records::lines(&outcome.waiting));
    lines.push(format!("live at {}", outcome.live_url));
    lines.join("\n") + "\n"
}

/// Writes the `fly.toml` beside the configuration; one that somebody else wrote is never replaced.
fn write_fly_toml(
    config: &Config,
    target: &FlyTarget,
    outcome: &Outcome,
) -> Result<PathBuf, CommandError> {
    let path = config.root.join("fly.toml");
    let error = |source| CommandError::FlyToml {
        path: path.clone(),
        source,
    };
    if let Some(text) = read_if_there(&path).map_err(error)?
        && !text.starts_with(fly_toml::FIRST_LINE)
    {
        return Err(CommandError::ForeignFlyToml { path });
    }
    fs::write(&path, fly_toml(&outcome.app, target, &outcome.image)).map_err(error)?;
    Ok(path)
}

fn read_if_there(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
