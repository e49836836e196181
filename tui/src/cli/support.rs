//! `aura support bundle`: what somebody who helps needs to see, in one tar file that a person can look through.
//!
//! Invariant: no payload, no secret, no flow text. Everything that goes in is made from replies that hold none,
//! then passes [`redact`]; what is inside is listed before anything is written.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use aura_protocol::rpc::DoctorRequest;
use aura_protocol::text::{display, display_lines};
use aura_protocol::version::{BUILD, FLOW_FORMAT, PROTOCOL, SEMANTICS};
use aura_protocol::{Code, WireError};
use clap::Subcommand;
use serde::Serialize;

use super::output::{Output, json_line, note};
use super::{Ended, config, doctor};
use crate::client::Session;
use crate::settings::{Chosen, Loaded};
use crate::times;

/// Log lines asked for.
const LOG_LINES: u32 = 500;

/// What can be asked.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Gather versions, status, checks, settings and log lines in a tar file; no payloads, no secrets
    #[command(after_help = "Example: aura support bundle            # lists what would be inside, then asks
         aura support bundle --yes --file bundle.tar")]
    Bundle {
        /// Where to write it (default aura-support-TIME.tar)
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Write without asking
        #[arg(long)]
        yes: bool,
    },
}

/// One file of the bundle.
struct Part {
    name: &'static str,
    about: &'static str,
    text: String,
}

#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    about: &'a str,
    bytes: usize,
}

/// Gathers, lists, asks, writes.
///
/// # Errors
/// The file cannot be written. A daemon that is away is told within the bundle.
pub async fn support(
    command: Command,
    loaded: &Loaded,
    chosen: &Chosen,
    session: &mut Session,
    out: &mut Output,
) -> Ended {
    let Command::Bundle { file, yes } = command;
    let parts = gather(loaded, chosen, session).await?;
    let now = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    let path = file.unwrap_or_else(|| format!("aura-support-{now}.tar").into());
    for part in &parts {
        if out.json {
            out.value(&Listed { name: part.name, about: part.about, bytes: part.text.len() })?;
        }
    }
    if !out.json {
        let rows: Vec<Vec<String>> = parts
            .iter()
            .map(|part| {
                let size = times::bytes(u64::try_from(part.text.len()).unwrap_or(0));
                vec![part.name.to_owned(), size, part.about.to_owned()]
            })
            .collect();
        out.table(&["FILE", "SIZE", "WHAT"], &rows)?;
    }
    if !(yes || agreed(&path)?) {
        note(&format!("nothing was written; with --yes it goes to {}", path.display()));
        return Ok(0);
    }
    write(&path, &parts)?;
    if out.json {
        return out.value(&serde_json::json!({ "file": path })).map(|()| 0);
    }
    out.line(&display(&format!("wrote {}; look through it before you give it away: tar -xOf {0}", path.display())))
        .map(|()| 0)
}

fn agreed(path: &std::path::Path) -> Result<bool, WireError> {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Ok(false);
    }
    let mut err = std::io::stderr();
    let asked = write!(err, "write {}? [y/N] ", display(&path.display().to_string())).and_then(|()| err.flush());
    asked.map_err(|error| WireError::internal(format!("the terminal cannot be asked: {error}")))?;
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .map_err(|error| WireError::internal(format!("the terminal cannot be read: {error}")))?;
    Ok(line.trim().eq_ignore_ascii_case("y"))
}

fn write(path: &std::path::Path, parts: &[Part]) -> Result<(), WireError> {
    use std::os::unix::fs::OpenOptionsExt;
    let failed = |error: std::io::Error| {
        let code = if error.kind() == std::io::ErrorKind::AlreadyExists { Code::Conflict } else { Code::Invalid };
        WireError::new(code, format!("{} was not written: {error}", path.display()))
            .hint("name another file with --file")
    };
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let mut archive = tar::Builder::new(file);
    for part in parts {
        let mut head = tar::Header::new_gnu();
        head.set_size(u64::try_from(part.text.len()).unwrap_or(0));
        head.set_mode(0o600);
        archive.append_data(&mut head, format!("aura-support/{}", part.name), part.text.as_bytes()).map_err(failed)?;
    }
    archive.into_inner().and_then(|file| file.sync_all()).map_err(failed)
}

