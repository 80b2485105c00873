//! The onsave server.
