//! Findings about the site's own domains: certificates, and where DNS leads now. Pure.

use std::net::IpAddr;

use super::{
    Finding,
    facts::{DomainFacts, FlyFacts},
    platform::{self, PROVISION},
};
use crate::{
    fly::resources::{Certificate, IpAssignment},
    provision::records,
};

const CERTIFICATE: &str = "cert";
const DNS: &str = "dns";

pub(super) fn findings(facts: &FlyFacts) -> Vec<Finding> {
    if platform::has_no_app(facts) {
        return Vec::new();
    }
    let inside = facts.look.as_ref().and_then(|look| look.inside.as_ref());
    let ips = inside.and_then(|inside| inside.ips.as_ref().ok());
    let ips = ips.map_or(&[][..], Vec::as_slice);
    let mut findings = Vec::new();
    for domain in &facts.domains {
        findings.extend(certificate(domain, &facts.target.domains));
        findings.extend(dns(domain, ips));
    }
    if let Some(Err(error)) = inside.map(|inside| &inside.certificates) {
        findings.push(platform::unanswered(CERTIFICATE, error));
    }
    findings
}

fn is_live(certificate: &Certificate) -> bool {
    certificate.configured || certificate.status == "active"
}

fn certificate(domain: &DomainFacts, configured: &[String]) -> Option<Finding> {
    let name = &domain.name;
    let certificate = match domain.certificate.as_ref()? {
        Err(error) => return Some(platform::unanswered(CERTIFICATE, error)),
        Ok(None) if configured.contains(name) => {
            let what = format!("no certificate was requested for {name}");
            return Some(Finding::warning(CERTIFICATE, what, PROVISION));
        }
        Ok(None) => return None,
        Ok(Some(certificate)) => certificate,
    };
    Some(if is_live(certificate) {
        Finding::ok(CERTIFICATE, format!("{name} has its certificate"))
    } else if let Some(until) = &certificate.rate_limited_until {
        Finding::warning(
            CERTIFICATE,
            format!("the certificate authority refuses more requests for {name} until {until}"),
            "wait until then; every request before counts as well",
        )
    } else {
        Finding::warning(CERTIFICATE, waiting(certificate), remedy(certificate))
    })
}

fn waiting(certificate: &Certificate) -> String {
    let name = &certificate.hostname;
    let waits = match certificate.status.as_str() {
        "pending_ownership" => format!("{name} waits for the record that proves whose it is"),
        _ => format!("{name} waits for its DNS records"),
    };
    let problems: Vec<&str> = certificate
        .validation_errors
        .iter()
        .map(|error| error.message.as_str())
        .filter(|message| !message.is_empty())
        .collect();
    if problems.is_empty() {
        waits
    } else {
        format!("{waits}: {}", problems.join("; "))
    }
}

/// Returns the records to set.
fn remedy(certificate: &Certificate) -> String {
    let host = &certificate.hostname;
    let rows: Vec<String> = records::rows(certificate)
        .into_iter()
        .map(|(name, kind, value)| format!("{name} {kind} {value}"))
        .collect();
    if rows.is_empty() {
        format!("`onsave domain check {host}` shows the records to set")
    } else {
        format!(
            "set these records with the DNS provider of {host}: {}",
            rows.join(", ")
        )
    }
}

fn dns(domain: &DomainFacts, ips: &[IpAssignment]) -> Option<Finding> {
    let name = &domain.name;
    let certificate = match &domain.certificate {
        Some(Ok(certificate)) => certificate.as_ref(),
        Some(Err(_)) | None => None,
    };
    let wanted = addresses(certificate, ips);
    let should = wanted
        .iter()
        .map(IpAddr::to_string)
        .collect::<Vec<_>>()
        .join(" and ");
    let fix = if should.is_empty() {
        format!("`onsave domain check {name}` shows the records to set")
    } else {
        format!("let {name} lead to {should} with its DNS provider")
    };
    let resolved = match domain.resolved.as_ref()? {
        Ok(resolved) if !resolved.is_empty() => resolved,
        Ok(_) => return Some(Finding::broken(DNS, format!("{name} has no address"), fix)),
        Err(why) => {
            let what = format!("{name} leads nowhere from this machine: {why}");
            return Some(Finding::broken(DNS, what, fix));
        }
    };
    let told: Vec<String> = resolved.iter().map(IpAddr::to_string).collect();
    let told = told.join(", ");
    if wanted.is_empty() {
        return Some(Finding::ok(DNS, format!("{name} leads to {told}")));
    }
    let missing = wanted.iter().any(|address| !resolved.contains(address));
    let others = resolved.iter().any(|address| !wanted.contains(address));
    let none = !wanted.iter().any(|address| resolved.contains(address));
    Some(if none && certificate.is_some_and(is_live) {
        let what = format!("{name} leads to {told}, not to the app itself");
        let fix = format!("if that is a CDN in front of the app, all is well; otherwise {fix}");
        Finding::warning(DNS, what, fix)
    } else if none {
        Finding::broken(DNS, format!("{name} leads to {told}, not to the app"), fix)
    } else if others {
        let what = format!("{name} leads to {told}, of which not all are the app");
        Finding::broken(DNS, what, format!("{fix}, and to nothing else"))
    } else if missing {
        // A machine without IPv6 may be told the IPv4 addresses alone.
        Finding::ok(
            DNS,
            format!("{name} leads to {told}, as far as this machine sees"),
        )
    } else {
        Finding::ok(DNS, format!("{name} leads to {told}"))
    })
}