async fn gather(loaded: &Loaded, chosen: &Chosen, session: &mut Session) -> Result<Vec<Part>, WireError> {
    let mut parts = Vec::new();
    let mut add = |name: &'static str, about: &'static str, text: String| {
        parts.push(Part { name, about, text: redact(&display_lines(&text)) });
    };
    let lines = |rows: &[aura_protocol::rpc::SettingRow]| -> String {
        rows.iter().map(|row| format!("{} = {}   # {}\n", row.name, row.value, row.source)).collect()
    };
    let system = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    add(
        "versions.txt",
        "builds, protocol, kernel",
        format!("aura {BUILD}\nprotocol {PROTOCOL}\nflow format {FLOW_FORMAT}\nsemantics {SEMANTICS}\nkernel {system}"),
    );
    add("client-settings.txt", "the client's settings and their sources", lines(&config::client_rows(loaded, chosen)));
    let mut checks = doctor::here(loaded, chosen, |name| std::env::var(name).ok());
    let away = session.client().await.map(|client| client.hello.clone());
    match away {
        Err(error) => add("daemon.txt", "why the daemon was not asked", format!("{error}\n")),
        Ok(hello) => {
            add("daemon.txt", "the daemon's build and role", format!("{hello:#?}\n"));
            let status = session.call(|rpc, context, call| async move { rpc.status(context, call, ()).await }).await;
            add("status.json", "what `aura status` says", said(status.as_ref())?);
            let request = DoctorRequest { deep: false };
            let found =
                session.call(|rpc, context, call| async move { rpc.doctor(context, call, request).await }).await;
            match found {
                Ok(found) => checks.extend(found),
                Err(error) => add("doctor-error.txt", "why the daemon's checks failed", format!("{error}\n")),
            }
            let settings =
                session.call(|rpc, context, call| async move { rpc.config_show(context, call, ()).await }).await;
            let text = match &settings {
                Ok(settings) => lines(&settings.rows),
                Err(error) => format!("{error}\n"),
            };
            add("daemon-settings.txt", "the daemon's settings, secrets as dots", text);
            add("counters.json", "how many flows, endpoints, connections; names left out", counters(session).await?);
            let log =
                session.call(|rpc, context, call| async move { rpc.log_recent(context, call, LOG_LINES).await }).await;
            let text = match log {
                Ok(log) => log.join("\n") + "\n",
                Err(error) => format!("{error}\n"),
            };
            add("log.txt", "the daemon's newest log lines", text);
        }
    }
    let mut text = String::new();
    for check in &checks {
        text.push_str(&json_line(check)?);
        text.push('\n');
    }
    add("doctor.jsonl", "what `aura doctor` says", text);
    Ok(parts)
}

fn said<T: Serialize>(answer: Result<&T, &WireError>) -> Result<String, WireError> {
    match answer {
        Ok(value) => json_line(value).map(|line| line + "\n"),
        Err(error) => Ok(format!("{error}\n")),
    }
}

/// Numbers without names.
async fn counters(session: &mut Session) -> Result<String, WireError> {
    #[derive(Serialize, Default)]
    struct Counters {
        flows: usize,
        flows_enabled: usize,
        flows_with_draft: usize,
        endpoints: usize,
        endpoints_without_secret: usize,
        connections: usize,
        runs_of_a_day: u64,
        failed_of_a_day: u64,
        held_groups: u64,
    }
    let mut counters = Counters::default();
    let flows = session.call(|rpc, context, call| async move { rpc.flow_list(context, call, ()).await }).await;
    let hooks = session.call(|rpc, context, call| async move { rpc.webhook_list(context, call, ()).await }).await;
    let connections =
        session.call(|rpc, context, call| async move { rpc.connection_list(context, call, ()).await }).await;
    let activity = session.call(|rpc, context, call| async move { rpc.flow_activity(context, call, ()).await }).await;
    if let Ok(flows) = flows {
        counters.flows = flows.len();
        counters.flows_enabled = flows.iter().filter(|row| row.enabled).count();
        counters.flows_with_draft = flows.iter().filter(|row| row.draft.is_some()).count();
    }
    if let Ok(hooks) = hooks {
        counters.endpoints = hooks.len();
        counters.endpoints_without_secret = hooks.iter().filter(|hook| !hook.secret_set).count();
    }
    counters.connections = connections.map_or(0, |connections| connections.len());
    if let Ok(activity) = activity {
        counters.runs_of_a_day = activity.flows.iter().map(|flow| flow.runs).sum();
        counters.failed_of_a_day = activity.flows.iter().map(|flow| flow.failed).sum();
        counters.held_groups = activity.flows.iter().map(|flow| flow.held).sum();
    }
    json_line(&counters).map(|line| line + "\n")
}

