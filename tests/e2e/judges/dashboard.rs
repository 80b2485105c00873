//! The daemon's dashboard in a browser, clicked through on a real site; axe-core has nothing to say of it in
//! either theme, on a phone or a desk.
//!
//! With `ONSAVE_PICTURES=FOLDER` the pictures of it are left in that folder, to be looked at.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::browser::{Browser, key};
use crate::harness::{
    World, eventually,
    installed::{INSTALL, installed},
    process::Process,
    receiver::Receiver,
};

const PHONE: (u32, u32) = (360, 740);
const DESK: (u32, u32) = (1280, 900);

/// A path that has no place to break.
const LONG: &str =
    "a-page-with-a-name-that-goes-on-and-on-and-on-and-never-comes-to-an-end-at-all.html";

/// A browser with the dashboard of a daemon whose site has twelve files.
struct Visit {
    // Declared in the order of dropping.
    browser: Browser,
    daemon: Process,
    /// The address with the token.
    url: String,
    world: World,
}

impl Visit {
    fn begin() -> Self {
        Self::configured("")
    }

    /// With these lines in the configuration.
    fn configured(text: &str) -> Self {
        let world = World::new();
        world.configure(text);
        world.site.write("index.html", "<h1>first</h1>");
        world.site.write(LONG, "long");
        for page in 0..10 {
            world.site.write(&format!("posts/{page}.html"), "post");
        }
        let daemon = world.watch_until_live();
        let url = world.run_well(&["open", "--print"]).trim().to_owned();
        let mut visit = Self {
            browser: Browser::start(&world),
            daemon,
            url,
            world,
        };
        visit.browser.show_on(DESK, "light");
        visit
    }

    /// Opens the page, and waits until everything of it has come.
    fn open(&mut self, url: &str) {
        self.browser.open(url);
        self.wait_for_state("live");
        self.wait_until(
            "everything",
            "document.querySelector('#deploys > li') && \
             document.querySelector('#pending-note time') && !document.querySelector('#disk').hidden \
             && document.querySelector('#lines > li')",
        );
    }

    fn open_with_token(&mut self) {
        let url = self.url.clone();
        self.open(&url);
    }

    /// Returns the address without the token.
    fn bare_url(&self) -> String {
        let (bare, _) = self.url.split_once('#').expect("it has a token");
        bare.to_owned()
    }

    fn is(&mut self, condition: &str) -> bool {
        self.browser.evaluate(&format!("return !!({condition})")) == true
    }

    fn wait_until(&mut self, what: &str, condition: &str) {
        eventually(what, || self.is(condition));
    }

    fn text(&mut self, selector: &str) -> String {
        let script = format!("return document.querySelector({selector:?})?.textContent ?? ''");
        let value = self.browser.evaluate(&script);
        value.as_str().expect("it is a text").to_owned()
    }

    fn wait_for_text(&mut self, selector: &str, text: &str) {
        eventually(&format!("{selector} to say {text:?}"), || {
            self.text(selector).contains(text)
        });
    }

    fn wait_for_state(&mut self, word: &str) {
        self.wait_until(
            word,
            &format!("document.querySelector('#state-word').textContent === {word:?}"),
        );
    }

    fn assert_console_is_empty(&mut self) {
        let console = self.browser.console();
        assert!(console.is_empty(), "{}", console.join("\n"));
    }

    /// Empties most of the site, and waits until the page asks about it.
    fn hold(&mut self) {
        for page in 0..10 {
            self.world.site.remove(&format!("posts/{page}.html"));
        }
        self.world.site.remove(LONG);
        self.wait_for_state("held");
        self.wait_for_text("#held-question", "This would remove 11 of 12 files");
        self.wait_for_text("#pending-note", "11 files: 11 removed");
    }

    /// Leaves a picture where somebody asked for them.
    fn picture(&mut self, name: &str) {
        if let Some(folder) = std::env::var_os("ONSAVE_PICTURES") {
            let picture = STANDARD.decode(self.browser.picture());
            let file = Path::new(&folder).join(name).with_extension("png");
            fs::write(file, picture.expect("it is base64")).expect("the folder is there");
        }
    }

