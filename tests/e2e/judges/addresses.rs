//! Which address means which file: the request handler of Cloudflare Pages over the same trees, and what
//! other hosts do with a slash at the end.
//!
//! Where the answers are not the same, one of the named differences has to say why, and each is needed.

use std::process::{Command, Stdio};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

use super::beside;
use crate::harness::installed::{INSTALL, installed};
use crate::harness::{
    World,
    http::{Connection, Request},
    site::Tree,
    sync_client,
};

/// Sites, each by its files; what is in a file is its path.
const TREES: [&[&str]; 6] = [
    &[
        "index.html",
        "file.html",
        "folder/index.html",
        "both.html",
        "both/index.html",
        "404.html",
    ],
    &[
        "index.html",
        "404.html",
        "blog/404.html",
        "blog/index.html",
        "blog/post.html",
        "blog/deep/er/page.html",
        "shop/index.html",
    ],
    // Without a page for what is not there.
    &[
        "index.html",
        "about.html",
        "docs/index.html",
        "css/site.css",
    ],
    // Names that are no plain words.
    &[
        "index.html",
        "404.html",
        "two words.html",
        "häuser/index.html",
        "日本.html",
        "a+b.html",
        "100%.html",
        "it's (ok)!.html",
        "q&a/index.html",
        ".well-known/security.txt",
    ],
    // Names that look like others.
    &[
        "404.html",
        "index.html",
        "index/index.html",
        "page",
        "page.html",
        "app.js",
        "app.js.html",
        "v1.2/index.html",
        "archive.tar.gz",
        "Upper.html",
        "x.html/index.html",
    ],
    // Without a start page.
    &["404.html", "only/here.html"],
];

/// Addresses that are asked for in every tree, beside those of its files.
const ADDRESSES: [&str; 22] = [
    "/",
    "/?q=1",
    "/index",
    "/index/",
    "/index.html",
    "/404",
    "/404.html",
    "/nowhere",
    "/nowhere/",
    "/nowhere/deep/er",
    "/blog/nowhere",
    "/blog/deep/nowhere",
    "//",
    "//nowhere",
    "/blog//post",
    "/./file",
    "/blog/../file",
    "/blog/%2e%2e/file",
    "/a%2Fb",
    "/%zz",
    "/%E4",
    "/folder/index.html/",
];

/// One deliberate difference.
struct Difference {
    /// What the documentation calls it.
    name: &'static str,
    holds: fn(&Case) -> bool,
}

/// What both answer to a request.
#[derive(Debug)]
struct Case {
    files: &'static [&'static str],
    address: String,
    ours: String,
    theirs: String,
}

impl Case {
    /// Returns the path as it was sent.
    fn path(&self) -> &str {
        self.address.split('?').next().unwrap_or_default()
    }

    /// Returns the path as the file it names.
    fn decoded(&self) -> String {
        decoded(self.path()).trim_start_matches('/').to_owned()
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        name: "a page is also at its file's own name, where Cloudflare redirects: no link to it is wrong",
        holds: |case| {
            let file = case.decoded();
            let page = file.strip_suffix(".html");
            let page = page.map(|page| page.strip_suffix("index").unwrap_or(page));
            case.ours == format!("200 {file}")
                && page.is_some_and(|page| is_moved_to(&case.theirs, page))
        },
    },
    Difference {
        name: "the page of a folder is at folder/index, as each page is at its name without .html",
        holds: |case| {
            let file = case.decoded();
            let folder = file.strip_suffix("index");
            case.ours == format!("200 {file}.html")
                && folder.is_some_and(|folder| is_moved_to(&case.theirs, folder))
        },
    },
    Difference {
        name: "folder/index/ redirects to folder/index, as each page with a slash too much does",
        holds: |case| {
            let file = case.decoded();
            let folder = file.strip_suffix("index/");
            is_moved_to(&case.ours, file.trim_end_matches('/'))
                && folder.is_some_and(|folder| is_moved_to(&case.theirs, folder))
        },
    },
    Difference {
        name: "/index without an index.html is not there; Cloudflare redirects to what is not there either",
        holds: |case| {
            ["/index", "/index/"].contains(&case.path())
                && !case.files.contains(&"index.html")
                && case.ours == "404 404.html"
                && case.theirs == "308 /"
        },
    },
    Difference {
        name: "segments of dots are refused, where Cloudflare sees what an URL parser made of them",
        holds: |case| {
            let path = decoded(case.path());
            path.split('/')
                .any(|segment| [".", ".."].contains(&segment))
                && case.ours == "400"
        },
    },
    Difference {
        name: "what is no percent-encoded UTF-8 is refused",
        holds: |case| ["/%zz", "/%E4"].contains(&case.path()) && case.ours == "400",
    },
    Difference {
        name: "without a 404.html what is missing is missing; Cloudflare takes the site for an application",
        holds: |case| {
            !case.files.contains(&"404.html")
                && case.ours == "404"
                && case.theirs == "200 index.html"
        },
    },
    Difference {
        name: "an address with an empty segment is in no folder, and has the page of the root",
        holds: |case| {
            case.path().contains("//")
                && case.ours == "404 404.html"
                && case.theirs == "404 blog/404.html"
        },
    },
    Difference {
        name: "a redirect sends the address back as it was written, where Cloudflare writes it anew",
        holds: |case| {
            case.ours.starts_with("308 ")
                && case.ours != case.theirs
                && decoded(&case.ours) == decoded(&case.theirs)
        },
    },
];

