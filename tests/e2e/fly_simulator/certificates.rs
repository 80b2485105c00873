//! Certificates of custom domains, and the DNS that they depend on.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    addresses::Address,
    refusal::Refusal,
    route::Operation,
    state::{Call, Outcome, Platform, Reply},
};

/// What a name resolves to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DnsRecords {
    pub(crate) a: Vec<String>,
    pub(crate) aaaa: Vec<String>,
    pub(crate) cname: Option<String>,
}

/// A certificate that was asked for.
#[derive(Debug)]
pub(crate) struct Certificate {
    hostname: String,
    created_at: Timestamp,
    is_issued: bool,
}

impl Certificate {
    fn status(&self) -> &'static str {
        if self.is_issued {
            "active"
        } else {
            "pending_validation"
        }
    }

    fn detail(&self, app: &str, addresses: &[Address]) -> Value {
        let of_kind = |kinds: &[&str]| -> Vec<&str> {
            let mut found = addresses
                .iter()
                .filter(|one| kinds.contains(&one.kind))
                .map(|one| one.ip.as_str());
            found.by_ref().collect()
        };
        let bare = self.hostname.trim_start_matches("*.");
        let issued = if self.is_issued {
            let expires = (self.created_at + jiff::SignedDuration::from_hours(90 * 24)).to_string();
            json!([{
                "source": "fly",
                "status": "active",
                "created_at": self.created_at.to_string(),
                "expires_at": expires,
                "issuer": "Let's Encrypt",
                "issued": [
                    {"type": "rsa", "expires_at": expires, "certificate_authority": "lets_encrypt"},
                    {"type": "ecdsa", "expires_at": expires, "certificate_authority": "lets_encrypt"},
                ],
            }])
        } else {
            json!([])
        };
        let errors = if self.is_issued {
            json!([])
        } else {
            json!([{
                "code": "dns_not_configured",
                "message": format!("{} does not point to this app", self.hostname),
                "remediation": "add the records of dns_requirements",
                "timestamp": self.created_at.to_string(),
            }])
        };
        json!({
            "hostname": self.hostname,
            "configured": self.is_issued,
            "acme_requested": true,
            "status": self.status(),
            "dns_provider": "unknown",
            "certificates": issued,
            "validation": {
                "dns_configured": self.is_issued,
                "alpn_configured": self.is_issued,
                "http_configured": self.is_issued,
                "ownership_txt_configured": false,
            },
            "dns_requirements": {
                "a": of_kind(&["v4", "shared_v4"]),
                "aaaa": of_kind(&["v6"]),
                "cname": format!("{app}.fly.dev"),
                "acme_challenge": {
                    "name": format!("_acme-challenge.{bare}"),
                    "target": format!("{bare}.{app}.flydns.net"),
                },
                "ownership": {
                    "name": format!("_fly-ownership.{bare}"),
                    "app_value": format!("app-{app}"),
                    "org_value": "org-personal",
                },
            },
            "validation_errors": errors,
        })
    }
}

impl DnsRecords {
    fn point_to(&self, app: &str, addresses: &[Address]) -> bool {
        let has = |ips: &[String], six: bool| {
            addresses
                .iter()
                .any(|one| (one.kind == "v6") == six && ips.contains(&one.ip))
        };
        self.cname.as_deref() == Some(&format!("{app}.fly.dev"))
            || (has(&self.aaaa, true) && has(&self.a, false))
    }

    fn to_json(&self) -> Value {
        let resolved: Vec<&String> = self.a.iter().chain(&self.aaaa).collect();
        json!({
            "a": self.a,
            "aaaa": self.aaaa,
            "cname": self.cname.iter().collect::<Vec<_>>(),
            "resolved_addresses": resolved,
        })
    }
}

impl Platform {
    pub(super) fn answer_certificates(&mut self, operation: Operation, call: &Call<'_>) -> Outcome {
        self.app(call)?;
        match operation {
            Operation::CertificateList => {
                let app = self.app(call)?;
                let listed: Vec<Value> = app
                    .certificates
                    .values()
                    .map(Certificate::summary)
                    .collect();
                Ok(Reply::ok(
                    json!({"total_count": listed.len(), "certificates": listed}),
                ))
            }
            Operation::CertificateCreate => self.create_certificate(call),
            Operation::CertificateGet => self.certificate_detail(call).map(Reply::ok),
            Operation::CertificateCheck => {
                let records = self.dns.get(call.id).cloned().unwrap_or_default();
                let points_here = records.point_to(call.app, self.addresses_of(call.app));
                if let Some(certificate) = self.app(call)?.certificates.get_mut(call.id) {
                    certificate.is_issued = points_here;
                }
                let mut body = self.certificate_detail(call)?;
                body["dns_records"] = records.to_json();
                Ok(Reply::ok(body))
            }
            _ => {
                let removed = self.app(call)?.certificates.remove(call.id);
                removed.map(|_| Reply::empty(204)).ok_or_else(not_found)
            }
        }
    }

    fn certificate_detail(&self, call: &Call<'_>) -> Result<Value, Refusal> {
        let app = self.apps.get(call.app).ok_or_else(not_found)?;
        let certificate = app.certificates.get(call.id).ok_or_else(not_found)?;
        Ok(certificate.detail(&app.name, &app.addresses))
    }

    fn create_certificate(&mut self, call: &Call<'_>) -> Outcome {
        let hostname = call.text("hostname").to_ascii_lowercase();
        let labels = hostname.trim_start_matches("*.");
        if !labels.contains('.') || labels.contains(['/', ' ', ':', '*']) {
            return Err(Refusal::machines(
                422,
                format!("hostname {hostname:?} is invalid"),
            ));
        }
        let taken = self
            .apps
            .values()
            .any(|app| app.certificates.contains_key(&hostname));
        if taken {
            return Err(Refusal::machines(
                422,
                "Hostname already exists on this app or another",
            ));
        }
        let certificate = Certificate {
            hostname: hostname.clone(),
            created_at: call.now,
            is_issued: false,
        };
        let app = self.app(call)?;
        let detail = certificate.detail(&app.name, &app.addresses);
        app.certificates.insert(hostname, certificate);
        Ok(Reply::with_status(201, detail))
    }
}

impl Certificate {
    fn summary(&self) -> Value {
        json!({
            "hostname": self.hostname,
            "configured": self.is_issued,
            "acme_requested": true,
            "status": self.status(),
            "created_at": self.created_at.to_string(),
            "updated_at": self.created_at.to_string(),
            "dns_provider": "unknown",
            "has_fly_certificate": self.is_issued,
            "has_custom_certificate": false,
        })
    }
}

fn not_found() -> Refusal {
    Refusal::apps(404, "certificate not found")
}
