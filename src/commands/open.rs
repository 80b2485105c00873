//! `onsave open`: the dashboard of a running daemon, in a browser.
//!
//! The address has the token behind its `#`, which a browser keeps to itself. It is never an argument
//! of a program, which every user of the machine could read: the browser is given a page in the state
//! folder that leads there, and that only its owner can read.

use std::{
    io,
    path::Path,
    process::{Command, Stdio},
};

use super::CommandError;
use crate::{cli::OpenArgs, control::client::ControlClient, state_folder::SiteState};

/// What opens a file with the program that the user chose for it.
const OPENER: &str = if cfg!(target_os = "macos") {
    "open"
} else {
    "xdg-open"
};

/// Why the dashboard could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The daemon listens on no address.
    #[error("the running onsave has no dashboard: it listens on no address")]
    NoDashboard,
    /// No browser could be started.
    #[error("failed to open a browser with {OPENER}")]
    Browser(#[source] io::Error),
}

impl OpenError {
    /// Returns what the user can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoDashboard => {
                "its log says why; control.listen in onsave.toml names the address".to_owned()
            }
            Self::Browser(_) => {
                "`onsave open --print` prints the address to open yourself".to_owned()
            }
        }
    }
}

/// Runs the command, and returns what to print.
///
/// # Errors
///
/// [`CommandError`].
pub(super) async fn run(args: &OpenArgs, state: &SiteState) -> Result<String, CommandError> {
    let mut client = ControlClient::connect(&state.control_socket()).await?;
    let status = client.status().await?;
    let address = status.address.ok_or(OpenError::NoDashboard)?;
    let token = state.control_token()?;
    // Hexadecimal digits.
    let token = String::from_utf8_lossy(token.expose());
    let url = format!("{address}/#token={token}");
    if args.print {
        return Ok(format!("{url}\n"));
    }
    let page = state.write_opening_page(&page(&url))?;
    let opened = tokio::task::spawn_blocking(move || open(&page)).await;
    opened
        .unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(OpenError::Browser)?;
    Ok(format!("opened {address}\n"))
}

/// Starts the browser, and waits until it has the page.
fn open(page: &Path) -> io::Result<()> {
    let status = Command::new(OPENER)
        .arg(page)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("it ended with {status}")))
    }
}

/// Returns the page that leads to `url`, which has nothing that HTML would read otherwise.
fn page(url: &str) -> String {
    format!(
        "<!doctype html>\n<meta charset=\"utf-8\">\n<title>onsave</title>\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta http-equiv=\"refresh\" content=\"0; url={url}\">\n\
         <p><a href=\"{url}\">The dashboard of onsave</a></p>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_leads_to_the_dashboard_by_itself_and_by_a_link() {
        let page = page("http://127.0.0.1:4747/#token=0123");
        assert!(page.contains("content=\"0; url=http://127.0.0.1:4747/#token=0123\""));
        assert!(page.contains("href=\"http://127.0.0.1:4747/#token=0123\""));
    }
}
