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

static FILES: [File; 2] = [
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
];

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
}
