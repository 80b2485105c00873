//! The benchmark's flags.

use crate::{servers::Kind, workload::Workload};

/// Longest run: what is waited for has to end within the harness's own limit.
const MOST_SECONDS: u32 = 20;

/// One part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Every server against one workload.
    Side(Workload),
    /// Serving while publishes land.
    Publishing,
    /// Memory with a large site.
    Memory,
}

impl Part {
    /// Every part, in the order in which they run.
    pub(crate) const ALL: [Self; 7] = [
        Self::Side(Workload::Page),
        Self::Side(Workload::Brotli),
        Self::Side(Workload::Asset),
        Self::Side(Workload::NotModified),
        Self::Side(Workload::Mixed),
        Self::Publishing,
        Self::Memory,
    ];

    /// Returns the name that the flag `--workload` knows it by.
    const fn name(self) -> &'static str {
        match self {
            Self::Side(Workload::Page) => "page",
            Self::Side(Workload::Brotli) => "br",
            Self::Side(Workload::Asset) => "asset",
            Self::Side(Workload::NotModified) => "304",
            Self::Side(Workload::Mixed) => "mixed",
            Self::Publishing => "publishing",
            Self::Memory => "memory",
        }
    }
}

/// What to measure.
#[derive(Debug)]
pub(crate) struct Flags {
    /// The servers that are compared.
    pub(crate) servers: Vec<Kind>,
    /// The parts that run.
    pub(crate) parts: Vec<Part>,
    /// Open connections, one measurement each.
    pub(crate) connections: Vec<u32>,
    /// Rounds; the median of them counts.
    pub(crate) rounds: u32,
    /// Seconds of one run.
    pub(crate) seconds: u32,
    /// Files of the site that memory is measured with.
    pub(crate) files: u32,
}

impl Flags {
    /// Reads the flags.
    ///
    /// # Errors
    ///
    /// A text that names what is wrong.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut flags = Self {
            servers: Kind::ALL.to_vec(),
            parts: Part::ALL.to_vec(),
            connections: vec![1, 64],
            rounds: 3,
            seconds: 5,
            files: 50_000,
        };
        // Cargo adds `--bench` to what it runs.
        let mut arguments = arguments.filter(|argument| argument != "--bench");
        while let Some(name) = arguments.next() {
            if name == "--quick" {
                (flags.rounds, flags.seconds, flags.files) = (1, 1, 2_000);
                continue;
            }
            let value = arguments.next().ok_or(format!("{name} needs a value"))?;
            flags.set(&name, &value)?;
        }
        Ok(flags)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number = |text: &str| match text.parse::<u32>() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(format!("{name} needs a number above 0, not {text:?}")),
        };
        match name {
            "--only" => self.servers = chosen(name, value, &Kind::ALL, Kind::name)?,
            "--workload" => self.parts = chosen(name, value, &Part::ALL, Part::name)?,
            "--connections" => {
                self.connections = value.split(',').map(number).collect::<Result<_, _>>()?;
            }
            "--rounds" => self.rounds = number(value)?,
            "--seconds" => self.seconds = number(value)?.min(MOST_SECONDS),
            "--files" => self.files = number(value)?,
            _ => return Err(format!("there is no flag {name}")),
        }
        Ok(())
    }

    /// Returns the workloads that every server is measured with.
    pub(crate) fn workloads(&self) -> Vec<Workload> {
        let parts = self.parts.iter();
        parts
            .filter_map(|part| match part {
                Part::Side(workload) => Some(*workload),
                Part::Publishing | Part::Memory => None,
            })
            .collect()
    }
}

/// Returns those of `all` that a list of names names, in the order of `all`.
fn chosen<T: Copy>(
    flag: &str,
    list: &str,
    all: &[T],
    name_of: impl Fn(T) -> &'static str,
) -> Result<Vec<T>, String> {
    let names: Vec<&str> = all.iter().map(|one| name_of(*one)).collect();
    let wanted: Vec<&str> = list.split(',').collect();
    if let Some(unknown) = wanted.iter().find(|name| !names.contains(name)) {
        return Err(format!(
            "{flag} does not know {unknown:?}; it knows {}",
            names.join(", ")
        ));
    }
    let picked = all.iter().filter(|one| wanted.contains(&name_of(**one)));
    Ok(picked.copied().collect())
}
