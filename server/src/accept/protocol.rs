//! Which protocol a new connection speaks: HTTP/2 announces itself with its first 24 bytes.
//!
//! Both share one port, in cleartext: a client that knows that it talks to this server may begin with
//! the preface of HTTP/2 (RFC 9113, section 3.3). Everything else is HTTP/1; its `Upgrade: h2c` is
//! ignored, as RFC 9113 wants. What was read to find out is given back, so that HTTP/1 pays for this
//! once a connection, with one copy.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::timed_io::TimedIo;

/// What a client sends first in HTTP/2 (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is read at once: the first request of a browser fits.
const READ_BYTES: usize = 2048;

/// The protocol of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2 in cleartext, by prior knowledge.
    Http2,
}

/// Returns the protocol of a new connection, once enough of it was read to tell.
///
/// # Errors
///
/// What reading says; a peer that sends nothing, or part of the preface, is out of time as one that
/// sends part of a head.
pub(super) async fn recognise<S: AsyncRead + Unpin>(io: &mut TimedIo<S>) -> io::Result<Protocol> {
    let mut read = BytesMut::with_capacity(READ_BYTES);
    let protocol = loop {
        let is_at_end = io.read_buf(&mut read).await? == 0;
        let compared = read.len().min(PREFACE.len());
        if read[..compared] != PREFACE[..compared] || is_at_end {
            break Protocol::Http1;
        }
        if compared == PREFACE.len() {
            io.expect_frames();
            break Protocol::Http2;
        }
    };
    io.give_back(read);
    Ok(protocol)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncWriteExt as _, duplex},
        time::Instant,
    };

    use super::*;
    use crate::{accept::activity::Activity, config::Timeouts};

    async fn recognised(parts: &[&[u8]]) -> (Protocol, Vec<u8>) {
        let (near, mut far) = duplex(4096);
        let mut io = TimedIo::new(near, Activity::default(), Timeouts::default());
        let sending = async {
            for part in parts {
                far.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
            drop(far);
        };
        let (protocol, ()) = tokio::join!(recognise(&mut io), sending);
        let mut all = Vec::new();
        io.read_to_end(&mut all).await.unwrap();
        (protocol.unwrap(), all)
    }

    #[tokio::test]
    async fn the_first_bytes_tell_and_none_is_lost() {
        let bytewise: Vec<&[u8]> = PREFACE.chunks(1).collect();
        let cases: [(&[&[u8]], Protocol); 8] = [
            (&[b"GET / HTTP/1.1\r\n\r\n"], Protocol::Http1),
            (&[b"P", b"OST / HTTP/1.1\r\n\r\n"], Protocol::Http1),
            (&[b"PRI * HTTP/1.1\r\n\r\n"], Protocol::Http1),
            (&[b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"], Protocol::Http1),
            (&[b"PRI"], Protocol::Http1),
            (&[], Protocol::Http1),
            (&[PREFACE, b"frames"], Protocol::Http2),
            (&bytewise, Protocol::Http2),
        ];
        for (parts, protocol) in cases {
            assert_eq!(recognised(parts).await, (protocol, parts.concat()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_preface_is_out_of_time_as_half_a_head_is() {
        let (near, mut far) = duplex(64);
        let timeouts = Timeouts {
            head: Duration::from_secs(7),
            ..Timeouts::default()
        };
        let mut io = TimedIo::new(near, Activity::default(), timeouts);
        far.write_all(&PREFACE[..10]).await.unwrap();
        let began = Instant::now();
        let error = recognise(&mut io).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), 7);
    }
}
