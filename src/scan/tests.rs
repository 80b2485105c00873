//! The scanner on real folders.

use std::{
    fs::{self, FileTimes, OpenOptions},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
    },
    time::{Duration, UNIX_EPOCH},
};

use onsave_protocol::{FileEntry, Sha256Digest, site_path::SitePathError};
use proptest::prelude::*;

use super::*;

const NFC: &str = "bl\u{e5}.html";
const NFD: &str = "bla\u{30a}.html";

/// A site folder of its own, with a scanner.
struct Site {
    home: tempfile::TempDir,
    scanner: Scanner,
}

impl Site {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("deploy")).unwrap();
        let scanner = scanner(home.path());
        Self { home, scanner }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join("deploy").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, target: &str, name: &str) {
        symlink(target, self.path(name)).unwrap();
    }

    fn scan(&mut self, dirty: &Dirty) -> ScanOutcome {
        match self.scanner.scan(dirty, now()).unwrap() {
            Scan::Done(outcome) => outcome,
            Scan::Absent => panic!("the site folder is there"),
        }
    }

    fn scan_paths(&mut self, names: &[&str]) -> ScanOutcome {
        self.scan(&paths(names))
    }

    fn scan_all(&mut self) -> ScanOutcome {
        self.scan(&Dirty::Everything)
    }

    fn published(&self) -> Vec<&str> {
        let paths = self.scanner.manifest.iter();
        paths.map(|(path, _)| path.as_str()).collect()
    }

    fn digest(&self, name: &str) -> Option<Sha256Digest> {
        self.scanner.manifest.get(name).map(|entry| entry.digest)
    }

    /// Forgets nothing, but looks at the disk with fresh eyes and compares.
    fn assert_is_what_a_whole_scan_finds(&self) {
        let state = self.home.path().join("other-state");
        let folder = SiteFolder::new(self.path(""));
        let mut fresh = Scanner::new(folder, state, Arc::default());
        assert!(matches!(
            fresh.scan(&Dirty::Everything, now()),
            Ok(Scan::Done(_))
        ));
        assert_eq!(fresh.manifest, self.scanner.manifest);
        let sorted = |scanner: &Scanner| {
            let mut texts: Vec<_> = scanner.warnings().iter().map(ToString::to_string).collect();
            texts.sort();
            texts
        };
        assert_eq!(sorted(&fresh), sorted(&self.scanner));
    }
}

fn scanner(home: &Path) -> Scanner {
    let folder = SiteFolder::new(home.join("deploy"));
    Scanner::new(folder, home.join("state"), Arc::default())
}

fn paths(names: &[&str]) -> Dirty {
    Dirty::Paths(names.iter().map(PathBuf::from).collect())
}

fn now() -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "file times are compared with it")]
    SystemTime::now()
}

/// A moment at which nothing written by now is racy any more.
fn later() -> SystemTime {
    now() + Duration::from_mins(1)
}

fn touched(outcome: &ScanOutcome) -> Vec<&str> {
    outcome.touched.iter().map(SitePath::as_str).collect()
}

#[test]
fn a_whole_scan_finds_every_file() {
    let mut site = Site::new();
    site.write("index.html", "home");
    site.write("a/b/c/d.html", "deep");
    site.write(".well-known/security.txt", "x");
    site.write(".hidden/x", "x");
    site.write("index.html~", "x");
    site.write(".gitignore", "*");
    site.write("empty", "");
    fs::create_dir(site.path("no-files")).unwrap();
    let outcome = site.scan_all();
    assert_eq!(
        site.published(),
        [
            ".well-known/security.txt",
            "a/b/c/d.html",
            "empty",
            "index.html"
        ]
    );
    assert_eq!(touched(&outcome), site.published());
    assert_eq!(site.digest("index.html"), Some(Sha256Digest::of(b"home")));
    assert_eq!(outcome.counts.files_hashed, 4);
    assert_eq!(outcome.counts.bytes_hashed, 9);
    assert_eq!(site.scanner.warnings(), []);
}

