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
//! | `hosts` | where the platform is; every address can be set |
//! | `resources` | what the platform has: apps, volumes, machines and the rest, as its answers say it |
//! | `error` | what a refusal means, and what to do next |
//! | `call` | one call: pace, repetition, both shapes of errors |
//! | `apps`, `secrets`, `volumes`, `machines`, `certificates`, `organisations` | the calls |

pub mod resources;
