//! `_redirects` and `_headers` against the code of the platforms whose format they are: Netlify's parsers,
//! and the parsers and the request handler of Cloudflare Pages.
//!
//! Each file is written by hand or made from a seed, read by both sides, and asked the same requests. Where
//! the outcomes are not the same, one of the named entries in `differences` has to say why; and every entry
//! has to be needed. The judges run in Node, from the folder that `./scripts/test packages` makes. Without it
//! the tests fail: an oracle that is skipped proves nothing.

mod cases;
mod differences;
mod judge;
mod ours;

use std::collections::BTreeMap;

use cases::{HEADER_BLOCKS, HEADER_PATHS, REDIRECT_LINES, Seeded, requests_for};
use differences::{Answer, Ledger, Refusal};
use judge::{Judge, Kind, Platform};
use onsave_protocol::rules::HeaderRules;
use ours::Ours;
use serde_json::Value;

/// Lines, blocks and files that are made from a seed, for each judge.
const SEEDED_LINES: usize = 1_500;
const SEEDED_FILES: usize = 300;

fn redirect_lines() -> Vec<String> {
    let mut seeded = Seeded::new(1);
    let made = (0..SEEDED_LINES).map(|_| seeded.redirect_line());
    let written = REDIRECT_LINES.iter().map(|line| (*line).to_owned());
    written.chain(made).collect()
}

/// Returns what both sides answer to each request, when both take the line.
fn answers_to_line(
    judge: &mut Judge,
    platform: Platform,
    line: &str,
    requests: &[String],
) -> Result<Vec<(String, String)>, Refusal> {
    let ours = ours::redirects(line);
    let theirs = judge.ask(platform, Kind::Redirects, line, requests);
    if ours.accepted != 1 || theirs.accepted != 1 {
        return Err(Refusal {
            file: line.to_owned(),
            ours: ours.code,
            theirs: theirs.errors.first().cloned(),
        });
    }
    let answers = requests.iter().zip(&theirs.answers);
    Ok(answers
        .map(|(request, theirs)| (ours.answer(request), text_of(theirs)))
        .collect())
}

/// Compares lines, each by itself, and returns those that both sides take.
fn judge_redirect_lines(platform: Platform, ledger: &mut Ledger) -> Vec<String> {
    let mut judge = Judge::start(&format!("{platform:?}-lines"));
    let mut of_both = Vec::new();
    let mut compared = 0;
    for line in redirect_lines() {
        let requests = requests_for(&line);
        let answers = match answers_to_line(&mut judge, platform, &line, &requests) {
            Ok(answers) => answers,
            Err(refusal) => {
                ledger.refusal(&refusal);
                continue;
            }
        };
        compared += answers.len();
        for (request, (ours, theirs)) in requests.iter().zip(answers) {
            ledger.answer(&Answer {
                file: &line,
                request,
                ours,
                theirs,
            });
        }
        of_both.push(line);
    }
    assert!(compared > 4_000, "only {compared} answers were compared");
    of_both
}

/// Compares which line of several answers, for requests that each line alone answers the same on both
/// sides.
fn judge_redirect_files(platform: Platform, lines: &[String], ledger: &mut Ledger) {
    assert!(lines.len() > 200, "only {} lines are for both", lines.len());
    let mut judge = Judge::start(&format!("{platform:?}-files"));
    let mut seeded = Seeded::new(2);
    let mut contested = 0;
    for _ in 0..SEEDED_FILES {
        let picked: Vec<&str> = (0..2 + seeded.below(5))
            .map(|_| lines[seeded.below(lines.len())].as_str())
            .collect();
        let mut requests: Vec<String> = picked.iter().flat_map(|line| requests_for(line)).collect();
        requests.sort();
        requests.dedup();
        let mut alone = vec![Vec::new(); requests.len()];
        for line in &picked {
            let answers = answers_to_line(&mut judge, platform, line, &requests)
                .unwrap_or_else(|refusal| panic!("both took it before: {refusal:?}"));
            for (all, pair) in alone.iter_mut().zip(answers) {
                all.push(pair);
            }
        }
        let file = picked.join("\n");
        let ours = ours::redirects(&file);
        let theirs = judge.ask(platform, Kind::Redirects, &file, &requests);
        for ((request, alone), theirs) in requests.iter().zip(alone).zip(&theirs.answers) {
            // A rewrite to the path itself hides the rules after it, and looks like no rule.
            let is_hidden = |line: &&str| ours::redirects(line).serves_itself(request);
            if alone.iter().any(|(ours, theirs)| ours != theirs) || picked.iter().any(is_hidden) {
                continue;
            }
            let mut answers = alone.iter().map(|(ours, _)| ours.as_str());
            let first = answers.find(|answer| *answer != "nothing");
            assert_eq!(
                ours.answer(request),
                first.unwrap_or("nothing"),
                "{file} on {request}"
            );
            contested += usize::from(answers.any(|answer| answer != "nothing"));
            ledger.answer(&Answer {
                file: &file,
                request,
                ours: ours.answer(request),
                theirs: text_of(theirs),
            });
        }
    }
    assert!(
        contested > 100,
        "only {contested} requests had two lines that match"
    );
}

fn text_of(value: &Value) -> String {
    value.as_str().expect("it is a text").to_owned()
}

#[test]
fn redirects_are_netlifys() {
    let mut ledger = Ledger::new(differences::NETLIFY_REDIRECTS);
    let lines = judge_redirect_lines(Platform::Netlify, &mut ledger);
    judge_redirect_files(Platform::Netlify, &lines, &mut ledger);
    ledger.finish();
}

