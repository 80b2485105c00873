//! Request signatures of both protocol generations, as values: what is signed can be printed.

pub mod v1;
pub mod v2;
