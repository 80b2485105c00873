//! Everything that is ever asked of the platform, held to its published description by Prism.

use super::desk::Desk;
use crate::fly_simulator::Prism;

#[test]
fn no_request_violates_the_published_description() {
    let mut desk = Desk::new();
    let prism = Prism::start(&desk.fly.api_url());
    desk.api_url = prism.url();
    desk.run_well(&["publish"]);
    desk.assert_complete();
    desk.configure(
        "\n[fly]\nmemory_mb = 512\nvolume_gb = 2\nsnapshot_days = 7\ndomains = [\"example.org\"]\n",
    );
    desk.run_well(&["provision"]);
    desk.run_well(&["secret", "rotate"]);
    desk.run_well(&["domain", "check", "example.org"]);
    desk.run_well(&["domain", "add", "*.example.org"]);
    desk.run_well(&["domain", "list"]);
    desk.run_well(&["domain", "remove", "*.example.org"]);
    desk.fly.fill_region("arn");
    desk.run_well(&["destroy", "--confirm", "my-site"]);
    // What asks which regions have room.
    let said = desk.run(&["publish"]);
    assert!(
        said.stderr.contains("nearest regions with room"),
        "{said:?}"
    );
    prism.assert_no_violation();
}
