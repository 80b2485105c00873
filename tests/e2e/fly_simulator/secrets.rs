//! An app's secrets: written, never read back, and given to machine versions made after they are seen.

use std::collections::BTreeMap;

use jiff::Timestamp;
use onsave_protocol::Sha256Digest;
use serde_json::{Value, json};

use super::{
    failures::secrets_not_visible,
    refusal::Refusal,
    route::Operation,
    state::{Call, Outcome, Platform, Reply},
};

#[derive(Clone)]
struct Secret {
    value: String,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// All secrets of an app, by version.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    pub(crate) version: u64,
    now: BTreeMap<String, Secret>,
    /// What machines see: (from when on, version, values), newest last.
    published: Vec<(Timestamp, u64, BTreeMap<String, String>)>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&String> = self.now.keys().collect();
        write!(
            f,
            "Secrets {{ version: {}, names: {names:?} }}",
            self.version
        )
    }
}

impl Secret {
    fn to_json(&self, name: &str) -> Value {
        let digest = Sha256Digest::of(self.value.as_bytes()).to_hex();
        json!({
            "name": name,
            "digest": digest[..16],
            "created_at": self.created_at.to_string(),
            "updated_at": self.updated_at.to_string(),
        })
    }
}

impl Secrets {
    /// Returns the version that machines see, and its values.
    pub(crate) fn seen(&self, now: Timestamp) -> (u64, BTreeMap<String, String>) {
        self.published
            .iter()
            .rfind(|(from, ..)| *from <= now)
            .map(|(_, version, values)| (*version, values.clone()))
            .unwrap_or_default()
    }

    fn set(&mut self, name: &str, value: &str, now: Timestamp) {
        let created_at = self.now.get(name).map_or(now, |secret| secret.created_at);
        let secret = Secret {
            value: value.to_owned(),
            created_at,
            updated_at: now,
        };
        self.now.insert(name.to_owned(), secret);
    }

    fn publish(&mut self, from: Timestamp) {
        self.version += 1;
        let values = self
            .now
            .iter()
            .map(|(name, secret)| (name.clone(), secret.value.clone()))
            .collect();
        self.published.push((from, self.version, values));
    }

    fn listed(&self) -> Vec<Value> {
        self.now
            .iter()
            .map(|(name, secret)| secret.to_json(name))
            .collect()
    }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts_well && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        Ok(())
    } else {
        Err(Refusal::machines(
            400,
            format!("invalid secret name: {name:?}"),
        ))
    }
}

impl Platform {
    pub(super) fn answer_secrets(&mut self, operation: Operation, call: &Call<'_>) -> Outcome {
        match operation {
            Operation::SecretsList | Operation::SecretGet => self.read_secrets(operation, call),
            Operation::SecretsSet => {
                let values = call.body["values"]
                    .as_object()
                    .filter(|values| !values.is_empty())
                    .ok_or_else(|| Refusal::machines(400, "values is required"))?;
                let mut changes = Vec::new();
                for (name, value) in values {
                    check_name(name)?;
                    if !value.is_string() && !value.is_null() {
                        return Err(Refusal::machines(
                            400,
                            format!("secret {name} is no string"),
                        ));
                    }
                    changes.push((name.as_str(), value.as_str()));
                }
                self.change_secrets(&changes, call)?;
                let secrets = &self.app_of_machines(call)?.secrets;
                let body = json!({
                    "secrets": secrets.listed(),
                    "version": secrets.version,
                    "Version": secrets.version,
                });
                Ok(Reply::ok(body))
            }
            Operation::SecretSet => {
                check_name(call.id)?;
                let value = call.body["value"]
                    .as_str()
                    .ok_or_else(|| Refusal::machines(400, "value is required"))?;
                self.change_secrets(&[(call.id, Some(value))], call)?;
                let secrets = &self.app_of_machines(call)?.secrets;
                let mut body = secrets.now[call.id].to_json(call.id);
                body["version"] = secrets.version.into();
                Ok(Reply::with_status(201, body))
            }
            _ => {
                self.change_secrets(&[(call.id, None)], call)?;
                let version = self.app_of_machines(call)?.secrets.version;
                Ok(Reply::ok(json!({"version": version})))
            }
        }
    }

    fn read_secrets(&mut self, operation: Operation, call: &Call<'_>) -> Outcome {
        let secrets = &self.app_of_machines(call)?.secrets;
        let asked = ["min_version", "version"]
            .iter()
            .find_map(|name| call.query.get(*name));
        if let Some(asked) = asked {
            let asked: u64 = asked
                .parse()
                .map_err(|_| Refusal::machines(400, "min_version is no number"))?;
            if secrets.seen(call.now).0 < asked {
                return Err(secrets_not_visible(asked));
            }
        }
        if operation == Operation::SecretsList {
            return Ok(Reply::ok(json!({"secrets": secrets.listed()})));
        }
        let secret = secrets.now.get(call.id);
        secret
            .map(|secret| Reply::ok(secret.to_json(call.id)))
            .ok_or_else(|| Refusal::machines(404, "secret not found"))
    }

    fn change_secrets(
        &mut self,
        changes: &[(&str, Option<&str>)],
        call: &Call<'_>,
    ) -> Result<(), Refusal> {
        self.app_of_machines(call)?;
        let from = self.after(call.now, self.delays.secrets_visible);
        let secrets = &mut self.app_of_machines(call)?.secrets;
        for (name, value) in changes {
            match value {
                Some(value) => secrets.set(name, value, call.now),
                None => {
                    secrets.now.remove(*name);
                }
            }
        }
        secrets.publish(from);
        Ok(())
    }
}
