//! `aura flow export`: flows, and on demand their runs and events, as one JSON object a line.
//!
//! Invariant: lines come in the order of the store and never hold the value of a secret.

use std::io::Write;

use aura_protocol::rpc::{FlowRow, FlowVersionOf, VersionOf};
use aura_protocol::text::display;
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
    /// The published texts instead, each as NAME.yaml in this directory: what a repository keeps and `flow apply` takes
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "runs"])]
    dir: Option<std::path::PathBuf>,
}

/// Writes the export.
///
/// # Errors
/// What the daemon says, or the file is there already.
pub async fn export(args: Export, session: &mut Session, out: &mut Output) -> Ended {
    if let Some(dir) = &args.dir {
        return texts(dir, args.flow.as_deref(), session, out).await;
    }
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

/// The published texts as files; one that says the same already is not touched.
async fn texts(dir: &std::path::Path, only: Option<&str>, session: &mut Session, out: &mut Output) -> Ended {
    let rows = session.call(|rpc, context, call| async move { rpc.flow_list(context, call, ()).await }).await?;
    let refuse = |path: &std::path::Path, error: std::io::Error| {
        WireError::new(Code::Invalid, format!("{} is not written: {error}", display(&path.display().to_string())))
    };
    std::fs::create_dir_all(dir).map_err(|error| refuse(dir, error))?;
    let wanted = rows.iter().filter(|row| only.is_none_or(|name| row.flow == name));
    let published: Vec<&FlowRow> = wanted.filter(|row| row.published.is_some()).collect();
    if let (Some(name), true) = (only, published.is_empty()) {
        return Err(WireError::not_found(format!("{} has no published version", display(name))));
    }
    for row in published {
        let query = FlowVersionOf { flow: row.flow.clone(), version: VersionOf::Published };
        let found = session
            .call(|rpc, context, call| {
                let query = query.clone();
                async move { rpc.flow_text(context, call, query).await }
            })
            .await?;
        let path = dir.join(format!("{}.yaml", row.flow));
        let same = std::fs::read_to_string(&path).is_ok_and(|text| text == found.text);
        if !same {
            std::fs::write(&path, &found.text).map_err(|error| refuse(&path, error))?;
        }
        if out.json {
            out.value(&serde_json::json!({ "flow": row.flow, "file": path, "changed": !same }))?;
        } else {
            let how = if same { "as it was" } else { "written" };
            out.line(&display(&format!("{} {how}", path.display())))?;
        }
    }
    Ok(0)
}
