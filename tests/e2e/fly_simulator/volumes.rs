//! Volumes: a slice of one disk in one region, for one machine at a time.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    failures::Consequence,
    failures::Failure,
    machine_config::Guest,
    refusal::Refusal,
    regions,
    route::Operation,
    state::{Call, Outcome, Platform, Reply},
};

/// What the API takes when no size is given, and the most that it gives; GB.
const DEFAULT_SIZE: u64 = 3;
const LARGEST_SIZE: u64 = 500;
const LONGEST_NAME: usize = 30;

/// How long a deleted volume is still listed.
const KEPT_WHEN_DELETED: Duration = Duration::from_hours(24);

/// A volume.
#[derive(Debug)]
pub(crate) struct Volume {
    pub(crate) id: String,
    name: String,
    pub(crate) region: String,
    zone: String,
    state: &'static str,
    created_at: Timestamp,
    ready_at: Timestamp,
    deleted_at: Option<Timestamp>,
    size_gb: u64,
    encrypted: bool,
    snapshot_retention: u64,
    auto_backup_enabled: bool,
    pub(crate) machine: Option<String>,
    /// The machine that its host was chosen for.
    pub(crate) compute: Option<Guest>,
    pub(crate) bytes_used: u64,
    snapshots: Vec<Value>,
}

impl Volume {
    /// Makes what time alone makes.
    pub(super) fn advance(&mut self, now: Timestamp) {
        if matches!(self.state, "creating" | "extending") && self.ready_at <= now {
            self.state = "created";
        }
    }

    /// Returns whether it was not deleted.
    pub(crate) const fn is_usable(&self) -> bool {
        self.deleted_at.is_none()
    }

    fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "size_gb": self.size_gb,
            "region": self.region,
            "zone": self.zone,
            "encrypted": self.encrypted,
            "attached_machine_id": self.machine.clone().unwrap_or_default(),
            "created_at": self.created_at.to_string(),
            "fstype": "ext4",
            "bytes_used": self.bytes_used,
            "bytes_total": self.size_gb << 30,
            "snapshot_retention": self.snapshot_retention,
            "auto_backup_enabled": self.auto_backup_enabled,
            "host_status": "ok",
        })
    }
}

impl Platform {
    pub(super) fn answer_volumes(&mut self, operation: Operation, call: &Call<'_>) -> Outcome {
        match operation {
            Operation::VolumeList => {
                let app = self.app_of_machines(call)?;
                let volumes: Vec<Value> = app
                    .volumes
                    .values()
                    .filter(|volume| volume.is_listed(call.now))
                    .map(Volume::to_json)
                    .collect();
                Ok(Reply::ok(volumes.into()))
            }
            Operation::VolumeCreate => self.create_volume(call),
            Operation::VolumeGet => Ok(Reply::ok(self.volume(call)?.to_json())),
            Operation::VolumeUpdate => self.update_volume(call),
            Operation::VolumeExtend => self.extend_volume(call),
            Operation::VolumeDelete => {
                let volume = self.usable_volume(call)?;
                if volume.machine.is_some() {
                    return Err(Refusal::machines(
                        409,
                        "volume is currently attached to a machine",
                    ));
                }
                volume.deleted_at = Some(call.now);
                volume.state = "pending_destroy";
                Ok(Reply::ok(volume.to_json()))
            }
            Operation::SnapshotList => Ok(Reply::ok(self.volume(call)?.snapshots.clone().into())),
            _ => {
                let number = self.next_number();
                let volume = self.usable_volume(call)?;
                let snapshot = json!({
                    "id": format!("vs_{number:016x}"),
                    "created_at": call.now.to_string(),
                    "digest": format!("{number:064x}"),
                    "retention_days": volume.snapshot_retention,
                    "size": 16_384,
                    "status": "created",
                    "volume_size": volume.size_gb << 30,
                });
                volume.snapshots.push(snapshot);
                Ok(Reply::empty(200))
            }
        }
    }

    pub(super) fn list_volumes_of_organization(&self, call: &Call<'_>) -> Outcome {
        if !call.scope.covers(call.app, "") {
            return Err(Refusal::machines(403, "unauthorized"));
        }
        let mut volumes = Vec::new();
        for app in self
            .apps
            .values()
            .filter(|app| app.organization == call.app)
        {
            for volume in app
                .volumes
                .values()
                .filter(|volume| volume.is_listed(call.now))
            {
                let mut listed = volume.to_json();
                listed["app_name"] = app.name.clone().into();
                volumes.push(listed);
            }
        }
        Ok(Reply::ok(json!({"volumes": volumes, "next_cursor": ""})))
    }

