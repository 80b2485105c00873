//! The daemon as a service of a real user manager: installed, ready, watched, killed, restarted, stopped.

use std::{fs, net::SocketAddr, path::Path};

use crate::harness::{
    World, eventually, http,
    server::SECRET,
    user_manager::{ONSAVE, UserManager},
    wait_for,
};

const UNIT: &str = "onsave-blog.service";

/// A folder whose name means something to systemd and to shells.
const SITE: &str = "my 100% \"$HOME\" site";

/// Makes a site that is served by the daemon itself.
fn local_site(user: &UserManager) {
    user.write(
        &format!("{SITE}/onsave.toml"),
        "app = \"blog\"\n[local]\naddress = \"127.0.0.1:0\"\n",
    );
    save(user, "first");
}

fn save(user: &UserManager, text: &str) {
    user.write(&format!("{SITE}/deploy/index.html"), text);
}

fn service(user: &UserManager, command: &[&str]) -> String {
    let arguments = [&[ONSAVE, "service"], command].concat();
    user.run_well(SITE, &arguments)
}

/// Returns where the site is, as its status says.
fn address_in(status: &str) -> SocketAddr {
    let after = status.split("http://").nth(1).expect("it names the URL");
    let address = after
        .split([',', ' '])
        .next()
        .expect("there is a first part");
    address.parse().expect("it is an address")
}

fn wait_for_page(address: SocketAddr, text: &str) {
    eventually(&format!("{address} to show {text:?}"), || {
        http::get(address, "/").is_some_and(|answer| answer.text() == text)
    });
}

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_site_is_installed_watched_restarted_and_removed() {
    let user = UserManager::start();
    local_site(&user);
    let told = service(&user, &["install"]);
    assert!(told.contains("wrote ") && told.contains(&format!("{UNIT}: active (running) since ")));

    let status = user.wait_for_status(UNIT, "live: http://127.0.0.1:");
    assert!(
        status.contains(", last publish ") && status.ends_with(" ms"),
        "{status}"
    );
    let address = address_in(&status);
    wait_for_page(address, "first");
    save(&user, "second");
    wait_for_page(address, "second");
    let pid = user.property(UNIT, "MainPID");
    let shown: serde_json::Value =
        serde_json::from_str(&service(&user, &["status", "--json"])).expect("it is JSON");
    assert_eq!(shown["pid"].to_string(), pid);
    assert_eq!(shown["enabled"], true);
    assert!(
        shown["text"]
            .as_str()
            .is_some_and(|text| text.starts_with("live: "))
    );

    // Nothing to do is nothing done.
    let again = service(&user, &["install"]);
    assert!(!again.contains("wrote "), "{again}");
    assert_eq!(user.property(UNIT, "MainPID"), pid);

    // A second daemon says who has the site.
    let second = user.run_in(SITE, &[ONSAVE, "watch"]);
    assert_eq!(second.status.code(), Some(10), "{}", stderr(&second));
    assert!(stderr(&second).contains(&format!("watched by process {pid} already")));

    // The walls are there for a user without rights, too.
    let process = user.run_well("", &["cat", &format!("/proc/{pid}/status")]);
    assert!(
        process.contains("NoNewPrivs:\t1") && process.contains("Seccomp:\t2"),
        "{process}"
    );

    // A crash: it is back, and the folder is what counts.
    user.run_well("", &["systemctl", "--user", "kill", "--signal=KILL", UNIT]);
    save(&user, "third");
    eventually("the restart", || user.property(UNIT, "NRestarts") == "1");
    wait_for_page(address_in(&user.wait_for_status(UNIT, "live: ")), "third");

    let logs = service(&user, &["logs"]);
    assert!(logs.contains("published index.html"), "{logs}");

    let told = service(&user, &["uninstall"]);
    assert!(told.contains(&format!("stopped {UNIT}")), "{told}");
    let units = user.home().join(".config/systemd/user");
    assert!(!units.join(UNIT).exists());
    assert_eq!(user.property(UNIT, "LoadState"), "not-found");
    let told = service(&user, &["uninstall"]);
    assert!(told.contains("nothing was removed"), "{told}");
    let status = user.run_in(SITE, &[ONSAVE, "service", "status"]);
    assert_eq!(status.status.code(), Some(1));
    assert!(stderr(&status).contains("this site has no service"));
}

