//! A TCP relay in front of a server: keeps one address while servers come and go behind it, and
//! notes every request that passes.
//!
//! It never changes a byte. A connection whose server is gone is closed, as a host without a
//! listener would do.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// What the relay saw so far.
#[derive(Debug, Default)]
struct Seen {
    /// `METHOD /path?query` of each request, in order.
    requests: Mutex<Vec<String>>,
    connections: AtomicU64,
    /// Bytes in both directions.
    bytes: AtomicU64,
}

/// A running relay; its threads end with the connections they serve.
#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
    seen: Arc<Seen>,
}

impl Relay {
    /// Starts a relay to `target` on a free port.
    pub(crate) fn start(target: SocketAddr) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), target)
    }

    /// Starts a relay to `target` on a free port of another address of this machine.
    pub(crate) fn start_at(address: IpAddr, target: SocketAddr) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("a port is free");
        let relay = Self {
            address: listener.local_addr().expect("it is bound"),
            target: Arc::new(Mutex::new(target)),
            seen: Arc::default(),
        };
        let target = Arc::clone(&relay.target);
        let seen = Arc::clone(&relay.seen);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let target = *lock(&target);
                seen.connections.fetch_add(1, Ordering::Relaxed);
                if let Ok(server) = TcpStream::connect(target) {
                    join(client, server, &seen);
                }
            }
        });
        relay
    }

    /// Returns where the relay listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends the connections from now on to another server.
    pub(crate) fn point_to(&self, target: SocketAddr) {
        *lock(&self.target) = target;
    }

    /// Returns the requests since the last call, as `METHOD /path`.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.seen.requests))
    }

    /// Returns how many connections were made.
    pub(crate) fn connections(&self) -> u64 {
        self.seen.connections.load(Ordering::Relaxed)
    }

    /// Returns how many bytes passed in both directions.
    pub(crate) fn bytes(&self) -> u64 {
        self.seen.bytes.load(Ordering::Relaxed)
    }
}

fn join(client: TcpStream, server: TcpStream, seen: &Arc<Seen>) {
    for stream in [&client, &server] {
        stream
            .set_nodelay(true)
            .expect("a connected socket takes options");
    }
    let upstream = (clone(&client), clone(&server));
    let seen_up = Arc::clone(seen);
    thread::spawn(move || {
        let mut requests = RequestReader::default();
        copy(upstream.0, upstream.1, &seen_up, |bytes| {
            let heads = requests.read(bytes);
            lock(&seen_up.requests).extend(heads);
        });
    });
    let seen_down = Arc::clone(seen);
    thread::spawn(move || copy(server, client, &seen_down, |_| ()));
}

fn copy(mut from: TcpStream, mut to: TcpStream, seen: &Seen, mut look: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        look(&buffer[..length]);
        seen.bytes.fetch_add(length as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // The other side may be gone already.
    to.shutdown(Shutdown::Both).ok();
    from.shutdown(Shutdown::Both).ok();
}

fn clone(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("a socket can be duplicated")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Finds the request lines in one direction of a connection.
#[derive(Debug, Default)]
pub(crate) struct RequestReader {
    head: Vec<u8>,
    /// Bytes of the current body that are still to come.
    body_left: usize,
}

impl RequestReader {
    /// Returns the requests whose head ends in `bytes`.
    pub(crate) fn read(&mut self, mut bytes: &[u8]) -> Vec<String> {
        let mut requests = Vec::new();
        while !bytes.is_empty() {
            let skipped = self.body_left.min(bytes.len());
            self.body_left -= skipped;
            bytes = &bytes[skipped..];
            let Some((first, rest)) = bytes.split_first() else {
                break;
            };
            bytes = rest;
            self.head.push(*first);
            if self.head.ends_with(b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.head).to_ascii_lowercase();
                let line = String::from_utf8_lossy(&self.head);
                let line = line.split(" HTTP/").next().unwrap_or_default().to_owned();
                self.body_left = head
                    .split("\r\ncontent-length:")
                    .nth(1)
                    .and_then(|rest| rest.split("\r\n").next())
                    .map_or(0, |length| {
                        length.trim().parse().expect("a length is a number")
                    });
                requests.push(line);
                self.head.clear();
            }
        }
        requests
    }
}
