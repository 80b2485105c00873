//! Apps and their public addresses.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::{
    Fly,
    action::Action,
    call::{Call, Pauses, app_path, encoded},
    error::{FlyError, Reason},
    resources::{App, AppLookup, IpAssignment, IpKind, null_is_default},
};

/// How long a new app may take to be seen by every part of the platform.
const VISIBLE_WITHIN: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Ips {
    #[serde(default, deserialize_with = "null_is_default")]
    ips: Vec<IpAssignment>,
}

impl Fly {
    /// Returns what there is under an app's name.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses the token.
    pub async fn app(&self, name: &str) -> Result<AppLookup, FlyError> {
        let call = Call::get(Action::LookUpApp, name, app_path(name, ""));
        match self.read::<App>(call).await {
            Ok(app) => Ok(AppLookup::Ours(app)),
            Err(error) => match error.reason() {
                Some(Reason::NotFound) => Ok(AppLookup::Free),
                Some(Reason::TokenMayNot) => Ok(AppLookup::TakenByOthers),
                _ => Err(error),
            },
        }
    }

    /// Creates an app and waits until it can be seen, at most half a minute.
    ///
    /// # Errors
    ///
    /// [`Reason::NameTaken`] and the rest of what the platform may refuse;
    /// [`FlyError::AppNotVisible`] when it was made and cannot be seen.
    pub async fn create_app(&self, name: &str, organisation: &str) -> Result<(), FlyError> {
        let key = random_text().map_err(FlyError::NoRandomness)?;
        // With the key a repetition gets the app that the first try made.
        let body = json!({"name": name, "org_slug": organisation, "idempotency_key": key});
        let call = Call::post(Action::CreateApp, name, "/v1/apps".into());
        self.call(call.json(&body))
            .await
            .map_err(|error| error.for_organisation(organisation))?;
        let start = Instant::now();
        let mut pauses = Pauses::within(VISIBLE_WITHIN);
        loop {
            match self.app(name).await {
                Ok(AppLookup::Ours(_)) => return Ok(()),
                Ok(AppLookup::Free | AppLookup::TakenByOthers) => {}
                // Rights spread as slowly as names do.
                Err(error) if error.reason() == Some(&Reason::BadToken) => {}
                Err(error) => return Err(error),
            }
            if !pauses.pause(None).await {
                return Err(FlyError::AppNotVisible {
                    app: name.to_owned(),
                    waited: start.elapsed(),
                });
            }
        }
    }

    /// Deletes an app with its machines, volumes and addresses; one that is not there is deleted.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn delete_app(&self, name: &str) -> Result<(), FlyError> {
        let path = app_path(name, "?force=true");
        let call = Call::new("DELETE", Action::DeleteApp, name, path);
        done_or_gone(self.call(call).await.map(drop))
    }

    /// Returns the addresses of an app.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn ips(&self, app: &str) -> Result<Vec<IpAssignment>, FlyError> {
        let call = Call::get(Action::ListIps, app, app_path(app, "/ip_assignments"));
        Ok(self.read::<Ips>(call).await?.ips)
    }

    /// Gives an app an address; one that it has already is enough.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn assign_ip(&self, app: &str, kind: IpKind) -> Result<(), FlyError> {
        let word = match kind {
            IpKind::V6 => "v6",
            IpKind::SharedV4 => "shared_v4",
        };
        let mut pauses = Pauses::within(VISIBLE_WITHIN);
        loop {
            let call = Call::post(Action::AssignIp, app, app_path(app, "/ip_assignments"));
            let Err(error) = self.call(call.json(&json!({"type": word})).once()).await else {
                return Ok(());
            };
            let says_it_is_there =
                matches!(&error, FlyError::Refused(refusal) if refusal.status == 409);
            if !(says_it_is_there || error.is_ambiguous() || error.is_not_found()) {
                return Err(error);
            }
            // An app that was made just now is not known everywhere.
            if !error.is_not_found() && self.ips(app).await?.iter().any(|ip| ip.serves(kind)) {
                return Ok(());
            }
            if says_it_is_there || !pauses.pause(error.retry_after()).await {
                return Err(error);
            }
        }
    }
}

/// What is gone needs not be removed.
pub(super) fn done_or_gone(outcome: Result<(), FlyError>) -> Result<(), FlyError> {
    match outcome {
        Err(error) if error.is_not_found() => Ok(()),
        outcome => outcome,
    }
}

/// Returns a text that nobody else has.
pub(super) fn random_text() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// Returns the path of one thing of an app.
pub(super) fn thing_path(app: &str, kind: &str, id: &str, rest: &str) -> String {
    app_path(app, &format!("/{kind}/{}{rest}", encoded(id)))
}
