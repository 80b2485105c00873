//! Fingerprints: whether a file's name carries a hash of its content, so that caches may keep it
//! for a year without asking.
//!
//! Pure: a name in, a verdict out. The two mistakes do not weigh the same. A name that is taken
//! for a hash and is none leaves visitors with an old file for a year; a hash that is not seen
//! costs a 304. So a name counts only where people do not write such names, and everything that
//! may be a word, a date, a version, a part number or an identity is left to the 304.
//!
//! What counts, for files that pages load (pages, feeds, data and downloads never do: whoever
//! links to them names them by what they are):
//!
//! | hash | written by | counts as |
//! |---|---|---|
//! | hex in small letters, of a length that a digest is cut to | webpack, Parcel, Gatsby, Next, Docusaurus, Rails, Hugo, Django | `name.hash`, `name-hash`, the whole name |
//! | base64url of 8 | Vite, Rollup, Astro, Nuxt, VitePress | `name-hash`, `name.hash` |
//! | base32 of 8, in capitals | esbuild, Angular | `name-hash` |
//! | base64url of 10 and a width | Eleventy's images | `hash-640` |
//! | hex after `_hu` | Hugo's images | `name_hu_hash` |
//! | any, in `_app/immutable/` | SvelteKit | the folder, whose name is the promise |
//!
//! How a hash is told from a word: chance mixes letters and digits, people do not.
//! [`runs`] counts how often a token changes between them, and [`oddities`] how often it does
//! what no spelling does. The shorter the token, and the more people name files of its kind, the
//! more is asked for: see [`Kind`] and [`Folder`].

/// Files that a fingerprint may make immutable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Scripts, styles and fonts: named by tools, or by people who keep to small letters.
    Built,
    /// Images, sound and video: often named by people, cameras and shops, and replaced under the
    /// same name.
    Media,
}

impl Kind {
    /// Returns a file's kind and its name without what tells it; nothing for all other files.
    ///
    /// Extensions count in small letters alone: tools write no others, cameras do.
    fn of(name: &str) -> Option<(Self, &str)> {
        let (stem, extension) = name.rsplit_once('.')?;
        match extension {
            "js" | "mjs" | "css" | "wasm" | "woff" | "woff2" | "ttf" | "otf" | "eot" => {
                Some((Self::Built, stem))
            }
            // A source map is made with its script, whose hash it carries.
            "map" => [".js", ".mjs", ".css"]
                .iter()
                .find_map(|mapped| stem.strip_suffix(mapped))
                .map(|stem| (Self::Built, stem)),
            "png" | "jpg" | "jpeg" | "gif" | "webp" | "avif" | "jxl" | "apng" | "svg" | "ico"
            | "mp4" | "webm" | "ogv" | "mp3" | "m4a" | "ogg" | "opus" | "flac" | "wav" => {
                Some((Self::Media, stem))
            }
            _ => None,
        }
    }
}

/// What the folder of a file says about its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Folder {
    /// Everything in it is immutable: `SvelteKit` says so with its name.
    Immutable,
    /// A tool makes it and puts a hash into every name, unless it is told otherwise.
    Owned,
    /// Vite's folder, and that of many a site that no tool builds.
    Assets,
    /// Any other.
    Plain,
}

impl Folder {
    fn of(path: &str) -> Self {
        let mut found = Self::Plain;
        let mut before = "";
        for segment in path.split('/') {
            match segment {
                "immutable" if before == "_app" => return Self::Immutable,
                "_astro" | "_nuxt" => found = Self::Owned,
                "assets" if found == Self::Plain => found = Self::Assets,
                _ => {}
            }
            before = segment;
        }
        found
    }
}

/// What tools write between a hash and the extension: `main.8e0d62a1.chunk.js`, and the marks of
/// fonts in Next and of WebAssembly in Trunk.
const AFTER_HASH: [&str; 9] = [
    ".min", ".chunk", ".bundle", ".iframe", ".module", ".lean", "_bg", "-s.p", "-s",
];

