//! curl and the clients of nghttp2, which read HTTP more strictly than the client that the stories have: what
//! they make of the answers, byte for byte.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use crate::harness::installed::INSTALL;
use crate::harness::{World, eventually, sync_client};

/// How the clients speak with the server.
#[derive(Debug, Clone, Copy)]
enum Version {
    One,
    /// Without TLS and known before the first byte, as Fly's proxy speaks.
    Two,
}

/// The versions of HTTP that the server has.
const VERSIONS: [Version; 2] = [Version::One, Version::Two];

impl Version {
    /// Returns what makes curl use this version, and no other.
    const fn curl(self) -> &'static str {
        match self {
            Self::One => "--http1.1",
            Self::Two => "--http2-prior-knowledge",
        }
    }

    /// Returns what makes h2load use this version: connections, and how many requests each has at once.
    const fn h2load(self) -> &'static [&'static str] {
        match self {
            Self::One => &["--h1", "-c10"],
            Self::Two => &["-c1", "-m10"],
        }
    }
}

/// A site with something of every kind, and the client that asks for it.
struct Site {
    world: World,
    version: Version,
    /// What `/long.txt` holds.
    text: String,
}

impl Site {
    fn publish(version: Version) -> Self {
        let world = World::with_small_site();
        let lines =
            (0..2_000).map(|line| format!("line {line} of a text that is worth encoding\n"));
        let text: String = lines.collect();
        world.site.write("long.txt", &text);
        world.site.write("404.html", "<h1>nothing here</h1>");
        world
            .site
            .write("assets/app.3f9c2b1a.js", "console.log(1);\n");
        world.site.write("_redirects", "/old /about 301\n");
        let tree = world.site.tree();
        sync_client::publish(world.address(), None, (&<_>::default(), &tree))
            .expect("the server answers");
        Self {
            world,
            version,
            text,
        }
    }

    fn url(&self, target: &str) -> String {
        format!("{}{target}", World::url_of(self.world.address()))
    }

    /// Returns a file in which a client may keep something.
    fn scratch(&self, name: &str) -> PathBuf {
        self.world.path("home").join(name)
    }

    fn curl(&self, arguments: &[&str], target: &str) -> Curl {
        let mut all = vec![
            self.version.curl(),
            "--silent",
            "--show-error",
            "--include",
            "--path-as-is",
        ];
        all.extend(arguments);
        let url = self.url(target);
        all.push(&url);
        let output = run("curl", &all);
        assert!(output.status.success(), "curl {all:?}: {}", shown(&output));
        Curl::read(&output.stdout)
    }
}

/// Runs a story with a site of its own for each version of HTTP.
fn over_each_version(story: fn(&Site)) {
    for version in VERSIONS {
        story(&Site::publish(version));
    }
}

/// What curl received: the headers as they came, and the body as it understood it.
#[derive(Debug)]
struct Curl {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Curl {
    fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.expect("headers end in an empty line");
        let head = String::from_utf8_lossy(&bytes[..end]);
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").expect("a header has a value");
            (name.to_ascii_lowercase(), value.to_owned())
        };
        Self {
            status: status
                .expect("there is a status")
                .parse()
                .expect("it is a number"),
            headers: lines.map(header).collect(),
            body: bytes[end + 4..].to_vec(),
        }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the site is text")
    }
}

/// Runs a client with nothing of the caller's environment, where a proxy may stand.
fn run<A: AsRef<OsStr>>(program: &str, arguments: &[A]) -> Output {
    Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .output()
        .unwrap_or_else(|error| panic!("cannot run {program}: {error}; {INSTALL}"))
}

