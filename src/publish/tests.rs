//! The publisher against the real server: over a socket, on a volume in a temporary folder.

mod against_v1;
mod against_v2;
pub(crate) mod harness;
mod moved_on;
