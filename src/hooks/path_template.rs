//! Which file a document is written to: a template such as `content/{_type}/{slug.current}.json`; pure.
//!
//! What stands in the template is the owner's and is checked when the configuration is read; what is
//! put into it comes from outside, and is reduced to a plain name. So no document can name a file
//! above the configuration's folder, a hidden one, or the folder itself.

use serde_json::Value;

/// The longest that one value becomes, in bytes: file systems take names of 255, and a value is not
/// the whole of one.
const MAX_VALUE_BYTES: usize = 180;

/// The longest name in a path, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// A template of a path, below the configuration's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    text: String,
    /// The names of the path, each of pieces.
    names: Vec<Vec<Piece>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The way to a value in the document: `slug.current` is `["slug", "current"]`.
    Value(Vec<String>),
}

/// A document has no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The query's result has no such value.
    #[error("the query's result has no text or number at {0}, which fetch.path needs")]
    Missing(String),
    /// Nothing is left of the value that could be a part of a file's name.
    #[error("the value at {0} has nothing that could be a part of a file's name")]
    Empty(String),
    /// A name is longer than file systems take.
    #[error("the name {0} is longer than {MAX_NAME_BYTES} bytes")]
    TooLong(String),
}

impl PathTemplate {
    /// Returns the template that `text` is.
    ///
    /// # Errors
    ///
    /// What is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let allowed = "must be a path below this file's folder, without hidden names or \"..\", with at \
                       least one value such as {_id}: \"content/{_type}/{slug.current}.json\"";
        let names: Option<Vec<Vec<Piece>>> = text.split('/').map(name).collect();
        let names = names.ok_or(allowed)?;
        let has_value =
            |name: &Vec<Piece>| name.iter().any(|piece| matches!(piece, Piece::Value(_)));
        if !names.iter().any(has_value) {
            return Err(allowed.to_owned());
        }
        Ok(Self {
            text: text.to_owned(),
            names,
        })
    }

    /// Returns the path of a document, from the configuration's folder, with `/` between its names.
    ///
    /// # Errors
    ///
    /// [`PathError`] when the document has not what the template needs.
    pub fn render(&self, document: &Value) -> Result<String, PathError> {
        let names: Result<Vec<String>, PathError> = self
            .names
            .iter()
            .map(|pieces| {
                let mut name = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => name.push_str(text),
                        Piece::Value(way) => name.push_str(&value(document, way)?),
                    }
                }
                if name.len() > MAX_NAME_BYTES {
                    return Err(PathError::TooLong(name));
                }
                Ok(name)
            })
            .collect();
        Ok(names?.join("/"))
    }

    /// Returns the template as it was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Returns the pieces of one name; nothing where it is none.
fn name(text: &str) -> Option<Vec<Piece>> {
    let is_refused = text.is_empty()
        || text.starts_with('.')
        || text.contains('\\')
        || text.chars().any(char::is_control);
    if is_refused {
        return None;
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (way, behind) = after.split_once('}')?;
        let way: Vec<String> = way.split('.').map(str::to_owned).collect();
        let is_plain = |part: &String| {
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
            !part.is_empty() && part.chars().all(fits)
        };
        if before.contains('}') || !way.iter().all(is_plain) {
            return None;
        }
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        pieces.push(Piece::Value(way));
        rest = behind;
    }
    if rest.contains('}') {
        return None;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Some(pieces)
}

/// Returns the value that the way leads to, as a part of a file's name.
fn value(document: &Value, way: &[String]) -> Result<String, PathError> {
    let named = || way.join(".");
    let found = way
        .iter()
        .try_fold(document, |value, part| value.get(part))
        .ok_or_else(|| PathError::Missing(named()))?;
    let text = match found {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err(PathError::Missing(named())),
    };
    let plain = plain(&text);
    if plain.is_empty() {
        return Err(PathError::Empty(named()));
    }
    Ok(plain)
}

/// Letters and digits of any script, `-`, `_` and `.` stay; everything else becomes `-`. No dot stands
/// at either end, so that no value makes a name hidden, or `.` or `..`.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars() {
        let c = if c.is_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '-'
        };
        if plain.len() + c.len_utf8() > MAX_VALUE_BYTES {
            break;
        }
        plain.push(c);
    }
    plain.trim_matches(['.', '-']).to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn rendered(template: &str, document: &Value) -> Result<String, PathError> {
        PathTemplate::parse(template).unwrap().render(document)
    }

    #[test]
    fn values_of_the_document_are_put_in() {
        let document =
            json!({"_id": "a1", "_type": "post", "slug": {"current": "häuser-2"}, "n": 7});
        for (template, path) in [
            (
                "content/{_type}/{slug.current}.json",
                "content/post/häuser-2.json",
            ),
            ("{_id}.json", "a1.json"),
            ("c/{n}-{_id}.json", "c/7-a1.json"),
        ] {
            assert_eq!(rendered(template, &document).unwrap(), path);
        }
        let missing = rendered("{slug.other}.json", &document).unwrap_err();
        assert_eq!(missing, PathError::Missing("slug.other".into()));
        let object = rendered("{slug}.json", &document).unwrap_err();
        assert!(object.to_string().contains("no text or number at slug"));
    }

    #[test]
    fn a_template_that_leads_elsewhere_is_refused() {
        for text in [
            "",
            "/etc/{_id}",
            "../{_id}.json",
            "a/../{_id}",
            "a//{_id}",
            ".git/{_id}",
            "a/.x{_id}",
            "a\\{_id}",
            "content/index.json",
            "{",
            "{}",
            "{_id",
            "_id}",
            "{a b}",
            "{a..b}",
            "{_id}}",
            "{_id}/",
            "a\n{_id}",
        ] {
            assert!(PathTemplate::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_value_is_only_ever_a_part_of_a_name() {
        for (value, expected) in [
            ("../../etc/passwd", "c/etc-passwd.json"),
            ("..", ""),
            (".git/config", "c/git-config.json"),
            ("/abs", "c/abs.json"),
            ("a/b", "c/a-b.json"),
            ("a\0b", "c/a-b.json"),
            ("a\\b", "c/a-b.json"),
            ("  ", ""),
        ] {
            let document = json!({"v": value});
            let path = rendered("c/{v}.json", &document);
            if expected.is_empty() {
                assert_eq!(path, Err(PathError::Empty("v".into())));
            } else {
                assert_eq!(path.unwrap(), expected, "{value:?}");
            }
        }
        let long = json!({"v": "ä".repeat(500)});
        assert!(rendered("c/{v}.json", &long).unwrap().len() <= 2 + 180 + 5);
        let twice = rendered("{v}{v}.json", &long);
        assert!(matches!(twice, Err(PathError::TooLong(_))));
    }

    proptest! {
        #[test]
        fn no_value_leaves_its_folder(value in any::<String>()) {
            if let Ok(path) = rendered("c/{v}/{v}", &json!({"v": value})) {
                let names: Vec<_> = path.split('/').collect();
                prop_assert_eq!(names.len(), 3);
                prop_assert!(names.iter().all(|name| !name.is_empty() && !name.starts_with('.')));
                prop_assert!(!path.contains(['\\', '\0']));
            }
        }
    }
}
