//! Which name an app gets when the one that was asked for is somebody else's.
//!
//! Pure. The suffix is made from what the site is, not by chance: a run that was interrupted after it
//! made an app comes to the same name again, and finds the app.

use onsave_protocol::Sha256Digest;

/// The longest label of a host name.
const MAX_BYTES: usize = 63;

/// Lengths of the suffixes that are tried, in hex digits.
const SUFFIX_DIGITS: [usize; 3] = [4, 6, 8];

/// Returns the names to try, best first; `site` is what tells this site from all others.
pub(super) fn candidates(asked: &str, site: &str) -> Vec<String> {
    let digest = Sha256Digest::of(format!("{site}\n{asked}").as_bytes()).to_hex();
    let suffixed = SUFFIX_DIGITS.map(|digits| {
        let suffix = &digest[..digits];
        let kept = asked.len().min(MAX_BYTES - digits - 1);
        format!("{}-{suffix}", asked[..kept].trim_end_matches('-'))
    });
    std::iter::once(asked.to_owned()).chain(suffixed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_site_comes_to_the_same_names() {
        let names = candidates("blog", "/home/ann/blog");
        assert_eq!(names.len(), 4);
        assert_eq!(names[0], "blog");
        assert!(names[1].starts_with("blog-") && names[1].len() == "blog-".len() + 4);
        assert_eq!(names, candidates("blog", "/home/ann/blog"));
        assert_ne!(names[1], candidates("blog", "/home/bob/blog")[1]);
    }

    #[test]
    fn a_long_name_stays_a_label() {
        let long = format!("{}-{}", "a".repeat(57), "b".repeat(5));
        for name in candidates(&long, "x") {
            assert!(name.len() <= 63 && !name.contains("--"), "{name}");
        }
    }
}