/// Returns the addresses that a domain ought to have: those that its certificate asks for, or the
/// app's own.
fn addresses(certificate: Option<&Certificate>, ips: &[IpAssignment]) -> Vec<IpAddr> {
    let needs = certificate.and_then(|certificate| certificate.dns_requirements.as_ref());
    let named = needs
        .into_iter()
        .flat_map(|needs| needs.a.iter().chain(&needs.aaaa));
    let mut wanted: Vec<IpAddr> = named.filter_map(|text| text.parse().ok()).collect();
    if wanted.is_empty() {
        wanted = ips.iter().filter_map(|ip| ip.ip.parse().ok()).collect();
    }
    wanted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::Verdict;

    const V4: &str = "66.241.125.1";
    const V6: &str = "2a09:8280:1::1";

    fn certificate_of(status: &str, more: &serde_json::Value) -> Certificate {
        let mut certificate = json!({
            "hostname": "example.org", "configured": status == "active", "status": status,
            "dns_requirements": {"a": [V4], "aaaa": [V6]},
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            certificate[key] = value.clone();
        }
        serde_json::from_value(certificate).unwrap()
    }

    fn domain(certificate: Option<Certificate>, resolved: Result<&[&str], &str>) -> DomainFacts {
        let resolved = resolved.map(|all| all.iter().map(|one| one.parse().unwrap()).collect());
        DomainFacts {
            name: "example.org".into(),
            certificate: Some(Ok(certificate)),
            resolved: Some(resolved.map_err(str::to_owned)),
        }
    }

    #[test]
    fn a_certificate_is_there_or_says_what_it_waits_for() {
        let configured = ["example.org".to_owned()];
        let limited = json!({"rate_limited_until": "2026-11-25T00:00:00Z"});
        let errors = json!({"validation_errors": [{"message": "no AAAA record"}]});
        for (found, verdict, what, fix) in [
            (
                Some(certificate_of("active", &json!({}))),
                Verdict::Ok,
                "has its certificate",
                "",
            ),
            (
                None,
                Verdict::Warning,
                "no certificate was requested",
                "provision",
            ),
            (
                Some(certificate_of("pending_validation", &errors)),
                Verdict::Warning,
                "no AAAA record",
                "example.org AAAA 2a09:8280:1::1",
            ),
            (
                Some(certificate_of("pending_ownership", &json!({}))),
                Verdict::Warning,
                "whose it is",
                "example.org A 66.241.125.1",
            ),
            (
                Some(certificate_of("pending_validation", &limited)),
                Verdict::Warning,
                "until 2026-11-25",
                "wait",
            ),
        ] {
            let finding = certificate(&domain(found, Ok(&[V4])), &configured).unwrap();
            assert_eq!(finding.verdict, verdict, "{finding:?}");
            assert!(finding.what.contains(what), "{finding:?}");
            assert!(finding.fix.as_deref().unwrap_or_default().contains(fix));
        }
        assert_eq!(certificate(&domain(None, Ok(&[V4])), &[]), None);
    }

    #[test]
    fn dns_is_compared_with_what_the_app_needs() {
        let live = || Some(certificate_of("active", &json!({})));
        let pending = || Some(certificate_of("pending_validation", &json!({})));
        let other = "192.0.2.7";
        for (found, resolved, verdict, what) in [
            (
                live(),
                Ok([V4, V6].as_slice()),
                Verdict::Ok,
                "leads to 66.241.125.1",
            ),
            (
                live(),
                Ok(&[V4]),
                Verdict::Ok,
                "as far as this machine sees",
            ),
            (
                live(),
                Ok(&[other]),
                Verdict::Warning,
                "not to the app itself",
            ),
            (pending(), Ok(&[other]), Verdict::Broken, "not to the app"),
            (pending(), Ok(&[V4, other]), Verdict::Broken, "not all"),
            (pending(), Ok(&[]), Verdict::Broken, "no address"),
            (live(), Err("no such name"), Verdict::Broken, "no such name"),
        ] {
            let finding = dns(&domain(found, resolved), &[]).unwrap();
            assert_eq!(finding.verdict, verdict, "{finding:?}");
            assert!(finding.what.contains(what), "{finding:?}");
        }
    }

    #[test]
    fn without_a_certificate_the_addresses_of_the_app_are_what_is_needed() {
        let ips: Vec<IpAssignment> =
            serde_json::from_value(json!([{"ip": V4, "shared": true}])).unwrap();
        let found = dns(&domain(None, Ok(&[V4])), &ips).unwrap();
        assert_eq!(found.verdict, Verdict::Ok);
        let found = dns(&domain(None, Ok(&["192.0.2.7"])), &ips).unwrap();
        assert_eq!(found.verdict, Verdict::Broken);
        assert!(found.fix.unwrap().contains(V4));
        let found = dns(&domain(None, Ok(&["192.0.2.7"])), &[]).unwrap();
        assert_eq!(found.verdict, Verdict::Ok, "nobody says what it should be");
    }

    #[test]
    fn a_wildcard_has_no_address_of_its_own() {
        let wildcard = DomainFacts {
            name: "*.example.org".into(),
            certificate: None,
            resolved: None,
        };
        assert_eq!(dns(&wildcard, &[]), None);
        assert_eq!(certificate(&wildcard, &[]), None);
    }
}
