//! Why the platform could not be made to do something, and what to do next.
//!
//! Owns the words for people. What a refusal means is found in `refusal`; whether a call is sent
//! again is decided in `call`.

use std::{fmt, time::Duration};

use super::{
    action::{Action, Asked},
    call::encoded,
};
use crate::http::HttpError;

/// Where a person makes a token.
const MAKE_A_TOKEN: &str = "make one with `fly tokens create org` (or at https://fly.io/tokens) and put it into FLY_API_TOKEN";

/// Where a person pays, when an answer names no page.
pub(super) const DASHBOARD: &str = "https://fly.io/dashboard";

/// Why something could not be had of the platform.
#[derive(Debug, thiserror::Error)]
pub enum FlyError {
    /// An address of the platform is no usable URL.
    #[error("the address {url} of Fly.io cannot be used")]
    BadHost {
        /// The address.
        url: String,
        /// What is wrong with it.
        #[source]
        source: HttpError,
    },
    /// A name that would make the call another one: empty, `.` or `..`.
    #[error("failed to {asked}: that is no name")]
    BadName {
        /// What was asked.
        asked: Asked,
    },
    /// There is no answer.
    #[error("failed to {asked}: Fly.io did not answer")]
    NoAnswer {
        /// What was asked.
        asked: Asked,
        /// What failed.
        #[source]
        source: HttpError,
    },
    /// The platform refuses, or failed.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The answer is not what the call answers.
    #[error("failed to {asked}: the answer cannot be read{}", RequestId(request_id.as_deref()))]
    BadAnswer {
        /// What was asked.
        asked: Asked,
        /// The request's id, for the platform's support.
        request_id: Option<String>,
        /// What is wrong with the answer.
        #[source]
        source: serde_json::Error,
    },
    /// What was made cannot be seen yet.
    #[error("app {app} was created, but cannot be seen after {} s", .waited.as_secs())]
    AppNotVisible {
        /// The app.
        app: String,
        /// How long it was looked for.
        waited: Duration,
    },
    /// A machine is in a state that does not lead to the one that is waited for.
    #[error("machine {machine} is {state} and will not become {wanted}")]
    NeverInState {
        /// The machine's id.
        machine: String,
        /// What is waited for.
        wanted: String,
        /// What it is.
        state: String,
    },
    /// A machine takes too long.
    #[error("machine {machine} did not become {wanted} within {} s, it is {state}", .waited.as_secs())]
    NotInStateYet {
        /// The machine's id.
        machine: String,
        /// What is waited for.
        wanted: String,
        /// What it is.
        state: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness(#[source] getrandom::Error),
}

/// The platform's refusal of a call, or its failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked.
    pub asked: Asked,
    /// What it means.
    pub reason: Reason,
    /// The HTTP status.
    pub status: u16,
    /// The platform's words; the whole answer, cut at 2 KB, where they were not understood.
    pub message: String,
    /// The request's id, for the platform's support.
    pub request_id: Option<String>,
    /// How long the platform wants to be left alone.
    pub retry_after: Option<Duration>,
}

/// What a refusal means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The token is wrong, expired or withdrawn.
    BadToken,
    /// The token may look, but not do this: it is read-only, or for another app.
    TokenMayNot,
    /// The token is for one app and cannot create others.
    TokenCannotCreateApps,
    /// Somebody has an app of this name.
    NameTaken,
    /// A machine of this name exists.
    MachineNameTaken,
    /// The host that the volume is on has no room for the machine.
    NoRoomAtVolume,
    /// The region has no room.
    NoCapacity,
    /// The organisation has reached what it may use.
    OverQuota,
    /// Volume and machine are in different regions.
    VolumeElsewhere,
    /// There is no such volume.
    VolumeGone,
    /// The organisation has no way of payment; where to give one.
    CardNeeded {
        /// The page.
        url: String,
    },
    /// The account is held back until a person vouches for it; where to.
    HighRisk {
        /// The page.
        url: String,
    },
    /// The free trial does not allow it, or is over; where to end it.
    Trial {
        /// The page.
        url: String,
    },
    /// The registry does not show the image yet.
    ImageNotVisible,
    /// The secrets' version is not there yet.
    SecretsNotVisible,
    /// Somebody changes the machine; who, as far as it is told.
    LeaseHeld {
        /// Its holder.
        by: Option<String>,
    },
    /// The machine was changed meanwhile.
    ChangedMeanwhile,
    /// The image does not fit the machine's disk.
    ImageTooBig,
    /// Too many calls.
    RateLimited,
    /// There is no such thing.
    NotFound,
    /// The platform does not know the call.
    NoSuchCall,
    /// It takes longer than the call lasts.
    NotInTime,
    /// The platform failed.
    PlatformFailed,
    /// Something else; the message says it.
    Unknown,
}

