//! Tokens, organisations and apps.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    addresses::Address,
    certificates::Certificate,
    machines::Machine,
    refusal::Refusal,
    regions,
    route::Operation,
    secrets::Secrets,
    state::{Call, Effect, Outcome, Platform, Reply, Scope},
    volumes::Volume,
};

/// Longest name: a label of DNS.
const LONGEST_NAME: usize = 63;

/// An app and everything that it owns.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) organization: String,
    network: String,
    created_at: Timestamp,
    /// Before that, it is not found.
    pub(crate) visible_from: Timestamp,
    idempotency_key: Option<String>,
    pub(crate) addresses: Vec<Address>,
    pub(crate) secrets: Secrets,
    pub(crate) volumes: BTreeMap<String, Volume>,
    pub(crate) machines: BTreeMap<String, Machine>,
    pub(crate) certificates: BTreeMap<String, Certificate>,
}

impl App {
    fn to_json(&self) -> Value {
        let machines = self.machines.values().filter(|machine| !machine.is_gone());
        let status = if self.machines.is_empty() {
            "pending"
        } else {
            "deployed"
        };
        json!({
            "id": self.id,
            "name": self.name,
            "status": status,
            "organization": {"name": self.organization, "slug": self.organization},
            "network": self.network,
            "machine_count": machines.count(),
            "volume_count": self.volumes.values().filter(|volume| volume.is_usable()).count(),
        })
    }
}

impl Scope {
    /// Returns whether the token has anything to do with what is in an organisation, or with the app.
    pub(crate) fn covers(&self, organization: &str, app: &str) -> bool {
        match self {
            Self::Organization(own) | Self::ReadOnly(own) => own == organization,
            Self::App(own) => own == app,
            Self::User => true,
        }
    }
}

impl Platform {
    /// Returns an app that the caller may see.
    pub(crate) fn app(&mut self, call: &Call<'_>) -> Result<&mut App, Refusal> {
        if self.taken_names.contains(call.app) {
            return Err(Refusal::apps(403, "Unauthorized"));
        }
        let app = self
            .apps
            .get_mut(call.app)
            .filter(|app| app.visible_from <= call.now)
            .ok_or_else(|| Refusal::apps(404, "app not found"))?;
        if call.scope.covers(&app.organization, &app.name) {
            Ok(app)
        } else {
            Err(Refusal::apps(403, "Unauthorized"))
        }
    }

    /// As [`Platform::app`], in the words of what keeps machines, volumes and secrets.
    pub(crate) fn app_of_machines(&mut self, call: &Call<'_>) -> Result<&mut App, Refusal> {
        self.app(call).map_err(|refusal| {
            if refusal.status == 404 {
                Refusal::machines(400, format!("could not find app \"{}\"", call.app))
            } else {
                Refusal::machines(403, "unauthorized")
            }
        })
    }

    /// The organisation that a slug means; `personal` is the first that the token is for.
    fn organization(&self, slug: &str, scope: &Scope) -> Option<&str> {
        let mut organizations = self
            .organizations
            .iter()
            .map(|organization| organization.slug.as_str());
        organizations.find(|own| scope.covers(own, "") && (*own == slug || slug == "personal"))
    }

    pub(super) fn current_token(&self, call: &Call<'_>) -> Reply {
        let about = |slug: &str, apps: &[&str]| {
            json!([{
                "token_id": "c0ffee00",
                "org_slug": slug,
                "organization": slug,
                "apps": apps,
                "user": "",
                "source_machine_id": "",
                "restricted_to_machine": "",
            }])
        };
        let tokens = match call.scope {
            Scope::Organization(slug) | Scope::ReadOnly(slug) => about(slug, &[]),
            Scope::App(name) => {
                let app = self.apps.get(name);
                about(app.map_or("", |app| &app.organization), &[name])
            }
            // Only macaroons are described.
            Scope::User => json!([]),
        };
        Reply::ok(json!({"tokens": tokens}))
    }

    pub(super) fn placements(&self, call: &Call<'_>) -> Outcome {
        if self
            .organization(call.text("org_slug"), call.scope)
            .is_none()
        {
            return Err(Refusal::machines(400, "organization not found"));
        }
        let asked = call.text("region");
        let regions: Vec<Value> = regions::codes()
            .filter(|code| {
                asked.is_empty() || asked == "any" || asked.split(',').any(|one| one == *code)
            })
            .filter(|code| !self.full_regions.contains(*code))
            .map(|code| json!({"region": code, "count": 1, "concurrency": 10}))
            .collect();
        Ok(Reply::ok(json!({"regions": regions})))
    }

