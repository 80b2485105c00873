//! Framing of a JSON header and the bytes that it describes: `ONS2`, the header's length as a
//! 32-bit big-endian number, the header, the bytes.
//!
//! The header comes first, so that a server can check every path, size and limit before it takes
//! the first byte of content.

use serde::{Serialize, de::DeserializeOwned};

use crate::limits::MAX_FRAME_HEADER_BYTES;

/// The first four bytes of every frame.
pub const MAGIC: [u8; 4] = *b"ONS2";

/// Bytes before the header: magic and length.
pub const PREFIX_BYTES: usize = 8;

/// Why bytes are not a frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The first bytes are not [`MAGIC`].
    #[error("the body is not a frame: it does not start with ONS2")]
    BadMagic,
    /// The header is over [`MAX_FRAME_HEADER_BYTES`].
    #[error("the frame's header of {0} bytes is over the limit of {MAX_FRAME_HEADER_BYTES}")]
    HeaderTooLong(usize),
    /// The header is not the JSON that the route expects.
    #[error("the frame's header is malformed")]
    BadHeader(#[source] serde_json::Error),
}

/// Returns the start of a frame: everything but the content bytes.
///
/// # Errors
///
/// [`FrameError::HeaderTooLong`] when the header would not be accepted.
pub fn encode<H: Serialize>(header: &H) -> Result<Vec<u8>, FrameError> {
    let mut bytes = vec![0; PREFIX_BYTES];
    serde_json::to_writer(&mut bytes, header).map_err(FrameError::BadHeader)?;
    let length = bytes.len() - PREFIX_BYTES;
    let stated = u32::try_from(length)
        .ok()
        .filter(|_| length <= MAX_FRAME_HEADER_BYTES)
        .ok_or(FrameError::HeaderTooLong(length))?;
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4..PREFIX_BYTES].copy_from_slice(&stated.to_be_bytes());
    Ok(bytes)
}

/// Returns the length of the header that follows `prefix`.
///
/// # Errors
///
/// [`FrameError::BadMagic`] and [`FrameError::HeaderTooLong`].
pub fn header_length(prefix: [u8; PREFIX_BYTES]) -> Result<usize, FrameError> {
    let [a, b, c, d, length @ ..] = prefix;
    if [a, b, c, d] != MAGIC {
        return Err(FrameError::BadMagic);
    }
    match usize::try_from(u32::from_be_bytes(length)) {
        Ok(length) if length <= MAX_FRAME_HEADER_BYTES => Ok(length),
        Ok(length) => Err(FrameError::HeaderTooLong(length)),
        Err(_) => Err(FrameError::HeaderTooLong(usize::MAX)),
    }
}

/// Returns the header in `bytes`, which are exactly as long as [`header_length`] said.
///
/// # Errors
///
/// [`FrameError::BadHeader`], with what is wrong and where.
pub fn decode_header<H: DeserializeOwned>(bytes: &[u8]) -> Result<H, FrameError> {
    serde_json::from_slice(bytes).map_err(FrameError::BadHeader)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Sha256Digest, SitePath,
        wire::v2::{ChangesetHeader, PutRecord, Source},
    };

    fn header() -> ChangesetHeader {
        let put = |path: &str, source| PutRecord {
            path: SitePath::parse(path).unwrap(),
            sha256: Sha256Digest::of(path.as_bytes()),
            size: 10,
            source,
        };
        let base = Sha256Digest::of(b"base");
        ChangesetHeader {
            puts: vec![
                put("a", Source::Inline),
                put("b", Source::Zstd { length: 3 }),
                put("c", Source::ZstdAgainst { length: 2, base }),
                put("d", Source::Stored),
            ],
            removes: vec![SitePath::parse("e").unwrap()],
            published_by: Some("ann".into()),
            message: None,
        }
    }

    #[test]
    fn a_header_survives_the_frame() {
        let frame = encode(&header()).unwrap();
        let (prefix, rest) = frame.split_first_chunk().unwrap();
        assert_eq!(header_length(*prefix).unwrap(), rest.len());
        assert_eq!(decode_header::<ChangesetHeader>(rest).unwrap(), header());
    }

    #[test]
    fn lengths_follow_the_source() {
        let lengths: Vec<u64> = header()
            .puts
            .iter()
            .map(|put| put.source.encoded_length(put.size))
            .collect();
        assert_eq!(lengths, [10, 3, 2, 0]);
    }

    #[test]
    fn other_bytes_are_refused() {
        assert!(matches!(
            header_length(*b"HTTP\0\0\0\x01"),
            Err(FrameError::BadMagic)
        ));
        assert!(matches!(
            header_length(*b"ONS2\xff\xff\xff\xff"),
            Err(FrameError::HeaderTooLong(_))
        ));
        assert!(matches!(
            decode_header::<ChangesetHeader>(br#"{"puts":[{"path":"../x"}]}"#),
            Err(FrameError::BadHeader(_))
        ));
    }
}
