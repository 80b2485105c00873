//! A small HTTP/1.1 client over one kept connection: the reader that a story asks what is live.
//!
//! Written by hand, so that the server is not tested with the library that it is built on. Reads
//! bodies with a length and chunked ones; knows nothing of redirects or compression.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use super::deadline::LIMIT;

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Returns the value of a header, whose name is given in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns all headers in order, with their names in small letters.
    pub(crate) fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// Returns the body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What is asked: method, path with query, headers, body.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) headers: Vec<(&'a str, String)>,
    pub(crate) body: &'a [u8],
}

/// A connection that is kept between requests.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects to a server.
    ///
    /// # Errors
    ///
    /// When nobody listens there.
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(Self::over(stream))
    }

    /// Speaks over a stream that is connected already, with the limits that it has.
    pub(crate) fn over(stream: TcpStream) -> Self {
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// Sends a request and returns its answer.
    ///
    /// # Errors
    ///
    /// When the connection breaks or what comes back is no HTTP.
    pub(crate) fn send(&mut self, request: &Request<'_>) -> io::Result<Answer> {
        let mut bytes = Vec::new();
        let (method, target) = (request.method, request.target);
        write!(bytes, "{method} {target} HTTP/1.1\r\n")?;
        if !request.headers.iter().any(|(name, _)| *name == "host") {
            bytes.extend_from_slice(b"host: e2e\r\n");
        }
        for (name, value) in &request.headers {
            write!(bytes, "{name}: {value}\r\n")?;
        }
        if !request.body.is_empty() || matches!(method, "POST" | "PUT") {
            write!(bytes, "content-length: {}\r\n", request.body.len())?;
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(request.body);
        self.stream.get_mut().write_all(&bytes)?;
        self.answer(request.method == "HEAD")
    }

    fn answer(&mut self, to_head: bool) -> io::Result<Answer> {
        let line = self.line()?;
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| malformed(&line))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| malformed(&line))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        if !to_head && status != 304 && status != 204 {
            answer.body = self.body(&answer)?;
        }
        Ok(answer)
    }

    fn body(&mut self, answer: &Answer) -> io::Result<Vec<u8>> {
        if let Some(length) = answer.header("content-length") {
            let length = length.parse().map_err(|_| malformed(length))?;
            return self.exactly(length);
        }
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let length = usize::from_str_radix(&line, 16).map_err(|_| malformed(&line))?;
            body.extend(self.exactly(length)?);
            self.line()?;
            if length == 0 {
                return Ok(body);
            }
        }
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::other(format!("no HTTP answer: {what:?}"))
}

/// Returns the answer to one GET on a connection of its own, when the server answers at all.
pub(crate) fn get(address: SocketAddr, target: &str) -> Option<Answer> {
    Connection::open(address)
        .ok()?
        .send(&Request {
            method: "GET",
            target,
            ..Request::default()
        })
        .ok()
}
