//! What travels between client and server: routes, JSON shapes, framing and error codes.

pub mod error;
pub mod frame;
pub mod v1;
pub mod v2;

/// The prefix of every route of the sync endpoint.
pub const ROUTE_PREFIX: &str = "/_icd/";

/// The protocol version that health answers, of the first generation on the wire.
pub const PROTOCOL_VERSION: &str = "1.0.0";