#[test]
fn many_files_are_found_by_all_threads() {
    let mut site = Site::new();
    site.scanner.threads = NonZeroUsize::new(4).unwrap();
    for n in 0..400 {
        site.write(
            &format!("section-{}/post-{n}/index.html", n % 7),
            &n.to_string(),
        );
        site.write(&format!("flat/{n}.html"), &n.to_string());
    }
    assert_eq!(site.scan_all().counts.files_hashed, 800);
    assert_eq!(site.published().len(), 800);
    let expected = Some(Sha256Digest::of(b"399"));
    assert_eq!(site.digest("flat/399.html"), expected);
}

#[test]
fn a_save_costs_one_file() {
    let mut site = Site::new();
    for n in 0..50 {
        site.write(&format!("p{n}.html"), "page");
    }
    site.scan_all();
    site.write("p7.html", "edited");
    let outcome = site.scan_paths(&["p7.html"]);
    assert_eq!(touched(&outcome), ["p7.html"]);
    let counts = ScanCounts {
        files_seen: 1,
        files_hashed: 1,
        bytes_hashed: 6,
    };
    assert_eq!(outcome.counts, counts);
    site.assert_is_what_a_whole_scan_finds();
}

#[test]
fn a_new_tree_is_hashed_once_however_many_events_name_it() {
    let mut site = Site::new();
    site.scan_all();
    for name in ["d/a", "d/b/c", "d-e", "d/b/f/g"] {
        site.write(name, "x");
    }
    let outcome = site.scan_paths(&["d", "d/a", "d/b", "d/b/c", "d-e", "d/b/f", "d/b/f/g"]);
    assert_eq!(site.published(), ["d-e", "d/a", "d/b/c", "d/b/f/g"]);
    assert_eq!(outcome.counts.files_hashed, 4);
}

#[test]
fn unchanged_files_are_not_hashed_again() {
    let mut site = Site::new();
    site.write("a", "a");
    site.write("b", "b");
    assert!(matches!(
        site.scanner.scan(&Dirty::Everything, later()),
        Ok(Scan::Done(_))
    ));
    let outcome = site.scan_all();
    assert_eq!(
        (outcome.counts.files_seen, outcome.counts.files_hashed),
        (2, 0)
    );
    assert!(outcome.touched.is_empty());
}

#[test]
fn an_equal_size_save_within_one_tick_is_found() {
    let mut site = Site::new();
    site.write("a", "one");
    let file = OpenOptions::new().write(true).open(site.path("a")).unwrap();
    let metadata = file.metadata().unwrap();
    // The scan sees the file in the tick in which it was written.
    let tick = UNIX_EPOCH + Duration::from_secs(u64::try_from(metadata.ctime()).unwrap());
    assert!(matches!(
        site.scanner.scan(&Dirty::Everything, tick),
        Ok(Scan::Done(_))
    ));
    fs::write(site.path("a"), "two").unwrap();
    file.set_times(FileTimes::new().set_modified(metadata.modified().unwrap()))
        .unwrap();
    // As if the change time, which cannot be set, were of the same tick too.
    assert_eq!(
        site.scanner.index.get("a").unwrap().1.stamp,
        stat_index::Stamp::never()
    );
    let outcome = site.scan_paths(&["a"]);
    assert_eq!(touched(&outcome), ["a"]);
    assert_eq!(site.digest("a"), Some(Sha256Digest::of(b"two")));
}

#[test]
fn a_save_that_puts_its_old_time_back_is_found() {
    let mut site = Site::new();
    site.write("a", "one");
    let file = OpenOptions::new().write(true).open(site.path("a")).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    assert!(matches!(
        site.scanner.scan(&Dirty::Everything, later()),
        Ok(Scan::Done(_))
    ));
    assert_ne!(
        site.scanner.index.get("a").unwrap().1.stamp,
        stat_index::Stamp::never()
    );
    let before = fs::metadata(site.path("a")).unwrap();
    loop {
        // Until the file system's clock has ticked, so that the change time differs.
        fs::write(site.path("a"), "two").unwrap();
        file.set_times(FileTimes::new().set_modified(modified))
            .unwrap();
        let after = fs::metadata(site.path("a")).unwrap();
        if (after.ctime(), after.ctime_nsec()) != (before.ctime(), before.ctime_nsec()) {
            break;
        }
    }
    assert_eq!(touched(&site.scan_all()), ["a"]);
}

