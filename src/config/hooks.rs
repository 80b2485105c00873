//! The sections `[hooks.<id>]`: who may tell of changes from outside, how that is proven, and what is
//! done about it.
//!
//! A secret that cannot be the one of its kind (a Standard Webhooks secret that is no base64) is a fault
//! here: later, it would only be a sender that is refused.

use std::{net::SocketAddr, path::Path};

use onsave_protocol::Secret;

use super::{
    Source,
    fly::GivenSecret,
    keys::{self, Key},
    layers::Entry,
    raw::Reading,
    sections::keep_unpublished,
    url,
};
use crate::{
    hooks::{PathTemplate, standard_webhooks_key},
    surroundings::Surroundings,
};

/// More than a site has senders.
const MOST_HOOKS: usize = 64;

/// The longest id: it is part of a URL that people type into forms.
const MAX_ID_BYTES: usize = 64;

/// The path that the outcomes have, which no hook can.
pub(crate) const OUTCOMES: &str = "outcomes";

/// Sanity takes at most 11 kB in a GET, and escaping makes each byte up to three.
const MAX_QUERY_BYTES: usize = 3_000;

/// The header of a shared secret where none is named.
const SECRET_HEADER: &str = "x-onsave-secret";

/// Where the secret is.
const SECRET_KEYS: [&Key; 3] = [
    &keys::ENTRY_SECRET_FILE,
    &keys::ENTRY_SECRET_ENV,
    &keys::ENTRY_SECRET_CREDENTIAL,
];

/// Where the token for the API is.
const TOKEN_KEYS: [&Key; 3] = [
    &keys::FETCH_TOKEN_FILE,
    &keys::FETCH_TOKEN_ENV,
    &keys::FETCH_TOKEN_CREDENTIAL,
];

/// Who may tell of changes from outside.
#[derive(Debug, Clone, Default)]
pub struct HooksConfig {
    /// An address where the hooks answer, and nothing else does.
    pub listen: Option<SocketAddr>,
    /// The senders, each with an id of its own.
    pub entries: Vec<HookConfig>,
}

impl HooksConfig {
    /// Returns the variables that hold secrets, which nothing that is started may get.
    #[must_use]
    pub fn secret_variables(&self) -> Vec<String> {
        let of_entry = |entry: &HookConfig| entry.secret_variables.clone();
        self.entries.iter().flat_map(of_entry).collect()
    }
}

/// One sender.
#[derive(Debug, Clone)]
pub struct HookConfig {
    /// The last part of its path: `/hooks/<id>`.
    pub id: String,
    /// How it proves who it is.
    pub verify: HookVerify,
    /// The secrets that it may prove it with, at least one unless it is absent: during a rotation, the new
    /// and the old.
    pub secrets: Vec<Secret>,
    /// What its events do.
    pub action: HookAction,
    /// The kinds of events that do something; all where there are none.
    pub events: Vec<String>,
    /// The document that is fetched first.
    pub fetch: Option<HookFetch>,
    /// The variables that its secrets came from.
    pub(crate) secret_variables: Vec<String>,
}

/// How a sender proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookVerify {
    /// `sanity-webhook-signature`.
    Sanity,
    /// `X-Hub-Signature-256`.
    GitHub,
    /// standardwebhooks.com.
    StandardWebhooks,
    /// The secret itself, in this header (small letters), or as `Authorization: Bearer`.
    SharedSecret(String),
}

/// What an event does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookAction {
    /// Runs the build command, whose success publishes.
    Build,
    /// Publishes what is there.
    Publish,
}

/// A document that is fetched from Sanity when an event names it.
#[derive(Debug, Clone)]
pub struct HookFetch {
    /// Scheme, host and port of the API.
    pub url: String,
    /// The dataset's name.
    pub dataset: String,
    /// `2025-02-19`, without the `v`.
    pub api_version: String,
    /// GROQ, with the document's id as `$id`; what it gives is written.
    pub query: String,
    /// The file that it is written to.
    pub path: PathTemplate,
    /// Needed where the dataset is private.
    pub token: Option<Secret>,
}

