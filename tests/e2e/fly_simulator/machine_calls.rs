//! What each call asks of machines; for those that run, what has to happen besides.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    failures::{Consequence, Failure, image_not_visible, secrets_not_visible},
    image::Reference,
    machine_config::{MachineConfig, duration},
    machines::{Machine, MachineState},
    refusal::Refusal,
    regions,
    route::Operation,
    state::{Call, Effect, Outcome, Platform, Reply},
};

impl Platform {
    pub(super) fn answer_machines(&mut self, operation: Operation, call: &Call<'_>) -> Outcome {
        use Operation as O;
        match operation {
            O::MachineList => self.list_machines(call),
            O::MachineCreate => self.create_machine(call),
            O::MachineUpdate => self.update_machine(call),
            O::MachineDelete => self.delete_machine(call),
            O::MachineStart | O::MachineStop | O::MachineRestart => {
                self.drive_machine(operation, call)
            }
            O::MachineGet => {
                self.machine(call)?;
                let app = &self.apps[call.app];
                Ok(Reply::ok(app.machines[call.id].to_json(app)))
            }
            O::MachineCordon | O::MachineUncordon => {
                let machine = self.machine(call)?;
                machine.check_lease(call.nonce, call.now)?;
                machine.is_cordoned = operation == O::MachineCordon;
                Ok(Reply::ok(json!({"ok": true})))
            }
            O::MachineEvents => Ok(Reply::ok(self.machine(call)?.events.clone().into())),
            O::MachineVersions => Ok(Reply::ok(self.machine(call)?.versions.clone().into())),
            O::MetadataGet => Ok(Reply::ok(json!(self.machine(call)?.config.metadata))),
            O::MetadataSet => {
                let value = call.text("value").to_owned();
                let machine = self.machine(call)?;
                machine.shown_config["metadata"][call.key] = value.clone().into();
                machine.config.metadata.insert(call.key.to_owned(), value);
                Ok(Reply::empty(204))
            }
            other => Err(Refusal::text(
                500,
                format!("{other:?} is no call about machines"),
            )),
        }
    }

    /// Returns a machine that the caller may see.
    pub(super) fn machine(&mut self, call: &Call<'_>) -> Result<&mut Machine, Refusal> {
        let app = self.app_of_machines(call)?;
        app.machines
            .get_mut(call.id)
            .ok_or_else(|| Refusal::machines(404, "machine not found"))
    }

    fn list_machines(&mut self, call: &Call<'_>) -> Outcome {
        let app = self.app_of_machines(call)?;
        let is_asked_for = |machine: &Machine| {
            call.query.iter().all(|(name, value)| match name.as_str() {
                "state" => value.split(',').any(|state| state == machine.state.word()),
                "region" => *value == machine.region,
                other => other
                    .strip_prefix("metadata.")
                    .is_none_or(|key| machine.config.metadata.get(key) == Some(value)),
            })
        };
        let machines: Vec<Value> = app
            .machines
            .values()
            .filter(|machine| call.flag("include_deleted") || !machine.is_gone())
            .filter(|machine| is_asked_for(machine))
            .map(|machine| machine.to_json(app))
            .collect();
        Ok(Reply::ok(machines.into()))
    }

