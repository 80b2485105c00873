//! A site's own rules: `_redirects` and `_headers`, in the format of Netlify and Cloudflare Pages.
//!
//! The server applies the rules; the client shows their diagnostics before it publishes. Both parse the
//! same bytes with the same code, so that what was shown is what happens. Nothing here does I/O, and
//! nothing fails: a line that cannot be a rule becomes a [`Diagnostic`] and the rest of the file holds.
//!
//! | module | holds |
//! |---|---|
//! | `lines` | bytes → numbered lines of text, with the limits of a file |
//! | `pattern` | a path pattern, and whether a path matches it, in time that has a bound |
//! | `index` | which of many patterns a path could match |
//! | `template` | text with captures put in, encoded for where it stands |
//! | [`redirects`] | `_redirects`: the first rule that matches, and what it answers |
//! | [`headers`] | `_headers`: what the rules do to the headers of a path |
//! | [`diagnostic`] | what is wrong with a line, and what to do |
//!
//! Paths that come in are percent-decoded once and start with `/`. They are compared in Unicode normal
//! form C, the form of site paths, and letter by letter: `/A` is not `/a`.

pub mod diagnostic;
pub mod headers;
mod index;
mod lines;
mod pattern;
pub mod redirects;
mod template;

pub use diagnostic::{Diagnostic, DiagnosticCode, Severity};
pub use headers::{HeaderRules, HeaderStep};
pub use redirects::{Action, CatchAll, ErrorStatus, Match, RedirectStatus, Redirects};

/// The file of redirects, at the root of the site.
pub const REDIRECTS_FILE: &str = "_redirects";

/// The file of header rules, at the root of the site.
pub const HEADERS_FILE: &str = "_headers";

/// Most bytes of `_redirects` that are read: what comes after is refused.
///
/// Netlify's own tests hold a file of 45,000 rules; at a hundred bytes a rule it fits twice.
pub const MAX_REDIRECTS_BYTES: usize = 8 * 1024 * 1024;

/// Most bytes of `_headers` that are read: what comes after is refused.
///
/// All of it could go into one response, so it is smaller than a file of redirects.
pub const MAX_HEADERS_BYTES: usize = 1024 * 1024;

/// Longest line of either file, in bytes without its end; Cloudflare reads 2,000 characters.
pub const MAX_LINE_BYTES: usize = 8 * 1024;

/// Most rules in `_redirects`: what comes after is refused. Cloudflare takes 2,100.
pub const MAX_REDIRECT_RULES: usize = 100_000;

/// Most redirects whose `from` has the same whole segments before its first placeholder or splat, or that
/// are for one path with different query conditions: more are refused.
///
/// Those are looked at one by one, some 40 ns each, whenever a request begins so.
pub const MAX_REDIRECTS_ALIKE: usize = 10_000;

/// Most query conditions of one redirect.
pub const MAX_QUERY_CONDITIONS: usize = 16;

/// Most header lines in `_headers`, all blocks together: what comes after is refused.
///
/// One path may match every block, and the map of a response's headers holds no more than 32,768.
pub const MAX_HEADER_LINES: usize = 10_000;

/// Most diagnostics of one file; one more says how many were left out.
pub const MAX_DIAGNOSTICS: usize = 100;