/// What an entry depends on besides its own keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) surroundings: &'a Surroundings,
    /// The site folder.
    pub(super) dir: Option<&'a Path>,
    /// A build command is configured.
    pub(super) builds: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Sanity,
    GitHub,
    StandardWebhooks,
    SharedSecret,
}

/// Reads the address, and every hook among `entries`.
pub(super) fn read(
    reading: &mut Reading<'_>,
    entries: &[Entry],
    place: Place<'_>,
) -> Option<HooksConfig> {
    let listen = reading.text(&keys::HOOKS_LISTEN, |text| {
        let allowed = |_| "must be an IP address and a port, such as \"127.0.0.1:4748\"".to_owned();
        text.parse::<SocketAddr>().map_err(allowed)
    });
    let entries = entries
        .iter()
        .filter(|entry| *entry.collection == keys::HOOKS);
    let mut hooks = Vec::new();
    let mut all = 0;
    for entry in entries.cloned() {
        all += 1;
        let id = entry.id.clone();
        hooks.extend(reading.entry(entry, |reading| read_hook(reading, id, place)));
    }
    if all > MOST_HOOKS {
        let problem = format!("stands beside {all} hooks, and there can be {MOST_HOOKS}");
        reading.contradiction(&keys::HOOKS_LISTEN, problem);
    }
    if all == 0 && listen.is_some() {
        let text = "nothing answers at hooks.listen: there is no section [hooks.<id>]";
        reading.warnings.push(text.to_owned());
    }
    (hooks.len() == all).then_some(HooksConfig {
        listen,
        entries: hooks,
    })
}

/// Every key is read whatever is wrong with another, so that all faults are found.
fn read_hook(reading: &mut Reading<'_>, id: String, place: Place<'_>) -> Option<HookConfig> {
    let is_named = check_id(reading, &id);
    let kind = read_kind(reading);
    let header = reading.text(&keys::HOOK_HEADER, header);
    let choices = [
        ("build", HookAction::Build),
        ("publish", HookAction::Publish),
    ];
    let action = reading.choice(&keys::HOOK_ACTION, &choices);
    let events = reading.texts(&keys::HOOK_EVENTS, event);
    let (secret, is_elsewhere) = given(reading, ("secret", SECRET_KEYS), place);
    let (token, _) = given(reading, ("fetch.token", TOKEN_KEYS), place);
    keep_secrets(reading, place);
    let secret_variables = [&secret, &token].into_iter().flatten().filter_map(variable);
    let secret_variables = secret_variables.collect();
    let fetch = read_fetch(reading, token)?;
    let secrets = if is_elsewhere {
        Some(Vec::new())
    } else {
        read_secrets(reading, kind, secret)
    };
    let action = read_action(reading, action, place.builds);
    only_for(reading, kind);
    if fetch.is_some() && !matches!(kind, Some(Kind::Sanity) | None) {
        let problem = "can be set only where verify is \"sanity\"".to_owned();
        reading.contradiction(&keys::FETCH_QUERY, problem);
    }
    let kind = kind.filter(|_| is_named)?;
    let is_github = matches!(kind, Kind::GitHub);
    Some(HookConfig {
        id,
        verify: match kind {
            Kind::Sanity => HookVerify::Sanity,
            Kind::GitHub => HookVerify::GitHub,
            Kind::StandardWebhooks => HookVerify::StandardWebhooks,
            Kind::SharedSecret => {
                HookVerify::SharedSecret(header.unwrap_or_else(|| SECRET_HEADER.to_owned()))
            }
        },
        secrets: secrets?,
        action: action?,
        events: match events {
            None if is_github => vec!["push".to_owned()],
            events => events.unwrap_or_default(),
        },
        fetch,
        secret_variables,
    })
}

