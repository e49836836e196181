//! Settings: one table of options with docs, defaults and environment names; file, `AURA_*`, flags on top.
//!
//! Unknown keys are refused with their place. The commented default file and `check-config` come from the
//! same table, so a setting without a doc sentence does not exist.

use crate::accounts::Accounts;
use std::env;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use aura_integrations::http::{EgressPolicy, is_network};
use aura_protocol::flow::Span;
use aura_protocol::text::display;
use serde::{Deserialize, Serialize};

use crate::args::Args;
use crate::engine::outgoing::OutgoingOptions;
use crate::paths;
use crate::room::Bounds;
use crate::runner::pool::{Pool, Source};
use crate::stop::Stop;
use crate::tunnel::kind::Kind;

/// Longest `public_url`, in bytes: lists repeat it for every endpoint.
pub const PUBLIC_URL_MAX: usize = 200;

macro_rules! options {
    ($(#[doc = $about:literal])* $name:ident { $($(#[doc = $doc:literal])* $field:ident: $kind:ty = $default:expr;)* }) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $($(#[doc = $doc])* pub $field: $kind,)* }

        impl Default for $name {
            fn default() -> Self { Self { $($field: $default,)* } }
        }

        impl $name {
            /// Names of all options, in order.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($field),)*];

            /// The commented file with every option and its default.
            #[must_use]
            pub fn default_file() -> String {
                let mut out = String::from("# Settings of aurad. Every line shows its default; remove the `#` to change it.\n# Each setting is also an environment variable (AURA_ and the name in capitals); flags win over both.\n");
                let default = Self::default();
                $({
                    out.push('\n');
                    for line in [$($doc),*] { let _ = writeln!(out, "#{line}"); }
                    let _ = writeln!(out, "#{} = {}", stringify!($field), shown(&default.$field));
                })*
                out
            }

            fn take_environment(&mut self, read: impl Fn(&str) -> Option<String>) -> Result<(), Stop> {
                $({
                    let name = concat!("AURA_", stringify!($field)).to_ascii_uppercase();
                    if let Some(text) = read(&name) {
                        self.$field = parse(&text).map_err(|why| Stop::Config(format!("{name} is `{text}`: {why}")))?;
                    }
                })*
                Ok(())
            }
        }
    };
}

options! {
    /// Everything that can be set. Sizes are bytes unless the name says otherwise, times are seconds.
    Options {
        /// Users of this machine who may use the socket, beside the daemon's own and root, as a table:
        /// `[accounts]` with lines `anna = { uid = 1000, role = "operator" }`, at the end of the file. Roles: owner,
        /// admin, editor, operator, viewer, auditor.
        accounts: Accounts = Accounts::default();
        /// Directory of the store.
        data_dir: PathBuf = paths::data_dir();
        /// Unix socket for `aura`; its directory is made with mode 0750 if it is missing.
        socket: PathBuf = paths::socket();
        /// Address of the HTTP door; port 0 takes a free one.
        listen: String = "127.0.0.1:8470".to_owned();
        /// Address of the API's own listener (`/healthz`, `/readyz`, `/metrics`), on the loopback only; port 0 takes
        /// a free one, empty: none.
        api_listen: String = "127.0.0.1:8471".to_owned();
        /// Names under which the API's listener may be called, besides `localhost` and the loopback's addresses.
        api_hosts: Vec<String> = Vec::new();
        /// How providers reach the door, as in `https://hooks.example.com`; empty: the listen address.
        public_url: String = String::new();
        /// A program that brings deliveries to a machine without a public address, started and watched by the daemon:
        /// `cloudflared` or `ngrok`; its address is the public one while `public_url` is empty. Empty: none.
        tunnel: String = String::new();
        /// Path of that program; empty: as it is found in `PATH`.
        tunnel_program: PathBuf = PathBuf::new();
        /// Its arguments in place of the usual ones, `{url}` stands for the door; in the environment with commas
        /// between them.
        tunnel_args: Vec<String> = Vec::new();
        /// Its host name, as in `hooks.example.com`, if you have reserved one; empty: it says one at each start.
        tunnel_hostname: String = String::new();
        /// File with the 32 bytes of the master key; empty: the systemd credential `master.key`, else a file
        /// in the settings directory (made at first start in user mode only).
        master_key: PathBuf = PathBuf::new();
        /// Name of this daemon on screen.
        profile: String = "default".to_owned();
        /// What is logged, as in `info` or `warn,aura_daemon=debug`.
        log: String = "info".to_owned();
        /// Log lines as JSON.
        log_json: bool = false;
        /// Largest body of a delivery.
        http_body_max: usize = 1024 * 1024;
        /// Open connections at the door.
        http_connections_max: usize = 2048;
        /// Open connections from one /24 or /64; the loopback, where a proxy stands, is not counted.
        http_connections_per_source: usize = 64;
        /// Proxies in front of the door, as addresses or networks like `10.0.0.0/8`: from them alone
        /// `X-Forwarded-For`, `-Proto` and `-Host` are believed.
        trusted_proxies: Vec<String> = Vec::new();
        /// Deliveries a second that are taken; more are answered 429. 0: no limit.
        http_rate: usize = 0;
        /// Deliveries at work at the same time; more are answered 503.
        http_in_flight_max: usize = 1024;
        /// Bytes of bodies in memory at the same time; more are answered 503.
        http_in_flight_bytes: usize = 64 * 1024 * 1024;
        /// A request's head must have arrived within this time, also on a connection that was kept open.
        http_head_seconds: u64 = 10;
        /// A body may pause this long.
        http_body_idle_seconds: u64 = 10;
        /// A body must have arrived within this time.
        http_body_seconds: u64 = 30;
        /// Threads that answer the door and drive runs; 0: one less than there are processors (at least one), since
        /// the store's writer is a thread of its own.
        workers: usize = 0;
        /// Calls to providers at work at the same time.
        calls_max: usize = 64;
        /// Scripts (`code` steps) that run at the same time, each in a process of its own; further ones wait.
        scripts_max: usize = 2;
        /// The socket of `aurad-runner.socket`, each connection to which is a runner of scripts; empty: the daemon
        /// starts them itself.
        runner_socket: PathBuf = PathBuf::new();
        /// Largest output of one step, in MiB; a larger one fails the step.
        output_mib: usize = 16;
        /// Large values (over 64 KiB each) of one run together, in MiB.
        run_mib: usize = 256;
        /// Page cache of the store, in MiB.
        cache_mib: usize = 32;
        /// Room that stays free on the disk of the data, in MiB (of a small disk at most a quarter): below it
        /// deliveries are answered 503 and calls wait.
        disk_reserve_mib: u64 = 512;
        /// The same as a part of the disk, in percent; the greater one counts.
        disk_reserve_percent: u64 = 5;
        /// Size of the ballast, in MiB: a file that is deleted when the disk is full, so that what frees room can
        /// still be stored (of a small disk at most a sixteenth); 0: none.
        ballast_mib: u64 = 64;
        /// Days that finished runs are kept, unless their flow says `retention`.
        retention_days: u64 = 30;
        /// What may be stored, in MiB: from nine tenths of it on the oldest finished runs are deleted early, and
        /// what then still fills it is answered 429; 0: any number.
        quota_mib: u64 = 5120;
        /// Longest queue of changes that wait for the disk; beyond it deliveries are answered 503.
        queue_max: usize = 4096;
        /// Flows may call this machine itself and private networks.
        egress_private: bool = false;
        /// Hosts that flows may call whatever their address, as in `["erp.intern"]`; in the environment with
        /// commas between them.
        egress_hosts: Vec<String> = Vec::new();
        /// Every commit also records which pages of the store are free, so that a start after a kill or power cut
        /// needs no walk through the whole file (1 to 2.6 s per GiB); costs about a third of the throughput.
        quick_restart: bool = false;
        /// Sendings to subscriptions (outgoing webhooks) at work at the same time.
        outgoing_max: usize = 256;
        /// The same of one subscription.
        outgoing_per_subscription: usize = 16;
        /// A receiver must answer within this time.
        outgoing_timeout_seconds: u64 = 20;
        /// Waits between the attempts of a sending; after the last one it is given up. In the environment with commas
        /// between them.
        outgoing_retries: Vec<String> = ["5s", "5m", "30m", "2h", "5h", "10h", "14h", "20h", "24h"].map(str::to_owned).to_vec();
        /// A subscription whose receiver failed for so long is disabled.
        outgoing_disable_after: String = "5d".to_owned();
        /// Days that messages and sendings are kept, also those that wait.
        outgoing_days: u64 = 30;
        /// Of a relay (`aurad relay`): most deliveries that wait for the daemon at home; more are answered 503.
        relay_queue_max: u64 = 100_000;
        /// The same in MiB; `quota_mib` counts too.
        relay_queue_mib: u64 = 1024;
        /// Hours between two scrubs, which open every stored value at low priority; 0: never.
        scrub_hours: u64 = 24;
        /// How long calls at work may take when the daemon is asked to end.
        grace_seconds: u64 = 20;
    }
}

trait Setting: Sized {
    fn read(text: &str) -> Result<Self, String>;
}
impl Setting for String {
    fn read(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}
impl Setting for PathBuf {
    fn read(text: &str) -> Result<Self, String> {
        Ok(Self::from(text))
    }
}
impl Setting for Vec<String> {
    fn read(text: &str) -> Result<Self, String> {
        Ok(text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect())
    }
}
impl Setting for Accounts {
    fn read(text: &str) -> Result<Self, String> {
        Self::read(text)
    }
}
impl Setting for bool {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "write true or false".to_owned())
    }
}
impl Setting for usize {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "write a whole number".to_owned())
    }
}
impl Setting for u64 {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "write a whole number".to_owned())
    }
}

