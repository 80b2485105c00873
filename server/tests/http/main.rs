//! The server over real sockets: every route, every refusal, every limit, and the way out.
//!
//! Requests are written byte by byte, so that what no proper client would send can be sent too.

#![expect(
    clippy::unwrap_used,
    reason = "what fails in a test's harness fails the test"
)]

mod attacks;
mod authentication;
mod connections;
mod earlier_assets;
mod encodings;
mod harness;
mod http2;
mod http2_client;
mod limits;
mod observation;
mod ranges;
mod site;
mod site_rules;
mod v1;
mod v2;
