//! How connections learn that the server ends, without a lock in every poll.
//!
//! The future of a cancellation token takes a lock of all connections whenever it is polled. Here a
//! flag answers every poll but the first, which leaves the waker.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Tells all connections something, once.
#[derive(Debug, Clone, Default)]
pub(super) struct Notice {
    is_given: Arc<AtomicBool>,
    token: CancellationToken,
}

/// What one connection keeps to be told.
#[derive(Debug)]
pub(super) struct Listening {
    notice: Notice,
    waiting: Pin<Box<WaitForCancellationFutureOwned>>,
    waker: Option<Waker>,
}

impl Notice {
    /// Tells it to everybody who listens or will.
    pub(super) fn give(&self) {
        // Whoever is woken by the token finds the flag set.
        self.is_given.store(true, Ordering::Release);
        self.token.cancel();
    }

    /// Returns what one connection keeps to be told.
    pub(super) fn listen(&self) -> Listening {
        Listening {
            notice: self.clone(),
            waiting: Box::pin(self.token.clone().cancelled_owned()),
            waker: None,
        }
    }
}

impl Listening {
    /// Completes once the notice is given, and stays complete.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.notice.is_given.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        let is_registered = self
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(context.waker()));
        if is_registered {
            return Poll::Pending;
        }
        self.waker = Some(context.waker().clone());
        self.waiting.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn everybody_is_told_early_or_late() {
        let notice = Notice::default();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let mut early = notice.listen();
            tasks.spawn(async move {
                let mut polls = 0;
                poll_fn(|context| {
                    polls += 1;
                    early.poll(context)
                })
                .await;
                // It stays told.
                poll_fn(|context| early.poll(context)).await;
                polls
            });
        }
        tokio::task::yield_now().await;
        notice.give();
        assert_eq!(tasks.join_all().await, [2, 2, 2], "each was woken once");
        let mut late = notice.listen();
        poll_fn(|context| late.poll(context)).await;
    }

    #[tokio::test]
    async fn a_future_may_move_to_another_task() {
        let notice = Notice::default();
        let mut listening = notice.listen();
        let first = poll_fn(|context| Poll::Ready(listening.poll(context).is_ready())).await;
        assert!(!first);
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move { poll_fn(|context| listening.poll(context)).await });
        tokio::task::yield_now().await;
        notice.give();
        tasks.join_all().await;
    }
}
