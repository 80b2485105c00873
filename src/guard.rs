//! The guard: holds a publish that would remove most of the site.
//!
//! A generator's clean step or an unmounted folder looks like the removal of nearly everything.
//! Such a change is held until it settles as intended or a person allows it. Pure; owns nothing.
//!
//! - A change that removes nothing passes, whatever it writes.
//! - A site that would become empty is held, however small it was.
//! - A site of fewer than [`SMALL_SITE`] files is held only then: among so few files, half of them
//!   is an ordinary edit.
//! - Any other site is held when more than the configured share of its files would go. The old
//!   names of a moved folder count as removed: their addresses stop working.
//! - A share of 100 % turns the guard off.

/// Files below which only the removal of all of them is held.
pub const SMALL_SITE: usize = 10;

/// A change, in numbers of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shrink {
    /// Files of the base deploy.
    pub before: usize,
    /// Files of it that would be removed.
    pub removes: usize,
    /// Files of the deploy that would follow.
    pub after: usize,
}

/// What may be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removals {
    /// At most this share of the files, in percent.
    UpTo(u8),
    /// Anything: a person said so.
    Allowed,
}

/// What the guard says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Publish.
    Pass,
    /// Do not publish unless a person allows it.
    Held {
        /// Files that would be removed.
        removes: usize,
        /// Files that the site has.
        of: usize,
    },
}

/// Returns whether the change may be published.
#[must_use]
pub fn judge(change: Shrink, removals: Removals) -> Verdict {
    let held = Verdict::Held {
        removes: change.removes,
        of: change.before,
    };
    let limit = match removals {
        Removals::Allowed | Removals::UpTo(100..) => return Verdict::Pass,
        Removals::UpTo(percent) => usize::from(percent),
    };
    if change.removes == 0 {
        return Verdict::Pass;
    }
    if change.after == 0 {
        return held;
    }
    let share_is_over = change.removes.saturating_mul(100) > change.before.saturating_mul(limit);
    if change.before >= SMALL_SITE && share_is_over {
        return held;
    }
    Verdict::Pass
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        for (before, removes, after, removals, passes) in [
            (0, 0, 100, Removals::UpTo(50), true),
            (100, 0, 0, Removals::UpTo(50), true),
            (100, 50, 50, Removals::UpTo(50), true),
            (100, 51, 49, Removals::UpTo(50), false),
            (101, 51, 50, Removals::UpTo(50), false),
            (100, 51, 149, Removals::UpTo(50), false),
            (100, 51, 49, Removals::Allowed, true),
            (100, 100, 0, Removals::Allowed, true),
            (100, 100, 0, Removals::UpTo(50), false),
            (100, 1, 99, Removals::UpTo(0), false),
            (100, 99, 1, Removals::UpTo(99), true),
            (100, 100, 0, Removals::UpTo(99), false),
            (100, 100, 0, Removals::UpTo(100), true),
            (9, 8, 1, Removals::UpTo(50), true),
            (9, 9, 0, Removals::UpTo(50), false),
            (9, 9, 3, Removals::UpTo(50), true),
            (1, 1, 0, Removals::UpTo(50), false),
            (10, 6, 4, Removals::UpTo(50), false),
        ] {
            let change = Shrink {
                before,
                removes,
                after,
            };
            let expected = if passes {
                Verdict::Pass
            } else {
                Verdict::Held {
                    removes,
                    of: before,
                }
            };
            assert_eq!(judge(change, removals), expected, "{change:?} {removals:?}");
        }
    }
}
