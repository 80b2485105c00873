//! Changes that are told from outside: signed as their senders sign them, by their own packages, and live at
//! the end.

mod desk;
mod lake;
mod sanity;
mod senders;
