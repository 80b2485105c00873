//! `onsave destroy`: removes the app on Fly.io with everything in it, after its name was typed.
//!
//! An app that runs anything that was not made here is left alone, whatever was typed.

use std::io::{self, IsTerminal as _, Write as _};

use super::{CommandError, provision::fly_target};
use crate::{
    cli::DestroyArgs,
    config::Config,
    fly::resources::AppLookup,
    provision::{self, ProvisionError, Record, plan::other_machines, platform::Platform},
    state_folder::SiteState,
};

/// Runs the command, and returns what to print.
///
/// # Errors
///
/// [`CommandError`]; [`CommandError::NotConfirmed`] when the name was not typed, and
/// [`CommandError::OthersInApp`]: nothing was removed then.
pub(super) async fn run(
    args: &DestroyArgs,
    config: Config,
    state: &SiteState,
) -> Result<String, CommandError> {
    let target = fly_target(&config)?;
    let platform = Platform::of(target)?;
    let app = provision::app_name(&config, state);
    let there = platform.app(&app).await?;
    match there {
        AppLookup::Ours(_) => {}
        AppLookup::Free => {
            state.forget_fly()?;
            return Ok(done(&app, args.json, "there is no app"));
        }
        AppLookup::TakenByOthers => return Err(ProvisionError::NameTaken(app).into()),
    }
    let record = Record::load(&state.fly_record());
    let is_remembered = record.is_some_and(|record| record.app == app);
    let others = other_machines(&platform.machines(&app).await?, is_remembered);
    if !others.is_empty() {
        return Err(CommandError::OthersInApp {
            app,
            machines: others,
        });
    }
    let typed = match &args.confirm {
        Some(name) => name.clone(),
        None => ask(&app)?,
    };
    if typed.trim() != app {
        return Err(CommandError::NotConfirmed { app });
    }
    let _lock = provision::lock(state).await?;
    platform.delete_app(&app).await?;
    state.forget_fly()?;
    Ok(done(&app, args.json, "destroyed"))
}

/// Asks a person to type the app's name.
fn ask(app: &str) -> Result<String, CommandError> {
    if !io::stdin().is_terminal() {
        return Err(CommandError::NotConfirmed {
            app: app.to_owned(),
        });
    }
    let mut out = io::stderr();
    writeln!(
        out,
        "this removes the app {app}: its machine, its volume with every deploy, its addresses and its \
         certificates; the site folder stays"
    )?;
    write!(out, "type the app's name to go on: ")?;
    out.flush()?;
    let mut typed = String::new();
    io::stdin().read_line(&mut typed)?;
    Ok(typed)
}

fn done(app: &str, json: bool, what: &str) -> String {
    if json {
        super::json_line(&serde_json::json!({ "status": "destroyed", "app": app }))
    } else {
        format!("{what} {app}; the site folder is as it was\n")
    }
}
