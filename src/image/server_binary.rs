//! Where the server's program comes from: the file that the configuration names, or the one beside
//! the running `onsave`.
//!
//! Reads files and decides nothing else. A program beside that is linked dynamically, as a plain
//! `cargo build` leaves it, is passed over for a static build in Cargo's folders next to it.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::{ImageError, MAX_PROGRAM_BYTES, build_hint, elf};
use crate::shown::ShownPath;

const PROGRAM: &str = "onsave-server";

/// Where Cargo puts what is built for a named target, in the order in which they are tried.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-musl", "x86_64-unknown-linux-gnu"];

/// The server's program, checked to fit an image.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerBinary {
    /// The file that it was read from.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Bytes,
}

impl std::fmt::Debug for ServerBinary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A program is megabytes.
        f.debug_struct("ServerBinary")
            .field("path", &self.path)
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

/// Why there is no program for the image.
#[derive(Debug, thiserror::Error)]
pub enum ServerBinaryError {
    /// None of the places holds one.
    #[error("found no onsave-server for the image; looked for {}", list(.looked_for))]
    NotFound {
        /// Every place, in the order in which they were tried.
        looked_for: Vec<PathBuf>,
    },
    /// A file is there but cannot be read, or the configuration names one that is not there.
    #[error("failed to read {}", ShownPath(.path))]
    Read {
        /// The file.
        path: PathBuf,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// The file does not fit an image.
    #[error("{} cannot be made into an image", ShownPath(.path))]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ImageError,
    },
}

impl ServerBinaryError {
    /// Returns what to do next, in words.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NotFound { .. } => {
                format!("{}, or name a program in fly.server_binary", build_hint())
            }
            Self::Read { path, .. } => format!(
                "check fly.server_binary, and that {} is a file that you may read",
                ShownPath(path)
            ),
            Self::Unusable { source, .. } => source.hint(),
        }
    }
}

fn list(paths: &[PathBuf]) -> String {
    let shown = paths.iter().map(|path| ShownPath(path).to_string());
    shown.collect::<Vec<_>>().join(", ")
}

/// Returns the program that `given` names, or the first that fits near `running`, the path of the
/// running `onsave`.
///
/// Reads up to [`MAX_PROGRAM_BYTES`]: call it where blocking is allowed.
///
/// # Errors
///
/// [`ServerBinaryError`]. Where several programs are there and none fits, it tells what is wrong with
/// the first.
pub fn find(given: Option<&Path>, running: &Path) -> Result<ServerBinary, ServerBinaryError> {
    if let Some(path) = given {
        return usable(path);
    }
    let places = places_near(running);
    let mut first_fault = None;
    for path in &places {
        match usable(path) {
            Ok(found) => return Ok(found),
            Err(ServerBinaryError::Read { source, .. })
                if source.kind() == io::ErrorKind::NotFound => {}
            Err(fault) => {
                first_fault.get_or_insert(fault);
            }
        }
    }
    Err(first_fault.unwrap_or(ServerBinaryError::NotFound { looked_for: places }))
}

/// Returns where the program may be: beside `running`; and where that is in a folder of Cargo's,
/// such as `target/debug`, in those of the targets that can be static, for the same profile first.
fn places_near(running: &Path) -> Vec<PathBuf> {
    let mut places = vec![running.with_file_name(PROGRAM)];
    let profile_folder = running.parent();
    let profile = profile_folder.and_then(Path::file_name);
    if let (Some(target_folder), Some(profile)) = (profile_folder.and_then(Path::parent), profile) {
        for target in TARGETS {
            for profile in [Path::new(profile), Path::new("release")] {
                let place = target_folder.join(target).join(profile).join(PROGRAM);
                if !places.contains(&place) {
                    places.push(place);
                }
            }
        }
    }
    places
}

fn usable(path: &Path) -> Result<ServerBinary, ServerBinaryError> {
    let bytes = read(path).map_err(|source| ServerBinaryError::Read {
        path: path.into(),
        source,
    })?;
    let size = bytes.len() as u64;
    let fault = if size > MAX_PROGRAM_BYTES {
        Some(ImageError::TooLarge { size })
    } else {
        elf::check(&bytes).err().map(ImageError::Program)
    };
    match fault {
        Some(source) => Err(ServerBinaryError::Unusable {
            path: path.into(),
            source,
        }),
        None => Ok(ServerBinary {
            path: path.into(),
            bytes: bytes.into(),
        }),
    }
}

