//! Leases: who may change a machine, for a time.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::{
    Fly,
    action::Action,
    apps::{done_or_gone, random_text, thing_path},
    call::Call,
    error::{FlyError, Reason},
    resources::Lease,
};

/// A lease, in the envelope that the platform sends and without it as its description says.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answered {
    Wrapped { data: Held },
    Plain(Held),
}

#[derive(Deserialize)]
struct Held {
    nonce: Option<String>,
    owner: Option<String>,
    description: Option<String>,
}

impl From<Answered> for Held {
    fn from(answered: Answered) -> Self {
        match answered {
            Answered::Wrapped { data } => data,
            Answered::Plain(held) => held,
        }
    }
}

impl Fly {
    /// Takes the lease of a machine: for `ttl`, in whole seconds, nobody else may change it.
    ///
    /// # Errors
    ///
    /// [`Reason::LeaseHeld`] when somebody else has it.
    pub async fn lease(
        &self,
        app: &str,
        id: &str,
        ttl: Duration,
        description: &str,
    ) -> Result<Lease, FlyError> {
        // With a text that nobody else has, a lease whose answer was lost is known again.
        let mark = random_text().map_err(FlyError::NoRandomness)?;
        let description = format!("{description} #{}", &mark[..8]);
        let body = json!({"ttl": ttl.as_secs().max(1), "description": description});
        let path = thing_path(app, "machines", id, "/lease");
        let call = Call::post(Action::TakeLease, id, path).json(&body);
        let error = match self.read::<Answered>(call).await {
            Ok(answered) => match Held::from(answered).nonce {
                Some(nonce) => return Ok(Lease { nonce }),
                None => return Err(without_nonce(id)),
            },
            Err(error) => error,
        };
        let FlyError::Refused(mut refusal) = error else {
            return Err(error);
        };
        if !matches!(refusal.reason, Reason::LeaseHeld { .. }) {
            return Err(FlyError::Refused(refusal));
        }
        // Who it is only makes the error better: not knowing is no error of its own.
        let path = thing_path(app, "machines", id, "/lease");
        let call = Call::get(Action::ReadLease, id, path);
        if let Ok(held) = self.read::<Answered>(call).await.map(Held::from) {
            match held {
                Held {
                    nonce: Some(nonce),
                    description: Some(theirs),
                    ..
                } if theirs == description => return Ok(Lease { nonce }),
                held => {
                    if let Some(by) = named(&held) {
                        refusal.reason = Reason::LeaseHeld { by: Some(by) };
                    }
                }
            }
        }
        Err(FlyError::Refused(refusal))
    }

    /// Gives a lease back; one that ended is given back.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn release(&self, app: &str, id: &str, lease: Lease) -> Result<(), FlyError> {
        let path = thing_path(app, "machines", id, "/lease");
        let call = Call::new("DELETE", Action::ReleaseLease, id, path).leased(Some(&lease));
        done_or_gone(self.call(call).await.map(drop))
    }
}

/// Returns who holds a lease, and what for.
fn named(held: &Held) -> Option<String> {
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    match (filled(&held.owner), filled(&held.description)) {
        (Some(owner), Some(what)) => Some(format!("{owner} ({what})")),
        (owner, what) => owner.or(what),
    }
}

fn without_nonce(id: &str) -> FlyError {
    FlyError::BadAnswer {
        asked: super::Asked {
            action: Action::TakeLease,
            subject: id.to_owned(),
        },
        request_id: None,
        source: serde::de::Error::missing_field("nonce"),
    }
}
