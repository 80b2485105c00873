//! A network of a story's own: a program lives in a namespace, and its only way out is a cable that can
//! be pulled.

use std::{
    net::{IpAddr, Ipv4Addr},
    process::Command,
};

use super::process::Process;

/// A cable between this machine and a program in a network namespace; gone when dropped.
#[derive(Debug)]
pub(crate) struct Cable {
    /// The program's process.
    program: u32,
    here: String,
    there: String,
    /// The third byte of the network that both ends are in, and changes with it.
    subnet: u8,
}

impl Cable {
    /// Lays a cable to a program that was started by `unshare --net`, and waits until it carries.
    pub(crate) fn to(program: &Process) -> Self {
        let id = program.id();
        let cable = Self {
            program: id,
            here: format!("ons{id}a"),
            there: format!("ons{id}b"),
            // Networks of other stories have other numbers, as far as a byte can tell them apart.
            subnet: u8::try_from(id % 200).expect("it is below 200"),
        };
        ip(&format!(
            "link add {} type veth peer name {} netns {id}",
            cable.here, cable.there
        ));
        cable.plug_in();
        cable
    }

    /// Returns this machine's address on the cable.
    pub(crate) const fn address(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 217, self.subnet, 1))
    }

    /// Gives both ends their addresses.
    fn plug_in(&self) {
        let network = format!("10.217.{}", self.subnet);
        ip(&format!("address add {network}.1/24 dev {}", self.here));
        ip(&format!("link set {} up", self.here));
        self.inside(&format!("address add {network}.2/24 dev {}", self.there));
        self.inside(&format!("link set {} up", self.there));
    }

    /// Pulls the cable out: what is sent is lost.
    pub(crate) fn pull(&self) {
        ip(&format!("link set {} down", self.here));
    }

    /// Puts it back.
    pub(crate) fn put_back(&self) {
        ip(&format!("link set {} up", self.here));
    }

    /// Gives the program another address in the same network, as another access point would: what comes
    /// for the old one reaches nobody.
    pub(crate) fn change_address(&self) {
        let network = format!("10.217.{}", self.subnet);
        self.inside(&format!("address flush dev {}", self.there));
        self.inside(&format!("address add {network}.77/24 dev {}", self.there));
    }

    fn inside(&self, arguments: &str) {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &self.program.to_string(), "ip"]);
        run(command.args(arguments.split(' ')));
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        // Gone already where the program is: the other end went with its namespace.
        let mut command = Command::new("ip");
        command.args(["link", "del", &self.here]);
        command.output().ok();
    }
}

fn ip(arguments: &str) {
    run(Command::new("ip").args(arguments.split(' ')));
}

fn run(command: &mut Command) {
    let output = command.output().expect("ip and nsenter are there");
    assert!(
        output.status.success(),
        "{command:?} needs root: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
