//! The `onsave` command.
fn main() {}