struct RequestId<'a>(Option<&'a str>);

impl fmt::Display for RequestId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(id) => write!(f, " (request {id})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "failed to {}: {} (status {}",
            self.asked, self.message, self.status
        )?;
        match &self.request_id {
            Some(id) => write!(f, ", request {id})"),
            None => f.write_str(")"),
        }
    }
}

impl FlyError {
    /// Returns what a refusal means; nothing where the platform did not refuse.
    #[must_use]
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Refused(refusal) => Some(&refusal.reason),
            _ => None,
        }
    }

    /// Returns what to do next, in words.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::BadHost { .. } => Some(
                "FLY_FLAPS_BASE_URL and FLY_API_BASE_URL must look like https://example.org, or be unset".into(),
            ),
            Self::NoAnswer {
                source: HttpError::Tls(_),
                ..
            } => Some("check this machine's clock and certificates, and any proxy in between".into()),
            Self::NoAnswer { .. } => Some(
                "check the network and https://status.flyio.net; what is done stays done: run it again".into(),
            ),
            Self::Refused(refusal) => refusal.hint(),
            Self::BadAnswer { .. } => Some(
                "check whether something between this machine and Fly.io changes answers".into(),
            ),
            Self::AppNotVisible { .. } => Some("run it again in a minute".into()),
            Self::NeverInState { .. } | Self::NotInStateYet { .. } => Some(
                "`onsave doctor` shows the machine's last events; its log is at https://fly.io/dashboard".into(),
            ),
            Self::BadName { .. } | Self::NoRandomness(_) => None,
        }
    }

    /// Returns the same, with the page of `organisation`'s bills where a refusal names none.
    #[must_use]
    pub fn for_organisation(mut self, organisation: &str) -> Self {
        if let Self::Refused(refusal) = &mut self
            && let Reason::CardNeeded { url } = &mut refusal.reason
            && url == DASHBOARD
        {
            *url = format!("{DASHBOARD}/{}/billing", encoded(organisation));
        }
        self
    }

    /// Returns whether the call was certainly not acted upon.
    pub(super) fn was_surely_not_done(&self) -> bool {
        match self {
            Self::NoAnswer { source, .. } => matches!(source, HttpError::Connect(_)),
            Self::Refused(refusal) => refusal.reason == Reason::RateLimited,
            _ => false,
        }
    }

    /// Returns whether nobody knows if the call was acted upon.
    pub(super) fn is_ambiguous(&self) -> bool {
        match self {
            Self::NoAnswer { source, .. } => !matches!(
                source,
                HttpError::Connect(_)
                    | HttpError::Tls(_)
                    | HttpError::Invalid(_)
                    | HttpError::BadUrl
            ),
            // The answer says yes, but not what was made.
            Self::BadAnswer { .. } => true,
            Self::Refused(refusal) => {
                matches!(refusal.reason, Reason::NotInTime | Reason::PlatformFailed)
            }
            _ => false,
        }
    }

    /// Returns whether sending the same again is worth it.
    pub(super) fn is_worth_repeating(&self) -> bool {
        match self {
            Self::NoAnswer { source, .. } => is_passing_network_fault(source),
            Self::Refused(refusal) => matches!(
                refusal.reason,
                Reason::RateLimited | Reason::NotInTime | Reason::PlatformFailed
            ),
            _ => false,
        }
    }

    /// Returns how long the platform wants to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            _ => None,
        }
    }

    pub(super) fn is_not_found(&self) -> bool {
        self.reason() == Some(&Reason::NotFound)
    }
}

