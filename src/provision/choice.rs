//! Asking a person which of several organisations is meant; only where a person is there.

use std::io::{self, IsTerminal as _, Write as _};

use crate::fly::resources::Organisation;

/// Asks on the terminal; returns nothing where there is none, or no usable answer.
#[must_use]
pub fn ask(organisations: &[Organisation]) -> Option<usize> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return None;
    }
    let mut out = io::stderr();
    writeln!(out, "{}", question(organisations)).ok()?;
    write!(out, "number: ").and_then(|()| out.flush()).ok()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).ok()?;
    chosen(&answer, organisations)
}

fn question(organisations: &[Organisation]) -> String {
    let lines: Vec<String> = organisations
        .iter()
        .enumerate()
        .map(|(index, o)| format!("  {}  {} ({})", index + 1, o.name, o.slug))
        .collect();
    format!("in which organisation?\n{}", lines.join("\n"))
}

/// A number of the list, or a short name.
fn chosen(answer: &str, organisations: &[Organisation]) -> Option<usize> {
    let answer = answer.trim();
    let numbered = || {
        let index = answer.parse::<usize>().ok()?.checked_sub(1)?;
        (index < organisations.len()).then_some(index)
    };
    organisations
        .iter()
        .position(|o| o.slug == answer)
        .or_else(numbered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_a_short_name_chooses() {
        let organisation = |slug: &str| Organisation {
            slug: slug.into(),
            name: slug.to_uppercase(),
            billing: None,
        };
        let all = [organisation("personal"), organisation("2")];
        assert_eq!(chosen("1\n", &all), Some(0));
        assert_eq!(chosen(" 2 ", &all), Some(1));
        assert_eq!(chosen("personal", &all), Some(0));
        for answer in ["", "0", "3", "x", "-1"] {
            assert_eq!(chosen(answer, &all), None, "{answer}");
        }
        assert!(question(&all).contains("  1  PERSONAL (personal)\n  2  2 (2)"));
    }
}
