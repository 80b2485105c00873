//! A site like the ones that generators write: a folder per page, pages of about 11.5 KB that have
//! much in common and much that is their own.

use crate::{harness::SiteFolder, random::Random};

/// The page that is edited.
pub(crate) const EDITED: &str = "section-0/page-0/index.html";

/// Where the edited page answers.
pub(crate) const EDITED_TARGET: &str = "/section-0/page-0/";

/// Words that pages are made of; real text repeats its words, and compresses for it.
const WORDS: [&str; 32] = [
    "harbour", "winter", "letter", "engine", "garden", "bridge", "morning", "signal", "paper",
    "river", "window", "market", "valley", "number", "silver", "answer", "island", "candle",
    "season", "thread", "mirror", "forest", "ticket", "copper", "branch", "method", "shadow",
    "bottle", "circle", "record", "meadow", "custom",
];

/// Writes a site of `files` pages.
pub(crate) fn write(site: &SiteFolder, files: u32) {
    for number in 0..files {
        let path = format!("section-{}/page-{number}/index.html", number / 100);
        site.write(&path, &page(number, "As it was first written."));
    }
}

/// Returns a page of about 11.5 KB; pages of other numbers have other text.
pub(crate) fn page(number: u32, sentence: &str) -> String {
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Page {number}</title>\n\
         <link rel=\"stylesheet\" href=\"/site.css\"></head>\n<body>\n<h1>Page {number}</h1>\n<p>{sentence}</p>\n"
    );
    let mut random = Random::new(u64::from(number));
    while text.len() < 11_500 {
        text.push_str("<p>");
        for _ in 0..60 {
            text.push_str(WORDS[random.below(WORDS.len())]);
            text.push(' ');
        }
        text.push_str("</p>\n");
    }
    text.push_str("</body>\n</html>\n");
    text
}
