//! One thread for each machine: starts its program, watches it, checks it, ends it, and says all that
//! to the state.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::json;
use tokio::time::Instant;

use super::{
    boot::{Booted, Dialer, Plan, signal},
    failures::Fate,
    image::{self, Reference},
    machine_config::{MachineConfig, NamedCheck, duration},
    machines::{Machine, MachineState},
    simulation::{Simulation, lock},
    state::Effect,
};
use crate::harness::http::{Connection, Request};

/// How often a running program is looked at.
const TICK: Duration = Duration::from_millis(10);
/// How often a machine is checked that is well.
const CHECK_WHEN_WELL: Duration = Duration::from_secs(1);
/// How long one check may take.
const LONGEST_CHECK: Duration = Duration::from_secs(2);
/// How long a program has to end, when its configuration does not say.
const USUAL_STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The thread of one machine, from outside.
#[derive(Debug)]
pub(crate) struct Runner {
    orders: SyncSender<Effect>,
    thread: Option<JoinHandle<()>>,
}

impl Runner {
    /// Starts the thread of a machine: (app, id).
    pub(crate) fn start(simulation: Arc<Simulation>, machine: (String, String)) -> Self {
        let (orders, received) = mpsc::sync_channel(64);
        let thread = thread::spawn(move || {
            let (app, id) = machine;
            MachineThread {
                simulation,
                app,
                id,
                running: None,
                restarts: 0,
                boots: 0,
                next_check: Instant::now(),
            }
            .run(&received);
        });
        Self {
            orders,
            thread: Some(thread),
        }
    }

    /// Gives an order; they are followed one after the other.
    pub(crate) fn order(&self, order: Effect) {
        // The thread of a machine that was destroyed is gone, and needs no orders.
        self.orders.try_send(order).ok();
    }

    /// Lets the machine end, and returns what can be waited for.
    pub(crate) fn end(mut self) -> Option<JoinHandle<()>> {
        self.thread.take()
    }
}

/// What a machine's version needs to run, read at once from the state.
struct Version {
    instance: String,
    config: MachineConfig,
    secrets: BTreeMap<String, String>,
    fate: Fate,
}

struct MachineThread {
    simulation: Arc<Simulation>,
    app: String,
    id: String,
    running: Option<(Booted, Version)>,
    restarts: u32,
    boots: u32,
    next_check: Instant,
}