/// Reads a secret; nothing where it has none, or only the daemon is given it.
fn given(
    reading: &mut Reading<'_>,
    (name, keys): (&str, [&'static Key; 3]),
    place: Place<'_>,
) -> (Option<GivenSecret>, bool) {
    if reading.is_secret_elsewhere(name, keys, place.surroundings) {
        return (None, true);
    }
    let given = reading.entry_secret_at(name, keys, place.surroundings);
    (given, false)
}

fn check_id(reading: &mut Reading<'_>, id: &str) -> bool {
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    let fits = (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(is_plain);
    if !fits || id == OUTCOMES {
        let problem = format!(
            "is part of a URL: the name in [hooks.<id>] must be up to {MAX_ID_BYTES} of a-z, 0-9, \"-\" and \
             \"_\", and not \"{OUTCOMES}\""
        );
        reading.contradiction(&keys::HOOK_VERIFY, problem);
        return false;
    }
    true
}

fn read_kind(reading: &mut Reading<'_>) -> Option<Kind> {
    let kinds = [
        ("sanity", Kind::Sanity),
        ("github", Kind::GitHub),
        ("standard-webhooks", Kind::StandardWebhooks),
        ("shared-secret", Kind::SharedSecret),
    ];
    if reading.merged.get(&keys::HOOK_VERIFY).is_none() {
        let names = kinds.map(|(name, _)| format!("\"{name}\"")).join(" or ");
        let problem = format!("is needed, since nobody else may do anything here: {names}");
        reading.contradiction(&keys::HOOK_VERIFY, problem);
    }
    reading.choice(&keys::HOOK_VERIFY, &kinds)
}

fn read_secrets(
    reading: &mut Reading<'_>,
    kind: Option<Kind>,
    secret: Option<GivenSecret>,
) -> Option<Vec<Secret>> {
    let Some(given) = secret else {
        // One that is named and cannot be read is a fault already.
        if SECRET_KEYS
            .iter()
            .all(|key| reading.merged.get(key).is_none())
        {
            let problem =
                "is needed, or secret_env or secret_credential: the secret that the sender has";
            reading.contradiction(&keys::ENTRY_SECRET_FILE, problem.to_owned());
        }
        return None;
    };
    let text = String::from_utf8_lossy(given.secret.expose()).into_owned();
    let secrets: Vec<Secret> = text
        .lines()
        .filter_map(|line| Secret::from_text(line).ok())
        .collect();
    let is_standard = matches!(kind, Some(Kind::StandardWebhooks));
    if is_standard
        && secrets
            .iter()
            .any(|secret| standard_webhooks_key(secret.expose()).is_none())
    {
        let key = reading.name_of("secret");
        let problem = "must be base64, as a rule after \"whsec_\": copy it whole from the sender";
        return reading
            .secret(&key, Err(problem.to_owned()), given.source)
            .map(|_| Vec::new());
    }
    Some(secrets)
}

fn read_action(
    reading: &mut Reading<'_>,
    action: Option<HookAction>,
    builds: bool,
) -> Option<HookAction> {
    match action {
        Some(HookAction::Build) if !builds => {
            let problem =
                "needs build.command: without it, only \"publish\" can be done".to_owned();
            reading.contradiction(&keys::HOOK_ACTION, problem);
            None
        }
        Some(action) => Some(action),
        // One that is none is a fault already.
        None if reading.merged.get(&keys::HOOK_ACTION).is_some() => None,
        None if builds => Some(HookAction::Build),
        None => Some(HookAction::Publish),
    }
}

/// Keys that another kind of sender has no use for are a misunderstanding.
fn only_for(reading: &mut Reading<'_>, kind: Option<Kind>) {
    let Some(kind) = kind else { return };
    if !matches!(kind, Kind::SharedSecret) && reading.merged.get(&keys::HOOK_HEADER).is_some() {
        let problem = "can be set only where verify is \"shared-secret\"".to_owned();
        reading.contradiction(&keys::HOOK_HEADER, problem);
    }
    if !matches!(kind, Kind::GitHub) && reading.merged.get(&keys::HOOK_EVENTS).is_some() {
        let problem = "can be set only where verify is \"github\"".to_owned();
        reading.contradiction(&keys::HOOK_EVENTS, problem);
    }
}

/// A secret that is published is one no more.
fn keep_secrets(reading: &mut Reading<'_>, place: Place<'_>) {
    let Some(dir) = place.dir else { return };
    for key in [&keys::ENTRY_SECRET_FILE, &keys::FETCH_TOKEN_FILE] {
        // Read once more, without a second word of it.
        let kind = reading.merged.get(key).map(|(kind, _)| kind.to_string());
        if let Some(text) = kind {
            let path = reading.bases.root.join(text);
            keep_unpublished(reading, key, dir, &path);
        }
    }
}

fn variable(given: &GivenSecret) -> Option<String> {
    match &given.source {
        Source::Variable(name) => Some(name.clone()),
        Source::Default | Source::File(_) | Source::Flag(_) => None,
    }
}

/// Returns nothing where something is wrong, and an inner nothing where nothing is to be fetched.
#[expect(
    clippy::option_option,
    reason = "the outer one is that of every reading: nothing where there is a fault"
)]
fn read_fetch(reading: &mut Reading<'_>, token: Option<GivenSecret>) -> Option<Option<HookFetch>> {
    let needed = [&keys::FETCH_QUERY, &keys::FETCH_PATH];
    let all = [
        &keys::FETCH_PROJECT,
        &keys::FETCH_DATASET,
        &keys::FETCH_API_VERSION,
        &keys::FETCH_QUERY,
        &keys::FETCH_PATH,
        &keys::FETCH_URL,
        &keys::FETCH_TOKEN_FILE,
        &keys::FETCH_TOKEN_ENV,
        &keys::FETCH_TOKEN_CREDENTIAL,
    ];
    let is_set = |reading: &Reading<'_>, key| {
        !matches!(reading.merged.get(key), None | Some((_, Source::Default)))
    };
    let wants = all.iter().any(|key| is_set(reading, key));
    let project = reading.text(&keys::FETCH_PROJECT, project);
    let dataset = reading.text(&keys::FETCH_DATASET, dataset);
    let api_version = reading.text(&keys::FETCH_API_VERSION, api_version);
    let query = reading.text(&keys::FETCH_QUERY, query);
    let path = reading.text(&keys::FETCH_PATH, PathTemplate::parse);
    let url = reading.text(&keys::FETCH_URL, url::of_server);
    if !wants {
        return Some(None);
    }
    for key in needed {
        if !is_set(reading, key) {
            let problem = "is needed where a document is fetched".to_owned();
            reading.contradiction(key, problem);
        }
    }
    if !is_set(reading, &keys::FETCH_PROJECT) && !is_set(reading, &keys::FETCH_URL) {
        let problem = "is needed where a document is fetched: the id that sanity.io/manage shows";
        reading.contradiction(&keys::FETCH_PROJECT, problem.to_owned());
    }
    let of_project = || Some(format!("https://{}.api.sanity.io", project?));
    Some(Some(HookFetch {
        url: url.or_else(of_project)?,
        dataset: dataset?,
        api_version: api_version?,
        query: query?,
        path: path?,
        token: token.map(|given| given.secret),
    }))
}

