//! Debian's `docker-registry` on a port of its own choice, and what `skopeo` makes of what it holds.
//!
//! Both are other people's programs: neither shares a line with what is tested. A missing one fails,
//! and says how to install it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use tempfile::TempDir;

use super::{deadline::wait_for, process::Process};

/// The user that the registry lets in, as Fly's does.
pub(crate) const USER: &str = "x";

/// The password of that user; no part of it may ever be printed.
pub(crate) const TOKEN: &str = "fm2_e2e-registry-token";

/// Both of them as `htpasswd -B` writes them, with the least work that bcrypt has.
const HTPASSWD: &str = "x:$2y$04$onsaveEndToEndTests.uuXV2UrZlPWCCNaTukvoe914mFGNipLNC\n";

/// What to do about a program that is missing.
const INSTALL: &str = "install it with: ./scripts/test packages";

/// A running registry, whose store is gone when it is dropped.
#[derive(Debug)]
pub(crate) struct DockerRegistry {
    // Declared in the order of dropping: the program first, its folder last.
    process: Process,
    address: SocketAddr,
    folder: TempDir,
}

impl DockerRegistry {
    /// Starts a registry that holds nothing and lets in one user.
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("onsave-e2e-registry-")
            .tempdir()
            .expect("a temporary folder can be made");
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("logs")).expect("the folder is new");
        fs::write(path("htpasswd"), HTPASSWD).expect("the folder can be written");
        fs::write(path("config.yml"), config(folder.path())).expect("the folder can be written");
        let mut command = Command::new(installed("docker-registry"));
        command
            .env_clear()
            .arg("serve")
            .arg(path("config.yml"))
            .current_dir(folder.path());
        let mut process = Process::start("registry", &mut command, &path("logs"));
        let address = wait_for("the registry to listen", || {
            process.assert_running();
            listening(&process.stderr())
        });
        Self {
            process,
            address,
            folder,
        }
    }

    /// Returns where the registry listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns everything that the registry wrote.
    pub(crate) fn log(&self) -> String {
        self.process.stdout() + &self.process.stderr()
    }

    /// Returns a place in the registry's own folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns what `skopeo` prints, which has to succeed; it logs in as the user.
    pub(crate) fn skopeo(&self, arguments: &[&str]) -> Vec<u8> {
        let login = BASE64_STANDARD.encode(format!("{USER}:{TOKEN}"));
        let logins = serde_json::json!({"auths": {self.address.to_string(): {"auth": login}}});
        let logins_file = self.path("skopeo.json");
        fs::write(&logins_file, logins.to_string()).expect("the folder can be written");
        let output = Command::new(installed("skopeo"))
            .env_clear()
            .env("HOME", self.folder.path())
            .env("REGISTRY_AUTH_FILE", &logins_file)
            .args(["--insecure-policy", "--tmpdir"])
            .arg(self.folder.path())
            .args(arguments)
            .output()
            .expect("skopeo can be started");
        assert!(
            output.status.success(),
            "skopeo {arguments:?}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// Returns how `skopeo` names an image of this registry.
    pub(crate) fn image(&self, repository: &str, tag: &str) -> String {
        format!("docker://{}/{repository}:{tag}", self.address)
    }
}

fn config(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "version: 0.1\n\
         log: {{level: info, formatter: json}}\n\
         storage: {{filesystem: {{rootdirectory: {folder}/store}}}}\n\
         auth: {{htpasswd: {{realm: onsave, path: {folder}/htpasswd}}}}\n\
         http: {{addr: '127.0.0.1:0', secret: for-uploads-only}}\n"
    )
}

/// Returns the address in the line with which the registry says that it is ready.
fn listening(log: &str) -> Option<SocketAddr> {
    let after = log.split("\"listening on ").nth(1)?;
    after.split('"').next()?.parse().ok()
}

/// Returns the path of a program that `./scripts/test packages` installs.
fn installed(program: &str) -> PathBuf {
    ["/usr/bin", "/usr/local/bin"]
        .map(|folder| Path::new(folder).join(program))
        .into_iter()
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{program} is missing; {INSTALL}"))
}
