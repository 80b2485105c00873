//! The Fly.io platform through an installed flyctl, for accounts where the API is not possible.
//!
//! ```text
//! call ──► command ──► arguments ──► process ──► output ──► answers (JSON) ──► the platform's words
//!                      pure          no shell               pure
//! ```
//!
//! Owns which command does what, how flyctl is run, and what its output means. The answers come back
//! as the resources of [`crate::fly`], and refusals are told apart by the same sentences, so that
//! whoever asks knows no difference. What is secret goes through standard input or the environment,
//! never among the arguments.
//!
//! | module | holds |
//! |---|---|
//! | `setup` | which program, and what of the environment it gets |
//! | `command` | what is asked, as arguments; pure |
//! | `process` | one run of the program |
//! | `answers` | what it prints as JSON; pure |
//! | `call` | one call: a command run, its answer or an error |
//! | `apps`, `secrets`, `volumes`, `machines`, `certificates` | the calls |
//! | `error` | what to do about a failure |

mod answers;
mod apps;
mod call;
mod certificates;
mod command;
mod error;
mod machines;
mod process;
mod secrets;
mod setup;
mod volumes;

use onsave_protocol::Secret;

pub use self::{
    error::{Failure, FlyctlError, Words},
    machines::Deploy,
    setup::Setup,
};
use crate::fly::{Hosts, Token};

/// An installed flyctl, and who it acts for.
///
/// Dropping a call ends flyctl; what the platform did until then shows when it is asked what there is.
#[derive(Debug)]
pub struct Flyctl {
    setup: Setup,
    registry: String,
    /// The configured token, as it was given and as it was understood; flyctl's own login without.
    token: Option<(Secret, Token)>,
}

impl Flyctl {
    /// Returns one that acts with `token`, or with flyctl's own login where there is none; nothing is
    /// run yet.
    #[must_use]
    pub fn new(setup: Setup, hosts: &Hosts, token: Option<(Secret, Token)>) -> Self {
        Self {
            setup,
            registry: hosts.registry.clone(),
            token,
        }
    }

    /// Returns the registry's host, with a port where it has one.
    #[must_use]
    pub fn registry_host(&self) -> &str {
        &self.registry
    }
}
