//! The Fly.io platform: its Machines API, asked over HTTP, without flyctl.
//!
//! ```text
//! token ──► Fly ──► apps, IPs, secrets, volumes, machines, certificates   (api.machines.dev)
//!            └────► organisations and their billing                       (api.fly.io)
//! ```
//!
//! Owns how the platform is spoken to: which header carries the token, both shapes of errors, the
//! pace that its limits allow, and what is tried again. What ought to be there is no matter of this
//! module: see `provision`.
//!
//! | module | holds |
//! |---|---|
//! | `token` | what a token is made of, and which header or password it becomes |
//! | `macaroon` | what a token says of its own limits |
//! | `hosts` | where the platform is; every address can be set |
//! | `resources` | what the platform has: apps, volumes, machines and the rest, as its answers say it |
//! | `action` | what can be asked, for the pace and for errors |
//! | `error`, `refusal` | what to do about a failure, and what a refusal means |
//! | `call`, `line`, `pace` | one call: pace, repetition, both shapes of errors |
//! | `apps`, `secrets`, `volumes`, `machines`, `certificates`, `organisations`, `regions` | the calls |
//! | `leases`, `machine_states` | who may change a machine, and what becomes of it |

mod action;
mod apps;
mod call;
mod certificates;
mod error;
mod hosts;
mod leases;
mod line;
mod macaroon;
mod machine_states;
mod machines;
mod organisations;
mod pace;
mod refusal;
mod regions;
pub mod resources;
mod secrets;
#[cfg(test)]
mod tests;
mod token;
mod volumes;

pub(crate) use self::refusal::told_reason;
pub use self::{
    action::{Action, Asked},
    error::{FlyError, Reason, Refusal},
    hosts::Hosts,
    macaroon::TokenLimits,
    regions::nearest_regions,
    token::{BadToken, Token},
};
use self::{line::Line, pace::Pace};

/// A client of the platform, for one token.
///
/// Every call is cancel-safe in that dropping it leaves nothing behind here; whether the platform
/// acted is then unknown, and shows when it is asked what there is.
#[derive(Debug)]
pub struct Fly {
    token: Token,
    machines: Line,
    web: Line,
    registry: String,
    pace: Pace,
}

impl Fly {
    /// Returns a client; nothing is asked yet.
    ///
    /// # Errors
    ///
    /// [`FlyError::BadHost`] when an address is no usable URL.
    pub fn new(token: Token, hosts: &Hosts) -> Result<Self, FlyError> {
        let line = |url: &String| {
            Line::to(url).map_err(|source| FlyError::BadHost {
                url: url.clone(),
                source,
            })
        };
        Ok(Self {
            token,
            machines: line(&hosts.machines)?,
            web: line(&hosts.web)?,
            registry: hosts.registry.clone(),
            pace: Pace::default(),
        })
    }

    /// Returns the password for the registry; any user name goes with it.
    #[must_use]
    pub fn registry_password(&self) -> String {
        self.token.registry_password()
    }

    /// Returns what the token says of its own limits; whether it is good, only the platform knows.
    #[must_use]
    pub fn token_limits(&self) -> TokenLimits {
        self.token.limits()
    }

    /// Returns the registry's host, with a port where it has one.
    #[must_use]
    pub fn registry_host(&self) -> &str {
        &self.registry
    }
}
