//! The wall clock of the client, read here alone: signatures and the stat index compare it with
//! times that others wrote. Waits use tokio's clock, so that tests can pause it.

use std::time::SystemTime;

/// Returns the time of this machine.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the client reads the wall clock"
)]
#[must_use]
pub fn now() -> SystemTime {
    SystemTime::now()
}
