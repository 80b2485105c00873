//! Conditions on the query: `name=value`, `name=:placeholder`; and the parameters that they are asked of.
//!
//! Parameters are read as a form sends them: `+` is a space, and escapes are decoded. Of a parameter
//! that is there twice the first one counts. A parameter that a condition asked for is used up: it is
//! not passed on.

use std::{borrow::Cow, cell::OnceCell, collections::HashMap};

use percent_encoding::percent_decode_str;

use super::is_dots;
use crate::rules::template::sent_query;

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) name: String,
    pub(super) wanted: Wanted,
}

/// What a parameter has to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// This value.
    Value(String),
    /// Any value but the empty one, which is captured under this name.
    Capture(String),
}

impl Condition {
    /// Adds what is captured; nothing when the condition does not hold.
    pub(super) fn check<'q>(
        &self,
        parameters: &'q Parameters<'_>,
        captures: &mut Vec<Cow<'q, str>>,
    ) -> Option<()> {
        let value = parameters.get(&self.name)?;
        match &self.wanted {
            Wanted::Value(wanted) => (wanted == value).then_some(()),
            // What could climb out of a folder of the target is no value for its path.
            Wanted::Capture(_) if value.is_empty() || value.split('/').any(is_dots) => None,
            Wanted::Capture(_) => {
                captures.push(Cow::Borrowed(value));
                Some(())
            }
        }
    }

    /// Returns a text that is the same for conditions that hold for the same queries.
    pub(super) fn key(&self) -> String {
        match &self.wanted {
            Wanted::Value(value) => format!("{:?}={value:?}", self.name),
            Wanted::Capture(_) => format!("{:?}", self.name),
        }
    }
}

/// The parameters of a request's query, read when the first condition asks.
#[derive(Debug)]
pub(super) struct Parameters<'q> {
    /// As sent, and never empty.
    query: Option<&'q str>,
    values: OnceCell<HashMap<String, String>>,
}

impl<'q> Parameters<'q> {
    /// Returns the parameters of a query, without its `?`.
    pub(super) fn new(query: Option<&'q str>) -> Self {
        Self {
            query: query.filter(|query| !query.is_empty()),
            values: OnceCell::new(),
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        let values = self.values.get_or_init(|| {
            let mut values = HashMap::new();
            for pair in self.pairs() {
                if let Some((name, value)) = read_pair(pair) {
                    values.entry(name).or_insert(value);
                }
            }
            values
        });
        values.get(name).map(String::as_str)
    }

    fn pairs(&self) -> impl Iterator<Item = &'q str> {
        self.query.into_iter().flat_map(|query| query.split('&'))
    }

    /// Returns the query as sent, without the parameters that `used_up` asked for; nothing when nothing
    /// is left.
    pub(super) fn sent(&self, used_up: &[Condition]) -> Option<Cow<'q, str>> {
        let query = self.query?;
        if used_up.is_empty() {
            return Some(sent_query(query));
        }
        let left: Vec<&str> = self
            .pairs()
            .filter(|pair| {
                let name = read_pair(pair).map(|(name, _)| name);
                !used_up
                    .iter()
                    .any(|condition| name.as_deref() == Some(condition.name.as_str()))
            })
            .collect();
        let left = left.join("&");
        (!left.is_empty()).then(|| Cow::Owned(sent_query(&left).into_owned()))
    }
}

/// Returns name and value of one parameter, decoded; nothing when they are not UTF-8.
pub(super) fn read_pair(pair: &str) -> Option<(String, String)> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    Some((read(name)?, read(value)?))
}

fn read(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(name: &str, value: Option<&str>) -> Condition {
        Condition {
            name: name.into(),
            wanted: value.map_or_else(
                || Wanted::Capture("x".into()),
                |value| Wanted::Value(value.into()),
            ),
        }
    }

    fn captured(condition: &Condition, query: &str) -> Option<Vec<String>> {
        let parameters = Parameters::new(Some(query));
        let mut captures = Vec::new();
        condition.check(&parameters, &mut captures)?;
        Some(captures.into_iter().map(Cow::into_owned).collect())
    }

    #[test]
    fn parameters_are_read_as_a_form_sends_them() {
        let any = condition("id", None);
        for (query, expected) in [
            ("id=7", Some("7")),
            ("a=b&id=a+b%2Bc", Some("a b+c")),
            ("%69d=7", Some("7")),
            ("id=1&id=2", Some("1")),
            ("id=a=b", Some("a=b")),
            ("id=%C3%A9", Some("é")),
            ("id=a/b", Some("a/b")),
            ("id=", None),
            ("id", None),
            ("ID=7", None),
            ("id=%FF", None),
            ("id=../x", None),
            ("id=a/%2e%2e", None),
            ("", None),
        ] {
            let expected = expected.map(|value| vec![value.to_owned()]);
            assert_eq!(captured(&any, query), expected, "{query}");
        }
    }

    #[test]
    fn values_are_compared_whole() {
        let seven = condition("id", Some("7"));
        assert!(captured(&seven, "id=7").is_some());
        assert!(captured(&seven, "id=77").is_none());
        assert!(captured(&seven, "id=8&id=7").is_none());
        let empty = condition("id", Some(""));
        assert!(captured(&empty, "id").is_some());
        assert!(captured(&empty, "id=").is_some());
        assert!(captured(&empty, "x").is_none());
    }

    #[test]
    fn what_was_asked_for_is_not_passed_on() {
        let id = [condition("id", None)];
        for (query, expected) in [
            ("id=1", None),
            ("id=1&id=2", None),
            ("a=1&id=2&b=%20+", Some("a=1&b=%20+")),
            ("%69d=1&a", Some("a")),
            ("&&", Some("&&")),
        ] {
            let sent = Parameters::new(Some(query)).sent(&id);
            assert_eq!(sent.as_deref(), expected, "{query}");
        }
        let all = Parameters::new(Some("a=é&b"));
        assert_eq!(all.sent(&[]).as_deref(), Some("a=%C3%A9&b"));
        assert_eq!(Parameters::new(Some("")).sent(&[]), None);
        assert_eq!(Parameters::new(None).sent(&[]), None);
    }
}
