//! A deadline that moves often and passes rarely.
//!
//! Arming a timer takes a lock of the runtime; a busy connection would do it with every request. Here
//! the deadline is a mere number: the timer is armed once, and when it fires, it is armed again for
//! what is left.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep};

/// A timer without a deadline of its own: each poll says what it is now.
#[derive(Debug, Default)]
pub(super) struct LazyTimer {
    /// Made when it is first needed; kept for as long as the connection.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl LazyTimer {
    /// Completes once `deadline` has passed; until then the task is woken no later than that.
    ///
    /// It may be woken earlier, for a deadline of before: whoever polls has to be ready for that.
    pub(super) fn poll(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(context).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_may_move_either_way() {
        for (first, then) in [(10, 20), (60, 30), (40, 40)] {
            let start = Instant::now();
            let mut timer = LazyTimer::default();
            let mut polls = 0;
            poll_fn(|context| {
                polls += 1;
                let seconds = if polls == 1 { first } else { then };
                if polls == 1 {
                    // Whoever sets a nearer deadline is awake at that time.
                    context.waker().wake_by_ref();
                }
                timer.poll(start + Duration::from_secs(seconds), context)
            })
            .await;
            assert_eq!(start.elapsed().as_secs(), then, "{first} and then {then}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_deadline_costs_one_more_wake() {
        let start = Instant::now();
        let mut timer = LazyTimer::default();
        let mut polls = 0;
        poll_fn(|context| {
            polls += 1;
            let seconds = if polls == 1 { 10 } else { 25 };
            timer.poll(start + Duration::from_secs(seconds), context)
        })
        .await;
        assert_eq!(start.elapsed(), Duration::from_secs(25));
        assert_eq!(polls, 3);
    }
}
