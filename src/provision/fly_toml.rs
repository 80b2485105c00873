//! The app as a `fly.toml`: whole, so that a later `fly deploy` leaves it as it is.
//!
//! Pure. `fly deploy` takes the file for all that the machine ought to be; a file that leaves
//! something out takes it away. The names differ from the API's: this is the form of
//! <https://fly.io/docs/reference/configuration/>.

use std::fmt::Write as _;

use super::machine_config::{METRICS_PORT, SERVER_PORT, VOLUME_PATH, environment};
use crate::config::{Autostop, FlyTarget, quoted};

/// The first line, by which a file is known to be ours to replace.
pub const FIRST_LINE: &str = "# Written by `onsave provision --write-fly-toml`:";

/// Returns the file of an app that runs `image`.
#[must_use]
pub fn fly_toml(app: &str, target: &FlyTarget, image: &str) -> String {
    let mut text = format!(
        "{FIRST_LINE} all that the machine of this app is, so\n\
         # that `fly deploy` changes nothing. SYNC_SECRET is among the app's secrets.\n"
    );
    // Writing to a string cannot fail.
    let _infallible = write_file(&mut text, app, target, image);
    text
}

fn write_file(
    text: &mut String,
    app: &str,
    target: &FlyTarget,
    image: &str,
) -> Result<(), std::fmt::Error> {
    writeln!(text, "app = {}", quoted(app))?;
    writeln!(text, "primary_region = {}", quoted(&target.region))?;
    writeln!(text, "kill_signal = \"SIGTERM\"\nkill_timeout = 30\n")?;
    writeln!(text, "[build]\n  image = {}\n", quoted(image))?;
    writeln!(text, "[env]")?;
    for (name, value) in environment(target) {
        writeln!(text, "  {name} = {}", quoted(&value))?;
    }
    write_volume(text, target)?;
    let runs = match target.autostop {
        Autostop::Off => 1,
        Autostop::Stop | Autostop::Suspend => 0,
    };
    writeln!(
        text,
        "
[http_service]
  internal_port = {SERVER_PORT}
  force_https = true
  auto_stop_machines = {}
  auto_start_machines = true
  min_machines_running = {runs}

  [http_service.concurrency]
    type = \"requests\"
    soft_limit = 500
    hard_limit = 1000

  [http_service.http_options]
    h2_backend = true

  [http_service.tls_options]
    alpn = [\"h2\", \"http/1.1\"]

  [[http_service.checks]]
    method = \"GET\"
    path = \"/_icd/health\"
    interval = \"15s\"
    timeout = \"5s\"
    grace_period = \"10s\"

[[restart]]
  policy = \"always\"

[[vm]]
  cpu_kind = {}
  cpus = {}
  memory = \"{}mb\"

[metrics]
  port = {METRICS_PORT}
  path = \"/metrics\"

[deploy]
  # One volume, and so one machine: it is replaced in place.
  strategy = \"rolling\"",
        quoted(target.autostop.name()),
        quoted(target.guest.kind.name()),
        target.guest.cpus,
        target.guest.memory_mb,
    )
}

fn write_volume(text: &mut String, target: &FlyTarget) -> Result<(), std::fmt::Error> {
    let volume = &target.volume;
    writeln!(
        text,
        "
[[mounts]]
  source = {}
  destination = {}
  initial_size = \"{}gb\"
  snapshot_retention = {}",
        quoted(&volume.name),
        quoted(VOLUME_PATH),
        volume.size_gb,
        volume.snapshot_days,
    )?;
    if volume.limit_gb > volume.size_gb {
        writeln!(
            text,
            "  auto_extend_size_threshold = 80
  auto_extend_size_increment = \"1GB\"
  auto_extend_size_limit = \"{}GB\"",
            volume.limit_gb
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::tests::target;

    fn parsed(text: &str) -> toml_edit::DocumentMut {
        text.parse().unwrap()
    }

    #[test]
    fn the_file_has_all_that_the_machine_has() {
        let target = target();
        let text = fly_toml("my-site", &target, "registry.fly.io/my-site:onsave-1");
        let file = parsed(&text);
        assert_eq!(file["app"].as_str(), Some("my-site"));
        assert_eq!(file["primary_region"].as_str(), Some("arn"));
        for (name, value) in environment(&target) {
            assert_eq!(file["env"][name].as_str(), Some(value.as_str()), "{name}");
        }
        assert_eq!(file["mounts"][0]["destination"].as_str(), Some("/srv"));
        assert_eq!(
            file["mounts"][0]["auto_extend_size_limit"].as_str(),
            Some("10GB")
        );
        let service = &file["http_service"];
        assert_eq!(service["internal_port"].as_integer(), Some(8080));
        assert_eq!(service["auto_stop_machines"].as_str(), Some("off"));
        assert_eq!(service["checks"][0]["path"].as_str(), Some("/_icd/health"));
        assert_eq!(file["vm"][0]["memory"].as_str(), Some("256mb"));
        assert_eq!(file["metrics"]["port"].as_integer(), Some(9091));
    }

    #[test]
    fn a_volume_that_does_not_grow_says_nothing_of_growing() {
        let mut target = target();
        target.volume.limit_gb = 1;
        let text = fly_toml("a", &target, "i");
        assert!(!text.contains("auto_extend"));
        parsed(&text);
    }
}
