//! Records the traces of `tests/traces`: runs each program in a folder of its own, and writes down what the
//! real watcher tells of it.
//!
//! ```text
//! cargo test --test record_traces
//! ```
//!
//! Needs the programs (vim, sed, rsync and hugo of Debian; `./scripts/test packages` installs Eleventy
//! and Vite) and two minutes, and replaces what is recorded, so that it is no part of an ordinary run.
//! Traces that it does not name were kept from earlier recordings.

#![expect(
    clippy::unwrap_used,
    reason = "a recording ends where what it needs is missing"
)]

#[path = "../traces/notation.rs"]
mod notation;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use onsave::{
    config::{PollMode, Quiet, WatchConfig},
    dirty::{Change, News, Notice, Trace},
    ignore_rules::SharedRules,
    site_folder::SiteFolder,
    watch::Watcher,
};
use tokio::time::{Instant, timeout};

use self::notation::{CHANGES, folder};

/// A run is over when the program ended and nothing came for so long.
const SILENCE: Duration = Duration::from_millis(700);

/// Watching has begun by then, or never does.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is recorded: a program, and what it does in each of its runs.
struct Scenario {
    name: &'static str,
    /// What the first line of the trace says.
    what: &'static str,
    /// Makes the sources, below the folder that the site folder `out` is in too.
    prepare: fn(&Path),
    /// A shell's line for each run, in that folder.
    runs: Vec<String>,
}

fn same(line: &str, times: usize) -> Vec<String> {
    vec![line.to_owned(); times]
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for scenario in scenarios() {
        let text = record_one(&scenario).await;
        fs::write(folder().join(scenario.name).with_extension("txt"), text).unwrap();
    }
}

async fn record_one(scenario: &Scenario) -> String {
    let home = tempfile::tempdir().unwrap();
    let home = home.path().canonicalize().unwrap();
    let site = home.join("out");
    fs::create_dir(&site).unwrap();
    (scenario.prepare)(&home);
    let config = WatchConfig {
        quiet: Quiet::Learned,
        max_wait: Duration::from_secs(5),
        poll: PollMode::Never,
        poll_interval: Duration::from_secs(1),
        reconcile_interval: Duration::from_hours(1),
    };
    let rules = Arc::<SharedRules>::default();
    let mut watcher = Watcher::start(SiteFolder::new(site), &config, rules);
    let started = timeout(PATIENCE, watcher.next()).await.expect("it watches");
    assert!(matches!(started.news, News::Whole(_)));
    let mut text = format!("# {}\n", scenario.what);
    for line in &scenario.runs {
        text.push_str("run\n");
        run(&mut watcher, (line, &home), &mut text).await;
    }
    text
}

