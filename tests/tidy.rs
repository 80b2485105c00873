//! Rules of this repository that no compiler checks: each reads the source as text.
//!
//! A rule that is only written down is soon broken. What fails here names the file and says what
//! to do; there are no exceptions but those written below, with their reasons.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// Folders with Rust source, from the repository's root.
const SOURCE_FOLDERS: [&str; 8] = [
    "src",
    "tests",
    "benches",
    "protocol/src",
    "protocol/tests",
    "server/src",
    "server/tests",
    "server/benches",
];

/// One file of Rust source.
struct Source {
    /// From the repository's root.
    path: PathBuf,
    text: String,
}

impl Source {
    /// Returns the lines that are no comments, with their numbers from 1.
    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// Returns how many lines come before the file's own tests.
    fn lines_before_tests(&self) -> usize {
        self.text
            .lines()
            .take_while(|line| *line != "#[cfg(test)]")
            .count()
    }

    /// Returns whether the file holds tests alone.
    fn is_test(&self) -> bool {
        let path = self.path.with_extension("");
        path.components().any(|part| part.as_os_str() == "tests")
    }

    fn is_crate_root(&self) -> bool {
        let in_folder_of_roots = self
            .path
            .parent()
            .is_some_and(|folder| folder.ends_with("tests") || folder.ends_with("benches"));
        let is_named_root = ["main.rs", "lib.rs"]
            .iter()
            .any(|name| self.path.ends_with(name));
        in_folder_of_roots || is_named_root
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = SOURCE_FOLDERS.map(|folder| root().join(folder)).into();
    while let Some(folder) = folders.pop() {
        // Not every crate has tests or benches of its own.
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("the folder can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(Source {
                    text: fs::read_to_string(&path).expect("source is UTF-8"),
                    path: path.strip_prefix(root()).expect("it is below").to_owned(),
                });
            }
        }
    }
    assert!(
        found.len() > 10,
        "the source was not found: {}",
        found.len()
    );
    found
}

/// Fails with all faults at once.
fn assert_none(rule: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{rule}:\n  {}", faults.join("\n  "));
}

/// Returns every line of code that holds one of `words`, as `file:line: text`.
fn lines_with(source: &Source, words: &[&str]) -> Vec<String> {
    source
        .code_lines()
        .filter(|(_, line)| words.iter().any(|word| line.contains(word)))
        .map(|(number, line)| format!("{}:{number}: {}", source.path.display(), line.trim()))
        .collect()
}

#[test]
fn every_module_says_what_it_is_for() {
    let faults: Vec<String> = sources()
        .iter()
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| source.path.display().to_string())
        .collect();
    assert_none("files have to open with //!", &faults);
}

#[test]
fn no_file_is_a_drawer() {
    let banned = [
        "utils", "util", "helpers", "helper", "common", "misc", "types",
    ];
    let faults: Vec<String> = sources()
        .iter()
        .filter(|source| {
            source
                .path
                .with_extension("")
                .components()
                .any(|part| banned.iter().any(|name| part.as_os_str() == *name))
        })
        .map(|source| source.path.display().to_string())
        .collect();
    assert_none("name files for what they hold", &faults);
}

#[test]
fn no_file_is_a_giant() {
    let mut faults = Vec::new();
    for source in sources() {
        // Tables of cases are long, and read one case at a time.
        let most = if source.is_test() { 1_000 } else { 500 };
        let lines = source.lines_before_tests();
        if lines > most {
            let path = source.path.display();
            faults.push(format!(
                "{path}: {lines} lines, tests aside; at most {most}"
            ));
        }
    }
    assert_none("split these files", &faults);
}

