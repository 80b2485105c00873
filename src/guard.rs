//! The guard: holds a publish that would remove most of the site.
//!
//! A generator's clean step or an unmounted folder looks like the removal of nearly everything.
//! Such a change is held until it settles as intended or a person allows it. Pure; owns nothing.
//!
//! - A change that removes nothing passes, whatever it writes.
//! - A site that would become empty is held.
//! - It is held when more than the configured share of the files would go.
//! - A share of 100 % turns the guard off.
//!
//! A file that is renamed or moved is not removed: its bytes are among what is put. Who renames the
//! only page, or the folder that holds most of the site, means it; a clean step and an unmounted folder
//! put nothing.

/// A change, in numbers of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shrink {
    /// Files of the base deploy.
    pub before: usize,
    /// Files of it that would be removed, but for those that move.
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
    if change.removes.saturating_mul(100) > change.before.saturating_mul(limit) {
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
            (3, 1, 2, Removals::UpTo(50), true),
            (3, 2, 1, Removals::UpTo(50), false),
            (2, 1, 1, Removals::UpTo(50), true),
            (9, 9, 0, Removals::UpTo(50), false),
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
