//! The help of every command against `tests/help/`, so that a change of it is seen and meant.
//!
//! `UPDATE_HELP=1 cargo test --test help` writes the files anew.

use std::{collections::BTreeSet, fs, path::Path};

use clap::{Command, CommandFactory as _};
use onsave::{cli::Cli, exit_code::ExitCode};

/// The help of `onsave` and of every command, by the name of its file.
fn helps() -> Vec<(String, String)> {
    let mut main = Cli::command().term_width(100);
    main.build();
    let render = |command: &mut Command| {
        let lines = command.render_long_help().to_string();
        // What is only there to align is not worth a difference.
        let lines: Vec<_> = lines.lines().map(str::trim_end).collect();
        lines.join("\n") + "\n"
    };
    let text = render(&mut main);
    let mut helps = vec![("onsave".to_owned(), text)];
    for command in main
        .get_subcommands_mut()
        .filter(|command| command.get_name() != "help")
    {
        helps.push((command.get_name().to_owned(), render(command)));
    }
    helps
}

#[test]
fn the_help_is_the_recorded_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help");
    for (name, help) in helps() {
        let file = folder.join(format!("{name}.txt"));
        if std::env::var_os("UPDATE_HELP").is_some() {
            fs::write(&file, &help).unwrap();
        }
        let recorded = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            recorded == help,
            "{} differs; UPDATE_HELP=1 writes it anew. The help is now:\n{help}",
            file.display()
        );
    }
}

#[test]
fn every_recorded_help_has_its_command() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help");
    let recorded: BTreeSet<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let commands: BTreeSet<_> = helps().into_iter().map(|(name, _)| name + ".txt").collect();
    assert_eq!(recorded, commands);
}

#[test]
fn the_help_lists_every_exit_code() {
    let (_, help) = helps().remove(0);
    let section = help.split("Exit codes:\n").nth(1).unwrap();
    let listed: Vec<u8> = section
        .lines()
        .map(|line| line.split_whitespace().next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(listed, ExitCode::ALL.map(ExitCode::number));
}
