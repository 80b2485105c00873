//! The headers of a file's answers: all that depends on the path and the deploy, and not on the request.
//!
//! They are made once for a path and used for every request, since making them is most of the work of
//! answering. What the site's `_headers` say is applied last, and can change everything but what tells a
//! client how to read the answer.

use std::sync::OnceLock;

use http::{
    HeaderMap, HeaderValue,
    header::{self, HeaderName},
};
use onsave_protocol::{FileEntry, Sha256Digest, digest::Hasher, rules::HeaderStep};

use super::{
    coding::Coding,
    conditional::{self, EntityTag, Validators},
    contents::GENERATION,
    decide::Depends,
    fingerprint::is_fingerprinted,
    media_type::{self, is_compressible, is_html},
    resolve::Found,
};
use crate::{
    config::{SecurityHeaders, Serving},
    current::Current,
};

/// A save is live at the next reload: caches keep what they have, and ask whether it still holds.
const CACHE_PAGES: &str = "no-cache";
/// The name changes with the content, so that nobody ever has to ask again.
const CACHE_FINGERPRINTED: &str = "public, max-age=31536000, immutable";
/// As pages, for a stylesheet that was saved has to be live as well; shared caches may keep it.
const CACHE_OTHERS: &str = "public, max-age=0, must-revalidate";

/// Digits of the mark that rules leave in entity tags.
const RULES_DIGITS: usize = 8;

/// What an answer is made for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Occasion<'r> {
    /// What is served.
    pub(super) current: &'r Current,
    /// How the site is served.
    pub(super) serving: &'r Serving,
    /// The path as rules see it.
    pub(super) path: &'r str,
    /// What the decision depended on.
    pub(super) depends: Depends,
    /// Now, in milliseconds of Unix time.
    pub(super) now_unix_ms: u64,
}

/// Whether a file is the one that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It is: it has validators, and parts.
    Asked,
    /// It says that nothing is here.
    ErrorPage,
}

/// A file and the headers of its answers.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The file.
    pub(super) found: Found,
    /// The deploys that this was made for.
    pub(super) serial: u64,
    role: Role,
    /// Whether the answer depends on `Accept-Encoding`.
    negotiated: bool,
    compressible: bool,
    siblings: [Option<FileEntry>; Coding::ALL.len()],
    common: HeaderMap,
    last_modified: Option<u64>,
    /// What header rules made of the answer; in every entity tag, so that a change of the rules reaches
    /// those who have the content already.
    rules_mark: Option<String>,
    heads: [OnceLock<Head>; Representation::COUNT],
}

/// The form in which a file is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Representation {
    /// As it is.
    Identity,
    /// As it is, to a peer for whom a proxy may encode it on the way: its tag is weak, since a strong one
    /// would name other bytes then.
    Marked,
    /// Encoded.
    Encoded(Coding),
}

impl Representation {
    const COUNT: usize = 2 + Coding::ALL.len();

    const fn index(self) -> usize {
        match self {
            Self::Identity => 0,
            Self::Marked => 1,
            Self::Encoded(coding) => 2 + coding as usize,
        }
    }
}

/// The headers of one representation's answers.
#[derive(Debug)]
pub(super) struct Head {
    /// Of an answer with all of it.
    pub(super) whole: HeaderMap,
    /// Of the answer to a peer that has it.
    pub(super) not_modified: HeaderMap,
    tag: String,
    is_weak: bool,
    last_modified: Option<u64>,
}

impl Head {
    /// Returns what the representation is told by.
    pub(super) fn validators(&self) -> Validators<'_> {
        let tag = self.tag.as_str();
        Validators {
            etag: Some(if self.is_weak {
                EntityTag::Weak(tag)
            } else {
                EntityTag::Strong(tag)
            }),
            last_modified: self.last_modified,
        }
    }
}