#[test]
fn a_daemon_that_hangs_is_killed_and_started_again() {
    let user = UserManager::start();
    local_site(&user);
    // A setting of the user's own: it is kept whatever onsave does.
    let own = format!(".config/systemd/user/{UNIT}.d/fast.conf");
    user.write(
        &own,
        "[Service]\nWatchdogSec=1s\nRestartSec=0\nTimeoutAbortSec=1s\n",
    );
    service(&user, &["install"]);
    user.wait_for_status(UNIT, "live: ");
    let pid = user.property(UNIT, "MainPID");
    user.run_well("", &["systemctl", "--user", "kill", "--signal=STOP", UNIT]);
    save(&user, "while it hung");
    let restarted = wait_for("another process", || {
        let now = user.property(UNIT, "MainPID");
        (now != "0" && now != pid).then_some(now)
    });
    wait_for_page(
        address_in(&user.wait_for_status(UNIT, "live: ")),
        "while it hung",
    );
    let said = user.journal();
    assert!(
        said.contains(&format!("{UNIT}: Watchdog timeout")),
        "{said}"
    );
    // One that does not hang lives on, fed by its loop though nothing is saved.
    crate::harness::deadline::throughout(std::time::Duration::from_secs(3), "it lives", || {
        user.property(UNIT, "MainPID") == restarted
    });
    service(&user, &["uninstall"]);
    assert!(user.home().join(own).exists());
}

#[test]
fn a_secret_comes_from_the_service_manager() {
    let world = World::new();
    let user = UserManager::start();
    let url = World::url_of(world.address());
    save(&user, "with a credential");
    user.write(
        &format!("{SITE}/onsave.toml"),
        &format!("app = \"blog\"\n[target]\nurl = \"{url}\"\nsecret_file = \"../my secret\"\n"),
    );
    user.write("my secret", SECRET);
    user.run_well("", &["chmod", "600", "my secret"]);
    service(&user, &["install"]);
    let status = user.wait_for_status(UNIT, "live: ");
    assert!(
        status.starts_with(&format!("live: {url}, last publish ")),
        "{status}"
    );
    wait_for_page(world.address(), "with a credential");
    let unit = fs::read_to_string(user.home().join(".config/systemd/user").join(UNIT)).unwrap();
    assert!(unit.contains("\nLoadCredential=sync-secret:/"), "{unit}");

    // A server that is gone is told, and so is its return.
    let mut world = world;
    let address = world.address();
    world.server.kill();
    save(&user, "nobody hears this");
    let status = user.wait_for_status(UNIT, "unreachable: ");
    assert_eq!(status, format!("unreachable: no answer from {url}"));
    drop(world);
    assert!(http::get(address, "/").is_none());
    let stopped = user.run(&["systemctl", "--user", "stop", UNIT]);
    assert!(stopped.status.success(), "{}", stderr(&stopped));
    assert_eq!(user.property(UNIT, "Result"), "success");
}

#[test]
fn a_changed_configuration_is_taken_over_as_far_as_it_can_be() {
    let user = UserManager::start();
    local_site(&user);
    service(&user, &["install"]);
    user.wait_for_status(UNIT, "live: ");
    let pid = user.property(UNIT, "MainPID");
    let configure = |text: &str| {
        let whole = format!("app = \"blog\"\n[local]\naddress = \"127.0.0.1:0\"\n{text}");
        user.write(&format!("{SITE}/onsave.toml"), &whole);
    };
    let logs = |text: &str| {
        eventually(text, || service(&user, &["logs"]).contains(text));
    };
    configure(
        "keep_deploys = 7\n[publish]\npublic_url = \"https://blog.example\"\nverify_live = false\n",
    );
    logs("changed, but needs a restart: local.keep_deploys");
    logs("reloaded, from the next save on: publish.verify_live, publish.public_url");
    user.wait_for_status(UNIT, "live: https://blog.example, last publish ");

    configure("[publish]\nstrikt = true\n");
    logs("publish.strikt");
    logs("not reloaded; what was read before holds");
    user.wait_for_status(UNIT, "live: https://blog.example, last publish ");

    user.run_well("", &["systemctl", "--user", "reload", UNIT]);
    eventually("the faults, told a second time", || {
        let logs = service(&user, &["logs"]);
        logs.matches("not reloaded; what was read before holds")
            .count()
            == 2
    });
    assert_eq!(
        user.property(UNIT, "MainPID"),
        pid,
        "it went on all the time"
    );
    assert_eq!(user.property(UNIT, "ActiveState"), "active");
}

