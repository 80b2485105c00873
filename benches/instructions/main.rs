//! How many instructions the hot paths take, counted by callgrind, against budgets.
//!
//! Counts and not seconds: they are the same on a busy machine. Each path runs a few times in one
//! process and more often in another; the difference, divided, is what one time costs, without the start
//! and the set-up of either. Exits with 1 where a path takes more than its budget allows.
//!
//! Flags: `--only NAME` for one path; `--list` for all. The rest is how the processes under valgrind are
//! told what to do.

mod budgets;
mod paths;

use std::{
    io::{self, Write as _},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, bail};

use self::{budgets::BUDGETS, paths::Path};

/// What a count may exceed its budget by, in percent: what other processors and other versions of the
/// system's libraries make of the same code.
const SLACK_PERCENT: u64 = 10;

/// A count this far below its budget, in percent, asks for a lower budget.
const LOW_PERCENT: u64 = 25;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Cargo adds its own.
    let arguments: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|argument| *argument != "--bench")
        .collect();
    let mut out = io::stdout().lock();
    let all_keep = match arguments[..] {
        ["--run", name, times] => run_path(name, times).map(|()| true),
        ["--list"] => {
            for path in Path::ALL {
                writeln!(out, "{}", path.name())?;
            }
            Ok(true)
        }
        ["--only", name] => {
            let path = Path::named(name).context("--list tells the paths")?;
            compare(&[path], &mut out)
        }
        [] => compare(&Path::ALL, &mut out),
        _ => bail!("takes --only NAME or --list"),
    }?;
    Ok(if all_keep {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn run_path(name: &str, times: &str) -> Result<()> {
    let path = Path::named(name).context("no such path")?;
    path.run(times.parse()?)
}

/// Prints a table, and returns whether every path keeps its budget.
fn compare(paths: &[Path], out: &mut impl io::Write) -> Result<bool> {
    writeln!(
        out,
        "| path | instructions | budget | |\n|---|---:|---:|---|"
    )?;
    let mut all_keep = true;
    for path in paths {
        let budget = BUDGETS
            .iter()
            .find_map(|(name, budget)| (*name == path.name()).then_some(*budget))
            .with_context(|| format!("{} has no budget", path.name()))?;
        let (few, many) = path.times();
        let one = (count(*path, many)? - count(*path, few)?) / u64::from(many - few);
        let verdict = if one > budget * (100 + SLACK_PERCENT) / 100 {
            all_keep = false;
            "**over**: make it faster, or give a reason in the commit that raises the budget"
        } else if one < budget * (100 - LOW_PERCENT) / 100 {
            "far below: lower the budget, so that it is kept"
        } else {
            ""
        };
        writeln!(out, "| {} | {one} | {budget} | {verdict} |", path.about())?;
    }
    Ok(all_keep)
}

/// Returns how many instructions a process takes that does `path` so often.
fn count(path: Path, times: u32) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["--run", path.name(), &times.to_string()])
        .stdin(Stdio::null())
        .output()
        .context("install it: apt-get install valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{} failed under valgrind: {said}", path.name());
    }
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .with_context(|| format!("callgrind tells no count: {said}"))?;
    Ok(collected.1.trim().parse()?)
}