#[test]
fn useless_times_do_no_harm() {
    let mut site = Site::new();
    site.write("a", "one");
    let set = |time| {
        let file = OpenOptions::new().write(true).open(site.path("a")).unwrap();
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
    };
    set(UNIX_EPOCH);
    let mut scanner = scanner(site.home.path());
    assert!(matches!(
        scanner.scan(&Dirty::Everything, later()),
        Ok(Scan::Done(_))
    ));
    site.write("a", "two");
    let file = OpenOptions::new().write(true).open(site.path("a")).unwrap();
    file.set_times(FileTimes::new().set_modified(UNIX_EPOCH))
        .unwrap();
    site.scanner = scanner;
    assert_eq!(touched(&site.scan_all()), ["a"]);
}

#[test]
fn removed_files_and_folders_are_dropped() {
    let mut site = Site::new();
    for name in ["a", "a-b", "d/x", "d/y/z", "d.html", "e"] {
        site.write(name, name);
    }
    site.scan_all();
    fs::remove_dir_all(site.path("d")).unwrap();
    fs::remove_file(site.path("a")).unwrap();
    let outcome = site.scan_paths(&["d", "a"]);
    assert_eq!(touched(&outcome), ["a", "d/x", "d/y/z"]);
    assert_eq!(site.published(), ["a-b", "d.html", "e"]);
    assert!(site.scan_paths(&["d/x", "never/was"]).touched.is_empty());
    site.assert_is_what_a_whole_scan_finds();
}

#[test]
fn a_file_becomes_a_folder_and_back() {
    let mut site = Site::new();
    site.write("docs", "file");
    site.scan_all();
    fs::remove_file(site.path("docs")).unwrap();
    site.write("docs/index.html", "in a folder");
    let outcome = site.scan_paths(&["docs"]);
    assert_eq!(touched(&outcome), ["docs", "docs/index.html"]);
    assert_eq!(site.published(), ["docs/index.html"]);
    fs::remove_dir_all(site.path("docs")).unwrap();
    site.write("docs", "file");
    site.scan_paths(&["docs/index.html", "docs"]);
    assert_eq!(site.published(), ["docs"]);
    assert_eq!(site.scanner.manifest.check_tree(), Ok(()));
    site.assert_is_what_a_whole_scan_finds();
}

#[test]
fn a_folder_that_moved_in_is_found_by_its_name_alone() {
    let mut site = Site::new();
    site.scan_all();
    fs::create_dir_all(site.home.path().join("away/x/y")).unwrap();
    fs::write(site.home.path().join("away/x/y/z.html"), "z").unwrap();
    fs::rename(site.home.path().join("away"), site.path("here")).unwrap();
    site.scan_paths(&["here"]);
    assert_eq!(site.published(), ["here/x/y/z.html"]);
    fs::rename(site.path("here"), site.path("there")).unwrap();
    let outcome = site.scan_paths(&["here", "there"]);
    assert_eq!(touched(&outcome), ["here/x/y/z.html", "there/x/y/z.html"]);
    site.assert_is_what_a_whole_scan_finds();
}

#[test]
fn a_vanished_site_folder_is_no_empty_site() {
    let mut site = Site::new();
    site.write("a", "a");
    site.scan_all();
    fs::rename(site.path(""), site.home.path().join("gone")).unwrap();
    for dirty in [Dirty::Everything, paths(&["a"])] {
        assert!(matches!(site.scanner.scan(&dirty, now()), Ok(Scan::Absent)));
        assert_eq!(site.published(), ["a"]);
    }
    fs::create_dir(site.path("")).unwrap();
    site.write("b", "b");
    // Another folder: the narrow scan widens by itself.
    let outcome = site.scan_paths(&["b"]);
    assert_eq!(touched(&outcome), ["a", "b"]);
    fs::remove_dir_all(site.path("")).unwrap();
    fs::write(site.home.path().join("deploy"), "a file").unwrap();
    let failed = site.scanner.scan(&Dirty::Everything, now());
    assert!(matches!(failed, Err(ScanError::Folder { .. })));
}

