//! How the store and its background worker tell each other that there is work, and that it is done.
//!
//! Says only *that* there is work: what it is, the worker reads from the store's state, so nothing
//! queues up however many commits come.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

use super::{StoreError, lock};

/// What both sides wait on.
#[derive(Debug, Default)]
pub(super) struct Signal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    stop: bool,
    full: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// There is work, and the worker has not begun.
    #[default]
    Wanted,
    /// The worker is at it.
    Busy,
    /// The worker is at it, and there is more.
    BusyAndWanted,
    /// There is no work.
    Idle,
    /// The worker is gone.
    Gone,
}

/// What the worker is to do after a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// There is work, or the wait was long enough.
    Work,
    /// The store is being closed.
    Stop,
}

impl Signal {
    /// Says that there is work.
    pub(super) fn wake(&self) {
        let mut state = lock(&self.state);
        state.phase = match state.phase {
            Phase::Idle | Phase::Wanted => Phase::Wanted,
            Phase::Busy | Phase::BusyAndWanted => Phase::BusyAndWanted,
            Phase::Gone => Phase::Gone,
        };
        self.changed.notify_all();
    }

    /// Passes `result` on, and has room made at once when it says that the volume is full.
    pub(super) fn noting_full<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(StoreError::VolumeFull { .. }) = result {
            lock(&self.state).full = true;
            self.wake();
        }
        result
    }

    /// Returns whether the volume was full since this was last asked.
    pub(super) fn take_full(&self) -> bool {
        std::mem::take(&mut lock(&self.state).full)
    }

    /// Says that the store is being closed.
    pub(super) fn stop(&self) {
        lock(&self.state).stop = true;
        self.changed.notify_all();
    }

    /// Returns whether the store is being closed.
    pub(super) fn is_stopping(&self) -> bool {
        lock(&self.state).stop
    }

    /// Waits until the worker has nothing to do.
    pub(super) fn wait_idle(&self) {
        let idle = |state: &mut State| !matches!(state.phase, Phase::Idle | Phase::Gone);
        let state = self.changed.wait_while(lock(&self.state), idle);
        drop(state.unwrap_or_else(PoisonError::into_inner));
    }

    /// For the worker: waits for work, at most for `longest`.
    pub(super) fn wait_for_work(&self, longest: Duration) -> Next {
        let waiting = |state: &mut State| state.phase != Phase::Wanted && !state.stop;
        let waited = self
            .changed
            .wait_timeout_while(lock(&self.state), longest, waiting);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.stop && state.phase != Phase::Wanted {
            return Next::Stop;
        }
        state.phase = Phase::Busy;
        Next::Work
    }

    /// For the worker: says that it has done what there was.
    pub(super) fn done(&self) {
        let mut state = lock(&self.state);
        state.phase = match state.phase {
            Phase::BusyAndWanted => Phase::Wanted,
            _ => Phase::Idle,
        };
        self.changed.notify_all();
    }

    /// For the worker: says that it is gone, also when it panicked.
    pub(super) fn gone(&self) {
        lock(&self.state).phase = Phase::Gone;
        self.changed.notify_all();
    }
}
