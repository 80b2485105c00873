//! A secret (that a running server shares, or a platform's token): from a variable, from the service
//! manager (`LoadCredential=`) or from a file, never from a flag.
//!
//! Nothing here returns, prints or logs the secret but as [`Secret`]. A file that everybody on the
//! machine can read holds no secret, and is refused.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use ::config::ValueKind;
use onsave_protocol::Secret;

use super::{
    fault::Fault,
    fly::GivenSecret,
    keys::{self, Key},
    raw::{Reading, Setting, SettingValue},
    source::Source,
};
use crate::surroundings::Surroundings;

/// Longer than any secret; a larger file is the wrong one.
const MAX_BYTES: u64 = 4_096;

/// The variable that names the folder in which a service manager hands secrets over.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// A secret, and what the user should know about its file.
#[derive(Debug)]
pub(super) struct FoundSecret {
    pub(super) secret: Secret,
    pub(super) warning: Option<String>,
}

/// Returns the secret that a variable holds.
///
/// # Errors
///
/// What is wrong with it, for people.
pub(super) fn from_variable(value: &OsStr) -> Result<Secret, String> {
    let text = value.to_str().ok_or("must be UTF-8")?;
    Secret::from_text(text).map_err(|empty| empty.to_string())
}

/// Returns the secret that the service manager hands over under `name`, and the file that it is in;
/// nothing where it hands over none.
///
/// Whoever else may read the file was decided by the manager; an access list of its own shows as rights
/// of the group.
pub(super) fn from_manager(
    surroundings: &Surroundings,
    name: &str,
) -> Option<(PathBuf, Result<Secret, String>)> {
    let path = Path::new(surroundings.variable(CREDENTIALS)?).join(name);
    // Whatever is wrong with one that is there is a fault, and not passed over.
    fs::symlink_metadata(&path).ok()?;
    let read = || {
        let mut text = String::new();
        open_and_read(&path, &mut text).map_err(|error| unreadable(&error))?;
        secret_in(&text)
    };
    let secret = read();
    Some((path, secret))
}

/// Returns the secret that a file holds.
///
/// # Errors
///
/// What is wrong with it and what to do, for people.
pub(super) fn from_file(path: &Path) -> Result<FoundSecret, String> {
    let mut text = String::new();
    let mode = open_and_read(path, &mut text).map_err(|error| unreadable(&error))?;
    let private = format!("run `chmod 600 '{}'`", path.display());
    if mode & 0o007 != 0 {
        return Err(format!("everybody on this machine may read it; {private}"));
    }
    let secret = secret_in(&text)?;
    let warning = (mode & 0o070 != 0).then(|| {
        format!(
            "the group of {} may use the secret in it; {private}",
            path.display()
        )
    });
    Ok(FoundSecret { secret, warning })
}