fn parse<T: Setting>(text: &str) -> Result<T, String> {
    T::read(text)
}

fn shown<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Reads file, environment and flags, in this order, and checks the result.
///
/// # Errors
/// One sentence with the file and line, the variable or the flag.
pub fn load(args: &Args) -> Result<Options, Stop> {
    let file = file_of(args.config.as_deref());
    let mut options = match &file {
        Some((path, text)) => read_file(path, text)?,
        None => Options::default(),
    };
    options.take_environment(|name| env::var(name).ok())?;
    if let Some(dir) = &args.data_dir {
        options.data_dir.clone_from(dir);
    }
    if let Some(socket) = &args.socket {
        options.socket.clone_from(socket);
    }
    if let Some(listen) = &args.listen {
        options.listen.clone_from(listen);
    }
    if let Some(key) = &args.master_key {
        options.master_key.clone_from(key);
    }
    if let Some(log) = &args.log {
        options.log.clone_from(log);
    }
    check(&options)?;
    Ok(options)
}

pub(crate) type Text = (PathBuf, Result<String, std::io::Error>);

pub(crate) fn file_of(named: Option<&Path>) -> Option<Text> {
    let (path, must) = match named {
        Some(path) => (path.to_owned(), true),
        None => match env::var_os("AURA_CONFIG") {
            Some(path) => (PathBuf::from(path), true),
            None => (paths::config_dir().join("aurad.toml"), false),
        },
    };
    let text = std::fs::read_to_string(&path);
    let missing = matches!(&text, Err(error) if error.kind() == std::io::ErrorKind::NotFound);
    (must || !missing).then_some((path, text))
}

