//! Bounds that both sides know, so that a client can stay below what a server refuses.
//!
//! A server may be configured lower or higher for the sizes; the path rules are part of the
//! protocol and do not move.

/// Longest segment of a site path, in bytes: `NAME_MAX` of the common Linux file systems.
pub const MAX_SEGMENT_BYTES: usize = 255;

/// Longest site path, in bytes: `PATH_MAX` on Linux.
pub const MAX_PATH_BYTES: usize = 4_096;

/// Seconds that a signature's time may differ from the server's clock, either way.
pub const CLOCK_WINDOW_SECONDS: u64 = 300;

/// Largest changeset body that a client sends and a server accepts by default, in bytes.
///
/// What does not fit is staged first as blobs; the changeset then only names it.
pub const MAX_CHANGESET_BYTES: u64 = 32 * 1024 * 1024;

/// Files from this size on travel alone, as one streamed blob, and are never held in memory.
pub const LARGE_FILE_BYTES: u64 = 1024 * 1024;

/// Bytes of files that one pack of small blobs holds at most; bounds memory on both sides.
pub const PACK_BYTES: u64 = 8 * 1024 * 1024;

/// Most files in one pack.
pub const PACK_FILES: usize = 4_096;

/// Largest single file that a server accepts by default, in bytes.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024 * 1024;

/// Most files in one site that a server accepts by default.
pub const MAX_FILES: usize = 1_000_000;

/// Largest JSON header of a framed body (changeset or pack), in bytes.
///
/// A first changeset names every file, about 150 bytes each.
pub const MAX_FRAME_HEADER_BYTES: usize = 256 * 1024 * 1024;

/// Longest deploy message or publisher name, in bytes.
pub const MAX_NOTE_BYTES: usize = 1_024;
