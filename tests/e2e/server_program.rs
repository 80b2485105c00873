//! `onsave-server` as an operator meets it: how it starts, refuses to start, drains, and checks its
//! volume.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::Command,
};

use crate::harness::{
    Server, World, eventually, server, site::Tree, sync_client, world::assert_serves,
};

fn tree(word: &str) -> Tree {
    let page = |name: &str| {
        (
            name.to_owned(),
            format!("<h1>{word}</h1> {name}").into_bytes(),
        )
    };
    ["index.html", "a/index.html", "b.txt"].map(page).into()
}

#[test]
fn sigterm_ends_what_was_begun_and_exits_0() {
    let mut world = World::new();
    let address = world.address();
    let published = sync_client::publish(address, None, (&Tree::new(), &tree("one"))).unwrap();
    assert_eq!(published.files, 3);

    // A request that has begun when the signal comes is answered.
    let mut begun = TcpStream::connect(address).unwrap();
    begun.write_all(b"GET / HTTP/1.1\r\nhost: e2e\r\n").unwrap();
    assert_eq!(crate::harness::http::get(address, "/").unwrap().status, 200);
    let id = world.server.process().id();
    Command::new("kill")
        .args(["-TERM", &id.to_string()])
        .status()
        .unwrap();
    eventually("the listener to be closed", || {
        TcpStream::connect(address).is_err()
    });
    begun.write_all(b"connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    begun.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(world.server.process().wait().code(), Some(0));

    world.restart_server();
    assert_serves(world.address(), &tree("one"));
}

#[test]
fn a_service_manager_hears_how_the_server_stands() {
    let world = World::new();
    let socket = UnixDatagram::bind(world.path("notify")).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut command = server::command(&world.path("notified volume"));
    command
        .env("NOTIFY_SOCKET", world.path("notify"))
        .env("WATCHDOG_USEC", "200000");
    let mut server = Server::start_with("notified", &mut command, &world.path("logs"));
    let mut messages = Vec::new();
    let mut hears = |what: &str| {
        eventually(what, || {
            let mut bytes = [0; 1024];
            while let Ok(length) = socket.recv(&mut bytes) {
                messages.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
            }
            let found = messages
                .iter()
                .position(|message| message.starts_with(what));
            // What was said before it is over.
            found.map(|at| messages.drain(..=at)).is_some()
        });
    };
    hears("READY=1\n");
    hears(&format!("STATUS=serving at http://{}", server.address()));
    // Fed, and fed again.
    hears("WATCHDOG=1\n");
    hears("WATCHDOG=1\n");
    server.process().ask_to_end();
    hears("STOPPING=1\n");
    assert_eq!(server.process().wait().code(), Some(0));
}

#[test]
fn the_current_tree_is_a_plain_folder() {
    let mut world = World::new();
    let one = tree("one");
    let mut two = tree("two");
    two.remove("b.txt");
    let first = sync_client::publish(world.address(), None, (&Tree::new(), &one)).unwrap();
    let id = first.deploy_id.to_string();
    sync_client::publish(world.address(), Some(&id), (&one, &two)).unwrap();
    world.server.stop();
    let current = crate::harness::SiteFolder::at(world.volume().join("current"));
    assert_eq!(current.tree(), two);
    let linked = fs::read_link(current.root()).unwrap();
    assert!(linked.starts_with("deploys"), "{}", linked.display());
}

#[test]
fn verify_finds_a_changed_byte() {
    let mut world = World::new();
    sync_client::publish(world.address(), None, (&Tree::new(), &tree("one"))).unwrap();
    world.server.stop();
    server::assert_sound(&world.volume());
    let object = first_file(&world.volume().join("objects"));
    let mut bytes = fs::read(&object).unwrap();
    bytes[0] ^= 1;
    // Objects are read-only; damage does not ask.
    fs::remove_file(&object).unwrap();
    fs::write(&object, bytes).unwrap();
    let output = server::verify(&world.volume());
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let name = object.file_name().unwrap().to_string_lossy().into_owned();
    assert!(said.contains(&name), "{said}");
}

fn first_file(folder: &Path) -> PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the volume can be read") {
            let path = entry.expect("it can be listed").path();
            if path.is_file() {
                return path;
            }
            folders.push(path);
        }
    }
    panic!("no file below {}", folder.display());
}

#[test]
fn a_start_that_cannot_work_names_every_fault() {
    let world = World::new();
    let empty = world.path("empty");
    fs::create_dir(&empty).unwrap();
    let mut command = server::command(&empty);
    command.env_remove("SYNC_SECRET").env("KEEP_DEPLOYS", "0");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("SYNC_SECRET") && said.contains("KEEP_DEPLOYS"),
        "{said}"
    );

    // Two servers over one volume would each overwrite what the other wrote.
    let second = server::command(&world.volume()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains(world.volume().to_str().unwrap()), "{said}");
}
