//! `_headers`: what a site's rules do to the headers of a path.
//!
//! A block is a path pattern on a line of its own, then lines `Name: value` and `! Name`. Every block that
//! matches counts, in the order of the file, as on Cloudflare Pages: the first value that the rules give a
//! header takes the place of the server's own, and later blocks add theirs. In a block `! Name` comes
//! before the values, wherever it stands. `field` holds which headers a file may not touch, and which
//! have one value only.

mod field;

use std::{borrow::Cow, collections::HashSet};

use self::field::{Combination, Field, FieldLine};
use super::{
    MAX_HEADER_LINES, MAX_HEADERS_BYTES,
    diagnostic::{Diagnostic, DiagnosticCode, Diagnostics, Fault, shown},
    index::Index,
    lines::{self, Line, is_space},
    pattern::{Pattern, SPLAT, Stars},
    template::{Place, Template},
};
use crate::{site_path::nfc, wire::is_reserved};

/// The rules of one `_headers` file.
#[derive(Debug, Clone, Default)]
pub struct HeaderRules {
    blocks: Vec<Block>,
    index: Index,
}

/// A pattern, and what is done to the headers of a path that matches it.
#[derive(Debug, Clone)]
struct Block {
    line: u32,
    pattern: Pattern,
    detached: Vec<String>,
    fields: Vec<Field>,
}

/// One thing that is done to the headers of an answer; in lower case, and valid as RFC 9110 has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderStep<'r> {
    /// The value takes the place of all that the header has.
    Set {
        /// The header's name, in lower case.
        name: &'r str,
        /// Visible ASCII, with spaces and tabs within.
        value: Cow<'r, str>,
    },
    /// The value is one more line of the header.
    Append {
        /// The header's name, in lower case.
        name: &'r str,
        /// Visible ASCII, with spaces and tabs within.
        value: Cow<'r, str>,
    },
    /// The header is taken away.
    Detach {
        /// The header's name, in lower case.
        name: &'r str,
    },
}

impl HeaderRules {
    /// Returns the rules of a file, and what is wrong with its other lines, by line.
    ///
    /// Never fails: a bad line is left out, and a bad path with its whole block. At most
    /// [`MAX_HEADERS_BYTES`] and [`MAX_HEADER_LINES`] are taken.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> (Self, Vec<Diagnostic>) {
        let mut diagnostics = Diagnostics::default();
        let lines = lines::read(bytes, MAX_HEADERS_BYTES, &mut diagnostics);
        let mut reader = Reader::default();
        for line in lines {
            if reader.header_lines >= MAX_HEADER_LINES {
                diagnostics.refuse(line.number, too_many());
                break;
            }
            if let Err(fault) = reader.take(line, &mut diagnostics) {
                diagnostics.refuse(line.number, fault);
            }
        }
        reader.end_block(&mut diagnostics);
        (reader.rules, diagnostics.finish())
    }

    /// Returns whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Returns how many blocks are in force.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Returns what the rules do to the headers of `path`, in this order; no more than
    /// [`MAX_HEADER_LINES`].
    ///
    /// `path` is percent-decoded and starts with `/`.
    #[must_use]
    pub fn for_path(&self, path: &str) -> Vec<HeaderStep<'_>> {
        let path = if path.is_ascii() {
            Cow::Borrowed(path)
        } else {
            Cow::Owned(nfc(path))
        };
        let mut steps = Vec::new();
        let mut given = HashSet::new();
        if !path.starts_with('/') {
            return steps;
        }
        for number in self.index.candidates(&path) {
            let block = &self.blocks[number as usize];
            if let Some(captures) = block.pattern.captures(&path) {
                block.add_steps(&captures, &mut given, &mut steps);
            }
        }
        steps
    }
}

impl Block {
    /// Adds what the block does; `given` holds the names that the blocks have given a value.
    fn add_steps<'r>(
        &'r self,
        captures: &[&str],
        given: &mut HashSet<&'r str>,
        steps: &mut Vec<HeaderStep<'r>>,
    ) {
        let captures: Vec<Cow<'_, str>> =
            captures.iter().map(|text| Cow::Borrowed(*text)).collect();
        let detached = self.detached.iter();
        steps.extend(detached.map(|name| HeaderStep::Detach { name }));
        for field in &self.fields {
            let name = field.name.as_str();
            let value = trimmed(field.value.render(&captures));
            // An empty capture may leave nothing to say.
            if value.is_empty() {
                continue;
            }
            let is_first = given.insert(name);
            steps.push(match field.combination {
                Combination::List if !is_first => HeaderStep::Append { name, value },
                Combination::List | Combination::Single => HeaderStep::Set { name, value },
                Combination::Lines | Combination::Additional => HeaderStep::Append { name, value },
            });
        }
    }
}

