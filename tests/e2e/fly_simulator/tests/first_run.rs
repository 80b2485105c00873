//! The simulator with the client that it is for. What a user sees of it is told by stories of their own.

use std::process::Command;

use crate::{
    fly_simulator::{Delays, FlySimulator, ORGANIZATION_TOKEN, Options, Prism},
    harness::{World, http, server::static_program},
};

/// A world whose site goes to the app `first-run`.
fn world(simulator: &FlySimulator) -> World {
    let world = World::new();
    world.site.write("index.html", "<p>first");
    world.configure(&format!(
        "app = \"first-run\"\n[target]\nkind = \"fly\"\n[fly]\nserver_binary = \"{}\"\napp_url = \"{}\"\n",
        static_program().display(),
        simulator.edge_url()
    ));
    world
}

/// A command to the simulated platform, whose Machines API is reached at `api_url`.
fn command(world: &World, simulator: &FlySimulator, api_url: &str) -> Command {
    let mut command = world.bare_command(&["publish"]);
    command
        .env("FLY_API_TOKEN", ORGANIZATION_TOKEN)
        .env("FLY_FLAPS_BASE_URL", api_url)
        .env("FLY_API_BASE_URL", simulator.older_api_url())
        .env("FLY_REGISTRY_HOST", simulator.registry_host());
    command
}

fn run_well(mut command: Command) {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", output.status);
}

#[test]
fn every_call_of_a_first_run_is_as_described() {
    let simulator = FlySimulator::start(&Options::default());
    let prism = Prism::start(&simulator.api_url());
    let world = world(&simulator);
    run_well(command(&world, &simulator, &prism.url()));
    prism.assert_no_violation();
    let page = http::get(simulator.edge_address(), "/").unwrap();
    assert_eq!((page.status, page.text().as_str()), (200, "<p>first"));
    assert!(
        simulator
            .writes()
            .iter()
            .any(|write| write.path == "/v1/apps/first-run/machines")
    );

    simulator.forget_requests();
    world.site.write("index.html", "<p>second");
    run_well(command(&world, &simulator, &prism.url()));
    prism.assert_no_violation();
    assert_eq!(simulator.writes(), [], "the app is there");
    let page = http::get(simulator.edge_address(), "/").unwrap();
    assert_eq!(page.text(), "<p>second");
}

#[test]
fn a_first_run_gets_through_limits_and_delays() {
    let simulator = FlySimulator::start(&Options {
        delays: Delays::eventual(),
        has_limits: true,
        ..Options::default()
    });
    let world = world(&simulator);
    run_well(command(&world, &simulator, &simulator.api_url()));
    let page = http::get(simulator.edge_address(), "/").unwrap();
    assert_eq!(page.text(), "<p>first");
}
