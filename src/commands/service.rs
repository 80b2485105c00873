//! `onsave service`: this site's daemon as a user service of systemd.
//!
//! Install and uninstall can be repeated, and touch nothing that onsave did not write. A site's unit is
//! found by the site that stands in it, not by its name: so it is found after the app was renamed, and
//! when the configuration has faults, which is when one wants to know how the service stands.

mod error;
mod report;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

pub use self::error::ServiceError;
use self::report::{as_json, as_text, how_it_ended};
use super::{CommandError, Shape};
use crate::{
    cli::{ServiceCommand, ServiceLogsArgs, ServiceStatusArgs},
    config::{self, FlagLayer, GivenSecret, Loaded, Setting, Source, TargetConfig},
    service::{self, ManagerError, ServiceState, SiteUnit, UserManager, site_of, unit_name},
    shown::ShownPath,
    site_lock::{LockError, SiteLock},
    state_folder::SiteState,
    surroundings::Surroundings,
};

/// The unit of a site.
struct Unit {
    name: String,
    path: PathBuf,
    text: String,
}

/// Runs the command.
///
/// # Errors
///
/// [`CommandError`].
pub(super) fn run(
    command: &ServiceCommand,
    (surroundings, flags): (&Surroundings, &FlagLayer),
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let site = config::root(surroundings, flags);
    match command {
        ServiceCommand::Install => super::print(install(surroundings, flags), Shape::Text, out),
        ServiceCommand::Uninstall => super::print(uninstall(surroundings, &site), Shape::Text, out),
        ServiceCommand::Status(args) => {
            let status = status(surroundings, &site, args);
            super::print(status, Shape::asked(args.json), out)
        }
        // journalctl writes by itself, since it may go on for ever.
        ServiceCommand::Logs(args) => Ok(show_logs(surroundings, &site, args)?),
    }
}

fn install(surroundings: &Surroundings, flags: &FlagLayer) -> Result<String, CommandError> {
    let loaded = config::load(surroundings, flags)?;
    refuse_what_stays_behind(&loaded)?;
    let manager = UserManager::find(surroundings).map_err(ServiceError::from)?;
    let unit = planned(surroundings, &loaded)?;
    let folder = units_folder(surroundings)?;
    let earlier = installed(&folder, &loaded.config.root)?;
    refuse_foreign(&unit)?;
    let before = manager.state(&unit.name).map_err(ServiceError::from)?;
    let before = before.unwrap_or_default();
    refuse_second_daemon(surroundings, &loaded, before.pid)?;
    if let Some(earlier) = earlier.as_ref().filter(|earlier| earlier.name != unit.name) {
        // The app was renamed, and two daemons would be one too many.
        remove(&manager, earlier)?;
    }
    let is_new = earlier.is_none_or(|earlier| earlier.text != unit.text);
    if is_new {
        write(&unit)?;
        manager.reload().map_err(ServiceError::from)?;
    }
    manager.enable(&unit.name).map_err(ServiceError::from)?;
    if is_new || before.active != "active" {
        start(&manager, &unit)?;
    }
    let state = manager.state(&unit.name).map_err(ServiceError::from)?;
    let wrote = format!("wrote {}\n", ShownPath(&unit.path));
    Ok([
        if is_new { wrote } else { String::new() },
        as_text(&unit.name, &state.unwrap_or_default()),
        remarks(&manager, &loaded),
    ]
    .concat())
}

/// A service that starts without what the configuration needs fails at the next boot, unseen.
fn refuse_what_stays_behind(loaded: &Loaded) -> Result<(), ServiceError> {
    let names = |setting: &Setting| match &setting.source {
        Source::Variable(name) => Some(name.clone()),
        Source::Default | Source::File(_) | Source::Flag(_) => None,
    };
    let settings = loaded.settings.iter();
    // A site that is there is published to without a token; the remarks say so.
    let needed = settings.filter(|setting| setting.key != config::TOKEN_SETTING);
    let mut names: Vec<_> = needed.filter_map(names).collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        Ok(())
    } else {
        Err(ServiceError::FromTerminal { names })
    }
}