fn read_file(path: &Path, text: &Result<String, std::io::Error>) -> Result<Options, Stop> {
    match text {
        Ok(text) => read(&path.display().to_string(), text),
        Err(error) => Err(Stop::Config(format!("the settings file {} cannot be read: {error}", path.display()))),
    }
}

/// Reads the text of a settings file.
///
/// # Errors
/// One sentence with name, line and what is wrong.
pub fn read(name: &str, text: &str) -> Result<Options, Stop> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = text.get(..at).unwrap_or_default().matches('\n').count() + 1;
        let message = error.message().lines().next().unwrap_or("not valid TOML").to_owned();
        Stop::Config(format!(
            "{name}, line {line}: {message}; `aurad check-config --print-default` lists every setting"
        ))
    })
}

/// Checks what a type cannot say.
///
/// # Errors
/// One sentence that names the setting.
pub fn check(options: &Options) -> Result<(), Stop> {
    let refuse = |name: &str, why: &str| Err(Stop::Config(format!("the setting `{name}` {why}")));
    if options.listen.parse::<SocketAddr>().is_err() {
        return refuse("listen", "must be an address and a port, like 127.0.0.1:8470 or [::]:8470");
    }
    if !options.api_listen.is_empty() {
        match options.api_listen.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => {}
            Ok(_) => return refuse("api_listen", "must be a loopback address: there is no TLS and no login on it"),
            Err(_) => return refuse("api_listen", "must be an address and a port, like 127.0.0.1:8471, or empty"),
        }
    }
    for (name, list) in [("trusted_proxies", &options.trusted_proxies), ("egress_hosts", &options.egress_hosts)] {
        for entry in list {
            let network = entry.contains('/');
            let address = entry.parse::<std::net::IpAddr>().is_ok();
            if (network && !is_network(entry)) || (!network && !address && name == "trusted_proxies") {
                return refuse(name, &format!("has `{}`, which is no address or network", display(entry)));
            }
        }
    }
    if let Err(why) = options.accounts.check().and_then(|()| crate::rpc::peer::check(&options.accounts)) {
        return refuse("accounts", &why);
    }
    if let Err((name, why)) = outgoing_of(options) {
        return refuse(name, &why);
    }
    if options.http_rate > 1_000_000 {
        return refuse("http_rate", "must not be more than 1000000");
    }
    if options.public_url.len() > PUBLIC_URL_MAX {
        return refuse("public_url", &format!("must not be longer than {PUBLIC_URL_MAX} bytes"));
    }
    if !options.public_url.is_empty() {
        match url::Url::parse(&options.public_url) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {}
            _ => return refuse("public_url", "must be an address like https://hooks.example.com"),
        }
    }
    if let Err((name, why)) = tunnel_of(options) {
        return refuse(name, why);
    }
    if !(1024..=25 * 1024 * 1024).contains(&options.http_body_max) {
        return refuse("http_body_max", "must be between 1024 and 26214400 bytes");
    }
    if options.http_in_flight_bytes < options.http_body_max {
        return refuse("http_in_flight_bytes", "must not be less than `http_body_max`");
    }
    for (name, value, most) in [
        ("http_connections_max", options.http_connections_max, 100_000),
        ("http_connections_per_source", options.http_connections_per_source, 100_000),
        ("http_in_flight_max", options.http_in_flight_max, 100_000),
        ("calls_max", options.calls_max, 10_000),
        ("scripts_max", options.scripts_max, 256),
        ("output_mib", options.output_mib, 48),
        ("run_mib", options.run_mib, 65_536),
        ("cache_mib", options.cache_mib, 65_536),
        ("queue_max", options.queue_max, 1_000_000),
    ] {
        if value == 0 || value > most {
            return refuse(name, &format!("must be between 1 and {most}"));
        }
    }
    if options.workers > 1024 {
        return refuse("workers", "must be at most 1024; 0 leaves it to the daemon");
    }
    for (name, value) in [
        ("http_head_seconds", options.http_head_seconds),
        ("http_body_idle_seconds", options.http_body_idle_seconds),
        ("http_body_seconds", options.http_body_seconds),
        ("grace_seconds", options.grace_seconds),
    ] {
        if value == 0 || value > 3600 {
            return refuse(name, "must be between 1 and 3600 seconds");
        }
    }
    for (name, value, least, most) in [
        ("disk_reserve_mib", options.disk_reserve_mib, 0, 1 << 30),
        ("disk_reserve_percent", options.disk_reserve_percent, 0, 50),
        ("ballast_mib", options.ballast_mib, 0, 65_536),
        ("retention_days", options.retention_days, 1, 3_650),
        ("quota_mib", options.quota_mib, 0, 1 << 30),
    ] {
        if !(least..=most).contains(&value) {
            return refuse(name, &format!("must be between {least} and {most}"));
        }
    }
    if options.master_key.starts_with(&options.data_dir) {
        return refuse("master_key", "must not lie in the data directory: a copy of the data would carry its key");
    }
    if options.log.parse::<tracing_subscriber::EnvFilter>().is_err() {
        return refuse("log", "must be a filter like `info` or `warn,aura_daemon=debug`");
    }
    Ok(())
}

