//! Failures on demand: what the next call of an operation meets instead of, or besides, its answer.
//!
//! Each failure is one that a user of the platform has met; the words are the platform's, as far as
//! they are known. What a failure has to do with state (a full region, a name taken, a lease held) can
//! also be had by making that state, which then stays.

use std::collections::VecDeque;

use super::{refusal::Refusal, route::Operation};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A second machine without a card.
    CardNeeded,
    /// The account has to be unlocked in a browser.
    HighRisk,
    /// The trial is over. The platform's words are not known; these are like its others.
    TrialEnded,
    /// Somebody else has the name; with the code of newer answers.
    NameTaken,
    /// As [`Failure::NameTaken`], in the words of older answers.
    NameTakenInOlderWords,
    /// No room for a volume in the region.
    NoCapacity,
    /// No room for a machine in the region, with the code of newer answers.
    InsufficientCapacity,
    /// No room for a machine: a reservation was lost.
    ReservationLost,
    /// No room beside the volume.
    NoRoomBesideVolume,
    /// As [`Failure::NoRoomBesideVolume`], with the code of newer answers.
    VolumePlacement,
    /// The volume is elsewhere.
    VolumeInWrongRegion,
    /// The volume is no more.
    VolumeGone,
    /// Somebody else works on the machine.
    LeaseHeld,
    /// The image was pushed, and is not seen yet.
    ImageNotVisible,
    /// The image is larger than a machine's disk.
    ImageTooBig,
    /// The secrets were set, and are not seen yet.
    SecretsNotVisible,
    /// What was just made is not found yet.
    NotFoundYet,
    /// The organisation uses all that it may.
    OverQuota,
    /// Too many requests; asks for a pause of so many seconds.
    TooManyRequests(u64),
    /// Plain trouble: a status and its usual words.
    Status(u16),
    /// Nothing that a program could know.
    Unknown,
    /// The call acts, and then 408 is answered.
    ActedThenTimedOut,
    /// The connection ends before the call acts.
    CutBefore,
    /// The call acts, and the connection ends without an answer.
    CutAfter,
    /// The call succeeds; the machine's program ends at once, each time.
    CrashAtBoot,
    /// The call succeeds; the machine's checks fail until its next version.
    ChecksStayCritical,
}

/// What a failure does to its call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Consequence {
    /// Refused, without effect.
    Refuse(Refusal),
    /// Done, and answered with this all the same.
    ActThenRefuse(Refusal),
    /// No answer; done or not.
    Cut { acts: bool },
    /// Done and answered well; the machine has this fate.
    Doom(Fate),
}

/// What becomes of a machine's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Fate {
    /// Its program runs.
    #[default]
    Runs,
    /// Its program ends at once.
    Crashes,
    /// Its program runs, and the checks say that it does not.
    StaysCritical,
}

impl Failure {
    /// Returns what the failure does.
    pub(crate) fn consequence(self) -> Consequence {
        match self {
            Self::ActedThenTimedOut => {
                Consequence::ActThenRefuse(Refusal::machines(408, "request timed out"))
            }
            Self::CutBefore => Consequence::Cut { acts: false },
            Self::CutAfter => Consequence::Cut { acts: true },
            Self::CrashAtBoot => Consequence::Doom(Fate::Crashes),
            Self::ChecksStayCritical => Consequence::Doom(Fate::StaysCritical),
            _ => Consequence::Refuse(
                self.account()
                    .or_else(|| self.placement())
                    .unwrap_or_else(|| self.passing()),
            ),
        }
    }

    /// What a person has to settle in a browser, or with another name.
    fn account(self) -> Option<Refusal> {
        Some(match self {
            Self::CardNeeded => Refusal::machines(
                422,
                "To create more than 1 machine per app please add a payment method. https://fly.io/dashboard/personal/billing",
            ),
            Self::HighRisk => Refusal::apps(
                422,
                "Your account has been marked as high risk. Please go to https://fly.io/high-risk-unlock to verify your account.",
            ),
            Self::TrialEnded => Refusal::machines(
                403,
                "Your free trial has ended. We need your payment information to continue! https://fly.io/trial",
            ),
            Self::NameTaken => Refusal::coded(422, "Name has already been taken", "name_taken"),
            Self::NameTakenInOlderWords => {
                Refusal::apps(422, "Validation failed: Name has already been taken")
            }
            Self::OverQuota => Refusal::machines(
                403,
                "organization \"personal\" is using 20480 MB of memory in arn which is over the allowed quota",
            ),
            _ => return None,
        })
    }