/// Returns the unit as it ought to be.
fn planned(surroundings: &Surroundings, loaded: &Loaded) -> Result<Unit, ServiceError> {
    let config = &loaded.config;
    let (secret_file, token_file) = match &config.target {
        TargetConfig::Local(_) => (None, None),
        TargetConfig::Url(url) => (file_of(&url.secret_source), None),
        TargetConfig::Fly(fly) => {
            let file = |given: &Option<GivenSecret>| file_of(&given.as_ref()?.source);
            (file(&fly.secret), file(&fly.token))
        }
    };
    let state_home = surroundings.variable("XDG_STATE_HOME").map(PathBuf::from);
    let site = SiteUnit {
        app: config.app.clone(),
        program: surroundings
            .program
            .clone()
            .ok_or(ServiceError::NoProgram)?,
        root: config.root.clone(),
        config_file: config.file.clone(),
        state_home: state_home.filter(|path| path.is_absolute()),
        secret_file,
        token_file,
    };
    let name = unit_name(&config.app);
    Ok(Unit {
        path: units_folder(surroundings)?.join(&name),
        text: site.text()?,
        name,
    })
}

fn file_of(source: &Source) -> Option<PathBuf> {
    match source {
        Source::File(path) => Some(path.into()),
        Source::Default | Source::Variable(_) | Source::Flag(_) => None,
    }
}

/// The service would wait for the daemon in some terminal, and fail.
fn refuse_second_daemon(
    surroundings: &Surroundings,
    loaded: &Loaded,
    service: Option<u32>,
) -> Result<(), CommandError> {
    let state = SiteState::locate(surroundings, &loaded.config.root)?;
    state.create()?;
    match SiteLock::try_take(&state) {
        Err(LockError::Held { pid }) if pid == service && pid.is_some() => Ok(()),
        Err(error) => Err(error.into()),
        // Released at once.
        Ok(_free) => Ok(()),
    }
}

fn refuse_foreign(unit: &Unit) -> Result<(), ServiceError> {
    let path = unit.path.clone();
    let Some(text) = read(&path)? else {
        return Ok(());
    };
    match site_of(&text) {
        None => Err(ServiceError::Foreign { path }),
        Some(site) if Some(&site) != site_of(&unit.text).as_ref() => {
            Err(ServiceError::OtherSite { path, site })
        }
        Some(_) => Ok(()),
    }
}

fn start(manager: &UserManager, unit: &Unit) -> Result<(), ServiceError> {
    match manager.restart(&unit.name) {
        Err(ManagerError::Refused { said, .. }) => {
            let state = manager.state(&unit.name)?.unwrap_or_default();
            let why = how_it_ended(&state).unwrap_or(said);
            Err(ServiceError::NotStarted { why })
        }
        started => Ok(started?),
    }
}

fn uninstall(surroundings: &Surroundings, site: &Path) -> Result<String, CommandError> {
    let Some(unit) = installed(&units_folder(surroundings)?, site)? else {
        return Ok("this site has no service; nothing was removed\n".to_owned());
    };
    let manager = UserManager::find(surroundings).map_err(ServiceError::from)?;
    remove(&manager, &unit)?;
    Ok(format!(
        "stopped {}, and removed {}\n",
        unit.name,
        ShownPath(&unit.path)
    ))
}

fn remove(manager: &UserManager, unit: &Unit) -> Result<(), ServiceError> {
    manager.disable_now(&unit.name)?;
    fs::remove_file(&unit.path).map_err(|source| ServiceError::Write {
        path: unit.path.clone(),
        source,
    })?;
    Ok(manager.reload()?)
}

fn status(
    surroundings: &Surroundings,
    site: &Path,
    args: &ServiceStatusArgs,
) -> Result<String, CommandError> {
    let folder = units_folder(surroundings)?;
    let unit = installed(&folder, site)?.ok_or(ServiceError::NotInstalled)?;
    let manager = UserManager::find(surroundings).map_err(ServiceError::from)?;
    let state = known_state(&manager, &unit)?;
    Ok(if args.json {
        super::json_line(&as_json(&unit.name, &unit.path, &state))
    } else {
        as_text(&unit.name, &state)
    })
}

fn known_state(manager: &UserManager, unit: &Unit) -> Result<ServiceState, ServiceError> {
    if let Some(state) = manager.state(&unit.name)? {
        return Ok(state);
    }
    // The file came here, and nobody told the manager.
    manager.reload()?;
    manager.state(&unit.name)?.ok_or(ServiceError::NotInstalled)
}

fn show_logs(
    surroundings: &Surroundings,
    site: &Path,
    args: &ServiceLogsArgs,
) -> Result<(), ServiceError> {
    let folder = units_folder(surroundings)?;
    let unit = installed(&folder, site)?.ok_or(ServiceError::NotInstalled)?;
    let lines = format!("--lines={}", args.lines);
    let mut options = vec!["--no-pager", &lines];
    if args.follow {
        options.push("--follow");
    }
    let manager = UserManager::find(surroundings)?;
    Ok(manager.show_journal(&unit.name, &options)?)
}

