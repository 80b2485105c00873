//! The simulator itself, asked as its clients ask it: what it answers, how it fails, and that its
//! machines run.

mod apps;
mod asking;
mod described;
mod failing;
mod first_run;
mod machines;
mod running;