    fn volume(&mut self, call: &Call<'_>) -> Result<&mut Volume, Refusal> {
        let app = self.app_of_machines(call)?;
        app.volumes
            .get_mut(call.id)
            .filter(|volume| volume.is_listed(call.now))
            .ok_or_else(|| Refusal::machines(404, "volume not found"))
    }

    fn usable_volume(&mut self, call: &Call<'_>) -> Result<&mut Volume, Refusal> {
        let volume = self.volume(call)?;
        if volume.is_usable() {
            Ok(volume)
        } else {
            Err(Refusal::machines(422, "volume is being destroyed"))
        }
    }

    fn create_volume(&mut self, call: &Call<'_>) -> Outcome {
        self.app_of_machines(call)?;
        let name = call.text("name").to_owned();
        check_name(&name)?;
        let region = call.text("region").to_owned();
        if !regions::exists(&region) {
            return Err(Refusal::machines(
                400,
                format!("region {region:?} not found"),
            ));
        }
        if self.full_regions.contains(&region)
            && let Consequence::Refuse(refusal) = Failure::NoCapacity.consequence()
        {
            return Err(refusal);
        }
        let size_gb = call.body["size_gb"].as_u64().unwrap_or(DEFAULT_SIZE);
        check_size(size_gb)?;
        let retention = call.body["snapshot_retention"].as_u64().unwrap_or(5);
        check_retention(retention)?;
        let compute = call
            .body
            .get("compute")
            .filter(|compute| compute.is_object());
        let compute = compute
            .map(Guest::parse)
            .transpose()
            .map_err(|fault| Refusal::machines(400, fault))?;
        let number = self.next_number();
        let volume = Volume {
            id: format!("vol_{number:017x}"),
            name,
            region,
            zone: format!("{:04x}", number & 0xffff),
            state: "creating",
            created_at: call.now,
            ready_at: self.after(call.now, self.delays.volume),
            deleted_at: None,
            size_gb,
            encrypted: call.body["encrypted"].as_bool().unwrap_or(true),
            snapshot_retention: retention,
            auto_backup_enabled: call.body["auto_backup_enabled"].as_bool().unwrap_or(true),
            machine: None,
            compute,
            bytes_used: 16_384,
            snapshots: Vec::new(),
        };
        let reply = Reply::ok(volume.to_json());
        let app = self.app_of_machines(call)?;
        app.volumes.insert(volume.id.clone(), volume);
        Ok(reply)
    }

    fn update_volume(&mut self, call: &Call<'_>) -> Outcome {
        let volume = self.usable_volume(call)?;
        if let Some(days) = call.body["snapshot_retention"].as_u64() {
            check_retention(days)?;
            volume.snapshot_retention = days;
        }
        if let Some(enabled) = call.body["auto_backup_enabled"].as_bool() {
            volume.auto_backup_enabled = enabled;
        }
        Ok(Reply::ok(volume.to_json()))
    }

    fn extend_volume(&mut self, call: &Call<'_>) -> Outcome {
        let size_gb = call.body["size_gb"]
            .as_u64()
            .ok_or_else(|| Refusal::machines(400, "size_gb is required"))?;
        check_size(size_gb)?;
        let before = self.usable_volume(call)?.size_gb;
        if size_gb <= before {
            return Err(Refusal::machines(
                400,
                format!("volume can only grow: it has {before} GB"),
            ));
        }
        let ready_at = self.after(call.now, self.delays.volume);
        let volume = self.usable_volume(call)?;
        volume.size_gb = size_gb;
        volume.ready_at = ready_at;
        volume.state = "extending";
        Ok(Reply::ok(
            json!({"volume": volume.to_json(), "needs_restart": false}),
        ))
    }
}

impl Volume {
    fn is_listed(&self, now: Timestamp) -> bool {
        self.deleted_at
            .is_none_or(|deleted| now < deleted + KEPT_WHEN_DELETED)
    }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(allowed) {
        return Ok(());
    }
    Err(Refusal::machines(
        422,
        "name must be lowercase alphanumeric characters and underscores, and at most 30 of them",
    ))
}

fn check_size(size_gb: u64) -> Result<(), Refusal> {
    if (1..=LARGEST_SIZE).contains(&size_gb) {
        return Ok(());
    }
    Err(Refusal::machines(
        422,
        format!("size_gb must be between 1 and {LARGEST_SIZE}"),
    ))
}

fn check_retention(days: u64) -> Result<(), Refusal> {
    if (1..=60).contains(&days) {
        return Ok(());
    }
    Err(Refusal::machines(
        422,
        "snapshot_retention must be between 1 and 60",
    ))
}