impl Options {
    /// What is kept free and how much may be stored.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        Bounds {
            reserve_bytes: self.disk_reserve_mib * 1024 * 1024,
            reserve_percent: self.disk_reserve_percent,
            quota: self.quota_mib * 1024 * 1024,
        }
    }

    /// Where scripts run.
    #[must_use]
    pub fn runners(&self) -> Pool {
        let source = match self.runner_socket.as_os_str().is_empty() {
            true => Source::Own,
            false => Source::Socket(self.runner_socket.clone()),
        };
        Pool::new(source, self.scripts_max)
    }

    /// Where flows may call.
    #[must_use]
    pub fn egress(&self) -> EgressPolicy {
        let mut allow_hosts = self.egress_hosts.clone();
        if self.egress_private {
            allow_hosts.extend(PRIVATE_NETWORKS.iter().map(|&network| network.to_owned()));
        }
        EgressPolicy { allow_loopback: self.egress_private, allow_hosts }
    }

    /// How outgoing webhooks are sent; [`check`] has found them sound.
    #[must_use]
    pub fn outgoing(&self) -> OutgoingOptions {
        outgoing_of(self).unwrap_or_default()
    }
}

/// How outgoing webhooks are sent; or the setting that is wrong, and how.
fn outgoing_of(options: &Options) -> Result<OutgoingOptions, (&'static str, String)> {
    let span = |name: &'static str, text: &str, most: Span| match text.parse::<Span>() {
        Ok(span) if span.ms > 0 && span <= most => Ok(i64::try_from(span.ms).unwrap_or(i64::MAX)),
        _ => Err((name, format!("has `{}`, which is no time up to {most}", display(text)))),
    };
    let retries = &options.outgoing_retries;
    if retries.len() > 50 {
        return Err(("outgoing_retries", "has more than 50 waits".to_owned()));
    }
    let within = |name: &'static str, value: usize, most: usize| match (1..=most).contains(&value) {
        true => Ok(value),
        false => Err((name, format!("must be between 1 and {most}"))),
    };
    if !(1..=300).contains(&options.outgoing_timeout_seconds) {
        return Err(("outgoing_timeout_seconds", "must be between 1 and 300".to_owned()));
    }
    if !(1..=3650).contains(&options.outgoing_days) {
        return Err(("outgoing_days", "must be between 1 and 3650".to_owned()));
    }
    let waits = retries.iter().map(|text| span("outgoing_retries", text, Span::from_secs(7 * 86_400)));
    Ok(OutgoingOptions {
        most: within("outgoing_max", options.outgoing_max, 4096)?,
        each: within("outgoing_per_subscription", options.outgoing_per_subscription, 256)?,
        timeout: std::time::Duration::from_secs(options.outgoing_timeout_seconds),
        waits_ms: waits.collect::<Result<_, _>>()?,
        disable_after_ms: span(
            "outgoing_disable_after",
            &options.outgoing_disable_after,
            Span::from_secs(3650 * 86_400),
        )?,
        kept_ms: i64::try_from(options.outgoing_days).unwrap_or(30) * 86_400_000,
    })
}

