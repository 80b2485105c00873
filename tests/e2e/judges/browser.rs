//! A Chromium without a window, driven over `WebDriver` (W3C): it opens pages, and says what it asked for, what
//! it was answered and what stands in its console.
//!
//! It has a profile of its own in the story's folder, and flags that keep it off every network but this
//! machine's. Dropping it ends the browser before its driver, which would leave it running.

use std::{collections::BTreeMap, io, path::Path, process::Command};

use serde_json::{Value, json};

use crate::harness::{
    World,
    http::{Answer, Connection, Request},
    installed::INSTALL,
    process::Process,
    wait_for,
};

/// What chromedriver prints before its port.
const READY: &str = "ChromeDriver was started successfully on port ";

/// What keeps Chromium to itself. Without a sandbox, since tests may run as root, where it has none.
const FLAGS: [&str; 12] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-first-run",
    "--no-default-browser-check",
    "--window-size=900,1200",
];

/// Keys without a sign of their own, as `WebDriver` names them.
pub(super) mod key {
    pub(in super::super) const TAB: &str = "\u{e004}";
    pub(in super::super) const ENTER: &str = "\u{e007}";
    pub(in super::super) const ESCAPE: &str = "\u{e00c}";
    pub(in super::super) const SPACE: &str = " ";
}

/// A running browser with one window.
pub(super) struct Browser {
    /// Where the session's commands are.
    session: String,
    host: String,
    connection: Connection,
    // Declared last, to be dropped last.
    _driver: Process,
}

/// What the browser asked for since it was last looked at.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    /// Address and the smallest status that came for it over the wire. A picture that is also the page's
    /// icon is asked for twice, at once and in either order, and one of the two is told that it has it.
    pub(super) answered: BTreeMap<String, u64>,
    /// The requests that failed, and how.
    pub(super) failed: Vec<String>,
}

impl Browser {
    /// Starts a browser in the folder of a story.
    pub(super) fn start(world: &World) -> Self {
        let profile = world.path("browser");
        std::fs::create_dir(&profile).expect("the story has one browser");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut command = Command::new("chromedriver");
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", &profile)
            .env("TMPDIR", &profile)
            .arg("--port=0");
        assert!(
            Command::new("chromedriver")
                .arg("--version")
                .output()
                .is_ok(),
            "chromedriver is missing; {INSTALL}"
        );
        let mut driver = world.start("chromedriver", &mut command);
        let port = driver.wait_for_line(READY);
        let host = format!("127.0.0.1:{}", port.trim_end_matches('.'));
        let connection = Connection::open(host.parse().expect("it is an address"))
            .expect("chromedriver listens");
        let mut browser = Self {
            session: String::new(),
            host,
            connection,
            _driver: driver,
        };
        browser.session = browser.begin(&profile);
        browser
    }

