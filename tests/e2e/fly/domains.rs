//! Domains of the site's own.

use super::desk::{Desk, Said};
use crate::fly_simulator::{DnsRecords, Failure, Operation};

#[test]
fn a_domain_is_added_checked_listed_and_removed() {
    let desk = Desk::new();
    desk.run_well(&["publish"]);
    let said = desk.run_well(&["domain", "add", "www.Example.org"]);
    for part in ["www.example.org", " A ", " AAAA "] {
        assert!(said.stdout.contains(part), "{part}: {said:?}");
    }
    assert!(
        desk.configuration()
            .contains("domains = [\"www.example.org\"]")
    );
    // Twice is once.
    desk.run_well(&["domain", "add", "www.example.org"]);
    assert_eq!(desk.listed("certificates").len(), 1);
    // It is done, and nothing is left for the next publish, which needs no token for it.
    let asked = desk.fly.requests().len();
    desk.world.site.save("index.html", "<h1>second</h1>");
    let said = Said::of(&mut desk.command_without_token(&["publish"]));
    assert!(said.output.status.success(), "{said:?}");
    assert!(!said.stderr.contains("configuration"), "{said:?}");
    desk.run_well(&["publish"]);
    assert_eq!(desk.fly.requests().len(), asked);
    let added = desk.run_json(&["domain", "check", "www.example.org", "--json"]);
    assert_eq!(added["status"], "waits for its DNS records");
    let records = added["records"].as_array().expect("a list");
    let value = |kind: &str| {
        let mut found = records.iter().filter(|record| record["type"] == kind);
        found.next().expect("it is told")["value"]
            .as_str()
            .expect("a text")
            .to_owned()
    };

    desk.fly.set_dns(
        "www.example.org",
        DnsRecords {
            a: vec![value("A")],
            aaaa: vec![value("AAAA")],
            ..DnsRecords::default()
        },
    );
    let said = desk.run_well(&["domain", "check", "www.example.org"]);
    assert_eq!(said.stdout, "www.example.org  live\n");
    let said = desk.run_well(&["domain", "list"]);
    assert_eq!(said.stdout, "www.example.org  live\n");
    let provision = desk.run_well(&["provision"]);
    assert!(
        provision.stdout.contains("live at https://www.example.org"),
        "{provision:?}"
    );

    desk.run_well(&["domain", "remove", "www.example.org"]);
    assert!(desk.configuration().contains("domains = []"));
    assert_eq!(desk.listed("certificates").len(), 0);
    desk.run(&["domain", "check", "www.example.org"])
        .assert_failed(1, &["has no domain www.example.org", "onsave domain add"]);
    let said = desk.run_well(&["domain", "list"]);
    assert!(said.stdout.contains("has no domain of its own"), "{said:?}");
}

#[test]
fn the_configured_domains_are_converged_and_others_are_left_alone() {
    let desk = Desk::new();
    desk.configure("\n[fly]\ndomains = [\"a.example.org\", \"b.example.org\"]\n");
    let said = desk.run_well(&["publish"]);
    assert!(
        said.stderr.contains("set these records for a.example.org"),
        "{said:?}"
    );
    let theirs = serde_json::json!({"hostname": "theirs.example.org"});
    let (status, _) = desk.ask_platform("POST", "/v1/apps/my-site/certificates/acme", &theirs);
    assert_eq!(status, 201);
    desk.configure("\n[fly]\ndomains = [\"b.example.org\"]\n");
    let said = desk.run_well(&["provision"]);
    assert!(said.stdout.contains("theirs.example.org"), "{said:?}");
    let mut hosts: Vec<_> = desk
        .listed("certificates")
        .iter()
        .map(|certificate| certificate["hostname"].as_str().expect("a name").to_owned())
        .collect();
    hosts.sort();
    assert_eq!(hosts, ["b.example.org", "theirs.example.org"]);
}

/// The site is live without its domain, and each publish asks for the certificate until it is there.
#[test]
fn a_certificate_that_is_refused_holds_no_publish_up() {
    let desk = Desk::new();
    let domains = "\n[fly]\ndomains = [\"a.example.org\", \"b.example.org\"]\n";
    desk.configure(domains);
    for operation in [Operation::CertificateCreate, Operation::CertificateCreate] {
        desk.fly.fail_next(operation, Failure::Unknown);
    }
    let said = desk.run_well(&["publish"]);
    for part in ["a.example.org is not as configured", "out of phase"] {
        assert!(said.stderr.contains(part), "{part}: {said:?}");
    }
    desk.assert_complete();
    assert_eq!(desk.listed("certificates").len(), 0);
    // Who asks for nothing else is told by the exit code as well; the other domain is seen to.
    desk.fly
        .fail_next(Operation::CertificateCreate, Failure::Unknown);
    desk.run(&["provision"])
        .assert_failed(5, &["a.example.org is not as configured"]);
    assert_eq!(desk.listed("certificates").len(), 1);
    desk.run_well(&["publish"]);
    assert_eq!(desk.listed("certificates").len(), 2);
    let asked = desk.fly.requests().len();
    desk.run_well(&["publish"]);
    assert_eq!(desk.fly.requests().len(), asked);
}

#[test]
fn what_is_no_domain_is_refused_before_anything_is_asked() {
    let desk = Desk::new();
    for name in ["localhost", "https://example.org", "my-site.fly.dev"] {
        desk.run(&["domain", "add", name]).assert_failed(2, &[name]);
    }
    assert_eq!(desk.fly.requests().len(), 0);
}
