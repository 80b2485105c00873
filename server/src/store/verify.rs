//! Checking a whole volume: every object, manifest and tree.
//!
//! Reads everything and changes nothing. Needs the volume for itself, since a server that works on it
//! meanwhile would look like damage.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use onsave_protocol::{DeployId, Sha256Digest};

use super::{
    StoreError,
    history::{Deploy, History},
    objects::object_named,
    tree::{self, TreeFault},
    volume::{Volume, entries, named_deploy},
};

/// What a check of a volume found.
#[derive(Debug, Clone, Default)]
pub struct VerifyReport {
    /// Objects that were read and hashed.
    pub objects: u64,
    /// Bytes that were hashed.
    pub object_bytes: u64,
    /// Kept deploys whose manifests were read.
    pub deploys: u64,
    /// Trees that were compared with their deploys.
    pub trees: u64,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub what: String,
    /// Whether the server puts it right by itself.
    pub severity: Severity,
}

/// Whether the server puts something right by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The next start of the server puts it right: trees and the symlink are made from the rest.
    Mendable,
    /// Something is lost: bytes of a file, or a deploy.
    Damage,
}

impl VerifyReport {
    /// Returns whether something is lost.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        let mut severities = self.findings.iter().map(|finding| finding.severity);
        severities.any(|severity| severity == Severity::Damage)
    }

    fn add(&mut self, severity: Severity, path: impl Into<PathBuf>, what: impl fmt::Display) {
        self.findings.push(Finding {
            path: path.into(),
            what: what.to_string(),
            severity,
        });
    }

    /// Adds a failure to read something, with its causes.
    fn add_error(&mut self, path: impl Into<PathBuf>, error: &StoreError) {
        let mut what = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            what = format!("{what}: {error}");
            cause = error.source();
        }
        self.add(Severity::Damage, path, what);
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.severity {
            Severity::Damage => write!(f, "damaged: {path}: {}", self.what),
            Severity::Mendable => write!(f, "mended at the next start: {path}: {}", self.what),
        }
    }
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let Self {
            objects,
            object_bytes,
            deploys,
            trees,
            findings,
        } = self;
        write!(
            f,
            "{objects} objects ({object_bytes} bytes), {deploys} deploys, {trees} trees: "
        )?;
        match findings.len() {
            0 => write!(f, "all whole"),
            1 => write!(f, "1 finding"),
            many => write!(f, "{many} findings"),
        }
    }
}

/// Checks the volume at `root`: every object is hashed again, every kept deploy's manifest is read and
/// its objects looked up, every tree is compared with its deploy, and the head with the symlink.
///
/// # Errors
///
/// [`StoreError::Locked`] while a server has the volume open; [`StoreError::Io`] when it cannot be
/// read at all. Damage is not an error but a finding.
pub fn verify(root: &Path) -> Result<VerifyReport, StoreError> {
    let volume = Volume::open_to_read(root)?;
    let mut report = VerifyReport::default();
    let sizes = check_objects(&volume, &mut report)?;
    let history = match History::load(&volume, NonZeroUsize::MAX) {
        Ok((history, unreadable)) => {
            for deploy in unreadable {
                report.add_error(volume.manifest_path(deploy.id), &deploy.error);
            }
            history
        }
        Err(error @ StoreError::Corrupt { .. }) => {
            report.add_error(volume.head_path(), &error);
            return Ok(report);
        }
        Err(error) => return Err(error),
    };
    for deploy in history.newest_first() {
        report.deploys += 1;
        check_deploy(&volume, deploy, &sizes, &mut report);
        check_tree(&volume, deploy, &mut report)?;
    }
    check_symlink(&volume, history.current_id(), &mut report);
    Ok(report)
}

/// Returns the size of every object.
fn check_objects(
    volume: &Volume,
    report: &mut VerifyReport,
) -> Result<BTreeMap<Sha256Digest, u64>, StoreError> {
    let mut sizes = BTreeMap::new();
    for folder in volume.object_folders()? {
        for path in entries(&folder)? {
            let Some(digest) = object_named(&path) else {
                continue;
            };
            let hashed = File::open(&path).and_then(|mut file| {
                let size = file.metadata()?.len();
                Ok((size, tree::hash(&mut file)?))
            });
            match hashed {
                Ok((size, actual)) => {
                    report.objects += 1;
                    report.object_bytes += size;
                    sizes.insert(digest, size);
                    if actual != digest {
                        let what = format!("its bytes hash to {actual}");
                        report.add(Severity::Damage, path, what);
                    }
                }
                Err(error) => {
                    let error = StoreError::io("read", &path)(error);
                    report.add_error(path, &error);
                }
            }
        }
    }
    Ok(sizes)
}

fn check_deploy(
    volume: &Volume,
    deploy: &Deploy,
    sizes: &BTreeMap<Sha256Digest, u64>,
    report: &mut VerifyReport,
) {
    for (path, entry) in deploy.snapshot.iter() {
        let what = match sizes.get(&entry.digest) {
            Some(size) if *size == entry.size => continue,
            Some(size) => format!("it has {size} bytes, not the {}", entry.size),
            None => "it is missing".to_owned(),
        };
        let id = deploy.header.id;
        let what = format!("{what} that {path} of deploy {id} needs");
        report.add(Severity::Damage, volume.object_path(&entry.digest), what);
    }
}

fn check_tree(
    volume: &Volume,
    deploy: &Deploy,
    report: &mut VerifyReport,
) -> Result<(), StoreError> {
    let place = volume.tree_path(deploy.header.id);
    if !place.is_dir() {
        report.add(Severity::Mendable, place, "the tree is missing");
        return Ok(());
    }
    report.trees += 1;
    for fault in tree::compare(volume, &place, &deploy.snapshot)? {
        let (path, what) = match fault {
            TreeFault::Extra(path) => (place.join(path), "the deploy has no such file".to_owned()),
            TreeFault::Differs(path) => {
                (place.join(path), "it is not the deploy's file".to_owned())
            }
            TreeFault::Missing(files) => (place.clone(), format!("{files} files are missing")),
        };
        report.add(Severity::Mendable, path, what);
    }
    Ok(())
}

fn check_symlink(volume: &Volume, current: Option<DeployId>, report: &mut VerifyReport) {
    let path = volume.current_path();
    let named = fs::read_link(&path).ok();
    if named.as_deref().and_then(named_deploy) != current {
        let what = match current {
            Some(id) => format!("it does not name deploy {id}, which is current"),
            None => "it names a tree, but no deploy is current".to_owned(),
        };
        report.add(Severity::Mendable, path, what);
    }
}