    /// Reads a configuration and checks it against the rest of the state. `own` is the machine that it
    /// is for, when there is one.
    fn checked_config(
        &mut self,
        call: &Call<'_>,
        own: Option<&str>,
    ) -> Result<MachineConfig, Refusal> {
        let config = MachineConfig::parse(&call.body["config"])
            .map_err(|fault| Refusal::machines(400, fault))?;
        self.check_image(&config.image, call.now)?;
        if let Some(least) = call.body["min_secrets_version"].as_u64()
            && self.app_of_machines(call)?.secrets.seen(call.now).0 < least
        {
            return Err(secrets_not_visible(least));
        }
        let region = own.map_or_else(
            || call.text("region").to_owned(),
            |id| self.apps[call.app].machines[id].region.clone(),
        );
        let app = self.app_of_machines(call)?;
        for mount in &config.mounts {
            let volume = app.volumes.get(&mount.volume);
            let Some(volume) = volume.filter(|volume| volume.is_usable()) else {
                return Err(Refusal::machines(404, "volume does not exist"));
            };
            if volume.region != region {
                return Err(Refusal::machines(
                    400,
                    format!(
                        "Mounts source volume \"{}\" is in the wrong region (\"{}\" != \"{region}\")",
                        volume.id, volume.region
                    ),
                ));
            }
            if volume
                .machine
                .as_deref()
                .is_some_and(|user| Some(user) != own)
            {
                return Err(Refusal::machines(
                    409,
                    "volume is already attached to a machine",
                ));
            }
            let has_room = volume
                .compute
                .as_ref()
                .is_some_and(|compute| compute.has_room_for(&config.guest));
            if own.is_none() && !has_room {
                return Err(Refusal::machines(
                    412,
                    format!(
                        "insufficient resources to create new machine with existing volume '{}'",
                        volume.id
                    ),
                ));
            }
        }
        Ok(config)
    }

    fn check_image(&self, image: &str, now: Timestamp) -> Result<(), Refusal> {
        if self.public_images.contains_key(image) {
            return Ok(());
        }
        let reference = Reference::parse(image);
        if !self.registry_hosts.contains(&reference.host) {
            return Err(image_not_visible(image));
        }
        let visible = self
            .images
            .get(&(reference.repository, reference.tag_or_digest));
        if visible.is_some_and(|from| *from <= now) {
            Ok(())
        } else {
            Err(image_not_visible(image))
        }
    }

    fn create_machine(&mut self, call: &Call<'_>) -> Outcome {
        self.app_of_machines(call)?;
        let region = call.text("region").to_owned();
        if !regions::exists(&region) {
            return Err(Refusal::machines(
                400,
                format!("region {region:?} not found"),
            ));
        }
        let config = self.checked_config(call, None)?;
        if self.full_regions.contains(&region)
            && let Consequence::Refuse(refusal) = Failure::InsufficientCapacity.consequence()
        {
            return Err(refusal);
        }
        let number = self.next_number();
        let id = format!("{:014x}", 0x00d8_9100_0000_0000_u64 + number);
        let given = call.text("name").to_owned();
        let app = self.app_of_machines(call)?;
        let name = if given.is_empty() {
            format!("nameless-{number}")
        } else {
            given
        };
        if app
            .machines
            .values()
            .any(|machine| machine.name == name && !machine.is_gone())
        {
            return Err(Refusal::machines(
                409,
                format!(
                    "already_exists: unique machine name violation, machine ID already exists with name \"{name}\""
                ),
            ));
        }
        for mount in &config.mounts {
            if let Some(volume) = app.volumes.get_mut(&mount.volume) {
                volume.machine = Some(id.clone());
            }
        }
        let secrets = app.secrets.seen(call.now).1;
        let mut machine = Machine::new(&id, name, (number, call));
        machine.renew(config, secrets, (number, call));
        let lease = call.body["lease_ttl"].as_u64().map(|ttl| {
            let nonce = format!("{:012x}", 0x5eed_0000 + number);
            machine
                .give_lease("me@example.com", nonce, (call.now, ttl))
                .nonce
                .clone()
        });
        app.machines.insert(id.clone(), machine);
        let mut body = app.machines[&id].to_json(app);
        if let Some(nonce) = lease {
            body["nonce"] = nonce.into();
        }
        Ok(launched(Reply::ok(body), call, id))
    }