fn tunnel_of(options: &Options) -> Result<(), (&'static str, &'static str)> {
    let Options { tunnel, tunnel_hostname: hostname, tunnel_args: args, .. } = options;
    if !tunnel.is_empty() && Kind::read(tunnel).is_none() {
        return Err(("tunnel", "must be `cloudflared` or `ngrok`, or empty"));
    }
    let name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let bare = hostname.is_empty() || (hostname.contains('.') && hostname.chars().all(name) && hostname.len() <= 190);
    if !bare {
        return Err(("tunnel_hostname", "must be a host name like hooks.example.com"));
    }
    if args.len() > 64 {
        return Err(("tunnel_args", "must not be more than 64"));
    }
    let gives_token = |word: &String| {
        let name = word.trim_start_matches('-').split('=').next().unwrap_or_default();
        word.starts_with('-') && matches!(name, "token" | "authtoken")
    };
    if args.iter().any(gives_token) {
        let why = "must hold no token, which everybody on this machine could read there: give it to aurad in its \
                   environment, as TUNNEL_TOKEN or NGROK_AUTHTOKEN";
        return Err(("tunnel_args", why));
    }
    Ok(())
}

const PRIVATE_NETWORKS: &[&str] = &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];

/// What is allowed but risky, in sentences.
#[must_use]
pub fn warnings(options: &Options) -> Vec<String> {
    let mut out = Vec::new();
    let open = options.listen.parse::<SocketAddr>().is_ok_and(|address| !address.ip().is_loopback());
    if open && !options.public_url.starts_with("https://") {
        out.push("the HTTP door listens beyond this machine without TLS in front: set `public_url` to the https address of your proxy".to_owned());
    }
    if !options.tunnel.is_empty() && !options.public_url.is_empty() {
        out.push(
            "`tunnel` runs, but senders are given `public_url`: leave that empty to give them the tunnel's address"
                .to_owned(),
        );
    }
    if options.egress_private {
        out.push("`egress_private` lets every flow call this machine and your own network".to_owned());
    }
    if options.http_body_max.saturating_mul(8) > options.http_in_flight_bytes {
        out.push("`http_in_flight_bytes` holds fewer than eight of the largest bodies at once".to_owned());
    }
    out
}

