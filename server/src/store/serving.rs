//! Making what visitors are served: a deploy's files, the rules in it, and the deploys before it.
//!
//! The rules are read from the deploy's own `_redirects` and `_headers`, once for each version of them.
//! A line that cannot be a rule is logged and left out; it never keeps a deploy from being current.

use std::{io::Read as _, sync::Arc};

use onsave_protocol::{
    FileEntry,
    rules::{MAX_HEADERS_BYTES, MAX_REDIRECTS_BYTES},
};

use super::{StoreError, head::Head, history::History, objects::Objects, volume::Volume};
use crate::{
    current::{Current, SiteRules},
    snapshot::Snapshot,
};

/// Most bytes that are read of each file of rules: one more than the parser takes, so that it can say
/// that there are more.
const MOST_READ: [usize; 2] = [MAX_REDIRECTS_BYTES + 1, MAX_HEADERS_BYTES + 1];

/// Returns what is served when the store is opened.
pub(super) fn at_start(
    history: &History,
    volume: &Volume,
    objects: &Objects,
) -> Result<Current, StoreError> {
    let Some(deploy) = history.current() else {
        return Ok(Current::default());
    };
    let mut snapshot = Arc::clone(&deploy.snapshot);
    let current_since = Head::written_unix_ms(volume)?;
    // Somebody went back before the store was closed: the files changed at that time, not when the
    // deploy was made.
    if let Some(newest) = history.newest_first().next()
        && newest.header.id > deploy.header.id
    {
        snapshot = Arc::new(newest.snapshot.returned_to(&snapshot, current_since));
    }
    let rules = objects.rules(&snapshot, &Arc::default())?;
    Ok(Current::new(
        snapshot,
        rules,
        history.earlier(current_since),
    ))
}

impl Objects {
    /// Returns the rules of `snapshot`: those of before where they are the same.
    ///
    /// # Errors
    ///
    /// When a file of rules cannot be read.
    pub(super) fn rules(
        &self,
        snapshot: &Snapshot,
        before: &Arc<SiteRules>,
    ) -> Result<Arc<SiteRules>, StoreError> {
        if before.are_of(snapshot) {
            return Ok(Arc::clone(before));
        }
        let files = SiteRules::files_of(snapshot);
        let [redirects, headers] = [0, 1].map(|at| self.read_some(files[at], MOST_READ[at]));
        let (rules, faults) = SiteRules::parse(files, &redirects?, &headers?);
        for (file, fault) in faults {
            // Whoever publishes is told as a warning, where the line was written.
            tracing::info!(
                site.path = file,
                site.line = fault.line,
                "{}",
                fault.in_file(file)
            );
        }
        Ok(Arc::new(rules))
    }

    fn read_some(&self, file: Option<FileEntry>, most: usize) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        if let Some(entry) = file {
            self.open(&entry.digest)?
                .take(most as u64)
                .read_to_end(&mut bytes)
                .map_err(StoreError::io("read", format!("object {}", entry.digest)))?;
        }
        Ok(bytes)
    }
}