    /// Asserts that axe-core finds nothing and that nothing is wider than the screen, on each screen.
    fn assert_fit_for_all(&mut self, state: &str) {
        for (size, screen) in [(PHONE, "phone"), (DESK, "desk")] {
            for theme in ["light", "dark"] {
                self.browser.show_on(size, theme);
                self.picture(&format!("{state}-{screen}-{theme}"));
                let faults = self.browser.evaluate(
                    "return axe.run(document, { resultTypes: ['violations'] }).then(found => \
                     found.violations.map(fault => `${fault.id}: ${fault.help}: ` + \
                     fault.nodes.map(node => `${node.target} ${node.failureSummary}`).join('; ')))",
                );
                assert_eq!(faults, json!([]), "{state}, {screen}, {theme}");
                assert!(
                    self.is("document.documentElement.scrollWidth <= document.documentElement.clientWidth"),
                    "{state}, {screen}: it scrolls sideways"
                );
                let cut = self.browser.evaluate(
                    "return [...document.querySelectorAll('main *, footer *')].filter(node => \
                     node.getBoundingClientRect().right > innerWidth + 1 && \
                     !node.closest('.scrolls, .unseen')).map(node => node.outerHTML)",
                );
                assert_eq!(
                    cut,
                    json!([]),
                    "{state}, {screen}: stands out of the screen"
                );
            }
        }
    }

    /// Asserts that what came did not push away what was there.
    fn assert_nothing_jumped(&mut self) {
        let shifts = self.browser.evaluate(
            "return new Promise(resolve => { const all = []; new PerformanceObserver(list => \
             all.push(...list.getEntries())).observe({ type: 'layout-shift', buffered: true }); \
             setTimeout(() => resolve(all.map(shift => [shift.value, shift.startTime, \
             ...shift.sources.map(source => source.node?.outerHTML?.slice(0, 200))])), 100) })",
        );
        let moved: f64 = shifts
            .as_array()
            .expect("it is a list")
            .iter()
            .filter_map(|shift| shift[0].as_f64())
            .sum();
        assert!(moved < 0.02, "{shifts:#}");
    }

    /// Presses Tab until this has the focus, and asserts on the way that whoever looks can see where it is.
    fn tab_to(&mut self, selector: &str) {
        for _ in 0..60 {
            self.browser.press(key::TAB);
            let focus = self.browser.evaluate(
                "const node = document.activeElement; if (node === document.body) return null; \
                 const box = node.getBoundingClientRect(); return { outline: \
                 getComputedStyle(node).outlineStyle, wide: box.width, name: node.outerHTML }",
            );
            if focus != Value::Null {
                assert_ne!(focus["outline"], "none", "{focus}");
                assert_ne!(focus["wide"], 0, "{focus}");
            }
            if self.is(&format!("document.activeElement.matches({selector:?})")) {
                return;
            }
        }
        panic!("Tab does not lead to {selector}");
    }
}

fn axe() -> String {
    let path: PathBuf = installed("node-judges").join("node_modules/axe-core/axe.min.js");
    let text = fs::read_to_string(&path);
    text.unwrap_or_else(|error| panic!("{}: {error}; {INSTALL}", path.display()))
}

#[test]
fn what_is_clicked_is_done() {
    let mut visit = Visit::begin();
    visit.open_with_token();
    let address = visit.browser.evaluate("return location.href");
    assert_eq!(address, visit.bare_url(), "the token is out of sight");
    assert_eq!(visit.text("#app"), "project");
    assert!(visit.is("document.title.startsWith('live · project')"));
    assert!(visit.is("document.querySelector('#read-only').hidden"));
    let site = World::url_of(visit.world.address());
    assert_eq!(visit.text("#site"), site);

    // A save.
    visit.world.site.save("index.html", "<h1>second</h1>");
    visit.wait_for_text("#publishes > li:first-child .what", "index.html");
    visit.wait_until(
        "its bar",
        "document.querySelectorAll('#plot .bar').length === 2",
    );
    assert!(visit.is("document.querySelectorAll('#figures tr').length === 2"));
    visit.browser.click("#publishes > li:first-child summary");
    visit.wait_for_text("#publishes > li:first-child .paths", "index.html, changed");
    visit.wait_until(
        "its deploy",
        "document.querySelectorAll('#deploys > li').length === 2",
    );
    visit.wait_for_text("#lines", "published");

    // Not published for a while, but for once.
    visit.browser.click("#switch");
    visit.wait_for_state("paused");
    assert!(visit.is("document.querySelector('#switch').getAttribute('aria-checked') === 'false'"));
    visit.world.site.save("new.html", "<h1>new</h1>");
    visit.world.site.save("<img src=x>.html", "no picture");
    visit.browser.click("#look");
    visit.wait_for_text("#pending-note", "2 files: 2 added");
    assert!(visit.text("#pending-paths").contains("new.html, added"));
    assert!(
        visit
            .text("#pending-paths")
            .contains("<img src=x>.html, added")
    );
    assert!(
        visit.is("document.images.length === 0"),
        "a name is no markup"
    );
    visit.browser.click("#publish");
    visit.wait_for_text("#notice", "Published in");
    visit.world.wait_for_page("/new", "<h1>new</h1>");
    visit.browser.click("#notice .plain");
    visit.browser.click("#switch");
    visit.wait_for_state("live");
    visit.wait_for_text("#pending-note", "Nothing");
    visit.assert_console_is_empty();
}