impl Prepared {
    /// Returns the answers that `found` gives.
    pub(super) fn new(found: Found, role: Role, occasion: Occasion<'_>) -> Self {
        let media_type = media_type::of_path(&found.path);
        let snapshot = occasion.current.snapshot();
        let siblings = Coding::ALL.map(|coding| {
            let suffix = coding.file_suffix();
            let sibling = snapshot.get_dated(&format!("{}{suffix}", found.path));
            // One that is no smaller is no use, and hardly what its name says.
            let is_of_use = |size| (1..found.entry.size).contains(&size);
            sibling.filter(|(entry, _)| !suffix.is_empty() && is_of_use(entry.size))
        });
        let negotiated = is_compressible(&media_type) || siblings.iter().any(Option::is_some);
        // Any form of the file may be the one that changed.
        let changed = siblings.iter().flatten().map(|(_, since)| *since);
        let changed = changed.fold(found.since, u64::max);
        // What depends on more than the path is another file from one request to the next.
        let is_dated = role == Role::Asked && occasion.depends == Depends::Nothing;
        let last_modified =
            (is_dated && changed <= occasion.now_unix_ms / 1_000).then_some(changed);
        let mut prepared = Self {
            serial: occasion.current.serial(),
            role,
            negotiated,
            compressible: is_compressible(&media_type),
            siblings: siblings.map(|sibling| sibling.map(|(entry, _)| entry)),
            common: HeaderMap::with_capacity(16),
            last_modified,
            rules_mark: None,
            heads: Default::default(),
            found,
        };
        prepared.set_common(&media_type, occasion);
        prepared.rules_mark = apply_rules(&mut prepared.common, occasion.current, occasion.path);
        if role == Role::ErrorPage {
            keep_unstored(&mut prepared.common);
        }
        prepared
    }

