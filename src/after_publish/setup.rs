//! What deliveries need to know of the site besides their entries.

use std::path::PathBuf;

use onsave_server::config::{Serving, TrailingSlash};

use super::requests::Site;
use crate::{
    config::{AfterPublish, Config, TargetConfig},
    state_folder::SiteState,
    target::Target,
};

/// One site, its target and what is told of its publishes.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The state folder's `deliveries`.
    pub folder: PathBuf,
    /// What tells the target from others.
    pub target: String,
    /// Where the server is: scheme, host and port.
    pub target_url: String,
    /// What bodies say of the site.
    pub site: Site,
    /// The configuration's folder, in which commands run.
    pub root: PathBuf,
    /// The site folder.
    pub dir: PathBuf,
    /// What is told.
    pub entries: Vec<AfterPublish>,
    /// Variables of secrets, which commands do not get.
    pub kept: Vec<String>,
}

impl Setup {
    /// Returns the set-up of a configuration whose target is open.
    #[must_use]
    pub fn of(config: &Config, state: &SiteState, target: &Target) -> Self {
        Self {
            folder: state.deliveries(),
            target: target.identity().to_owned(),
            target_url: target.url().to_owned(),
            site: Site {
                app: config.app.clone(),
                url: config.publish.site_url(target.url()).to_owned(),
                slash: slash(&config.target),
            },
            root: config.root.clone(),
            dir: config.dir.clone(),
            entries: config.after_publish.clone(),
            kept: config.secret_variables(),
        }
    }

    /// Takes over what a reloaded configuration says.
    pub(crate) fn take_over(&mut self, config: &Config) {
        self.entries.clone_from(&config.after_publish);
        self.kept = config.secret_variables();
        config
            .publish
            .site_url(&self.target_url)
            .clone_into(&mut self.site.url);
    }
}

/// A running server of one's own has its own setting, which is most likely the default.
fn slash(target: &TargetConfig) -> TrailingSlash {
    match target {
        TargetConfig::Local(local) => local.serving.trailing_slash,
        TargetConfig::Fly(fly) => fly.serving.trailing_slash,
        TargetConfig::Url(_) => Serving::default().trailing_slash,
    }
}
