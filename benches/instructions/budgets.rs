//! What each path may take, in instructions; `./scripts/bench instructions` prints what it takes.

/// Names of paths, and their budgets.
pub(crate) const BUDGETS: [(&str, u64); 5] = [
    ("scan", 8_800_000),
    ("diff", 245_000),
    ("save", 4_800_000),
    ("request", 18_600),
    ("not_modified", 16_400),
];
