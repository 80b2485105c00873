//! A file as a difference to its version that the server has: one zstd frame that refers to the old bytes
//! (RFC 8878, with a reference prefix).
//!
//! Owns the parameters, which both sides have to agree on: the window spans old and new bytes together,
//! up to what the server takes.

use std::io;

use onsave_protocol::Sha256Digest;
use zstd::{
    stream::raw::{CParameter, Encoder, InBuffer, Operation as _, OutBuffer},
    zstd_safe::compress_bound,
};

/// zstd level: nearly all of a new version is found in the old one, at any level.
const LEVEL: i32 = 6;

/// Largest window that the server takes for a difference, as a power of two: 32 MiB.
const MAX_WINDOW_LOG: u32 = 25;

/// Smallest window that zstd makes.
const MIN_WINDOW_LOG: u32 = 10;

/// From this size on, in bytes of both versions, far matches are looked for in their own way: the tables
/// of the level reach less far.
const LONG_BYTES: usize = 1024 * 1024;

/// A file as a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delta {
    /// What it refers to.
    pub(crate) base: Sha256Digest,
    /// The zstd frame.
    pub(crate) frame: Vec<u8>,
}

/// Returns `bytes` as a difference to `base`.
pub(crate) fn frame(base: &[u8], bytes: &[u8]) -> io::Result<Vec<u8>> {
    let both = base.len() + bytes.len();
    let window = both.next_power_of_two().trailing_zeros();
    let window = window.clamp(MIN_WINDOW_LOG, MAX_WINDOW_LOG);
    let mut encoder = Encoder::with_ref_prefix(LEVEL, base)?;
    encoder.set_parameter(CParameter::WindowLog(window))?;
    if both >= LONG_BYTES {
        encoder.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
    }
    // Said in the record already.
    encoder.set_parameter(CParameter::ContentSizeFlag(false))?;
    encoder.set_parameter(CParameter::ChecksumFlag(false))?;
    encoder.set_pledged_src_size(Some(bytes.len() as u64))?;
    let mut frame = vec![0; compress_bound(bytes.len())];
    let mut input = InBuffer::around(bytes);
    let mut output = OutBuffer::around(&mut frame[..]);
    while input.pos() < bytes.len() {
        encoder.run(&mut input, &mut output)?;
    }
    while encoder.finish(&mut output, true)? > 0 {}
    let length = output.pos();
    frame.truncate(length);
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zstd::stream::raw::{DParameter, Decoder};

    use super::*;

    /// As the server does it.
    fn unfolded(base: &[u8], frame: &[u8], size: usize) -> Vec<u8> {
        let mut decoder = Decoder::with_ref_prefix(base).unwrap();
        decoder
            .set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))
            .unwrap();
        let mut bytes = vec![0; size + 1];
        let mut input = InBuffer::around(frame);
        let mut output = OutBuffer::around(&mut bytes[..]);
        while decoder.run(&mut input, &mut output).unwrap() > 0 {}
        let length = output.pos();
        bytes.truncate(length);
        bytes
    }

    /// Bytes that do not compress, the same for the same seed.
    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed;
        let next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        };
        std::iter::repeat_with(next).take(length).collect()
    }

    #[test]
    fn an_edit_costs_what_is_new() {
        for size in [10_000, 2_000_000, 15_000_000] {
            let base = noise(1, size);
            let mut bytes = base.clone();
            let sentence = b"one sentence that is new";
            bytes.splice(size / 3..size / 3 + 10, sentence.iter().copied());
            let frame = frame(&base, &bytes).unwrap();
            assert!(frame.len() < 2_000, "{size}: {}", frame.len());
            assert!(unfolded(&base, &frame, bytes.len()) == bytes, "{size}");
        }
    }

    #[test]
    fn the_largest_that_is_kept_fits_the_servers_window() {
        let most = usize::try_from(crate::kept_versions::MAX_VERSION_BYTES).unwrap();
        let base = noise(1, most);
        // What was at the end is at the start now: as far away as it can be.
        let mut bytes = base.clone();
        bytes.rotate_right(100_000);
        let frame = frame(&base, &bytes).unwrap();
        assert!(frame.len() < 150_000, "{}", frame.len());
        assert!(unfolded(&base, &frame, bytes.len()) == bytes);
    }

    proptest! {
        #[test]
        fn every_version_comes_back(
            base in prop::collection::vec(0_u8..4, 0..600),
            bytes in prop::collection::vec(0_u8..4, 0..600),
        ) {
            let frame = frame(&base, &bytes).unwrap();
            prop_assert_eq!(unfolded(&base, &frame, bytes.len()), bytes);
        }
    }
}
