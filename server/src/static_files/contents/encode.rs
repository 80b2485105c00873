//! Bytes → encoded bytes, always the same for the same bytes.
//!
//! Levels are chosen so that a page takes about a millisecond and the largest content an eighth of a
//! second: for text, the levels above save at most a tenth and take ten times as long.

use std::{
    io::{self, Write as _},
    ops::RangeInclusive,
};

use brotli::enc::BrotliEncoderParams;

use super::Coding;

/// Stands in the entity tag of every variant: whoever changes what [`encode`] makes of the same bytes
/// raises it, since a strong tag names one sequence of bytes (RFC 9110, section 8.8.1).
pub(crate) const GENERATION: u8 = 2;

/// Brotli: 0 to 11.
const BROTLI_QUALITY: i32 = 6;
/// Brotli's windows in bits: up to 16 its tables are small, which is what most pages need; the largest
/// content fits into the widest.
const BROTLI_WINDOW_BITS: RangeInclusive<u32> = 16..=22;
/// Zstandard: 1 to 22; up to 19, windows stay below the 8 MB that RFC 9659 allows.
const ZSTD_LEVEL: i32 = 12;
/// Gzip: 1 to 9.
const GZIP_LEVEL: u32 = 6;

/// Returns `bytes` in `coding`.
///
/// # Errors
///
/// What an encoder says; it writes into memory.
pub(super) fn encode(bytes: &[u8], coding: Coding) -> io::Result<Vec<u8>> {
    match coding {
        Coding::Identity => Ok(bytes.to_vec()),
        Coding::Brotli => {
            let parameters = BrotliEncoderParams {
                quality: BROTLI_QUALITY,
                lgwin: window_bits(bytes.len()),
                size_hint: bytes.len(),
                ..BrotliEncoderParams::default()
            };
            let mut encoded = Vec::new();
            brotli::BrotliCompress(&mut &*bytes, &mut encoded, &parameters)?;
            encoded.shrink_to_fit();
            Ok(encoded)
        }
        Coding::Zstd => zstd::bulk::compress(bytes, ZSTD_LEVEL),
        Coding::Gzip => {
            let level = flate2::Compression::new(GZIP_LEVEL);
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(bytes)?;
            encoder.finish()
        }
    }
}

/// Returns the narrowest window that content of `size` bytes fits into.
///
/// A wider one finds nothing more, and takes megabytes for every page.
fn window_bits(size: usize) -> i32 {
    // A window holds 16 bytes less than its bits say (RFC 7932, section 9.1).
    let bits = (size + 16).next_power_of_two().trailing_zeros();
    let (least, most) = BROTLI_WINDOW_BITS.into_inner();
    bits.clamp(least, most).cast_signed()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use onsave_protocol::Sha256Digest;

    use super::*;

    fn text() -> Vec<u8> {
        let lines = (0..2_000).map(|n| format!("line {} says {}\n", n, n * n % 97));
        lines.collect::<String>().into_bytes()
    }

    fn decode(bytes: &[u8], coding: Coding) -> Vec<u8> {
        let mut decoded = Vec::new();
        match coding {
            Coding::Identity => decoded.extend_from_slice(bytes),
            Coding::Brotli => brotli::BrotliDecompress(&mut &*bytes, &mut decoded).unwrap(),
            Coding::Zstd => decoded = zstd::decode_all(bytes).unwrap(),
            Coding::Gzip => {
                let mut reader = flate2::read::GzDecoder::new(bytes);
                reader.read_to_end(&mut decoded).unwrap();
            }
        }
        decoded
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for bytes in [text(), Vec::new(), vec![0; 100_000]] {
            for coding in [Coding::Identity, Coding::Brotli, Coding::Zstd, Coding::Gzip] {
                let encoded = encode(&bytes, coding).unwrap();
                assert_eq!(decode(&encoded, coding), bytes, "{coding:?}");
            }
        }
    }

    #[test]
    fn a_window_holds_the_content_and_little_more() {
        for (size, bits) in [
            (0, 16),
            (65_520, 16),
            (65_521, 17),
            (1 << 20, 21),
            (4 << 20, 22),
        ] {
            assert_eq!(window_bits(size), bits, "{size}");
        }
    }

    #[test]
    fn the_same_bytes_are_made_in_every_build_of_a_generation() {
        // When this fails after an update of an encoder, raise GENERATION, and then the digests.
        assert_eq!(GENERATION, 2);
        for (coding, digest) in [
            (Coding::Brotli, "98924ba8ec01515f"),
            (Coding::Zstd, "d676021307c1b854"),
            (Coding::Gzip, "d1a5b3bfb70d7971"),
        ] {
            let encoded = encode(&text(), coding).unwrap();
            let made = Sha256Digest::of(&encoded).to_hex();
            assert_eq!(&made[..16], digest, "{coding:?}");
        }
    }
}
