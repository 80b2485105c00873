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
//! | base64url of 8 | Vite, Rollup, Astro, Nuxt | `name-hash`, `name.hash` |
//! | base32 of 8, in capitals | esbuild, Angular | `name-hash` |
//! | base64url of 10 and a width | Eleventy's images | `hash-640` |
//! | hex after `_hu` | Hugo's images | `name_hu_hash` |
//! | any, in `_app/immutable/` | `SvelteKit` | the folder, whose name is the promise |
//!
//! How a hash is told from a word: chance mixes letters and digits, people do not.
//! [`runs`] counts how often a token changes between them, and [`oddities`] how often it does
//! what no spelling does. The shorter the token, and the more people name files of its kind, the
//! more is asked for: see [`Kind`] and [`Folder`]. So nine in ten of webpack's short hashes are
//! seen, half of Vite's in its own folder, and a third of esbuild's; a test keeps these numbers.

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

/// Returns whether it is a day as in `1feb2024`, by the months that hex digits can spell.
fn is_date(token: &[u8]) -> bool {
    let is_letter = |byte: &&u8| byte.is_ascii_alphabetic();
    runs(token) <= 3
        && [b"feb", b"dec"]
            .iter()
            .any(|month| token.iter().filter(is_letter).eq(*month))
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
        [b'_', size @ ..] => {
            (1..=8).contains(&size.len()) && size.iter().copied().all(is_base64_byte)
        }
        _ => false,
    };
    is_mark && hash.iter().copied().all(is_base64_byte) && oddities(hash) >= 1
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
    token.iter().copied().all(is_base64_byte)
        && token.iter().any(u8::is_ascii_digit)
        && token.iter().any(u8::is_ascii_lowercase)
        && token.iter().any(u8::is_ascii_uppercase)
        && token.chunk_by(is_one_piece).count() >= 4
        && !token.starts_with(b"0x")
}