    pub(super) fn list_apps(&self, call: &Call<'_>) -> Outcome {
        let slug = call.query.get("org_slug").map_or("", String::as_str);
        let organization = self
            .organization(slug, call.scope)
            .ok_or_else(|| Refusal::apps(404, "organization not found"))?;
        let apps: Vec<Value> = self
            .apps
            .values()
            .filter(|app| app.organization == organization && app.visible_from <= call.now)
            .map(App::to_json)
            .collect();
        Ok(Reply::ok(json!({"total_apps": apps.len(), "apps": apps})))
    }

    pub(super) fn create_app(&mut self, call: &Call<'_>) -> Outcome {
        let given = call.text("name");
        let name = if given.is_empty() {
            call.text("app_name")
        } else {
            given
        }
        .to_owned();
        check_name(&name)?;
        let organization = self
            .organization(call.text("org_slug"), call.scope)
            .ok_or_else(|| Refusal::apps(404, "organization not found"))?
            .to_owned();
        let key = call.body["idempotency_key"].as_str().map(str::to_owned);
        if let Some(app) = self.apps.get(&name)
            && key.is_some()
            && app.idempotency_key == key
            && call.scope.covers(&app.organization, &name)
        {
            return Ok(app.made());
        }
        if self.apps.contains_key(&name) || self.taken_names.contains(&name) {
            return Err(Refusal::coded(
                422,
                "Name has already been taken",
                "name_taken",
            ));
        }
        let number = self.next_number();
        let app = App {
            id: format!("app{number:08x}"),
            name: name.clone(),
            organization,
            network: "default".to_owned(),
            created_at: call.now,
            visible_from: self.after(call.now, self.delays.app_visible),
            idempotency_key: key,
            addresses: Vec::new(),
            secrets: Secrets::default(),
            volumes: BTreeMap::new(),
            machines: BTreeMap::new(),
            certificates: BTreeMap::new(),
        };
        let reply = app.made();
        self.apps.insert(name, app);
        Ok(reply)
    }

    pub(super) fn answer_app(&mut self, operation: Operation, call: &Call<'_>) -> Outcome {
        match operation {
            Operation::AppGet => self.app(call).map(|app| Reply::ok(app.to_json())),
            Operation::DeployToken => {
                self.app(call)?;
                let number = self.next_number();
                let token = format!("fm2_deploy{number:08x}");
                self.tokens
                    .insert(token.clone(), Scope::App(call.app.to_owned()));
                Ok(Reply::ok(json!({"token": format!("FlyV1 {token}")})))
            }
            _ => self.delete_app(call),
        }
    }

    fn delete_app(&mut self, call: &Call<'_>) -> Outcome {
        let app = self.app(call)?;
        let running = app
            .machines
            .values()
            .any(|machine| !machine.is_gone() && !machine.is_still());
        if running && !call.flag("force") {
            return Err(Refusal::apps(
                412,
                "app has running machines; stop them first or use force",
            ));
        }
        let mut reply = Reply::empty(202);
        for id in app.machines.keys() {
            reply = reply.and(Effect::Destroy {
                app: call.app.to_owned(),
                machine: id.clone(),
            });
        }
        self.apps.remove(call.app);
        self.images
            .retain(|(repository, _), _| repository != call.app);
        Ok(reply)
    }
}

impl App {
    fn made(&self) -> Reply {
        Reply::with_status(
            201,
            json!({"id": self.id, "created_at": self.created_at.as_millisecond()}),
        )
    }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() {
        return Err(Refusal::apps(400, "Validation failed: Name can't be blank"));
    }
    if !name.chars().all(allowed) || name.starts_with('-') || name.ends_with('-') {
        return Err(Refusal::apps(
            422,
            "Validation failed: Name may only contain numbers, lowercase letters and dashes",
        ));
    }
    if name.len() > LONGEST_NAME {
        return Err(Refusal::apps(422, "Validation failed: Name is too long"));
    }
    Ok(())
}
