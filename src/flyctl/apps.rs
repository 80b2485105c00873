//! Apps, their addresses and their place in the registry.
//!
//! A command that fails because there is already what it should make, or nothing that it should
//! remove, has done its work; which of them it is, is looked at and not guessed from its words.

use super::{Flyctl, FlyctlError, answers, command::Command, error::Words};
use crate::fly::{
    Reason, Token,
    resources::{AppLookup, IpAssignment, IpKind, Organisation},
};

impl Flyctl {
    /// Returns what there is under an app's name, as far as flyctl sees it: an app of somebody else's
    /// may look as if there were none.
    ///
    /// # Errors
    ///
    /// [`FlyctlError`].
    pub async fn app(&self, name: &str) -> Result<AppLookup, FlyctlError> {
        match self.read(Command::App(name), answers::app).await {
            Ok(app) => Ok(AppLookup::Ours(app)),
            Err(error) => match error.reason() {
                Some(Reason::NotFound) => Ok(AppLookup::Free),
                Some(Reason::TokenMayNot) => Ok(AppLookup::TakenByOthers),
                _ => Err(error),
            },
        }
    }

    /// Returns the organisations that flyctl acts for.
    ///
    /// # Errors
    ///
    /// [`FlyctlError`].
    pub async fn organisations(&self) -> Result<Vec<Organisation>, FlyctlError> {
        self.read(Command::Organisations, answers::organisations)
            .await
    }

    /// Makes an app.
    ///
    /// # Errors
    ///
    /// [`FlyctlError`]; with [`Reason::NameTaken`] when the name is somebody else's.
    pub async fn create_app(&self, app: &str, organisation: &str) -> Result<(), FlyctlError> {
        let command = Command::CreateApp { app, organisation };
        self.done(command).await.map(drop)
    }

    /// Deletes an app with all that is in it; one that is not there is deleted.
    ///
    /// # Errors
    ///
    /// [`FlyctlError`].
    pub async fn delete_app(&self, app: &str) -> Result<(), FlyctlError> {
        let Err(error) = self.done(Command::DestroyApp(app)).await else {
            return Ok(());
        };
        match self.app(app).await {
            Ok(AppLookup::Free) => Ok(()),
            _ => Err(error),
        }
    }

    /// Returns the addresses of an app.
    ///
    /// # Errors
    ///
    /// [`FlyctlError`].
    pub async fn ips(&self, app: &str) -> Result<Vec<IpAssignment>, FlyctlError> {
        self.read(Command::Ips(app), answers::ips).await
    }

    /// Gives an app an address; one that it has already is enough.
    ///
    /// # Errors
    ///
    /// [`FlyctlError`].
    pub async fn assign_ip(&self, app: &str, kind: IpKind) -> Result<(), FlyctlError> {
        let Err(error) = self.done(Command::AssignIp(app, kind)).await else {
            return Ok(());
        };
        match self.ips(app).await {
            Ok(ips) if ips.iter().any(|ip| ip.serves(kind)) => Ok(()),
            _ => Err(error),
        }
    }

    /// Returns the password for the registry; any user name goes with it.
    ///
    /// # Errors
    ///
    /// [`FlyctlError`]; what flyctl prints is never part of it.
    pub async fn registry_password(&self) -> Result<String, FlyctlError> {
        if let Some((_, token)) = &self.token {
            return Ok(token.registry_password());
        }
        let said = self.done(Command::Token).await?;
        let asked = || Command::Token.asked();
        let unreadable = |source| FlyctlError::NotUnderstood {
            asked: asked(),
            said: Words::of("(it may hold a token, and is not shown)"),
            source,
        };
        let text = answers::token(&said.stdout).map_err(|_| {
            // The fault of the JSON may quote it.
            unreadable(serde::de::Error::custom("no object with a token in it"))
        })?;
        let token =
            Token::parse(&text).map_err(|fault| unreadable(serde::de::Error::custom(fault)))?;
        Ok(token.registry_password())
    }
}