fn shown(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn curl_reads_each_coding_as_the_same_bytes() {
    over_each_version(reads_each_coding);
}

fn reads_each_coding(site: &Site) {
    let plain = site.curl(&[], "/long.txt");
    assert_eq!((plain.status, plain.text()), (200, site.text.as_str()));
    for coding in ["br", "zstd", "gzip"] {
        let accept = format!("accept-encoding: {coding}");
        let ask = || site.curl(&["--compressed", "--header", &accept], "/long.txt");
        eventually(coding, || ask().header("content-encoding") == coding);
        let answer = ask();
        assert!(answer.text() == site.text, "{coding} has other bytes");
        let length: usize = answer
            .header("content-length")
            .parse()
            .expect("it is a number");
        assert!(
            length < site.text.len() / 2,
            "{coding} takes {length} bytes"
        );
    }
    // All that curl takes by itself.
    assert!(site.curl(&["--compressed"], "/long.txt").text() == site.text);
}

#[test]
fn curl_gets_parts_and_resumes() {
    over_each_version(gets_parts_and_resumes);
}

fn gets_parts_and_resumes(site: &Site) {
    let length = site.text.len();
    for (range, expected) in [
        ("0-0", &site.text[..1]),
        ("0-99", &site.text[..100]),
        ("100-", &site.text[100..]),
        ("-100", &site.text[length - 100..]),
        ("0-99999999", site.text.as_str()),
    ] {
        let answer = site.curl(&["--range", range], "/long.txt");
        assert_eq!(answer.status, 206, "{range}");
        assert!(answer.text() == expected, "{range} has other bytes");
    }
    let answer = site.curl(&["--range", "0-4,100-104"], "/long.txt");
    let kind = answer.header("content-type");
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=");
    let boundary = boundary
        .expect("two parts are sent as such")
        .trim_matches('"');
    let parts: Vec<&str> = answer.text().split(&format!("--{boundary}")).collect();
    let [_, first, second, last] = parts[..] else {
        panic!("not two parts: {parts:?}");
    };
    for (part, range) in [(first, 0..5), (second, 100..105)] {
        let (head, body) = part.split_once("\r\n\r\n").expect("a part has headers");
        let place = format!("bytes {}-{}/{length}", range.start, range.end - 1);
        assert!(head.to_ascii_lowercase().contains(&place), "{head}");
        assert_eq!(body.trim_end_matches("\r\n"), &site.text[range]);
    }
    assert_eq!(last.trim_end(), "--");

    // A download that broke off goes on where it was.
    let file = site.scratch("long.txt");
    fs::write(&file, &site.text[..12_345]).expect("it can be written");
    let name = file.to_str().expect("it is UTF-8").to_owned();
    let url = site.url("/long.txt");
    let output = run(
        "curl",
        &[
            site.version.curl(),
            "-sS",
            "--continue-at",
            "-",
            "--output",
            &name,
            &url,
        ],
    );
    assert!(output.status.success(), "{}", shown(&output));
    let resumed = fs::read_to_string(&file).expect("it is there");
    assert!(resumed == site.text, "the file has other bytes");
}

#[test]
fn curl_is_told_what_it_has() {
    over_each_version(is_told_what_it_has);
}

fn is_told_what_it_has(site: &Site) {
    let tag = site.scratch("etag");
    let tag = tag.to_str().expect("it is UTF-8");
    for (target, path) in [("/", "index.html"), ("/long.txt", "long.txt")] {
        let first = site.curl(&["--etag-save", tag], target);
        assert_eq!(first.status, 200, "{target}");
        let again = site.curl(&["--etag-compare", tag], target);
        assert_eq!((again.status, again.body.len()), (304, 0), "{target}");
        assert_eq!(again.header("etag"), first.header("etag"), "{target}");
        let date = first.header("last-modified");
        let since = site.curl(&["--time-cond", date], target);
        assert_eq!(since.status, 304, "{target}");

        world_changes(&site.world, path);
        let changed = site.curl(&["--etag-compare", tag], target);
        assert_eq!(
            (changed.status, changed.text()),
            (200, "changed"),
            "{target}"
        );
    }
}

/// Publishes another content of a file.
fn world_changes(world: &World, path: &str) {
    let before = world.site.tree();
    world.site.write(path, "changed");
    let base = world.current_deploy();
    sync_client::publish(
        world.address(),
        base.as_deref(),
        (&before, &world.site.tree()),
    )
    .expect("the server answers");
}

#[test]
fn curl_gets_the_same_headers_by_head() {
    over_each_version(gets_the_same_headers_by_head);
}

fn gets_the_same_headers_by_head(site: &Site) {
    let targets = [
        "/",
        "/about",
        "/about/",
        "/long.txt",
        "/assets/app.3f9c2b1a.js",
        "/old",
        "/nowhere",
        "/../secret",
        "/_icd/health",
    ];
    for target in targets {
        for coding in ["identity", "gzip"] {
            let accept = format!("accept-encoding: {coding}");
            let ask = |arguments: &[&str]| {
                let mut answer = site.curl(&[arguments, &["--header", &accept]].concat(), target);
                // What no two answers have in common.
                for name in ["date", "onsave-request-id"] {
                    answer.headers.remove(name);
                }
                answer
            };
            // The first one may find no encoder free.
            eventually(target, || {
                let (get, head) = (ask(&[]), ask(&["--head"]));
                assert!(head.body.is_empty(), "{target}");
                (get.status, get.headers) == (head.status, head.headers)
            });
        }
    }
}

#[test]
fn curl_keeps_one_connection_for_all() {
    // Over HTTP/2 nghttp has the same story: curl 7.88 cannot use such a connection twice.
    keeps_one_connection(&Site::publish(Version::One));
}

fn keeps_one_connection(site: &Site) {
    let targets = [
        "/",
        "/about/",
        "/nowhere",
        "/old",
        "/../secret",
        "/long.txt",
        "/",
    ];
    let format = "%{http_code} %{num_connects}\n";
    let mut arguments = vec![
        site.version.curl(),
        "-sS",
        "--path-as-is",
        "--write-out",
        format,
    ];
    let urls = targets.map(|target| site.url(target));
    for url in &urls {
        arguments.extend(["--output", "/dev/null", url]);
    }
    let output = run("curl", &arguments);
    assert!(output.status.success(), "{}", shown(&output));
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, "200 1\n308 0\n404 0\n301 0\n400 0\n200 0\n200 0\n");
    // A redirect is followed to the page, and a body that nobody wants is no reason to hang up.
    let url = site.url("/old");
    let output = run(
        "curl",
        &[
            site.version.curl(),
            "-sS",
            "--location",
            "--write-out",
            "%{url_effective}",
            &url,
        ],
    );
    let about = format!("<h1>about</h1>{}", site.url("/about"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), about);
    let posted = site.curl(&["--data", "a=1"], "/about");
    assert_eq!(
        (posted.status, posted.header("allow")),
        (405, "GET, HEAD, OPTIONS")
    );
}

