//! Failed signatures per peer, in windows of one minute.
//!
//! The table is bounded: when it is full, windows that are over go first, and then whichever peer
//! failed least. An attacker with many addresses can so make the server forget single failures, but
//! not those of the peers that fail most.

use std::{collections::HashMap, net::IpAddr, sync::Mutex, time::Duration};

use tokio::time::Instant;

/// How long a window lasts.
const WINDOW: Duration = Duration::from_mins(1);

/// Most peers remembered at once, about 64 bytes each.
const MAX_PEERS: usize = 4_096;

/// Counts failures.
#[derive(Debug)]
pub(super) struct Failures {
    allowed: u32,
    peers: Mutex<HashMap<IpAddr, Window>>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    since: Instant,
    failures: u32,
}

impl Failures {
    /// Returns a counter that blocks a peer after `allowed` failures in a minute.
    pub(super) fn new(allowed: u32) -> Self {
        Self {
            allowed,
            peers: Mutex::default(),
        }
    }

    /// Returns how long a peer that failed too often has to wait.
    pub(super) fn blocked(&self, peer: IpAddr) -> Option<Duration> {
        let peers = self.peers.lock().ok()?;
        let window = peers.get(&group(peer))?;
        let left = WINDOW.checked_sub(window.since.elapsed())?;
        (window.failures >= self.allowed && !left.is_zero()).then_some(left)
    }

    /// Counts one failure of `peer`.
    pub(super) fn record(&self, peer: IpAddr) {
        let Ok(mut peers) = self.peers.lock() else {
            return;
        };
        let peer = group(peer);
        if peers.len() >= MAX_PEERS && !peers.contains_key(&peer) {
            make_room(&mut peers);
        }
        let fresh = Window {
            since: Instant::now(),
            failures: 0,
        };
        let window = peers.entry(peer).or_insert(fresh);
        if window.since.elapsed() >= WINDOW {
            *window = fresh;
        }
        window.failures = window.failures.saturating_add(1);
    }
}

/// Returns what counts as one peer: an IPv6 customer has a whole /64 to choose addresses from.
fn group(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address @ IpAddr::V4(_) => address,
    }
}

fn make_room(peers: &mut HashMap<IpAddr, Window>) {
    peers.retain(|_, window| window.since.elapsed() < WINDOW);
    if peers.len() >= MAX_PEERS {
        let least = peers.iter().min_by_key(|(_, window)| window.failures);
        if let Some(peer) = least.map(|(peer, _)| *peer) {
            peers.remove(&peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + last).into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_is_blocked_for_the_rest_of_its_minute() {
        let failures = Failures::new(3);
        for _ in 0..2 {
            failures.record(peer(1));
            assert_eq!(failures.blocked(peer(1)), None);
        }
        tokio::time::advance(Duration::from_secs(20)).await;
        failures.record(peer(1));
        assert_eq!(failures.blocked(peer(1)), Some(Duration::from_secs(40)));
        assert_eq!(failures.blocked(peer(2)), None, "another peer is free");
        tokio::time::advance(Duration::from_secs(40)).await;
        assert_eq!(failures.blocked(peer(1)), None);
        failures.record(peer(1));
        assert_eq!(failures.blocked(peer(1)), None, "a new window counts anew");
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded_and_keeps_the_worst() {
        let failures = Failures::new(2);
        failures.record(peer(0));
        failures.record(peer(0));
        for other in 1..=u32::try_from(MAX_PEERS).unwrap() + 100 {
            failures.record(peer(other));
        }
        assert_eq!(failures.peers.lock().unwrap().len(), MAX_PEERS);
        assert!(failures.blocked(peer(0)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn one_ipv6_network_is_one_peer() {
        let failures = Failures::new(2);
        failures.record("2001:db8::1".parse().unwrap());
        failures.record("2001:db8::2".parse().unwrap());
        assert!(failures.blocked("2001:db8::3".parse().unwrap()).is_some());
        assert_eq!(failures.blocked("2001:db8:0:1::3".parse().unwrap()), None);
        failures.record("::ffff:10.0.0.1".parse().unwrap());
        failures.record(peer(1));
        assert!(failures.blocked(peer(1)).is_some(), "mapped is IPv4");
    }
}
