//! The memory of nonces: each is accepted once for as long as its signature could be replayed.
//!
//! Owns the file `nonces` in the volume: one line per accepted request, `<unix seconds> <nonce>`,
//! appended before the request is let through, and read again at start. A killed process loses
//! nothing, since what was written is the kernel's. A power loss may lose the last lines; what they
//! protect is then protected by preconditions alone (a changeset names its base) and by the time a
//! machine takes to start. So a line is not fsynced: it would double the cost of a publish.
//!
//! A full volume does not close the server: then a nonce is remembered in memory only, and the log
//! says so.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    sync::Mutex,
};

/// Most nonces remembered at once, about 150 bytes each. Only holders of the secret add any, and
/// ten minutes of them have to fit: 333 requests in every second.
const MAX_NONCES: usize = 200_000;

/// What expired is dropped, and the file written anew, when it holds this many lines and twice what
/// was remembered the last time.
const COMPACT_LINES: usize = 4_096;

/// The memory of nonces.
#[derive(Debug)]
pub(super) struct Nonces(Mutex<Memory>);

#[derive(Debug)]
struct Memory {
    path: PathBuf,
    file: File,
    lines: usize,
    /// How many lines the file may hold before it is compacted.
    most_lines: usize,
    until: HashMap<String, u64>,
}

/// What remembering a nonce found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remembered {
    /// The nonce is new; it is remembered now.
    New,
    /// The nonce was used.
    Known,
    /// There is no room, and forgetting one would let a request be replayed.
    Full,
}

/// The file of nonces cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the nonces in {} cannot be read or written", path.display())]
pub struct NonceError {
    path: PathBuf,
    source: io::Error,
}

impl Nonces {
    /// Returns the nonces that the file at `path` remembers at `now`; the file is made if absent.
    pub(super) fn open(path: &Path, now: u64) -> Result<Self, NonceError> {
        let failed = |source| NonceError {
            path: path.to_owned(),
            source,
        };
        let until = read(path, now).map_err(failed)?;
        let file = rewrite(path, &until).map_err(failed)?;
        Ok(Self(Mutex::new(Memory {
            path: path.to_owned(),
            file,
            lines: until.len(),
            most_lines: most_lines(until.len()),
            until,
        })))
    }

    /// Remembers `nonce` until the Unix second `until`, unless it is known.
    ///
    /// Writes some 80 bytes to the page cache, which is quicker than a change of threads.
    pub(super) fn remember(&self, nonce: &str, until: u64, now: u64) -> Remembered {
        let Ok(mut memory) = self.0.lock() else {
            return Remembered::Full;
        };
        let memory = &mut *memory;
        if memory.until.get(nonce).is_some_and(|known| *known >= now) {
            return Remembered::Known;
        }
        if memory.until.len() >= MAX_NONCES {
            memory.until.retain(|_, until| *until >= now);
            if memory.until.len() >= MAX_NONCES {
                return Remembered::Full;
            }
        }
        memory.until.insert(nonce.to_owned(), until);
        if let Err(error) = memory.append(nonce, until, now) {
            tracing::warn!(
                "a nonce is remembered in memory only; {} cannot be written: {error}",
                memory.path.display()
            );
        }
        Remembered::New
    }
}

impl Memory {
    fn append(&mut self, nonce: &str, until: u64, now: u64) -> io::Result<()> {
        if self.lines >= self.most_lines {
            self.until.retain(|_, until| *until >= now);
            self.file = rewrite(&self.path, &self.until)?;
            self.lines = self.until.len();
            self.most_lines = most_lines(self.lines);
            return Ok(());
        }
        self.file.write_all(line(nonce, until).as_bytes())?;
        self.lines += 1;
        Ok(())
    }
}

fn most_lines(remembered: usize) -> usize {
    COMPACT_LINES.max(2 * remembered)
}

/// Returns a line with its line feed in front, so that a line that was cut off before it, by a kill
/// or by a full volume, spoils no other.
fn line(nonce: &str, until: u64) -> String {
    format!("\n{until} {nonce}")
}

