//! What flyctl prints as JSON, read into the platform's words.
//!
//! Pure. The casing of keys differs from one command to the next, and between versions of flyctl:
//! some print what the API answered, some print Go structures. Each answer is read on its own; both
//! casings are taken where versions differ.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::fly::resources::{
    App, AppOrganisation, AppSecret, Certificate, IpAssignment, Machine, Organisation, Volume,
    null_is_default,
};

/// What `status` prints.
#[derive(Deserialize)]
struct Status {
    #[serde(alias = "Name")]
    name: String,
    #[serde(
        default,
        rename = "status",
        alias = "Status",
        deserialize_with = "null_is_default"
    )]
    state: String,
    #[serde(alias = "Organization")]
    organization: StatusOrganisation,
}

#[derive(Deserialize)]
struct StatusOrganisation {
    #[serde(alias = "Slug")]
    slug: String,
}

/// One row of `ips list`.
#[derive(Deserialize)]
struct Ip {
    #[serde(alias = "Address", alias = "ip")]
    address: String,
    #[serde(
        default,
        rename = "type",
        alias = "Type",
        deserialize_with = "null_is_default"
    )]
    kind: String,
}

/// One row of `secrets list`.
#[derive(Deserialize)]
struct Secret {
    #[serde(alias = "Name")]
    name: String,
    #[serde(default, alias = "Digest", deserialize_with = "null_is_default")]
    digest: String,
}

/// What `auth token` prints.
#[derive(Deserialize)]
struct Token {
    token: String,
}

/// A certificate as earlier versions print it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OldCertificate {
    hostname: String,
    #[serde(default, deserialize_with = "null_is_default")]
    configured: bool,
    #[serde(default, deserialize_with = "null_is_default")]
    client_status: String,
}

/// A list, in an envelope or without.
#[derive(Deserialize)]
#[serde(untagged)]
enum List {
    Wrapped { certificates: Option<Vec<Value>> },
    Plain(Option<Vec<Value>>),
}

pub(super) fn token(printed: &[u8]) -> serde_json::Result<String> {
    Ok(serde_json::from_slice::<Token>(printed)?.token)
}

/// Returns the organisations: the command prints a name for each slug.
pub(super) fn organisations(printed: &[u8]) -> serde_json::Result<Vec<Organisation>> {
    let names: BTreeMap<String, String> = or_nothing(printed)?;
    let organisation = |(slug, name): (String, String)| Organisation {
        name: if name.is_empty() { slug.clone() } else { name },
        slug,
        billing: None,
    };
    Ok(names.into_iter().map(organisation).collect())
}

pub(super) fn app(printed: &[u8]) -> serde_json::Result<App> {
    let status: Status = serde_json::from_slice(printed)?;
    Ok(App {
        name: status.name,
        status: status.state,
        organization: AppOrganisation {
            slug: status.organization.slug,
        },
    })
}

/// Returns the addresses that visitors come by.
pub(super) fn ips(printed: &[u8]) -> serde_json::Result<Vec<IpAssignment>> {
    let ips: Vec<Ip> = or_nothing(printed)?;
    let is_public = |ip: &Ip| !ip.kind.contains("egress") && !ip.kind.contains("private");
    let assignment = |ip: Ip| IpAssignment {
        shared: ip.kind == "shared_v4",
        ip: ip.address,
    };
    Ok(ips.into_iter().filter(is_public).map(assignment).collect())
}

pub(super) fn secrets(printed: &[u8]) -> serde_json::Result<Vec<AppSecret>> {
    let secrets: Vec<Secret> = or_nothing(printed)?;
    let secret = |Secret { name, digest }| AppSecret { name, digest };
    Ok(secrets.into_iter().map(secret).collect())
}

pub(super) fn volumes(printed: &[u8]) -> serde_json::Result<Vec<Volume>> {
    or_nothing(printed)
}

pub(super) fn volume(printed: &[u8]) -> serde_json::Result<Volume> {
    serde_json::from_slice(printed)
}

pub(super) fn machines(printed: &[u8]) -> serde_json::Result<Vec<Machine>> {
    or_nothing(printed)
}

pub(super) fn certificates(printed: &[u8]) -> serde_json::Result<Vec<Certificate>> {
    let rows = match serde_json::from_slice(printed)? {
        List::Wrapped { certificates } => certificates,
        List::Plain(rows) => rows,
    };
    rows.unwrap_or_default()
        .into_iter()
        .map(certificate_of)
        .collect()
}

pub(super) fn certificate(printed: &[u8]) -> serde_json::Result<Certificate> {
    certificate_of(serde_json::from_slice(printed)?)
}

fn certificate_of(value: Value) -> serde_json::Result<Certificate> {
    if value.get("Hostname").is_none() {
        return serde_json::from_value(value);
    }
    let old: OldCertificate = serde_json::from_value(value)?;
    let is_ready = old.client_status == "Ready";
    Ok(Certificate {
        hostname: old.hostname,
        configured: old.configured && is_ready,
        status: if is_ready {
            "active"
        } else {
            "pending_validation"
        }
        .to_owned(),
        rate_limited_until: None,
        dns_requirements: None,
        validation_errors: Vec::new(),
    })
}

