//! The server's image on its way: made here, pushed to a real registry, read by another client, and
//! run from what came back.

#![expect(
    clippy::unwrap_used,
    reason = "what fails in a story's own steps fails the story"
)]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{LazyLock, Mutex},
};

use onsave::{
    image::{Blob, Image},
    registry::{Credentials, PushEvent, Pushed, Registry, RegistryError},
};
use serde_json::Value;

use crate::harness::{
    Server, eventually, http,
    registry::{DockerRegistry, TOKEN, USER},
    relay::Relay,
    server::{SECRET, static_program},
    site::Tree,
    sync_client,
    world::{assert_serves, wait_until_live},
};

const REPOSITORY: &str = "my-app";

/// One image for all stories: compressing a program with its debug information takes seconds.
static IMAGE: LazyLock<Image> = LazyLock::new(|| {
    let program = fs::read(static_program()).unwrap();
    Image::of_server(&program, env!("CARGO_PKG_VERSION")).unwrap()
});

fn push_as(token: &str, host: &str, image: &Image) -> Result<Pushed, RegistryError> {
    let registry = Registry::new(host, Credentials::new(USER, token))?;
    let events = Mutex::new(Vec::new());
    let tag = image.tag();
    let told = |event: PushEvent| events.lock().unwrap().push(event);
    let pushed = run(registry.push(REPOSITORY, image, &tag, told));
    for event in events.into_inner().unwrap() {
        // Nothing here fails by itself: a retry would hide a fault.
        assert!(!matches!(event, PushEvent::Retrying { .. }), "{event:?}");
    }
    pushed
}

fn push(host: &str, image: &Image) -> Pushed {
    push_as(TOKEN, host, image).unwrap()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(future)
}

fn parsed(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap()
}

/// Copies the image out of the registry, into an OCI layout in a folder.
fn copied_by_skopeo(registry: &DockerRegistry, tag: &str) -> PathBuf {
    let layout = registry.path("layout");
    registry.skopeo(&[
        "copy",
        "--quiet",
        "--preserve-digests",
        "--src-tls-verify=false",
        &registry.image(REPOSITORY, tag),
        &format!("oci:{}:{tag}", layout.display()),
    ]);
    layout
}

fn blob_in(layout: &Path, digest: &str) -> PathBuf {
    let digits = digest.strip_prefix("sha256:").unwrap();
    layout.join("blobs/sha256").join(digits)
}

#[test]
fn another_client_agrees_on_every_digest() {
    let registry = DockerRegistry::start();
    let image = &*IMAGE;
    let tag = image.tag();
    let host = registry.address().to_string();
    let pushed = push(&host, image);
    assert_eq!((pushed.blobs_sent, pushed.digest), (2, image.digest()));
    assert_eq!(
        pushed.reference,
        format!("{host}/{REPOSITORY}@{}", image.digest())
    );

    let name = registry.image(REPOSITORY, &tag);
    let inspect = |more: &[&str]| {
        let arguments = ["inspect", "--tls-verify=false"];
        registry.skopeo(&[&arguments[..], more, &[name.as_str()]].concat())
    };
    let seen = parsed(&inspect(&[]));
    assert_eq!(seen["Digest"], image.digest().to_string());
    assert_eq!(
        seen["Layers"],
        serde_json::json!([image.layer.digest.to_string()])
    );
    assert_eq!(
        (&seen["Architecture"], &seen["Os"]),
        (&"amd64".into(), &"linux".into())
    );
    assert_eq!(
        seen["Labels"]["org.opencontainers.image.version"],
        env!("CARGO_PKG_VERSION")
    );
    assert!(
        inspect(&["--raw"]) == image.manifest.bytes,
        "the manifest is as it was sent"
    );
    let config = inspect(&["--config", "--raw"]);
    assert!(
        config == image.config.bytes,
        "the configuration is as it was sent"
    );

    // A copy checks every digest, that of the unpacked layer included, and changes nothing.
    let layout = copied_by_skopeo(&registry, &tag);
    let index = parsed(&fs::read(layout.join("index.json")).unwrap());
    assert_eq!(index["manifests"][0]["digest"], image.digest().to_string());
    let same =
        |blob: &Blob| fs::read(blob_in(&layout, &blob.digest.to_string())).unwrap() == blob.bytes;
    assert!(same(&image.manifest) && same(&image.config) && same(&image.layer));
}

#[test]
fn what_the_registry_has_is_not_sent_again() {
    let registry = DockerRegistry::start();
    let relay = Relay::start(registry.address());
    let host = relay.address().to_string();
    let image = &*IMAGE;
    push(&host, image);
    assert!(relay.bytes() > image.layer.bytes.len() as u64);
    relay.take_requests();

    let before = relay.bytes();
    let again = push(&host, image);
    assert_eq!((again.blobs_sent, again.bytes_sent), (0, 0));
    let mut requests = relay.take_requests();
    requests.sort_unstable();
    let mut expected = vec![
        format!("HEAD /v2/{REPOSITORY}/blobs/{}", image.config.digest),
        format!("HEAD /v2/{REPOSITORY}/blobs/{}", image.layer.digest),
        format!("PUT /v2/{REPOSITORY}/manifests/{}", image.tag()),
    ];
    expected.sort_unstable();
    assert_eq!(requests, expected);
    assert!(relay.bytes() - before < 10_000);
}

