//! Certificates of custom domains.

use serde::Deserialize;
use serde_json::json;

use super::{
    Fly,
    action::Action,
    apps::{done_or_gone, thing_path},
    call::{Call, app_path, encoded},
    error::FlyError,
    resources::{Certificate, null_is_default},
};

/// How many certificates one answer has.
const PER_PAGE: u32 = 100;

/// How many answers are read: more domains than one app has.
const MAX_PAGES: u32 = 100;

#[derive(Deserialize)]
struct Page {
    #[serde(default, deserialize_with = "null_is_default")]
    certificates: Vec<Certificate>,
    #[serde(default)]
    next_cursor: Option<String>,
}

impl Fly {
    /// Returns the certificates of an app, without what their domains need.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn certificates(&self, app: &str) -> Result<Vec<Certificate>, FlyError> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        for _ in 0..MAX_PAGES {
            let mut path = app_path(app, &format!("/certificates?limit={PER_PAGE}"));
            if !cursor.is_empty() {
                path = format!("{path}&cursor={}", encoded(&cursor));
            }
            let call = Call::get(Action::ListCertificates, app, path);
            let page: Page = self.read(call).await?;
            all.extend(page.certificates);
            match page.next_cursor {
                Some(next) if !next.is_empty() && next != cursor => cursor = next,
                _ => break,
            }
        }
        Ok(all)
    }

    /// Requests a certificate for a host name; one that was requested before is returned.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn request_certificate(
        &self,
        app: &str,
        host: &str,
    ) -> Result<Certificate, FlyError> {
        let path = app_path(app, "/certificates/acme");
        let call = Call::post(Action::RequestCertificate, host, path);
        let error = match self.read(call.json(&json!({"hostname": host}))).await {
            Ok(certificate) => return Ok(certificate),
            Err(error) => error,
        };
        let may_be_there = matches!(&error, FlyError::Refused(refusal) if matches!(refusal.status, 400 | 409 | 422));
        if may_be_there && let Some(certificate) = self.certificate(app, host).await? {
            return Ok(certificate);
        }
        Err(error)
    }

    /// Returns the certificate of a host name, when one was requested.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn certificate(
        &self,
        app: &str,
        host: &str,
    ) -> Result<Option<Certificate>, FlyError> {
        let path = thing_path(app, "certificates", host, "");
        let call = Call::get(Action::GetCertificate, host, path);
        match self.read(call).await {
            Ok(certificate) => Ok(Some(certificate)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lets the platform look at the domain's records again.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn check_certificate(&self, app: &str, host: &str) -> Result<Certificate, FlyError> {
        let path = thing_path(app, "certificates", host, "/check");
        self.read(Call::post(Action::CheckCertificate, host, path))
            .await
    }

    /// Removes the certificate of a host name; one that is not there is removed.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn remove_certificate(&self, app: &str, host: &str) -> Result<(), FlyError> {
        let path = thing_path(app, "certificates", host, "");
        let call = Call::new("DELETE", Action::RemoveCertificate, host, path);
        done_or_gone(self.call(call).await.map(drop))
    }
}
