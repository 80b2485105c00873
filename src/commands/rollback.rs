//! `onsave rollback`: makes an earlier deploy current again.

use serde::Serialize;

use super::CommandError;
use crate::{
    after_publish::{self, Setup},
    cli::RollbackArgs,
    config::Config,
    publish::{Publisher, RolledBack},
    state_folder::SiteState,
    target::{Purpose, Target},
};

/// What `--json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'a> {
    deploy_id: &'a str,
    previous_deploy_id: Option<&'a str>,
    files: Option<u64>,
}

/// Runs the command, and returns what to print.
///
/// # Errors
///
/// [`CommandError`].
pub(super) async fn run(
    args: &RollbackArgs,
    config: Config,
    state: &SiteState,
) -> Result<String, CommandError> {
    let target = Target::open(&config, state, Purpose::Look).await?;
    let setup = Setup::of(&config, state, &target);
    let outcome = go_back(args, &target, &setup).await;
    target.close().await?;
    let rolled_back = outcome?;
    Ok(if args.json {
        super::json_line(&Output {
            deploy_id: &rolled_back.deploy_id,
            previous_deploy_id: rolled_back.previous.as_deref(),
            files: rolled_back.files,
        })
    } else {
        sentence(&rolled_back)
    })
}

async fn go_back(
    args: &RollbackArgs,
    target: &Target,
    setup: &Setup,
) -> Result<RolledBack, CommandError> {
    let id = args.id.map(|id| id.to_string());
    let mut publisher = target.publisher()?;
    Box::pin(after_publish::prepare(setup, &mut publisher)).await?;
    let rolled_back = publisher.rollback(id.as_deref()).await?;
    Box::pin(tell(setup, &mut publisher, &rolled_back)).await;
    Ok(rolled_back)
}

/// Tells others what is current again; whatever fails, the server went back.
async fn tell(setup: &Setup, publisher: &mut Publisher, rolled_back: &RolledBack) {
    if setup.entries.is_empty() {
        return;
    }
    let remote = match publisher.refresh().await {
        Ok(remote) => remote,
        Err(error) => {
            tracing::warn!(%error, "the next publish, or the next start of the daemon, tells others of it");
            return;
        }
    };
    super::tell_others(setup, remote, rolled_back.previous.clone()).await;
}

fn sentence(rolled_back: &RolledBack) -> String {
    let RolledBack {
        deploy_id,
        previous,
        files,
    } = rolled_back;
    let files = files.map_or_else(String::new, |files| format!(" ({files} files)"));
    match previous {
        Some(previous) if previous == deploy_id => {
            format!("{deploy_id}{files} was current already\n")
        }
        Some(previous) => format!("{deploy_id}{files} is current again, instead of {previous}\n"),
        None => format!("{deploy_id}{files} is current again\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_where_it_went() {
        let mut rolled_back = RolledBack {
            deploy_id: "1-00000000".into(),
            previous: Some("2-00000000".into()),
            files: Some(3),
        };
        let expected = "1-00000000 (3 files) is current again, instead of 2-00000000\n";
        assert_eq!(sentence(&rolled_back), expected);
        rolled_back.previous = Some("1-00000000".into());
        assert_eq!(
            sentence(&rolled_back),
            "1-00000000 (3 files) was current already\n"
        );
    }
}
