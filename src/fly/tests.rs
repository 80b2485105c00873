//! Every call against answers in memory, in virtual time.

use crate::http::{Answer, HttpError, Request};

/// Answers in the order in which they are asked for.
#[derive(Debug)]
pub(super) struct Script {}

impl Script {
    pub(super) fn answer(&self, _request: &Request<'_>) -> Result<Answer, HttpError> {
        Err(HttpError::BadUrl)
    }
}