#[test]
fn an_earlier_deploy_is_shown_after_a_question_and_taken_back() {
    let mut visit = Visit::begin();
    visit.world.site.save("index.html", "<h1>second</h1>");
    visit.world.wait_for_page("/", "<h1>second</h1>");
    visit.open_with_token();
    let button = "#deploys > li:last-child button";
    assert!(visit.is("document.querySelector('#deploys > li.current button').hidden"));
    visit
        .browser
        .click("#deploys > li:last-child details summary");
    visit.wait_for_text("#deploys > li:last-child .paths", "posts/9.html, added");

    visit.browser.click(button);
    visit.wait_until("a question", "document.querySelector('dialog[open]')");
    assert!(visit.text("#question-text").contains("12 files"));
    visit.browser.click("#question-no");
    assert!(!visit.is("document.querySelector('dialog[open]')"));
    visit.world.wait_for_page("/", "<h1>second</h1>");

    visit.browser.click(button);
    visit.browser.click("#question-yes");
    visit.world.wait_for_page("/", "<h1>first</h1>");
    visit.wait_for_state("left alone");
    visit.wait_for_text("#notice", "is live again");
    visit.browser.evaluate(&axe());
    visit.assert_fit_for_all("left-alone");
    visit.wait_until(
        "the mark",
        "!document.querySelector('#deploys > li:last-child .tag').hidden",
    );
    visit.browser.click("#notice button");
    visit.world.wait_for_page("/", "<h1>second</h1>");
    visit.wait_for_state("live");
    visit.assert_console_is_empty();
}

#[test]
fn a_held_publish_is_left_or_let_pass() {
    let mut visit = Visit::begin();
    visit.open_with_token();
    visit.hold();
    visit.wait_for_text("#announcer", "project: held.");
    visit.browser.click("#held-leave");
    visit.wait_for_text("#held-question", "Left as it is");
    assert!(visit.is("document.activeElement.id === 'held-publish'"));
    visit.world.wait_for_page("/posts/1", "post");
    visit.browser.click("#held-publish");
    visit.wait_for_text("#notice", "11 removed");
    visit.wait_for_state("live");
    visit.world.wait_for_no_page("/posts/1");
    assert!(visit.is("document.querySelector('#held').hidden"));
    visit.assert_console_is_empty();
}

#[test]
fn what_a_receiver_refused_is_sent_again_or_given_up() {
    let receiver = Receiver::start();
    receiver.answer(422, "no such collection");
    let mut visit = Visit::configured(&format!(
        "[[after_publish]]\nkind = \"webhook\"\nname = \"cms\"\nurl = \"{}/hook\"\n",
        receiver.url()
    ));
    visit.open_with_token();
    visit.wait_for_text("#deliveries", "1 delivery failed for good.");
    visit.wait_for_text(
        "#deliveries .error",
        "the answer is 422: no such collection",
    );
    visit.browser.evaluate(&axe());
    visit.assert_fit_for_all("deliveries");
    receiver.answer(200, "");
    visit.browser.click("#deliveries button");
    visit.wait_for_text("#notice", "is sent again");
    visit.wait_until(
        "it to be gone",
        "document.querySelector('#deliveries').hidden",
    );
    assert_eq!(receiver.taken().len(), 1);

    receiver.answer(410, "");
    visit.world.site.save("index.html", "<h1>refused too</h1>");
    visit.wait_for_text("#deliveries", "1 delivery failed for good.");
    visit.browser.click("#deliveries button:last-child");
    visit.wait_for_text("#question-title", "Give this delivery up?");
    visit.browser.click("#question-yes");
    visit.wait_until(
        "it to be gone",
        "document.querySelector('#deliveries').hidden",
    );
    visit.assert_console_is_empty();
}

