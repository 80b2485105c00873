//! The example site in a browser, while somebody edits it: what a visitor sees, and that the console stays
//! empty.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use super::browser::Browser;
use crate::harness::{SiteFolder, World, eventually, http, process::Process};

/// A browser that looks at a site which a daemon watches and serves.
struct Visit {
    // Declared in the order of dropping.
    browser: Browser,
    _daemon: Process,
    address: SocketAddr,
    world: World,
}

impl Visit {
    fn begin() -> Self {
        let world = World::new();
        let example = SiteFolder::at(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/site"));
        for (path, bytes) in example.tree() {
            let text = String::from_utf8(bytes).expect("the example is text");
            world.site.write(&path, &text);
        }
        let mut daemon = world.start("watch", &mut world.local_command(&["watch"]));
        let address = world.local_address(&mut daemon);
        let visit = Self {
            browser: Browser::start(&world),
            _daemon: daemon,
            address,
            world,
        };
        visit.wait_for("/", "Save a file and it is live.");
        visit
    }

    fn url(&self, target: &str) -> String {
        format!("{}{target}", World::url_of(self.address))
    }

    /// Waits until what is at an address says something.
    fn wait_for(&self, target: &str, text: &str) {
        eventually(&format!("{target} to say {text:?}"), || {
            http::get(self.address, target).is_some_and(|answer| answer.text().contains(text))
        });
    }

    fn replace(&self, path: &str, from: &str, to: &str) {
        let file = self.world.site.path(path);
        let text = std::fs::read_to_string(file).expect("the example has it");
        assert!(text.contains(from), "{path} has no {from:?}");
        self.world.site.save(path, &text.replace(from, to));
    }

    fn open(&mut self, target: &str) {
        let url = self.url(target);
        self.browser.open(&url);
    }

    fn text(&mut self, selector: &str) -> String {
        let script = format!("return document.querySelector({selector:?}).textContent");
        let value = self.browser.evaluate(&script);
        value.as_str().expect("it is a text").to_owned()
    }

    /// Returns the statuses by path of what was asked for, none of which failed or was an error.
    fn statuses(&mut self) -> BTreeMap<String, u64> {
        let exchanges = self.browser.exchanges();
        assert!(exchanges.failed.is_empty(), "{:?}", exchanges.failed);
        let origin = self.url("");
        let path = |url: &str| url.strip_prefix(&origin).unwrap_or(url).to_owned();
        let statuses = exchanges.answered.iter();
        let statuses: BTreeMap<_, _> = statuses.map(|(url, status)| (path(url), *status)).collect();
        assert!(
            statuses.values().all(|status| *status < 400),
            "{statuses:?}"
        );
        statuses
    }

    fn assert_console_is_empty(&mut self) {
        let console = self.browser.console();
        assert!(console.is_empty(), "{}", console.join("\n"));
    }
}

fn expected(statuses: &[(&str, u64)]) -> BTreeMap<String, u64> {
    let owned = |(path, status): &(&str, u64)| ((*path).to_owned(), *status);
    statuses.iter().map(owned).collect()
}

#[test]
fn an_edit_is_seen_after_one_reload() {
    let mut visit = Visit::begin();
    visit.open("/");
    assert_eq!(visit.text("h1"), "Save a file and it is live.");
    let loaded = visit.browser.evaluate(
        "return [...document.images].every(image => image.complete && image.naturalWidth > 0)",
    );
    assert_eq!(loaded, true, "the pictures are shown");
    let files = ["/", "/css/site.css", "/img/mark.svg", "/img/path.svg"];
    let all_with = |status| expected(&files.map(|path| (path, status)));
    assert_eq!(visit.statuses(), all_with(200));

    // Nothing changed: the browser asks, and is told so.
    visit.browser.reload();
    assert_eq!(visit.statuses(), all_with(304));

    visit.replace(
        "index.html",
        "Save a file and it is live.",
        "Saved, and live.",
    );
    visit.wait_for("/", "Saved, and live.");
    visit.browser.reload();
    assert_eq!(visit.text("h1"), "Saved, and live.");
    assert_eq!(visit.statuses()["/"], 200);

    let css = visit.world.site.path("css/site.css");
    let css = std::fs::read_to_string(css).expect("the example has it");
    visit.world.site.save(
        "css/site.css",
        &format!("{css}\nh1 {{ color: rgb(1, 2, 3) }}\n"),
    );
    visit.wait_for("/css/site.css", "rgb(1, 2, 3)");
    visit.browser.reload();
    let color = "return getComputedStyle(document.querySelector('h1')).color";
    assert_eq!(visit.browser.evaluate(color), "rgb(1, 2, 3)");
    let statuses = visit.statuses();
    assert_eq!((statuses["/"], statuses["/css/site.css"]), (304, 200));
    visit.assert_console_is_empty();
}

#[test]
fn rules_of_the_site_reach_the_browser() {
    let mut visit = Visit::begin();
    let inline = "const script = document.createElement('script'); \
        script.textContent = 'window.ran = true'; document.body.append(script); \
        return window.ran === true";
    visit.open("/");
    assert_eq!(visit.browser.evaluate(inline), true);
    visit.assert_console_is_empty();

    visit.world.site.write("_redirects", "/start /about 302\n");
    visit.world.site.write(
        "_headers",
        "/*\n  Content-Security-Policy: default-src 'self'\n",
    );
    eventually("the rules to be live", || {
        let of = |target| http::get(visit.address, target);
        let moved = of("/start").is_some_and(|answer| answer.status == 302);
        let secured =
            of("/about").is_some_and(|answer| answer.header("content-security-policy").is_some());
        moved && secured
    });
    visit.open("/start");
    assert_eq!(visit.browser.evaluate("return location.pathname"), "/about");
    visit.assert_console_is_empty();
    assert_eq!(visit.browser.evaluate(inline), false);
    let console = visit.browser.console().join("\n");
    assert!(console.contains("Content Security Policy"), "{console}");

    // Also where the browser has the page from before the rule.
    visit.open("/");
    assert_eq!(visit.browser.evaluate(inline), false);
}

#[test]
fn a_page_of_the_deploy_before_still_gets_its_script() {
    let mut visit = Visit::begin();
    let page = |script: &str| {
        format!(
            "<!doctype html>\n<title>Shop</title>\n<link rel=icon href=/img/mark.svg>\n\
             <h1>Shop</h1>\n<!-- {script} -->\n"
        )
    };
    let (old, new) = ("assets/cart.3f9c2b1a.js", "assets/cart.77d0e4c2.js");
    visit.world.site.write(old, "export const cart = 'old';\n");
    visit.world.site.write("shop.html", &page(old));
    visit.wait_for("/shop", old);
    visit.open("/shop");

    // The page is open while the next deploy takes its script away; only then it needs it.
    visit.world.site.write(new, "export const cart = 'new';\n");
    visit.world.site.remove(old);
    visit.world.site.save("shop.html", &page(new));
    visit.wait_for("/shop", new);
    let load = |script| format!("return import('/{script}').then(module => module.cart)");
    assert_eq!(visit.browser.evaluate(&load(old)), "old");
    visit.browser.reload();
    assert_eq!(visit.browser.evaluate(&load(new)), "new");
    visit.statuses();
    visit.assert_console_is_empty();
}