/// Returns whether an answer is a redirect to a page, whatever the query.
fn is_moved_to(answer: &str, page: &str) -> bool {
    let location = answer.strip_prefix("308 /").map(decoded);
    location.is_some_and(|location| location.split('?').next() == Some(page))
}

/// What is encoded in an address: all but what never needs it (RFC 3986, section 2.3).
const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_');

/// Returns the addresses of a file, written out and as a page may be linked.
fn addresses_of(file: &str) -> Vec<String> {
    let segments = file.split('/');
    let segments = segments.map(|segment| utf8_percent_encode(segment, &KEPT).to_string());
    let encoded = segments.collect::<Vec<_>>().join("/");
    let mut addresses = vec![
        format!("/{encoded}"),
        format!("/{encoded}/"),
        format!("/{encoded}?q=1"),
    ];
    for ending in [".html", "/index.html", "index.html"] {
        if let Some(page) = encoded.strip_suffix(ending) {
            addresses.push(format!("/{page}"));
            addresses.push(format!("/{page}?q=1"));
            addresses.push(format!("/{page}/"));
        }
    }
    addresses
}

fn addresses(files: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = ADDRESSES
        .iter()
        .map(|address| (*address).to_owned())
        .collect();
    all.extend(files.iter().flat_map(|file| addresses_of(file)));
    all.sort();
    all.dedup();
    all
}

fn tree_of(files: &[&str]) -> Tree {
    let file = |path: &&str| ((*path).to_owned(), path.as_bytes().to_vec());
    files.iter().map(file).collect()
}

/// A server that is given one tree after the other.
struct Sites {
    world: World,
    current: Option<String>,
    tree: Tree,
}

impl Sites {
    fn new() -> Self {
        Self {
            world: World::new(),
            current: None,
            tree: Tree::new(),
        }
    }

    /// Publishes a tree and returns what each address of it is answered with.
    fn answers(&mut self, files: &[&str], addresses: &[String]) -> Vec<String> {
        let tree = tree_of(files);
        let at = self.world.address();
        let published = sync_client::publish(at, self.current.as_deref(), (&self.tree, &tree))
            .expect("the server answers");
        self.current = Some(published.deploy_id.to_string());
        self.tree = tree;
        let mut connection = Connection::open(at).expect("the server listens");
        addresses
            .iter()
            .map(|address| answer(&mut connection, address, &self.tree))
            .collect()
    }
}

fn answer(connection: &mut Connection, address: &str, tree: &Tree) -> String {
    let request = Request {
        method: "GET",
        target: address,
        ..Request::default()
    };
    let answer = connection.send(&request).expect("the server answers");
    let said = match answer.header("location") {
        Some(location) => location.to_owned(),
        // A page of the server's own is none of the site.
        None => Some(answer.text())
            .filter(|text| tree.contains_key(text))
            .unwrap_or_default(),
    };
    format!("{} {said}", answer.status).trim_end().to_owned()
}