fn header(text: &str) -> Result<String, String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_token) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("must be the name of a header, such as \"X-Onsave-Secret\"".to_owned())
    }
}

fn event(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    if !text.is_empty() && text.bytes().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err("must be GitHub's names of events, such as [\"push\", \"release\"]".to_owned())
    }
}

fn project(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !text.is_empty() && text.len() <= 63 && text.bytes().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err("must be a project's id, such as \"abc12def\"".to_owned())
    }
}

fn dataset(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~".contains(&byte);
    if !text.is_empty() && text.len() <= 64 && text.bytes().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err("must be a dataset's name, such as \"production\"".to_owned())
    }
}

fn api_version(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('v').unwrap_or(text);
    let is_date = bare.len() == 10
        && bare.bytes().enumerate().all(|(index, byte)| match index {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    if is_date || ["1", "X"].contains(&bare) {
        Ok(bare.to_owned())
    } else {
        Err("must be a date, such as \"2025-02-19\"".to_owned())
    }
}

fn query(text: &str) -> Result<String, String> {
    if text.len() > MAX_QUERY_BYTES {
        return Err(format!("must be at most {MAX_QUERY_BYTES} bytes long"));
    }
    if !text.contains("$id") {
        return Err("must ask for the document $id, such as \"*[_id == $id][0]\"".to_owned());
    }
    Ok(text.to_owned())
}
