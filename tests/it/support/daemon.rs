//! `aurad` as a process of its own: started, killed, started again on the same data, always cleaned up.
//!
//! The one invariant: a daemon is ready when it answers a handshake on its socket, never after a fixed
//! time. Its standard error goes to a file and is shown when a test fails. Its home, settings and key
//! lie in a directory of its own, so nothing of the machine's owner is read or written.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use aura_protocol::event::EventState;
use aura_protocol::rpc::*;
use aura_protocol::run::{Record, Resolution, RunHead, RunState, StepState};
use aura_protocol::{RunId, Value, WireError};

use super::sender::SECRET;
use super::{Client, Hook, LIMIT, Reply, wait_for, wait_until};

/// The master key of every test.
pub const MASTER: [u8; 32] = *b"a master key that only tests use";

/// What may differ from the usual start.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Further arguments.
    pub arguments: Vec<String>,
    /// Further environment.
    pub environment: Vec<(String, String)>,
    /// Another data directory than `data` in the own folder.
    pub data_dir: Option<PathBuf>,
}

/// A folder with everything one daemon needs; outlives its processes.
#[derive(Debug)]
pub struct Place {
    folder: tempfile::TempDir,
    setup: Setup,
    /// A program, with its arguments, that starts the daemon in place of ours.
    pub wrapper: Vec<String>,
}

