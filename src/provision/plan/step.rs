//! One step of a plan: what it is, and its words for people and scripts.

use std::fmt;

use crate::fly::resources::IpKind;

/// Why the secret is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretReason {
    /// The app has none.
    First,
    /// The app has one that this machine does not know, or that drifted.
    Unknown,
    /// It was asked for.
    Rotated,
    /// A change that was begun earlier did not reach the server.
    Unfinished,
}

/// One step. Each can be repeated: done twice, it comes to the same.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Make the app.
    CreateApp,
    /// Give it a public address.
    AssignIp(IpKind),
    /// Send the image to the registry, as far as it is not there.
    PushImage {
        /// Its name.
        reference: String,
        /// Bytes of the layer.
        bytes: u64,
    },
    /// Set the app's secret.
    SetSecret(SecretReason),
    /// Make the volume.
    CreateVolume,
    /// Make the volume larger.
    ExtendVolume {
        /// Its id.
        id: String,
        /// Its size, in gigabytes.
        from_gb: u32,
        /// Its size afterwards.
        to_gb: u32,
    },
    /// Keep the volume's snapshots for another time.
    KeepSnapshots {
        /// Its id.
        id: String,
        /// Days that they are kept.
        days: u32,
    },
    /// Make the machine.
    CreateMachine,
    /// Give the machine another configuration, and boot it with that.
    UpdateMachine {
        /// Its id.
        id: String,
        /// What changes, in words.
        changes: Vec<String>,
    },
    /// Start the machine.
    StartMachine {
        /// Its id.
        id: String,
    },
    /// Wait until the server answers at its address and takes the secret.
    AwaitServer,
    /// Request a certificate.
    RequestCertificate(String),
    /// Remove the certificate of a domain that left the configuration.
    RemoveCertificate(String),
}

impl Step {
    /// Returns the step's name for scripts.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CreateApp => "createApp",
            Self::AssignIp(_) => "assignIp",
            Self::PushImage { .. } => "pushImage",
            Self::SetSecret(_) => "setSecret",
            Self::CreateVolume => "createVolume",
            Self::ExtendVolume { .. } => "extendVolume",
            Self::KeepSnapshots { .. } => "keepSnapshots",
            Self::CreateMachine => "createMachine",
            Self::UpdateMachine { .. } => "updateMachine",
            Self::StartMachine { .. } => "startMachine",
            Self::AwaitServer => "awaitServer",
            Self::RequestCertificate(_) => "requestCertificate",
            Self::RemoveCertificate(_) => "removeCertificate",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateApp => f.write_str("make the app"),
            Self::AssignIp(IpKind::V6) => f.write_str("assign an IPv6 address"),
            Self::AssignIp(IpKind::SharedV4) => f.write_str("assign a shared IPv4 address"),
            Self::PushImage { bytes, .. } => {
                write!(f, "push the image, {:.1} MB", *bytes as f64 / 1e6)
            }
            Self::SetSecret(SecretReason::First) => f.write_str("set the secret"),
            Self::SetSecret(SecretReason::Unknown) => {
                f.write_str("set a new secret: the app's is not the one that is known here")
            }
            Self::SetSecret(SecretReason::Rotated) => {
                f.write_str("set a new secret beside the present one")
            }
            Self::SetSecret(SecretReason::Unfinished) => {
                f.write_str("set the secret, as was begun earlier")
            }
            Self::CreateVolume => f.write_str("make the volume"),
            Self::ExtendVolume { from_gb, to_gb, .. } => {
                write!(f, "extend the volume from {from_gb} to {to_gb} GB")
            }
            Self::KeepSnapshots { days, .. } => {
                write!(f, "keep the volume's snapshots for {days} days")
            }
            Self::CreateMachine => f.write_str("make the machine"),
            Self::UpdateMachine { changes, .. } => {
                write!(f, "update the machine: {}", changes.join("; "))
            }
            Self::StartMachine { .. } => f.write_str("start the machine"),
            Self::AwaitServer => f.write_str("wait for the server"),
            Self::RequestCertificate(domain) => write!(f, "request a certificate for {domain}"),
            Self::RemoveCertificate(domain) => write!(f, "remove the certificate of {domain}"),
        }
    }
}
