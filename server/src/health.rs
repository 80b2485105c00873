//! `onsave-server --health`: asks the server that runs here whether it is well.
//!
//! An image that holds one program has no other that a container runtime could ask with. A question
//! over a plain socket, without a runtime or a client library: it is asked every few seconds, and
//! costs a process each time. Knows nothing of the volume; a server that is too busy to answer in
//! time is not well.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use onsave_protocol::wire::v1::Health;

/// How long connecting may take, and then each read and write. The answer comes from memory; a
/// runtime's own limit for a check is longer.
const PATIENCE: Duration = Duration::from_secs(3);

/// More than the whole answer has, in bytes: a peer that sends without end is not listened to.
const ANSWER_BYTES: u64 = 8 * 1024;

/// Why the server is not well.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// Nobody listens, or not for long.
    #[error("failed to connect")]
    Connect(#[source] io::Error),
    /// The question or the answer did not pass.
    #[error("no whole answer came")]
    Exchange(#[source] io::Error),
    /// The answer is another one than a healthy server's.
    #[error("the answer is {0:?}")]
    Answer(String),
}

/// Returns when the server at `address` says that it is well.
///
/// # Errors
///
/// [`HealthError`] when it does not, which it is given some seconds for.
pub fn ask(address: SocketAddr) -> Result<(), HealthError> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(HealthError::Connect)?;
    let answer = exchange(stream, address).map_err(HealthError::Exchange)?;
    if is_well(&answer) {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&answer);
    let first_line = text.lines().next().unwrap_or_default();
    Err(HealthError::Answer(first_line.to_owned()))
}

fn exchange(mut stream: TcpStream, address: SocketAddr) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let question =
        format!("GET /_icd/health HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(question.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer)?;
    Ok(answer)
}

/// Returns whether these bytes are a healthy server's answer, to its end.
fn is_well(answer: &[u8]) -> bool {
    let end_of_head = b"\r\n\r\n";
    let Some(at) = answer
        .windows(end_of_head.len())
        .position(|window| window == end_of_head)
    else {
        return false;
    };
    let body = &answer[at + end_of_head.len()..];
    answer.starts_with(b"HTTP/1.1 200 ")
        && serde_json::from_slice::<Health>(body).is_ok_and(|health| health.ok)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    /// Asks a server that answers one question with these bytes.
    fn ask_one_that_says(answer: &'static [u8]) -> Result<(), HealthError> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = Vec::new();
            while !question.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                question.push(byte[0]);
            }
            // Whoever has heard enough may hang up.
            stream.write_all(answer).ok();
            String::from_utf8(question).unwrap()
        });
        let heard = ask(address);
        let question = server.join().unwrap();
        assert!(question.starts_with("GET /_icd/health HTTP/1.1\r\n"));
        assert!(question.contains("connection: close"), "{question}");
        heard
    }

    #[test]
    fn a_healthy_server_is_well() {
        let answer = b"HTTP/1.1 200 OK\r\na: b\r\n\r\n{\"ok\":true,\"version\":\"1.0.0\"}";
        assert!(ask_one_that_says(answer).is_ok());
    }

    #[test]
    fn everything_else_is_not() {
        let answers: [&[u8]; 6] = [
            b"",
            b"HTTP/1.1 200 OK\r\n\r\n{\"ok\":false,\"version\":\"1.0.0\"}",
            b"HTTP/1.1 200 OK\r\n\r\n{\"ok\":true,\"versi",
            b"HTTP/1.1 200 OK\r\n\r\n<html>",
            b"HTTP/1.1 503 Service Unavailable\r\n\r\n{\"ok\":true,\"version\":\"1.0.0\"}",
            b"SSH-2.0-x\r\n",
        ];
        for answer in answers {
            let error = ask_one_that_says(answer).unwrap_err();
            assert!(matches!(error, HealthError::Answer(_)), "{error:?}");
        }
    }

    #[test]
    fn a_peer_that_talks_without_end_is_cut() {
        static ENDLESS: [u8; 100_000] = [b'x'; 100_000];
        assert!(ask_one_that_says(&ENDLESS).is_err());
    }

    #[test]
    fn nobody_is_not_well() {
        // A port that is taken and not listened on: nobody else can get it meanwhile.
        let taken = tokio::net::TcpSocket::new_v4().unwrap();
        taken.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let error = ask(taken.local_addr().unwrap()).unwrap_err();
        assert!(matches!(error, HealthError::Connect(_)), "{error:?}");
    }
}