#[test]
fn every_file_belongs_to_a_crate() {
    let sources = sources();
    let text_of: BTreeMap<&Path, &str> = sources
        .iter()
        .map(|source| (source.path.as_path(), source.text.as_str()))
        .collect();
    let faults: Vec<String> = sources
        .iter()
        .filter(|source| !source.is_crate_root())
        .filter(|source| {
            let folder = source.path.parent().expect("a file is in a folder");
            let name = source.path.file_stem().expect("it ends in .rs");
            let declaration = format!("mod {};", name.display());
            let parents = [
                folder.with_extension("rs"),
                folder.join("main.rs"),
                folder.join("lib.rs"),
            ];
            !parents
                .iter()
                .filter_map(|parent| text_of.get(parent.as_path()))
                .any(|text| text.contains(&declaration))
        })
        .map(|source| source.path.display().to_string())
        .collect();
    assert_none("files that no module declares are never compiled", &faults);
}

#[test]
fn no_test_is_switched_off_and_no_lint_without_a_reason() {
    // Written in pieces, so that this file keeps its own rule.
    let words = [
        concat!("#[", "ignore"),
        concat!("#[", "allow("),
        concat!("#![", "allow("),
    ];
    let faults: Vec<String> = sources()
        .iter()
        .flat_map(|source| lines_with(source, &words))
        .collect();
    assert_none("mend it, or #[expect(lint, reason = …)]", &faults);
}

#[test]
fn no_test_sleeps() {
    // These pause between two looks at what is waited for, and every wait has a deadline there.
    let pauses = [
        "tests/e2e/harness/deadline.rs",
        "server/tests/http/connections.rs",
    ];
    let mut faults = Vec::new();
    for source in sources() {
        if pauses.iter().any(|path| source.path == Path::new(path)) {
            continue;
        }
        faults.extend(lines_with(&source, &[concat!("thread::", "sleep(")]));
        // In virtual time a sleep takes no time and is exact.
        if source.is_test() && !source.text.contains("start_paused = true") {
            faults.extend(lines_with(&source, &[concat!("time::", "sleep(")]));
        }
    }
    assert_none("wait for the thing itself, with a deadline", &faults);
}

#[test]
fn foreign_crates_have_one_owner() {
    let owners: [(&str, &str); 3] = [
        ("notify", "src/watch"),
        ("ignore", "src/ignore_rules"),
        ("reqwest", "src/http"),
    ];
    let mut faults = Vec::new();
    for source in sources() {
        let owner_name = source.path.with_extension("");
        for (name, owner) in owners {
            if owner_name.starts_with(owner) {
                continue;
            }
            let uses = source
                .code_lines()
                .filter(|(_, line)| names_crate(line, name));
            faults.extend(uses.map(|(number, _)| {
                format!(
                    "{}:{number}: {name} belongs to {owner}",
                    source.path.display()
                )
            }));
        }
    }
    assert_none("a foreign crate appears in one module", &faults);
}