#[test]
fn a_site_folder_may_be_a_symlink_that_is_pointed_elsewhere() {
    let mut site = Site::new();
    let home = site.home.path().to_owned();
    for (folder, text) in [("one", "1"), ("two", "2")] {
        fs::create_dir(home.join(folder)).unwrap();
        fs::write(home.join(folder).join("index.html"), text).unwrap();
    }
    fs::remove_dir(home.join("deploy")).unwrap();
    symlink("one", home.join("deploy")).unwrap();
    site.scan_all();
    assert_eq!(site.digest("index.html"), Some(Sha256Digest::of(b"1")));
    fs::remove_file(home.join("deploy")).unwrap();
    symlink("two", home.join("deploy")).unwrap();
    let outcome = site.scan_paths(&["unrelated"]);
    assert_eq!(touched(&outcome), ["index.html"]);
    assert_eq!(site.digest("index.html"), Some(Sha256Digest::of(b"2")));
}

#[test]
fn the_index_survives_a_restart() {
    let mut site = Site::new();
    site.write("a", "a");
    site.write("b,c \"d\".html", "b");
    assert!(matches!(
        site.scanner.scan(&Dirty::Everything, later()),
        Ok(Scan::Done(_))
    ));
    site.scanner.keep_index().unwrap();
    site.scanner = scanner(site.home.path());
    assert!(
        site.published().is_empty(),
        "nothing is taken as there before it was seen"
    );
    fs::remove_file(site.path("a")).unwrap();
    let outcome = site.scan_all();
    assert_eq!(outcome.counts.files_hashed, 0);
    assert_eq!(site.published(), ["b,c \"d\".html"]);
    site.scanner.keep_index().unwrap();
    let kept = index_file::path(
        &site.home.path().join("state"),
        &site.path("").canonicalize().unwrap(),
    );
    let written = fs::metadata(&kept).unwrap().ino();
    site.scan_all();
    site.scanner.keep_index().unwrap();
    assert_eq!(
        fs::metadata(&kept).unwrap().ino(),
        written,
        "not written when nothing changed"
    );
}

#[test]
fn the_index_survives_a_restart_beside_a_rule_file_too() {
    let mut site = Site::new();
    site.write("a", "a");
    site.write(".onsaveignore", "*.map\n");
    site.scanner.scan(&Dirty::Everything, later()).unwrap();
    site.scanner.keep_index().unwrap();
    site.scanner = scanner(site.home.path());
    assert_eq!(site.scan_all().counts.files_hashed, 0);
}

#[test]
fn rule_files_apply_when_they_appear_change_and_go() {
    let mut site = Site::new();
    for name in ["x.map", "a/x.map", "a/x.html", ".nojekyll"] {
        site.write(name, "x");
    }
    site.scan_all();
    assert_eq!(site.published(), ["a/x.html", "a/x.map", "x.map"]);
    site.write(".onsaveignore", "*.map\n!.nojekyll\n");
    let outcome = site.scan_paths(&[".onsaveignore"]);
    assert_eq!(touched(&outcome), [".nojekyll", "a/x.map", "x.map"]);
    assert_eq!(site.published(), [".nojekyll", "a/x.html"]);
    assert!(
        site.scanner
            .rules
            .current()
            .leaves_out("y.map", crate::ignore_rules::EntryKind::File)
    );
    site.write("a/.onsaveignore", "!x.map\nx.html\n");
    site.scan_paths(&["a/.onsaveignore"]);
    assert_eq!(site.published(), [".nojekyll", "a/x.map"]);
    site.assert_is_what_a_whole_scan_finds();
    fs::remove_dir_all(site.path("a")).unwrap();
    site.scan_paths(&["a"]);
    site.write("a/x.html", "x");
    site.scan_paths(&["a"]);
    assert_eq!(site.published(), [".nojekyll", "a/x.html"]);
    fs::remove_file(site.path(".onsaveignore")).unwrap();
    site.scan_paths(&[".onsaveignore"]);
    assert_eq!(site.published(), ["a/x.html", "x.map"]);
}

#[test]
fn a_rule_file_that_moves_in_with_its_folder_applies() {
    let mut site = Site::new();
    site.scan_all();
    site.write("new/.onsaveignore", "x\nnot/\n{bad\n");
    site.write("new/x", "x");
    site.write("new/not/y", "y");
    site.write("new/z", "z");
    let outcome = site.scan_paths(&["new"]);
    assert_eq!(site.published(), ["new/z"]);
    let texts: Vec<_> = outcome
        .new_warnings
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(texts.len(), 1);
    assert!(
        texts[0].starts_with("line 3 of new/.onsaveignore is not"),
        "{texts:?}"
    );
}

