//! Servers under test as processes of their own: the limit programs and the real `aurad` with the real `aura`.
//!
//! The one invariant: a server's process, files and settings are its own; it is stopped when its value goes,
//! and nothing of the machine's owner is read or written. Flows get into `aurad` as people put them there.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::limits::Limit;

/// How long a server may take to be ready, at most.
const READY: Duration = Duration::from_secs(120);
/// W1 as people would write it.
pub const W1: &str = include_str!("../flows/w1.yaml");
/// W2; the address of the sink is put in.
pub const W2: &str = include_str!("../flows/w2.yaml");

/// The binaries.
#[derive(Clone, Debug)]
pub struct Programs {
    /// This driver, which also serves as the limit programs.
    pub bench: PathBuf,
    /// The daemon.
    pub aurad: PathBuf,
    /// The client.
    pub aura: PathBuf,
}

impl Programs {
    /// Those that lie beside this one.
    ///
    /// # Errors
    /// One of them is missing.
    pub fn beside_this() -> Result<Self> {
        let bench = std::env::current_exe().context("this program cannot find itself")?;
        let folder = bench.parent().context("this program lies in no folder")?.to_owned();
        let programs = Self { aurad: folder.join("aurad"), aura: folder.join("aura"), bench };
        for path in [&programs.aurad, &programs.aura] {
            ensure!(
                path.is_file(),
                "{} is missing: build aura-daemon and aura-tui in the same profile",
                path.display()
            );
        }
        Ok(programs)
    }
}

/// A server that runs.
#[derive(Debug)]
pub struct Served {
    process: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// Path of its webhook.
    pub path: String,
    /// Folder of its files.
    pub folder: PathBuf,
}

impl Served {
    /// A process that listens there and keeps its files in a folder.
    #[must_use]
    pub fn of(process: Child, address: SocketAddr, folder: &Path) -> Self {
        Self { process, address, path: String::new(), folder: folder.to_owned() }
    }