/// Returns whether the name of a file carries a hash of its content, by its site path.
///
/// A yes means that other content has another name, as far as a name can tell.
pub(super) fn is_fingerprinted(path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let Some((kind, mut stem)) = Kind::of(name) else {
        return false;
    };
    let folder = Folder::of(folder);
    if folder == Folder::Immutable {
        return true;
    }
    if is_eleventy_image(kind, stem) || is_hugo_image(kind, stem) {
        return true;
    }
    while let Some(shorter) = AFTER_HASH.iter().find_map(|mark| stem.strip_suffix(mark)) {
        stem = shorter;
    }
    if is_hex_name(kind, stem) || (folder == Folder::Owned && is_owned_hash(stem)) {
        return true;
    }
    if let Some((title, token)) = split_token(stem, '.')
        && (is_hex(kind, Opening::Dot, title, token) || is_base64(kind, folder, token))
    {
        return true;
    }
    split_token(stem, '-').is_some_and(|(title, token)| {
        is_hex(kind, Opening::Dash, title, token)
            || is_base64(kind, folder, token)
            || is_base32(kind, title, token)
    })
}

/// What stands before a hash. People divide words by dashes, and hardly ever by dots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opening {
    Dot,
    Dash,
}

/// Returns what stands before the last `divider`, which is something, and what stands after it.
fn split_token(stem: &str, divider: char) -> Option<(&str, &[u8])> {
    let (title, token) = stem.rsplit_once(divider)?;
    (!title.is_empty()).then_some((title, token.as_bytes()))
}

/// Returns whether `token`, which stands behind `title`, is a digest in hex.
///
/// Only lengths that tools cut digests to count: 24 digits are an identity of a database, and 9
/// may be `20feb2024`. Where people name files, eight digits behind a dash are too few: colours
/// and part numbers are written so.
fn is_hex(kind: Kind, opening: Opening, title: &str, token: &[u8]) -> bool {
    let needed = match (kind, opening, token.len()) {
        (Kind::Built, Opening::Dot, 8 | 10 | 12) => 3,
        (Kind::Built, Opening::Dash, 8 | 10 | 12)
        | (Kind::Media, Opening::Dot, 8 | 10 | 12)
        | (_, _, 16 | 20 | 32 | 40 | 64 | 96 | 128) => 4,
        _ => return false,
    };
    is_hex_digits(token)
        && runs(token) >= needed
        && !is_date(token)
        && !is_identity(token)
        && !ends_in_identity(title, token)
}

/// Returns whether a name is a digest and nothing else. Images are named so by the digest of
/// whom they show, or of the address they came from: there only webpack's length counts.
fn is_hex_name(kind: Kind, stem: &str) -> bool {
    let token = stem.as_bytes();
    let is_length = match kind {
        Kind::Built => matches!(token.len(), 16 | 20 | 32 | 40 | 64),
        Kind::Media => token.len() == 20,
    };
    is_length && is_hex_digits(token) && runs(token) >= 4 && !is_identity(token)
}