#[test]
fn secrets_are_left_out_and_cannot_be_forced() {
    let mut site = Site::new();
    let key = "-----BEGIN PRIVATE KEY-----\nMC4\n";
    site.write(".env", "TOKEN=1");
    site.write("a/.env.production", "TOKEN=1");
    site.write("server.pem", key);
    site.write("notes.txt", key);
    site.write("public.pem", "-----BEGIN CERTIFICATE-----\n");
    site.write(".npmrc", "token");
    site.write(".onsaveignore", "!.env\n!server.pem\n.npmrc\n");
    site.link("server.pem", "cert.txt");
    let outcome = site.scan_all();
    assert_eq!(site.published(), ["public.pem"]);
    let secret = |name: &str| ScanWarning::LooksSecret(name.into());
    let names = [
        ".env",
        "a/.env.production",
        "cert.txt",
        "notes.txt",
        "server.pem",
    ];
    assert_eq!(outcome.new_warnings, names.map(secret));
    site.write("notes.txt", "no key any more");
    let outcome = site.scan_paths(&["notes.txt"]);
    assert_eq!(outcome.new_warnings, []);
    assert_eq!(site.scanner.warnings().len(), 4);
    assert_eq!(site.published(), ["notes.txt", "public.pem"]);
    site.write("notes.txt", key);
    let outcome = site.scan_paths(&["notes.txt"]);
    assert_eq!(outcome.new_warnings, [secret("notes.txt")]);
    assert_eq!(site.published(), ["public.pem"]);
}

#[test]
fn odd_names_are_left_out_with_a_warning() {
    let mut site = Site::new();
    site.write("back\\slash", "x");
    site.write("con\ntrol/x", "x");
    site.write("good", "x");
    let odd = site
        .path("")
        .join(std::ffi::OsStr::from_bytes(b"odd\xff.html"));
    fs::write(&odd, "x").unwrap();
    let outcome = site.scan_all();
    assert_eq!(site.published(), ["good"]);
    let unpublishable = |path: &str, problem| ScanWarning::Unpublishable {
        path: path.into(),
        problem,
    };
    let not_utf8 = ScanWarning::NotUtf8(odd.file_name().unwrap().into());
    assert_eq!(
        outcome.new_warnings,
        [
            unpublishable("back\\slash", SitePathError::Backslash),
            unpublishable("con\ntrol", SitePathError::ControlCharacter),
            not_utf8.clone(),
        ]
    );
    fs::remove_file(&odd).unwrap();
    site.scan(&Dirty::Paths([not_utf8.path().to_owned()].into()));
    assert_eq!(site.scanner.warnings().len(), 2);
}

#[test]
fn what_no_visitor_could_reach_is_left_out_with_a_warning() {
    let mut site = Site::new();
    site.write("_icd/health", "x");
    site.write("_icdx/index.html", "x");
    let outcome = site.scan_all();
    assert_eq!(site.published(), ["_icdx/index.html"]);
    assert_eq!(outcome.new_warnings, [ScanWarning::Reserved("_icd".into())]);
}

#[test]
fn pipes_are_left_out_with_a_warning() {
    let mut site = Site::new();
    let mode = rustix::fs::Mode::from(0o600);
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, site.path("pipe"), fifo, mode, 0).unwrap();
    let outcome = site.scan_all();
    assert_eq!(outcome.new_warnings, [ScanWarning::Special("pipe".into())]);
}

