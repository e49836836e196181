//! `aura backup`, `restore`, `resume`, `compact` and `du`: looking after the store.
//!
//! Long work goes on in the daemon; here is only its news, so an interrupted command interrupts nothing. What
//! needs no daemon (restore, verify) is done by `aurad` beside this program, which knows the store.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use aura_protocol::text::display;
use aura_protocol::upkeep::{BackupDone, BackupRequest, CompactDone, Ended as Outcome, Job, JobQuery, StoreUse};
use aura_protocol::{Code, WireError};
use tokio::process::Command;

use super::output::{Output, note};
use super::{Ended, demo};
use crate::client::Session;
use crate::times;

/// `aura backup`.
#[derive(clap::Args, Debug)]
pub struct Backup {
    /// File or directory on the daemon's machine (default: `backups` in its data directory)
    #[arg(long, value_name = "FILE|DIR", conflicts_with = "verify")]
    to: Option<PathBuf>,
    /// Read this backup whole instead and say what it holds; needs no daemon, only the master key
    #[arg(long, value_name = "FILE")]
    verify: Option<PathBuf>,
    /// File with the master key (with --verify; default: as aurad finds it)
    #[arg(long, value_name = "FILE", requires = "verify")]
    master_key: Option<PathBuf>,
}

/// `aura restore`.
#[derive(clap::Args, Debug)]
pub struct Restore {
    /// The backup
    file: PathBuf,
    /// Empty directory for the store; it is made if it is not there
    #[arg(long, value_name = "D")]
    data_dir: PathBuf,
    /// File with the master key of the store that the backup was made from (default: as aurad finds it)
    #[arg(long, value_name = "FILE")]
    master_key: Option<PathBuf>,
}

/// Makes a backup, or reads one.
///
/// # Errors
/// What the daemon or `aurad` says.
pub async fn backup(args: Backup, session: &mut Session, out: &mut Output) -> Ended {
    if let Some(file) = args.verify {
        let done: BackupDone = offline(&["verify-backup".as_ref(), file.as_path()], args.master_key.as_deref()).await?;
        return told("whole", &done, out);
    }
    let to = args.to.map(std::path::absolute).transpose();
    let to = to.map_err(|error| WireError::new(Code::Invalid, format!("the path cannot be read: {error}")))?;
    let request = BackupRequest { to: to.map(|path| path.display().to_string()) };
    let job = session
        .call(|rpc, context, call| {
            let request = request.clone();
            async move { rpc.backup(context, call, request).await }
        })
        .await?;
    match finished(job, session).await? {
        Outcome::Backup(done) => told("backed up and read back", &done, out),
        other => Err(unexpected(&other)),
    }
}

/// Makes a store of a backup.
///
/// # Errors
/// What `aurad` says: nothing was left behind then.
pub async fn restore(args: Restore, out: &mut Output) -> Ended {
    let words = ["restore".as_ref(), args.file.as_path(), "--data-dir".as_ref(), args.data_dir.as_path()];
    let done: BackupDone = offline(&words, args.master_key.as_deref()).await?;
    let code = told("restored", &done, out)?;
    if !out.json {
        let dir = display(&args.data_dir.display().to_string());
        out.line(&format!("It starts paused: `aurad --data-dir {dir}`, look around, then `aura resume`."))?;
    }
    Ok(code)
}

fn told(what: &str, done: &BackupDone, out: &mut Output) -> Ended {
    if out.json {
        out.value(done)?;
        return Ok(u8::from(done.damaged_rows > 0));
    }
    let rows: u64 = done.tables.iter().map(|table| table.rows).sum();
    out.line(&format!(
        "{}: {what}, {} rows, {}, in {}",
        display(&done.file),
        rows,
        times::bytes(done.bytes),
        times::took(i64::try_from(done.took_ms).unwrap_or(i64::MAX))
    ))?;
    out.line(&format!(
        "snapshot of {}, layout {}, aura {}, cursor {}",
        times::full(done.created_ms, &out.zone),
        done.layout,
        display(&done.program),
        done.cursor
    ))?;
    if done.damaged_rows > 0 {
        note(&format!("{} records in it were damaged in the store already, among them:", done.damaged_rows));
        done.damaged.iter().take(10).for_each(|record| note(&format!("  {record}")));
        note("hint: `aura doctor --deep` looks closer; keep older backups");
    }
    Ok(u8::from(done.damaged_rows > 0))
}

/// Lets a restored store go on.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn resume(session: &mut Session, out: &mut Output) -> Ended {
    let resumed = session.call(|rpc, context, call| async move { rpc.resume(context, call, ()).await }).await?;
    if out.json {
        out.value(&resumed)?;
    } else if !resumed.was_paused {
        out.line("it was not paused")?;
    } else {
        out.line(&format!("goes on: {} runs, {} wait for a decision", resumed.runs, resumed.in_doubt))?;
        if resumed.in_doubt > 0 {
            out.line("`aura run list --state in_doubt` shows them")?;
        }
    }
    Ok(0)
}