/// Reads what is still of use. A line that was cut off is skipped, or names a nonce that nobody uses.
fn read(path: &Path, now: u64) -> io::Result<HashMap<String, u64>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
        opened => opened?,
    };
    let mut until = HashMap::new();
    for line in BufReader::new(file).split(b'\n') {
        let line = line?;
        let parsed = std::str::from_utf8(&line)
            .ok()
            .and_then(|line| line.split_once(' '))
            .and_then(|(until, nonce)| Some((until.parse::<u64>().ok()?, nonce)));
        if let Some((seconds, nonce)) = parsed
            && seconds >= now
            && until.len() < MAX_NONCES
        {
            until.insert(nonce.to_owned(), seconds);
        }
    }
    Ok(until)
}

/// Replaces the file by one that holds `until`, and returns it, open to append.
fn rewrite(path: &Path, until: &HashMap<String, u64>) -> io::Result<File> {
    let temporary = path.with_extension("new");
    let text: String = until
        .iter()
        .map(|(nonce, until)| line(nonce, *until))
        .collect();
    fs::write(&temporary, text)?;
    fs::rename(&temporary, path)?;
    OpenOptions::new().append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_new_once_until_it_expires() {
        let folder = tempfile::tempdir().unwrap();
        let nonces = Nonces::open(&folder.path().join("nonces"), 1_000).unwrap();
        assert_eq!(nonces.remember("a", 1_300, 1_000), Remembered::New);
        assert_eq!(nonces.remember("a", 1_300, 1_300), Remembered::Known);
        assert_eq!(nonces.remember("b", 1_300, 1_000), Remembered::New);
        assert_eq!(nonces.remember("a", 1_700, 1_301), Remembered::New);
    }

    #[test]
    fn a_restart_forgets_only_what_expired() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nonces");
        let nonces = Nonces::open(&path, 1_000).unwrap();
        assert_eq!(nonces.remember("old", 1_100, 1_000), Remembered::New);
        assert_eq!(nonces.remember("young", 1_300, 1_000), Remembered::New);
        drop(nonces);
        // A kill in the middle of a write leaves half a line.
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"\n13").unwrap();
        let nonces = Nonces::open(&path, 1_200).unwrap();
        assert_eq!(nonces.remember("young", 1_300, 1_200), Remembered::Known);
        assert_eq!(nonces.remember("old", 1_300, 1_200), Remembered::New);
        drop(nonces);
        let nonces = Nonces::open(&path, 1_200).unwrap();
        assert_eq!(nonces.remember("old", 1_300, 1_200), Remembered::Known);
    }

    #[test]
    fn a_line_that_was_cut_off_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nonces");
        let nonces = Nonces::open(&path, 1_000).unwrap();
        assert_eq!(nonces.remember("first", 1_300, 1_000), Remembered::New);
        // A volume that runs full in the middle of a write leaves half a line.
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"\n1300 cut").unwrap();
        assert_eq!(nonces.remember("second", 1_300, 1_000), Remembered::New);
        drop(nonces);
        let nonces = Nonces::open(&path, 1_000).unwrap();
        for nonce in ["first", "second"] {
            assert_eq!(nonces.remember(nonce, 1_300, 1_000), Remembered::Known);
        }
    }

    #[test]
    fn the_file_is_compacted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nonces");
        let nonces = Nonces::open(&path, 0).unwrap();
        for at in 0..3 * COMPACT_LINES as u64 {
            let nonce = format!("nonce-{at}");
            assert_eq!(nonces.remember(&nonce, at, at), Remembered::New);
        }
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= COMPACT_LINES + 1, "{lines}");
        let last = 3 * COMPACT_LINES as u64 - 1;
        let nonces = Nonces::open(&path, last).unwrap();
        let nonce = format!("nonce-{last}");
        assert_eq!(nonces.remember(&nonce, last, last), Remembered::Known);
    }
}