    fn update_machine(&mut self, call: &Call<'_>) -> Outcome {
        let machine = self.machine(call)?;
        if machine.is_gone() {
            return Err(Refusal::machines(404, "machine not found"));
        }
        machine.check_lease(call.nonce, call.now)?;
        if let Some(seen) = call.body["current_version"].as_str()
            && seen != machine.instance_id
        {
            return Err(Refusal::machines(
                409,
                format!(
                    "aborted: machine version is {}, not {seen}",
                    machine.instance_id
                ),
            ));
        }
        let region = call.text("region");
        if !region.is_empty() && region != machine.region {
            return Err(Refusal::machines(400, "region cannot be changed"));
        }
        let mounts = |config: &MachineConfig| -> Vec<String> {
            config
                .mounts
                .iter()
                .map(|mount| mount.volume.clone())
                .collect()
        };
        let before = mounts(&machine.config);
        let config = self.checked_config(call, Some(call.id))?;
        if mounts(&config) != before {
            return Err(Refusal::machines(
                400,
                "volumes of a machine cannot be changed",
            ));
        }
        let number = self.next_number();
        let app = self.app_of_machines(call)?;
        let secrets = app.secrets.seen(call.now).1;
        if let Some(machine) = app.machines.get_mut(call.id) {
            machine.renew(config, secrets, (number, call));
            let stays = call.body["skip_launch"] == true;
            let next = if stays {
                machine.state
            } else {
                MachineState::Replacing
            };
            machine.enter(next, "update", call.now);
        }
        let reply = Reply::ok(app.machines[call.id].to_json(app));
        Ok(launched(reply, call, call.id.to_owned()))
    }

    fn delete_machine(&mut self, call: &Call<'_>) -> Outcome {
        let machine = self.machine(call)?;
        machine.check_lease(call.nonce, call.now)?;
        if !machine.is_still() && !call.flag("force") {
            return Err(Refusal::machines(
                412,
                format!(
                    "failed_precondition: unable to destroy machine, not currently stopped, currently {}",
                    machine.state.word()
                ),
            ));
        }
        machine.enter(MachineState::Destroyed, "destroy", call.now);
        for volume in self.app_of_machines(call)?.volumes.values_mut() {
            if volume.machine.as_deref() == Some(call.id) {
                volume.machine = None;
            }
        }
        Ok(Reply::ok(json!({"ok": true})).and(Effect::Destroy {
            app: call.app.to_owned(),
            machine: call.id.to_owned(),
        }))
    }

    fn drive_machine(&mut self, operation: Operation, call: &Call<'_>) -> Outcome {
        let timeout = call.body["timeout"]
            .as_str()
            .or(call.query.get("timeout").map(String::as_str));
        let timeout = timeout
            .map(|text| match text.parse() {
                // In the query of a restart, a number of seconds is a time too.
                Ok(seconds) if operation == Operation::MachineRestart => {
                    Ok(Duration::from_secs(seconds))
                }
                _ => duration("timeout", text),
            })
            .transpose()
            .map_err(|fault| Refusal::machines(400, fault))?;
        if operation == Operation::MachineStop && call.body.is_array() {
            return Err(Refusal::machines(
                400,
                "json: cannot unmarshal array into Go value",
            ));
        }
        let signal = call.body["signal"].as_str().map(str::to_owned);
        let (app, id) = (call.app.to_owned(), call.id.to_owned());
        let machine = self.machine(call)?;
        machine.check_lease(call.nonce, call.now)?;
        if machine.is_gone() {
            return Err(Refusal::machines(404, "machine not found"));
        }
        let reply = Reply::ok(json!({"ok": true}));
        match operation {
            Operation::MachineStart if machine.state == MachineState::Started => Ok(reply),
            Operation::MachineStart => {
                machine.enter(MachineState::Starting, "start", call.now);
                Ok(reply.and(Effect::Launch { app, machine: id }))
            }
            Operation::MachineStop if machine.is_still() => Ok(reply),
            Operation::MachineStop => {
                machine.enter(MachineState::Stopping, "stop", call.now);
                Ok(reply.and(Effect::Stop {
                    app,
                    machine: id,
                    signal,
                    timeout,
                }))
            }
            _ => {
                machine.enter(MachineState::Stopping, "restart", call.now);
                Ok(reply.and(Effect::Launch { app, machine: id }))
            }
        }
    }
}

fn launched(reply: Reply, call: &Call<'_>, machine: String) -> Reply {
    if call.body["skip_launch"] == true {
        return reply;
    }
    reply.and(Effect::Launch {
        app: call.app.to_owned(),
        machine,
    })
}
