//! `onsave domain`, and what a domain on the command line may be.

use std::str::FromStr;

use clap::{Args, Subcommand};

use super::OUTPUT_HEADING;
use crate::config;

/// `onsave domain`.
#[derive(Debug, Args)]
pub struct DomainArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DomainCommand,
}

/// What `onsave domain` can do.
#[derive(Debug, Subcommand)]
pub enum DomainCommand {
    /// Request a certificate for a domain, and show the DNS records to set.
    Add(OneDomain),
    /// List the domains, and what each waits for.
    List(AllDomains),
    /// Look whether a domain's records are set, and its certificate is there.
    Check(OneDomain),
    /// Remove a domain and its certificate.
    Remove(OneDomain),
}

impl DomainCommand {
    /// Returns whether JSON is asked for.
    #[must_use]
    pub const fn json(&self) -> bool {
        match self {
            Self::Add(args) | Self::Check(args) | Self::Remove(args) => args.json,
            Self::List(args) => args.json,
        }
    }
}

/// One domain.
#[derive(Debug, Args)]
pub struct OneDomain {
    /// The domain: `example.org`, `www.example.org` or `*.example.org`.
    #[arg(value_name = "DOMAIN")]
    pub domain: DomainName,
    /// Print one JSON object, also when it fails.
    #[arg(long, help_heading = OUTPUT_HEADING)]
    pub json: bool,
}

/// Every domain.
#[derive(Debug, Args)]
pub struct AllDomains {
    /// Print one JSON object, also when it fails.
    #[arg(long, help_heading = OUTPUT_HEADING)]
    pub json: bool,
}

/// A domain, as the configuration takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainName(String);

impl DomainName {
    /// Returns the name, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DomainName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        config::checked_domain(text).map(Self)
    }
}