#[test]
fn judges_find_nothing_in_any_state() {
    let mut visit = Visit::begin();
    visit.open_with_token();
    for save in 0..12 {
        let text = format!("<h1>save {save}</h1>");
        visit.world.site.save("index.html", &text);
        visit.world.wait_for_page("/", &text);
    }
    visit.wait_until(
        "all saves",
        "document.querySelectorAll('#plot .bar').length === 13",
    );
    let url = visit.url.clone();
    visit.browser.open("about:blank");
    visit.open(&url);
    visit.assert_nothing_jumped();
    visit.browser.evaluate(&axe());
    visit.assert_fit_for_all("live");

    // Everything unfolded.
    visit.browser.evaluate(
        "document.querySelector('#more-publishes').click(); \
         for (const node of document.querySelectorAll('details')) node.open = true",
    );
    visit.wait_for_text("#publishes > li:last-child .paths", LONG);
    visit.wait_for_text("#deploys > li:first-child .paths", "index.html");
    visit.assert_fit_for_all("unfolded");

    visit.browser.click("#deploys > li:last-child button");
    visit.wait_until("a question", "document.querySelector('dialog[open]')");
    visit.assert_fit_for_all("question");
    visit.browser.press(key::ESCAPE);
    visit.hold();
    visit.assert_fit_for_all("held");

    visit.browser.click("#switch");
    visit.wait_until(
        "the switch to be off",
        "document.querySelector('#switch').getAttribute('aria-checked') === 'false'",
    );
    visit.assert_fit_for_all("paused");
    visit.assert_console_is_empty();
    visit.daemon.terminate();
    visit.wait_for_state("gone");
    visit.assert_fit_for_all("gone");
}

#[test]
fn a_server_that_is_gone_is_said_and_not_asked() {
    let mut visit = Visit::begin();
    visit.open_with_token();
    visit.browser.evaluate(&axe());
    visit.world.server.kill();
    visit.world.site.save("index.html", "<h1>second</h1>");
    visit.wait_for_state("unreachable");
    visit.wait_for_text("#detail", "It is tried again and again.");
    visit.wait_for_text("#pending-note", "Not known");
    visit.assert_fit_for_all("unreachable");
    visit.assert_console_is_empty();
}

/// There is no platform here, so what the server says of itself is changed on its way to the page.
#[test]
fn an_outdated_server_is_replaced_after_a_question() {
    let mut visit = Visit::begin();
    visit.open_with_token();
    assert!(visit.is("document.querySelector('#rebuild-row').hidden"));
    visit.browser.evaluate(
        "const ask = window.fetch; window.fetch = async (path, options) => { \
         const answer = await ask(path, options); if (path !== '/v1/server') return answer; \
         const said = await answer.json(); said.canRebuild = true; said.health.outdated = true; \
         said.health.version = '0.0.9'; return Response.json(said) }",
    );
    visit.browser.click("#publish");
    visit.wait_for_text("#server-note", "older than this onsave");
    visit.wait_for_text("#server-facts", "0.0.9; this onsave is");
    visit.browser.click("#notice .plain");
    visit.browser.click("#rebuild");
    visit.wait_until("a question", "document.querySelector('dialog[open]')");
    assert!(visit.is("document.activeElement.id === 'question-no'"));
    visit.browser.press(key::ENTER);
    assert!(!visit.is("document.querySelector('dialog[open]')"));
    visit.browser.click("#rebuild");
    visit.browser.click("#question-yes");
    // The daemon has the last word.
    visit.wait_for_text("#notice .failed", "Fly.io");
}