/// Returns a value without spaces around it, which are no part of it (RFC 9110, section 5.5).
fn trimmed(value: Cow<'_, str>) -> Cow<'_, str> {
    let length = value.trim().len();
    match value {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) if text.len() == length => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

/// Reads a file line by line.
#[derive(Debug, Default)]
struct Reader {
    rules: HeaderRules,
    block: OpenBlock,
    header_lines: usize,
}

/// The block that the next header line belongs to.
#[derive(Debug, Default)]
enum OpenBlock {
    /// No path came yet.
    #[default]
    None,
    /// The path was refused, and so is what follows, which is not said for each line.
    Refused,
    /// A block in the making.
    Open(Box<Block>),
}

impl Reader {
    fn take(&mut self, line: Line<'_>, diagnostics: &mut Diagnostics) -> Result<(), Fault> {
        if line.text.starts_with('/') || has_scheme(line.text) {
            self.end_block(diagnostics);
            self.block = OpenBlock::Refused;
            let pattern = parse_path(line.text)?;
            self.block = OpenBlock::Open(Box::new(Block {
                line: line.number,
                pattern,
                detached: Vec::new(),
                fields: Vec::new(),
            }));
            return Ok(());
        }
        let field = match &self.block {
            OpenBlock::Refused => return Ok(()),
            OpenBlock::None => Err(Fault::new(
                DiagnosticCode::HeaderWithoutPath,
                format!(
                    "{} comes before any path; write a line with a path above it, such as `/*`",
                    // Its value is nobody's business.
                    shown(line.text.split(':').next().unwrap_or_default())
                ),
            )),
            OpenBlock::Open(_) => FieldLine::parse(line.text),
        }?;
        self.header_lines += 1;
        let OpenBlock::Open(block) = &mut self.block else {
            return Ok(());
        };
        match field {
            FieldLine::Detach(name) => {
                if !block.detached.contains(&name) {
                    block.detached.push(name);
                }
                Ok(())
            }
            FieldLine::Value(name, value) => block.add(name, value, line.number, diagnostics),
        }
    }

    fn end_block(&mut self, diagnostics: &mut Diagnostics) {
        let OpenBlock::Open(block) = std::mem::take(&mut self.block) else {
            return;
        };
        if block.detached.is_empty() && block.fields.is_empty() {
            let message =
                "the path has no header lines, so it does nothing; write `Name: value` below it";
            diagnostics.warn(block.line, Fault::new(DiagnosticCode::EmptyBlock, message));
            return;
        }
        let number = u32::try_from(self.rules.blocks.len()).expect("the count of lines is bounded");
        self.rules.index.insert(&block.pattern, number);
        self.rules.blocks.push(*block);
    }
}

impl Block {
    fn add(
        &mut self,
        name: String,
        value: &str,
        line: u32,
        diagnostics: &mut Diagnostics,
    ) -> Result<(), Fault> {
        if self.pattern.star_count() > 1 && names_splat(value) {
            let message = format!(
                "`:{SPLAT}` could be any of the path's several `*`; leave all but one of them out"
            );
            return Err(Fault::new(DiagnosticCode::BadPlaceholder, message));
        }
        let (value, _) = Template::parse(value, Place::HeaderValue, self.pattern.names())
            .expect("a header's value is taken as it is");
        let combination = Combination::of(&name);
        let known = match combination {
            Combination::Lines => None,
            Combination::List | Combination::Additional | Combination::Single => {
                self.fields.iter_mut().find(|field| field.name == name)
            }
        };
        match known {
            None => self.fields.push(Field {
                name,
                value,
                combination,
            }),
            Some(known) if combination == Combination::Single => {
                known.value = value;
                let message = format!(
                    "{} has one value, and this line takes the place of an earlier one for the same path; \
                     remove one of them",
                    shown(&name)
                );
                diagnostics.warn(line, Fault::new(DiagnosticCode::RepeatedHeader, message));
            }
            Some(known) => known.value.join(", ", value),
        }
        Ok(())
    }
}

fn names_splat(value: &str) -> bool {
    value.match_indices(&format!(":{SPLAT}")).any(|(at, name)| {
        let after = value[at + name.len()..].bytes().next();
        !after.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// Returns whether a line is an address with a host. A header's value may hold one, but has a colon before.
fn has_scheme(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty() && !scheme.contains(|letter| is_space(letter) || letter == ':')
    })
}

fn parse_path(text: &str) -> Result<Pattern, Fault> {
    if !text.starts_with('/') {
        let message = format!(
            "{} is for one host, and this server has one site whatever the host is; write the path \
             alone. The lines below it are left out",
            shown(text)
        );
        return Err(Fault::new(DiagnosticCode::DomainRule, message));
    }
    let path = text
        .match_indices('#')
        .find(|(at, _)| text[..*at].ends_with(is_space))
        .map_or(text, |(at, _)| text[..at].trim_end_matches(is_space));
    let pattern = Pattern::parse(path, Stars::Anywhere).map_err(|fault| Fault {
        message: format!("{}. The lines below it are left out", fault.message),
        ..fault
    })?;
    let prefix = pattern.exact().unwrap_or_else(|| pattern.literal_prefix());
    if prefix.strip_prefix('/').is_some_and(is_reserved) {
        let message = format!(
            "{} belongs to the server's own endpoint, where no rule counts; use another path. The lines \
             below it are left out",
            shown(path)
        );
        return Err(Fault::new(DiagnosticCode::ReservedPath, message));
    }
    Ok(pattern)
}

fn too_many() -> Fault {
    let message = format!(
        "the file has more than {MAX_HEADER_LINES} header lines; this line and those after it are not in \
         force, so use fewer blocks with wildcards"
    );
    Fault::new(DiagnosticCode::TooManyRules, message)
}

#[cfg(test)]
mod tests;
