//! What the daemon does about events: one run of the build, or a publish, for some of them together.
//!
//! The daemon tells how far it has come; dropping a run ends nothing: its events wait for the next start.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{
    event::Event,
    journal::Journal,
    outcome::{Ended, HookState},
    unix_ms_now,
};
use crate::config::HookAction;

/// Events that the daemon is asked to act on.
#[derive(Debug)]
pub struct HookRun {
    action: HookAction,
    events: Vec<Arc<Event>>,
    journal: Arc<Journal>,
    done: oneshot::Sender<Ended>,
}

impl HookRun {
    /// Returns a run for events, and what hears of its end.
    pub(super) fn new(
        action: HookAction,
        events: Vec<Arc<Event>>,
        journal: Arc<Journal>,
    ) -> (Self, oneshot::Receiver<Ended>) {
        let (done, ended) = oneshot::channel();
        let run = Self {
            action,
            events,
            journal,
            done,
        };
        (run, ended)
    }

    /// Returns a run for an event that nobody sent; its journal is in `folder`.
    #[cfg(test)]
    pub(crate) fn made_up(
        action: HookAction,
        id: &str,
        folder: std::path::PathBuf,
    ) -> (Self, oneshot::Receiver<Ended>) {
        let event = Event {
            id: id.to_owned(),
            hook: "made-up".to_owned(),
            event: None,
            operation: None,
            document_id: None,
            received_unix_ms: 0,
            payload: serde_json::Value::Null,
        };
        let journal = Journal::open(folder).expect("the folder can be made");
        Self::new(action, vec![Arc::new(event)], Arc::new(journal))
    }

    /// Returns what is to be done.
    #[must_use]
    pub const fn action(&self) -> HookAction {
        self.action
    }

    /// Returns the events, in their order.
    #[must_use]
    pub fn events(&self) -> &[Arc<Event>] {
        &self.events
    }

    /// Tells that the build waits or runs.
    pub fn is_building(&self) {
        self.reached(HookState::Building);
    }

    /// Tells that the site folder is published.
    pub fn is_publishing(&self) {
        self.reached(HookState::Publishing);
    }

    fn reached(&self, state: HookState) {
        let ids: Vec<_> = self.events.iter().map(|event| event.id.clone()).collect();
        self.journal.reached(&ids, state, unix_ms_now());
    }

    /// Tells how it ended.
    pub fn end(self, ended: Ended) {
        // Who asked may be gone: at the daemon's stop.
        let _told = self.done.send(ended);
    }
}
