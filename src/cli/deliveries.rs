//! `onsave deliveries`.

use clap::{Args, Subcommand};

use super::OUTPUT_HEADING;
use crate::after_publish::DeliveryId;

/// `onsave deliveries`.
#[derive(Debug, Args)]
pub struct DeliveriesArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DeliveriesCommand,
}

/// What `onsave deliveries` can do.
#[derive(Debug, Subcommand)]
pub enum DeliveriesCommand {
    /// List what waits to be delivered after a publish, and what failed for good.
    List(ListDeliveriesArgs),
    /// Deliver again what failed for good, or at once what waits.
    Resend(ResendArgs),
    /// Forget a delivery.
    Drop(DropArgs),
}

impl DeliveriesCommand {
    /// Returns whether JSON is asked for.
    #[must_use]
    pub const fn json(&self) -> bool {
        match self {
            Self::List(args) => args.json,
            Self::Resend(args) => args.json,
            Self::Drop(args) => args.json,
        }
    }
}

/// `onsave deliveries list`.
#[derive(Debug, Default, Args)]
pub struct ListDeliveriesArgs {
    /// Print one JSON object, also when it fails.
    #[arg(long, help_heading = OUTPUT_HEADING)]
    pub json: bool,
}

/// `onsave deliveries resend`.
#[derive(Debug, Args)]
pub struct ResendArgs {
    /// The delivery, as the list names it.
    #[arg(value_name = "ID", required_unless_present = "all")]
    pub id: Option<DeliveryId>,
    /// Every delivery that failed for good.
    #[arg(long, conflicts_with = "id")]
    pub all: bool,
    /// Print one JSON object, also when it fails.
    #[arg(long, help_heading = OUTPUT_HEADING)]
    pub json: bool,
}

/// `onsave deliveries drop`.
#[derive(Debug, Args)]
pub struct DropArgs {
    /// The delivery, as the list names it.
    #[arg(value_name = "ID")]
    pub id: DeliveryId,
    /// Print one JSON object, also when it fails.
    #[arg(long, help_heading = OUTPUT_HEADING)]
    pub json: bool,
}