/// Reads a file, and of one that is too large only so much that it can be told.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes = Vec::new();
    file.take(MAX_PROGRAM_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::image::{
        ProgramFault,
        elf::tests::{dynamic_program, static_program},
    };

    /// A folder as Cargo fills it, with `onsave` running from `target/debug`.
    struct Target(TempDir);

    impl Target {
        fn new(files: &[(&str, &[u8])]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            for (path, bytes) in files {
                let path = folder.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
            Self(folder)
        }

        fn path(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn find(&self, given: Option<&str>) -> Result<ServerBinary, ServerBinaryError> {
            let given = given.map(|path| self.path(path));
            find(given.as_deref(), &self.path("debug/onsave"))
        }
    }

    #[test]
    fn the_program_beside_is_taken() {
        let target = Target::new(&[
            ("debug/onsave-server", &static_program()),
            ("x86_64-unknown-linux-gnu/debug/onsave-server", b"other"),
        ]);
        let found = target.find(None).unwrap();
        assert_eq!(found.path, target.path("debug/onsave-server"));
        assert_eq!(found.bytes, static_program());
        assert!(format!("{found:?}").len() < 200);
    }

    #[test]
    fn a_static_build_goes_before_a_dynamic_one_beside() {
        let built = "x86_64-unknown-linux-gnu/release/onsave-server";
        let target = Target::new(&[
            ("debug/onsave-server", &dynamic_program()),
            ("x86_64-unknown-linux-musl/debug/onsave-server", b"broken"),
            (built, &static_program()),
        ]);
        assert_eq!(target.find(None).unwrap().path, target.path(built));
    }

    #[test]
    fn of_programs_that_do_not_fit_the_first_is_told() {
        let target = Target::new(&[
            ("debug/onsave-server", &dynamic_program()),
            ("x86_64-unknown-linux-musl/release/onsave-server", b"broken"),
        ]);
        let error = target.find(None).unwrap_err();
        let ServerBinaryError::Unusable { path, source } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(*path, target.path("debug/onsave-server"));
        assert!(matches!(
            source,
            ImageError::Program(ProgramFault::Dynamic(_))
        ));
        assert!(error.hint().contains("+crt-static"), "{}", error.hint());
    }

    #[test]
    fn where_nothing_is_every_place_is_named() {
        let target = Target::new(&[]);
        let error = target.find(None).unwrap_err();
        let text = error.to_string();
        for place in [
            "debug/onsave-server",
            "x86_64-unknown-linux-musl/debug/onsave-server",
            "x86_64-unknown-linux-musl/release/onsave-server",
            "x86_64-unknown-linux-gnu/debug/onsave-server",
            "x86_64-unknown-linux-gnu/release/onsave-server",
        ] {
            let place = target.path(place).display().to_string();
            assert!(text.contains(&place), "{place} in {text}");
        }
        assert!(error.hint().contains("fly.server_binary"));
    }

    #[test]
    fn what_the_configuration_names_is_taken_or_is_an_error() {
        let target = Target::new(&[
            ("mine", &static_program()),
            ("script", b"#!/bin/sh\n"),
            ("debug/onsave-server", &static_program()),
        ]);
        let found = target.find(Some("mine")).unwrap();
        assert_eq!(found.path, target.path("mine"));
        let error = target.find(Some("script")).unwrap_err();
        assert!(matches!(error, ServerBinaryError::Unusable { .. }));
        // Nothing else is taken in its place.
        let error = target.find(Some("gone")).unwrap_err();
        assert!(error.to_string().ends_with("gone"), "{error}");
        assert!(matches!(error, ServerBinaryError::Read { .. }));
        // A folder is no program.
        let error = target.find(Some("debug")).unwrap_err();
        assert!(matches!(error, ServerBinaryError::Read { .. }), "{error:?}");
    }
}
