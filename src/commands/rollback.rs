//! `onsave rollback`.

use std::io::Write;

use super::CommandError;
use crate::{cli::RollbackArgs, config::Config, state_folder::SiteState};

/// Runs the command.
///
/// # Errors
///
/// [`CommandError`].
#[expect(
    clippy::unused_async,
    unused_variables,
    reason = "the seam where the command is plugged in"
)]
pub(super) async fn run(
    args: &RollbackArgs,
    config: Config,
    state: &SiteState,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    Err(CommandError::NotWired {
        command: "rollback",
    })
}
