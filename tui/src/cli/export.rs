//! `aura flow export`: flows, and on demand their runs and events, as one JSON object a line.
//!
//! Invariant: lines come in the order of the store and never hold the value of a secret.

use std::io::Write;

use aura_protocol::upkeep::ExportQuery;
use aura_protocol::{Code, WireError};

use super::Ended;
use super::output::{Output, escape, note};
use crate::client::Session;

/// What and where to.
#[derive(clap::Args, Debug)]
pub struct Export {
    /// Only this flow
    flow: Option<String>,
    /// Runs with their journals and held or dropped events too
    #[arg(long)]
    runs: bool,
    /// A new file instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<std::path::PathBuf>,
}

/// Writes the export.
///
/// # Errors
/// What the daemon says, or the file is there already.
pub async fn export(args: Export, session: &mut Session, out: &mut Output) -> Ended {
    let mut file = match &args.out {
        None => None,
        Some(path) => {
            use std::os::unix::fs::OpenOptionsExt;
            let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            let refuse = |error| WireError::new(Code::Invalid, format!("{} is not written: {error}", path.display()));
            Some(std::io::BufWriter::new(opened.map_err(refuse)?))
        }
    };
    let broken = |error: std::io::Error| WireError::internal(format!("the export could not be written: {error}"));
    let mut query = ExportQuery { flow: args.flow, runs: args.runs, after: String::new() };
    let mut lines = 0_u64;
    loop {
        let page = session
            .call(|rpc, context, call| {
                let query = query.clone();
                async move { rpc.export(context, call, query).await }
            })
            .await?;
        for line in &page.lines {
            lines += 1;
            match &mut file {
                Some(file) => writeln!(file, "{}", escape(line)).map_err(broken)?,
                None => out.line(&escape(line))?,
            }
        }
        match page.next {
            Some(next) if !out.closed() => query.after = next,
            _ => break,
        }
    }
    if let (Some(file), Some(path)) = (file, &args.out) {
        file.into_inner().map_err(|error| broken(error.into_error()))?.sync_all().map_err(broken)?;
        note(&format!("{lines} lines in {}", path.display()));
    }
    Ok(0)
}
