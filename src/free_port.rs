//! A listener on the address that was asked for or, when its port is taken, on the next free one.

use std::{io, net::SocketAddr};

use tokio::net::TcpListener;

/// How many ports after the wanted one are tried before the system chooses.
const PORTS_TRIED: u16 = 20;

/// Listens on `wanted` or, when its port is taken, on the next free one of that address.
///
/// # Errors
///
/// When the address is none of this machine's, or every port is taken.
pub(crate) async fn listen(wanted: SocketAddr) -> io::Result<TcpListener> {
    let last = wanted.port().saturating_add(PORTS_TRIED);
    // A port of 0 is never taken: the first try is the last.
    for port in (wanted.port()..=last).chain([0]) {
        match TcpListener::bind(SocketAddr::new(wanted.ip(), port)).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && port != 0 => {}
            outcome => return outcome,
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_taken_is_passed_by() {
        let first = listen(([127, 0, 0, 1], 0).into()).await.unwrap();
        let taken = first.local_addr().unwrap();
        let second = listen(taken).await.unwrap().local_addr().unwrap();
        assert_eq!(second.ip(), taken.ip());
        assert_ne!(second.port(), taken.port());
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused() {
        // Reserved for documentation.
        let error = listen(([192, 0, 2, 1], 0).into()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    }
}