const fn is_passing_network_fault(source: &HttpError) -> bool {
    matches!(
        source,
        HttpError::Connect(_) | HttpError::Broken(_) | HttpError::Stalled(_)
    )
}

impl Refusal {
    /// Returns what to do next, in words; nothing where only the platform's own words help.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        self.reason.hint(&self.asked, self.retry_after)
    }
}

impl Reason {
    /// Returns what to do next, in words; nothing where only the platform's own words help.
    #[must_use]
    pub fn hint(&self, asked: &Asked, retry_after: Option<Duration>) -> Option<String> {
        let hint = match self {
            Self::BadToken | Self::TokenMayNot | Self::TokenCannotCreateApps => {
                self.token_hint(asked)
            }
            Self::NameTaken => "choose another app name: names are shared by all of Fly.io".into(),
            Self::MachineNameTaken => "destroy the other machine of this name, or let it be used".into(),
            Self::NoRoomAtVolume => "the volume's host is full: try again later, or restore its newest snapshot to a new volume; a volume cannot move".into(),
            Self::NoCapacity => "try again later, or choose another region".into(),
            Self::OverQuota => "ask billing@fly.io to raise the organisation's quota, or remove machines that are not needed".into(),
            Self::VolumeElsewhere => "set the region to that of the volume; a volume cannot move".into(),
            Self::VolumeGone => "run it again: a volume that is gone is made anew, and the site is published to it".into(),
            Self::CardNeeded { url } => format!("add a payment method at {url}, then run it again"),
            Self::HighRisk { url } => format!("unlock the account at {url}, then run it again"),
            Self::Trial { url } => format!("the free trial does not cover this: add a card at {url}, then run it again"),
            Self::ImageNotVisible => "run it again in a minute; if it stays, check that the image's name is right and that it was pushed".into(),
            Self::SecretsNotVisible => "run it again in a minute".into(),
            Self::LeaseHeld { by } => format!(
                "{} changes the machine: wait until that is over, or until its lease ends, and run it again",
                by.as_deref().unwrap_or("somebody else")
            ),
            Self::ChangedMeanwhile => "somebody else changed the machine: run it again".into(),
            Self::ImageTooBig => "use a smaller image: at most 8 GB unpacked".into(),
            Self::RateLimited => match retry_after {
                Some(wait) => format!("wait {} s and run it again", wait.as_secs().max(1)),
                None => "wait a minute and run it again".into(),
            },
            Self::NotFound => "check the app's name and that the token is for its organisation".into(),
            Self::NoSuchCall => "check FLY_FLAPS_BASE_URL; if it is not set, this version of onsave may be too old for Fly.io".into(),
            Self::NotInTime | Self::PlatformFailed => "see https://status.flyio.net; what is done stays done: run it again".into(),
            Self::Unknown => return None,
        };
        Some(hint)
    }

    fn token_hint(&self, asked: &Asked) -> String {
        match (self, asked.action) {
            (Self::TokenCannotCreateApps, _) | (_, Action::CreateApp) => format!(
                "creating an app needs a token of its organisation, not of one app and not read-only: {MAKE_A_TOKEN}"
            ),
            (Self::TokenMayNot, _) => format!(
                "the token is read-only, or for another app or organisation: {MAKE_A_TOKEN}"
            ),
            _ => format!(
                "the token is wrong or expired (those in flyctl's own files last minutes): {MAKE_A_TOKEN}"
            ),
        }
    }
}
