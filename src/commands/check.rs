//! `onsave check`: the configuration as resolved, with the source of each value, or every fault.
//!
//! Asks nothing of the target, and makes nothing: it can run anywhere, at any time. A secret is
//! shown as `****`, always.

use std::io::Write;

use serde_json::{Value, json};

use super::CommandError;
use crate::{
    cli::CheckArgs,
    config::{self, ConfigError, FlagLayer, Loaded, SettingValue},
    state_folder::SiteState,
    surroundings::Surroundings,
};

/// Prints the configuration.
///
/// # Errors
///
/// [`CommandError::Faults`] when it has faults; with `--json`, they are printed as well.
pub(super) fn run(
    args: &CheckArgs,
    surroundings: &Surroundings,
    flags: &FlagLayer,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let loaded = match config::load(surroundings, flags) {
        Ok(loaded) => loaded,
        Err(error) => {
            if args.json {
                writeln!(out, "{:#}", faults_json(&error))?;
            }
            return Err(CommandError::Faults(error));
        }
    };
    let state = SiteState::locate(surroundings, &loaded.config.root).ok();
    if args.json {
        writeln!(out, "{:#}", loaded_json(&loaded, state.as_ref()))?;
    } else {
        print(&loaded, state.as_ref(), out)?;
    }
    Ok(out.flush()?)
}

fn print(
    loaded: &Loaded,
    state: Option<&SiteState>,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    match &loaded.file {
        Some(file) => writeln!(out, "file   {}", file.display())?,
        None => writeln!(out, "file   none; `onsave init` writes one")?,
    }
    match state {
        Some(state) => writeln!(out, "state  {}\n", state.folder().display())?,
        None => writeln!(
            out,
            "state  none: there is no home folder; set XDG_STATE_HOME\n"
        )?,
    }
    let widest = |width: fn(&config::Setting) -> usize| loaded.settings.iter().map(width).max();
    let key_width = widest(|setting| setting.key.len()).unwrap_or(0);
    let value_width = widest(|setting| setting.value.to_string().chars().count()).unwrap_or(0);
    for setting in &loaded.settings {
        let value = setting.value.to_string();
        // A value that is not set comes from nowhere.
        let source = match setting.value {
            SettingValue::Unset => String::new(),
            _ => setting.source.to_string(),
        };
        let line = format!("{:key_width$}  {value:value_width$}  {source}", setting.key);
        writeln!(out, "{}", line.trim_end())?;
    }
    for absent in &loaded.absent {
        writeln!(out, "\nwarning: {absent}; the daemon needs it")?;
    }
    for warning in &loaded.warnings {
        writeln!(out, "\nwarning: {warning}")?;
    }
    Ok(())
}

fn loaded_json(loaded: &Loaded, state: Option<&SiteState>) -> Value {
    let settings: Vec<_> = loaded
        .settings
        .iter()
        .map(|setting| {
            let value = match &setting.value {
                SettingValue::Unset => Value::Null,
                SettingValue::Text(text) => json!(text),
                SettingValue::Whole(number) => json!(number),
                SettingValue::Switch(value) => json!(value),
                SettingValue::Texts(texts) => json!(texts),
            };
            json!({
                "key": setting.key,
                "value": value,
                "source": setting.source.to_string(),
            })
        })
        .collect();
    json!({
        "file": loaded.file.as_ref().map(|file| file.display().to_string()),
        "state": state.map(|state| state.folder().display().to_string()),
        "settings": settings,
        "warnings": loaded.warnings,
    })
}

fn faults_json(error: &ConfigError) -> Value {
    let faults: Vec<_> = error
        .faults
        .iter()
        .map(|fault| {
            json!({
                "key": fault.key,
                "value": fault.value,
                "source": fault.source.to_string(),
                "problem": fault.problem,
            })
        })
        .collect();
    json!({ "faults": faults })
}