/// `aurad check-config`: settings in effect and warnings.
///
/// # Errors
/// Never; wrong settings were refused before.
pub fn report(options: &Options) -> Result<(), Stop> {
    print!("{}", toml::to_string(options).unwrap_or_default());
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("AURA_")) {
        let known = Options::NAMES.iter().any(|option| name == format!("AURA_{}", option.to_ascii_uppercase()));
        if !known && name != "AURA_CONFIG" {
            eprintln!("warning: the environment variable {name} is no setting of aurad");
        }
    }
    for warning in warnings(options) {
        eprintln!("warning: {warning}");
    }
    eprintln!("the settings are valid");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, part: &str) {
        let error = read("aurad.toml", text).and_then(|options| check(&options).map(|()| options)).unwrap_err();
        assert!(error.to_string().contains(part), "`{error}` should say `{part}`");
        assert!(!error.to_string().contains('\n'), "one sentence: {error}");
        assert_eq!(error.exit_code(), 78);
    }

    #[test]
    fn wrong_settings_are_refused_with_their_place() {
        refused("listn = '1'", "line 1: unknown field `listn`");
        refused("\nlisten = 5", "line 2");
        refused("listen = 'localhost'", "`listen` must be an address and a port");
        refused("http_body_max = 5", "between 1024");
        refused("calls_max = 0", "between 1 and");
        refused("workers = 1025", "at most 1024");
        refused("data_dir = '/d'\nmaster_key = '/d/key'", "must not lie in the data directory");
        refused("public_url = 'ftp://x'", "public_url");
        refused("tunnel = 'bore'", "`tunnel` must be `cloudflared` or `ngrok`");
        refused("tunnel_hostname = 'https://a.example'", "must be a host name");
        refused("tunnel_args = ['tunnel', 'run', '--token', 'x']", "`tunnel_args` must hold no token");
        refused("tunnel_args = ['http', '80', '--authtoken=x']", "TUNNEL_TOKEN or NGROK_AUTHTOKEN");
        refused("api_listen = '0.0.0.0:1'", "must be a loopback address");
        refused("api_listen = 'here'", "`api_listen` must be an address");
        refused("trusted_proxies = ['10.0.0.0/33']", "no address or network");
        refused("trusted_proxies = ['proxy.intern']", "no address or network");
        refused("egress_hosts = ['10.0.0/8']", "no address or network");
        refused(&format!("public_url = 'https://{}'", "a".repeat(200)), "not be longer than 200");
        refused("log = '=,='", "`log`");
        refused("a = [", "line 1");
    }

    #[test]
    fn the_printed_default_file_is_valid_and_says_the_defaults() {
        let file = Options::default_file();
        let live: String = file
            .lines()
            .filter_map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(read("default", &live).unwrap(), Options::default());
        for name in Options::NAMES {
            assert!(file.contains(&format!("\n#{name} = ")), "{name} is missing");
        }
    }

    #[test]
    fn environment_wins_over_the_file_and_names_itself_when_wrong() {
        let mut options = read("x", "queue_max = 7").unwrap();
        options.take_environment(|name| (name == "AURA_QUEUE_MAX").then(|| "9".to_owned())).unwrap();
        assert_eq!(options.queue_max, 9);
        let error = options.take_environment(|name| (name == "AURA_LOG_JSON").then(|| "maybe".to_owned())).unwrap_err();
        assert!(error.to_string().contains("AURA_LOG_JSON is `maybe`: write true or false"), "{error}");
    }
}
