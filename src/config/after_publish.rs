//! The sections `[[after_publish]]`: what is told of a publish, to whom, and how.
//!
//! Each entry is of one kind, and a key that its kind does not have is a fault: it would do nothing, and
//! somebody meant something by it. The name of an entry is that of its queue, so that it outlives the
//! entry's place in the list.

use std::{collections::BTreeSet, path::Path, time::Duration};

use onsave_protocol::Secret;

use super::{
    BuildCommand, Source, app_name,
    fly::{self, GivenSecret},
    keys::{self, Key},
    layers::Entry,
    raw::Reading,
    sections::keep_unpublished,
    url,
};
use crate::{
    after_publish::ContentTemplate,
    fly::{Hosts, Token},
    ignore_rules::{EntryKind, Named, Patterns},
    surroundings::Surroundings,
};

/// The longest name of an entry, in bytes: it is a folder's name.
const MAX_NAME_BYTES: usize = 64;

/// Something that is told of each publish.
#[derive(Debug, Clone)]
pub struct AfterPublish {
    /// Its name, unique, of letters, digits, `-` and `_`.
    pub name: String,
    /// Which changed paths it is for; all where there is nothing.
    pub paths: Option<Patterns>,
    /// How often a delivery is tried before it is put aside.
    pub attempts: u32,
    /// How long one try may take.
    pub timeout: Duration,
    /// The variable that its secret is in, which no command gets.
    pub secret_variable: Option<String>,
    /// What is done.
    pub action: AfterAction,
}

impl AfterPublish {
    /// Returns whether it is for this path.
    #[must_use]
    pub fn is_for(&self, path: &str) -> bool {
        let names = |patterns: &Patterns| patterns.names(path, EntryKind::File) != Named::No;
        self.paths.as_ref().is_none_or(names)
    }
}

/// What is done after a publish.
#[derive(Debug, Clone)]
pub enum AfterAction {
    /// JSON is sent.
    Webhook(Webhook),
    /// Each changed JSON document is sent.
    ContentSync(ContentSync),
    /// The machines of another app on Fly.io are restarted, one after the other.
    FlyRestart(FlyRestart),
    /// The changed addresses are purged from a zone of Cloudflare's.
    CachePurge(CachePurge),
    /// A command runs in the configuration's folder.
    Command(BuildCommand),
    /// Only the daemon can do it, which is given the secret for it.
    ByDaemon,
}

/// Where JSON is sent, and in which form.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// The receiver.
    pub url: CallUrl,
    /// What is sent.
    pub format: WebhookFormat,
    /// What it is signed with, where it is.
    pub secret: Option<Secret>,
    /// Which files are content, and of which collection.
    pub templates: Vec<ContentTemplate>,
}

/// What a webhook sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookFormat {
    /// One body for a publish.
    Onsave,
    /// One body for each changed content, as receivers of `content.revalidate` take it.
    Icd,
}

/// Where documents are sent.
#[derive(Debug, Clone)]
pub struct ContentSync {
    /// The endpoint.
    pub url: CallUrl,
    /// What its header `x-sync-secret` holds.
    pub secret: Secret,
    /// What collection and slug are read from.
    pub templates: Vec<ContentTemplate>,
}

/// Which machines are restarted.
#[derive(Debug, Clone)]
pub struct FlyRestart {
    /// Their app.
    pub app: String,
    /// Their ids or names; all that run where there are none.
    pub machines: Vec<String>,
    /// What the platform is asked with.
    pub token: Token,
    /// Where the platform is.
    pub hosts: Hosts,
}

/// What is purged.
#[derive(Debug, Clone)]
pub struct CachePurge {
    /// The zone's id.
    pub zone: String,
    /// What the API is asked with.
    pub token: Secret,
    /// Where visitors see the site, without a slash at the end; what the publishes know where there is none.
    pub bases: Vec<String>,
    /// Where the API is: scheme, host and port.
    pub api_url: String,
}

/// A URL that is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallUrl {
    /// Scheme, host and port.
    pub origin: String,
    /// Path and query, as they are sent.
    pub target: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Webhook,
    ContentSync,
    FlyRestart,
    CachePurge,
    Command,
}

const KINDS: [(&str, Kind); 5] = [
    ("webhook", Kind::Webhook),
    ("content-sync", Kind::ContentSync),
    ("fly-restart", Kind::FlyRestart),
    ("cache-purge", Kind::CachePurge),
    ("command", Kind::Command),
];

