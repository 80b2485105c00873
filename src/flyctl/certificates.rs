//! Certificates of custom domains.
//!
//! A command that fails because there is already what it should make, or nothing that it should
//! remove, has done its work; which of them it is, is looked at and not guessed from its words.

use super::{Flyctl, FlyctlError, answers, command::Command};
use crate::fly::resources::Certificate;

impl Flyctl {
    /// Returns the certificates of an app, without what their domains need.
    ///
    /// # Errors
    ///
    /// [`FlyctlError`].
    pub async fn certificates(&self, app: &str) -> Result<Vec<Certificate>, FlyctlError> {
        self.read(Command::Certificates(app), answers::certificates)
            .await
    }

    /// Returns the certificate of a host name, when one was requested.
    ///
    /// # Errors
    ///
    /// [`FlyctlError`].
    pub async fn certificate(
        &self,
        app: &str,
        host: &str,
    ) -> Result<Option<Certificate>, FlyctlError> {
        let all = self.certificates(app).await?;
        if !all.iter().any(|known| known.hostname == host) {
            return Ok(None);
        }
        let command = Command::ShowCertificate(app, host);
        self.read(command, answers::certificate).await.map(Some)
    }

    /// Requests a certificate for a host name; one that was requested before is returned.
    ///
    /// # Errors
    ///
    /// [`FlyctlError`].
    pub async fn request_certificate(
        &self,
        app: &str,
        host: &str,
    ) -> Result<Certificate, FlyctlError> {
        let command = Command::AddCertificate(app, host);
        let error = match self.read(command, answers::certificate).await {
            Ok(certificate) => return Ok(certificate),
            Err(error) => error,
        };
        match self.certificate(app, host).await {
            Ok(Some(certificate)) => Ok(certificate),
            _ => Err(error),
        }
    }

    /// Lets the platform look at a domain's records again.
    ///
    /// # Errors
    ///
    /// [`FlyctlError`].
    pub async fn check_certificate(
        &self,
        app: &str,
        host: &str,
    ) -> Result<Certificate, FlyctlError> {
        let command = Command::CheckCertificate(app, host);
        self.read(command, answers::certificate).await
    }

    /// Removes the certificate of a host name; one that is not there is removed.
    ///
    /// # Errors
    ///
    /// [`FlyctlError`].
    pub async fn remove_certificate(&self, app: &str, host: &str) -> Result<(), FlyctlError> {
        let Err(error) = self.done(Command::RemoveCertificate(app, host)).await else {
            return Ok(());
        };
        match self.certificates(app).await {
            Ok(all) if !all.iter().any(|known| known.hostname == host) => Ok(()),
            _ => Err(error),
        }
    }
}