#[test]
fn redirects_are_cloudflares() {
    let mut ledger = Ledger::new(differences::CLOUDFLARE_REDIRECTS);
    let lines = judge_redirect_lines(Platform::Cloudflare, &mut ledger);
    judge_redirect_files(Platform::Cloudflare, &lines, &mut ledger);
    ledger.finish();
}

fn header_paths() -> Vec<String> {
    HEADER_PATHS.iter().map(|path| (*path).to_owned()).collect()
}

fn header_blocks() -> Vec<String> {
    let mut seeded = Seeded::new(3);
    let made = (0..SEEDED_FILES).map(|_| seeded.header_block());
    let written = HEADER_BLOCKS.iter().map(|block| (*block).to_owned());
    written.chain(made).collect()
}

/// Returns a judge's `[[name, value], …]` or `{name: value, …}` as a map with names in lower case.
fn headers_of(value: &Value) -> BTreeMap<String, String> {
    let pair = |name: &str, value: &Value| {
        let value = value.as_str().expect("it is a text").to_owned();
        (name.to_ascii_lowercase(), value)
    };
    match value {
        Value::Object(map) => map.iter().map(|(name, value)| pair(name, value)).collect(),
        _ => value
            .as_array()
            .expect("it is a list")
            .iter()
            .map(|entry| pair(entry[0].as_str().expect("it is a text"), &entry[1]))
            .collect(),
    }
}

fn shown(headers: &BTreeMap<String, String>) -> String {
    let lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    lines.join("\n")
}

/// Returns what both sides make of the headers of each path, when both take the block.
fn answers_to_block(
    judge: &mut Judge,
    platform: Platform,
    block: &str,
) -> Result<Vec<(String, String)>, Refusal> {
    let ours = ours::headers(block);
    let theirs = judge.ask(platform, Kind::Headers, block, &header_paths());
    if ours.code.is_some() || theirs.accepted != 1 || !theirs.errors.is_empty() {
        let is_refused = theirs.accepted != 1 || !theirs.errors.is_empty();
        let first = theirs.errors.into_iter().next();
        return Err(Refusal {
            file: block.to_owned(),
            ours: ours.code,
            theirs: is_refused.then(|| first.unwrap_or_else(|| "no rule".into())),
        });
    }
    Ok(answers_for_paths(platform, &ours, &theirs.answers))
}

fn answers_for_paths(
    platform: Platform,
    ours: &Ours<HeaderRules>,
    theirs: &[Value],
) -> Vec<(String, String)> {
    let answer = |(path, theirs): (&&str, &Value)| {
        // Cloudflare's handler has headers of its own, which the rules change.
        let (bare, ruled) = match platform {
            Platform::Netlify => (BTreeMap::new(), headers_of(theirs)),
            Platform::Cloudflare => (headers_of(&theirs["bare"]), headers_of(&theirs["ruled"])),
        };
        (shown(&ours.applied(path, bare)), shown(&ruled))
    };
    HEADER_PATHS.iter().zip(theirs).map(answer).collect()
}

/// Compares blocks, each by itself, and returns those that both sides take.
fn judge_header_blocks(judge: &mut Judge, platform: Platform, ledger: &mut Ledger) -> Vec<String> {
    let mut of_both = Vec::new();
    for block in header_blocks() {
        match answers_to_block(judge, platform, &block) {
            Ok(answers) => {
                note_headers(ledger, &block, answers);
                of_both.push(block);
            }
            Err(refusal) => ledger.refusal(&refusal),
        }
    }
    assert!(
        of_both.len() > 200,
        "only {} blocks are for both",
        of_both.len()
    );
    of_both
}

fn note_headers(ledger: &mut Ledger, file: &str, answers: Vec<(String, String)>) {
    for (path, (ours, theirs)) in HEADER_PATHS.iter().zip(answers) {
        ledger.answer(&Answer {
            file,
            request: path,
            ours,
            theirs,
        });
    }
}

#[test]
fn header_blocks_are_netlifys() {
    let mut ledger = Ledger::new(differences::NETLIFY_HEADERS);
    let mut judge = Judge::start("netlify-headers");
    judge_header_blocks(&mut judge, Platform::Netlify, &mut ledger);
    ledger.finish();
}

#[test]
fn headers_are_cloudflares() {
    let platform = Platform::Cloudflare;
    let mut ledger = Ledger::new(differences::CLOUDFLARE_HEADERS);
    let mut judge = Judge::start("cloudflare-headers");
    let blocks = judge_header_blocks(&mut judge, platform, &mut ledger);
    let mut seeded = Seeded::new(4);
    for _ in 0..SEEDED_FILES {
        let picked: Vec<&str> = (0..2 + seeded.below(4))
            .map(|_| blocks[seeded.below(blocks.len())].as_str())
            .collect();
        let file = picked.join("\n");
        let ours = ours::headers(&file);
        let theirs = judge.ask(platform, Kind::Headers, &file, &header_paths());
        let mut answers = answers_for_paths(platform, &ours, &theirs.answers);
        // Where a block alone differs, several can only differ for the same reason.
        for block in picked {
            let alone = answers_to_block(&mut judge, platform, block)
                .unwrap_or_else(|refusal| panic!("both took it before: {refusal:?}"));
            for (answer, (ours, theirs)) in answers.iter_mut().zip(alone) {
                if ours != theirs {
                    *answer = (String::new(), String::new());
                }
            }
        }
        note_headers(&mut ledger, &file, answers);
    }
    ledger.finish();
}