impl Reading<'_> {
    /// Reads the secret of an entry of a collection, from the one place that its keys name; nothing where
    /// they name none.
    pub(super) fn entry_secret(&mut self, surroundings: &Surroundings) -> Option<GivenSecret> {
        let places = [
            &keys::ENTRY_SECRET_FILE,
            &keys::ENTRY_SECRET_ENV,
            &keys::ENTRY_SECRET_CREDENTIAL,
        ];
        self.entry_secret_at("secret", places, surroundings)
    }

    /// Reads a secret of an entry that people know by `name`; the keys say which file, which variable or
    /// which credential has it.
    pub(super) fn entry_secret_at(
        &mut self,
        name: &str,
        [file_key, variable_key, credential_key]: [&'static Key; 3],
        surroundings: &Surroundings,
    ) -> Option<GivenSecret> {
        let file = self.path(file_key);
        let variable = self.text(variable_key, named);
        let credential = self.text(credential_key, named);
        let key = self.name_of(name);
        let (found, source) = match (file, variable, credential) {
            (Some(path), None, None) => {
                let found = from_file(&path).map(|found| {
                    self.warnings.extend(found.warning);
                    found.secret
                });
                (found, Source::File(path.display().to_string()))
            }
            (None, Some(name), None) => {
                let missing = || "the variable is not set".to_owned();
                let value = surroundings.variable(&name).ok_or_else(missing);
                (value.and_then(from_variable), Source::Variable(name))
            }
            (None, None, Some(name)) => {
                let missing =
                    || Err("the service manager hands over no such credential".to_owned());
                let (path, found) =
                    from_manager(surroundings, &name).unwrap_or_else(|| (name.into(), missing()));
                (found, Source::File(path.display().to_string()))
            }
            (None, None, None) => return None,
            _ => {
                let problem = format!(
                    "only one of {}, {} and {} can be set",
                    file_key.name, variable_key.name, credential_key.name
                );
                (Err(problem), Source::Default)
            }
        };
        self.secret(&key, found, source)
    }

    /// Returns whether a secret is somewhere that this process was not given, though its keys name the
    /// place: a variable or a credential of the daemon's alone. It is noted, and no fault: what a person
    /// runs beside the daemon needs none.
    pub(super) fn is_secret_elsewhere(
        &mut self,
        name: &str,
        [file_key, variable_key, credential_key]: [&'static Key; 3],
        surroundings: &Surroundings,
    ) -> bool {
        let named_by = |key| match self.merged.get(key) {
            Some((ValueKind::String(name), _)) => named(name).ok(),
            _ => None,
        };
        let place = match (
            self.merged.get(file_key),
            named_by(variable_key),
            named_by(credential_key),
        ) {
            (None, Some(name), None) if surroundings.variable(&name).is_none() => {
                format!("the variable {name}")
            }
            (None, None, Some(name)) if from_manager(surroundings, &name).is_none() => {
                format!("the credential {name}")
            }
            _ => return false,
        };
        for key in [file_key, variable_key, credential_key] {
            self.text(key, named);
        }
        let said = self.merged.get(variable_key);
        let said = said.or_else(|| self.merged.get(credential_key));
        self.absent.push(Fault {
            key: Some(self.name_of(name)),
            value: None,
            source: said.map_or(Source::Default, |(_, source)| source),
            problem: format!("is in {place}, which this process was not given"),
        });
        true
    }

    /// Records a secret that was read, or its fault; never its value.
    pub(super) fn secret(
        &mut self,
        key: &str,
        found: Result<Secret, String>,
        source: Source,
    ) -> Option<GivenSecret> {
        match found {
            Ok(secret) => {
                self.settings.push(Setting {
                    key: key.to_owned(),
                    value: SettingValue::Text("****".to_owned()),
                    source: source.clone(),
                });
                Some(GivenSecret { secret, source })
            }
            Err(problem) => {
                self.faults.push(Fault {
                    key: Some(key.to_owned()),
                    value: None,
                    source,
                    problem,
                });
                None
            }
        }
    }
}

fn named(name: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if !name.is_empty() && name.bytes().all(is_plain) {
        Ok(name.to_owned())
    } else {
        Err(
            "must be a name of letters, digits, \"_\", \".\" and \"-\", and not the secret itself"
                .to_owned(),
        )
    }
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::InvalidData => "must hold UTF-8".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

fn secret_in(text: &str) -> Result<Secret, String> {
    if text.len() as u64 == MAX_BYTES {
        return Err(format!(
            "holds {MAX_BYTES} bytes or more: too much for a secret"
        ));
    }
    Secret::from_text(text).map_err(|empty| empty.to_string())
}

/// The mode is asked of the open file, so that both belong to the same one.
fn open_and_read(path: &Path, text: &mut String) -> io::Result<u32> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    file.take(MAX_BYTES).read_to_string(text)?;
    Ok(mode)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use tempfile::TempDir;

    use super::*;

    fn file(contents: &[u8], mode: u32) -> (TempDir, std::path::PathBuf) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn a_private_file_gives_its_secret() {
        for mode in [0o600, 0o400] {
            let (_folder, path) = file(b"hunter2\n", mode);
            let found = from_file(&path).unwrap();
            assert_eq!(found.secret.expose(), b"hunter2");
            assert_eq!(found.warning, None);
        }
    }

    #[test]
    fn a_group_is_warned_about_and_everybody_is_refused() {
        let (_folder, path) = file(b"hunter2", 0o640);
        assert!(
            from_file(&path)
                .unwrap()
                .warning
                .unwrap()
                .contains("chmod 600")
        );
        for mode in [0o644, 0o604, 0o602, 0o601] {
            let (_folder, path) = file(b"hunter2", mode);
            let error = from_file(&path).unwrap_err();
            assert!(error.contains("chmod 600") && !error.contains("hunter2"));
        }
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        for (contents, part) in [
            (&b""[..], "empty"),
            (b" \n\n", "empty"),
            (b"\xff\xfe", "UTF-8"),
            (&[b'x'; 5_000], "too much"),
        ] {
            let (_folder, path) = file(contents, 0o600);
            let error = from_file(&path).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        let folder = TempDir::new().unwrap();
        assert!(
            from_file(&folder.path().join("absent"))
                .unwrap_err()
                .contains("no such file")
        );
        assert!(from_file(folder.path()).is_err());
    }

    #[test]
    fn the_service_manager_gives_its_secret_whatever_the_mode() {
        let (folder, path) = file(b"hunter2\n", 0o440);
        let mut surroundings = Surroundings::of_process().unwrap();
        let variables = &mut surroundings.variables;
        variables.insert(CREDENTIALS.into(), folder.path().into());
        let (found_in, secret) = from_manager(&surroundings, "secret").unwrap();
        assert_eq!(found_in, path);
        assert_eq!(secret.unwrap().expose(), b"hunter2");
        assert!(from_manager(&surroundings, "another").is_none());
        fs::write(&path, "\n").unwrap();
        let (_, secret) = from_manager(&surroundings, "secret").unwrap();
        assert!(secret.unwrap_err().contains("empty"));
        surroundings.variables.insert(CREDENTIALS.into(), "".into());
        assert!(from_manager(&surroundings, "secret").is_none());
    }

    #[test]
    fn a_variable_gives_its_secret() {
        assert_eq!(
            from_variable(OsStr::new("hunter2")).unwrap().expose(),
            b"hunter2"
        );
        assert!(from_variable(OsStr::new("  ")).is_err());
        assert!(from_variable(OsStr::from_bytes(b"\xff")).is_err());
    }
}
