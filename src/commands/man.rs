//! `onsave man`: manual pages, from the command line's own definition.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::CommandFactory as _;
use clap_mangen::Man;

use super::{CommandError, man_page};
use crate::cli::{Cli, ManArgs};

/// The pages could not be written.
#[derive(Debug, thiserror::Error)]
#[error("failed to write the manual pages to {}", folder.display())]
pub struct ManError {
    folder: PathBuf,
    #[source]
    source: io::Error,
}

/// Prints the page of `onsave`, or writes those of every command into the folder of `--out`.
///
/// # Errors
///
/// [`CommandError::Output`] or [`CommandError::Man`].
pub(super) fn run(
    args: &ManArgs,
    working_folder: &Path,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    match &args.out {
        None => {
            let mut command = Cli::command();
            command.build();
            man_page::render(&command, out)?;
            out.flush()?;
        }
        Some(folder) => {
            let folder = working_folder.join(folder);
            fs::create_dir_all(&folder)
                .and_then(|()| write_pages(&folder))
                .map_err(|source| ManError { folder, source })?;
        }
    }
    Ok(())
}

/// Writes the page of every command; one that is there is replaced.
fn write_pages(folder: &Path) -> io::Result<()> {
    // A page about the help of the help helps nobody.
    let mut main = Cli::command().disable_help_subcommand(true);
    main.build();
    for command in std::iter::once(&main).chain(main.get_subcommands()) {
        let mut page = Vec::new();
        man_page::render(command, &mut page)?;
        let name = Man::new(command.clone()).get_filename();
        fs::write(folder.join(name), page)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_main_page_names_commands_and_exit_codes() {
        let mut out = Vec::new();
        run(&ManArgs::default(), Path::new("/"), &mut out).unwrap();
        let page = String::from_utf8(out).unwrap();
        assert!(page.starts_with(".ie"), "a page is roff: {page:.40}");
        for part in [
            "onsave\\-watch",
            "onsave\\-rollback",
            ".SH \"EXAMPLES\"\n.nf\n",
            ".SH \"ENVIRONMENT\"\n.nf\n",
            ".SH \"EXIT STATUS\"\n.nf\n",
            "ONSAVE_SYNC_SECRET",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains("EXTRA"), "{page}");
    }

    #[test]
    fn every_command_gets_a_page() {
        let folder = TempDir::new().unwrap();
        let out = Some("pages/man1".into());
        run(&ManArgs { out }, folder.path(), &mut Vec::new()).unwrap();
        let mut pages: Vec<_> = fs::read_dir(folder.path().join("pages/man1"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        pages.sort();
        let mut expected: Vec<_> = Cli::command()
            .get_subcommands()
            .map(|command| format!("onsave-{}.1", command.get_name()))
            .chain(["onsave.1".to_owned()])
            .collect();
        expected.sort();
        assert_eq!(pages, expected);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let out = Some("file/man1".into());
        let error = run(&ManArgs { out }, folder.path(), &mut Vec::new()).unwrap_err();
        assert!(error.to_string().ends_with("file/man1"), "{error}");
    }
}
