//! Waiting for a thing itself: look, pause shortly, look again, and fail after a limit.
//!
//! The only place of the tests that pauses. The limit is far above what a slow machine needs, since
//! it is reached by failures alone.

use std::time::Duration;

use tokio::time::Instant;

/// How long anything may take before the test fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// Pause between two looks: short against what is measured, long enough to leave the processor to
/// the programs that are waited for.
const PAUSE: Duration = Duration::from_millis(4);

/// Returns what `look` finds; fails the test when it finds nothing within [`LIMIT`].
pub(crate) fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    match look_until(Instant::now() + LIMIT, look) {
        Some(found) => found,
        None => panic!("waited {LIMIT:?} in vain for {what}"),
    }
}

/// Waits until `holds` is true; fails the test when it does not within [`LIMIT`].
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(what, || holds().then_some(()));
}

/// Checks that `holds` stays true for `span`: for what must not happen.
pub(crate) fn throughout(span: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let broken = look_until(Instant::now() + span, || (!holds()).then_some(()));
    assert!(broken.is_none(), "did not hold for {span:?}: {what}");
}

/// Returns what `look` finds until `end`, looking at least once.
pub(crate) fn look_until<T>(end: Instant, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a process outside gives no sign that could be waited for instead"
)]
fn pause() {
    std::thread::sleep(PAUSE);
}