fn is_hex_digits(token: &[u8]) -> bool {
    token
        .iter()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns whether it is a day as in `1feb2024`: the months that hex digits can spell.
fn is_date(token: &[u8]) -> bool {
    let is_letter = |byte: &&u8| byte.is_ascii_alphabetic();
    ["feb", "dec"]
        .iter()
        .any(|month| token.iter().filter(is_letter).eq(month.as_bytes()))
}

/// Returns whether 32 digits are a UUID without its dashes (RFC 9562, section 4): it names who or
/// what, and not its bytes. One digest in eight looks the same, and loses nothing but time.
fn is_identity(token: &[u8]) -> bool {
    token.len() == 32
        && matches!(token[12], b'1'..=b'8')
        && matches!(token[16], b'8' | b'9' | b'a' | b'b')
}

/// Returns whether `title` and `token` end in a UUID with its dashes.
fn ends_in_identity(title: &str, token: &[u8]) -> bool {
    let Some((_, group)) = title.rsplit_once('-') else {
        return false;
    };
    token.len() == 12 && group.len() == 4 && is_hex_digits(group.as_bytes())
}

/// Returns whether a token is eight characters of base64url as chance writes them, with letters
/// of both cases and digits among them. Without digits it may be two words: `FileList`.
fn is_base64(kind: Kind, folder: Folder, token: &[u8]) -> bool {
    let needed = match (kind, folder) {
        (Kind::Built, Folder::Immutable | Folder::Owned | Folder::Assets) => 1,
        (Kind::Built, Folder::Plain)
        | (Kind::Media, Folder::Immutable | Folder::Owned | Folder::Assets) => 2,
        (Kind::Media, Folder::Plain) => 3,
    };
    token.len() == 8 && is_mixed(token) && oddities(token) >= needed
}

/// Returns whether a name in a tool's own folder ends in eight characters of base64url, after a
/// dot or alone, with Astro's mark of an image's size behind them. There it is enough that it is
/// no word.
fn is_owned_hash(stem: &str) -> bool {
    let token = stem.rsplit_once('.').map_or(stem, |(_, token)| token);
    let Some((hash, mark)) = token.as_bytes().split_at_checked(8) else {
        return false;
    };
    let is_mark = match mark {
        [] => true,
        [b'_', size @ ..] => (1..=8).contains(&size.len()) && size.iter().all(is_base64_byte),
        _ => false,
    };
    is_mark && hash.iter().all(is_base64_byte) && oddities(hash) >= 1
}

/// Titles that esbuild and Angular give themselves to what they write.
const ESBUILD_TITLES: [&str; 5] = ["chunk", "main", "polyfills", "scripts", "styles"];

/// Returns whether a token is eight characters of base32 in capitals, one of them a digit.
fn is_base32(kind: Kind, title: &str, token: &[u8]) -> bool {
    let needed = if ESBUILD_TITLES.contains(&title) {
        2
    } else {
        4
    };
    kind == Kind::Built
        && token.len() == 8
        && token
            .iter()
            .all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7'))
        && runs(token) >= needed
}

/// Returns whether it is an image of Eleventy's plug-in: ten characters of base64url and a width.
fn is_eleventy_image(kind: Kind, stem: &str) -> bool {
    let Some((hash, [b'-', width @ ..])) = stem.as_bytes().split_at_checked(10) else {
        return false;
    };
    kind == Kind::Media
        && (2..=4).contains(&width.len())
        && width.iter().all(u8::is_ascii_digit)
        && is_mixed(hash)
        && oddities(hash) >= 2
}

/// Returns whether it is an image that Hugo made: `name_hu_hash`, or as older versions wrote it,
/// `name_huhash_bytes_size_…`. What was asked of the image is in the hash, or in the name.
fn is_hugo_image(kind: Kind, stem: &str) -> bool {
    let Some((title, rest)) = stem.rsplit_once("_hu") else {
        return false;
    };
    let rest = rest.strip_prefix('_').unwrap_or(rest);
    let token = rest.split('_').next().unwrap_or(rest).as_bytes();
    kind == Kind::Media
        && !title.is_empty()
        && matches!(token.len(), 16 | 32)
        && is_hex_digits(token)
        && runs(token) >= 4
}

/// Returns how many runs of digits and of other characters a token has: `cafe2024` has two.
fn runs(token: &[u8]) -> usize {
    token
        .chunk_by(|before, after| before.is_ascii_digit() == after.is_ascii_digit())
        .count()
}

/// Returns whether a token is base64url with digits and letters of both cases, well shuffled: in
/// four pieces or more, as words in camel case are counted. A number in hex is none: `0xFFFF00`.
fn is_mixed(token: &[u8]) -> bool {
    let class = |byte: &u8| match byte {
        b'0'..=b'9' => 0,
        b'a'..=b'z' => 1,
        b'A'..=b'Z' => 2,
        _ => 3,
    };
    let is_one_piece = |before: &u8, after: &u8| {
        // A capital starts a word.
        class(before) == class(after) || (class(before) == 2 && class(after) == 1)
    };
    token.iter().all(is_base64_byte)
        && token.iter().any(u8::is_ascii_digit)
        && token.iter().any(u8::is_ascii_lowercase)
        && token.iter().any(u8::is_ascii_uppercase)
        && token.chunk_by(is_one_piece).count() >= 4
        && !token.starts_with(b"0x")
}

fn is_base64_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// Returns in how many places a token does what words, numbers and abbreviations do not: a small
/// letter right after a digit, a capital that no letter follows or precedes, small letters that
/// turn to several capitals, and several capitals that turn to small letters.
///
/// `Vec3Mat4`, `Mp4ToMp3` and `Version2` have none, `H264Clip` and `My2ndPic` have one; two thirds
/// of random tokens have two or more.
fn oddities(token: &[u8]) -> usize {
    let is_capital = |at: usize| token.get(at).is_some_and(u8::is_ascii_uppercase);
    let is_small = |at: usize| token.get(at).is_some_and(u8::is_ascii_lowercase);
    let is_odd = |at: &usize| {
        let at = *at;
        let (before, after) = (at.wrapping_sub(1), at + 1);
        if is_small(at) {
            let follows_digit = token.get(before).is_some_and(u8::is_ascii_digit);
            follows_digit || (is_capital(before) && is_capital(at.wrapping_sub(2)))
        } else if is_capital(at) {
            let is_alone = !is_capital(before) && !is_capital(after) && !is_small(after);
            is_alone || (is_small(before) && is_capital(after))
        } else {
            false
        }
    };
    (0..token.len()).filter(is_odd).count()
}