/// Returns whether a line of code has `name::` as the start of a path.
fn names_crate(line: &str, name: &str) -> bool {
    let path = format!("{name}::");
    line.match_indices(&path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

#[test]
fn a_crate_is_found_by_its_path_only() {
    assert!(names_crate("use walker::Event;", "walker"));
    assert!(names_crate("let x: Vec<walker::Event> = f();", "walker"));
    assert!(!names_crate("use crate::walker::Event;", "walker"));
    assert!(!names_crate("tokio::sync::Walker::new()", "walker"));
    assert!(!names_crate("let x = pre_walker::f();", "walker"));
}

/// Returns each package of `Cargo.lock` with the names of those it needs.
fn locked_packages() -> BTreeMap<String, BTreeSet<String>> {
    let mut packages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for block in read("Cargo.lock").split("[[package]]").skip(1) {
        let mut name = None;
        let mut needs = BTreeSet::new();
        for line in block.lines() {
            if let Some(value) = line.strip_prefix("name = ") {
                name = Some(value.trim_matches('"').to_owned());
            } else if let Some(value) = line.strip_prefix(" \"") {
                // `"name",`, or `"name version",` where two versions are locked.
                let value = value.trim_end_matches("\",");
                needs.extend(value.split(' ').next().map(str::to_owned));
            }
        }
        let name = name.expect("every package has a name");
        packages.entry(name).or_default().extend(needs);
    }
    packages
}

#[test]
fn the_protocol_is_pure() {
    let packages = locked_packages();
    let mut seen = BTreeSet::new();
    let mut ahead = vec!["onsave-protocol"];
    while let Some(name) = ahead.pop() {
        if seen.insert(name) {
            ahead.extend(packages[name].iter().map(String::as_str));
        }
    }
    assert!(seen.contains("hmac"), "the lock file was not understood");
    let banned = [
        "tokio",
        "mio",
        "hyper",
        "reqwest",
        "notify",
        "onsave-server",
    ];
    let faults: Vec<String> = banned
        .iter()
        .filter(|name| seen.contains(*name))
        .map(|name| format!("onsave-protocol needs {name}"))
        .collect();
    assert_none("the protocol does no I/O", &faults);
}

#[test]
fn the_lock_file_names_the_public_registry_alone() {
    let expected = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    let lock = read("Cargo.lock");
    let sources: Vec<&str> = lock
        .lines()
        .filter(|line| line.starts_with("source = "))
        .collect();
    assert!(sources.len() > 50, "the lock file was not understood");
    let faults: Vec<String> = sources
        .into_iter()
        .filter(|line| *line != expected)
        .map(str::to_owned)
        .collect();
    assert_none("only crates.io is a source", &faults);
}

#[test]
fn no_merge_was_left_half_done() {
    let mut faults = Vec::new();
    let mut paths: Vec<PathBuf> = [
        "Cargo.toml",
        "README.md",
        "docs",
        "src",
        "tests",
        "server",
        "protocol",
    ]
    .map(|path| root().join(path))
    .into();
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("the folder can be listed");
            paths.extend(entries.map(|entry| entry.expect("it can be listed").path()));
            continue;
        }
        // Written in pieces, so that this file keeps its own rule.
        let markers = [concat!("<<<<", "<<< "), concat!(">>>>", ">>> ")];
        let text = String::from_utf8_lossy(&fs::read(&path).expect("it can be read")).into_owned();
        if text
            .lines()
            .any(|line| markers.iter().any(|marker| line.starts_with(marker)))
        {
            faults.push(path.display().to_string());
        }
    }
    assert_none("files with the markers of a merge", &faults);
}

#[test]
fn what_is_shipped_is_there() {
    for path in [
        "config.example.toml",
        "README.md",
        "docs/ARCHITECTURE.md",
        "Dockerfile",
        "systemd/onsave.service",
        "systemd/onsave@.service",
        "systemd/onsave-server.service",
        ".dockerignore",
    ] {
        assert!(root().join(path).is_file(), "{path} is missing");
    }
    for path in ["scripts/test", "scripts/bench", ".ci/run"] {
        let mode = fs::metadata(root().join(path))
            .unwrap_or_else(|error| panic!("{path}: {error}"))
            .permissions()
            .mode();
        assert_eq!(mode & 0o111, 0o111, "{path} is not executable");
    }
}

#[test]
fn the_example_site_has_no_broken_link() {
    let site = root().join("examples/site");
    let mut pages = Vec::new();
    let mut folders = vec![site.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "html")
            {
                pages.push(path);
            }
        }
    }
    assert!(pages.len() >= 7, "the example site was not found");
    let mut faults = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        let links = ["href=\"/", "src=\"/"].map(|start| text.split(start).skip(1));
        for link in links.into_iter().flatten() {
            let target = link.split('"').next().unwrap();
            // The page about addresses links to the 404 page on purpose.
            let found = target == "no-such-page"
                || [
                    target.to_owned(),
                    format!("{target}.html"),
                    format!("{target}index.html"),
                ]
                .iter()
                .any(|name| site.join(name).is_file());
            if !found {
                faults.push(format!("{}: /{target}", page.display()));
            }
        }
    }
    assert_none("links of the example site", &faults);
}
