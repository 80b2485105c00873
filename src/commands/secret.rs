//! `onsave secret rotate`: another secret for the app on Fly.io, with no publish refused meanwhile.
//!
//! The server takes the new one and the one before it, so that a daemon elsewhere goes on until it
//! has the new one.

use super::{
    CommandError,
    provision::{fly_target, teller},
};
use crate::{
    cli::RotateArgs,
    config::Config,
    provision::{
        Goal, Provisioner, ServerWish, Site, choice,
        plan::{SecretReason, SecretWish, Step},
    },
    state_folder::SiteState,
};

/// Runs the command, and returns what to print.
///
/// # Errors
///
/// [`CommandError`].
pub(super) async fn rotate(
    args: &RotateArgs,
    config: Config,
    state: &SiteState,
) -> Result<String, CommandError> {
    let target = fly_target(&config)?;
    if let Some(given) = &target.secret {
        return Err(CommandError::GivenSecret {
            origin: given.source.to_string(),
        });
    }
    let site = Site {
        config: &config,
        target,
        state,
    };
    let provisioner = Provisioner::new(site, &choice::ask)?;
    let goal = Goal {
        server: ServerWish::Keep,
        secret: SecretWish::Rotate,
    };
    let found = provisioner.look(goal).await?;
    // A secret for nothing is no reason to make an app.
    if found.plan.steps.contains(&Step::CreateApp) {
        let app = found.app().to_owned();
        return Err(CommandError::NoApp { app });
    }
    let mut teller = teller();
    let outcome = provisioner.apply(found, &mut teller).await?;
    for remark in &outcome.remarks {
        teller.say(&format!("note: {remark}"));
    }
    let file = state.fly_secret_file();
    let goes_on = outcome
        .steps
        .contains(&Step::SetSecret(SecretReason::Rotated));
    Ok(if args.json {
        super::json_line(&serde_json::json!({
            "status": "rotated",
            "app": outcome.app,
            "secretFile": file.display().to_string(),
            "previousIsTaken": goes_on,
        }))
    } else {
        let before = if goes_on {
            ", and the one before it until the next rotation"
        } else {
            " alone"
        };
        format!(
            "rotated: {} takes the new secret{before}; the new one is in {}\n",
            outcome.app,
            file.display()
        )
    })
}