    /// What another region or another volume settles.
    fn placement(self) -> Option<Refusal> {
        Some(match self {
            Self::NoCapacity => Refusal::machines(400, "no capacity"),
            Self::InsufficientCapacity => Refusal::coded(
                422,
                "insufficient capacity to create the machine in this region",
                "insufficient_capacity",
            ),
            Self::ReservationLost => Refusal::machines(
                409,
                "aborted: could not reserve resource for machine: insufficient memory available to fulfill request",
            ),
            Self::NoRoomBesideVolume => Refusal::machines(
                412,
                "insufficient resources to create new machine with existing volume 'vol_full'",
            ),
            Self::VolumePlacement => Refusal::coded(
                412,
                "insufficient resources on the host of the volume",
                "volume_placement_capacity",
            ),
            Self::VolumeInWrongRegion => Refusal::machines(
                400,
                "Mounts source volume \"vol_elsewhere\" is in the wrong region (\"dfw\" != \"arn\")",
            ),
            Self::VolumeGone => Refusal::machines(404, "volume does not exist"),
            _ => return None,
        })
    }

    /// What passes by itself, or is not known.
    fn passing(self) -> Refusal {
        match self {
            Self::LeaseHeld => Refusal::machines(
                409,
                "failed to get lease: lease currently held by someone@example.com, expires soon",
            ),
            Self::ImageNotVisible => image_not_visible("registry.fly.io/app:tag"),
            Self::ImageTooBig => Refusal::machines(
                422,
                "Not enough space to unpack image, possibly exceeds maximum of 8GB uncompressed",
            ),
            Self::NotFoundYet => Refusal::machines(404, "not found"),
            Self::SecretsNotVisible => secrets_not_visible(1),
            Self::TooManyRequests(seconds) => too_many_requests().after(seconds),
            Self::Status(status) => Refusal::text(status, plain_words(status)),
            _ => Refusal::machines(400, "the frobnicator of this host is out of phase (E7731)"),
        }
    }
}

fn plain_words(status: u16) -> &'static str {
    match status {
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "unexpected",
    }
}

/// Refuses an image that is not there, or not seen yet.
pub(crate) fn image_not_visible(image: &str) -> Refusal {
    Refusal::machines(
        400,
        format!(
            "failed to get manifest {image}: request failed: not found [http 404]: \
             {{\"errors\":[{{\"code\":\"MANIFEST_UNKNOWN\",\"message\":\"manifest unknown\"}}]}}"
        ),
    )
}

/// Refuses secrets that are not seen yet.
pub(crate) fn secrets_not_visible(version: u64) -> Refusal {
    Refusal::machines(
        412,
        format!("app secrets version {version} is not available yet"),
    )
}

/// Refuses whoever asks too often.
pub(crate) fn too_many_requests() -> Refusal {
    Refusal::machines(429, "rate limit exceeded").after(1)
}

/// The failures that wait for their calls.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    waiting: VecDeque<(Operation, Failure)>,
}

impl Failures {
    /// Lets the next call of `operation` fail; several wait in line.
    pub(crate) fn add(&mut self, operation: Operation, failure: Failure) {
        self.waiting.push_back((operation, failure));
    }

    /// Takes the failure that waits for this call.
    pub(crate) fn take(&mut self, operation: Operation) -> Option<Failure> {
        let at = self
            .waiting
            .iter()
            .position(|(waiting, _)| *waiting == operation)?;
        self.waiting.remove(at).map(|(_, failure)| failure)
    }

    /// Returns the failures that no call has met.
    pub(crate) fn unmet(&self) -> Vec<(Operation, Failure)> {
        self.waiting.iter().copied().collect()
    }
}