/// Checks that h2load had its answers, all of them good.
fn assert_no_failure(arguments: &[&str]) {
    let output = run("h2load", arguments);
    let said = shown(&output);
    let all = "requests: 1000 total, 1000 started, 1000 done, 1000 succeeded, 0 failed, 0 errored, 0 timeout";
    assert!(said.contains(all), "{said}");
    assert!(
        said.contains("status codes: 1000 2xx, 0 3xx, 0 4xx, 0 5xx"),
        "{said}"
    );
}

#[test]
fn h2load_has_a_thousand_answers() {
    over_each_version(has_a_thousand_answers);
}

fn has_a_thousand_answers(site: &Site) {
    for target in ["/", "/long.txt"] {
        let url = site.url(target);
        assert_no_failure(&[&["-n1000", &url], site.version.h2load()].concat());
    }
}

#[test]
fn curl_speaks_the_version_that_it_was_told() {
    for (version, spoken) in [(Version::One, "1.1"), (Version::Two, "2")] {
        let site = Site::publish(version);
        let url = site.url("/about");
        let format = "%{http_version}";
        let output = run(
            "curl",
            &[version.curl(), "-sS", "-w", format, "-o", "/dev/null", &url],
        );
        assert_eq!(String::from_utf8_lossy(&output.stdout), spoken);
    }
}

/// Headers that are about a connection, which HTTP/2 does not have (RFC 9113, section 8.2.2).
const OF_A_CONNECTION: [&str; 5] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

#[test]
fn nghttp_gets_all_over_one_connection_and_no_header_of_it() {
    let site = Site::publish(Version::Two);
    let expected = [
        ("/", "200"),
        ("/long.txt", "200"),
        ("/old", "301"),
        ("/about/", "308"),
        ("/%zz", "400"),
        ("/_icd/manifest", "401"),
        ("/nowhere", "404"),
        ("/_icd/health", "200"),
    ];
    let urls = expected.map(|(target, _)| site.url(target));
    let mut arguments = vec!["--verbose", "--null-out"];
    arguments.extend(urls.iter().map(String::as_str));
    let output = run("nghttp", &arguments);
    let said = shown(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("Connected").count(), 1, "{said}");
    let received = said
        .lines()
        .filter(|line| line.contains(" recv (stream_id="));
    let headers: Vec<(&str, &str)> = received
        .filter_map(|line| line.split_once(") ")?.1.split_once(": "))
        .collect();
    let statuses = headers.iter().filter(|(name, _)| *name == ":status");
    let mut statuses: Vec<&str> = statuses.map(|(_, status)| *status).collect();
    let mut wanted = expected.map(|(_, status)| status);
    statuses.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(statuses, wanted, "{said}");
    for (name, _) in headers {
        assert!(!OF_A_CONNECTION.contains(&name), "{name}: {said}");
        assert_eq!(name, name.to_ascii_lowercase());
    }
    // What nghttp finds wrong, and what either side gives up for.
    for fault in ["[INVALID;", "RST_STREAM", "PROTOCOL_ERROR"] {
        assert!(!said.contains(fault), "{said}");
    }
}