impl Place {
    /// A new folder with a master key in it.
    pub fn new(setup: Setup) -> Self {
        let folder = tempfile::Builder::new().prefix("aura-it-").tempdir().expect("a temporary directory");
        for name in ["home", "run"] {
            fs::create_dir(folder.path().join(name)).expect("a directory");
        }
        let key = folder.path().join("master.key");
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(key).expect("a key file");
        file.write_all(&MASTER).expect("a written key");
        Self { folder, setup, wrapper: Vec::new() }
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.setup.data_dir.clone().unwrap_or_else(|| self.folder.path().join("data"))
    }
    /// The socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("run/aurad.sock")
    }
    /// What the daemons said, newest last.
    pub fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("aurad.log")).unwrap_or_default()
    }
    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command that starts a daemon here.
    pub fn command(&self, listen: &str) -> Command {
        let program = env!("CARGO_BIN_EXE_it-aurad");
        let mut command = match self.wrapper.split_first() {
            None => Command::new(program),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        isolate(&mut command, &self.folder.path().join("home"));
        command
            .args(["--listen", listen, "--data-dir"])
            .arg(self.data())
            .arg("--socket")
            .arg(self.socket())
            .arg("--master-key")
            .arg(self.folder.path().join("master.key"))
            .args(&self.setup.arguments)
            .env("AURA_EGRESS_PRIVATE", "true")
            // A port of its own: many daemons run at once here.
            .env("AURA_API_LISTEN", "127.0.0.1:0")
            // However full the disk of a test machine is.
            .env("AURA_DISK_RESERVE_MIB", "0")
            .env("AURA_DISK_RESERVE_PERCENT", "0")
            .env("AURA_BALLAST_MIB", "0")
            .envs(self.setup.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    /// Starts a daemon that is expected to end by itself, and gives its last words.
    pub fn refused(&self, listen: &str) -> (ExitStatus, String) {
        let mut child = self.command(listen).stderr(Stdio::piped()).spawn().expect("it-aurad starts");
        wait_until("a daemon that cannot serve to end", LIMIT, || child.try_wait().expect("its state").is_some());
        let output = child.wait_with_output().expect("its last words");
        (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Only what a program needs, so that the machine's own settings do not reach it.
fn isolate(command: &mut Command, home: &Path) {
    command.env_clear().env("HOME", home).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    for (name, folder) in [("CONFIG", ".config"), ("DATA", ".local/share"), ("STATE", ".local/state")] {
        command.env(format!("XDG_{name}_HOME"), home.join(folder));
    }
    command.env("XDG_RUNTIME_DIR", home).env("RUST_BACKTRACE", "1").env("LANG", "C.UTF-8");
    // A profile run (`cargo llvm-cov`) needs its own variables to reach the children; `e2e_rivals::bugs` its bug.
    for name in ["LLVM_PROFILE_FILE", "AURA_BUG"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
}

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    /// Its folder.
    pub place: Place,
    process: Option<Child>,
    client: Option<Client>,
    address: SocketAddr,
}

impl Daemon {
    /// Starts one in a new folder.
    pub fn start() -> Self {
        Self::start_with(Setup::default())
    }

    /// Starts one in a new folder with settings.
    pub fn start_with(setup: Setup) -> Self {
        Self::start_at(Place::new(setup))
    }

    /// Starts one in a folder.
    pub fn start_at(place: Place) -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut daemon = Self { place, process: None, client: None, address: nowhere };
        daemon.up();
        daemon
    }

    /// Starts the process again, on the same data, socket and port.
    pub fn up(&mut self) {
        let ready = self.try_up();
        assert!(ready, "the daemon ended before it was ready:\n{}", self.place.said());
    }

    /// As [`Daemon::up`]; false if the process ended before it was ready.
    pub fn try_up(&mut self) -> bool {
        assert!(self.process.is_none(), "the daemon is running");
        let log = File::options().create(true).append(true).open(self.place.path("aurad.log")).expect("a log file");
        let listen = self.address.to_string();
        let mut child = self.place.command(&listen).stderr(log).spawn().expect("it-aurad starts");
        let socket = self.place.socket();
        let client = wait_for("the daemon to answer a handshake", LIMIT, || {
            let over = child.try_wait().expect("the state of a child").is_some();
            if over { Some(None) } else { Client::connect(&socket).ok().map(Some) }
        });
        let Some((client, status)) = client.and_then(|client| client.status(()).ok().map(|status| (client, status)))
        else {
            let _ = child.kill();
            let _ = child.wait();
            return false;
        };
        self.address = status.listen.trim_start_matches("http://").parse().expect("the address of the door");
        self.client = Some(client);
        self.process = Some(child);
        true
    }

    /// Whether the process has ended by itself.
    pub fn is_over(&mut self) -> bool {
        self.process.as_mut().is_none_or(|child| child.try_wait().expect("the state of a child").is_some())
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("a running daemon").id()
    }

    /// Lets go of a process that has ended by itself.
    pub fn forget_process(&mut self) {
        assert!(self.is_over(), "the daemon is running");
        self.process = None;
        self.client = None;
    }

    /// SIGKILL: no last words, no last write.
    pub fn kill9(&mut self) {
        let mut child = self.process.take().expect("a running daemon");
        child.kill().expect("a kill");
        child.wait().expect("the end");
        self.client = None;
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> ExitStatus {
        let mut child = self.process.take().expect("a running daemon");
        let id = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("a signal");
        self.client = None;
        wait_for("the daemon to end after SIGTERM", LIMIT, || child.try_wait().expect("the state of a child"))
    }

    /// What is left of it, for another one.
    pub fn into_place(mut self) -> Place {
        assert!(self.process.is_none(), "the daemon is running");
        std::mem::replace(&mut self.place, Place::new(Setup::default()))
    }

    /// How the process ended, if it did by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.process.as_mut()?.try_wait().expect("the state of a child")?;
        self.process = None;
        self.client = None;
        Some(status)
    }

    /// The rpc.
    pub fn ask(&self) -> &Client {
        self.client.as_ref().expect("a running daemon")
    }

    /// The HTTP door.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs `aura` against this daemon.
    pub fn aura(&self, arguments: &[&str]) -> Said {
        aura_at(&self.place.socket(), arguments)
    }

    /// Stores a named secret.
    pub fn secret(&self, name: &str, value: &str) {
        self.connect(name, "secret", &[("value", value)]);
    }

    /// Stores a connection.
    pub fn connect(&self, name: &str, connector: &str, fields: &[(&str, &str)]) {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let add = ConnectionAdd { name: name.to_owned(), connector: connector.to_owned(), fields, keep_ms: None };
        self.ask().connection_add(add).expect("a connection");
    }

    /// Applies, publishes and enables a flow.
    pub fn publish(&self, text: &str) -> FlowRow {
        let row = self.apply(text).unwrap_or_else(|error| panic!("{error}: {:#?}\n{text}", error.findings));
        let row = self.ask().flow_publish(row.flow).unwrap_or_else(|error| panic!("{error}: {:#?}", error.findings));
        if row.enabled {
            return row;
        }
        self.ask().flow_enable(FlowEnable { flow: row.flow, enabled: true }).expect("an enabled flow")
    }

    /// Stores a draft.
    pub fn apply(&self, text: &str) -> Result<FlowRow, WireError> {
        self.ask().flow_apply(FlowApply { text: text.to_owned() })
    }

    /// The endpoint of a flow's only trigger, unsigned.
    pub fn open_hook(&self, flow: &str) -> Hook {
        let webhooks = self.ask().webhook_list(()).expect("the endpoints");
        let webhook = webhooks.iter().find(|webhook| webhook.flow == flow).expect("an endpoint of the flow");
        let path = webhook.url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).expect("a path in the URL");
        Hook { address: self.address, path, secret: String::new() }
    }

    /// The endpoint of a flow's only trigger, signed as Standard Webhooks with [`SECRET`].
    pub fn hook(&self, flow: &str) -> Hook {
        Hook { secret: SECRET.to_owned(), ..self.open_hook(flow) }
    }

    /// Starts a run by hand.
    pub fn run(&self, flow: &str, input: &str) -> RunId {
        let input = Value::from_json(input.as_bytes()).expect("JSON");
        self.ask().flow_run(FlowRun { flow: flow.to_owned(), input }).expect("a run").run
    }

    /// All runs of a flow, oldest first.
    pub fn runs(&self, flow: &str) -> Vec<RunHead> {
        let query = RunQuery { flow: Some(flow.to_owned()), limit: 500, ..RunQuery::default() };
        let mut runs = self.ask().run_list(query).expect("the runs");
        runs.sort_by_key(|head| head.run);
        runs
    }

    /// A run with its journal.
    pub fn show(&self, run: RunId) -> RunDetail {
        self.ask().run_show(RunRef(run.to_string())).expect("the run")
    }

    /// Waits for a state of a run.
    pub fn wait_state(&self, run: RunId, state: RunState) -> Journal {
        let mut last = None;
        let begin = std::time::Instant::now();
        loop {
            let detail = self.show(run);
            if detail.head.state == state {
                return Journal(detail);
            }
            assert!(
                !detail.head.state.is_final() && begin.elapsed() < LIMIT,
                "{run} should become {state:?} but is {:#?}\n{}",
                last.unwrap_or(detail),
                self.place.said()
            );
            last = Some(detail);
            super::tick();
        }
    }

    /// Waits until every run of a flow has ended or is in doubt, whatever other flows do.
    pub fn wait_quiet_of(&self, flow: &str, limit: Duration) {
        wait_until("the runs of the flow to finish or be in doubt", limit, || {
            self.runs(flow).iter().all(|head| head.state.is_final() || head.state == RunState::InDoubt)
        });
    }

    /// Waits until nothing moves: no held events and no live runs but those in doubt.
    pub fn wait_quiet(&self, limit: Duration) {
        wait_until("all runs to finish or be in doubt", limit, || {
            let status = self.ask().status(()).expect("a status");
            status.held == 0 && status.live.iter().all(|(state, count)| *state == RunState::InDoubt || *count == 0)
        });
        // The counts are of the daemon's memory, which is ahead of the store.
        let live = [RunState::Queued, RunState::Running, RunState::Waiting, RunState::Retrying, RunState::Paused];
        let query = RunQuery { states: live.to_vec(), limit: 1, ..RunQuery::default() };
        wait_until("their ends to be stored", limit, || {
            self.ask().run_list(query.clone()).expect("the runs").is_empty()
        });
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let said = self.place.said();
            let from = said.char_indices().nth_back(6000).map_or(0, |(at, _)| at);
            // Test output is for people; nothing reads it.
            eprintln!("--- what aurad said ---\n{}", &said[from..]);
        }
    }
}

/// A run's journal, with the questions tests ask.
#[derive(Clone, Debug)]
pub struct Journal(pub RunDetail);

impl Journal {
    /// All records in order.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.0.journal.iter().flat_map(|transition| &transition.records)
    }
    /// Records of a step.
    pub fn of<'a>(&'a self, step: &str) -> impl Iterator<Item = &'a Record> {
        let step = step.to_owned();
        self.records().filter(move |record| record.path() == Some(step.as_str()))
    }
    /// The output of a step, as JSON.
    pub fn output(&self, step: &str) -> String {
        let found = self.of(step).find_map(|record| match record {
            Record::Completed { output, .. } | Record::Handled { output, .. } => Some(output.to_json()),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("{step} has no output in {self:#?}"))
    }
    /// The last state of a step.
    pub fn state(&self, step: &str) -> StepState {
        let found = self.of(step).fold(None, |state, record| match record {
            Record::Scheduled { .. } => Some(StepState::Queued),
            Record::Started { .. } => Some(StepState::Running),
            Record::Resolved { resolution: Resolution::Fail, .. } => Some(StepState::Failed),
            Record::Completed { .. } => Some(StepState::Succeeded),
            Record::Failed { retry_at_ms: None, .. } => Some(StepState::Failed),
            Record::Failed { .. } => Some(StepState::Retrying),
            Record::Skipped { .. } => Some(StepState::Skipped),
            Record::WaitCreated { .. } => Some(StepState::Waiting),
            Record::InDoubt { .. } => Some(StepState::InDoubt),
            _ => state,
        });
        found.unwrap_or_else(|| panic!("{step} was never reached in {self:#?}"))
    }
    /// Whether a step was reached at all.
    pub fn reached(&self, step: &str) -> bool {
        self.of(step).any(|record| !matches!(record, Record::Skipped { .. }))
    }
    /// The idempotency key of a step.
    pub fn key(&self, step: &str) -> &str {
        let found = self.of(step).find_map(|record| match record {
            Record::Scheduled { key, .. } => Some(key.as_str()),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("{step} was never scheduled in {self:#?}"))
    }
    /// How many attempts of a step failed.
    pub fn failures(&self, step: &str) -> usize {
        self.of(step).filter(|record| matches!(record, Record::Failed { .. })).count()
    }
    /// The run's error as a sentence; empty without one.
    pub fn error(&self) -> String {
        self.0.head.error.as_ref().map(ToString::to_string).unwrap_or_default()
    }
    /// The output or reason the run ended with, as JSON.
    pub fn result(&self) -> String {
        let found = self.records().find_map(|record| match record {
            Record::RunFinished { output, .. } => Some(output.to_json()),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("the run has not finished: {self:#?}"))
    }
}

/// The run of an acknowledgement, which must be of this state.
pub fn run_of(reply: &Reply, state: EventState) -> RunId {
    let wanted = serde_json::to_value(state).expect("a word");
    assert_eq!(Some(reply.field("state").as_str()), wanted.as_str(), "{} {}", reply.status, reply.text());
    assert_eq!(reply.event().map(str::to_owned), Some(reply.field("event_id")), "the promise is in the header");
    reply.field("run_id").parse().expect("a run id")
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// Standard output as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }
    /// It must have succeeded.
    pub fn success(self) -> Self {
        assert_eq!(self.code, 0, "{self:#?}");
        self
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs `aura` without a daemon.
pub fn aura(arguments: &[&str]) -> Said {
    run_aura(&mut Command::new(env!("CARGO_BIN_EXE_it-aura")), arguments)
}

/// Runs `aura` with a socket.
pub fn aura_at(socket: &Path, arguments: &[&str]) -> Said {
    run_aura(Command::new(env!("CARGO_BIN_EXE_it-aura")).arg("--socket").arg(socket), arguments)
}

/// Runs `aura` with an environment of its own, in a home that the caller keeps.
pub fn aura_in(home: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_it-aura"));
    isolate(&mut command, home);
    command.envs(environment.iter().copied()).args(arguments).stdin(Stdio::null());
    command.output().expect("it-aura starts").into()
}

fn run_aura(command: &mut Command, arguments: &[&str]) -> Said {
    let home = tempfile::tempdir().expect("a temporary home");
    // isolate() clears the environment, not the arguments given so far.
    isolate(command, home.path());
    // Never the daemon of the machine's owner.
    command.env("AURA_SOCKET", home.path().join("nobody.sock"));
    command.args(arguments).stdin(Stdio::null()).output().expect("it-aura starts").into()
}
