//! How a service stands, for a person and for a program.

use std::path::Path;

use crate::{exit_code::ExitCode, service::ServiceState};

/// Returns the lines for a person.
pub(super) fn as_text(unit: &str, state: &ServiceState) -> String {
    let mut lines = vec![first_line(unit, state)];
    lines.extend(state.text.clone());
    lines.extend(how_it_ended(state).map(|ended| format!("the last run {ended}")));
    if state.restarts > 0 {
        lines.push(format!("started again by itself: {}", state.restarts));
    }
    if !state.is_enabled {
        lines.push(
            "not started by itself at the next login; `onsave service install` mends that"
                .to_owned(),
        );
    }
    lines.join("\n") + "\n"
}

fn first_line(unit: &str, state: &ServiceState) -> String {
    let ServiceState { active, sub, .. } = state;
    let more = if sub.is_empty() || sub == active {
        String::new()
    } else {
        format!(" ({sub})")
    };
    let since = state.since.as_ref();
    let since = since.map_or_else(String::new, |since| format!(" since {since}"));
    let process = state.pid;
    let process = process.map_or_else(String::new, |pid| format!(", process {pid}"));
    format!("{unit}: {active}{more}{since}{process}")
}

/// Returns the object for a program.
pub(super) fn as_json(unit: &str, file: &Path, state: &ServiceState) -> serde_json::Value {
    serde_json::json!({
        "status": "shown",
        "unit": unit,
        "file": file.display().to_string(),
        "active": state.active,
        "sub": state.sub,
        "since": state.since,
        "text": state.text,
        "pid": state.pid,
        "restarts": state.restarts,
        "result": state.result,
        "exitCode": state.exit_code,
        "enabled": state.is_enabled,
    })
}

/// Returns how the last run ended, where it did not end as asked.
pub(super) fn how_it_ended(state: &ServiceState) -> Option<String> {
    if matches!(state.result.as_str(), "success" | "") {
        return None;
    }
    let Some(number) = state.exit_code else {
        return Some(format!("ended by {}", state.result));
    };
    let known = ExitCode::ALL
        .into_iter()
        .find(|code| code.number() == number);
    Some(match known {
        Some(code) => format!("ended with {number}: {}", code.meaning()),
        None => format!("ended with {number}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_told_in_words() {
        let unit = "onsave-blog.service";
        let mut state = ServiceState {
            active: "active".into(),
            sub: "running".into(),
            since: Some("Tue 2026-11-24 13:35:01 UTC".into()),
            text: Some("live: http://127.0.0.1:8080".into()),
            pid: Some(7),
            result: "success".into(),
            is_enabled: true,
            ..ServiceState::default()
        };
        assert_eq!(
            as_text(unit, &state),
            "onsave-blog.service: active (running) since Tue 2026-11-24 13:35:01 UTC, process 7\n\
             live: http://127.0.0.1:8080\n"
        );
        state.exit_code = Some(3);
        state.result = "exit-code".into();
        state.restarts = 2;
        let text = as_text(unit, &state);
        assert!(text.contains("the last run ended with 3: the configuration has faults"));
        assert!(text.contains("started again by itself: 2\n"));
        state.exit_code = None;
        state.result = "watchdog".into();
        assert_eq!(how_it_ended(&state).unwrap(), "ended by watchdog");
    }
}