static SECRET_KEYS: [&Key; 3] = [
    &keys::ENTRY_SECRET_FILE,
    &keys::ENTRY_SECRET_ENV,
    &keys::ENTRY_SECRET_CREDENTIAL,
];

impl Kind {
    fn name(self) -> &'static str {
        let mut kinds = KINDS.iter();
        kinds
            .find(|(_, kind)| *kind == self)
            .map_or("", |(name, _)| name)
    }

    /// Returns the keys that only some kinds have, and this one does.
    fn keys(self) -> Vec<&'static Key> {
        let own: &[&'static Key] = match self {
            Self::Webhook => &[&keys::AFTER_URL, &keys::AFTER_FORMAT, &keys::AFTER_TEMPLATE],
            Self::ContentSync => &[&keys::AFTER_URL, &keys::AFTER_TEMPLATE],
            Self::FlyRestart => &[&keys::AFTER_APP, &keys::AFTER_MACHINES],
            Self::CachePurge => &[&keys::AFTER_ZONE, &keys::AFTER_BASE, &keys::AFTER_API_URL],
            Self::Command => return vec![&keys::AFTER_COMMAND],
        };
        [own, &SECRET_KEYS].concat()
    }

    /// How long one try may take where nobody says: a restart waits for machines.
    const fn timeout(self) -> Duration {
        match self {
            Self::Webhook | Self::ContentSync | Self::CachePurge => Duration::from_secs(30),
            Self::FlyRestart | Self::Command => Duration::from_mins(5),
        }
    }
}

/// Reads those of `entries` that are of this collection; nothing where one of them has a fault.
pub(super) fn read(
    reading: &mut Reading<'_>,
    (surroundings, dir): (&Surroundings, Option<&Path>),
    entries: &[Entry],
) -> Option<Vec<AfterPublish>> {
    let faults_before = reading.faults.len();
    let mut read = Vec::new();
    let mut names = BTreeSet::new();
    let is_ours = |entry: &&Entry| *entry.collection == keys::AFTER_PUBLISH;
    for entry in entries.iter().filter(is_ours).cloned() {
        let one = reading.entry(entry, |reading| {
            let one = read_entry(reading, surroundings, dir);
            let name = one.as_ref().and_then(|(name, ..)| name.clone());
            if name.is_some_and(|name| !names.insert(name)) {
                let problem = "is the name of another entry as well; their queues would be one";
                reading.contradiction(&keys::AFTER_NAME, problem.to_owned());
            }
            one
        });
        read.extend(one);
    }
    if reading.faults.len() > faults_before {
        return None;
    }
    let with_name = |(name, kind, entry): (Option<String>, Kind, AfterPublish)| {
        let name = name.unwrap_or_else(|| free_name(kind, &mut names));
        AfterPublish { name, ..entry }
    };
    Some(read.into_iter().map(with_name).collect())
}

fn free_name(kind: Kind, names: &mut BTreeSet<String>) -> String {
    let numbered = |number: usize| match number {
        1 => kind.name().to_owned(),
        number => format!("{}-{number}", kind.name()),
    };
    // One more number than there are names.
    let free = (1..=names.len() + 1)
        .map(numbered)
        .find(|name| !names.contains(name))
        .expect("there are more numbers than names");
    names.insert(free.clone());
    free
}

