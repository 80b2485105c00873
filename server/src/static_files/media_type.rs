//! Media types: what a file is, told by its name alone (RFC 9110, section 8.3).
//!
//! `mime_guess` is the maintained table; [`CORRECTIONS`] has what it misses, or has under a name
//! that was registered anew or that browsers do not take. Since every answer says `nosniff`, a
//! wrong type is a script that does not run or a cursor that does not show.
//!
//! Text says that it is UTF-8, as site builders write it; so do scripts, which are text. JSON has
//! no such parameter (RFC 8259, section 11). XML has one, but it would overrule what the file
//! itself declares (RFC 7303, section 3), and without either XML is UTF-8 anyhow: SVG, feeds and
//! other XML come without it.
//!
//! The bytes of a file are never looked at, and nothing here knows rules of the site: they come
//! later and may say another type.

use std::borrow::Cow;

use mime_guess::from_ext;

/// What bytes of no known kind are; browsers offer to save them.
const UNKNOWN: &str = "application/octet-stream";

/// Extensions in small letters that `mime_guess` does not know, or knows otherwise. Sorted.
const CORRECTIONS: [(&str, &str); 40] = [
    // Browsers know image sequences under the one name alone.
    ("avifs", "image/avif"),
    ("cjs", "text/javascript"),
    // A cursor is read as an icon is.
    ("cur", "image/x-icon"),
    ("diff", "text/plain"),
    ("har", "application/json"),
    ("importmap", "application/importmap+json"),
    ("java", "text/plain"),
    ("jsonl", "application/x-ndjson"),
    ("ktx2", "image/ktx2"),
    ("m2ts", "video/mp2t"),
    // Apple's players, and the registry since RFC 8216.
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m4a", "audio/mp4"),
    ("m4s", "video/iso.segment"),
    ("m4v", "video/mp4"),
    // Source maps are JSON.
    ("map", "application/json"),
    ("mid", "audio/midi"),
    ("midi", "audio/midi"),
    // Scripts have one type since RFC 9239, and modules run with no other than a script's.
    ("mjs", "text/javascript"),
    ("mtl", "model/mtl"),
    ("mts", "video/mp2t"),
    ("ndjson", "application/x-ndjson"),
    ("obj", "model/obj"),
    // Fonts have their own kind since RFC 8081.
    ("otf", "font/otf"),
    ("patch", "text/plain"),
    ("pjp", "image/jpeg"),
    ("pjpeg", "image/jpeg"),
    ("rar", "application/vnd.rar"),
    // The table has a browser's plug-in of the nineties.
    ("rpm", "application/x-rpm"),
    ("stl", "model/stl"),
    // Gzipped XML needs a `Content-Encoding` that no one gives it here: it is saved, not shown.
    ("svgz", "application/gzip"),
    ("tgz", "application/gzip"),
    ("topojson", "application/json"),
    // Segments of HLS streams (RFC 8216): TypeScript runs in no browser, and players need this.
    ("ts", "video/mp2t"),
    ("ttml", "application/ttml+xml"),
    // Safari opens these from a link.
    ("usdz", "model/vnd.usdz+zip"),
    ("vcf", "text/vcard"),
    ("wat", "text/plain"),
    ("wgsl", "text/wgsl"),
    ("woff", "font/woff"),
    ("zst", "application/zstd"),
];

/// Files that are known by their whole name, in capitals or small letters as written here: texts
/// about a site, and what Apple's devices ask for without an extension. Sorted.
const NAMES: [(&str, &str); 10] = [
    ("AUTHORS", "text/plain"),
    ("CHANGELOG", "text/plain"),
    ("CNAME", "text/plain"),
    ("CONTRIBUTORS", "text/plain"),
    ("COPYING", "text/plain"),
    ("LICENCE", "text/plain"),
    ("LICENSE", "text/plain"),
    ("NOTICE", "text/plain"),
    ("README", "text/plain"),
    ("apple-app-site-association", "application/json"),
];

/// The folder of files that programs ask for (RFC 8615).
const WELL_KNOWN: &str = ".well-known/";

/// Names without an extension in that folder whose readers insist on a type. Sorted.
const WELL_KNOWN_NAMES: [(&str, &str); 13] = [
    ("api-catalog", "application/linkset+json"),
    ("atproto-did", "text/plain"),
    ("discord", "text/plain"),
    ("host-meta", "application/xrd+xml"),
    ("matrix/client", "application/json"),
    ("matrix/server", "application/json"),
    ("nodeinfo", "application/json"),
    ("oauth-authorization-server", "application/json"),
    ("oauth-protected-resource", "application/json"),
    ("openid-configuration", "application/json"),
    ("passkey-endpoints", "application/json"),
    ("traffic-advice", "application/trafficadvice+json"),
    ("webauthn", "application/json"),
];