    /// Its process number.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// Asks it to end, as systemd does, and waits for its end.
    ///
    /// # Errors
    /// It does not end in time.
    pub fn terminate(&mut self) -> Result<()> {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.process), rustix::process::Signal::TERM)?;
        let begin = Instant::now();
        while self.process.try_wait()?.is_none() {
            ensure!(begin.elapsed() < READY, "the server did not end within {READY:?}");
            pause(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Kills it at once and waits for its end.
    ///
    /// # Errors
    /// It is gone already.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Starts a limit program.
///
/// # Errors
/// It does not start or does not say where it listens.
pub fn limit(programs: &Programs, limit: Limit, folder: &Path, sink: SocketAddr) -> Result<Served> {
    fs::create_dir_all(folder)?;
    let name = format!("{limit:?}").to_lowercase();
    let mut process = Command::new(&programs.bench)
        .args(["limit", &name, "--data-dir"])
        .arg(folder)
        .args(["--call", &format!("http://{sink}/effect")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{name} does not start"))?;
    let mut line = String::new();
    let out = process.stdout.take().context("no output")?;
    BufReader::new(out).read_line(&mut line)?;
    let address = line.trim().parse().with_context(|| format!("{name} said {line:?} and no address"))?;
    Ok(Served { process, address, path: "/".to_owned(), folder: folder.to_owned() })
}

/// A folder in which daemons run, one after the other, on the same data.
#[derive(Clone, Debug)]
pub struct Place {
    programs: Programs,
    /// The folder.
    pub folder: PathBuf,
    /// Further settings, as environment variables.
    pub settings: Vec<(String, String)>,
}

impl Place {
    /// Makes it, with a master key.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn new(programs: &Programs, folder: &Path) -> Result<Self> {
        for name in ["home", "run"] {
            fs::create_dir_all(folder.join(name))?;
        }
        let key = folder.join("master.key");
        if !key.exists() {
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(key)?;
            file.write_all(b"a master key of nothing but runs")?;
        }
        Ok(Self { programs: programs.clone(), folder: folder.to_owned(), settings: Vec::new() })
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.folder.join("data/aura.redb")
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("run/aurad.sock")
    }

    fn isolated(&self, program: &Path) -> Command {
        let home = self.folder.join("home");
        let mut command = Command::new(program);
        command.env_clear().env("HOME", &home).env("XDG_RUNTIME_DIR", &home).env("LANG", "C.UTF-8");
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    /// Starts the daemon and waits until its door answers; gives it and the time that took.
    ///
    /// # Errors
    /// It ends before, or is not ready in time.
    pub fn start(&self) -> Result<(Served, Duration)> {
        let log = File::options().create(true).append(true).open(self.folder.join("aurad.log"))?;
        // A free port, so that the address is known before the start: what is measured has no client in it.
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = self.isolated(&self.programs.aurad);
        command
            .args(["--listen", &address.to_string(), "--log", "warn", "--data-dir"])
            .arg(self.folder.join("data"))
            .arg("--socket")
            .arg(self.socket())
            .arg("--master-key")
            .arg(self.folder.join("master.key"))
            .env("AURA_EGRESS_PRIVATE", "true")
            // A machine that is rather full refuses deliveries otherwise, and nothing is measured.
            .env("AURA_DISK_RESERVE_PERCENT", "1")
            .env("AURA_API_LISTEN", "127.0.0.1:0")
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let begin = Instant::now();
        let process = command.spawn().with_context(|| format!("{} does not start", self.programs.aurad.display()))?;
        let mut served = Served { process, address, path: String::new(), folder: self.folder.clone() };
        while !is_ready(address) {
            if let Some(status) = served.process.try_wait()? {
                let said = fs::read_to_string(self.folder.join("aurad.log")).unwrap_or_default();
                bail!("aurad ended with {status} before it was ready:\n{said}");
            }
            ensure!(begin.elapsed() < READY, "aurad was not ready within {READY:?}");
            pause(Duration::from_millis(1));
        }
        Ok((served, begin.elapsed()))
    }

    /// Runs `aura` against the daemon here and gives the JSON values it prints.
    ///
    /// # Errors
    /// It ends with a failure.
    pub fn aura(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let output = self
            .isolated(&self.programs.aura)
            .arg("--socket")
            .arg(self.socket())
            .arg("--json")
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("{} does not start", self.programs.aura.display()))?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success(),
            "aura {} failed: {said}{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        said.lines().map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))).collect()
    }

    /// Stores, publishes and enables a flow, and gives the path of its webhook.
    ///
    /// # Errors
    /// The daemon refuses it.
    pub fn publish(&self, name: &str, text: &str) -> Result<String> {
        let file = self.folder.join(format!("{name}.yaml"));
        fs::write(&file, text)?;
        self.aura(&["flow", "apply", &file.to_string_lossy(), "--publish"])?;
        self.hook(name)
    }

    /// The path of a flow's webhook.
    ///
    /// # Errors
    /// It has none, or is disabled.
    pub fn hook(&self, name: &str) -> Result<String> {
        let found = self.aura(&["webhook", "show", name])?;
        let hook = found.first().with_context(|| format!("{name} has no webhook"))?;
        ensure!(hook.get("enabled") == Some(&Value::Bool(true)), "{name} is disabled");
        let url = hook.get("url").and_then(Value::as_str).context("a webhook without address")?;
        Ok(url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default())
    }
}

/// W2 with the address of a sink.
#[must_use]
pub fn w2(sink: SocketAddr) -> String {
    W2.replace("127.0.0.1:9900", &sink.to_string())
}

/// Whether `GET /readyz` is answered with 200.
fn is_ready(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(line.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}

/// Waits without a condition, between two looks at one.
pub fn pause(time: Duration) {
    #[expect(clippy::disallowed_methods, reason = "no runtime runs on this thread")]
    std::thread::sleep(time);
}