#[test]
fn images_are_found_by_tag_and_by_digest() {
    let registry = DockerRegistry::start();
    let image = &*IMAGE;
    let client = Registry::new(
        &registry.address().to_string(),
        Credentials::new(USER, TOKEN),
    )
    .unwrap();
    let exists = |reference: &str| run(client.exists(REPOSITORY, reference)).unwrap();
    assert_eq!(exists(&image.tag()), None);
    push(&registry.address().to_string(), image);
    for reference in [image.tag(), image.digest().to_string()] {
        assert_eq!(exists(&reference), Some(image.digest()));
    }
}

#[test]
fn a_wrong_token_is_told_and_never_shown() {
    let registry = DockerRegistry::start();
    let wrong = "fm2_not-the-token-at-all";
    let error = push_as(wrong, &registry.address().to_string(), &IMAGE).unwrap_err();
    assert!(
        matches!(error, RegistryError::Unauthorised { .. }),
        "{error:?}"
    );
    assert!(error.hint().contains("fly tokens create org"));
    for text in [
        format!("{error:?} {error} {}", error.hint()),
        registry.log(),
    ] {
        assert!(!text.contains(wrong), "{text}");
    }
}

/// As a container runtime would: the layer as the root folder, the configuration's environment and
/// entry point, devices, and nothing else.
#[test]
fn the_copied_image_runs_and_takes_a_site() {
    let registry = DockerRegistry::start();
    let image = &*IMAGE;
    push(&registry.address().to_string(), image);
    let layout = copied_by_skopeo(&registry, &image.tag());
    let manifest = parsed(&fs::read(blob_in(&layout, &image.digest().to_string())).unwrap());
    let blob = |descriptor: &Value| blob_in(&layout, descriptor["digest"].as_str().unwrap());
    let config = parsed(&fs::read(blob(&manifest["config"])).unwrap());
    let root = registry.path("root");
    unpack(&blob(&manifest["layers"][0]), &root);

    let mut command = in_root(&root, &config["config"]);
    command.env("PORT", "0").env("SYNC_SECRET", SECRET);
    let mut server = Server::start_with("image", &mut command, &registry.path("logs"));
    let health = http::get(server.address(), "/_icd/health").unwrap();
    assert_eq!(
        (health.status, parsed(&health.body)["ok"] == true),
        (200, true)
    );

    let tree = Tree::from([("index.html".to_owned(), b"<h1>from the image</h1>".to_vec())]);
    sync_client::publish(server.address(), None, (&Tree::new(), &tree)).unwrap();
    wait_until_live(server.address(), &tree);
    assert_serves(server.address(), &tree);
    // The first tree of links is made beside the commit.
    eventually("the volume to be /srv", || {
        root.join("srv/current/index.html").is_file()
    });

    // The health check of the image, in the same root folder.
    let port = server.address().port().to_string();
    let ask = || {
        let mut command = in_root(&root, &config["config"]);
        command.arg("--health").env("PORT", &port);
        command.output().unwrap()
    };
    let well = ask();
    assert!(well.status.success(), "{well:?}");
    server.stop();
    assert_eq!(ask().status.code(), Some(1));
}

/// Unpacks a layer with a program that has nothing in common with what packed it.
fn unpack(layer: &Path, root: &Path) {
    fs::create_dir(root).unwrap();
    let unpacked = Command::new("tar")
        .arg("-xzpf")
        .arg(layer)
        .arg("-C")
        .arg(root)
        .output()
        .expect("tar can be started");
    assert!(unpacked.status.success(), "{unpacked:?}");
    let mut names: Vec<String> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["onsave-server", "srv"]);
    let mode = |name: &str| fs::metadata(root.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("onsave-server"), mode("srv")), (0o755, 0o755));
}

/// Returns a command that runs the entry point of `config` with `root` as its root folder, in mount
/// and, unless root starts it, user namespaces of its own.
fn in_root(root: &Path, config: &Value) -> Command {
    fs::create_dir_all(root.join("dev")).unwrap();
    let texts = |list: &Value| -> Vec<String> {
        let list = list.as_array().unwrap().iter();
        list.map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut command = Command::new("/usr/bin/unshare");
    command.env_clear().arg("--mount");
    if !rustix::process::getuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["/bin/sh", "-c"])
        .arg("/bin/mount --rbind /dev \"$0/dev\" && exec /usr/sbin/chroot \"$0\" \"$@\"")
        .arg(root)
        .args(texts(&config["Entrypoint"]));
    for variable in texts(&config["Env"]) {
        let (name, value) = variable.split_once('=').unwrap();
        command.env(name, value);
    }
    command.env("ADDRESS", "127.0.0.1");
    command
}