#[test]
fn what_cannot_be_installed_is_explained() {
    let user = UserManager::start();
    local_site(&user);
    let install = |variables: &[&str]| {
        let arguments = [&["env"], variables, &[ONSAVE, "service", "install"]].concat();
        let output = user.run_in(SITE, &arguments);
        (output.status.code(), stderr(&output))
    };
    let (code, said) = install(&["ONSAVE_WATCH_QUIET_MS=5"]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("the service would not have ONSAVE_WATCH_QUIET_MS"),
        "{said}"
    );
    assert!(
        said.contains("hint: put what they set into onsave.toml"),
        "{said}"
    );

    let (_, said) = install(&["XDG_RUNTIME_DIR=/nowhere"]);
    assert!(
        said.contains("your service manager does not answer"),
        "{said}"
    );
    assert!(said.contains("hint: log in as this user"), "{said}");

    user.write(
        &format!(".config/systemd/user/{UNIT}"),
        "[Service]\nExecStart=/bin/true\n",
    );
    let (_, said) = install(&[]);
    assert!(
        said.contains("was not written by onsave; it was left alone"),
        "{said}"
    );
    let unit = user.home().join(".config/systemd/user").join(UNIT);
    assert_eq!(
        fs::read_to_string(&unit).unwrap(),
        "[Service]\nExecStart=/bin/true\n"
    );
    fs::remove_file(unit).unwrap();

    user.write(
        &format!("{SITE}/onsave.toml"),
        "app = \"blog\"\nquiet = 1\n",
    );
    let (code, said) = install(&[]);
    assert_eq!(code, Some(3), "{said}");

    // It is installed, and cannot start: the address is nobody's here.
    user.write(
        &format!("{SITE}/onsave.toml"),
        "app = \"blog\"\n[local]\naddress = \"192.0.2.1:80\"\n",
    );
    let (code, said) = install(&[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the service did not start: "), "{said}");
    assert!(said.contains("onsave service logs"), "{said}");
    let logs = service(&user, &["logs"]);
    assert!(logs.contains("cannot listen on 192.0.2.1:80"), "{logs}");
    service(&user, &["uninstall"]);
}

#[test]
fn the_template_runs_several_sites() {
    let user = UserManager::start();
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    let template = fs::read_to_string(units.join("onsave@.service")).unwrap();
    user.write(".config/systemd/user/onsave@.service", &template);
    user.run_well("", &["mkdir", "-p", ".local/bin", ".config/onsave"]);
    user.run_well("", &["ln", "-s", ONSAVE, ".local/bin/onsave"]);
    for site in ["one", "two"] {
        user.write(&format!("projects/{site}/deploy/index.html"), site);
        user.write(
            &format!(".config/onsave/{site}.env"),
            "ONSAVE_LOCAL_ADDRESS=127.0.0.1:0\n",
        );
        let target = user.home().join("projects").join(site);
        let link = format!(".config/onsave/{site}");
        user.run_well("", &["ln", "-s", target.to_str().unwrap(), &link]);
        let unit = format!("onsave@{site}");
        user.run_well(
            "",
            &["systemctl", "--user", "enable", "--quiet", "--now", &unit],
        );
    }
    for site in ["one", "two"] {
        let status = user.wait_for_status(&format!("onsave@{site}"), "live: ");
        wait_for_page(address_in(&status), site);
    }
}