    fn begin(&mut self, profile: &Path) -> String {
        let profile = format!("--user-data-dir={}", profile.join("profile").display());
        let mut arguments = FLAGS.to_vec();
        arguments.push(&profile);
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        }}});
        let begun = self.send("POST", "/session", &wanted);
        let id = begun["sessionId"].as_str();
        let id = id.unwrap_or_else(|| panic!("chromium does not start: {begun}; {INSTALL}"));
        format!("/session/{id}")
    }

    /// Opens an address and waits until the page is loaded.
    pub(super) fn open(&mut self, url: &str) {
        self.command("url", &json!({ "url": url }));
    }

    /// Loads the page once more, as somebody does who pressed F5.
    pub(super) fn reload(&mut self) {
        self.command("refresh", &json!({}));
    }

    /// Returns what the body of a function gives in the page; a promise is waited for.
    pub(super) fn evaluate(&mut self, script: &str) -> Value {
        self.command("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Clicks on what a selector finds, as a mouse does: what is hidden or covered cannot be clicked.
    pub(super) fn click(&mut self, selector: &str) {
        let wanted = json!({ "using": "css selector", "value": selector });
        let found = self.command("element", &wanted);
        let id = found
            .as_object()
            .and_then(|found| found.values().next())
            .and_then(Value::as_str)
            .expect("an element has an id");
        self.command(&format!("element/{id}/click"), &json!({}));
    }

    /// Presses a key and lets it go; those without a sign are in [`key`].
    pub(super) fn press(&mut self, key: &str) {
        let actions = ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key }));
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.command("actions", &json!({ "actions": [keyboard] }));
    }

    /// Shows the page as on a screen of this size, in the light theme or the dark one.
    pub(super) fn show_on(&mut self, (width, height): (u32, u32), theme: &str) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.debug("Emulation.setDeviceMetricsOverride", &size);
        // A bar would take of the width, and a phone has none.
        self.debug("Emulation.setScrollbarsHidden", &json!({ "hidden": true }));
        let feature = json!({ "name": "prefers-color-scheme", "value": theme });
        self.debug(
            "Emulation.setEmulatedMedia",
            &json!({ "features": [feature] }),
        );
    }

    /// Sends a command of Chromium's own protocol, for what `WebDriver` has none.
    fn debug(&mut self, command: &str, parameters: &Value) -> Value {
        let wanted = json!({ "cmd": command, "params": parameters });
        self.command("goog/cdp/execute", &wanted)
    }

    /// Returns a picture of the whole page, as PNG in base64.
    pub(super) fn picture(&mut self) -> String {
        let wanted = json!({ "captureBeyondViewport": true });
        let picture = self.debug("Page.captureScreenshot", &wanted);
        picture["data"]
            .as_str()
            .expect("it is a picture")
            .to_owned()
    }

    /// Returns the lines of the console since it was last looked at: errors, warnings and all else.
    pub(super) fn console(&mut self) -> Vec<String> {
        let lines = self.log("browser");
        let shown = |line: &Value| format!("{} {}", line["level"], line["message"]);
        lines.iter().map(shown).collect()
    }

    /// Returns what was asked for and answered since it was last looked at.
    pub(super) fn exchanges(&mut self) -> Exchanges {
        let mut requests = Requests::default();
        wait_for("every request to have its answer", || {
            for entry in self.log("performance") {
                let text = entry["message"].as_str().expect("it is JSON as a text");
                let event: Value = serde_json::from_str(text).expect("it is JSON");
                requests.note(&event["message"]);
            }
            requests.finished()
        })
    }

    fn log(&mut self, name: &str) -> Vec<Value> {
        let value = self.command("se/log", &json!({ "type": name }));
        value.as_array().expect("a log is a list").clone()
    }

    fn command(&mut self, name: &str, body: &Value) -> Value {
        let target = format!("{}/{name}", self.session);
        let value = self.send("POST", &target, body);
        assert!(value.get("error").is_none(), "{name}: {value}");
        value
    }

    fn send(&mut self, method: &str, target: &str, body: &Value) -> Value {
        let answer = self.ask(method, target, body.to_string().as_bytes());
        let answer = answer.expect("chromedriver answers");
        let mut answer: Value = serde_json::from_slice(&answer.body).expect("it answers with JSON");
        answer["value"].take()
    }

    fn ask(&mut self, method: &str, target: &str, body: &[u8]) -> io::Result<Answer> {
        self.connection.send(&Request {
            method,
            target,
            headers: vec![
                // It answers to nobody who came by another name.
                ("host", self.host.clone()),
                ("content-type", "application/json; charset=utf-8".into()),
            ],
            body,
        })
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let session = self.session.clone();
            // The story may be failing because the driver is gone; then there is nothing to end.
            self.ask("DELETE", &session, b"").ok();
        }
    }
}

/// Requests by the id that the browser gave them, while their events come in.
#[derive(Default)]
struct Requests {
    /// Id and address, in the order of asking; not those for the browser's own pages.
    asked: Vec<(String, String)>,
    statuses: BTreeMap<String, u64>,
    ended: BTreeMap<String, Option<String>>,
}

impl Requests {
    fn note(&mut self, event: &Value) {
        let parameters = &event["params"];
        let Some(id) = parameters["requestId"].as_str().map(str::to_owned) else {
            return;
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match event["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => {
                let url = text(&parameters["request"]["url"]);
                // A redirect keeps the id.
                self.asked.retain(|(known, _)| *known != id);
                if url.starts_with("http") {
                    self.asked.push((id, url));
                }
            }
            // What came over the wire: elsewhere a page that was not modified has the cached 200.
            "Network.responseReceivedExtraInfo" => {
                let status = parameters["statusCode"].as_u64().unwrap_or_default();
                self.statuses.insert(id, status);
            }
            "Network.loadingFinished" => {
                self.ended.insert(id, None);
            }
            "Network.loadingFailed" => {
                self.ended.insert(id, Some(text(&parameters["errorText"])));
            }
            _ => {}
        }
    }

    /// Returns all of it when nothing is under way any more.
    fn finished(&self) -> Option<Exchanges> {
        let mut exchanges = Exchanges::default();
        for (id, url) in &self.asked {
            if let Some(problem) = self.ended.get(id)? {
                exchanges.failed.push(format!("{url}: {problem}"));
            } else {
                let status = *self.statuses.get(id)?;
                let smallest = exchanges.answered.entry(url.clone()).or_insert(status);
                *smallest = status.min(*smallest);
            }
        }
        Some(exchanges)
    }
}