fn read_entry(
    reading: &mut Reading<'_>,
    surroundings: &Surroundings,
    dir: Option<&Path>,
) -> Option<(Option<String>, Kind, AfterPublish)> {
    let name = reading.text(&keys::AFTER_NAME, entry_name);
    let kind = reading.choice(&keys::AFTER_KIND, &KINDS);
    let paths = reading.texts(&keys::AFTER_PATHS, super::build::pattern);
    let paths = match paths.as_deref().map(Patterns::new) {
        Some(Err(problem)) => {
            reading.contradiction(&keys::AFTER_PATHS, format!("cannot be used: {problem}"));
            None
        }
        Some(Ok(patterns)) => {
            Some(patterns).filter(|_| paths.is_some_and(|paths| !paths.is_empty()))
        }
        None => None,
    };
    // A thousand tries are more than a month.
    let attempts = reading.whole(&keys::AFTER_ATTEMPTS, 1..=1_000);
    let timeout = reading.whole(&keys::AFTER_TIMEOUT_S, 1..=86_400);
    if reading.merged.get(&keys::AFTER_KIND).is_none() {
        let problem = "is needed: \"webhook\", \"content-sync\", \"fly-restart\", \"cache-purge\" or \
                       \"command\"";
        reading.contradiction(&keys::AFTER_KIND, problem.to_owned());
    }
    let kind = kind?;
    refuse_foreign_keys(reading, kind);
    keep_secret_unpublished(reading, dir);
    let secret_variable = reading
        .merged
        .get(&keys::ENTRY_SECRET_ENV)
        .map(|(name, _)| name.to_string());
    let action = match kind {
        _ if reading.is_secret_elsewhere("secret", SECRET_KEYS, surroundings) => {
            Some(AfterAction::ByDaemon)
        }
        Kind::Webhook => read_webhook(reading, surroundings),
        Kind::ContentSync => read_content_sync(reading, surroundings),
        Kind::FlyRestart => read_fly_restart(reading, surroundings),
        Kind::CachePurge => read_cache_purge(reading, surroundings),
        Kind::Command => {
            let command = reading.command(&keys::AFTER_COMMAND);
            need(reading, &keys::AFTER_COMMAND, "such as \"./after.sh\"");
            command.map(AfterAction::Command)
        }
    };
    let entry = AfterPublish {
        name: String::new(),
        paths,
        attempts: u32::try_from(attempts?).ok()?,
        timeout: timeout.map_or(kind.timeout(), Duration::from_secs),
        secret_variable,
        action: action?,
    };
    Some((name, kind, entry))
}

/// A key of another kind would do nothing.
fn refuse_foreign_keys(reading: &mut Reading<'_>, kind: Kind) {
    let mut foreign: Vec<&'static Key> = Vec::new();
    for (_, other) in KINDS {
        for key in other.keys() {
            let is_set = !matches!(reading.merged.get(key), None | Some((_, Source::Default)));
            if is_set && !kind.keys().contains(&key) && !foreign.contains(&key) {
                foreign.push(key);
            }
        }
    }
    for key in foreign {
        let problem = format!("has no meaning where kind is \"{}\"", kind.name());
        reading.contradiction(key, problem);
    }
}

fn keep_secret_unpublished(reading: &mut Reading<'_>, dir: Option<&Path>) {
    let Some((kind, _)) = reading.merged.get(&keys::ENTRY_SECRET_FILE) else {
        return;
    };
    let file = reading.bases.root.join(kind.to_string());
    if let Some(dir) = dir {
        keep_unpublished(reading, &keys::ENTRY_SECRET_FILE, dir, &file);
    }
}

fn need(reading: &mut Reading<'_>, key: &'static Key, example: &str) {
    if reading.merged.get(key).is_none() {
        reading.contradiction(key, format!("is needed with this kind, {example}"));
    }
}

fn read_url(reading: &mut Reading<'_>) -> Option<CallUrl> {
    let url = reading.text(&keys::AFTER_URL, url::of_call);
    need(
        reading,
        &keys::AFTER_URL,
        "such as \"https://example.org/hooks/site\"",
    );
    url
}

fn read_templates(reading: &mut Reading<'_>) -> Option<Vec<ContentTemplate>> {
    let checked = |text: &str| ContentTemplate::parse(text).map(|_| text.to_owned());
    let texts = reading.texts(&keys::AFTER_TEMPLATE, checked)?;
    let parsed = texts.iter().map(|text| ContentTemplate::parse(text).ok());
    parsed.collect()
}

/// The secret, where a kind cannot be without one.
fn needed_secret(
    reading: &mut Reading<'_>,
    surroundings: &Surroundings,
    what: &str,
) -> Option<Secret> {
    let is_named = is_secret_named(reading);
    let given = reading.entry_secret(surroundings);
    if !is_named {
        let problem = format!(
            "{what} is needed with this kind: name its file here, or set secret_env or \
             secret_credential"
        );
        reading.contradiction(&keys::ENTRY_SECRET_FILE, problem);
    }
    header_secret(reading, given)
}

fn is_secret_named(reading: &Reading<'_>) -> bool {
    let mut keys = SECRET_KEYS.iter();
    keys.any(|key| reading.merged.get(key).is_some())
}