/// Returns what is printed; an empty list is printed as `null` by some commands.
fn or_nothing<T: DeserializeOwned + Default>(printed: &[u8]) -> serde_json::Result<T> {
    Ok(serde_json::from_slice::<Option<T>>(printed)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fly::resources::IpKind;

    #[test]
    fn an_app_is_read_from_its_status() {
        let printed = br#"{"ID":"site","Name":"site","Deployed":true,"Status":"deployed",
            "Hostname":"site.fly.dev","Version":3,"AppURL":"https://site.fly.dev",
            "Organization":{"ID":"x","InternalNumericID":"1","Name":"Ann","RawSlug":"","Slug":"ann-org",
            "Type":"PERSONAL","PaidPlan":false,"Settings":null},"PlatformVersion":"machines",
            "Machines":[{"id":"m1","state":"started"}]}"#;
        let app = app(printed).unwrap();
        assert_eq!(
            (app.name.as_str(), app.status.as_str()),
            ("site", "deployed")
        );
        assert_eq!(app.organization.slug, "ann-org");
    }

    #[test]
    fn organisations_are_a_map() {
        let found = organisations(br#"{"personal":"Ann","team-1":"Team","bare":""}"#).unwrap();
        let told: Vec<_> = found
            .iter()
            .map(|o| (o.slug.as_str(), o.name.as_str()))
            .collect();
        assert_eq!(
            told,
            [("bare", "bare"), ("personal", "Ann"), ("team-1", "Team")]
        );
        assert_eq!(organisations(b"null").unwrap(), []);
    }

    #[test]
    fn addresses_have_capital_keys_and_kinds() {
        let found = ips(br#"[
            {"ID":"1","Address":"2a09:8280:1::1","Type":"v6","Region":"global","CreatedAt":"x","ServiceName":"","Network":null},
            {"ID":"","Address":"66.241.124.1","Type":"shared_v4","Region":"","CreatedAt":"x"},
            {"ID":"2","Address":"fdaa:0:1::3","Type":"private_v6","Region":"global","CreatedAt":"x"},
            {"ID":"3","Address":"1.2.3.4","Type":"egress_v4"}]"#)
        .unwrap();
        assert_eq!(found.len(), 2);
        assert!(found[0].serves(IpKind::V6) && !found[0].shared);
        assert!(found[1].serves(IpKind::SharedV4) && found[1].shared);
        assert_eq!(ips(b"null").unwrap(), []);
    }

    #[test]
    fn secrets_have_either_casing() {
        for printed in [
            r#"[{"name":"SYNC_SECRET","digest":"d1","status":"Deployed"}]"#,
            r#"[{"Name":"SYNC_SECRET","Digest":"d1","CreatedAt":"x"}]"#,
        ] {
            let found = secrets(printed.as_bytes()).unwrap();
            assert_eq!(
                (found[0].name.as_str(), found[0].digest.as_str()),
                ("SYNC_SECRET", "d1")
            );
        }
    }

    #[test]
    fn volumes_and_machines_are_what_the_api_answers() {
        let found = volumes(
            br#"[{"id":"vol_1","state":"created","size_gb":1,"region":"arn","zone":"a1",
            "encrypted":true,"attached_machine_id":"m1","attached_alloc_id":null,"name":"site_data",
            "created_at":"x","host_status":"ok","snapshot_retention":5}]"#,
        )
        .unwrap();
        assert_eq!((found[0].name.as_str(), found[0].size_gb), ("site_data", 1));
        let found = machines(
            br#"[{"id":"m1","name":"a-b","state":"started","region":"arn",
            "instance_id":"01","config":{"guest":{"cpus":1}},"events":null,"checks":[]}]"#,
        )
        .unwrap();
        assert_eq!(found[0].config["guest"]["cpus"], 1);
        assert_eq!(machines(b"null").unwrap(), []);
        assert!(machines(b"No machines are available on this app").is_err());
    }

    #[test]
    fn certificates_have_two_ages() {
        let new = br#"{"hostname":"a.org","configured":false,"status":"pending_validation",
            "dns_requirements":{"a":["1.2.3.4"],"aaaa":["2a09::1"],"cname":"site.fly.dev",
            "acme_challenge":{"name":"_acme-challenge.a.org","target":"x.flydns.net"}}}"#;
        let needs = certificate(new).unwrap().dns_requirements.unwrap();
        assert_eq!(needs.a, ["1.2.3.4"]);
        let rows: &[u8] = br#"[{"hostname":"a.org","configured":true,"status":"active"}]"#;
        let wrapped: &[u8] =
            br#"{"certificates":[{"hostname":"a.org","configured":true,"status":"active"}]}"#;
        let old: &[u8] =
            br#"[{"ID":"","AcmeDNSConfigured":false,"Configured":true,"Hostname":"a.org",
            "ClientStatus":"Ready","CreatedAt":"x"}]"#;
        for printed in [rows, wrapped, old] {
            let found = certificates(printed).unwrap();
            assert_eq!(found.len(), 1);
            assert!(
                found[0].configured && found[0].status == "active",
                "{found:?}"
            );
        }
        let waits =
            br#"[{"Hostname":"a.org","Configured":true,"ClientStatus":"Awaiting certificates"}]"#;
        assert!(!certificates(waits).unwrap()[0].configured);
        assert_eq!(certificates(b"null").unwrap(), []);
    }

    #[test]
    fn a_token_is_printed_as_an_object() {
        assert_eq!(token(br#"{"token":"fm2_x,fo1_y"}"#).unwrap(), "fm2_x,fo1_y");
        assert!(token(b"fm2_x").is_err());
    }
}