/// Returns the value of `Content-Type` for a file by its site path.
///
/// The extension has no case; a name that starts with its only dot has none. What is not known
/// is `application/octet-stream`. Types of nearly all files are not allocated.
pub(super) fn of_path(path: &str) -> Cow<'static, str> {
    with_charset(bare(path))
}

/// Returns the type without parameters.
fn bare(path: &str) -> &'static str {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => of_extension(extension),
        Some(_) | None => path
            .strip_prefix(WELL_KNOWN)
            .and_then(|name| exact(&WELL_KNOWN_NAMES, name))
            .or_else(|| exact(&NAMES, name))
            .unwrap_or(UNKNOWN),
    }
}

fn of_extension(extension: &str) -> &'static str {
    let letters = extension.bytes().map(|byte| byte.to_ascii_lowercase());
    CORRECTIONS
        .binary_search_by(|(known, _)| known.bytes().cmp(letters.clone()))
        .map(|at| CORRECTIONS[at].1)
        .ok()
        .or_else(|| from_ext(extension).first_raw())
        .unwrap_or(UNKNOWN)
}

fn exact(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    let at = table.binary_search_by_key(&name, |(known, _)| known).ok()?;
    Some(table[at].1)
}

fn with_charset(bare: &'static str) -> Cow<'static, str> {
    match bare {
        "text/html" => Cow::Borrowed("text/html; charset=utf-8"),
        "text/css" => Cow::Borrowed("text/css; charset=utf-8"),
        "text/javascript" => Cow::Borrowed("text/javascript; charset=utf-8"),
        "text/plain" => Cow::Borrowed("text/plain; charset=utf-8"),
        "text/markdown" => Cow::Borrowed("text/markdown; charset=utf-8"),
        "text/csv" => Cow::Borrowed("text/csv; charset=utf-8"),
        "text/vtt" => Cow::Borrowed("text/vtt; charset=utf-8"),
        // Both names mean the same, and this one is not taken for text by older readers.
        "text/xml" => Cow::Borrowed("application/xml"),
        text if text.starts_with("text/") => Cow::Owned(format!("{text}; charset=utf-8")),
        bytes => Cow::Borrowed(bytes),
    }
}

/// Types beside text, JSON and XML that shrink by a good part. Sorted.
///
/// Formats that hold compressed bytes are not here (WOFF, PNG, PDF, ZIP and all that is built on
/// it), nor is sound and video: they are large, and players ask for parts of them.
const COMPRESSIBLE: [&str; 32] = [
    "application/ecmascript",
    "application/font-sfnt",
    "application/javascript",
    "application/n-triples",
    "application/postscript",
    "application/rtf",
    "application/toml",
    "application/vnd.apple.mpegurl",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-font-ttf",
    "application/x-httpd-php",
    "application/x-javascript",
    "application/x-mpegurl",
    "application/x-ndjson",
    "application/x-sh",
    "application/x-sql",
    "application/x-subrip",
    "application/x-tar",
    "application/x-tex",
    "application/yaml",
    "audio/x-mpegurl",
    "font/collection",
    "font/otf",
    "font/sfnt",
    "font/ttf",
    "image/bmp",
    "image/vnd.microsoft.icon",
    "image/x-icon",
    "model/mtl",
    "model/obj",
    "model/stl",
];

/// Returns whether a value of `Content-Type` says bytes that shrink by a good part when they are
/// compressed. A rule of the site may have set it: its case and parameters do not count.
pub(super) fn is_compressible(content_type: &str) -> bool {
    let bare = without_parameters(content_type);
    let Some((kind, subtype)) = bare.split_once('/') else {
        return false;
    };
    if kind.eq_ignore_ascii_case("text") {
        return true;
    }
    let format = subtype
        .rsplit_once('+')
        .map_or(subtype, |(_, suffix)| suffix);
    ["json", "json5", "xml", "yaml", "text"]
        .iter()
        .any(|name| format.eq_ignore_ascii_case(name))
        || COMPRESSIBLE
            .iter()
            .any(|known| bare.eq_ignore_ascii_case(known))
}

/// Returns whether a value of `Content-Type` says a page of HTML. XHTML is XML, and no page here.
pub(super) fn is_html(content_type: &str) -> bool {
    without_parameters(content_type).eq_ignore_ascii_case("text/html")
}

fn without_parameters(content_type: &str) -> &str {
    let end = content_type.find(';').unwrap_or(content_type.len());
    content_type[..end].trim_ascii()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_sites_are_made_of() {
        for (path, expected) in [
            ("index.html", "text/html; charset=utf-8"),
            ("INDEX.HTM", "text/html; charset=utf-8"),
            ("a/style.css", "text/css; charset=utf-8"),
            ("app.js", "text/javascript; charset=utf-8"),
            ("app.mjs", "text/javascript; charset=utf-8"),
            ("app.cjs", "text/javascript; charset=utf-8"),
            ("app.min.js.map", "application/json"),
            ("a.json", "application/json"),
            ("a.jsonld", "application/ld+json"),
            ("a.geojson", "application/geo+json"),
            ("site.webmanifest", "application/manifest+json"),
            ("search.wasm", "application/wasm"),
            ("robots.txt", "text/plain; charset=utf-8"),
            ("llms.txt", "text/plain; charset=utf-8"),
            ("notes.md", "text/markdown; charset=utf-8"),
            ("table.csv", "text/csv; charset=utf-8"),
            ("dates.ics", "text/calendar; charset=utf-8"),
            ("me.vcf", "text/vcard; charset=utf-8"),
            ("sitemap.xml", "application/xml"),
            ("style.xsl", "application/xml"),
            ("feed.rss", "application/rss+xml"),
            ("feed.atom", "application/atom+xml"),
            ("a.xhtml", "application/xhtml+xml"),
            ("sitemap.xml.gz", "application/gzip"),
            ("main.rs", "text/x-rust; charset=utf-8"),
        ] {
            assert_eq!(of_path(path), expected, "{path}");
        }
    }

    #[test]
    fn images_and_fonts() {
        for (path, expected) in [
            ("a.png", "image/png"),
            ("a.JPG", "image/jpeg"),
            ("a.jpeg", "image/jpeg"),
            ("a.gif", "image/gif"),
            ("a.svg", "image/svg+xml"),
            ("a.svgz", "application/gzip"),
            ("a.webp", "image/webp"),
            ("a.avif", "image/avif"),
            ("a.jxl", "image/jxl"),
            ("a.apng", "image/apng"),
            ("a.heic", "image/heic"),
            ("a.bmp", "image/bmp"),
            ("favicon.ico", "image/x-icon"),
            ("hand.cur", "image/x-icon"),
            ("a.woff", "font/woff"),
            ("a.woff2", "font/woff2"),
            ("a.ttf", "font/ttf"),
            ("a.otf", "font/otf"),
            ("a.eot", "application/vnd.ms-fontobject"),
        ] {
            assert_eq!(of_path(path), expected, "{path}");
        }
    }

    #[test]
    fn sound_video_models_and_downloads() {
        for (path, expected) in [
            ("a.mp4", "video/mp4"),
            ("a.m4v", "video/mp4"),
            ("a.webm", "video/webm"),
            ("a.mov", "video/quicktime"),
            ("a.ogv", "video/ogg"),
            ("a.mp3", "audio/mpeg"),
            ("a.m4a", "audio/mp4"),
            ("a.opus", "audio/ogg"),
            ("a.flac", "audio/flac"),
            ("a.wav", "audio/wav"),
            ("a.vtt", "text/vtt; charset=utf-8"),
            ("live.m3u8", "application/vnd.apple.mpegurl"),
            ("live.ts", "video/mp2t"),
            ("live.m4s", "video/iso.segment"),
            ("live.mpd", "application/dash+xml"),
            ("a.glb", "model/gltf-binary"),
            ("a.gltf", "model/gltf+json"),
            ("a.usdz", "model/vnd.usdz+zip"),
            ("a.stl", "model/stl"),
            ("a.obj", "model/obj"),
            ("a.pdf", "application/pdf"),
            ("a.epub", "application/epub+zip"),
            ("a.zip", "application/zip"),
            ("a.7z", "application/x-7z-compressed"),
            ("a.tar.gz", "application/gzip"),
            ("a.tgz", "application/gzip"),
            ("a.tar.zst", "application/zstd"),
            ("a.rpm", "application/x-rpm"),
            (
                "a.docx",
                "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            ),
            ("a.exe", "application/octet-stream"),
        ] {
            assert_eq!(of_path(path), expected, "{path}");
        }
    }

    #[test]
    fn names_without_an_extension() {
        for (path, expected) in [
            ("CNAME", "text/plain; charset=utf-8"),
            ("docs/LICENSE", "text/plain; charset=utf-8"),
            ("apple-app-site-association", "application/json"),
            (".well-known/apple-app-site-association", "application/json"),
            (".well-known/matrix/server", "application/json"),
            (".well-known/openid-configuration", "application/json"),
            (".well-known/host-meta", "application/xrd+xml"),
            (".well-known/atproto-did", "text/plain; charset=utf-8"),
            (".well-known/security.txt", "text/plain; charset=utf-8"),
            (".well-known/assetlinks.json", "application/json"),
            // Known there alone, and as written alone.
            ("matrix/server", "application/octet-stream"),
            ("webauthn", "application/octet-stream"),
            ("a/.well-known/webauthn", "application/octet-stream"),
            ("cname", "application/octet-stream"),
            ("", "application/octet-stream"),
            ("page", "application/octet-stream"),
            ("a.b/page", "application/octet-stream"),
            (".html", "application/octet-stream"),
            ("a/.css", "application/octet-stream"),
            ("a.", "application/octet-stream"),
            ("a.unheard-of", "application/octet-stream"),
            ("a.html ", "application/octet-stream"),
            ("a.\u{e5}", "application/octet-stream"),
        ] {
            assert_eq!(of_path(path), expected, "{path}");
        }
    }

    #[test]
    fn the_tables_can_be_searched() {
        assert!(CORRECTIONS.is_sorted_by(|before, after| before.0 < after.0));
        assert!(NAMES.is_sorted_by(|before, after| before.0 < after.0));
        assert!(WELL_KNOWN_NAMES.is_sorted_by(|before, after| before.0 < after.0));
        assert!(COMPRESSIBLE.is_sorted_by(|before, after| before < after));
        let lower = CORRECTIONS.map(|(extension, _)| extension.to_ascii_lowercase());
        assert_eq!(lower, CORRECTIONS.map(|(extension, _)| extension));
    }

    #[test]
    fn every_correction_is_needed() {
        for (extension, media_type) in CORRECTIONS {
            let guessed = from_ext(extension).first_raw();
            assert_ne!(guessed, Some(media_type), "{extension}: the table knows it");
        }
    }

    #[test]
    fn every_type_is_a_header_value() {
        let tables = CORRECTIONS.iter().chain(&NAMES).chain(&WELL_KNOWN_NAMES);
        let own = tables.map(|(_, media_type)| *media_type);
        let guessed = ["html", "js", "rs", "yaml", "docx", "xyz", "3dml"]
            .into_iter()
            .filter_map(|extension| from_ext(extension).first_raw());
        for bare in own.chain(guessed) {
            let value = with_charset(bare);
            assert!(HeaderValue::from_str(&value).is_ok(), "{value}");
            assert!(bare.parse::<mime_guess::Mime>().is_ok(), "{bare}");
        }
    }

    #[test]
    fn what_shrinks() {
        let shrinking = "html css js mjs map json webmanifest jsonl txt md csv ics xml rss atom \
            xhtml svg wasm ttf otf ttc eot bmp ico cur vtt srt m3u8 mpd gltf obj mtl stl tar yaml \
            toml geojson kml rtf sql";
        let packed = "png jpg gif webp avif jxl heic woff woff2 mp3 m4a ogg wav mp4 webm ts pdf \
            zip 7z gz tgz zst rar epub docx svgz usdz kmz exe bin unheard-of";
        for (names, expected) in [(shrinking, true), (packed, false)] {
            for name in names.split_ascii_whitespace() {
                let media_type = of_path(&format!("a.{name}"));
                let found = is_compressible(&media_type);
                assert_eq!(found, expected, "{name}: {media_type}");
            }
        }
        for (value, expected) in [
            ("TEXT/HTML;charset=latin1", true),
            ("Application/JSON ; charset=utf-8", true),
            ("application/problem+JSON", true),
            ("application/x-ndjson", true),
            ("application/epub+zip", false),
            ("application/json+zip", false),
            ("application/jsonx", false),
            ("image/jpeg; json", false),
            ("text", false),
            ("json", false),
            ("", false),
        ] {
            assert_eq!(is_compressible(value), expected, "{value}");
        }
    }

    #[test]
    fn pages() {
        for (value, expected) in [
            ("text/html", true),
            ("text/html; charset=utf-8", true),
            ("Text/HTML ;charset=utf-8", true),
            ("application/xhtml+xml", false),
            ("text/htmlx", false),
            ("text/plain; text/html", false),
            ("", false),
        ] {
            assert_eq!(is_html(value), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn the_extension_alone_counts_and_has_no_case(
            folder in "([a-z.]{1,5}/){0,2}",
            stem in "[a-zA-Z0-9._-]{1,8}",
            extension in "[a-zA-Z0-9]{1,5}",
        ) {
            let expected = of_path(&format!("a.{extension}"));
            let path = format!("{folder}{stem}.{extension}");
            prop_assert_eq!(of_path(&path), expected.clone());
            prop_assert_eq!(of_path(&path.to_uppercase()), expected.clone());
            prop_assert_eq!(of_path(&path.to_lowercase()), expected);
        }

        #[test]
        fn every_path_has_a_type(path in any::<String>()) {
            let value = of_path(&path);
            prop_assert!(HeaderValue::from_str(&value).is_ok());
            prop_assert!(!is_html(&value) || is_compressible(&value));
        }
    }
}
