//! One manual page: the parts that the command line's definition gives, and the sections of its help.
//!
//! `clap_mangen` puts everything below the options into one section, `EXTRA`, and refills its lines,
//! which ruins examples and tables. Here each part of that text is the section that readers of manual
//! pages look for, with its lines kept.

use std::io::{self, Write};

use clap_mangen::Man;

/// Writes the page of `command`, which is built.
///
/// # Errors
///
/// When `out` cannot be written to.
pub(super) fn render(command: &clap::Command, out: &mut dyn Write) -> io::Result<()> {
    let man = Man::new(command.clone());
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    if command.has_subcommands() {
        man.render_subcommands_section(out)?;
    }
    if let Some(help) = command.get_after_long_help() {
        render_help(&help.to_string(), out)?;
    }
    man.render_version_section(out)
}

/// Writes the text below the options; each line that is not indented starts a section.
fn render_help(help: &str, out: &mut dyn Write) -> io::Result<()> {
    let mut is_in_section = false;
    for line in help.lines().filter(|line| !line.is_empty()) {
        if let Some(line) = line.strip_prefix("  ") {
            writeln!(out, "{}", escaped(line))?;
        } else {
            end_section(is_in_section, out)?;
            is_in_section = true;
            writeln!(out, ".SH \"{}\"\n.nf", section(line))?;
        }
    }
    end_section(is_in_section, out)
}

fn end_section(is_in_section: bool, out: &mut dyn Write) -> io::Result<()> {
    if is_in_section {
        writeln!(out, ".fi")?;
    }
    Ok(())
}

/// Returns what manual pages call a section of the help.
fn section(title: &str) -> String {
    match title.trim_end_matches(':') {
        "Exit codes" => "EXIT STATUS".to_owned(),
        title => title.to_uppercase(),
    }
}

/// Returns a line as roff that shows exactly it: a hyphen stays one that can be copied and pasted.
fn escaped(line: &str) -> String {
    let mut text = String::new();
    // At the start of a line they would be a request.
    if line.starts_with(['.', '\'']) {
        text.push_str("\\&");
    }
    for character in line.chars() {
        match character {
            '\\' => text.push_str("\\e"),
            '-' => text.push_str("\\-"),
            '\'' => text.push_str("\\(aq"),
            '`' => text.push_str("\\(ga"),
            '~' => text.push_str("\\(ti"),
            '^' => text.push_str("\\(ha"),
            _ => text.push(character),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_the_help_is_a_section_with_its_lines() {
        let help = "Examples:\n  onsave -m 'x'   a note\n  .x\n\nExit codes:\n    0  done\n";
        let mut out = Vec::new();
        render_help(help, &mut out).unwrap();
        let expected = r#".SH "EXAMPLES"
.nf
onsave \-m \(aqx\(aq   a note
\&.x
.fi
.SH "EXIT STATUS"
.nf
  0  done
.fi
"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn nothing_is_a_request_or_an_escape() {
        assert_eq!(escaped("'a\\n~`^"), "\\&\\(aqa\\en\\(ti\\(ga\\(ha");
    }
}
