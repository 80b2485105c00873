//! Peers whose proofs fail too often: who they are, and when they are not listened to; pure.
//!
//! Behind a tunnel or a reverse proxy every peer is this machine, and the proxy's `X-Forwarded-For` says
//! who is behind it. Where it says nothing, there is no limit for one peer: it would shut the owner's
//! sender out with the stranger.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hyper::HeaderMap;
use tokio::time::Instant;

/// Failures within [`WINDOW`] before a peer is not listened to until the window's end.
const MOST_FAILURES: u32 = 20;

/// The span of a count.
const WINDOW: Duration = Duration::from_mins(1);

/// Peers that are remembered at once.
const MOST_PEERS: usize = 1_024;

/// Returns who a request is from, where that can be told.
pub(super) fn peer_of(connection: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
    let connection = connection?.to_canonical();
    if !connection.is_loopback() && !is_private(connection) {
        return Some(connection);
    }
    // The last entry is the nearest proxy's own; what stands before it is hearsay.
    let told = headers.get_all("x-forwarded-for").iter().next_back();
    let last = told?.to_str().ok()?.rsplit(',').next()?.trim();
    last.parse::<IpAddr>().ok().map(|peer| peer.to_canonical())
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local(),
    }
}

/// The failures of peers.
#[derive(Debug, Default)]
pub(super) struct Failures {
    counts: Mutex<HashMap<Option<IpAddr>, (Instant, u32)>>,
}

impl Failures {
    /// Returns for how long the peer is not listened to; nothing where it is.
    pub(super) fn wait(&self, peer: Option<IpAddr>, now: Instant) -> Option<Duration> {
        peer?;
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = counts.get(&peer)?;
        let rest = WINDOW.checked_sub(now.saturating_duration_since(*since))?;
        (*count >= MOST_FAILURES && !rest.is_zero()).then_some(rest)
    }

    /// Notes a failure, and returns whether it is worth telling: the first few are.
    pub(super) fn failed(&self, peer: Option<IpAddr>, now: Instant) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MOST_PEERS && !counts.contains_key(&peer) {
            counts.retain(|_, (since, _)| now.saturating_duration_since(*since) < WINDOW);
            if counts.len() >= MOST_PEERS {
                return false;
            }
        }
        let (since, count) = counts.entry(peer).or_insert((now, 0));
        if now.saturating_duration_since(*since) >= WINDOW {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= MOST_FAILURES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::verify::tests::headers;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_proxy_on_this_machine_says_who_is_behind_it() {
        let none = headers(&[]);
        let told = headers(&[("x-forwarded-for", "6.6.6.6, 203.0.113.9")]);
        for (connection, headers, peer) in [
            ("198.51.100.1", &told, Some("198.51.100.1")),
            ("127.0.0.1", &told, Some("203.0.113.9")),
            ("10.0.0.1", &told, Some("203.0.113.9")),
            ("::1", &told, Some("203.0.113.9")),
            ("::ffff:198.51.100.1", &told, Some("198.51.100.1")),
            ("127.0.0.1", &none, None),
        ] {
            let found = peer_of(Some(ip(connection)), headers);
            assert_eq!(found, peer.map(ip), "{connection}");
        }
        assert_eq!(peer_of(None, &told), None);
        let nonsense = headers(&[("x-forwarded-for", "unknown")]);
        assert_eq!(peer_of(Some(ip("127.0.0.1")), &nonsense), None);
    }

    #[test]
    fn who_fails_too_often_waits_and_nobody_else_does() {
        let failures = Failures::default();
        let now = Instant::now();
        let (bad, good) = (Some(ip("203.0.113.9")), Some(ip("203.0.113.10")));
        for _ in 0..MOST_FAILURES {
            assert_eq!(failures.wait(bad, now), None);
            assert!(failures.failed(bad, now));
        }
        assert_eq!(failures.wait(bad, now), Some(WINDOW));
        assert!(!failures.failed(bad, now));
        assert_eq!(failures.wait(good, now), None);
        assert_eq!(failures.wait(bad, now + WINDOW), None);
        assert!(failures.failed(bad, now + WINDOW));
    }

    #[test]
    fn who_cannot_be_told_apart_is_never_shut_out() {
        let failures = Failures::default();
        let now = Instant::now();
        for _ in 0..100 {
            failures.failed(None, now);
        }
        assert_eq!(failures.wait(None, now), None);
        assert!(!failures.failed(None, now), "and fills no log");
    }

    #[test]
    fn peers_are_forgotten_when_there_are_too_many() {
        let failures = Failures::default();
        let now = Instant::now();
        let peer = |n: u32| Some(IpAddr::from(n.to_be_bytes()));
        for n in 0..u32::try_from(MOST_PEERS).unwrap() {
            failures.failed(peer(n), now);
        }
        assert!(!failures.failed(peer(9_999), now));
        assert!(failures.failed(peer(9_999), now + WINDOW));
    }
}
