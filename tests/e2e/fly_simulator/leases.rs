//! Leases: who may change a machine for a while.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    machines::Machine,
    refusal::Refusal,
    route::Operation,
    state::{Call, Outcome, Platform, Reply},
};

const USUAL_TTL: u64 = 30;

/// A lease that was taken; it may have run out.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub(crate) nonce: String,
    owner: String,
    description: String,
    expires_at: Timestamp,
}

impl Lease {
    fn to_json(&self, version: &str) -> Value {
        json!({
            "status": "success",
            "data": {
                "nonce": self.nonce,
                "expires_at": self.expires_at.as_second(),
                "owner": self.owner,
                "description": self.description,
                "version": version,
            },
        })
    }
}

impl Machine {
    /// Returns the lease that counts now.
    fn lease_now(&self, now: Timestamp) -> Option<&Lease> {
        self.lease.as_ref().filter(|lease| now < lease.expires_at)
    }

    /// Refuses whoever changes a machine while somebody else holds its lease.
    pub(super) fn check_lease(&self, nonce: Option<&str>, now: Timestamp) -> Result<(), Refusal> {
        match self.lease_now(now) {
            Some(lease) if nonce != Some(lease.nonce.as_str()) => Err(Refusal::machines(
                409,
                format!(
                    "failed to get lease: lease currently held by {}, expires at {}",
                    lease.owner, lease.expires_at
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Gives somebody the lease.
    pub(super) fn give_lease(
        &mut self,
        owner: &str,
        nonce: String,
        (now, ttl): (Timestamp, u64),
    ) -> &mut Lease {
        self.lease.insert(Lease {
            nonce,
            owner: owner.to_owned(),
            description: String::new(),
            expires_at: now + Duration::from_secs(ttl),
        })
    }
}

impl Platform {
    pub(super) fn answer_leases(&mut self, operation: Operation, call: &Call<'_>) -> Outcome {
        match operation {
            Operation::LeaseTake => self.take_lease(call),
            Operation::LeaseGet => {
                let machine = self.machine(call)?;
                let lease = machine.lease_now(call.now).ok_or_else(not_found)?;
                let mut shown = lease.to_json(&machine.instance_id);
                // Whoever looks learns who, and not the key.
                shown["data"]["nonce"] = "".into();
                Ok(Reply::ok(shown))
            }
            _ => {
                let machine = self.machine(call)?;
                machine.lease_now(call.now).ok_or_else(not_found)?;
                machine.check_lease(call.nonce, call.now)?;
                machine.lease = None;
                Ok(Reply::ok(json!({"ok": true})))
            }
        }
    }

    fn take_lease(&mut self, call: &Call<'_>) -> Outcome {
        let number = self.next_number();
        let machine = self.machine(call)?;
        machine.check_lease(call.nonce, call.now)?;
        let ttl = call.query.get("ttl").and_then(|ttl| ttl.parse().ok());
        let ttl = ttl.or(call.body["ttl"].as_u64()).unwrap_or(USUAL_TTL);
        let kept = machine.lease_now(call.now).map(|lease| lease.nonce.clone());
        let nonce = kept.unwrap_or_else(|| format!("{:012x}", 0x5eed_0000 + number));
        let version = machine.instance_id.clone();
        let lease = machine.give_lease("me@example.com", nonce, (call.now, ttl));
        call.text("description").clone_into(&mut lease.description);
        Ok(Reply::with_status(201, lease.to_json(&version)))
    }
}

fn not_found() -> Refusal {
    Refusal::machines(404, "lease not found")
}