/// How values begin that give access wherever they stand.
const TELLING: &[&str] = &[
    "whsec_",
    "shpss_",
    "shpat_",
    "shppa_",
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "xoxb-",
    "xoxp-",
    "xapp-",
    "ghp_",
    "gho_",
    "github_pat_",
    "SG.",
    "AKIA",
    "eyJ",
    "Bearer",
    "Basic",
];
/// Names after which a value follows that gives access.
const NAMED: &[&str] = &["password", "passwd", "secret", "token", "api_key", "apikey", "authorization"];

/// Takes out what looks like a value that gives access: known beginnings, `name=value` of such names, endpoint
/// names in URLs, passwords in addresses. A second wall: nothing of the kind should come here.
#[must_use]
pub fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let mut hide_next = false;
        for piece in line.split_inclusive([' ', '"', '\'', ',', '\n']) {
            let (word, end) = match piece.char_indices().next_back() {
                Some((at, ' ' | '"' | '\'' | ',' | '\n')) => piece.split_at(at),
                _ => (piece, ""),
            };
            out.push_str(&if hide_next && !word.is_empty() { "••••••".to_owned() } else { hidden(word) });
            out.push_str(end);
            if !word.is_empty() {
                hide_next = matches!(word, "Bearer" | "Basic");
            }
        }
    }
    out
}

fn hidden(word: &str) -> String {
    const DOTS: &str = "••••••";
    if let Some((at, known)) = TELLING.iter().find_map(|known| word.find(known).map(|at| (at, known)))
        && word.len() > at + known.len() + 5
    {
        return format!("{}{DOTS}", word.get(..at).unwrap_or_default());
    }
    if let Some((name, value)) = word.split_once('=').or_else(|| word.split_once(':'))
        && !value.is_empty()
        && !value.starts_with("//")
    {
        let lower = name.to_lowercase();
        if NAMED.iter().any(|known| lower.ends_with(known)) {
            return format!("{name}={DOTS}");
        }
    }
    if let Some((before, after)) = word.split_once("/hooks/") {
        let name = after.split(['/', '?']).next().unwrap_or_default();
        if name.len() == 26 {
            return format!("{before}/hooks/{DOTS}{}", after.get(26..).unwrap_or_default());
        }
    }
    if let Some((scheme, rest)) = word.split_once("://")
        && let Some((account, place)) = rest.split_once('@')
        && account.contains(':')
    {
        return format!("{scheme}://{DOTS}@{place}");
    }
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gives_access_is_taken_out_and_the_rest_stays() {
        let check = |text: &str, expected: &str| assert_eq!(redact(text), expected);
        check("all is well\nline 2\n", "all is well\nline 2\n");
        check("key whsec_c2lnbmVkIGJ5 end", "key •••••• end");
        check("Authorization: Bearer abcdef", "Authorization: Bearer ••••••");
        check("password=hush next", "password=•••••• next");
        check("{\"token\": \"x\"}", "{\"token\": \"x\"}");
        check("POST http://h:1/hooks/abcdefghjkmnpqrstvwxyz1234?a", "POST http://h:1/hooks/••••••?a");
        check("postgres://u:hush@db/x", "postgres://••••••@db/x");
        check("http://127.0.0.1:8470 ready", "http://127.0.0.1:8470 ready");
        check("jwt eyJhbGciOiJIUzI1NiJ9.e30.x", "jwt ••••••");
    }

    #[test]
    fn a_bundle_is_private_never_overwrites_and_can_be_read_back() {
        use std::io::Read;
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b.tar");
        let parts = [Part { name: "versions.txt", about: "x", text: "aura 1\n".to_owned() }];
        write(&path, &parts).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(write(&path, &parts).unwrap_err().code, Code::Conflict);
        let mut archive = tar::Archive::new(std::fs::File::open(&path).unwrap());
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        assert_eq!(
            (entry.path().unwrap().display().to_string().as_str(), &*text),
            ("aura-support/versions.txt", "aura 1\n")
        );
    }
}
