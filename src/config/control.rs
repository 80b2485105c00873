//! The section `[control]`: where the daemon's API listens, and whom it answers.
//!
//! An address that others reach needs the names that it is asked under: without them, the check that
//! keeps foreign web pages out would refuse everybody, or nobody.

use std::net::{IpAddr, SocketAddr};

use super::{keys, raw::Reading, url};

/// The word that turns the listener off.
const OFF: &str = "off";

/// Where and for whom the daemon's API listens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ControlConfig {
    /// The first address to try; nothing where it is turned off.
    pub listen: Option<SocketAddr>,
    /// Web origins that may use it, each as a browser writes it: `https://cms.example.org`.
    pub allow_origins: Vec<String>,
    /// Names or addresses that it may be asked under besides the loopback's, in small letters and
    /// without a port.
    pub allow_hosts: Vec<String>,
}

/// Reads the section; every key of it, so that all faults are found.
pub(super) fn read(reading: &mut Reading<'_>) -> Option<ControlConfig> {
    let listen = reading.text(&keys::CONTROL_LISTEN, address);
    let allow_origins = reading.texts(&keys::CONTROL_ALLOW_ORIGINS, origin);
    let allow_hosts = reading.texts(&keys::CONTROL_ALLOW_HOSTS, host);
    if let (Some(Some(address)), Some(hosts)) = (listen, &allow_hosts)
        && !address.ip().is_loopback()
        && hosts.is_empty()
    {
        let problem = "must be a loopback address such as \"127.0.0.1:4747\"; where other machines \
                       shall reach it, control.allow_hosts has to name the hosts it is asked under";
        reading.contradiction(&keys::CONTROL_LISTEN, problem.to_owned());
    }
    Some(ControlConfig {
        listen: listen?,
        allow_origins: allow_origins?,
        allow_hosts: allow_hosts?,
    })
}

fn address(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == OFF {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        "must be an IP address and a port, such as \"127.0.0.1:4747\", or \"off\"".to_owned()
    })
}

/// Accepts an origin alone, and returns it as browsers send it.
fn origin(text: &str) -> Result<String, String> {
    url::of_server(text).map_err(|_| {
        "must be scheme, host and port, such as \"https://cms.example.org\"".to_owned()
    })
}

/// Accepts a host without a port, and returns it as a `Host` header has it.
fn host(text: &str) -> Result<String, String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => Ok(ip.to_string()),
        Ok(IpAddr::V6(ip)) => Ok(format!("[{ip}]")),
        Err(_) => url::host_name(text).ok_or_else(|| {
            "must be host names or IP addresses without a port, such as \"sidecar\"".to_owned()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_port_or_is_off() {
        assert_eq!(address("off"), Ok(None));
        let here = SocketAddr::from(([127, 0, 0, 1], 4747));
        assert_eq!(address("127.0.0.1:4747"), Ok(Some(here)));
        for wrong in ["", "4747", "127.0.0.1", "localhost:4747", "OFF"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_origin_is_no_page_and_no_pattern() {
        for (text, kept) in [
            ("https://cms.example.org", "https://cms.example.org"),
            ("https://CMS.example.org/", "https://cms.example.org"),
            ("https://cms.example.org:443", "https://cms.example.org"),
            ("http://localhost:3000", "http://localhost:3000"),
        ] {
            assert_eq!(origin(text), Ok(kept.to_owned()), "{text}");
        }
        for wrong in [
            "*",
            "null",
            "cms.example.org",
            "https://cms.example.org/admin",
            "https://a@cms.example.org",
            "file:///index.html",
            "https://cms.example.org?x",
        ] {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_host_has_no_port_and_is_no_pattern() {
        for (text, kept) in [
            ("Sidecar", "sidecar"),
            ("cms.example.org", "cms.example.org"),
            ("192.168.1.4", "192.168.1.4"),
            ("::1", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(host(text), Ok(kept.to_owned()), "{text}");
        }
        for wrong in ["", "*", "*.example.org", "a:80", "http://a", "a b"] {
            assert!(host(wrong).is_err(), "{wrong}");
        }
    }
}
