//! Which content a file belongs to: by a template such as `content/{collection}/{slug}.json`, or by its
//! address. Pure.

use onsave_protocol::SitePath;
use onsave_server::config::TrailingSlash;

use super::routes;

/// What a content of the root page is called.
const ROOT_SLUG: &str = "index";

/// A template of site paths with `{slug}` and perhaps `{collection}` in it, each one segment or a part of
/// one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentTemplate {
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Segment {
    before: String,
    hole: Option<Hole>,
    after: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hole {
    Collection,
    Slug,
}

const HOLES: [(&str, Hole); 2] = [("{collection}", Hole::Collection), ("{slug}", Hole::Slug)];

/// A content, as a CMS knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Content {
    pub(super) collection: Option<String>,
    pub(super) slug: String,
}

impl ContentTemplate {
    /// Returns the template in `text`.
    ///
    /// # Errors
    ///
    /// What a template has to be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let allowed =
            || "must be a path with {slug} in it, such as \"content/{collection}/{slug}.json\"";
        let segments: Option<Vec<Segment>> = text.split('/').map(segment).collect();
        let segments = segments.ok_or_else(allowed)?;
        let count = |hole| {
            segments
                .iter()
                .filter(|segment| segment.hole == Some(hole))
                .count()
        };
        if count(Hole::Slug) == 1 && count(Hole::Collection) <= 1 {
            Ok(Self { segments })
        } else {
            Err(allowed().to_owned())
        }
    }

    /// Returns the content that a file belongs to, where the template is of its kind.
    pub(super) fn content(&self, path: &SitePath) -> Option<Content> {
        let names: Vec<&str> = path.as_str().split('/').collect();
        if names.len() != self.segments.len() {
            return None;
        }
        let (mut collection, mut slug) = (None, None);
        for (segment, name) in self.segments.iter().zip(names) {
            let inner = name.strip_prefix(segment.before.as_str())?;
            let inner = inner.strip_suffix(segment.after.as_str())?;
            match segment.hole {
                None if inner.is_empty() => {}
                Some(Hole::Collection) if !inner.is_empty() => collection = Some(inner.to_owned()),
                Some(Hole::Slug) if !inner.is_empty() => slug = Some(inner.to_owned()),
                _ => return None,
            }
        }
        Some(Content {
            collection,
            slug: slug?,
        })
    }
}

fn segment(text: &str) -> Option<Segment> {
    let found = HOLES
        .iter()
        .find_map(|(hole, kind)| Some((text.split_once(hole)?, *kind)));
    let (before, hole, after) = match found {
        Some(((before, after), hole)) => (before, Some(hole), after),
        None => (text, None, ""),
    };
    let plain =
        |text: &str| !text.contains(['{', '}', '\\']) && !text.chars().any(char::is_control);
    (!text.is_empty() && plain(before) && plain(after)).then(|| Segment {
        before: before.to_owned(),
        hole,
        after: after.to_owned(),
    })
}

/// Returns the content of a file by the first template that is of its kind; without any template, that of
/// a page by its address.
pub(super) fn content_of(path: &SitePath, templates: &[ContentTemplate]) -> Option<Content> {
    if !templates.is_empty() {
        return templates.iter().find_map(|template| template.content(path));
    }
    if !routes::is_page(path) {
        return None;
    }
    let name = path.as_str().trim_end_matches(".html");
    let name = name.strip_suffix("/index").unwrap_or(name);
    Some(match name.rsplit_once('/') {
        _ if routes::route(path, TrailingSlash::Auto) == "/" => Content {
            collection: None,
            slug: ROOT_SLUG.to_owned(),
        },
        Some((collection, slug)) => Content {
            collection: Some(collection.to_owned()),
            slug: slug.to_owned(),
        },
        None => Content {
            collection: None,
            slug: name.to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, templates: &[&str]) -> Option<(String, String)> {
        let templates: Vec<_> = templates
            .iter()
            .map(|text| ContentTemplate::parse(text).unwrap())
            .collect();
        let content = content_of(&SitePath::parse(path).unwrap(), &templates)?;
        Some((content.collection.unwrap_or_default(), content.slug))
    }

    #[test]
    fn a_template_says_collection_and_slug() {
        let templates = ["content/{collection}/{slug}.json", "{slug}.page.json"];
        for (path, expected) in [
            ("content/posts/a-b.json", Some(("posts", "a-b"))),
            ("about.page.json", Some(("", "about"))),
            ("content/posts/.json", None),
            ("content/posts/deep/a.json", None),
            ("content/posts/a.html", None),
            ("posts/a.json", None),
        ] {
            let expected =
                expected.map(|(collection, slug)| (collection.to_owned(), slug.to_owned()));
            assert_eq!(found(path, &templates), expected, "{path}");
        }
    }

    #[test]
    fn without_one_a_pages_address_does() {
        for (path, expected) in [
            ("index.html", Some(("", "index"))),
            ("about.html", Some(("", "about"))),
            ("about/index.html", Some(("", "about"))),
            ("blog/a/index.html", Some(("blog", "a"))),
            ("en/blog/a.html", Some(("en/blog", "a"))),
            ("app.css", None),
        ] {
            let expected =
                expected.map(|(collection, slug)| (collection.to_owned(), slug.to_owned()));
            assert_eq!(found(path, &[]), expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in [
            "",
            "a/b.json",
            "{slug}/{slug}",
            "{slug",
            "{other}/{slug}",
            "a//{slug}",
            "{collection}{slug}",
        ] {
            assert!(ContentTemplate::parse(text).is_err(), "{text}");
        }
    }
}
