//! The files of the page at `/`, which are part of this program.
//!
//! Each is got by its path and loads nothing from elsewhere; there is no script and no style inside of
//! the page, which its policy forbids.

use bytes::Bytes;
use hyper::Response;

use super::reply::{self, Body};

/// A file: where it is got, its bytes, and what they are.
struct File {
    path: &'static str,
    bytes: &'static [u8],
    media_type: &'static str,
}

static FILES: [File; 16] = [
    File {
        path: "/",
        bytes: include_bytes!("dashboard/index.html"),
        media_type: "text/html; charset=utf-8",
    },
    File {
        path: "/dashboard.css",
        bytes: include_bytes!("dashboard/dashboard.css"),
        media_type: "text/css; charset=utf-8",
    },
    script("/dashboard/api.js", include_bytes!("dashboard/api.js")),
    script("/dashboard/app.js", include_bytes!("dashboard/app.js")),
    script(
        "/dashboard/deliveries.js",
        include_bytes!("dashboard/deliveries.js"),
    ),
    script(
        "/dashboard/deploys.js",
        include_bytes!("dashboard/deploys.js"),
    ),
    script("/dashboard/dom.js", include_bytes!("dashboard/dom.js")),
    script(
        "/dashboard/format.js",
        include_bytes!("dashboard/format.js"),
    ),
    script("/dashboard/logs.js", include_bytes!("dashboard/logs.js")),
    script(
        "/dashboard/notice.js",
        include_bytes!("dashboard/notice.js"),
    ),
    script("/dashboard/paths.js", include_bytes!("dashboard/paths.js")),
    script(
        "/dashboard/pending.js",
        include_bytes!("dashboard/pending.js"),
    ),
    script("/dashboard/plot.js", include_bytes!("dashboard/plot.js")),
    script(
        "/dashboard/publishes.js",
        include_bytes!("dashboard/publishes.js"),
    ),
    script(
        "/dashboard/server.js",
        include_bytes!("dashboard/server.js"),
    ),
    script("/dashboard/state.js", include_bytes!("dashboard/state.js")),
];

/// Returns a module of the page's script.
const fn script(path: &'static str, bytes: &'static [u8]) -> File {
    File {
        path,
        bytes,
        media_type: "text/javascript; charset=utf-8",
    }
}

/// Returns the path of a file by that path, where there is one.
pub(super) fn named(path: &str) -> Option<&'static str> {
    let mut files = FILES.iter();
    files.find(|file| file.path == path).map(|file| file.path)
}

/// Returns a file that [`named`] named.
pub(super) fn file(path: &str) -> Response<Body> {
    let file = FILES.iter().find(|file| file.path == path);
    // The page stands for what is not there, which nobody asks for.
    let file = file.unwrap_or(&FILES[0]);
    reply::bytes(Bytes::from_static(file.bytes), file.media_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_what_it_names_and_nothing_inline() {
        let page = std::str::from_utf8(FILES[0].bytes).unwrap();
        let mut named_files = 0;
        for attribute in ["href=\"/", "src=\"/"] {
            for (at, _) in page.match_indices(attribute) {
                let rest = &page[at + attribute.len() - 1..];
                let path = rest.split('"').next().unwrap();
                let call = super::super::router::find(&hyper::Method::GET, path);
                assert!(call.is_ok(), "{path}");
                named_files += 1;
            }
        }
        assert!(named_files > 0);
        for inline in ["<style", "style=", "onclick", "<script>", "javascript:"] {
            assert!(!page.contains(inline), "{inline}");
        }
    }

    #[test]
    fn a_module_imports_what_is_there_and_makes_no_markup_of_text() {
        let scripts = FILES
            .iter()
            .filter(|file| file.media_type.starts_with("text/javascript"));
        let mut imports = 0;
        for file in scripts {
            let text = std::str::from_utf8(file.bytes).unwrap();
            assert!(text.starts_with("// "), "{} says what it is for", file.path);
            for line in text.lines().filter(|line| line.starts_with("import ")) {
                let name = line.rsplit('\'').nth(1).unwrap();
                let path = format!("/dashboard/{}", name.strip_prefix("./").unwrap());
                assert!(named(&path).is_some(), "{}: {name}", file.path);
                imports += 1;
            }
            for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "eval("] {
                assert!(!text.contains(forbidden), "{}: {forbidden}", file.path);
            }
        }
        assert!(imports > 0);
    }

    #[test]
    fn the_page_has_a_sign_for_each_state() {
        use super::super::status::StateWord;
        let text = include_str!("dashboard/state.js");
        for state in [
            StateWord::Starting,
            StateWord::Live,
            StateWord::Publishing,
            StateWord::Building,
            StateWord::Paused,
            StateWord::Held,
            StateWord::LeftAlone,
            StateWord::Waiting,
            StateWord::Unreachable,
            StateWord::Refused,
            StateWord::Failed,
        ] {
            let name = serde_json::to_value(state).unwrap();
            let name = name.as_str().unwrap();
            let entry = format!("  {name}: {{ word: '{}',", state.word());
            assert!(text.contains(&entry), "{entry}");
        }
    }
}
