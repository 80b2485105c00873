//! The user service of one site: the text of its unit, and which units are ours.
//!
//! Pure. The text is the shipped `systemd/onsave.service` with the few values of a site in it, so that
//! there is one text that explains each line. What onsave wrote says so in a section of its own, which
//! systemd ignores; a unit without it is somebody else's, and never touched.
//!
//! [`UserManager`] asks systemd; [`crate::commands`] puts both together.

mod user_manager;

use std::path::{Path, PathBuf};

pub use self::user_manager::{ManagerError, ServiceState, UserManager};
use crate::shown::ShownPath;

/// The shipped unit.
const SHIPPED: &str = include_str!("../systemd/onsave.service");

/// Lines of the shipped unit that belong to a site.
const DESCRIPTION: &str = "Description=onsave: publishes each save of a site";
const WORKING_FOLDER: &str = "WorkingDirectory=%h/site";
const START: &str = "ExecStart=%h/.local/bin/onsave watch";
const CREDENTIALS: [&str; 2] = [
    "#LoadCredential=sync-secret:%h/.config/onsave/sync-secret",
    "#LoadCredential=fly-token:%h/.config/onsave/fly-token",
];

/// The section that says what onsave wrote; systemd ignores names that begin so.
const OUR_SECTION: &str = "[X-Onsave]";

/// The line in it that names the site's root.
const OUR_SITE: &str = "Site=";

/// What a unit's text is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteUnit {
    /// The app's name, which names the unit.
    pub app: String,
    /// The program; absolute.
    pub program: PathBuf,
    /// The folder that the configuration stands in; absolute.
    pub root: PathBuf,
    /// The configuration file, where there is one.
    pub config_file: Option<PathBuf>,
    /// Where the state of sites is kept, when the user keeps it elsewhere.
    pub state_home: Option<PathBuf>,
    /// The file that holds the server's secret, where the configuration names one.
    pub secret_file: Option<PathBuf>,
    /// The file that holds the platform's token, where the configuration names one.
    pub token_file: Option<PathBuf>,
}

/// A path cannot be written into a unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} cannot be written into a unit of systemd", ShownPath(path))]
pub struct UnwritablePath {
    /// The path.
    pub path: PathBuf,
}

/// Returns the name of an app's unit.
///
/// An app's name has only letters, digits and hyphens, so that nothing in it is to be escaped.
#[must_use]
pub fn unit_name(app: &str) -> String {
    format!("onsave-{app}.service")
}

/// Returns whether a file of that name may be a unit of ours.
#[must_use]
pub fn is_unit_name(file_name: &str) -> bool {
    file_name
        .strip_prefix("onsave-")
        .is_some_and(|rest| rest.ends_with(".service"))
}

/// Returns the root of the site that a unit is for; nothing when onsave did not write it.
#[must_use]
pub fn site_of(unit: &str) -> Option<PathBuf> {
    let (_, ours) = unit.split_once(OUR_SECTION)?;
    let site = ours.lines().find_map(|line| line.strip_prefix(OUR_SITE))?;
    Some(PathBuf::from(site))
}

impl SiteUnit {
    /// Returns the unit's text.
    ///
    /// # Errors
    ///
    /// [`UnwritablePath`] where a path has a character that no unit can hold.
    pub fn text(&self) -> Result<String, UnwritablePath> {
        let root = writable(&self.root)?;
        let mut start = format!("ExecStart=:{} watch", quoted(writable(&self.program)?));
        if let Some(file) = &self.config_file {
            start.push_str(" --config ");
            start.push_str(&quoted(writable(file)?));
        }
        if let Some(state_home) = &self.state_home {
            let variable = format!("XDG_STATE_HOME={}", writable(state_home)?);
            start.push_str("\nEnvironment=");
            start.push_str(&quoted(&variable));
        }
        let credential = |shipped: &str, name, file: &Option<PathBuf>| match file {
            Some(file) => Ok(format!(
                "LoadCredential={name}:{}",
                without_specifiers(writable(file)?)
            )),
            None => Ok(shipped.to_owned()),
        };
        let values = [
            (
                DESCRIPTION,
                format!("Description=onsave: publishes each save of {}", self.app),
            ),
            (
                WORKING_FOLDER,
                format!("WorkingDirectory={}", without_specifiers(root)),
            ),
            (START, start),
            (
                CREDENTIALS[0],
                credential(CREDENTIALS[0], "sync-secret", &self.secret_file)?,
            ),
            (
                CREDENTIALS[1],
                credential(CREDENTIALS[1], "fly-token", &self.token_file)?,
            ),
        ];
        let sections = SHIPPED
            .find("[Unit]\n")
            .map_or(SHIPPED, |start| &SHIPPED[start..]);
        let filled = values
            .iter()
            .fold(sections.to_owned(), |text, (shipped, value)| {
                text.replacen(shipped, value, 1)
            });
        let head = self.head();
        Ok(format!(
            "{head}\n{filled}\n{OUR_SECTION}\n{OUR_SITE}{root}\n"
        ))
    }

