//! Two clients of HTTP/2: a proper one, and one that writes frames by hand, proper or not.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::{
    RecvStream,
    client::{ResponseFuture, SendRequest},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use crate::harness::{Answer, Request};

/// What a client sends first (RFC 9113, section 3.4), without its settings.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A proper client.
pub(crate) struct Http2Client {
    requests: SendRequest<Bytes>,
    connection: JoinSet<Result<(), h2::Error>>,
}

/// A request whose body was not sent to its end.
pub(crate) struct Pending {
    pub(crate) response: ResponseFuture,
    pub(crate) body: h2::SendStream<Bytes>,
}

impl Http2Client {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::open_with(address, &h2::client::Builder::new()).await
    }

    pub(crate) async fn open_with(address: SocketAddr, builder: &h2::client::Builder) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (requests, driven) = builder.handshake::<_, Bytes>(stream).await.unwrap();
        let mut connection = JoinSet::new();
        connection.spawn(driven);
        Self {
            requests,
            connection,
        }
    }

    pub(crate) async fn send(&self, request: Request) -> Answer {
        self.try_send(request).await.unwrap()
    }

    pub(crate) async fn try_send(&self, request: Request) -> Result<Answer, h2::Error> {
        let body = Bytes::from(request.body.clone());
        let mut pending = self.begin(request).await?;
        pending.body.send_data(body, true)?;
        let (head, body) = pending.response.await?.into_parts();
        let headers = head.headers.iter();
        Ok(Answer {
            status: head.status.as_u16(),
            headers: headers
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                .collect(),
            body: read_to_end(body).await?,
        })
    }

    /// Sends the head of a request.
    pub(crate) async fn begin(&self, request: Request) -> Result<Pending, h2::Error> {
        let mut head = http::Request::builder()
            .version(http::Version::HTTP_2)
            .method(request.method.as_str())
            .uri(format!("http://test{}", request.target));
        let connection_alone = ["host", "connection"];
        for (name, value) in &request.headers {
            if !connection_alone.contains(&name.as_str()) {
                head = head.header(name, value);
            }
        }
        let mut ready = self.requests.clone().ready().await?;
        let (response, body) = ready.send_request(head.body(()).unwrap(), false)?;
        Ok(Pending { response, body })
    }

    /// Waits for the end of the connection.
    pub(crate) async fn ended(mut self) -> Result<(), h2::Error> {
        drop(self.requests);
        self.connection.join_next().await.unwrap().unwrap()
    }
}

/// Reads the body of an answer, making room for more as it comes.
pub(crate) async fn read_to_end(mut body: RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(part) = body.data().await {
        let part = part?;
        all.extend_from_slice(&part);
        body.flow_control().release_capacity(part.len())?;
    }
    Ok(all)
}

/// The types of frames that the tests write or look for (RFC 9113, section 6).
pub(crate) mod kind {
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const GOAWAY: u8 = 7;
}

/// The codes of errors that the tests look for (RFC 9113, section 7).
pub(crate) mod error_code {
    pub(crate) const NO_ERROR: u32 = 0;
    pub(crate) const REFUSED_STREAM: u32 = 7;
    pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;
}

/// One frame as it came.
#[derive(Debug)]
pub(crate) struct RawFrame {
    pub(crate) kind: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl RawFrame {
    /// Returns the four bytes at `at` of the payload as a number.
    pub(crate) fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// A client that sends what it is told, and answers no ping.
pub(crate) struct RawFrames(pub(crate) TcpStream);

impl RawFrames {
    /// Connects and sends the preface, with an initial window of `window` bytes for each stream.
    pub(crate) async fn open(address: SocketAddr, window: u32) -> Self {
        let mut client = Self(TcpStream::connect(address).await.unwrap());
        client.0.write_all(PREFACE).await.unwrap();
        let setting = [&[0, 4][..], &window.to_be_bytes()].concat();
        client.write(kind::SETTINGS, 0, 0, &setting).await.unwrap();
        client
    }

    pub(crate) async fn write(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> std::io::Result<()> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await
    }

    /// Asks for `/` on a stream.
    pub(crate) async fn get_root(&mut self, stream: u32) -> std::io::Result<()> {
        // From the static table of RFC 7541: GET, http, and the path /; then the authority, by name.
        let block = b"\x82\x86\x84\x41\x04test";
        let end_of_stream_and_headers = 0x1 | 0x4;
        self.write(kind::HEADERS, end_of_stream_and_headers, stream, block)
            .await
    }

    /// Returns the next frame; nothing at the end of the connection.
    pub(crate) async fn read(&mut self) -> Option<RawFrame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        Some(RawFrame {
            kind: head[3],
            stream: u32::from_be_bytes(head[5..].try_into().unwrap()),
            payload,
        })
    }

    /// Returns the next frame of a kind.
    pub(crate) async fn read_until(&mut self, kind: u8) -> Option<RawFrame> {
        loop {
            let frame = self.read().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }
}
