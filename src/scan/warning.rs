//! What a scan leaves out, or doubts, and says so.

use std::path::{Path, PathBuf};

use onsave_protocol::{SitePath, rules::Diagnostic, site_path::SitePathError};

use crate::{
    shown::{ShownPath, ShownText},
    site_names::{Collision, CollisionKind},
};

/// Something that is not published as a reader of the folder would expect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScanWarning {
    /// The permissions forbid reading it.
    #[error("{} cannot be read and is not published", ShownPath(.0))]
    Unreadable(PathBuf),
    /// Its name is not UTF-8.
    #[error("the name of {} is not UTF-8: it is not published", ShownPath(.0))]
    NotUtf8(PathBuf),
    /// Its name cannot be a site path.
    #[error(
        "{} is not published, because its name cannot be: {problem}",
        ShownPath(path)
    )]
    Unpublishable {
        /// The file or folder.
        path: PathBuf,
        /// The rule that its name breaks.
        problem: SitePathError,
    },
    /// It looks like a secret.
    #[error("{} looks like a secret and is not published", ShownPath(.0))]
    LooksSecret(PathBuf),
    /// It lies where the server has its own calls, so that no visitor could see it.
    #[error("{} is not published, because the server keeps /_icd/ for itself", .0.display())]
    Reserved(PathBuf),
    /// A symlink that is not followed.
    #[error("the symlink {} is not followed: {problem}", ShownPath(path))]
    Link {
        /// The symlink.
        path: PathBuf,
        /// Why not.
        problem: LinkProblem,
    },
    /// A pipe, socket or device.
    #[error("{} is neither a file nor a folder and is not published", ShownPath(.0))]
    Special(PathBuf),
    /// A line of a rule file is not understood.
    #[error(
        "line {line} of {} is not understood and does not apply: {}",
        ShownPath(path),
        ShownText(problem)
    )]
    BadPattern {
        /// The rule file.
        path: PathBuf,
        /// The line, counted from one.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A line of the site's own rules is not understood, or does other than it seems to.
    #[error("{}", fault.in_file(file))]
    SiteRule {
        /// `_redirects` or `_headers`.
        file: &'static str,
        /// What is wrong with it.
        fault: Diagnostic,
    },
    /// Two names that are one, or would be on another file system.
    #[error("{}", collision_text(.0))]
    Collision(Collision),
}

/// Why a symlink is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkProblem {
    /// Its target does not exist.
    #[error("its target does not exist")]
    Dangling,
    /// Its target is not in the site folder.
    #[error("its target is outside the site folder")]
    Outside,
    /// Its target is ignored.
    #[error("its target is ignored")]
    Ignored,
    /// Following it would come back to itself.
    #[error("it leads back to a folder that holds it")]
    Loop,
    /// It lies behind too many other symlinks.
    #[error("it lies behind too many other symlinks")]
    TooDeep,
}

impl ScanWarning {
    /// Returns the local path that the warning is about, relative to the site folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Unreadable(path)
            | Self::NotUtf8(path)
            | Self::LooksSecret(path)
            | Self::Reserved(path)
            | Self::Special(path)
            | Self::Unpublishable { path, .. }
            | Self::Link { path, .. }
            | Self::BadPattern { path, .. } => path,
            Self::SiteRule { file, .. } => Path::new(file),
            Self::Collision(collision) => Path::new(collision.other.as_str()),
        }
    }
}

fn collision_text(collision: &Collision) -> String {
    let Collision {
        winner,
        other,
        kind,
    } = collision;
    match kind {
        // The two look the same on most screens: escapes tell them apart.
        CollisionKind::NormalForm => format!(
            "{} and {} are one name in different Unicode forms: only the first is published",
            ascii(winner),
            ascii(other),
        ),
        CollisionKind::Case => format!(
            "{winner} and {other} differ only in case: both are published, but many systems take \
             them for one"
        ),
    }
}

fn ascii(path: &SitePath) -> String {
    let mut text = String::with_capacity(path.as_str().len());
    for character in path.as_str().chars() {
        if character.is_ascii() {
            text.push(character);
        } else {
            text.extend(character.escape_unicode());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_of_a_collision_are_told_apart() {
        let collision = |winner, other, kind| {
            ScanWarning::Collision(Collision {
                winner: SitePath::parse(winner).unwrap(),
                other: SitePath::parse(other).unwrap(),
                kind,
            })
            .to_string()
        };
        let text = collision("\u{e5}.html", "a\u{30a}.html", CollisionKind::NormalForm);
        assert!(
            text.starts_with("\\u{e5}.html and a\\u{30a}.html are"),
            "{text}"
        );
        let text = collision("A.html", "a.html", CollisionKind::Case);
        assert!(text.starts_with("A.html and a.html differ"), "{text}");
    }

    #[test]
    fn a_link_says_why() {
        let warning = ScanWarning::Link {
            path: "a/l".into(),
            problem: LinkProblem::Outside,
        };
        assert_eq!(
            warning.to_string(),
            "the symlink a/l is not followed: its target is outside the site folder"
        );
        assert_eq!(warning.path(), Path::new("a/l"));
    }

    /// A name is whatever the file system takes, and a rule file holds whatever somebody typed.
    #[test]
    fn no_name_forges_a_line_or_moves_the_cursor() {
        let path = || PathBuf::from("a\n\u{1b}[2Jb");
        let warnings = [
            ScanWarning::Unreadable(path()),
            ScanWarning::NotUtf8(path()),
            ScanWarning::Unpublishable {
                path: path(),
                problem: SitePath::parse("a\nb").unwrap_err(),
            },
            ScanWarning::LooksSecret(path()),
            ScanWarning::Link {
                path: path(),
                problem: LinkProblem::Loop,
            },
            ScanWarning::Special(path()),
            ScanWarning::BadPattern {
                path: path(),
                line: 1,
                problem: "{\u{1b}[2J: unclosed".into(),
            },
        ];
        for warning in warnings {
            let text = warning.to_string();
            assert!(!text.contains(char::is_control), "{text:?}");
            assert!(text.contains("a\\n\\u{1b}[2Jb"), "{text}");
        }
    }
}
