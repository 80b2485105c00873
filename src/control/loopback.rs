//! The address that browsers reach, and whom it answers.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use tokio::net::TcpListener;

use super::{connections::Listener, guard::Guard, token::Token};
use crate::{config::ControlConfig, free_port};

/// A listener on an address, before it serves.
#[derive(Debug)]
pub struct Loopback {
    listener: TcpListener,
    guard: Guard,
}

impl Loopback {
    /// Listens on the configured address or the next free port; nothing where that is turned off.
    ///
    /// # Errors
    ///
    /// When the address is none of this machine's, or no port is free.
    pub async fn bind(config: &ControlConfig, token: Token) -> io::Result<Option<Self>> {
        let Some(wanted) = config.listen else {
            return Ok(None);
        };
        let listener = free_port::listen(wanted).await?;
        let guard = Guard {
            address: listener.local_addr()?,
            allow_hosts: config.allow_hosts.clone(),
            allow_origins: config.allow_origins.clone(),
            token,
        };
        Ok(Some(Self { listener, guard }))
    }

    /// Returns where it is reached from this machine: `http://127.0.0.1:4747`.
    #[must_use]
    pub fn url(&self) -> String {
        let address = self.guard.address;
        // An address that stands for all of the machine's is no address to connect to.
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        format!("http://{}", SocketAddr::new(ip, address.port()))
    }

    pub(super) fn into_listener(self) -> Listener {
        Listener::Address(self.listener, Arc::new(self.guard))
    }
}
