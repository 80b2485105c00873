//! The sections `[[after_publish]]`: the example of them, and their faults.

use super::*;

/// Returns the sections of the example that are written as comments.
fn commented_sections(example: &str, name: &str) -> String {
    let lines = example.lines().filter_map(|line| line.strip_prefix('#'));
    let lines = lines.map(|line| line.strip_prefix(' ').unwrap_or(line));
    let lines: Vec<_> = lines.collect();
    let header = format!("[[{name}]]");
    let begins = lines.iter().position(|line| *line == header).unwrap();
    let of_them = lines[begins..]
        .iter()
        .take_while(|line| line.is_empty() || **line == header || line.contains(" = "));
    of_them.copied().collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_of_after_publish_is_one() {
    let text = commented_sections(EXAMPLE, "after_publish");
    let desk = Desk::new()
        .file(&text)
        .variable("CONTENT_SYNC_SECRET", "s")
        .variable("FLY_API_TOKEN", "fo1_x");
    for name in ["cms-secret", "cloudflare-token", "fly-token"] {
        fs::write(desk.path(name), "s3cret\n").unwrap();
        fs::set_permissions(desk.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let loaded = desk.load().unwrap();
    let entries = &loaded.config.after_publish;
    let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
    let expected = [
        "cms",
        "content-sync",
        "cache-purge",
        "fly-restart",
        "command",
    ];
    assert_eq!(names, expected);
    for key in keys::AFTER_PUBLISH.keys {
        let is_shown = text.contains(&format!("{} = ", key.name));
        assert!(is_shown || key.name == "secret_credential", "{}", key.name);
        if let (true, Some(default)) = (
            ["attempts", "api_url", "format"].contains(&key.name),
            key.default,
        ) {
            let shown = [
                format!("{} = {default}", key.name),
                format!("{} = \"{default}\"", key.name),
            ];
            assert!(
                shown.iter().any(|shown| text.contains(shown)),
                "{}",
                key.name
            );
        }
    }
    assert!(entries[0].is_for("content/a.json") && !entries[0].is_for("content/drafts/a.json"));
    assert!(entries[1].is_for("anything"));
    assert!(!format!("{loaded:?}").contains("s3cret"));
    assert_eq!(loaded.config.secret_variables(), ["CONTENT_SYNC_SECRET"]);
}

/// Entries with a fault, and how the fault begins.
fn faulty_entries() -> Vec<(String, &'static str)> {
    let entry = |rest: &str| format!("[[after_publish]]\n{rest}\n");
    let urls = [
        (
            entry(""),
            "after_publish[1].kind (file /onsave.toml:1): is needed: \"webhook\"",
        ),
        (
            entry("kind = \"mail\""),
            "after_publish[1].kind = \"mail\" (file /onsave.toml:2): must be \"webhook\" or",
        ),
        (
            entry("kind = \"webhook\""),
            "after_publish[1].url (file /onsave.toml:1): is needed with this kind",
        ),
        (
            entry("kind = \"webhook\"\nurl = \"example.org\""),
            "after_publish[1].url = \"example.org\" (file /onsave.toml:3): must be a URL",
        ),
        (
            entry("kind = \"webhook\"\nurl = \"https://h//x\"\nsecret_env = \"BAD\""),
            "after_publish[1].secret (variable BAD): starts with whsec_",
        ),
        (
            entry("kind = \"webhook\"\nurl = \"https://a:b@h/\""),
            "after_publish[1].url = \"****\" (file /onsave.toml:3): must be a URL",
        ),
        (
            entry("kind = \"content-sync\"\nurl = \"https://h/x\""),
            "after_publish[1].secret_file (file /onsave.toml:1): the secret for x-sync-secret is needed",
        ),
        (
            entry(
                "kind = \"content-sync\"\nurl = \"https://h/x\"\nsecret_file = \"deploy/secret\"",
            ),
            "after_publish[1].secret_file = \"deploy/secret\" (file /onsave.toml:4): must not lie in the site folder",
        ),
        (
            entry("kind = \"command\"\ncommand = \"x\"\nzone = \"z\""),
            "after_publish[1].zone = \"z\" (file /onsave.toml:4): has no meaning where kind is \"command\"",
        ),
    ];
    let others = [
        (
            entry("kind = \"cache-purge\"\nzone = \"example.org\"\nsecret_env = \"S\""),
            "after_publish[1].zone = \"example.org\" (file /onsave.toml:3): must be the zone's id",
        ),
        (
            entry("kind = \"fly-restart\"\napp = \"web\""),
            "after_publish[1].secret_file (file /onsave.toml:1): a token of Fly.io is needed",
        ),
        (
            entry("kind = \"command\"\ncommand = \"x\"\npaths = [\"{a\"]"),
            "after_publish[1].paths = \"{a\" (file /onsave.toml:4): must be patterns as in .gitignore: ",
        ),
        (
            entry("kind = \"command\"\ncommand = \"x\"\nname = \"../x\""),
            "after_publish[1].name = \"../x\" (file /onsave.toml:4): must be 1 to 64 letters",
        ),
        (
            entry("kind = \"command\"\ncommand = \"x\"\nname = \"a\"")
                + &entry("kind = \"command\"\ncommand = \"x\"\nname = \"a\""),
            "after_publish[2].name = \"a\" (file /onsave.toml:8): is the name of another entry as well",
        ),
        (
            entry("kind = \"webhook\"\nurl = \"https://h/x\"\ntemplate = [\"a.json\"]"),
            "after_publish[1].template = \"a.json\" (file /onsave.toml:4): must be a path with {slug} in it",
        ),
    ];
    [&urls[..], &others[..]].concat()
}

#[test]
fn faults_of_after_publish_have_their_lines() {
    let faults = |text: &str| {
        let desk = Desk::new()
            .file(text)
            .variable("S", "s3cret")
            .variable("BAD", "whsec_ s3cret");
        fs::create_dir(desk.path("deploy")).unwrap();
        fs::write(desk.path("deploy/secret"), "s3cret").unwrap();
        fs::set_permissions(
            desk.path("deploy/secret"),
            fs::Permissions::from_mode(0o600),
        )
        .unwrap();
        let faults = desk.faults();
        assert!(!faults.join("").contains("s3cret"), "{faults:?}");
        faults
    };
    for (text, expected) in faulty_entries() {
        let faults = faults(&text);
        assert!(
            faults.iter().any(|fault| fault.starts_with(expected)),
            "{expected}: {faults:#?}"
        );
    }
}

#[test]
fn entries_without_a_name_are_numbered_around_those_that_have_one() {
    let one = "[[after_publish]]\nkind = \"command\"\ncommand = \"x\"\n";
    let with_name = format!("{one}name = \"command-2\"\n");
    let loaded = Desk::new()
        .file(&format!("{one}{with_name}{one}"))
        .load()
        .unwrap();
    let names: Vec<_> = loaded
        .config
        .after_publish
        .iter()
        .map(|entry| entry.name.as_str())
        .collect();
    assert_eq!(names, ["command", "command-2", "command-3"]);
    let webhook = "[[after_publish]]\nkind = \"webhook\"\nurl = \"https://h/x?y=1\"\n";
    let loaded = Desk::new().file(webhook).load().unwrap();
    assert!(
        loaded.warnings[0].starts_with("after_publish[1].secret_file is not set"),
        "{:?}",
        loaded.warnings
    );
    let AfterAction::Webhook(webhook) = &loaded.config.after_publish[0].action else {
        panic!("it is one");
    };
    assert_eq!(
        (webhook.url.origin.as_str(), webhook.url.target.as_str()),
        ("https://h", "/x?y=1")
    );
}

#[test]
fn a_secret_that_only_the_daemon_is_given_is_a_fault_for_the_daemon_alone() {
    let desk = Desk::new().file(
        "[[after_publish]]\nkind = \"content-sync\"\nurl = \"https://h/x\"\nsecret_env = \"NONE\"\n\
         [[after_publish]]\nkind = \"webhook\"\nurl = \"https://h/y\"\nsecret_credential = \"none\"\n",
    );
    let loaded = desk.load().unwrap();
    let entries = &loaded.config.after_publish;
    assert_eq!(entries.len(), 2);
    for entry in entries {
        assert!(matches!(entry.action, AfterAction::ByDaemon), "{entry:?}");
    }
    let error = load_for_daemon(&desk.surroundings, &desk.flags).unwrap_err();
    let folder = desk.surroundings.working_folder.display().to_string();
    let told: Vec<_> = error
        .faults
        .iter()
        .map(|fault| fault.to_string().replace(&folder, ""))
        .collect();
    assert_eq!(
        told,
        [
            "after_publish[1].secret (file /onsave.toml:4): is in the variable NONE, which this process \
             was not given",
            "after_publish[2].secret (file /onsave.toml:8): is in the credential none, which this process \
             was not given",
        ]
    );
}