/// Where a user's own units are.
fn units_folder(surroundings: &Surroundings) -> Result<PathBuf, ServiceError> {
    let given = surroundings.variable("XDG_CONFIG_HOME").map(PathBuf::from);
    let home = || Some(surroundings.home.as_ref()?.join(".config"));
    let config = given.filter(|path| path.is_absolute()).or_else(home);
    Ok(config
        .ok_or(ServiceError::NoHome)?
        .join("systemd")
        .join("user"))
}

/// Returns the unit that onsave wrote for a site, whatever its name is.
fn installed(folder: &Path, site: &Path) -> Result<Option<Unit>, ServiceError> {
    let unreadable = |source| ServiceError::Read {
        path: folder.to_owned(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(unreadable)?,
    };
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !service::is_unit_name(&name) {
            continue;
        }
        let path = entry.path();
        if let Some(text) = read(&path)?
            && site_of(&text).as_deref() == Some(site)
        {
            return Ok(Some(Unit { name, path, text }));
        }
    }
    Ok(None)
}

/// Returns a unit's text; nothing where there is none, or where it is no text.
fn read(path: &Path) -> Result<Option<String>, ServiceError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ServiceError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Replaces the unit, whole or not at all: the manager may read it at any time.
fn write(unit: &Unit) -> Result<(), ServiceError> {
    let temporary = unit.path.with_extension("service.new");
    let written = || {
        if let Some(folder) = unit.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = fs::File::create(&temporary)?;
        file.write_all(unit.text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &unit.path)
    };
    written().map_err(|source| ServiceError::Write {
        path: unit.path.clone(),
        source,
    })
}

/// Returns what holds, and is easily forgotten.
fn remarks(manager: &UserManager, loaded: &Loaded) -> String {
    let mut remarks = Vec::new();
    if manager.lingers() == Some(false) {
        remarks.push(
            "it ends with your last session, and starts with the next; `loginctl enable-linger` lets it \
             run from the boot on\n"
                .to_owned(),
        );
    }
    if let TargetConfig::Fly(fly) = &loaded.config.target
        && let Some(GivenSecret {
            source: Source::Variable(name),
            ..
        }) = &fly.token
    {
        remarks.push(format!(
            "it publishes without {name}, which only this terminal has; to let it change the app too, put \
             the token into a file that fly.token_file names\n"
        ));
    }
    remarks.concat()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn unit(folder: &Path, app: &str, site: &str) -> Unit {
        let name = unit_name(app);
        Unit {
            path: folder.join(&name),
            text: format!("[Unit]\n\n[X-Onsave]\nSite={site}\n"),
            name,
        }
    }

    #[test]
    fn a_unit_is_found_by_its_site_whatever_its_name_is() {
        let home = TempDir::new().unwrap();
        let folder = home.path().join("systemd/user");
        assert!(installed(&folder, Path::new("/a")).unwrap().is_none());
        write(&unit(&folder, "one", "/a")).unwrap();
        write(&unit(&folder, "two", "/b")).unwrap();
        fs::write(folder.join("onsave-three.service"), b"\xff[Unit]\n").unwrap();
        fs::write(folder.join("other.service"), "[X-Onsave]\nSite=/c\n").unwrap();
        let found = installed(&folder, Path::new("/b")).unwrap().unwrap();
        assert_eq!(found.name, "onsave-two.service");
        assert!(installed(&folder, Path::new("/c")).unwrap().is_none());
        assert_eq!(
            fs::read_dir(&folder).unwrap().count(),
            4,
            "nothing else is left"
        );
    }

    #[test]
    fn what_somebody_else_wrote_is_left_alone() {
        let folder = TempDir::new().unwrap();
        let mine = unit(folder.path(), "blog", "/a");
        refuse_foreign(&mine).unwrap();
        write(&mine).unwrap();
        refuse_foreign(&mine).unwrap();
        write(&unit(folder.path(), "blog", "/b")).unwrap();
        let other = refuse_foreign(&mine).unwrap_err();
        assert!(
            other
                .to_string()
                .ends_with("is the service of another site, /b")
        );
        fs::write(&mine.path, "[Service]\nExecStart=/bin/true\n").unwrap();
        let foreign = refuse_foreign(&mine).unwrap_err();
        assert!(matches!(foreign, ServiceError::Foreign { .. }), "{foreign}");
        assert!(foreign.hint().unwrap().contains("another app"));
    }
}