/// Returns what Cloudflare's handler answers, for each tree.
fn cloudflares(orders: &[Value]) -> Vec<Vec<String>> {
    let mut child = Command::new("node")
        .arg(beside("ask_cloudflare.mjs"))
        .arg(installed("node-judges"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run node: {error}; {INSTALL}"));
    let lines: Vec<String> = orders.iter().map(Value::to_string).collect();
    let mut stdin = child.stdin.take().expect("it is piped");
    let writing = std::thread::spawn(move || {
        use std::io::Write as _;
        stdin.write_all((lines.join("\n") + "\n").as_bytes())
    });
    let output = child.wait_with_output().expect("it was started");
    assert!(
        output.status.success(),
        "{}; its message is above, and for a missing package: {INSTALL}",
        output.status
    );
    writing
        .join()
        .expect("it does not panic")
        .expect("it takes orders");
    let answers = String::from_utf8(output.stdout).expect("it writes JSON");
    let of_line = |line| serde_json::from_str(line).expect("each line is JSON");
    answers.lines().map(of_line).collect()
}

#[test]
fn addresses_are_cloudflares_but_for_named_differences() {
    let asked = TREES.map(addresses);
    let orders: Vec<Value> = TREES
        .iter()
        .zip(&asked)
        .map(|(files, addresses)| json!({ "files": files, "addresses": addresses }))
        .collect();
    let theirs = cloudflares(&orders);
    assert_eq!(theirs.len(), TREES.len(), "each tree has answers");
    let mut sites = Sites::new();
    let mut met = vec![0; DIFFERENCES.len()];
    let mut unexplained = Vec::new();
    let mut same = 0;
    for ((files, addresses), theirs) in TREES.into_iter().zip(asked).zip(theirs) {
        let ours = sites.answers(files, &addresses);
        assert_eq!(ours.len(), theirs.len(), "each address has answers");
        for ((address, ours), theirs) in addresses.into_iter().zip(ours).zip(theirs) {
            let case = Case {
                files,
                address,
                ours,
                theirs,
            };
            if case.ours == case.theirs {
                same += 1;
            } else if let Some(place) = DIFFERENCES.iter().position(|known| (known.holds)(&case)) {
                met[place] += 1;
            } else {
                unexplained.push(format!("{case:?}"));
            }
        }
    }
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
    for (known, met) in DIFFERENCES.iter().zip(met) {
        assert!(met > 0, "no address shows any more that: {}", known.name);
    }
    assert!(same > 150, "only {same} answers are the same");
}

/// What hosts do with a slash at the end, for `file.html`, `folder/index.html`, `both.html` and
/// `both/index.html`, as the trailing slash guide has it (slorber/trailing-slash-guide): an address, what
/// Netlify and GitHub Pages answer, and what this server does.
const SLASHES: [(&str, &str, &str, &str); 10] = [
    ("/file", "200", "200", "200 file.html"),
    ("/file/", "to /file", "404", "308 /file"),
    ("/file.html", "200", "200", "200 file.html"),
    ("/folder", "to /folder/", "to /folder/", "308 /folder/"),
    ("/folder/", "200", "200", "200 folder/index.html"),
    ("/folder/index.html", "200", "200", "200 folder/index.html"),
    ("/both", "200", "200", "200 both.html"),
    ("/both/", "to /both", "200", "200 both/index.html"),
    ("/both.html", "200", "200", "200 both.html"),
    ("/both/index.html", "200", "200", "200 both/index.html"),
];

/// Where this server does otherwise: of two pages each has its own address, and a slash too much is no
/// reason to find nothing.
const OTHERWISE: [(&str, &str); 2] = [("Netlify", "/both/"), ("GitHub Pages", "/file/")];

#[test]
fn slashes_at_the_end_are_as_on_other_hosts() {
    let files = [
        "file.html",
        "folder/index.html",
        "both.html",
        "both/index.html",
    ];
    let addresses = SLASHES.map(|(address, ..)| address.to_owned());
    let answers = Sites::new().answers(&files, &addresses);
    for ((address, netlify, github, expected), ours) in SLASHES.into_iter().zip(answers) {
        assert_eq!(ours, expected, "{address}");
        let shape = match ours.split_once(' ') {
            Some(("308", location)) => format!("to {location}"),
            Some((status, _)) => status.to_owned(),
            None => ours,
        };
        for (host, theirs) in [("Netlify", netlify), ("GitHub Pages", github)] {
            let is_otherwise = OTHERWISE.contains(&(host, address));
            assert_eq!(shape != theirs, is_otherwise, "{host} {address}");
        }
    }
}
