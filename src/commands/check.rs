//! `onsave check`: the configuration as resolved, with the source of each value, or every fault.
//!
//! Asks nothing of the target, and makes nothing: it can run anywhere, at any time. A secret is
//! shown as `****`, always.

use std::{fmt::Write as _, io::Write, time::Duration};

use serde_json::{Value, json};

use super::CommandError;
use crate::{
    cli::CheckArgs,
    config::{self, ConfigError, FlagLayer, Loaded, Quiet, SettingValue},
    rhythm::{self, Habit, Rhythm},
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
    write!(out, "\n{}", settle_text(loaded, state))?;
    for absent in &loaded.absent {
        writeln!(out, "\nwarning: {absent}; the daemon needs it")?;
    }
    for warning in &loaded.warnings {
        writeln!(out, "\nwarning: {warning}")?;
    }
    Ok(())
}

/// Returns how long a save waits before it is published, and why.
fn settle_text(loaded: &Loaded, state: Option<&SiteState>) -> String {
    match loaded.config.watch.quiet {
        Quiet::Fixed(quiet) => {
            let quiet = quiet.as_millis();
            format!("settle  a save waits {quiet} ms, as watch.quiet_ms says; nothing is learned\n")
        }
        Quiet::Learned => learned_text(&kept_rhythm(state)),
    }
}

fn kept_rhythm(state: Option<&SiteState>) -> Rhythm {
    state.map_or_else(Rhythm::default, |state| rhythm::kept::load(&state.rhythm()))
}

fn learned_text(rhythm: &Rhythm) -> String {
    let mut text = "settle  how long a save waits, as learned from this site's saves\n".to_owned();
    for habit in Habit::ALL {
        let evidence = rhythm.evidence(habit);
        let why = match (evidence.single < evidence.needed, evidence.longest_gap) {
            (true, None) => format!(
                "{} of {} single saves seen",
                evidence.single, evidence.needed
            ),
            (true, Some(gap)) => format!(
                "{} of {} single saves seen; a burst went on after {}",
                evidence.single,
                evidence.needed,
                milliseconds(gap)
            ),
            (false, None) => format!("{} single saves, and no burst", evidence.single),
            (false, Some(gap)) => format!(
                "{} single saves; a burst went on after {}",
                evidence.single,
                milliseconds(gap)
            ),
        };
        let wait = milliseconds(rhythm.wait(habit));
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "  {:21}  {wait:>8}  {why}", habit.name());
    }
    if let Some(pause) = rhythm.longest_pause() {
        let wait = milliseconds(rhythm.burst_wait().max(rhythm::SAFE * 2));
        let why = format!("the longest pause in one was {}", milliseconds(pause));
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "  {:21}  {wait:>8}  {why}", "a burst, at least");
    }
    text
}

fn milliseconds(time: Duration) -> String {
    let tenths = (time.as_secs_f64() * 1e4).round() / 10.0;
    format!("{tenths} ms")
}

fn settle_json(loaded: &Loaded, state: Option<&SiteState>) -> Value {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    match loaded.config.watch.quiet {
        Quiet::Fixed(quiet) => json!({ "learned": false, "quietMs": milliseconds(quiet) }),
        Quiet::Learned => {
            let rhythm = kept_rhythm(state);
            let habits = Habit::ALL.map(|habit| {
                let evidence = rhythm.evidence(habit);
                json!({
                    "habit": habit.name(),
                    "waitMs": milliseconds(rhythm.wait(habit)),
                    "singleSaves": evidence.single,
                    "singleSavesNeeded": evidence.needed,
                    "longestGapMs": evidence.longest_gap.map(milliseconds),
                })
            });
            json!({
                "learned": true,
                "habits": habits,
                "longestPauseMs": rhythm.longest_pause().map(milliseconds),
            })
        }
    }
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
        "settle": settle_json(loaded, state),
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
