//! The file with the whole output of the last run, in the state folder.
//!
//! Bounded: after [`MAX_LOG_BYTES`] the rest is counted, and the end is written below it. What cannot
//! be written is told once; a full disk does not stop a build.

use std::{io, path::PathBuf};

use tokio::{fs::File, io::AsyncWriteExt as _};

/// More than people read; a generator in a loop must not fill the disk.
const MAX_LOG_BYTES: u64 = 4 * 1024 * 1024;

/// The log of one run.
#[derive(Debug)]
pub(super) struct RunLog {
    path: PathBuf,
    /// Nothing once writing failed.
    file: Option<File>,
    written: u64,
    left_out: u64,
}

impl RunLog {
    /// Begins the log anew.
    pub(super) async fn begin(path: PathBuf) -> Self {
        let mut options = File::options();
        // The output may quote what only its owner may read.
        options.write(true).create(true).truncate(true).mode(0o600);
        let opened = options.open(&path).await;
        let mut log = Self {
            path,
            file: None,
            written: 0,
            left_out: 0,
        };
        match opened {
            Ok(file) => log.file = Some(file),
            Err(error) => log.fail(&error),
        }
        log
    }

    /// Adds a piece of the output.
    pub(super) async fn add(&mut self, bytes: &[u8]) {
        let length = bytes.len() as u64;
        if self.left_out > 0 || self.written + length > MAX_LOG_BYTES {
            self.left_out += length;
            return;
        }
        self.written += length;
        self.write(bytes).await;
    }

    /// Ends the log: below what was left out stand the last lines.
    pub(super) async fn end(mut self, last_lines: &[String]) {
        if self.left_out > 0 {
            let text = format!(
                "\n[{} bytes left out; the last lines:]\n{}\n",
                self.left_out,
                last_lines.join("\n")
            );
            self.write(text.as_bytes()).await;
        }
    }

    async fn write(&mut self, bytes: &[u8]) {
        let Some(file) = &mut self.file else {
            return;
        };
        // Flushed each time, so that who follows the file sees what is told.
        let written = match file.write_all(bytes).await {
            Ok(()) => file.flush().await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            self.fail(&error);
        }
    }

    fn fail(&mut self, error: &io::Error) {
        self.file = None;
        tracing::warn!(path = %self.path.display(), %error, "the output of the build cannot be kept");
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[tokio::test]
    async fn a_log_that_is_too_long_keeps_its_beginning_and_its_end() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("build.log");
        fs::write(&path, "an earlier run").unwrap();
        let mut log = RunLog::begin(path.clone()).await;
        log.add(b"begin\n").await;
        for _ in 0..5 {
            log.add(&vec![b'x'; 1024 * 1024]).await;
        }
        log.add(b"lost\n").await;
        log.end(&["the end".to_owned()]).await;
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("begin\nxxx"));
        let left_out = 2 * 1024 * 1024 + 5;
        assert!(text.ends_with(&format!(
            "\n[{left_out} bytes left out; the last lines:]\nthe end\n"
        )));
        assert!(text.len() < 5 * 1024 * 1024);
    }

    #[tokio::test]
    async fn what_cannot_be_kept_stops_nothing() {
        let home = tempfile::tempdir().unwrap();
        let mut log = RunLog::begin(home.path().to_owned()).await;
        log.add(b"x").await;
        log.end(&[]).await;
        let path = home.path().join("build.log");
        RunLog::begin(path.clone()).await.end(&[]).await;
        assert_eq!(
            fs::metadata(path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