/// A secret that travels in a header has to fit into one.
fn header_secret(reading: &mut Reading<'_>, given: Option<GivenSecret>) -> Option<Secret> {
    let GivenSecret { secret, source } = given?;
    let fits = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    if secret.expose().iter().all(fits) {
        return Some(secret);
    }
    let key = reading.name_of("secret");
    let problem = "holds characters that no header can carry; letters, digits and signs can";
    reading.secret(&key, Err(problem.to_owned()), source);
    None
}

fn read_webhook(reading: &mut Reading<'_>, surroundings: &Surroundings) -> Option<AfterAction> {
    let url = read_url(reading);
    let formats = [
        ("onsave", WebhookFormat::Onsave),
        ("icd", WebhookFormat::Icd),
    ];
    let format = reading.choice(&keys::AFTER_FORMAT, &formats);
    let templates = read_templates(reading);
    let is_named = is_secret_named(reading);
    let secret = reading.entry_secret(surroundings);
    if !is_named {
        let name = reading.name_of("secret_file");
        reading.warnings.push(format!(
            "{name} is not set: what this webhook sends is not signed, and anybody could send it"
        ));
    } else if let Some(given) = &secret
        && let Err(problem) = crate::after_publish::signing_key(&given.secret)
    {
        let (key, source) = (reading.name_of("secret"), given.source.clone());
        reading.secret(&key, Err(problem), source);
    }
    let secret = secret.map(|given| given.secret);
    Some(AfterAction::Webhook(Webhook {
        url: url?,
        format: format?,
        secret,
        templates: templates?,
    }))
}

fn read_content_sync(
    reading: &mut Reading<'_>,
    surroundings: &Surroundings,
) -> Option<AfterAction> {
    let url = read_url(reading);
    let templates = read_templates(reading);
    let secret = needed_secret(reading, surroundings, "the secret for x-sync-secret");
    Some(AfterAction::ContentSync(ContentSync {
        url: url?,
        secret: secret?,
        templates: templates?,
    }))
}

fn read_fly_restart(reading: &mut Reading<'_>, surroundings: &Surroundings) -> Option<AfterAction> {
    let app = reading.text(&keys::AFTER_APP, app_name::checked);
    need(reading, &keys::AFTER_APP, "such as \"my-web\"");
    let machines = reading.texts(&keys::AFTER_MACHINES, machine);
    let is_named = is_secret_named(reading);
    let mut given = reading.entry_secret(surroundings);
    if !is_named {
        given = fly::read_token(reading, surroundings, None);
        if given.is_none() {
            let problem = "a token of Fly.io is needed with this kind: name its file here, or set \
                           FLY_API_TOKEN";
            reading.contradiction(&keys::ENTRY_SECRET_FILE, problem.to_owned());
        }
    }
    let GivenSecret { secret, source } = given?;
    let text = String::from_utf8_lossy(secret.expose());
    let token = match Token::parse(&text) {
        Ok(token) => Some(token),
        Err(error) => {
            let key = reading.name_of("secret");
            reading.secret(&key, Err(error.to_string()), source);
            None
        }
    };
    Some(AfterAction::FlyRestart(FlyRestart {
        app: app?,
        machines: machines?,
        token: token?,
        hosts: Hosts::of(surroundings),
    }))
}

fn read_cache_purge(reading: &mut Reading<'_>, surroundings: &Surroundings) -> Option<AfterAction> {
    let zone = reading.text(&keys::AFTER_ZONE, zone);
    need(reading, &keys::AFTER_ZONE, "the zone's id of 32 characters");
    let bases = reading.texts(&keys::AFTER_BASE, url::of_site);
    let api_url = reading.text(&keys::AFTER_API_URL, url::of_server);
    let token = needed_secret(reading, surroundings, "an API token of Cloudflare");
    Some(AfterAction::CachePurge(CachePurge {
        zone: zone?,
        token: token?,
        bases: bases?,
        api_url: api_url?,
    }))
}

fn entry_name(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "must be 1 to {MAX_NAME_BYTES} letters, digits, \"-\" and \"_\""
        ))
    }
}

fn machine(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("must be a machine's id or name".to_owned())
    }
}

fn zone(text: &str) -> Result<String, String> {
    if text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(text.to_owned())
    } else {
        Err("must be the zone's id: 32 hexadecimal digits".to_owned())
    }
}
