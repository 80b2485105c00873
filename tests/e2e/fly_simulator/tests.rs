//! The simulator itself, asked as its clients ask it: what it answers, how it fails, and that its
//! machines run.

mod apps;
mod asking;
mod failing;
mod machines;
mod running;
