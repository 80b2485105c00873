//! An app's secrets: their values go there through the input, and into no log and no error.

use std::str;

use onsave_protocol::Secret;

use super::{Flyctl, FlyctlError, answers, command::Command};
use crate::fly::resources::{AppSecret, SecretsChange};

impl Flyctl {
    /// Returns the secrets of an app: names and digests.
    ///
    /// # Errors
    ///
    /// [`FlyctlError`].
    pub async fn secrets(&self, app: &str) -> Result<Vec<AppSecret>, FlyctlError> {
        self.read(Command::Secrets(app), answers::secrets).await
    }

    /// Sets secrets, and unsets those without a value; the next deploy sees it.
    ///
    /// # Errors
    ///
    /// [`FlyctlError::NotCarried`] before anything was changed; the rest of [`FlyctlError`].
    pub async fn change_secrets(
        &self,
        app: &str,
        values: &[(&str, Option<&Secret>)],
    ) -> Result<SecretsChange, FlyctlError> {
        let mut input = String::new();
        let mut set = Vec::new();
        for (name, secret) in values {
            let Some(secret) = secret else { continue };
            let value = carried(name, secret)?;
            input.extend([name, "=", value, "\n"]);
            set.push(value);
        }
        if !set.is_empty() {
            let command = Command::ImportSecrets(app);
            self.run(command, Some(input.as_bytes()), &set).await?;
        }
        let unset: Vec<&str> = values
            .iter()
            .filter(|(_, secret)| secret.is_none())
            .map(|(name, _)| *name)
            .collect();
        if !unset.is_empty() {
            self.done(Command::UnsetSecrets(app, &unset)).await?;
        }
        Ok(SecretsChange {
            secrets: self.secrets(app).await?,
            // A deploy sees the newest by itself.
            version: 0,
        })
    }
}

/// Returns a secret's value as a line of `secrets import` has it.
///
/// Its reader cuts spaces at the start, takes quotation marks off and ends a value with its line. What
/// would come out as another value is refused.
fn carried<'a>(name: &str, secret: &'a Secret) -> Result<&'a str, FlyctlError> {
    let value = str::from_utf8(secret.expose()).unwrap_or_default();
    let is_plain = !value.is_empty()
        && value.trim() == value
        && !value.contains(['\n', '\r', '\0'])
        && !value.starts_with(['"', '\''])
        && !value.ends_with(['"', '\'']);
    if is_plain {
        Ok(value)
    } else {
        Err(FlyctlError::NotCarried {
            name: name.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(value: &str) -> Secret {
        Secret::from_text(value).unwrap()
    }

    #[test]
    fn a_value_that_would_come_out_as_another_is_refused() {
        for value in ["0a1b2c", "with = and spaces", "a\"b", "#hash"] {
            assert_eq!(carried("NAME", &secret(value)).unwrap(), value);
        }
        for value in ["\"quoted\"", "\"\"\"", "'x'", "two\nlines"] {
            let error = carried("NAME", &secret(value)).unwrap_err();
            assert!(error.to_string().contains("NAME"), "{error}");
            assert!(!error.to_string().contains(value));
        }
    }
}
