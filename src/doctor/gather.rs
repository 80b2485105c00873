//! Finding out: the only part of the doctor that reads files and asks anybody.
//!
//! Only reads. What does not depend on one another is asked at once, and each question has its limit,
//! so that the whole takes about as long as the slowest answer.

mod here;
mod platform;
mod server;

use std::{path::PathBuf, time::Duration};

use futures_util::join;
use tokio::{task::spawn_blocking, time::timeout};

use self::here::Places;
use super::facts::{ConfigFacts, Facts, FlyFacts, Kind, PublicFacts, ServerFacts, SpaceFacts};
use crate::{
    config::{Examined, TargetConfig},
    http::{HttpError, PublicHttp},
    state_folder::SiteState,
    surroundings::Surroundings,
};

/// Where the system tells its limits of file events.
const INOTIFY: &str = "/proc/sys/fs/inotify";

/// How long the public URL may take to answer.
const PUBLIC_PATIENCE: Duration = Duration::from_secs(10);

/// What was found out about the target.
#[derive(Default)]
struct Beyond {
    server: Option<ServerFacts>,
    volume: Option<SpaceFacts>,
    fly: Option<FlyFacts>,
    public: Option<PublicFacts>,
}

/// Returns everything that can be found out about a site.
///
/// Cancel-safe: nothing is changed anywhere.
///
/// # Panics
///
/// When the thread that looks at this machine does, which has no reason to.
pub async fn gather(examined: &Examined, surroundings: &Surroundings) -> Facts {
    let parts = &examined.parts;
    let state = SiteState::locate(surroundings, &examined.root);
    let places = Places {
        state: state.as_ref().ok().map(|state| state.folder().to_owned()),
        site: parts.dir.clone(),
        poll: parts.watch.as_ref().map(|watch| watch.poll),
        limits: PathBuf::from(INOTIFY),
    };
    let here = spawn_blocking(move || here::look(places));
    // What asks everybody is large; whoever holds this future need not be.
    let beyond = Box::pin(look_beyond(examined, state.as_ref().ok()));
    let (here, beyond) = join!(here, beyond);
    let here = here.expect("looking at this machine does not panic");
    Facts {
        config: ConfigFacts {
            file: examined.file.clone(),
            kind: parts.target.as_ref().map(kind_of),
            faults: examined.faults.clone(),
            warnings: examined.warnings.clone(),
            log_fault: None,
        },
        state: state.map(|_| here.state),
        folder: here.folder,
        watch: here.watch,
        server: beyond.server,
        volume: beyond.volume,
        public: beyond.public,
        fly: beyond.fly,
    }
}

const fn kind_of(target: &TargetConfig) -> Kind {
    match target {
        TargetConfig::Local(_) => Kind::Local,
        TargetConfig::Url(_) => Kind::Url,
        TargetConfig::Fly(_) => Kind::Fly,
    }
}

async fn look_beyond(examined: &Examined, state: Option<&SiteState>) -> Beyond {
    let parts = &examined.parts;
    let publish = parts.publish.as_ref();
    let configured_url = publish.and_then(|publish| publish.public_url.clone());
    match &parts.target {
        Some(TargetConfig::Local(local)) => {
            let look = server::local(local, &examined.root, state);
            let (found, public) = join!(look, look_at_public(configured_url));
            Beyond {
                server: found.server,
                volume: found.volume,
                public,
                fly: None,
            }
        }
        Some(TargetConfig::Url(url)) => {
            let public = configured_url.unwrap_or_else(|| url.url.clone());
            let (server, public) = join!(server::elsewhere(url), look_at_public(Some(public)));
            Beyond {
                server: Some(server),
                public,
                ..Beyond::default()
            }
        }
        Some(TargetConfig::Fly(target)) => {
            // Without a home folder nothing is remembered, and no app is made either.
            let (Some(app), Some(state)) = (&parts.app, state) else {
                return Beyond::default();
            };
            let memory = platform::remember(target, app, state);
            let public = configured_url.unwrap_or_else(|| memory.public_url(target));
            let (fly, public) = join!(platform::look(target, memory), look_at_public(Some(public)));
            Beyond {
                server: fly.server,
                fly: Some(fly.app),
                public,
                volume: None,
            }
        }
        None => Beyond {
            public: look_at_public(configured_url).await,
            ..Beyond::default()
        },
    }
}

async fn look_at_public(url: Option<String>) -> Option<PublicFacts> {
    let url = url?;
    let first_page = format!("{}/", url.trim_end_matches('/'));
    let asked = async { PublicHttp::new(&url)?.head(&first_page).await };
    let status = match timeout(PUBLIC_PATIENCE, asked).await {
        Ok(seen) => seen.map(|seen| seen.status),
        Err(_) => Err(HttpError::Stalled(PUBLIC_PATIENCE)),
    };
    Some(PublicFacts { url, status })
}