/// Runs a line and adds what the watcher tells meanwhile, and until nothing comes any more.
async fn run(watcher: &mut Watcher, (line, home): (&str, &Path), text: &mut String) {
    let mut child = Command::new("sh")
        .args(["-c", line])
        .current_dir(home)
        .env("HOME", home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut first = None;
    loop {
        let Ok(notice) = timeout(SILENCE, watcher.next()).await else {
            match child.try_wait().unwrap() {
                Some(status) => {
                    assert!(status.success(), "{line}: {status}");
                    assert!(first.is_some(), "{line}: nothing was seen");
                    return;
                }
                None => continue,
            }
        };
        let first = *first.get_or_insert(notice.at);
        write_down(&notice, first, text);
    }
}

fn write_down(notice: &Notice, first: Instant, text: &mut String) {
    let News::Changes(changes) = &notice.news else {
        panic!("only changes can be recorded: {notice:?}");
    };
    let at = notice.at.saturating_duration_since(first).as_secs_f64() * 1e3;
    for (path, trace) in changes {
        let name = |change: Change| {
            let known = CHANGES.iter().find(|(_, known)| *known == change);
            known.expect("every change has a name").0
        };
        let Trace { first, last } = *trace;
        let change = if first == last {
            name(first).to_owned()
        } else {
            format!("{}>{}", name(first), name(last))
        };
        writeln!(text, "{at:.3} {change} {}", path.display()).unwrap();
    }
}

/// Returns the script of an npm package.
fn script(path: &str) -> String {
    let tests = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let target = tests.parent().expect("it is below the target folder");
    let script = target.join("node-generators/node_modules").join(path);
    let install = "install it with: ./scripts/test packages";
    assert!(script.is_file(), "{}: {install}", script.display());
    script.display().to_string()
}

fn write(home: &Path, path: &str, text: &str) {
    let path: PathBuf = home.join(path);
    fs::create_dir_all(path.parent().expect("it has a folder")).unwrap();
    fs::write(path, text).unwrap();
}

fn page(home: &Path) {
    write(home, "out/index.html", &"<p>a paragraph</p>\n".repeat(500));
}

/// A site of pages with assets, as a generator left it.
fn built(home: &Path) {
    for number in 0..40 {
        let text = format!("<p>post {number}</p>\n").repeat(200);
        write(home, &format!("built/posts/{number}/index.html"), &text);
    }
    write(home, "built/index.html", "<p>home</p>\n");
    write(home, "built/css/style.css", "p { color: teal }\n");
}

fn scenarios() -> Vec<Scenario> {
    [editors(), tools(), generators()]
        .into_iter()
        .flatten()
        .collect()
}

fn editors() -> Vec<Scenario> {
    // An editor that overwrites in place opens, truncates, writes and closes.
    let in_place = "node -e 'const fs = require(\"fs\"), p = \"out/index.html\"; \
         const text = fs.readFileSync(p) + \"x\"; fs.writeFileSync(p, text, { flag: \"w\" });'";
    let through_handle = "node -e 'const fs = require(\"fs\"), p = \"out/index.html\"; \
         const text = fs.readFileSync(p) + \"x\"; const f = fs.openSync(p, \"r+\"); \
         fs.ftruncateSync(f, 0); fs.writeSync(f, text); fs.fdatasyncSync(f); fs.closeSync(f);'";
    let jetbrains = "cp out/index.html out/index.html___jb_tmp___ && \
         mv out/index.html out/index.html___jb_old___ && \
         mv out/index.html___jb_tmp___ out/index.html && rm out/index.html___jb_old___";
    let rename = "cp out/index.html out/.index.html.tmp && echo x >> out/.index.html.tmp && \
         mv out/.index.html.tmp out/index.html";
    let vim = |set: &str| {
        format!("vim -N -u NONE -es -c 'set {set}' -c 'normal ox' -c 'wq' out/index.html")
    };
    [
        (
            "vim",
            "vim, its defaults",
            vim("nobackup writebackup swapfile"),
        ),
        (
            "vim-backup-by-rename",
            "vim, backupcopy=no: the old file becomes the backup",
            vim("writebackup backupcopy=no swapfile"),
        ),
        (
            "vim-kept-backup",
            "vim, which keeps its backup beside the file",
            vim("backup backupcopy=no swapfile"),
        ),
        (
            "in-place",
            "an editor that truncates, writes and closes",
            in_place.to_owned(),
        ),
        (
            "in-place-flushed",
            "an editor that truncates an open file, as VS Code does, writes, flushes and closes",
            through_handle.to_owned(),
        ),
        (
            "safe-write",
            "JetBrains' safe write: two renames and a removal",
            jetbrains.to_owned(),
        ),
        (
            "rename-over",
            "a temporary file renamed over the page",
            rename.to_owned(),
        ),
    ]
    .into_iter()
    .map(|(name, what, line)| Scenario {
        name,
        what,
        prepare: page,
        runs: same(&line, 6),
    })
    .collect()
}

fn tools() -> Vec<Scenario> {
    let save_all = "node -e 'const fs = require(\"fs\"); \
         for (const page of [\"index\", \"about\", \"contact\"]) \
         fs.writeFileSync(`out/${page}.html`, \"x\".repeat(9000));'";
    let all_by_rename = "for page in index about contact; do echo x >> out/.$page.tmp && \
         mv out/.$page.tmp out/$page.html; done";
    let scenario = |name, what, prepare, runs| Scenario {
        name,
        what,
        prepare,
        runs,
    };
    vec![
        scenario("save-all", "an editor that saves three open files in place", page, same(save_all, 4)),
        scenario("save-all-by-rename", "three files, each renamed into place", page, same(all_by_rename, 4)),
        scenario("sed", "sed -i", page, same("sed -i 's/$/ /' out/index.html", 6)),
        scenario(
            "cp",
            "cp over the page",
            page,
            same("cp out/index.html page && echo x >> page && cp page out/index.html", 6),
        ),
        scenario(
            "rsync",
            "rsync of a built site: the first time, with every page changed, and with one changed",
            built,
            vec![
                "rsync -a built/ out/".to_owned(),
                "find built -name '*.html' -exec sed -i 's/$/ more/' {} + && rsync -a built/ out/".to_owned(),
                "echo x >> built/posts/7/index.html && rsync -a built/ out/".to_owned(),
                "rm -r built/posts/1* && echo x >> built/index.html && rsync -a --delete built/ out/".to_owned(),
            ],
        ),
        scenario(
            "rsync-in-place",
            "rsync --inplace of a built site, with every page changed each time",
            built,
            same("find built -name '*.html' -exec sed -i 's/$/ more/' {} + && rsync -a --inplace built/ out/", 4),
        ),
    ]
}

fn generators() -> Vec<Scenario> {
    let eleventy = script("@11ty/eleventy/cmd.cjs");
    let vite = script("vite/bin/vite.js");
    let edit = |file: &str, build: &str| format!("echo 'more' >> {file} && {build}");
    let runs = |first: &str, edited: String| {
        let mut runs = vec![first.to_owned()];
        runs.extend(same(&edited, 4));
        runs
    };
    let hugo = "hugo --quiet --cacheDir \"$PWD/cache\" -d out";
    let clean_hugo = format!("{hugo} --cleanDestinationDir");
    let build_11ty = format!("node {eleventy} --quiet --input=src --output=out");
    let build_vite = format!("node {vite} build --logLevel error --outDir out");
    vec![
        Scenario {
            name: "hugo",
            what: "hugo, 40 posts: the first build, and again after an edit",
            prepare: hugo_site,
            runs: runs(hugo, edit("content/posts/7.md", hugo)),
        },
        Scenario {
            name: "hugo-clean",
            what: "hugo --cleanDestinationDir, with a post renamed each time",
            prepare: hugo_site,
            runs: runs(
                hugo,
                format!(
                    "for n in $(seq 40 -1 0); do test -f content/posts/$n.md && mv content/posts/$n.md content/posts/$((n + 100)).md && break; done; {clean_hugo}"
                ),
            ),
        },
        Scenario {
            name: "eleventy",
            what: "Eleventy, 40 posts: the first build, and again after an edit",
            prepare: eleventy_site,
            runs: runs(&build_11ty, edit("src/posts/7.md", &build_11ty)),
        },
        Scenario {
            name: "vite",
            what: "vite build, which empties its folder: the first build, and again after an edit",
            prepare: vite_site,
            runs: runs(
                &build_vite,
                edit(
                    "public/robots.txt",
                    &format!("echo 'console.log(1);' >> main.js && {build_vite}"),
                ),
            ),
        },
        Scenario {
            name: "shell-generator",
            what: "a script that takes 30 ms for each page",
            prepare: page,
            runs: same(
                "for n in $(seq 12); do sleep 0.03; echo \"page $n\" > out/$n.html; done",
                4,
            ),
        },
        Scenario {
            name: "slow-generator",
            what: "a script that takes 130 ms for each page",
            prepare: page,
            runs: same(
                "for n in $(seq 12); do sleep 0.13; echo \"page $n\" > out/$n.html; done",
                4,
            ),
        },
    ]
}

fn hugo_site(home: &Path) {
    write(
        home,
        "hugo.toml",
        "title = \"Hello\"\nbaseURL = \"https://example.org/\"\n",
    );
    write(
        home,
        "layouts/_default/single.html",
        "<title>{{ .Title }}</title>{{ .Content }}",
    );
    write(
        home,
        "layouts/_default/list.html",
        "{{ range .Pages }}<a href=\"{{ .RelPermalink }}\">{{ .Title }}</a>{{ end }}",
    );
    write(home, "static/css/style.css", "p { color: teal }\n");
    for number in 0..40 {
        let text = format!("---\ntitle: Post {number}\n---\n# written first\n");
        write(home, &format!("content/posts/{number}.md"), &text);
    }
}

fn eleventy_site(home: &Path) {
    write(
        home,
        "src/_includes/base.njk",
        "<title>{{ title }}</title>{{ content | safe }}",
    );
    for number in 0..40 {
        let text = format!("---\ntitle: Post {number}\nlayout: base.njk\n---\n# written first\n");
        write(home, &format!("src/posts/{number}.md"), &text);
    }
}

fn vite_site(home: &Path) {
    write(
        home,
        "index.html",
        "<h1>hello</h1><script type=\"module\" src=\"/main.js\"></script>",
    );
    write(
        home,
        "main.js",
        "import './style.css';\nconsole.log('hello');\n",
    );
    write(home, "style.css", "h1 { color: teal }\n");
    write(home, "public/robots.txt", "User-agent: *\n");
    for number in 0..20 {
        write(
            home,
            &format!("public/pictures/{number}.svg"),
            &"<svg/>".repeat(500),
        );
    }
}
