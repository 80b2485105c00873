//! What is wrong with the site's own rules, `_redirects` and `_headers`, by line.
//!
//! The server leaves out what it does not understand, and says so in its own log only; whoever wrote the
//! line sits here. Owns the faults of the files as they were scanned; a file is read once for each
//! version of it.

use onsave_protocol::{
    FileEntry, Manifest,
    rules::{
        Diagnostic, HEADERS_FILE, HeaderRules, MAX_HEADERS_BYTES, MAX_REDIRECTS_BYTES,
        REDIRECTS_FILE, Redirects,
    },
};

use super::ScanWarning;

/// The faults in the files of rules.
#[derive(Debug, Default)]
pub(super) struct SiteRules {
    redirects: Checked,
    headers: Checked,
}

/// One file, as it was read last.
#[derive(Debug, Default)]
struct Checked {
    /// What was read; nothing when there is no such file, or when it could not be read.
    entry: Option<FileEntry>,
    faults: Vec<Diagnostic>,
}

impl SiteRules {
    /// Reads the rules that are new or another in `manifest`, with `read`, which returns nothing when a
    /// file is not what the manifest says any more; the next scan then sees it.
    pub(super) fn check(
        &mut self,
        manifest: &Manifest,
        read: impl Fn(&str, &FileEntry) -> Option<Vec<u8>>,
    ) {
        let check = |checked: &mut Checked, file: &str, parse: fn(&[u8]) -> Vec<Diagnostic>| {
            let entry = manifest.get(file).copied();
            if entry == checked.entry {
                return;
            }
            let bytes = entry.and_then(|entry| read(file, &entry));
            *checked = Checked {
                entry: entry.filter(|_| bytes.is_some()),
                faults: bytes.map(|bytes| parse(&bytes)).unwrap_or_default(),
            };
        };
        check(&mut self.redirects, REDIRECTS_FILE, |bytes| {
            Redirects::parse(up_to(bytes, MAX_REDIRECTS_BYTES)).1
        });
        check(&mut self.headers, HEADERS_FILE, |bytes| {
            HeaderRules::parse(up_to(bytes, MAX_HEADERS_BYTES)).1
        });
    }

    /// Returns what is wrong, file by file and line by line.
    pub(super) fn warnings(&self) -> impl Iterator<Item = ScanWarning> {
        let of = |file, checked: &Checked| {
            let faults = checked.faults.clone().into_iter();
            faults.map(move |fault| ScanWarning::SiteRule { file, fault })
        };
        of(REDIRECTS_FILE, &self.redirects).chain(of(HEADERS_FILE, &self.headers))
    }
}

/// One byte more than is taken tells the parser that there is more.
fn up_to(bytes: &[u8], most: usize) -> &[u8] {
    &bytes[..bytes.len().min(most + 1)]
}
