//! Real generators, each with a tiny site of its own: built at the start, and again when a source is
//! saved. `./scripts/test packages` installs them.

use super::Project;
use crate::harness::{eventually, http, installed::installed};

/// Returns the script of an npm package.
fn script(path: &str) -> String {
    let script = installed("node-generators").join("node_modules").join(path);
    script.display().to_string()
}

/// Runs a daemon until the page shows what its source says, before and after a save.
fn follows_its_source(project: &Project, source: (&str, &str), page: &str) {
    let daemon = project.watch();
    let shows = |text: &str| {
        eventually(&format!("{page} to show {text:?}"), || {
            let answer = http::get(project.world.address(), page);
            answer.is_some_and(|answer| answer.status == 200 && answer.text().contains(text))
        });
    };
    shows("written first");
    let (path, text) = source;
    project.save(path, &text.replace("written first", "saved again"));
    shows("saved again");
    let said = daemon.stderr();
    assert_eq!(said.matches("build_ms=").count(), 2, "{said}");
}

#[test]
fn eleventy() {
    let page = (
        "src/posts/hello.md",
        "---\ntitle: Hello\nlayout: base.njk\n---\n# written first\n",
    );
    let project = Project::new(
        &[
            (
                "src/_includes/base.njk",
                "<title>{{ title }}</title>{{ content | safe }}",
            ),
            page,
        ],
        &format!(
            "command = [\"node\", {:?}, \"--input=src\", \"--output=dist\"]\noutput = \"dist\"",
            script("@11ty/eleventy/cmd.cjs")
        ),
    );
    follows_its_source(&project, page, "/posts/hello/");
}

#[test]
fn vite() {
    let page = (
        "index.html",
        "<h1>written first</h1><script type=\"module\" src=\"/main.js\"></script>",
    );
    let project = Project::new(
        &[
            page,
            ("main.js", "import './style.css';\nconsole.log('hello');\n"),
            ("style.css", "h1 { color: teal }\n"),
        ],
        &format!(
            "command = [\"node\", {:?}, \"build\", \"--outDir\", \"dist\"]\noutput = \"dist\"",
            script("vite/bin/vite.js")
        ),
    );
    follows_its_source(&project, page, "/");
    // What it names by content is served beside the page.
    let answer = http::get(project.world.address(), "/").expect("the server answers");
    let text = answer.text();
    let asset = text
        .split("href=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let style = http::get(project.world.address(), asset.expect("it links its style"));
    assert!(style.is_some_and(|style| style.text().contains("teal")));
}

#[test]
fn hugo() {
    let page = (
        "content/_index.md",
        "---\ntitle: Hello\n---\n# written first\n",
    );
    let project = Project::new(
        &[
            (
                "hugo.toml",
                "title = \"Hello\"\ndisableKinds = [\"taxonomy\", \"term\"]\n",
            ),
            (
                "layouts/index.html",
                "<title>{{ .Title }}</title>{{ .Content }}",
            ),
            page,
        ],
        "command = \"hugo --cacheDir=$HOME/hugo\"\noutput = \"public\"\nwatch = [\"content\", \"layouts\", \"hugo.toml\"]",
    );
    follows_its_source(&project, page, "/");
}
