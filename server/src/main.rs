//! The `onsave-server` command.
fn main() {}