fn is_base64_byte(byte: u8) -> bool {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Asserts the verdict over a list of paths, and names all that are wrong.
    fn assert_all(expected: bool, paths: &[&str]) {
        let wrong: Vec<&&str> = paths
            .iter()
            .filter(|path| is_fingerprinted(path) != expected)
            .collect();
        assert!(wrong.is_empty(), "expected {expected}: {wrong:#?}");
    }

    /// Written by webpack 5 (with its own lengths, and cut to eight digits), and by tools on it.
    #[test]
    fn webpack_and_others_in_hex() {
        assert_all(
            true,
            &[
                "1289.824d6c7b02c4d5cf6632.chunk.js",
                "1289.824d6c7b02c4d5cf6632.chunk.js.map",
                "1402.ac762b9f7a92e87883fc.chunk.css",
                "5945.36380da1f870878b634e.chunk.css.map",
                "09ee794e91bdd43ab690.woff2",
                "126f741302ffab645f20.png",
                "7542.d1d6627f.chunk.css",
                "8771.098f8376.chunk.js.map",
                "media/face1.126f7413.woff2",
                "static/js/main.8e0d62a1.js",
                "static/js/787.28cb0dcd.chunk.js",
                "static/css/main.f855e6bc.css",
                "static/media/logo.6ce24c58023cc2f8fd88fe9d219db6c6.svg",
                "main.8608ea7d.min.css",
                "assets/javascripts/workers/search.b8dbb3d2.min.js",
                "iframe/main.1f3c5a7e.iframe.bundle.js",
                "assets/js/17896441.a1b2c3d4.js",
                "assets/js/runtime~main.3b1d9c0e.js",
                "assets/images/social-card-3a1fdbc1e5e8cf92a41cd11d4ba0ae5b.png",
                "index.3c4e8f1a.js",
                "hero.5f1e0b7c.webp",
                "component---src-pages-index-js-3f2a1b9c8d7e6f5a4b3c.js",
                "app-6d1e3b5f9a0c2e4d8b7a.js",
                "styles.5c2a9f1e7d3b8064fa1e.css",
                "_next/static/chunks/4bd1b696-c023c6e3521b1417.js",
                "_next/static/chunks/app/page-1a5d9e0c3b7f2468.js",
                "_next/static/css/7cca8e2c5137bd71.css",
                "_next/static/media/e4af272ccee01ff0-s.p.woff2",
                "main.min.15c42ab7768d955ec0667195e339104557827893b16cc3e7412c76e7c2fcd371.css",
                "app.6114f5adc373accd7b2051bd87078f62.js",
                "app.beecfec8eef56dc6f7d0fe1d314373cbafc3db2fba77f9f429c3a7b7972526d4c1c440e8280a866b2d2cb45942f03a6b.js",
                "photo0.f1915d6c81ab39972fbf22d9ac5e211ea0e7a8b1474be90e9c73ffd0ff23b562.png",
                "application-5f3e1c9b7d2a.css",
                "admin/css/base.1f418065fc2c.css",
                "book-a0b12cfe.js",
                "fonts/open-sans-v17-all-charsets-300italic-2c7b95c0.woff2",
                "trunk-5a0e9c1d7b3f2468_bg.wasm",
                "bootstrap-1bef7db5c6b4a8f3d0c91e2f7a6b5d4c.min.css",
            ],
        );
    }

    #[test]
    fn images_of_hugo_and_eleventy() {
        assert_all(
            true,
            &[
                "photo2_hu_55f1aad06abebc11.png",
                "posts/photo0_hu_bc5f621e402892d4.webp",
                "my_summer_hu_7e8773ab0c86aea7.jpg",
                "sunset_hu9c9e0f7ab1bd1b6e_2468_300x0_resize_q75_box.jpg",
                "sunset_hu3d03a01dcc18bc5be0e67db3d8d209a6_90587_600x400_fill_box_smart1.png",
                "23OuCA72sZ-120.avif",
                "-h2Ja5NQxG-64.webp",
                "img/TGYOvAC78y-1200.avif",
                "RDL2nBJRZt-64.jpeg",
                "q0Q-5N2cLx-640.png",
                "g2kwdF-Oi1-120.webp",
            ],
        );
    }

    /// Written by Vite 8, Rollup 4, Astro 5, `SvelteKit` 2, esbuild 0.28 and what stands on them.
    #[test]
    fn vite_esbuild_and_others_in_base64_and_base32() {
        assert_all(
            true,
            &[
                "assets/index-BqCJ1g6K.js",
                "assets/index-BqCJ1g6K.js.map",
                "assets/page6-U8NzkOLu.js",
                "assets/page0-zFG8tfhF.css",
                "assets/page54-DeMU53DQ.js.map",
                "assets/face4-B3hkNd1m.woff2",
                "assets/page11-7tElOnC8.js",
                "blog/assets/page16-Dw8Rq0pf.js",
                "dist/shared/watch-C1G4Q3kq.mjs",
                "assets/engine-javascript.hzpS1_41.mjs",
                "index-BX3l2kf9.js",
                "index.CxY_1abc.css",
                "assets/guide_index.md.B9dXo2Kd.lean.js",
                "_astro/preload-helper.BlTxHScW.js",
                "_astro/p3.astro_astro_type_script_index_0_lang.CYxh7qlg.js",
                "_astro/c3.D6rXw1iP.js",
                "_astro/pic1.BOaL5Ax-_1dpe7o.webp",
                "_astro/pic10.opQ5K5e__lmUVb.avif",
                "_astro/pic5.p3bvJl5s_Z1IPH29.webp",
                "docs/_astro/index.BqCJ1g6K.css",
                "_nuxt/BX3l2kf9.js",
                "_nuxt/entry.CxY_1abc.css",
                "_nuxt/entry.1f3c5a7e.css",
                "_app/immutable/entry/app.BrrAoHwJ.js",
                "_app/immutable/chunks/xihTtKlq.js",
                "_app/immutable/chunks/Bjy-W4x2.js",
                "_app/immutable/nodes/4.CF-jryQM.js",
                "_app/immutable/assets/pic2.Bg3nIkil.png",
                "app-4NXRIP6X.js",
                "chunk-QR6QDSEV.js",
                "chunk-W5DTLHV4.js",
                "main-4A2XY5MR.js.map",
                "polyfills-B6TNHZQ6.js",
                "styles-5INURTSO.css",
                "assets/face2-3HYBH2RZ.woff2",
                "chunks/page0-T7F6EGNM.css.map",
            ],
        );
    }

    /// Hashes that could be something else: each costs a 304, and is never wrong.
    #[test]
    fn hashes_that_are_let_go() {
        assert_all(
            false,
            &[
                // No digit, or none where words have none: two words in camel case look like it.
                "assets/page43-CNpInRXD.css",
                "assets/page52-BlzvYwSD.css",
                "assets/page24-Cq6OJEPR.css",
                // The dash of its own hash looks like one between words.
                "assets/page58-D-ZUjczg.js",
                // Digits alone, or nearly so: a date or a number.
                "6270.19576684.chunk.css",
                "4842.4965700f.chunk.css",
                "4842.4965700f.chunk.css.map",
                // Capitals with one number: an abbreviation.
                "assets/face0-ZJJ5LHLT.woff2",
                "chunks/page53-BF3JPNGT.js",
                "DvHhTJUVDV-120.avif",
                // Eight digits at an image behind a dash: a colour or a part.
                "logo-3c4e8f1a.png",
                // The content is in the hash of a folder.
                "static/5c2d7c0e9a1b3f4d6e8a0b1c2d3e4f50/14b42/photo.jpg",
            ],
        );
    }

    #[test]
    fn words_and_names() {
        assert_all(
            false,
            &[
                "app.js",
                "style.css",
                "main.min.js",
                "main.chunk.js",
                "runtime.bundle.js",
                "docs-JavaScript.js",
                "icon-Download.svg",
                "ui-FileList.js",
                "lib/ol-OpenLayers.css",
                "assets/FileList.js",
                "assets/view-FileList.js",
                "assets/hero-Carousel.js",
                "_astro/hero.carousel.css",
                "_astro/Download.js",
                "_nuxt/FileList.js",
                "_nuxt/Download.js",
                "_nuxt/Chapter1.js",
                "font-awesome.woff2",
                "SourceSerif4-Regular.ttf",
                "assets/SourceCodePro-Semibold.woff2",
                "decade.js",
                "facade-deadbeef.css",
                "facade.deadbeef.css",
                "menu-cafe2024.png",
                "menu.cafe2024.css",
                "house.facade01.js",
                "deadbeefdeadbeef.js",
                "app-constructor.js",
                "LICENSE.js",
                "app-CHANGELOG.js",
                "chunk-CHANGELO.js",
                "chunk-Download.js",
            ],
        );
    }

    #[test]
    fn dates_versions_and_numbers() {
        assert_all(
            false,
            &[
                "report-20261124.png",
                "report.20261124.css",
                "photo-2026-11-24.jpg",
                "20261124_101500.mp4",
                "IMG_20261124_101500.jpg",
                "style.1feb2024.css",
                "style.24dec202.css",
                "news-20feb2024.js",
                "news-01dec2024.png",
                "jquery-3.7.1.min.js",
                "bootstrap-5.3.0-alpha1.min.css",
                "swiper.v11.js",
                "app-version2.js",
                "app-Version2.js",
                "assets/app-Version2.js",
                "chapter1.mp3",
                "book-chapter1.mp3",
                "book-Chapter1.mp3",
                "assets/book-Chapter1.png",
                "Screen-Slide101.png",
                "DSC01234.jpg",
                "trip-DSC23456.jpg",
                "trip-IMG_1234.jpg",
                "phone-15551234567.png",
                "call.0701234567.css",
                "wallpaper-1024x768.png",
                "wallpaper-2560x1440.jpg",
                "icon-192x192.png",
                "favicon-32x32.png",
                "photo-640.webp",
                "Conference-640.webp",
                "Instagram1-640.webp",
                "conference-1280.jpg",
                "iPhone15SE-640.webp",
                "0123456789-640.png",
                "human_hu.jpg",
                "a_huge_photo.jpg",
                "a_hu_0123456789012345.jpg",
            ],
        );
    }

    #[test]
    fn abbreviations_parts_and_colours() {
        assert_all(
            false,
            &[
                "three-Vec3Mat4.js",
                "assets/three-Vec3Mat4.js",
                "assets/convert-Mp4ToMp3.js",
                "assets/babel-Es5ToEs6.js",
                "assets/migrate-Vue2Vue3.js",
                "assets/decoder-H264Clip.js",
                "assets/struct.AtomicI8.js",
                "ui-My2ndPic.js",
                "hash-Sha1Md5x.js",
                "demo-Css3Html.css",
                "demo-CSS3HTML.css",
                "demo-WIN32API.js",
                "demo-MP4VIDEO.js",
                "demo-H264MPEG.wasm",
                "lib-win32x64.wasm",
                "lib-linux64a.js",
                "board-STM32F4X.png",
                "board-Stm32f4x.png",
                "rtx-Rtx4090t.png",
                "sku-Ab12Cd34.jpg",
                "sku-1234a567.jpg",
                "swatch-ff00aa11.png",
                "swatch-0xFFFF00.css",
                "assets/swatch-0xAABBCC.js",
                "opening-e2e4d7d5.png",
                "mac-001a2b3c4d5e.png",
            ],
        );
    }

    #[test]
    fn identities() {
        assert_all(
            false,
            &[
                "123e4567-e89b-42d3-a456-426614174000.png",
                "f47ac10b-58cc-4372-a567-0e02b2c3d479.js",
                "avatar-f47ac10b-58cc-4372-a567-0e02b2c3d479.png",
                "avatar.f47ac10b-58cc-4372-a567-0e02b2c3d479.webp",
                "avatar-f47ac10b58cc4372a5670e02b2c3d479.png",
                "0190c5d27a3f7c1e8b4d9f6a2e5c3b1d.js",
                // Whom it shows, hashed: the picture changes, the address does not.
                "205e460b479e2e5b48aec07710c08d50.jpg",
                "973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b.jpg",
                // A key of MongoDB, a video of YouTube, a ULID.
                "product-507f1f77bcf86cd799439011.jpg",
                "507f1f77bcf86cd799439011.js",
                "thumb-dQw4w9WgXcQ.jpg",
                "thumb-01ARZ3NDEKTSV4RRFFQ69G5FAV.png",
            ],
        );
    }

    #[test]
    fn files_that_are_never_immutable() {
        for name in [
            "index.8e0d62a1f3b5c7d9.html",
            "feed.8e0d62a1f3b5c7d9.xml",
            "data.8e0d62a1f3b5c7d9.json",
            "robots.8e0d62a1f3b5c7d9.txt",
            "paper.8e0d62a1f3b5c7d9.pdf",
            "all.8e0d62a1f3b5c7d9.zip",
            "manifest.8e0d62a1f3b5c7d9.webmanifest",
            "photo.8e0d62a1f3b5c7d9.PNG",
            "_app/immutable/version.json",
            "_app/immutable/page.html",
            "_app/version.js",
            "immutable/app.js",
            "_app/x/immutable/app.js",
            "earth.8e0d62a1f3b5c7d9.map",
            "8e0d62a1f3b5c7d9",
            ".8e0d62a1f3b5c7d9.js",
            "-8e0d62a1.js",
            ".js",
            "js",
            "",
            "/",
            "a.8e0d62a1f3b5c7d9.js/b.js",
        ] {
            assert!(!is_fingerprinted(name), "{name}");
        }
        for name in ["page.8e0d62a1f3b5c7d9.js", "page.8e0d62a1f3b5c7d9.js.map"] {
            assert!(is_fingerprinted(name), "{name}");
        }
    }

    /// Returns how many in a hundred hashes are seen, each of `length` characters of `alphabet`
    /// in the place of `#`.
    fn seen(pattern: &str, alphabet: &str, length: usize) -> usize {
        let characters: Vec<char> = alphabet.chars().collect();
        // A fixed seed, so that the numbers are the same in each run.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            characters[usize::try_from(state >> 33).unwrap() % characters.len()]
        };
        let hashes = (0..10_000).map(|_| (0..length).map(|_| next()).collect::<String>());
        let found = hashes.filter(|hash| is_fingerprinted(&pattern.replace('#', hash)));
        found.count() / 100
    }

    #[test]
    fn how_many_hashes_are_seen() {
        let hex = "0123456789abcdef";
        let base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let base64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        for (pattern, alphabet, length, least) in [
            ("main.#.js", hex, 8, 88),
            ("main.#.css", hex, 20, 99),
            ("logo.#.svg", hex, 8, 68),
            ("app-#.js", hex, 8, 68),
            ("page-#.js", hex, 16, 97),
            ("app.#.css", hex, 64, 99),
            ("photo_hu_#.webp", hex, 16, 97),
            ("assets/index-#.js", base64, 8, 49),
            ("assets/logo-#.png", base64, 8, 36),
            ("index-#.js", base64, 8, 36),
            ("_astro/index.#.css", base64, 8, 87),
            ("_nuxt/#.js", base64, 8, 87),
            ("_app/immutable/chunks/#.js", base64, 8, 100),
            ("#-640.webp", base64, 10, 56),
            ("app-#.js", base32, 8, 33),
            ("chunk-#.js", base32, 8, 79),
        ] {
            let found = seen(pattern, alphabet, length);
            assert!(found >= least, "{pattern}: {found} in a hundred");
            assert!(found <= least + 6, "{pattern}: {found}: say so above");
        }
    }

    /// A part of a name as people write it: a word, an abbreviation or a number.
    fn part() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z]{1,9}",
            "[A-Z][a-z]{1,9}",
            "[A-Z]{2,6}",
            "[0-9]{1,8}",
            "v[0-9]{1,2}",
            "[0-9]{2,4}x[0-9]{2,4}",
        ]
    }

    fn extension() -> impl Strategy<Value = &'static str> {
        proptest::sample::select(vec![
            "js", "mjs", "css", "js.map", "wasm", "woff2", "png", "jpg", "webp", "svg", "mp4",
        ])
    }

    /// Digits of hex that neither spell a date nor have the marks of a UUID.
    fn digest(length: usize) -> impl Strategy<Value = String> {
        let digits = proptest::collection::vec(
            proptest::char::ranges(vec!['0'..='9', 'a'..='f'].into()),
            length,
        );
        digits
            .prop_map(|digits| digits.into_iter().collect())
            .prop_filter("shuffled", |hex: &String| {
                runs(hex.as_bytes()) >= 4 && !is_identity(hex.as_bytes())
            })
    }

    proptest! {
        #[test]
        fn parts_that_people_write_are_no_hash(
            parts in proptest::collection::vec(part(), 1..4),
            divider in proptest::sample::select(vec!["-", "_", ".", " "]),
            extension in extension(),
        ) {
            // In a word of one kind or another, nothing is odd and little is shuffled.
            let path = format!("assets/{}.{extension}", parts.join(divider));
            prop_assert!(!is_fingerprinted(&path), "{}", path);
        }

        #[test]
        fn camel_case_is_no_hash(
            words in proptest::collection::vec("[A-Z][a-z]{1,6}[0-9]{0,2}", 1..4),
            divider in proptest::sample::select(vec!["-", "."]),
            extension in extension(),
        ) {
            let path = format!("assets/app{divider}{}.{extension}", words.concat());
            prop_assert!(!is_fingerprinted(&path), "{}", path);
        }

        #[test]
        fn long_digests_are_seen(
            hex in proptest::sample::select(vec![16_usize, 20, 32, 40, 64]).prop_flat_map(digest),
            folder in proptest::sample::select(vec!["", "a/", "assets/", "static/js/"]),
            divider in proptest::sample::select(vec!["-", "."]),
            extension in extension(),
        ) {
            let path = format!("{folder}app{divider}{hex}.{extension}");
            prop_assert!(is_fingerprinted(&path), "{}", path);
            // The same digest as the name of a page says nothing.
            let page = format!("{folder}app{divider}{hex}.html");
            prop_assert!(!is_fingerprinted(&page));
        }

        #[test]
        fn no_path_makes_it_panic(path in any::<String>(), tail in "[a-zA-Z0-9\u{e5}._-]{0,24}") {
            for extension in ["js", "js.map", "webp", "html"] {
                is_fingerprinted(&format!("{path}{tail}.{extension}"));
                is_fingerprinted(&format!("_astro/{tail}.{extension}"));
            }
        }
    }
}
