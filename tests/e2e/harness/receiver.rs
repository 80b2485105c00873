//! A receiver of webhooks on the loopback: keeps what it heard, and answers as it is told.
//!
//! Its thread ends with the test's process.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use serde_json::Value;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    /// `METHOD /path?query`.
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// The status that it was answered.
    pub(crate) status: u16,
}

impl Heard {
    /// Returns the value of a header, whose name is given in small letters.
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map_or("", |(_, value)| value)
    }

    /// Returns the body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("the body is JSON")
    }
}

#[derive(Debug, Default)]
struct State {
    heard: Vec<Heard>,
    answer: (u16, String),
}

/// A running receiver.
#[derive(Debug)]
pub(crate) struct Receiver {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Receiver {
    /// Starts one on a free port that takes everything.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let receiver = Self {
            address: listener.local_addr().expect("it is bound"),
            state: Arc::default(),
        };
        receiver.answer(200, "{\"success\":true,\"errors\":[]}");
        let state = Arc::clone(&receiver.state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A peer that was killed in the middle sent nothing that counts.
                serve(stream, &state).unwrap_or_default();
            }
        });
        receiver
    }

    /// Returns its URL, without a path.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers so from now on.
    pub(crate) fn answer(&self, status: u16, body: &str) {
        self.state().answer = (status, body.to_owned());
    }

    /// Returns what was heard so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.state().heard.clone()
    }

    /// Returns what was heard and taken.
    pub(crate) fn taken(&self) -> Vec<Heard> {
        let mut heard = self.heard();
        heard.retain(|heard| heard.status == 200);
        heard
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, length)| length.parse().unwrap_or(0));
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let (status, answer) = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let (status, answer) = state.answer.clone();
        state.heard.push(Heard {
            line,
            headers,
            body: String::from_utf8_lossy(&body).into_owned(),
            status,
        });
        (status, answer)
    };
    let length = answer.len();
    write!(
        stream.get_mut(),
        "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{answer}"
    )
}
