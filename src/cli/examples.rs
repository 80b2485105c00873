//! The examples at the end of each command's help.

pub(super) const EXAMPLES: &str = "\
Examples:
  onsave                                  watch deploy/ and serve it on this machine
  onsave watch public                     the same for the folder public/
  onsave publish --dry-run                show what a publish would change
  onsave --target https://example.org publish
                                          publish once to a running server
  onsave deploys                          list the deploys that can be gone back to
  onsave rollback                         make the deploy before the current one current
  onsave check                            show the configuration and where it comes from
  onsave doctor                           say what is wrong, and what to do about it

Environment:
  ONSAVE_SYNC_SECRET   the secret that the target shares; never an option
  ONSAVE_CONFIG        the configuration file, where --config is not given
  ONSAVE_<KEY>         any configuration key: ONSAVE_WATCH_QUIET_MS sets watch.quiet_ms
  RUST_LOG             the log filter; wins over every other setting of it
  NO_COLOR             when set, nothing is coloured

";

pub(super) const WATCH_EXAMPLES: &str = "\
Examples:
  onsave watch                            watch deploy/ and serve it on this machine
  onsave watch public --address 127.0.0.1:9000
                                          another folder, another port
  onsave watch --target https://example.org
                                          publish each save to a running server
";

pub(super) const PUBLISH_EXAMPLES: &str = "\
Examples:
  onsave publish --dry-run                show what would change, send nothing
  onsave publish -m 'new prices'          publish with a note
  onsave publish --json                   one JSON object, for scripts
  onsave publish --allow-removals         let a publish pass that removes most of the site
";

pub(super) const PROVISION_EXAMPLES: &str = "\
Examples:
  onsave --target fly provision --plan    show what the app needs, do nothing
  onsave provision                        make it so
  onsave provision --rebuild              the same, with this onsave's server

The token comes from FLY_ACCESS_TOKEN, FLY_API_TOKEN or the file that fly.token_file names.
";

pub(super) const SERVICE_EXAMPLES: &str = "\
Examples:
  onsave service install                  write the unit of this site, and start it
  onsave service status                   whether it runs, and how the site stands
  onsave service logs -f                  what it writes, from now on
  onsave service uninstall                stop it, and remove the unit
";

pub(super) const DEPLOYS_EXAMPLES: &str = "\
Examples:
  onsave deploys                          the list, the newest first
  onsave deploys 1777000001000-a1b2c3d4   what that deploy changed
";

pub(super) const ROLLBACK_EXAMPLES: &str = "\
Examples:
  onsave rollback                         back to the deploy before the current one
  onsave rollback 1777000001000-a1b2c3d4  back to that deploy
";

pub(super) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  onsave completions bash > ~/.local/share/bash-completion/completions/onsave
  onsave completions fish > ~/.config/fish/completions/onsave.fish
";

pub(super) const MAN_EXAMPLES: &str = "\
Examples:
  onsave man | man -l -                   read the page
  onsave man --out ~/.local/share/man/man1
                                          install the pages of every command
";

pub(super) const DOMAIN_EXAMPLES: &str = "\
Examples:
  onsave domain add www.example.org       request a certificate, show the records to set
  onsave domain check www.example.org     look whether they are set
  onsave domain list                      every domain, and what it waits for
";

pub(super) const DOCTOR_EXAMPLES: &str = "\
Examples:
  onsave doctor                           what is well and what is not, and what to do
  onsave doctor --json                    the same as one JSON object, for scripts

The exit code is 0 when nothing is broken, also when there are warnings, and 9 otherwise.
";

pub(super) const DELIVERIES_EXAMPLES: &str = "\
Examples:
  onsave deliveries list                  what waits and what failed, and why
  onsave deliveries resend cms.1777000000000
                                          send that one again
  onsave deliveries resend --all          send all again that failed
  onsave deliveries drop cms.1777000000000
                                          forget that one
";
