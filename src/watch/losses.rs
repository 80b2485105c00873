//! Losses of events in a row: how long to wait before one is answered, so that an answer whose own reads
//! cause the next loss makes no loop. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::SECOND_LOOK;

/// The longest pause before a loss is answered.
pub(super) const MAX_LOSS_PAUSE: Duration = Duration::from_mins(1);

/// After so long without a loss, the next one is answered at once again; outlasts any pause.
pub(super) const CALM: Duration = Duration::from_mins(2);

/// Losses of events in a row.
#[derive(Debug, Default)]
pub(super) struct Losses {
    count: u32,
    latest: Option<Instant>,
}

impl Losses {
    /// Notes a loss; returns how long to wait before it is answered.
    pub(super) fn pause(&mut self, now: Instant) -> Duration {
        let is_calm = |latest| now > latest + CALM;
        if self.latest.is_none_or(is_calm) {
            self.count = 0;
        }
        self.latest = Some(now);
        self.count = self.count.saturating_add(1);
        match self.count {
            1 => Duration::ZERO,
            count => {
                let doublings = (count - 2).min(16);
                (SECOND_LOOK * 2_u32.pow(doublings)).min(MAX_LOSS_PAUSE)
            }
        }
    }
}