#[test]
fn unreadable_files_are_left_out_with_a_warning() {
    let mut site = Site::new();
    site.write("closed", "x");
    site.write("folder/x", "x");
    site.write("open", "x");
    let mode = |name: &str, bits| {
        fs::set_permissions(site.path(name), fs::Permissions::from_mode(bits)).unwrap();
    };
    mode("closed", 0o000);
    mode("folder", 0o000);
    // Whoever may read everything sees no difference.
    let all_powerful = fs::read(site.path("closed")).is_ok();
    let outcome = {
        let result = site.scanner.scan(&Dirty::Everything, now()).unwrap();
        let Scan::Done(outcome) = result else {
            panic!()
        };
        outcome
    };
    if all_powerful {
        assert_eq!(site.published().len(), 3);
    } else {
        assert_eq!(site.published(), ["open"]);
        let unreadable = |name: &str| ScanWarning::Unreadable(name.into());
        assert_eq!(
            outcome.new_warnings,
            [unreadable("closed"), unreadable("folder")]
        );
    }
    fs::set_permissions(site.path("closed"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(site.path("folder"), fs::Permissions::from_mode(0o755)).unwrap();
    site.scan_paths(&["closed", "folder"]);
    assert_eq!(site.published(), ["closed", "folder/x", "open"]);
    assert_eq!(site.scanner.warnings(), []);
}

#[test]
fn names_are_composed_and_found_again() {
    let mut site = Site::new();
    site.write(NFD, "decomposed");
    site.scan_all();
    assert_eq!(site.published(), [NFC]);
    let path = SitePath::parse(NFC).unwrap();
    let local = site.scanner.local_file(&path).unwrap();
    assert_eq!(local.file_name().unwrap(), NFD);
    let entry = *site.scanner.manifest.get(NFC).unwrap();
    assert_eq!(read_checked(&local, &entry).unwrap(), b"decomposed");
    site.write(NFD, "edited");
    assert_eq!(touched(&site.scan_paths(&[NFD])), [NFC]);
    assert_eq!(site.scanner.warnings(), []);
}

#[test]
fn of_two_normal_forms_the_composed_one_is_published() {
    let mut site = Site::new();
    site.write(NFD, "decomposed");
    site.scan_all();
    site.write(NFC, "composed");
    let outcome = site.scan_paths(&[NFC]);
    assert_eq!(touched(&outcome), [NFC]);
    assert_eq!(site.digest(NFC), Some(Sha256Digest::of(b"composed")));
    assert!(matches!(
        outcome.new_warnings[..],
        [ScanWarning::Collision(_)]
    ));
    site.assert_is_what_a_whole_scan_finds();
    fs::remove_file(site.path(NFC)).unwrap();
    site.scan_paths(&[NFC]);
    assert_eq!(site.digest(NFC), Some(Sha256Digest::of(b"decomposed")));
    site.assert_is_what_a_whole_scan_finds();
}

#[test]
fn names_that_differ_in_case_are_published_with_a_warning() {
    let mut site = Site::new();
    site.write("A.html", "A");
    site.scan_all();
    site.write("a.html", "a");
    let outcome = site.scan_paths(&["a.html"]);
    assert_eq!(site.published(), ["A.html", "a.html"]);
    assert!(matches!(
        outcome.new_warnings[..],
        [ScanWarning::Collision(_)]
    ));
    // A rename that changes only the case is two paths, one removed and one put.
    fs::rename(site.path("A.html"), site.path("B.html")).unwrap();
    site.scan_paths(&["A.html", "B.html"]);
    assert_eq!(site.published(), ["B.html", "a.html"]);
    assert_eq!(site.scanner.warnings(), []);
}

#[test]
fn symlinks_are_followed_within_the_site_folder() {
    let mut site = Site::new();
    site.write("a/x.html", "x");
    site.link("a", "b");
    site.link("a/x.html", "c.html");
    site.link("../b", "a/loop");
    site.link("/etc/hostname", "out");
    site.link("..", "up");
    site.link(".", "self");
    site.link("nowhere", "dangling");
    site.link(".hidden", "shown");
    site.write(".hidden/y", "y");
    site.link("me", "me");
    site.link("user@host.1234", ".#lock");
    site.scan_all();
    assert_eq!(site.published(), ["a/x.html", "b/x.html", "c.html"]);
    let problems: Vec<_> = site
        .scanner
        .warnings()
        .into_iter()
        .map(|warning| match warning {
            ScanWarning::Link { path, problem } => (path.display().to_string(), problem),
            other => panic!("{other}"),
        })
        .collect();
    let expected = [
        ("a/loop", LinkProblem::Loop),
        ("b/loop", LinkProblem::Loop),
        ("dangling", LinkProblem::Dangling),
        ("me", LinkProblem::Loop),
        ("out", LinkProblem::Outside),
        ("self", LinkProblem::Loop),
        ("shown", LinkProblem::Ignored),
        ("up", LinkProblem::Outside),
    ];
    assert_eq!(
        problems,
        expected.map(|(path, problem)| (path.to_owned(), problem))
    );
}

#[test]
fn links_that_fan_out_end() {
    let mut site = Site::new();
    for n in 0..6 {
        site.write(&format!("d{n}/x"), "x");
        for m in 0..6 {
            site.link(&format!("../d{m}"), &format!("d{n}/to{m}"));
        }
    }
    site.scan_all();
    let deep = site
        .published()
        .iter()
        .map(|path| path.split('/').count())
        .max();
    assert!(deep <= Some(6), "{deep:?}");
}

#[test]
fn a_change_is_seen_through_symlinks() {
    let mut site = Site::new();
    site.write("a/x.html", "x");
    site.link("a", "b");
    site.link("later.html", "soon.html");
    site.scan_all();
    site.write("a/x.html", "edited");
    assert_eq!(
        touched(&site.scan_paths(&["a/x.html"])),
        ["a/x.html", "b/x.html"]
    );
    site.write("a/new.html", "new");
    site.scan_paths(&["a/new.html"]);
    site.write("later.html", "now");
    assert_eq!(
        touched(&site.scan_paths(&["later.html"])),
        ["later.html", "soon.html"]
    );
    site.assert_is_what_a_whole_scan_finds();
    fs::remove_dir_all(site.path("a")).unwrap();
    site.scan_paths(&["a"]);
    assert_eq!(site.published(), ["later.html", "soon.html"]);
    site.assert_is_what_a_whole_scan_finds();
    fs::remove_file(site.path("b")).unwrap();
    site.write("b/y", "a folder now");
    site.scan_paths(&["b"]);
    assert_eq!(site.published(), ["b/y", "later.html", "soon.html"]);
}

#[test]
fn a_failed_scan_changes_nothing() {
    let mut site = Site::new();
    site.write("a", "a");
    site.scan_all();
    site.write("a", "other");
    // A rule file that is there but cannot be read, since it is longer than a name may be.
    let before = site.scanner.manifest.clone();
    site.scanner.folder = SiteFolder::new(site.path(&"x".repeat(300)));
    assert!(matches!(
        site.scanner.scan(&paths(&["a"]), now()),
        Err(ScanError::Folder { .. })
    ));
    assert_eq!(site.scanner.manifest, before);
}

#[test]
fn unstable_files_keep_their_entry() {
    let mut site = Site::new();
    site.write("a", "a");
    site.write("b", "b");
    site.scan_all();
    let unstable = || {
        let mut seen = Sightings::default();
        seen.unstable = ["a", "new"]
            .map(|name| SitePath::parse(name).unwrap())
            .into();
        seen
    };
    let dirty: BTreeSet<PathBuf> = ["a".into(), "b".into(), "new".into()].into();
    let outcome = site.scanner.apply_paths(&dirty, unstable());
    assert_eq!(outcome.unstable, ["a".into(), "new".into()].into());
    assert_eq!(site.published(), ["a"]);
    let outcome = site.scanner.apply_whole(unstable());
    assert_eq!(outcome.unstable, ["a".into(), "new".into()].into());
    assert_eq!(site.published(), ["a"]);
    assert_eq!(site.digest("a"), Some(Sha256Digest::of(b"a")));
}

/// What a person may do to the folder.
#[derive(Debug, Clone)]
enum Edit {
    Write(String, u8),
    Remove(String),
    Rename(String, String),
    Link(String, String),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let name = || "[ab](/[aAb\u{e5}]){0,2}|a/\\.onsaveignore|ba\u{30a}|b\u{e5}";
    let edit = prop_oneof![
        4 => (name(), 0_u8..3).prop_map(|(path, content)| Edit::Write(path, content)),
        2 => name().prop_map(Edit::Remove),
        2 => (name(), name()).prop_map(|(from, to)| Edit::Rename(from, to)),
        1 => (name(), name()).prop_map(|(path, target)| Edit::Link(path, target)),
    ];
    prop::collection::vec(edit, 1..12)
}

/// Does the edit, if it can be done, and returns the paths that its events would name: where
/// things really are, not the symlinks on the way.
fn perform(site: &Site, edit: &Edit) -> Vec<PathBuf> {
    let root = site.path("").canonicalize().unwrap();
    let inside = |path: &Path| path.strip_prefix(&root).unwrap().to_owned();
    let entry = |name: &str| {
        let path = site.path(name);
        let folder = path.parent()?.canonicalize().ok()?;
        Some(inside(&folder.join(path.file_name()?)))
    };
    match edit {
        Edit::Write(name, content) => {
            let path = site.path(name);
            let text = ["", "a\n", "b\n"][usize::from(*content)];
            let folder = path.parent().unwrap();
            // A folder that was made on the way has its own event, as has the file itself.
            let made = fs::create_dir_all(folder).and_then(|()| folder.canonicalize());
            let wrote = fs::write(&path, text).and_then(|()| path.canonicalize());
            let real = [made, wrote].into_iter().flatten();
            real.map(|path| inside(&path))
                .filter(|path| !path.as_os_str().is_empty())
                .collect()
        }
        Edit::Remove(name) => {
            let path = site.path(name);
            let removed = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
            removed
                .ok()
                .and_then(|()| entry(name))
                .into_iter()
                .collect()
        }
        Edit::Rename(from, to) => {
            let before = entry(from);
            match fs::rename(site.path(from), site.path(to)) {
                Ok(()) => before.into_iter().chain(entry(to)).collect(),
                Err(_) => Vec::new(),
            }
        }
        Edit::Link(name, target) => match symlink(site.path(target), site.path(name)) {
            Ok(()) => entry(name).into_iter().collect(),
            Err(_) => Vec::new(),
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn narrow_scans_find_what_a_whole_scan_finds(batches in prop::collection::vec(edits(), 1..4)) {
        let mut site = Site::new();
        site.scan_all();
        for batch in batches {
            let before = site.scanner.manifest.clone();
            let mut dirty = BTreeSet::new();
            for edit in &batch {
                dirty.extend(perform(&site, edit));
            }
            let outcome = site.scan(&Dirty::Paths(dirty));
            site.assert_is_what_a_whole_scan_finds();
            let changes = diff(&before, &site.scanner.manifest);
            let expected: BTreeSet<_> = changes.puts.into_keys().chain(changes.removes).collect();
            prop_assert_eq!(outcome.touched, expected);
            prop_assert_eq!(site.scanner.manifest.check_tree(), Ok(()));
        }
    }
}

#[test]
fn memory_of_an_entry_is_small() {
    let a_file =
        size_of::<SitePath>() * 2 + size_of::<stat_index::Indexed>() + size_of::<FileEntry>();
    assert!(a_file <= 160, "{a_file}");
}

#[test]
fn lines_of_the_site_rules_that_do_not_count_are_told() {
    let mut site = Site::new();
    site.write("index.html", "x");
    site.write(
        "_redirects",
        "/old /new\n/a /b 999\n/c https://example.com/ 200\n",
    );
    let told = |outcome: &ScanOutcome| -> Vec<String> {
        outcome
            .new_warnings
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    let first = told(&site.scan_all());
    assert_eq!(first.len(), 2, "{first:?}");
    assert!(first[0].starts_with("_redirects:2: "), "{first:?}");
    assert!(first[1].starts_with("_redirects:3: "), "{first:?}");
    // Nothing new to say of a file that did not change.
    site.write("index.html", "y");
    assert_eq!(told(&site.scan_paths(&["index.html"])), [""; 0]);
    site.write("_redirects", "/old /new\n");
    site.write("_headers", "/x\n  X-Good: 1\n  bad name: 1\n\u{1b}[2J: 1\n");
    let second = told(&site.scan_paths(&["_redirects", "_headers"]));
    assert!(second[0].starts_with("_headers:3: "), "{second:?}");
    assert!(second.iter().all(|text| !text.contains(char::is_control)));
    assert!(
        site.scanner
            .warnings()
            .iter()
            .all(|warning| warning.path() == Path::new("_headers"))
    );
    fs::remove_file(site.path("_headers")).unwrap();
    site.scan_paths(&["_headers"]);
    assert_eq!(site.scanner.warnings(), []);
}
