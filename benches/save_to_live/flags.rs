//! The benchmark's flags.

/// What to measure.
#[derive(Debug)]
pub(crate) struct Flags {
    /// Files per site, one measurement each.
    pub(crate) sizes: Vec<u32>,
    /// Edits per size.
    pub(crate) edits: u32,
    /// Pages of the first publish; 0 leaves it out.
    pub(crate) first_publish: u32,
    /// Rounds of the first publish.
    pub(crate) rounds: u32,
}

impl Flags {
    /// Reads the flags.
    ///
    /// # Errors
    ///
    /// A text that names what is wrong.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut flags = Self {
            sizes: vec![100, 1_000, 10_000, 50_000],
            edits: 60,
            first_publish: 10_000,
            rounds: 3,
        };
        // Cargo adds `--bench` to what it runs.
        let mut arguments = arguments.filter(|argument| argument != "--bench");
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or(format!("{name} needs a value"))?;
            let number = |text: &str| {
                text.parse::<u32>()
                    .map_err(|_| format!("{name} needs a number, not {text:?}"))
            };
            match name.as_str() {
                "--sizes" => {
                    let listed = value.split(',').filter(|text| !text.is_empty());
                    flags.sizes = listed.map(number).collect::<Result<_, _>>()?;
                }
                "--edits" => flags.edits = number(&value)?.max(1),
                "--first-publish" => flags.first_publish = number(&value)?,
                "--rounds" => flags.rounds = number(&value)?.max(1),
                _ => return Err(format!("there is no flag {name}")),
            }
        }
        Ok(flags)
    }
}