impl MachineThread {
    fn run(mut self, orders: &Receiver<Effect>) {
        loop {
            match orders.recv_timeout(TICK) {
                Ok(Effect::Launch { .. }) => {
                    self.stop_program(None, None);
                    self.restarts = 0;
                    self.launch();
                }
                Ok(Effect::Stop {
                    signal, timeout, ..
                }) => {
                    self.stop_program(signal.as_deref(), timeout);
                    self.report(|machine, now| machine.enter(MachineState::Stopped, "stop", now));
                }
                Ok(Effect::Destroy { .. }) => {
                    self.stop_program(Some("SIGKILL"), None);
                    return;
                }
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Changes the machine in the state, when it is still there.
    fn report(&self, change: impl FnOnce(&mut Machine, Timestamp)) {
        self.simulation.with(|platform, now| {
            let app = platform.apps.get_mut(&self.app);
            let machine = app.and_then(|app| app.machines.get_mut(&self.id));
            if let Some(machine) = machine.filter(|machine| !machine.is_gone()) {
                change(machine, now);
            }
        });
    }

    /// Waits as long as the platform takes from one state to the next.
    fn delay(&self) {
        let delay = self.simulation.with(|platform, now| {
            let delay = platform.delays.machine_state;
            platform.after(now, delay);
            delay
        });
        crate::harness::deadline::look_until(Instant::now() + delay, || None::<()>);
    }

    fn version(&self) -> Option<Version> {
        self.simulation.with(|platform, _| {
            let machine = platform.apps.get(&self.app)?.machines.get(&self.id)?;
            Some(Version {
                instance: machine.instance_id.clone(),
                config: machine.config.clone(),
                secrets: machine.secrets.clone(),
                fate: machine.fate,
            })
        })
    }

    fn launch(&mut self) {
        self.delay();
        self.report(|machine, now| machine.enter(MachineState::Starting, "start", now));
        let Some(version) = self.version() else {
            return;
        };
        let before = self.simulation.elapsed();
        let booted = self.boot(&version);
        // What the simulator takes for the image is the platform's time, and not its client's.
        let taken = self.simulation.elapsed().saturating_sub(before);
        self.simulation
            .with(|platform, _| platform.delayed += taken);
        self.delay();
        match booted {
            Ok(booted) => {
                lock(&self.simulation.dialers).insert(self.id.clone(), booted.dialer());
                self.running = Some((booted, version));
                self.next_check = Instant::now();
                self.report(|machine, now| machine.enter(MachineState::Started, "start", now));
            }
            Err(fault) => self.report(|machine, now| {
                machine.note("launch", "launch_failed", (json!({"error": fault}), now));
                machine.enter(MachineState::LaunchFailed, "launch", now);
            }),
        }
    }

    fn boot(&mut self, version: &Version) -> Result<Booted, String> {
        self.boots += 1;
        let name = format!("{}-{}", self.id, self.boots);
        let root = self.simulation.folder.join("roots").join(name);
        fs::create_dir_all(&root).map_err(|error| format!("no root: {error}"))?;
        let name = &version.config.image;
        let public = self
            .simulation
            .look(|platform, _| platform.public_images.get(name).cloned());
        let reference = public.unwrap_or_else(|| Reference::parse(name));
        let image = image::unpack(self.simulation.registry, &reference, &root)?;
        let mut env: BTreeMap<String, String> = image
            .env
            .iter()
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        env.extend(version.secrets.clone());
        env.extend(version.config.env.clone());
        write_files(&root, version)?;
        Booted::start(&Plan {
            command: command(version, &image)?,
            env,
            volume: self.volume(&version.config)?,
            user: image.user,
            log: self.simulation.log_file(&self.id),
            root,
        })
    }

    fn volume(&self, config: &MachineConfig) -> Result<Option<(PathBuf, String)>, String> {
        let Some(mount) = config.mounts.first() else {
            return Ok(None);
        };
        let folder = self.simulation.volume_folder(&mount.volume);
        fs::create_dir_all(&folder).map_err(|error| format!("no volume: {error}"))?;
        Ok(Some((folder, mount.path.clone())))
    }

    /// Ends the program, when one runs, and notes that it was asked to.
    fn stop_program(&mut self, name: Option<&str>, timeout: Option<Duration>) {
        lock(&self.simulation.dialers).remove(&self.id);
        let Some((mut booted, version)) = self.running.take() else {
            return;
        };
        let stop = &version.config.stop_config;
        let name = name.or(stop.signal.as_deref()).unwrap_or("SIGINT");
        let given = stop
            .timeout
            .as_deref()
            .and_then(|text| duration("timeout", text).ok());
        let timeout = timeout.or(given).unwrap_or(USUAL_STOP_TIMEOUT);
        let code = booted.stop(signal(name).unwrap_or(Signal::INT), timeout);
        self.report(|machine, now| machine.note_exit(code, (true, false), now));
        drop(booted);
        self.remove_root();
    }

    fn remove_root(&self) {
        let name = format!("{}-{}", self.id, self.boots);
        let root = self.simulation.folder.join("roots").join(name);
        // What could not be removed goes with the simulator's folder.
        fs::remove_dir_all(root).ok();
    }

    /// Looks whether the program ended, and whether it is well.
    fn look(&mut self) {
        let Some((booted, version)) = &mut self.running else {
            return;
        };
        if let Some(code) = booted.exit_code() {
            let again = version.config.restart.applies(code, self.restarts);
            lock(&self.simulation.dialers).remove(&self.id);
            self.running = None;
            self.remove_root();
            self.report(|machine, now| {
                machine.note_exit(code, (false, again), now);
                if !again {
                    machine.enter(MachineState::Stopped, "exit", now);
                }
            });
            if again {
                self.restarts += 1;
                self.launch();
            }
        } else if Instant::now() >= self.next_check {
            self.check();
        }
    }

    fn check(&mut self) {
        let Some((booted, version)) = &self.running else {
            return;
        };
        let checks = version.config.named_checks();
        let dialer = booted.dialer();
        let fails = version.fate == Fate::StaysCritical;
        let results: Vec<(String, Result<String, String>)> = checks
            .into_iter()
            .map(|check| {
                let result = if fails {
                    Err("connect: connection refused".to_owned())
                } else {
                    ask(&dialer, &check)
                };
                (check.name, result)
            })
            .collect();
        let all_pass = results.iter().all(|(_, result)| result.is_ok());
        let instance = version.instance.clone();
        let pause = self.simulation.with(|platform, _| platform.delays.check);
        self.next_check = Instant::now() + if all_pass { CHECK_WHEN_WELL } else { pause };
        self.report(|machine, _| {
            // What was checked may have been replaced meanwhile.
            if machine.instance_id != instance {
                return;
            }
            for (name, result) in results {
                let mut known = machine.checks.iter_mut();
                if let Some(check) = known.find(|check| check.name == name) {
                    check.passes = result.is_ok();
                    check.output = result.unwrap_or_else(|fault| fault);
                }
            }
        });
    }
}

/// Returns what the machine runs. A version that shall crash runs what is not there.
fn command(version: &Version, image: &image::ImageConfig) -> Result<Vec<String>, String> {
    if version.fate == Fate::Crashes {
        return Ok(vec!["/nothing/that/is/there".to_owned()]);
    }
    let init = &version.config.init;
    if !init.exec.is_empty() {
        return Ok(init.exec.clone());
    }
    let chosen = |own: &Vec<String>, of_image: &Vec<String>| {
        if own.is_empty() {
            of_image.clone()
        } else {
            own.clone()
        }
    };
    let mut command = chosen(&init.entrypoint, &image.entrypoint);
    command.extend(chosen(&init.cmd, &image.cmd));
    if command.is_empty() {
        return Err("neither image nor configuration say what to run".to_owned());
    }
    Ok(command)
}

/// Writes the files that the configuration asks for.
fn write_files(root: &Path, version: &Version) -> Result<(), String> {
    for file in &version.config.files {
        let secret = file
            .secret_name
            .as_ref()
            .and_then(|name| version.secrets.get(name));
        let encoded = file.raw_value.as_ref().or(secret);
        let encoded = encoded.ok_or_else(|| format!("{} has no content", file.guest_path))?;
        let bytes = STANDARD
            .decode(encoded)
            .map_err(|_| format!("{} is no base64", file.guest_path))?;
        let path = root.join(file.guest_path.trim_start_matches('/'));
        let folder = path.parent().unwrap_or(root);
        fs::create_dir_all(folder)
            .and_then(|()| fs::File::create(&path)?.write_all(&bytes))
            .map_err(|error| format!("{}: {error}", file.guest_path))?;
    }
    Ok(())
}

/// Asks a machine one check.
fn ask(dialer: &Dialer, named: &NamedCheck) -> Result<String, String> {
    let stream = dialer
        .connect(named.port)
        .map_err(|error| format!("connect: {error}"))?;
    if named.check.kind == "tcp" {
        return Ok("Success".to_owned());
    }
    stream
        .set_read_timeout(Some(LONGEST_CHECK))
        .map_err(|error| error.to_string())?;
    let mut headers = vec![("host", format!("172.19.0.2:{}", named.port))];
    for header in &named.check.headers {
        headers.push((header.name.as_str(), header.values.join(", ")));
    }
    let answer = Connection::over(stream).send(&Request {
        method: named.check.method.as_deref().unwrap_or("GET"),
        target: named.check.path.as_deref().unwrap_or("/"),
        headers,
        body: &[],
    });
    let answer = answer.map_err(|error| format!("gone: {error}"))?;
    // As on the platform, a redirect is not followed, and is no success.
    if (200..300).contains(&answer.status) {
        Ok(answer.text())
    } else {
        Err(format!("status {}: {}", answer.status, answer.text()))
    }
}

/// Reads a file of a machine's log from the start.
pub(crate) fn read_log(path: &Path) -> String {
    let mut text = String::new();
    if let Ok(mut file) = fs::File::open(path) {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok();
        text = String::from_utf8_lossy(&bytes).into_owned();
    }
    text
}
