//! The app's secret: it drifts and is mended, it is rotated, and it is shared with another machine.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde_json::json;

use super::desk::{APP, Desk, Said};
use crate::harness::eventually;

impl Desk {
    /// Gives the app another secret and lets its machine boot with it, as somebody else might.
    fn drift(&self) {
        let secrets = json!({"values": {"SYNC_SECRET": "somebody-elses-secret"}});
        let (status, set) = self.ask_platform("POST", &format!("/v1/apps/{APP}/secrets"), &secrets);
        assert_eq!(status, 200, "{set}");
        let machine = self.machine();
        let update = json!({
            "config": machine["config"],
            "min_secrets_version": set["version"],
        });
        let path = format!(
            "/v1/apps/{APP}/machines/{}",
            machine["id"].as_str().expect("an id")
        );
        let (status, updated) = self.ask_platform("POST", &path, &update);
        assert_eq!(status, 200, "{updated}");
        eventually("the machine to be back", || self.page("/").is_some());
    }

    fn secret(&self) -> String {
        fs::read_to_string(self.state().join("fly-secret")).expect("there is a secret")
    }
}

#[test]
fn a_secret_that_drifted_is_mended_by_the_next_publish() {
    let desk = Desk::new();
    desk.run_well(&["publish"]);
    let before = desk.secret();
    desk.drift();
    desk.world.site.save("index.html", "<h1>second</h1>");
    // Without a token nobody can mend it.
    let said = Said::of(&mut desk.command_without_token(&["publish"]));
    said.assert_failed(5, &["refuses the secret"]);
    let said = desk.run_well(&["publish"]);
    assert!(said.stderr.contains("set a new secret"), "{said:?}");
    assert!(said.stderr.contains("needs it too"), "{said:?}");
    assert_eq!(desk.page("/").as_deref(), Some("<h1>second</h1>"));
    assert_ne!(desk.secret(), before);
    assert!(!said.stderr.contains(desk.secret().trim()), "{said:?}");
}

#[test]
fn a_running_daemon_mends_the_secret_by_itself() {
    let desk = Desk::new();
    let mut daemon = desk.world.start("watch", &mut desk.command(&["watch"]));
    eventually("the first publish", || {
        daemon.assert_running();
        desk.page("/").as_deref() == Some("<h1>first</h1>")
    });
    desk.drift();
    desk.world.site.save("index.html", "<h1>second</h1>");
    eventually("the save", || {
        daemon.assert_running();
        desk.page("/").as_deref() == Some("<h1>second</h1>")
    });
}

/// A daemon that was started before a domain was added knows nothing of it, and takes nothing away.
#[test]
fn a_daemon_with_an_old_configuration_undoes_nothing() {
    let desk = Desk::new();
    let mut daemon = desk.world.start("watch", &mut desk.command(&["watch"]));
    eventually("the first publish", || {
        daemon.assert_running();
        desk.page("/").as_deref() == Some("<h1>first</h1>")
    });
    desk.run_well(&["domain", "add", "www.example.org"]);
    desk.drift();
    desk.world.site.save("index.html", "<h1>second</h1>");
    eventually("the word of it", || {
        daemon.assert_running();
        daemon.stderr().contains("`onsave provision` sets another")
    });
    assert_eq!(desk.listed("certificates").len(), 1);
    // Who knows of it mends the secret, and the daemon goes on with that.
    desk.run_well(&["provision"]);
    eventually("the save", || {
        daemon.assert_running();
        desk.page("/").as_deref() == Some("<h1>second</h1>")
    });
    assert_eq!(desk.listed("certificates").len(), 1);
}

/// A secret that nobody here knows cannot go on beside the new one, and is not said to.
#[test]
fn a_rotation_without_the_present_secret_says_so() {
    let desk = Desk::new();
    desk.run_well(&["publish"]);
    fs::remove_file(desk.state().join("fly-secret")).expect("it can be removed");
    let said = desk.run_well(&["secret", "rotate"]);
    assert!(said.stdout.contains("the new secret alone"), "{said:?}");
    assert!(said.stderr.contains("needs it too"), "{said:?}");
    let rotated = desk.run_json(&["secret", "rotate", "--json"]);
    assert_eq!(rotated["previousIsTaken"], true);
}

/// A daemon goes on publishing while the secret is rotated twice, and no publish is refused.
#[test]
fn a_rotation_refuses_no_publish() {
    let desk = Desk::new();
    let mut daemon = desk.world.start("watch", &mut desk.command(&["watch"]));
    eventually("the first publish", || {
        daemon.assert_running();
        desk.page("/").as_deref() == Some("<h1>first</h1>")
    });
    let before = desk.secret();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let saves = scope.spawn(|| {
            let mut count = 0_u32;
            while !over.load(Ordering::Relaxed) {
                let text = format!("<h1>save {count}</h1>");
                desk.world.site.save("index.html", &text);
                eventually("the save", || desk.page("/").as_deref() == Some(&text));
                count += 1;
            }
            count
        });
        for _ in 0..2 {
            let said = desk.run_well(&["secret", "rotate"]);
            assert!(said.stdout.contains("takes the new secret"), "{said:?}");
        }
        over.store(true, Ordering::Relaxed);
        assert!(saves.join().expect("every save was live") > 0);
    });
    assert_ne!(desk.secret(), before);
    let log = daemon.stderr();
    assert!(!log.contains("refuses"), "{log}");
    let names: Vec<_> = desk
        .listed("secrets")
        .iter()
        .map(|secret| secret["name"].as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(names, ["SYNC_SECRET", "SYNC_SECRET_PREVIOUS"]);
}

/// A rotation that was stopped after the secret was set is finished by the next run.
#[test]
fn a_rotation_that_was_stopped_is_finished() {
    use crate::fly_simulator::{Failure, Operation};

    let desk = Desk::new();
    desk.run_well(&["publish"]);
    let before = desk.secret();
    desk.fly
        .fail_next(Operation::MachineUpdate, Failure::Unknown);
    let said = desk.run(&["secret", "rotate"]);
    assert!(!said.output.status.success(), "{said:?}");
    // The server has the old secret, and a publish goes on with it.
    assert_eq!(desk.secret(), before);
    desk.world.site.save("index.html", "<h1>second</h1>");
    desk.run_well(&["publish"]);
    assert_eq!(desk.page("/").as_deref(), Some("<h1>second</h1>"));
    desk.run_well(&["secret", "rotate"]);
    assert_ne!(desk.secret(), before);
    desk.world.site.save("index.html", "<h1>third</h1>");
    desk.run_well(&["publish"]);
    assert_eq!(desk.page("/").as_deref(), Some("<h1>third</h1>"));
}

#[test]
fn a_given_secret_is_set_and_shared() {
    let desk = Desk::new();
    let given = |arguments: &[&str]| {
        let mut command = desk.command(arguments);
        command.env("ONSAVE_SYNC_SECRET", "a-secret-that-two-machines-share");
        Said::of(&mut command)
    };
    let said = given(&["publish"]);
    assert!(said.output.status.success(), "{said:?}");
    desk.assert_complete();
    given(&["secret", "rotate"]).assert_failed(1, &["the secret is given by"]);
    // Another machine: no memory of the app, and the same secret.
    fs::remove_dir_all(desk.state()).expect("it can be removed");
    let writes = desk.writes();
    desk.world.site.save("index.html", "<h1>second</h1>");
    let said = given(&["publish"]);
    assert!(said.output.status.success(), "{said:?}");
    assert_eq!(desk.page("/").as_deref(), Some("<h1>second</h1>"));
    assert_eq!(desk.writes(), writes);
}
