//! An app's secrets: their values go there and never come back, into no log and into no error.

use std::{collections::BTreeMap, str};

use onsave_protocol::Secret;
use serde::Deserialize;
use serde_json::json;

use super::{
    Fly,
    action::Action,
    call::{Call, app_path},
    error::FlyError,
    resources::{AppSecret, SecretsChange, null_is_default},
};

#[derive(Deserialize)]
struct Secrets {
    #[serde(default, deserialize_with = "null_is_default")]
    secrets: Vec<AppSecret>,
}

#[derive(Deserialize)]
struct Changed {
    #[serde(default, deserialize_with = "null_is_default")]
    secrets: Vec<AppSecret>,
    /// The published description has both keys, and an answer may as well.
    version: Option<u64>,
    #[serde(rename = "Version")]
    old_version: Option<u64>,
}

impl Fly {
    /// Returns the names of an app's secrets.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn secrets(&self, app: &str) -> Result<Vec<AppSecret>, FlyError> {
        let call = Call::get(Action::ListSecrets, app, app_path(app, "/secrets"));
        Ok(self.read::<Secrets>(call).await?.secrets)
    }

    /// Sets secrets, and unsets those without a value; running machines see it with their next
    /// configuration.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn change_secrets(
        &self,
        app: &str,
        values: &[(&str, Option<&Secret>)],
    ) -> Result<SecretsChange, FlyError> {
        let values: BTreeMap<&str, Option<&str>> = values
            .iter()
            .map(|(name, secret)| (*name, secret.map(text_of)))
            .collect();
        let call = Call::post(Action::ChangeSecrets, app, app_path(app, "/secrets"))
            .json(&json!({"values": values}))
            .hiding(values.values().copied().flatten().collect());
        let changed: Changed = self.read(call).await?;
        Ok(SecretsChange {
            secrets: changed.secrets,
            version: changed.version.or(changed.old_version).unwrap_or_default(),
        })
    }
}

fn text_of(secret: &Secret) -> &str {
    str::from_utf8(secret.expose()).expect("a secret is made of text")
}