    fn set_common(&mut self, media_type: &str, occasion: Occasion<'_>) {
        let is_html = is_html(media_type);
        let cache = match self.role {
            Role::ErrorPage => CACHE_PAGES,
            Role::Asked if is_html => CACHE_PAGES,
            Role::Asked if is_fingerprinted(&self.found.path) => CACHE_FINGERPRINTED,
            Role::Asked => CACHE_OTHERS,
        };
        let headers = &mut self.common;
        if let Ok(media_type) = HeaderValue::from_str(media_type) {
            headers.insert(header::CONTENT_TYPE, media_type);
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
        let vary = match (self.negotiated, occasion.depends) {
            (true, Depends::Accept) => Some("accept-encoding, accept"),
            (false, Depends::Accept) => Some("accept"),
            (true, Depends::Nothing | Depends::Circumstances) => Some("accept-encoding"),
            (false, Depends::Nothing | Depends::Circumstances) => None,
        };
        if let Some(vary) = vary {
            headers.insert(header::VARY, HeaderValue::from_static(vary));
        }
        if self.role == Role::Asked {
            headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        }
        if let Some(date) = self.last_modified.and_then(conditional::http_date) {
            headers.insert(header::LAST_MODIFIED, date);
        }
        security_headers(headers, is_html, occasion.serving.security_headers);
    }

    /// Returns whether the file is the one that was asked for.
    pub(super) const fn role(&self) -> Role {
        self.role
    }

    /// Returns whether the answers tell since when the file is as it is.
    pub(super) const fn is_dated(&self) -> bool {
        self.last_modified.is_some()
    }

    /// Returns whether the answer depends on `Accept-Encoding`.
    pub(super) const fn is_negotiated(&self) -> bool {
        self.negotiated
    }

    /// Returns whether encoding makes files of this type smaller.
    pub(super) const fn is_compressible(&self) -> bool {
        self.compressible
    }

    /// Returns the file of the site that is this one in `coding`.
    pub(super) fn sibling(&self, coding: Coding) -> Option<FileEntry> {
        self.siblings[coding as usize]
    }

    /// Returns the media type.
    pub(super) fn content_type(&self) -> Option<&HeaderValue> {
        self.common.get(header::CONTENT_TYPE)
    }

    /// Returns the headers of a representation of `length` bytes.
    pub(super) fn head(&self, representation: Representation, length: u64) -> &Head {
        self.heads[representation.index()].get_or_init(|| self.make_head(representation, length))
    }

    fn make_head(&self, representation: Representation, length: u64) -> Head {
        let mut whole = self.common.clone();
        whole.insert(header::CONTENT_LENGTH, length.into());
        if let Representation::Encoded(coding) = representation {
            let name = HeaderValue::from_static(coding.name());
            whole.insert(header::CONTENT_ENCODING, name);
        }
        let is_weak = representation == Representation::Marked;
        let tag = self.tag(representation);
        if self.role == Role::Asked {
            let etag = if is_weak {
                format!("W/{tag}")
            } else {
                tag.clone()
            };
            // Hex digits, letters and signs.
            if let Ok(etag) = HeaderValue::from_str(&etag) {
                whole.insert(header::ETAG, etag);
            }
        }
        // RFC 9110, section 15.4.5: those, and no others, unless they are needed.
        let mut not_modified = HeaderMap::with_capacity(4);
        for name in [
            header::CACHE_CONTROL,
            header::CONTENT_LOCATION,
            header::ETAG,
            header::EXPIRES,
            header::VARY,
        ] {
            for value in whole.get_all(&name) {
                not_modified.append(name.clone(), value.clone());
            }
        }
        Head {
            whole,
            not_modified,
            tag,
            is_weak,
            last_modified: self.last_modified,
        }
    }

    /// Returns the entity tag's opaque part, in its quotes.
    ///
    /// It names the bytes that are sent, and the rules that the headers come from.
    fn tag(&self, representation: Representation) -> String {
        let object = |digest: &Sha256Digest| conditional::object_tag(digest);
        let bytes = match representation {
            Representation::Identity | Representation::Marked => object(&self.found.entry.digest),
            Representation::Encoded(coding) => {
                if let Some(sibling) = self.sibling(coding) {
                    format!("{}-{}", object(&sibling.digest), coding.name())
                } else {
                    let name = coding.name();
                    format!("{}-{name}{GENERATION}", object(&self.found.entry.digest))
                }
            }
        };
        match &self.rules_mark {
            Some(mark) => format!("\"{bytes}-{mark}\""),
            None => format!("\"{bytes}\""),
        }
    }
}

/// Sets the headers that protect visitors; each can be taken away by `_headers`.
pub(super) fn security_headers(headers: &mut HeaderMap, is_html: bool, wanted: SecurityHeaders) {
    if wanted == SecurityHeaders::Off {
        return;
    }
    let mut set = |name: HeaderName, value| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if is_html {
        set(header::REFERRER_POLICY, "strict-origin-when-cross-origin");
        set(header::X_FRAME_OPTIONS, "SAMEORIGIN");
    }
}

/// Has caches ask again for a page that says that nothing is here, whatever the site's rules say of the path:
/// those are meant for the file, and the next save may bring it.
pub(super) fn keep_unstored(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHE_PAGES));
    headers.remove(header::EXPIRES);
}

/// Does what the site's rules say to the headers of the answer at `path`.
///
/// Returns a mark that is another when they do something else; nothing when they do nothing.
pub(super) fn apply_rules(
    headers: &mut HeaderMap,
    current: &Current,
    path: &str,
) -> Option<String> {
    let rules = current.rules().headers();
    if rules.is_empty() {
        return None;
    }
    let steps = rules.for_path(path);
    if steps.is_empty() {
        return None;
    }
    let mut done = Hasher::new();
    for step in steps {
        done.update(format!("{step:?}\n").as_bytes());
        // The rules were checked when they were parsed.
        let parsed = |name: &str| HeaderName::from_bytes(name.as_bytes()).ok();
        match step {
            HeaderStep::Set { name, value } => {
                if let (Some(name), Ok(value)) = (parsed(name), HeaderValue::from_str(&value)) {
                    headers.insert(name, value);
                }
            }
            HeaderStep::Append { name, value } => {
                if let (Some(name), Ok(value)) = (parsed(name), HeaderValue::from_str(&value)) {
                    headers.append(name, value);
                }
            }
            HeaderStep::Detach { name } => {
                headers.remove(name);
            }
        }
    }
    let mut mark = done.finish().to_hex();
    mark.truncate(RULES_DIGITS);
    Some(mark)
}
