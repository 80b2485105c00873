//! Judges that others wrote, asked about the real programs: what they find is a fault, or stands by name in
//! a list of what is meant so, with the reason.
//!
//! | module | judge |
//! |---|---|
//! | [`addresses`] | the request handler of Cloudflare Pages: which address means which file |
//! | [`answers`] | httplint: every kind of answer that the server has |
//! | [`behaviour`] | `REDbot`: negotiation, validators and ranges, asked by a client of its own |
//! | [`clients`] | curl and the clients of nghttp2: what they make of the answers |
//! | [`dashboard`] | Chromium and axe-core: the daemon's page, clicked through, by keyboard, on a phone |
//! | [`description`] | Schemathesis: the daemon's API against its own description |
//! | [`dockerfile`] | hadolint: the `Dockerfile`
//! | [`systemd`] | systemd-analyze: the shipped units |
//! | [`visitor`] | Chromium: the example site as somebody sees it who edits it |
//!
//! All of it is installed by `./scripts/test packages`. A judge that is missing fails its tests: one that is
//! skipped proves nothing.

mod addresses;
mod answers;
mod behaviour;
mod browser;
mod clients;
mod dashboard;
mod description;
mod dockerfile;
mod notes;
mod systemd;
mod visitor;

use std::path::{Path, PathBuf};

/// Returns the place of a program that stands beside these files.
fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/e2e/judges")
        .join(name)
}
