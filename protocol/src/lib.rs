//! The wire protocol of onsave, shared by the client and the server.
//!
//! Everything here is pure: no I/O, no clock, no randomness and no async runtime. What needs the
//! time or random bytes takes them as arguments, so that every rule can be tested as a value.
//!
//! | module | holds |
//! |---|---|
//! | [`site_path`] | the path of a file in the site, valid by construction |
//! | [`digest`] | SHA-256 of a file's bytes |
//! | [`deploy_id`] | the strictly increasing id of a deploy |
//! | [`manifest`] | site path → digest and size of every file of one tree |
//! | [`changeset`] | what turns one manifest into the next, and the diff that finds it |
//! | [`secret`] | the shared secret, masked wherever it could be printed |
//! | [`signature`] | request signatures of both protocol generations |
//! | [`rules`] | a site's own rules, `_redirects` and `_headers` |
//! | [`limits`] | the bounds that both sides hold each other to |
//! | [`wire`] | what travels: JSON shapes, framing, error codes |
//!
//! Two generations of the protocol share the `/_icd/` routes: [`wire::v1`], byte-compatible with
//! clients that already speak it, and [`wire::v2`], which publishes in one exchange.

pub mod changeset;
pub mod deploy_id;
pub mod digest;
pub mod limits;
pub mod manifest;
pub mod rules;
pub mod secret;
pub mod signature;
pub mod site_path;
pub mod wire;

pub use changeset::Changeset;
pub use deploy_id::DeployId;
pub use digest::Sha256Digest;
pub use manifest::{FileEntry, Manifest};
pub use secret::Secret;
pub use site_path::SitePath;
