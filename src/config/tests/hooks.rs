//! The sections of the hooks: what each kind of sender needs, and what is refused.

use super::*;

/// A hook of each kind, with what it needs.
const HOOKS: &str = "build.command = \"x\"
[hooks]
listen = \"127.0.0.1:4748\"
[hooks.cms]
verify = \"sanity\"
secret_file = \".secret\"
[hooks.cms.fetch]
project = \"abc12def\"
query = \"*[_id == $id][0]\"
path = \"content/{_type}/{slug.current}.json\"
token_env = \"SANITY_TOKEN\"
[hooks.git]
verify = \"github\"
secret_env = \"GIT_SECRET\"
events = [\"push\", \"release\"]
action = \"publish\"
[hooks.other]
verify = \"standard-webhooks\"
secret_env = \"STANDARD_SECRET\"
[hooks.script]
verify = \"shared-secret\"
secret_env = \"GIT_SECRET\"
header = \"X-Mine\"
";

fn with_hooks(text: &str) -> Desk {
    let desk = Desk::new()
        .file(text)
        .variable("SANITY_TOKEN", "sk-hunter4")
        .variable("GIT_SECRET", "hunter2")
        .variable("STANDARD_SECRET", "whsec_AQIDBAUG");
    fs::write(desk.path(".secret"), "new-hunter\nold-hunter\n").unwrap();
    fs::set_permissions(desk.path(".secret"), fs::Permissions::from_mode(0o600)).unwrap();
    desk
}

#[test]
fn a_hook_says_who_sends_and_what_is_done() {
    let loaded = with_hooks(HOOKS).load().unwrap();
    let hooks = &loaded.config.hooks;
    assert_eq!(hooks.listen, "127.0.0.1:4748".parse().ok());
    let ids: Vec<_> = hooks.entries.iter().map(|hook| hook.id.as_str()).collect();
    assert_eq!(ids, ["cms", "git", "other", "script"]);
    let [cms, git, other, script] = &hooks.entries[..] else {
        panic!("four hooks");
    };
    assert_eq!(cms.verify, HookVerify::Sanity);
    assert_eq!(cms.action, HookAction::Build);
    let secrets: Vec<_> = cms
        .secrets
        .iter()
        .map(onsave_protocol::Secret::expose)
        .collect();
    assert_eq!(secrets, [&b"new-hunter"[..], b"old-hunter"]);
    let fetch = cms.fetch.as_ref().unwrap();
    assert_eq!(fetch.url, "https://abc12def.api.sanity.io");
    assert_eq!(fetch.dataset, "production");
    assert_eq!(fetch.token.as_ref().unwrap().expose(), b"sk-hunter4");
    assert_eq!(git.events, ["push", "release"]);
    assert_eq!(git.action, HookAction::Publish);
    assert_eq!(other.verify, HookVerify::StandardWebhooks);
    assert_eq!(script.verify, HookVerify::SharedSecret("x-mine".into()));
    let kept = hooks.secret_variables();
    for name in ["SANITY_TOKEN", "GIT_SECRET", "STANDARD_SECRET"] {
        assert!(kept.iter().any(|kept| kept == name), "{name}");
    }
    let told = format!("{loaded:?}");
    assert!(!told.contains("hunter"), "secrets are masked everywhere");
    let secret = setting(&loaded, "hooks.cms.fetch.token");
    assert_eq!(secret.value.to_string(), "****");
}

#[test]
fn a_hook_without_its_proof_is_a_fault() {
    for (from, to, fault) in [
        (
            "verify = \"sanity\"\n",
            "",
            "hooks.cms.verify (file /onsave.toml:4): is needed",
        ),
        ("\"sanity\"", "\"none\"", "hooks.cms.verify = \"none\""),
        (
            "secret_file = \".secret\"\n",
            "",
            "hooks.cms.secret_file (file /onsave.toml:4): is needed",
        ),
        (
            "\".secret\"",
            "\"deploy/s\"",
            "hooks.cms.secret (file /deploy/s): there is no such file",
        ),
        (
            "\".secret\"",
            "\"deploy/s\"",
            "hooks.cms.secret_file = \"deploy/s\"",
        ),
        (
            "STANDARD_SECRET",
            "GIT_SECRET",
            "hooks.other.secret (variable GIT_SECRET): must be base64",
        ),
        (
            "header = \"X-Mine\"",
            "header = \"X: Y\"",
            "hooks.script.header = \"X: Y\"",
        ),
        (
            "header = ",
            "events = [\"push\"]\nheader = ",
            "hooks.script.events = […]",
        ),
        (
            "events = ",
            "header = \"X-A\"\nevents = ",
            "hooks.git.header = \"X-A\"",
        ),
        ("[hooks.git]", "[hooks.Git]", "hooks.Git.verify"),
        ("[hooks.git]", "[hooks.outcomes]", "hooks.outcomes.verify"),
        ("build.command = \"x\"", "", "hooks.cms.fetch"),
    ] {
        let text = HOOKS.replacen(from, to, 1);
        assert_ne!(text, HOOKS);
        if fault == "hooks.cms.fetch" {
            // Without a build, publishing is what is left.
            let hooks = with_hooks(&text).load().unwrap().config.hooks;
            assert_eq!(hooks.entries[0].action, HookAction::Publish);
            continue;
        }
        let faults = with_hooks(&text).faults();
        assert!(
            faults.iter().any(|told| told.starts_with(fault)),
            "{fault}: {faults:?}"
        );
    }
    let text =
        "[hooks.a]\nverify = \"shared-secret\"\nsecret_env = \"GIT_SECRET\"\naction = \"build\"";
    assert!(with_hooks(text).faults()[0].contains("needs build.command"));
}

#[test]
fn what_is_fetched_has_a_place_and_a_query() {
    for (from, to, fault) in [
        (
            "project = \"abc12def\"\n",
            "",
            "hooks.cms.fetch.project (file /onsave.toml:4): is needed",
        ),
        (
            "query = \"*[_id == $id][0]\"\n",
            "",
            "hooks.cms.fetch.query (file /onsave.toml:4): is needed",
        ),
        ("_id == $id", "_id == 'a'", "hooks.cms.fetch.query = "),
        (
            "\"content/{_type}/{slug.current}.json\"",
            "\"../{_id}\"",
            "hooks.cms.fetch.path = \"../{_id}\"",
        ),
        (
            "project = \"abc12def\"",
            "project = \"a.b/c\"",
            "hooks.cms.fetch.project = \"a.b/c\"",
        ),
        (
            "project = \"abc12def\"",
            "project = \"a\"\ndataset = \"a/b\"",
            "hooks.cms.fetch.dataset = \"a/b\"",
        ),
        (
            "project = \"abc12def\"",
            "project = \"a\"\napi_version = \"new\"",
            "hooks.cms.fetch.api_version = \"new\"",
        ),
        (
            "verify = \"sanity\"",
            "verify = \"github\"",
            "hooks.cms.fetch.query = ",
        ),
    ] {
        let text = HOOKS.replacen(from, to, 1);
        assert_ne!(text, HOOKS);
        let faults = with_hooks(&text).faults();
        assert!(
            faults.iter().any(|told| told.starts_with(fault)),
            "{fault}: {faults:?}"
        );
    }
    let own = HOOKS.replacen("project = \"abc12def\"", "url = \"http://127.0.0.1:1\"", 1);
    let hooks = with_hooks(&own).load().unwrap().config.hooks;
    assert_eq!(
        hooks.entries[0].fetch.as_ref().unwrap().url,
        "http://127.0.0.1:1"
    );
}

#[test]
fn an_address_without_hooks_is_warned_about() {
    let loaded = Desk::new()
        .file("hooks.listen = \"127.0.0.1:1\"")
        .load()
        .unwrap();
    assert_eq!(
        loaded.warnings,
        ["nothing answers at hooks.listen: there is no section [hooks.<id>]"]
    );
}

/// The hooks of the example are indented further than its prose.
#[test]
fn the_hooks_of_the_example_can_be_used_as_they_are() {
    let shown: Vec<_> = EXAMPLE
        .lines()
        .filter_map(|line| line.strip_prefix("#     "))
        .collect();
    let text = format!("build.command = \"x\"\n{}", shown.join("\n"));
    let desk = with_hooks(&text);
    for name in ["sanity-secret", "sanity-token", "github-secret"] {
        fs::write(desk.path(name), "hunter2").unwrap();
        fs::set_permissions(desk.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let desk = desk.variable("DEPLOY_SECRET", "hunter2");
    let hooks = desk.load().unwrap().config.hooks;
    assert!(hooks.entries.len() >= 3 && hooks.entries.iter().any(|hook| hook.fetch.is_some()));
}

/// A unit's secret is not a terminal's: `onsave status` there needs none.
#[test]
fn a_secret_that_only_the_daemon_is_given_is_no_fault() {
    let text = HOOKS
        .replacen(
            "secret_env = \"STANDARD_SECRET\"",
            "secret_credential = \"none\"",
            1,
        )
        .replacen("SANITY_TOKEN", "NONE", 1);
    let loaded = with_hooks(&text).load().unwrap();
    let absent = loaded.absent.iter();
    let absent: Vec<_> = absent
        .map(|fault| (fault.key.as_deref().unwrap(), &*fault.problem))
        .collect();
    let not_given = ", which this process was not given";
    assert_eq!(
        absent,
        [
            (
                "hooks.cms.fetch.token",
                &*format!("is in the variable NONE{not_given}")
            ),
            (
                "hooks.other.secret",
                &*format!("is in the credential none{not_given}")
            ),
        ]
    );
    let empty = with_hooks(HOOKS).variable("GIT_SECRET", " ");
    assert!(empty.faults()[0].contains("the secret is empty"));
}
