//! The DNS records that a domain needs, as a table for the person who sets them. Pure.

use crate::fly::resources::Certificate;

/// Returns the lines to show for certificates that wait for their domains' records.
#[must_use]
pub fn lines(certificates: &[Certificate]) -> Vec<String> {
    certificates.iter().flat_map(of_one).collect()
}

/// One record: its name, its type and what it says.
pub type Row = (String, &'static str, String);

fn of_one(certificate: &Certificate) -> Vec<String> {
    let host = &certificate.hostname;
    let rows = rows(certificate);
    let name_width = rows.iter().map(|row| row.0.len()).max().unwrap_or(0);
    let mut lines = vec![format!(
        "set these records for {host} with its DNS provider:"
    )];
    for (name, kind, value) in rows {
        lines.push(format!("  {name:name_width$}  {kind:5}  {value}"));
    }
    for error in &certificate.validation_errors {
        let remedy = error.remediation.as_deref();
        let remedy = remedy.map_or_else(String::new, |remedy| format!(" ({remedy})"));
        lines.push(format!("  {}{remedy}", error.message));
    }
    if let Some(until) = &certificate.rate_limited_until {
        lines.push(format!(
            "  the certificate authority refuses more requests until {until}"
        ));
    }
    lines.push(format!(
        "  `onsave domain check {host}` tells when it is done"
    ));
    lines
}

/// Returns the records that a certificate's domain needs.
#[must_use]
pub fn rows(certificate: &Certificate) -> Vec<Row> {
    let host = &certificate.hostname;
    let Some(needs) = &certificate.dns_requirements else {
        return Vec::new();
    };
    let mut rows: Vec<Row> = Vec::new();
    let is_wildcard = host.starts_with("*.");
    let addresses = needs
        .a
        .iter()
        .map(|address| ("A", address))
        .chain(needs.aaaa.iter().map(|address| ("AAAA", address)));
    rows.extend(addresses.map(|(kind, address)| (host.clone(), kind, address.clone())));
    // A wildcard is proven by a record of its own, and nothing else.
    if let Some(challenge) = &needs.acme_challenge
        && (is_wildcard || rows.is_empty())
    {
        rows.push((challenge.name.clone(), "CNAME", challenge.target.clone()));
    }
    if rows.is_empty()
        && let Some(cname) = &needs.cname
    {
        rows.push((host.clone(), "CNAME", cname.clone()));
    }
    if certificate.status == "pending_ownership"
        && let Some(ownership) = &needs.ownership
    {
        rows.push((ownership.name.clone(), "TXT", ownership.app_value.clone()));
    }
    rows
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn certificate(host: &str, status: &str) -> Certificate {
        serde_json::from_value(json!({
            "hostname": host,
            "status": status,
            "dns_requirements": {
                "a": ["66.241.125.1"],
                "aaaa": ["2a09:8280:1::1"],
                "cname": "x.fly.dev",
                "acme_challenge": {"name": "_acme-challenge.example.org", "target": "example.org.x.flydns.net"},
                "ownership": {"name": "_fly-ownership.example.org", "app_value": "app-1"},
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_domain_needs_its_two_addresses() {
        let lines = lines(&[certificate("example.org", "pending_validation")]);
        assert_eq!(
            lines,
            [
                "set these records for example.org with its DNS provider:",
                "  example.org  A      66.241.125.1",
                "  example.org  AAAA   2a09:8280:1::1",
                "  `onsave domain check example.org` tells when it is done",
            ]
        );
    }

    #[test]
    fn a_wildcard_and_a_doubted_owner_need_more() {
        let text = lines(&[certificate("*.example.org", "pending_ownership")]).join("\n");
        assert!(
            text.contains("_acme-challenge.example.org  CNAME"),
            "{text}"
        );
        assert!(text.contains("_fly-ownership.example.org   TXT"), "{text}");
    }
}