/// Gives unused space back.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn compact(offline_dir: Option<PathBuf>, session: &mut Session, out: &mut Output) -> Ended {
    let done: CompactDone = match offline_dir {
        Some(dir) => offline(&["compact".as_ref(), "--data-dir".as_ref(), dir.as_path()], None).await?,
        None => {
            let job = session.call(|rpc, context, call| async move { rpc.compact(context, call, ()).await }).await?;
            match finished(job, session).await? {
                Outcome::Compact(done) => done,
                other => return Err(unexpected(&other)),
            }
        }
    };
    if out.json {
        out.value(&done)?;
    } else {
        let took = times::took(i64::try_from(done.took_ms).unwrap_or(i64::MAX));
        out.line(&format!("{} -> {} in {took}", times::bytes(done.before), times::bytes(done.after)))?;
    }
    Ok(0)
}

/// Says what takes room.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn du(session: &mut Session, out: &mut Output) -> Ended {
    let job = session.call(|rpc, context, call| async move { rpc.du(context, call, ()).await }).await?;
    let usage = match finished(job, session).await? {
        Outcome::Usage(usage) => usage,
        other => return Err(unexpected(&other)),
    };
    if out.json {
        out.value(&usage)?;
        return Ok(0);
    }
    tables(&usage, out)
}

fn tables(usage: &StoreUse, out: &mut Output) -> Ended {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut sorted: Vec<_> = usage.tables.iter().filter(|table| table.rows > 0).collect();
    sorted.sort_by_key(|table| std::cmp::Reverse(table.bytes));
    for table in sorted {
        rows.push(vec![table.table.clone(), table.rows.to_string(), times::bytes(table.bytes)]);
    }
    out.table(&["TABLE", "ROWS", "SIZE"], &rows)?;
    if !usage.flows.is_empty() {
        out.line("")?;
        let rows: Vec<Vec<String>> = usage
            .flows
            .iter()
            .map(|flow| {
                vec![flow.flow.clone(), flow.runs.to_string(), flow.events.to_string(), times::bytes(flow.bytes)]
            })
            .collect();
        out.table(&["FLOW", "RUNS", "EVENTS", "SIZE"], &rows)?;
    }
    let stored: u64 = usage.tables.iter().map(|table| table.bytes).sum();
    out.line("")?;
    out.line(&format!(
        "file {}, of which {} rows; `aura compact` gives free space back",
        times::bytes(usage.file_bytes),
        times::bytes(stored)
    ))?;
    Ok(0)
}

/// Waits for the end of a piece of work, with its progress on standard error.
async fn finished(mut job: Job, session: &mut Session) -> Result<Outcome, WireError> {
    use std::io::IsTerminal;
    let shown = std::io::stderr().is_terminal();
    let mut said = false;
    loop {
        if let Some(ended) = job.ended.take() {
            if said {
                eprint!("\r\u{1b}[K");
            }
            return match ended {
                Outcome::Failed(error) => Err(error),
                ended => Ok(ended),
            };
        }
        if shown && job.done > 0 {
            said = true;
            let share = (job.done.saturating_mul(100)).checked_div(job.total).unwrap_or(0).min(99);
            eprint!("\r\u{1b}[K{}: {} ({share} %)", display(&job.work), times::bytes(job.done));
        }
        let query = JobQuery { job: job.job, wait_ms: if shown { 500 } else { 5_000 } };
        job = session.call(|rpc, context, call| async move { rpc.job(context, call, query).await }).await?;
    }
}

fn unexpected(outcome: &Outcome) -> WireError {
    WireError::internal(format!("the daemon answered something else: {outcome:?}"))
}

/// Runs `aurad` beside this program and reads the JSON line it ends with.
async fn offline<T: serde::de::DeserializeOwned>(words: &[&Path], key: Option<&Path>) -> Result<T, WireError> {
    let daemon = demo::daemon_beside(&std::env::current_exe().unwrap_or_default())?;
    let mut command = Command::new(&daemon);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    if let Some(key) = key {
        command.arg("--master-key").arg(key);
    }
    let output = command.spawn().map(tokio::process::Child::wait_with_output);
    let output = match output {
        Ok(output) => output.await,
        Err(error) => Err(error),
    };
    let output = output.map_err(|error| WireError::internal(format!("{} did not run: {error}", daemon.display())))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let sentence = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it ended without a word");
        let sentence = sentence.trim_start_matches("aurad: ").to_owned();
        // The exit codes of aurad follow sysexits.h, see docs/operating.md.
        let code = match output.status.code() {
            Some(77) => Code::Forbidden,
            Some(78 | 2) => Code::Invalid,
            _ => Code::Conflict,
        };
        return Err(WireError::new(code, sentence));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line).map_err(|error| WireError::internal(format!("aurad answered no JSON: {error}")))
}
