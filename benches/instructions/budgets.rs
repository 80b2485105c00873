//! What each path may take, in instructions; `./scripts/bench instructions` prints what it takes.

/// Names of paths, and their budgets.
pub(crate) const BUDGETS: [(&str, u64); 5] = [
    ("scan", 9_200_000),
    ("diff", 245_000),
    ("save", 5_100_000),
    ("request", 19_500),
    ("not_modified", 17_200),
];
