//! One run at a time: whoever changes the app, or what is remembered of it, has the lock.
//!
//! Owns how long it is waited for. The lock itself ends with the process that has it.

use std::{fs::File, time::Duration};

use tokio::time::{Instant, sleep};

use super::ProvisionError;
use crate::state_folder::SiteState;

/// Time between two looks whether another process is done.
const POLL: Duration = Duration::from_millis(100);

/// How long another process may take: longer than all waits of a first run together.
const PATIENCE: Duration = Duration::from_mins(15);

/// Waits until no other process of this machine changes the app: a publish that starts beside a first
/// run finds everything made. The app is free again when the file is dropped.
///
/// # Errors
///
/// [`ProvisionError::Busy`] when the other one does not end, and [`ProvisionError::State`].
pub(crate) async fn lock(state: &SiteState) -> Result<File, ProvisionError> {
    let begun = Instant::now();
    let mut told = false;
    loop {
        if let Some(lock) = state.try_lock_fly()? {
            return Ok(lock);
        }
        if begun.elapsed() >= PATIENCE {
            return Err(ProvisionError::Busy { waited: PATIENCE });
        }
        if !std::mem::replace(&mut told, true) {
            tracing::info!("another onsave is at work on the app; waiting for it");
        }
        sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tempfile::TempDir;

    use super::*;
    use crate::surroundings::{Stream, Surroundings};

    #[tokio::test(start_paused = true)]
    async fn another_run_is_waited_for_but_not_for_ever() {
        let home = TempDir::new().unwrap();
        let surroundings = Surroundings {
            variables: [].into(),
            working_folder: "/".into(),
            home: Some(home.path().to_owned()),
            host: "desk".to_owned(),
            stderr: Stream::Other,
            program: None,
        };
        let state = SiteState::locate(&surroundings, Path::new("/x/blog")).unwrap();
        let held = lock(&state).await.unwrap();
        let error = lock(&state).await.unwrap_err();
        assert!(matches!(error, ProvisionError::Busy { waited } if waited == PATIENCE));
        assert!(error.hint().is_some());
        let (waited, ()) = tokio::join!(lock(&state), async {
            sleep(Duration::from_secs(1)).await;
            drop(held);
        });
        waited.unwrap();
    }
}
