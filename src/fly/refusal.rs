//! What a refusal means: a pure reading of status and body.
//!
//! Several services answer behind one host, so an error is one of two JSON shapes or plain text. The
//! status and the platform's own word for it (`status`) decide first; its sentences only where there
//! is nothing else. What is not known stays whole, with its request id.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{
    action::{Action, Asked},
    error::{DASHBOARD, Reason, Refusal},
};
use crate::{http::Answer, shown::ShownText};

/// How much of an answer is shown, in bytes.
const SHOWN_BYTES: usize = 2 * 1024;

/// The text of a route that does not exist.
const NO_ROUTE: &str = "404 page not found";

/// Where a person unlocks an account, when an answer names no page.
const UNLOCK: &str = "https://fly.io/high-risk-unlock";

/// Where a person ends the free trial, when an answer names no page.
const TRIAL: &str = "https://fly.io/trial";

/// An error as JSON; not every service fills the same fields.
#[derive(Debug, Default, Deserialize)]
struct Body {
    #[serde(default)]
    error: Value,
    #[serde(default)]
    message: Value,
    #[serde(default)]
    msg: Value,
    #[serde(default)]
    status: Value,
}

/// Returns what `answer`, of status 300 and above, means; `masked` hides what nobody may see.
pub(super) fn read(asked: &Asked, answer: &Answer, masked: impl Fn(&str) -> String) -> Refusal {
    let raw = String::from_utf8_lossy(&answer.body);
    let body: Body = serde_json::from_slice(&answer.body).unwrap_or_default();
    let said = [&body.error, &body.message, &body.msg]
        .into_iter()
        .find_map(|field| field.as_str().filter(|text| !text.trim().is_empty()));
    let text = said.unwrap_or(&raw);
    let code = body.status.as_str().unwrap_or_default();
    let reason = recognise(asked.action, answer.status, code, text);
    // What was not understood may have its sense in a field that was not looked at.
    let shown = if reason == Reason::Unknown {
        &raw
    } else {
        text
    };
    Refusal {
        asked: asked.clone(),
        status: answer.status,
        message: shown_text(&masked(shown)),
        request_id: answer.header("fly-request-id").map(str::to_owned),
        retry_after: retry_after(answer),
        reason,
    }
}

/// Returns a refusal that came with a status of success, as GraphQL's do.
pub(super) fn spoken(asked: &Asked, answer: &Answer, message: &str) -> Refusal {
    let (reason, status) = match message {
        text if holds(
            text,
            &["not authorized", "unauthorized", "not authenticated"],
        ) =>
        {
            (Reason::BadToken, 401)
        }
        text => (recognise(asked.action, 200, "", text), answer.status),
    };
    Refusal {
        asked: asked.clone(),
        status,
        message: shown_text(message),
        request_id: answer.header("fly-request-id").map(str::to_owned),
        retry_after: None,
        reason,
    }
}

/// Returns what a refusal means that a tool tells in words, without a status or an answer.
pub(crate) fn told_reason(action: Action, text: &str) -> Reason {
    by_text(action, text)
        .or_else(|| by_tool(action, text))
        .unwrap_or(Reason::Unknown)
}

/// The platform's own words and the tool's sentences, as far as they are not the platform's.
fn by_tool(action: Action, text: &str) -> Option<Reason> {
    let says = |parts: &[&str]| holds(text, parts);
    let code = [
        "name_taken",
        "volume_placement_capacity",
        "insufficient_capacity",
    ];
    if let Some(code) = code.into_iter().find(|code| says(&[code])) {
        return by_code(action, 422, code);
    }
    let reason = if says(&[
        "no access token available",
        "token validation error",
        "verify auth token",
        "must be authenticated",
        "not authenticated",
        "unauthenticated",
        "unauthorized",
    ]) {
        Reason::BadToken
    } else if says(&["not authorized", "permission denied", "forbidden"]) {
        by_status(action, 403, text)
    } else if says(&["too many requests", "rate limit"]) {
        Reason::RateLimited
    } else if says(&["could not find image"]) {
        Reason::ImageNotVisible
    } else if says(&["needs an unattached volume"]) {
        Reason::VolumeGone
    } else if says(&["deadline_exceeded", "deadline exceeded", "timeout reached"]) {
        Reason::NotInTime
    } else if says(&[
        "internal server error",
        "bad gateway",
        "service unavailable",
    ]) {
        Reason::PlatformFailed
    } else if says(&["app not found"]) || action == Action::LookUpApp && says(&["not found"]) {
        Reason::NotFound
    } else {
        return None;
    };
    Some(reason)
}

/// Returns what a refusal means. The order matters where a status has several meanings.
fn recognise(action: Action, status: u16, code: &str, text: &str) -> Reason {
    by_code(action, status, code)
        .or_else(|| by_text(action, text))
        .unwrap_or_else(|| by_status(action, status, text))
}

