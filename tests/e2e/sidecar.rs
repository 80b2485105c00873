//! The example of a life beside a CMS: the CMS that is shipped writes, and the daemon publishes, set up
//! as the image and the Compose file say.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
};

use crate::harness::{World, eventually, http, process::Process};

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Starts the example's CMS over a world's site folder.
fn cms(world: &World) -> (Process, SocketAddr) {
    let mut command = Command::new("python3");
    command
        .args(["-u", "-B"])
        .arg(shipped("examples/sidecar/cms/cms.py"))
        .args(["--port", "0", "--site"])
        .arg(world.site.root());
    let mut cms = world.start("cms", &mut command);
    let port = cms.wait_for_line("the CMS is at port ");
    let address = format!("127.0.0.1:{port}").parse().expect("a port");
    (cms, address)
}

/// Sends the form as a browser does, and returns the answer.
fn send_form(cms: SocketAddr, form: &str) -> String {
    let mut stream = TcpStream::connect(cms).expect("the CMS listens");
    write!(
        stream,
        "POST / HTTP/1.0\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         content-length: {}\r\n\r\n{form}",
        form.len()
    )
    .expect("the CMS reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers text");
    answer
}

/// Returns what visitors see; nothing where nobody answers.
fn page(world: &World, target: &str) -> String {
    http::get(world.address(), target).map_or_else(String::new, |answer| answer.text())
}

#[test]
fn what_the_cms_saves_is_live() {
    for poll in ["auto", "always"] {
        let world = World::without_site();
        let (_cms, address) = cms(&world);
        let mut command = world.command(&["watch"]);
        command
            .env("ONSAVE_WATCH_POLL", poll)
            .env("ONSAVE_WATCH_POLL_INTERVAL_MS", "100");
        let mut daemon = world.start("watch", &mut command);
        eventually("the first page to be live", || {
            page(&world, "/").contains("It works")
        });
        let said = send_form(
            address,
            "name=news&title=News+%26+more&text=One%0D%0A%0D%0ATwo",
        );
        assert!(said.contains("Saved news."), "{said}");
        world.wait_until_live(&world.site.tree());
        let page = page(&world, "/news");
        assert!(page.contains("<h1>News &amp; more</h1>"), "{page}");
        assert!(page.contains("<p>One</p>\n<p>Two</p>"), "{page}");
        let said = send_form(address, "name=../../etc&title=x&text=x");
        assert!(said.starts_with("HTTP/1.0 422"), "{said}");
        send_form(address, "name=news&title=x&remove=yes");
        world.wait_until_live(&world.site.tree());
        assert_eq!(world.site.tree().len(), 1);
        daemon.assert_running();
    }
}

/// The variables that the image of the daemon sets.
fn of_image() -> BTreeMap<String, String> {
    let text = fs::read_to_string(shipped("Dockerfile")).expect("it is shipped");
    let (_, stage) = text.split_once(" AS daemon\n").expect("there is a daemon");
    let (_, after) = stage.split_once("\nENV ").expect("it sets variables");
    let (variables, _) = after.split_once("\nVOLUME").expect("they end there");
    let pairs = variables
        .split([' ', '\\', '\n'])
        .filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').expect("a name has a value");
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

/// The variables that the Compose file sets or offers in a comment, as docker-compose reads it.
fn of_compose(world: &World, is_offered: bool) -> BTreeMap<String, String> {
    let text = fs::read_to_string(shipped("examples/sidecar/compose.yaml")).expect("it is shipped");
    let file = world.path("compose.yaml");
    let text = if is_offered {
        let lines = text
            .lines()
            .map(|line| match line.split_once("      # ONSAVE_") {
                Some((_, offered)) => format!("      ONSAVE_{offered}\n"),
                None if line.trim_start().starts_with("ONSAVE_TARGET_KIND") => String::new(),
                None => format!("{line}\n"),
            });
        lines.collect()
    } else {
        text
    };
    fs::write(&file, text).expect("the world can be written");
    let output = Command::new("docker-compose")
        .arg("-f")
        .arg(&file)
        .arg("config")
        .output()
        .expect("install it: apt-get install docker-compose");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    let pairs = said.lines().filter_map(|line| {
        let (name, value) = line.trim().split_once(": ")?;
        let value = value.trim_matches(['\'', '"']).to_owned();
        name.starts_with("ONSAVE_")
            .then(|| (name.to_owned(), value))
    });
    pairs.collect()
}

#[test]
fn the_image_and_the_compose_file_say_what_onsave_understands() {
    let world = World::without_site();
    for is_offered in [false, true] {
        let compose = of_compose(&world, is_offered);
        assert_eq!(compose.contains_key("ONSAVE_WATCH_POLL"), is_offered);
        let mut command = world.bare_command(&["check", "--json"]);
        command.env("FLY_API_TOKEN", "a-token-of-nobody");
        command.envs(of_image()).envs(&compose);
        let output = command.output().expect("onsave can be started");
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stdout);
        for value in ["/state/volume", "/usr/local/bin/onsave-server"] {
            assert!(said.contains(value), "{said}");
        }
        for (name, value) in &compose {
            assert!(said.contains(value.as_str()), "{name}={value}: {said}");
        }
    }
}