    fn head(&self) -> String {
        let name = unit_name(&self.app);
        format!(
            "# Written by `onsave service install`, and written anew by the next one. What you want to\n\
             # have otherwise belongs into `systemctl --user edit {name}`.\n"
        )
    }
}

/// Returns the path as text, when a line of a unit can hold it.
fn writable(path: &Path) -> Result<&str, UnwritablePath> {
    let refused = || UnwritablePath {
        path: path.to_owned(),
    };
    let text = path.to_str().ok_or_else(refused)?;
    // Space at a line's end is cut off, and a backslash there joins the next line.
    let ends_well = !text.ends_with(|char: char| char.is_whitespace() || char == '\\');
    if text.chars().any(char::is_control) || !ends_well {
        return Err(refused());
    }
    Ok(text)
}

/// `%` begins a specifier everywhere in a unit.
fn without_specifiers(text: &str) -> String {
    text.replace('%', "%%")
}

/// Returns a word of a command line or of an assignment. The command line begins with `:`, so that `$`
/// is no variable in it.
fn quoted(text: &str) -> String {
    let text = without_specifiers(text)
        .replace('\\', "\\\\")
        .replace('"', "\\\"");
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit() -> SiteUnit {
        SiteUnit {
            app: "blog".to_owned(),
            program: "/opt/on save/onsave".into(),
            root: "/home/ann/100% blog".into(),
            config_file: None,
            state_home: None,
            secret_file: None,
            token_file: None,
        }
    }

    fn lines_of<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
        text.lines()
            .filter(|line| line.starts_with(start))
            .collect()
    }

    #[test]
    fn the_shipped_unit_has_each_line_that_is_replaced_once() {
        for line in [
            DESCRIPTION,
            WORKING_FOLDER,
            START,
            CREDENTIALS[0],
            CREDENTIALS[1],
        ] {
            assert_eq!(lines_of(SHIPPED, line), [line]);
        }
        assert_eq!(site_of(SHIPPED), None, "it is nobody's yet");
    }

    #[test]
    fn a_site_has_its_own_values_and_everything_else_as_shipped() {
        let text = unit().text().unwrap();
        assert_eq!(
            lines_of(&text, "ExecStart="),
            [r#"ExecStart=:"/opt/on save/onsave" watch"#]
        );
        assert_eq!(
            lines_of(&text, "WorkingDirectory="),
            ["WorkingDirectory=/home/ann/100%% blog"]
        );
        assert!(text.contains("Description=onsave: publishes each save of blog\n"));
        assert!(text.contains("systemctl --user edit onsave-blog.service"));
        assert!(lines_of(&text, "LoadCredential=").is_empty());
        assert!(lines_of(&text, "Environment=").is_empty());
        for line in SHIPPED.lines().skip_while(|line| *line != "[Unit]") {
            let replaced = [DESCRIPTION, WORKING_FOLDER, START].contains(&line);
            assert!(replaced || text.contains(line), "{line}");
        }
        assert_eq!(site_of(&text), Some(unit().root));
    }

    #[test]
    fn everything_that_is_given_is_in_it() {
        let unit = SiteUnit {
            config_file: Some(r#"/s/a "b" $HOME\x.toml"#.into()),
            state_home: Some("/state of mine".into()),
            secret_file: Some("/s/my 50% secret".into()),
            token_file: Some("/s/token".into()),
            ..unit()
        };
        let text = unit.text().unwrap();
        assert_eq!(
            lines_of(&text, "ExecStart="),
            [r#"ExecStart=:"/opt/on save/onsave" watch --config "/s/a \"b\" $HOME\\x.toml""#]
        );
        assert_eq!(
            lines_of(&text, "Environment="),
            [r#"Environment="XDG_STATE_HOME=/state of mine""#]
        );
        assert_eq!(
            lines_of(&text, "LoadCredential="),
            [
                "LoadCredential=sync-secret:/s/my 50%% secret",
                "LoadCredential=fly-token:/s/token"
            ]
        );
    }

    #[test]
    fn what_no_line_can_hold_is_refused() {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
        for root in [
            OsStr::new("/a\nExecStartPre=/bin/x"),
            OsStr::new("/a "),
            OsStr::new("/a\\"),
            OsStr::from_bytes(b"/\xff"),
        ] {
            let unit = SiteUnit {
                root: root.into(),
                ..unit()
            };
            let refused = unit.text().unwrap_err();
            assert_eq!(refused.path, root);
            assert!(!refused.to_string().contains('\n'));
        }
    }

    #[test]
    fn names_are_the_apps() {
        assert_eq!(unit_name("my-blog"), "onsave-my-blog.service");
        assert!(is_unit_name("onsave-my-blog.service"));
        for other in ["onsave.service", "onsave@.service", "onsave-x.timer"] {
            assert!(!is_unit_name(other), "{other}");
        }
    }
}