/// The platform's own words are unambiguous.
fn by_code(action: Action, status: u16, code: &str) -> Option<Reason> {
    match (status, code) {
        (401, _) => Some(Reason::BadToken),
        (429, _) => Some(Reason::RateLimited),
        (408, _) => Some(Reason::NotInTime),
        (_, "name_taken") => Some(Reason::NameTaken),
        // Where there is no volume yet, it is the region that has no room.
        (_, "volume_placement_capacity") if action == Action::CreateVolume => {
            Some(Reason::NoCapacity)
        }
        (_, "volume_placement_capacity") => Some(Reason::NoRoomAtVolume),
        (_, "insufficient_capacity") => Some(Reason::NoCapacity),
        _ => None,
    }
}

/// Sentences that the platform gives nothing else for.
fn by_text(action: Action, text: &str) -> Option<Reason> {
    let says = |parts: &[&str]| holds(text, parts);
    let reason = if says(&["unique machine name violation"]) {
        Reason::MachineNameTaken
    } else if says(&["name has already been taken"]) {
        Reason::NameTaken
    } else if says(&["marked as high risk", "high-risk-unlock"]) {
        Reason::HighRisk {
            url: page(text).unwrap_or_else(|| UNLOCK.into()),
        }
    } else if says(&["add a payment method", "need your payment information"]) {
        Reason::CardNeeded {
            url: page(text).unwrap_or_else(|| DASHBOARD.into()),
        }
    } else if says(&["trial has ended", "trial has expired", "trial is over"]) {
        Reason::Trial {
            url: page(text).unwrap_or_else(|| TRIAL.into()),
        }
    } else if says(&["over the allowed quota"]) {
        Reason::OverQuota
    } else if says(&["machine with existing volume"]) {
        Reason::NoRoomAtVolume
    } else if says(&[
        "no capacity",
        "could not reserve resource",
        "insufficient resources",
    ]) {
        Reason::NoCapacity
    } else if says(&["is in the wrong region"]) {
        Reason::VolumeElsewhere
    } else if says(&[
        "volume does not exist",
        "volume not found",
        "could not find volume",
    ]) {
        Reason::VolumeGone
    } else if says(&["manifest_unknown"])
        || (says(&["failed to get manifest"]) && says(&["not found"]))
    {
        Reason::ImageNotVisible
    } else if says(&["not enough space to unpack image"]) {
        Reason::ImageTooBig
    } else if says(&["lease currently held by"]) {
        Reason::LeaseHeld { by: holder(text) }
    } else if says(&["due to concurrent update"])
        || (says(&["current_version"]) && action == Action::UpdateMachine)
    {
        Reason::ChangedMeanwhile
    } else if text.trim() == NO_ROUTE {
        Reason::NoSuchCall
    } else if says(&["could not find app"]) {
        Reason::NotFound
    } else {
        return None;
    };
    Some(reason)
}

fn by_status(action: Action, status: u16, text: &str) -> Reason {
    match (status, action) {
        (403, Action::CreateApp) => Reason::TokenCannotCreateApps,
        (403, _) => Reason::TokenMayNot,
        (404, _) => Reason::NotFound,
        (409, Action::TakeLease) => Reason::LeaseHeld { by: holder(text) },
        // The only condition that these calls carry, apart from the room at the volume.
        (412, Action::CreateMachine | Action::UpdateMachine) => Reason::SecretsNotVisible,
        (500 | 502 | 503 | 504, _) => Reason::PlatformFailed,
        _ => Reason::Unknown,
    }
}

fn holds(text: &str, parts: &[&str]) -> bool {
    let text = text.to_lowercase();
    parts.iter().any(|part| text.contains(part))
}

/// Returns who holds a lease, as far as the sentence tells.
fn holder(text: &str) -> Option<String> {
    let (_, after) = text.split_once("held by ")?;
    let holder = after.split([',', ';']).next()?.trim().trim_end_matches('.');
    (!holder.is_empty()).then(|| shown_text(holder))
}

/// Returns the platform's page that a text sends people to.
///
/// Only a page of the platform: a hint tells people to enter payment details there.
fn page(text: &str) -> Option<String> {
    let at = text.find("https://fly.io/")?;
    let end = |c: char| c.is_whitespace() || c.is_control() || "\"'<>()[]{}`,\\".contains(c);
    let url = text[at..].split(end).next()?;
    Some(url.trim_end_matches(['.', '!', ';', ':']).to_owned())
}

fn shown_text(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() {
        return "no reason given".into();
    }
    let cut = text.floor_char_boundary(SHOWN_BYTES);
    let more = if cut < text.len() { " …" } else { "" };
    format!("{}{more}", ShownText(&text[..cut]))
}

fn retry_after(answer: &Answer) -> Option<Duration> {
    let seconds = answer.header("retry-after")?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
