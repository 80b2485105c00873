//! What is asked of every server, and what has to be answered.

use crate::site::{self, MixedFile};

/// Of the mixed workload, every so many-th request asks for what is not there.
pub(crate) const NOT_FOUND_EVERY: usize = 50;

/// Of the mixed workload, every so many-th request asks whether what the visitor has still holds.
const CONDITIONAL_EVERY: usize = 10;

/// A kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    /// A page of 10 KB as it is.
    Page,
    /// The same page compressed with Brotli.
    Brotli,
    /// An asset of 1 MB.
    Asset,
    /// The page, which the visitor already has.
    NotModified,
    /// A thousand URLs in turn.
    Mixed,
}

impl Workload {
    /// Returns how tables name it.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Page => "10 KB page",
            Self::Brotli => "10 KB page, br",
            Self::Asset => "1 MB asset",
            Self::NotModified => "304",
            Self::Mixed => "1,000 mixed URLs",
        }
    }

    /// Returns its requests, which are sent in turn.
    pub(crate) fn asks(self) -> Vec<Ask> {
        let one = |file: &str, expected| {
            vec![Ask {
                target: format!("/{file}"),
                file: file.to_owned(),
                expected,
            }]
        };
        match self {
            Self::Page => one(site::PAGE, Expected::Whole),
            Self::Brotli => one(site::PAGE, Expected::Brotli),
            Self::Asset => one(site::ASSET, Expected::Whole),
            Self::NotModified => one(site::PAGE, Expected::NotModified),
            Self::Mixed => (0..site::MIXED_FILES).map(mixed).collect(),
        }
    }
}

fn mixed(number: usize) -> Ask {
    if number % NOT_FOUND_EVERY == NOT_FOUND_EVERY - 1 {
        return Ask {
            target: format!("/section-1/no-page-{number}.html"),
            file: site::NOT_FOUND.to_owned(),
            expected: Expected::NotFound,
        };
    }
    let MixedFile { path, target, .. } = MixedFile::new(number);
    Ask {
        target,
        file: path,
        expected: if number % CONDITIONAL_EVERY == 4 {
            Expected::NotModified
        } else {
            Expected::Whole
        },
    }
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// Path as sent.
    pub(crate) target: String,
    /// The file of the site whose bytes are the answer.
    pub(crate) file: String,
    /// How it is answered.
    pub(crate) expected: Expected,
}

/// How a request has to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// 200 with the bytes of the file.
    Whole,
    /// 200 with the bytes of the file, compressed with Brotli.
    Brotli,
    /// 304, since the request carries the server's own validator of the file.
    NotModified,
    /// 404 with the bytes of the site's page for it.
    NotFound,
}
