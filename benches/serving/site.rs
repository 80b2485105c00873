//! The site that every server serves: one page of 10 KB, one asset of 1 MB, and a thousand files of
//! the kinds and sizes that sites have. Every run makes the same bytes.

use std::fmt::Write as _;

use crate::{harness::site::Tree, random::Random};

/// The page of 10 KB.
pub(crate) const PAGE: &str = "page.html";

/// Bytes of that page.
const PAGE_BYTES: usize = 10 * 1_024;

/// The asset of 1 MB, which does not compress.
pub(crate) const ASSET: &str = "media/photo.jpg";

/// Bytes of that asset.
const ASSET_BYTES: usize = 1_024 * 1_024;

/// What is shown where there is nothing.
pub(crate) const NOT_FOUND: &str = "404.html";

/// Files of the mixed workload.
pub(crate) const MIXED_FILES: usize = 1_000;

/// Different words of the text.
const WORDS: usize = 3_000;

/// Syllables that words are made of.
const SYLLABLES: [&str; 24] = [
    "an", "ber", "cor", "del", "en", "fa", "ger", "hol", "in", "ka", "lo", "mer", "ni", "or", "pa",
    "qui", "ro", "sta", "ti", "un", "ver", "wal", "yo", "ze",
];

/// Returns the whole site.
pub(crate) fn tree() -> Tree {
    let prose = Prose::new();
    let mut tree = Tree::new();
    tree.insert("index.html".into(), prose.page(1, 4_000));
    tree.insert(NOT_FOUND.into(), prose.page(2, 1_500));
    tree.insert(PAGE.into(), prose.page(3, PAGE_BYTES));
    tree.insert(ASSET.into(), noise(4, ASSET_BYTES));
    for number in 0..MIXED_FILES {
        let mixed = MixedFile::new(number);
        let seed = 1_000 + number as u64;
        let bytes = match mixed.content {
            Content::Page => prose.page(seed, mixed.bytes),
            Content::Code => prose.code(seed, mixed.bytes),
            Content::Image => noise(seed, mixed.bytes),
        };
        tree.insert(mixed.path, bytes);
    }
    tree
}

/// What a file holds.
#[derive(Debug, Clone, Copy)]
enum Content {
    Page,
    Code,
    Image,
}

/// One file of the mixed workload.
#[derive(Debug)]
pub(crate) struct MixedFile {
    /// Where it is in the site.
    pub(crate) path: String,
    /// What is asked for.
    pub(crate) target: String,
    content: Content,
    bytes: usize,
}

impl MixedFile {
    /// Returns the file of a number: of twenty, ten are pages, half of them in folders of their
    /// own, four are style sheets and scripts, and six are images.
    pub(crate) fn new(number: usize) -> Self {
        let section = number / 50;
        let (path, content, sizes) = match number % 20 {
            kind @ 0..10 if kind % 2 == 0 => (
                format!("section-{section}/page-{number}/index.html"),
                Content::Page,
                (2_000, 30_000),
            ),
            0..10 => (
                format!("section-{section}/page-{number}.html"),
                Content::Page,
                (2_000, 30_000),
            ),
            10 | 11 => (
                format!("assets/style-{number}.css"),
                Content::Code,
                (1_000, 40_000),
            ),
            12 | 13 => (
                format!("assets/script-{number}.js"),
                Content::Code,
                (1_000, 40_000),
            ),
            _ => (
                format!("media/image-{number}.jpg"),
                Content::Image,
                (1_000, 100_000),
            ),
        };
        let target = path.strip_suffix("index.html").unwrap_or(&path);
        Self {
            target: format!("/{target}"),
            content,
            bytes: size_between(number, sizes),
            path,
        }
    }
}

/// Returns a size between two: small ones are more frequent than large ones, evenly over the
/// logarithm.
fn size_between(number: usize, (least, most): (u32, u32)) -> usize {
    let share = Random::new(number as u64).below(1_000) as f64 / 1_000.0;
    let size = f64::from(least) * (f64::from(most) / f64::from(least)).powf(share);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it lies between two u32"
    )]
    let whole = size as usize;
    whole
}

/// Returns bytes that do not compress.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        noise.extend(random.bits().to_le_bytes());
    }
    noise.truncate(bytes);
    noise
}

/// Writes text that compresses as people's text does: some words are frequent, most are rare.
struct Prose {
    words: Vec<String>,
}

impl Prose {
    fn new() -> Self {
        let mut random = Random::new(0);
        let words = (0..WORDS)
            .map(|_| {
                let syllables = 1 + random.below(3);
                (0..syllables)
                    .map(|_| SYLLABLES[random.below(SYLLABLES.len())])
                    .collect()
            })
            .collect();
        Self { words }
    }

    fn word(&self, random: &mut Random) -> &str {
        // The least of three draws: the words in front are taken more often.
        let draw = (0..3).map(|_| random.below(WORDS)).min();
        &self.words[draw.unwrap_or(0)]
    }

    fn page(&self, seed: u64, bytes: usize) -> Vec<u8> {
        let mut random = Random::new(seed);
        let mut text = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Page {seed}</title>\n\
             <link rel=\"stylesheet\" href=\"/assets/style-10.css\"></head>\n<body>\n<h1>Page {seed}</h1>\n"
        );
        while text.len() < bytes {
            text.push_str("<p>");
            for _ in 0..40 + random.below(60) {
                text.push_str(self.word(&mut random));
                text.push(if random.below(12) == 0 { ',' } else { ' ' });
            }
            let link = random.below(MIXED_FILES);
            writeln!(text, "<a href=\"/section-{}/\">more</a></p>", link / 50)
                .expect("a string takes text");
        }
        let end = "</p>\n</body>\n</html>\n";
        text.truncate(bytes - end.len());
        text.push_str(end);
        text.into_bytes()
    }

    fn code(&self, seed: u64, bytes: usize) -> Vec<u8> {
        let mut random = Random::new(seed);
        let mut text = String::new();
        while text.len() < bytes {
            let [block, member] = [0, 1].map(|_| self.word(&mut random).to_owned());
            let number = random.below(1_000);
            writeln!(text, ".{block} .{member} {{ margin: {number}px; }}")
                .expect("a string takes text");
        }
        text.truncate(bytes);
        text.into_bytes()
    }
}
