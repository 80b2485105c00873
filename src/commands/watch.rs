//! `onsave watch`.

use std::io::Write;

use super::CommandError;
use crate::{cli::WatchArgs, config::Config, state_folder::SiteState};

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
    args: &WatchArgs,
    config: Config,
    state: &SiteState,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    Err(CommandError::NotWired { command: "watch" })
}