#[test]
fn without_a_token_it_only_reads() {
    let mut visit = Visit::begin();
    let bare = visit.bare_url();
    visit.open(&bare);
    assert!(visit.text("#read-only").contains("onsave open"));
    let shown = "return [...document.querySelectorAll('button')].filter(node => !node.disabled && \
        node.checkVisibility({ visibilityProperty: true })).map(node => node.id)";
    assert_eq!(visit.browser.evaluate(shown), json!(["look"]));
    visit.assert_nothing_jumped();
    visit.browser.evaluate(&axe());
    visit.assert_fit_for_all("reads");
    visit.assert_console_is_empty();

    // A token that is another's is noticed when it is used.
    visit.open(&format!("{bare}?#token=0000"));
    assert!(visit.is("document.querySelector('#read-only').hidden"));
    visit.browser.click("#publish");
    visit.wait_for_text("#read-only", "not this onsave's any more");
    assert!(visit.is("!document.querySelector('#read-only').hidden"));
    assert!(visit.is("sessionStorage.length === 0"));
    // The right one, opened in the same tab, makes it act.
    let fragment = visit.url.split_once('#').expect("it has one").1.to_owned();
    visit
        .browser
        .evaluate(&format!("location.hash = {fragment:?}"));
    visit.wait_until("the token", "!document.querySelector('#switch').disabled");
    visit.browser.click("#switch");
    visit.wait_for_state("paused");
}

#[test]
fn the_keyboard_reaches_all_of_it() {
    let mut visit = Visit::begin();
    visit.world.site.save("index.html", "<h1>second</h1>");
    visit.world.wait_for_page("/", "<h1>second</h1>");
    visit.open_with_token();
    visit.tab_to("#site");
    visit.tab_to("#switch");
    visit.browser.press(key::SPACE);
    visit.wait_for_state("paused");
    visit.browser.press(key::SPACE);
    visit.wait_for_state("live");
    visit.tab_to("#publish");
    visit.browser.press(key::ENTER);
    visit.wait_for_text("#notice", "nothing to publish");
    visit.tab_to(".table summary");
    visit.browser.press(key::ENTER);
    visit.tab_to("#publishes > li:first-child summary");
    visit.browser.press(key::SPACE);
    visit.wait_for_text("#publishes > li:first-child .paths", "index.html");
    visit.tab_to("#deploys > li:last-child button");
    visit.browser.press(key::ENTER);
    visit.wait_until("a question", "document.querySelector('dialog[open]')");
    visit.browser.press(key::ESCAPE);
    let back = "document.activeElement.matches('#deploys > li:last-child button')";
    visit.wait_until("the focus to be back", back);
    visit.browser.press(key::ENTER);
    visit.browser.press(key::ENTER);
    visit.wait_for_state("left alone");
    visit.world.wait_for_page("/", "<h1>first</h1>");
    visit.tab_to("#look");
    visit.tab_to("#least");
    visit.tab_to("#log");
    visit.assert_console_is_empty();
}

#[test]
fn it_says_that_the_daemon_is_gone_and_comes_back_with_it() {
    let mut visit = Visit::begin();
    visit.open_with_token();
    let address: SocketAddr = {
        let bare = visit.bare_url();
        let host = bare.trim_start_matches("http://").trim_end_matches('/');
        host.parse().expect("it is an address")
    };
    visit.assert_console_is_empty();
    visit.daemon.terminate();
    visit.wait_for_state("gone");
    assert!(visit.text("#detail").starts_with("onsave does not run."));
    assert!(visit.is("document.querySelector('#switch').disabled"));
    assert!(visit.is("document.title.startsWith('gone')"));

    let mut again = visit.world.command(&["watch"]);
    again.env("ONSAVE_CONTROL_LISTEN", address.to_string());
    visit.daemon = visit.world.start("watch", &mut again);
    visit.wait_for_state("live");
    assert!(visit.is("!document.querySelector('#switch').disabled"));
    visit.world.site.save("index.html", "<h1>after</h1>");
    visit.wait_for_text("#publishes > li:first-child .what", "index.html");
    visit.wait_for_text("#lines", "published");
}

#[test]
fn one_slow_save_does_not_flatten_the_others() {
    let mut visit = Visit::begin();
    visit.open_with_token();
    let mut scale = |values: &str| {
        let script =
            format!("return import('/dashboard/plot.js').then(plot => plot.scaleOf({values}))");
        visit.browser.evaluate(&script)
    };
    assert_eq!(
        scale("[]"),
        json!({ "top": 1, "ticks": [0, 0.2, 0.4, 0.6, 0.8, 1] })
    );
    assert_eq!(
        scale("[34, 38]"),
        json!({ "top": 40, "ticks": [0, 10, 20, 30, 40] })
    );
    assert_eq!(scale("[34, 5000]")["top"], 50);
    assert_eq!(scale("[4000, 5000]")["top"], 5000);
}
