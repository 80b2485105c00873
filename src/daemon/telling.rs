//! What others are told of: whatever a round showed to be current is handed over, and waited for by nobody.

use super::{
    Daemon,
    round::{Hands, Outcome},
};

impl Daemon {
    /// Hands over what the server was just seen to have.
    pub(super) fn tell_others(&mut self, outcome: &Outcome, hands: &Hands) {
        // In the other outcomes, nobody asked the server, or it did not answer.
        let report = match outcome {
            Outcome::Published(report, _) => Some(report),
            Outcome::InStep | Outcome::LeftAlone(..) => None,
            _ => return,
        };
        if let Some(remote) = hands.publisher.remote() {
            self.deliveries.seen(remote, report);
        }
    }
}
