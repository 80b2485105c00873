//! Text files of JSON lines that end in their own checksum.
//!
//! The last line is `sha256 ` and the digest of every byte before it, so that a file that was cut
//! short or damaged is told from a whole one. Manifests and the head are such files.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead as _, BufReader, Write},
    path::{Path, PathBuf},
};

use onsave_protocol::digest::Hasher;
use serde::{Serialize, de::DeserializeOwned};

use super::StoreError;

/// What the last line starts with; no JSON line does.
const SEAL: &str = "sha256 ";

/// Writes a sealed file.
pub(super) struct SealedWriter<'a> {
    out: &'a mut dyn Write,
    hasher: Hasher,
    line: Vec<u8>,
}

impl<'a> SealedWriter<'a> {
    /// Returns a writer that has written nothing.
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            hasher: Hasher::new(),
            line: Vec::new(),
        }
    }

    /// Writes one line.
    pub(super) fn line<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, value)?;
        self.line.push(b'\n');
        self.hasher.update(&self.line);
        self.out.write_all(&self.line)
    }

    /// Writes the last line.
    pub(super) fn seal(self) -> io::Result<()> {
        writeln!(self.out, "{SEAL}{}", self.hasher.finish())
    }
}

/// Reads a sealed file.
///
/// What it returned may be used only after it has returned `None`: only then is the file known to
/// be whole.
pub(super) struct SealedReader {
    path: PathBuf,
    input: BufReader<File>,
    hasher: Hasher,
    line: String,
}

impl SealedReader {
    /// Opens a sealed file.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(StoreError::io("open", path))?;
        Ok(Self {
            path: path.to_owned(),
            input: BufReader::new(file),
            hasher: Hasher::new(),
            line: String::new(),
        })
    }

    /// Returns the next line, or `None` when the checksum was read and is right.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, StoreError> {
        self.read_line()?;
        let Some(line) = self.line.strip_suffix('\n') else {
            return Err(self.corrupt("it ends before its checksum"));
        };
        if let Some(seal) = line.strip_prefix(SEAL) {
            let hasher = std::mem::take(&mut self.hasher);
            if seal != hasher.finish().to_hex() {
                return Err(self.corrupt("its checksum is wrong"));
            }
            self.read_line()?;
            if !self.line.is_empty() {
                return Err(self.corrupt("something follows its checksum"));
            }
            return Ok(None);
        }
        self.hasher.update(self.line.as_bytes());
        match serde_json::from_str(line) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(self.corrupt(error)),
        }
    }

    /// Returns the next line, which must be there.
    pub(super) fn first<T: DeserializeOwned>(&mut self) -> Result<T, StoreError> {
        self.next()?
            .ok_or_else(|| self.corrupt("it has nothing but a checksum"))
    }

    /// Returns the error that says that this file is damaged.
    pub(super) fn corrupt(&self, what: impl fmt::Display) -> StoreError {
        StoreError::corrupt(&self.path, what)
    }

    fn read_line(&mut self) -> Result<(), StoreError> {
        self.line.clear();
        match self.input.read_line(&mut self.line) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(self.corrupt("it is not text"))
            }
            Err(error) => Err(StoreError::io("read", &self.path)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealed(lines: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = SealedWriter::new(&mut bytes);
        for line in lines {
            writer.line(line).unwrap();
        }
        writer.seal().unwrap();
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<u32>, StoreError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let mut reader = SealedReader::open(file.path())?;
        let mut lines = Vec::new();
        while let Some(line) = reader.next()? {
            lines.push(line);
        }
        Ok(lines)
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(read(&sealed(&[])).unwrap(), []);
        assert_eq!(read(&sealed(&[1, 2])).unwrap(), [1, 2]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_cut_or_changed_file_is_damaged(at in 0_usize..80, flip in 1_u8..=255) {
            let whole = sealed(&[1, 22, 333]);
            let at = at % whole.len();
            let cut = read(&whole[..at]).unwrap_err();
            prop_assert!(matches!(cut, StoreError::Corrupt { .. }), "{cut}");
            let mut changed = whole;
            changed[at] ^= flip;
            let changed = read(&changed).unwrap_err();
            prop_assert!(matches!(changed, StoreError::Corrupt { .. }), "{changed}");
        }
    }

    #[test]
    fn something_after_the_checksum_is_damage() {
        let mut bytes = sealed(&[1]);
        bytes.extend(b"2\n");
        assert!(matches!(read(&bytes), Err(StoreError::Corrupt { .. })));
    }
}
