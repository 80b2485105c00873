//! Public addresses of apps: without one, nobody reaches an app.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    refusal::Refusal,
    route::Operation,
    state::{Call, Outcome, Platform, Reply},
};

/// An address that is assigned.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    pub(crate) ip: String,
    /// `v4`, `v6` or `shared_v4`.
    pub(crate) kind: &'static str,
    created_at: Timestamp,
}

impl Address {
    fn to_json(&self) -> Value {
        json!({
            "ip": self.ip,
            "region": "global",
            "service_name": "",
            "shared": self.kind == "shared_v4",
            "created_at": self.created_at.to_string(),
        })
    }
}

impl Platform {
    pub(super) fn answer_addresses(&mut self, operation: Operation, call: &Call<'_>) -> Outcome {
        match operation {
            Operation::IpList => {
                let app = self.app(call)?;
                let addresses: Vec<Value> = app.addresses.iter().map(Address::to_json).collect();
                Ok(Reply::ok(json!({"ips": addresses})))
            }
            Operation::IpAssign => self.assign_address(call),
            _ => {
                let app = self.app(call)?;
                let before = app.addresses.len();
                app.addresses.retain(|address| address.ip != call.id);
                if app.addresses.len() == before {
                    return Err(Refusal::apps(404, "IP address not found"));
                }
                Ok(Reply::empty(204))
            }
        }
    }

    fn assign_address(&mut self, call: &Call<'_>) -> Outcome {
        self.app(call)?;
        let kind = match call.text("type") {
            "v4" => "v4",
            "v6" => "v6",
            "shared_v4" => "shared_v4",
            other => {
                return Err(Refusal::apps(
                    400,
                    format!("unsupported IP type: {other:?}"),
                ));
            }
        };
        if !call.text("org_slug").is_empty() {
            return Err(Refusal::apps(
                400,
                "org_slug is only supported with private_v6 type",
            ));
        }
        let number = self.next_number();
        let app = self.app(call)?;
        if app.addresses.iter().any(|address| address.kind == kind) {
            return Err(Refusal::apps(
                409,
                format!("{kind} address already allocated"),
            ));
        }
        let address = Address {
            ip: match kind {
                "v6" => format!("2a09:8280:1::{:x}:{number:x}:0", 0x1a2b),
                "v4" => format!("198.51.100.{}", number % 250 + 1),
                _ => "203.0.113.66".to_owned(),
            },
            kind,
            created_at: call.now,
        };
        let reply = Reply::ok(address.to_json());
        app.addresses.push(address);
        Ok(reply)
    }
}
