//! `aura run delete`: named runs at once, or all that fit a filter after a plan was shown and agreed to.
//!
//! Invariant: with a filter nothing is deleted before its number was said and somebody (or `--yes`) agreed; runs
//! that have not finished are kept.

use std::io::IsTerminal;

use aura_protocol::filter::{Filter, Key, Operand};
use aura_protocol::rpc::{RunDelete, RunFilter, RunRef, RunsDeleted};
use aura_protocol::text::display;
use aura_protocol::{Code, WireError};
use clap::Args;

use super::output::{Output, note};
use super::{Ended, prompt};
use crate::client::Session;
use crate::times;

/// What is deleted.
#[derive(Args, Debug)]
pub struct Which {
    /// Run ids, or their starts or ends
    #[arg(value_name = "RUN", required_unless_present = "filter", conflicts_with = "filter")]
    runs: Vec<String>,
    /// All finished runs that fit: words as for `aura run list --filter`, or `all`
    #[arg(long, value_name = "WORDS")]
    filter: Option<String>,
    /// Only say what would be deleted
    #[arg(long)]
    plan: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
}

/// Deletes runs.
///
/// # Errors
/// What the daemon or the way to it says, or that nobody agreed.
pub async fn delete(which: Which, session: &mut Session, out: &mut Output) -> Ended {
    let Which { runs, filter, plan, yes } = which;
    let Some(filter) = filter else {
        let runs = runs.into_iter().map(RunRef).collect();
        let said = ask(RunDelete { runs, filter: None, plan }, session).await?;
        report(&said, plan, out)?;
        return Ok(if said.kept.is_empty() { 0 } else { Code::Conflict.exit_code() });
    };
    let status = session.call(|rpc, context, call| async move { rpc.status(context, call, ()).await }).await?;
    let filter = read(&filter, status.now_ms)?;
    let planned = all(&filter, true, session).await?;
    if plan || planned.runs == 0 {
        report(&planned, true, out)?;
        return Ok(0);
    }
    if !yes {
        if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
            return Err(WireError::new(Code::Invalid, format!("{} runs would be deleted", planned.runs))
                .hint("agree with --yes, or look first with --plan"));
        }
        note(&sentence(&planned, true, out));
        let answer = prompt::ask("delete them? write yes", false)?;
        if answer.trim() != "yes" {
            return Err(WireError::new(Code::Invalid, "not agreed; nothing was deleted"));
        }
    }
    let said = all(&filter, false, session).await?;
    report(&said, false, out)?;
    Ok(0)
}

async fn ask(request: RunDelete, session: &mut Session) -> Result<RunsDeleted, WireError> {
    session
        .call(|rpc, context, call| {
            let request = request.clone();
            async move { rpc.run_delete(context, call, request).await }
        })
        .await
}

/// Piece after piece, until there is no more.
async fn all(filter: &RunFilter, plan: bool, session: &mut Session) -> Result<RunsDeleted, WireError> {
    let mut filter = filter.clone();
    let mut whole = RunsDeleted::default();
    loop {
        let piece = ask(RunDelete { runs: Vec::new(), filter: Some(filter.clone()), plan }, session).await?;
        whole.runs += piece.runs;
        let room = 10_usize.saturating_sub(whole.first.len());
        whole.first.extend(piece.first.into_iter().take(room));
        whole.finished_ms = match (whole.finished_ms, piece.finished_ms) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
        match piece.next {
            Some(next) => filter.after = Some(next),
            None => return Ok(whole),
        }
    }
}

fn sentence(said: &RunsDeleted, plan: bool, out: &Output) -> String {
    let verb = if plan { "would be deleted" } else { "deleted" };
    let when = said.finished_ms.map_or(String::new(), |(from, to)| {
        format!(", finished {} to {}", times::full(from, &out.zone), times::full(to, &out.zone))
    });
    format!("{} runs {verb}{when}", said.runs)
}

fn report(said: &RunsDeleted, plan: bool, out: &mut Output) -> Result<(), WireError> {
    if out.json {
        return out.value(said);
    }
    for (run, why) in &said.kept {
        out.line(&display(&format!("{run} kept: {why}")))?;
    }
    let text = sentence(said, plan, out);
    out.line(&text)
}

/// The words of a filter. Everything must be said: `all` is a word, and a text that only occurs somewhere is not
/// enough to delete by.
fn read(text: &str, now_ms: i64) -> Result<RunFilter, WireError> {
    let refuse = |message: String| {
        WireError::new(Code::Invalid, message).hint("write for example --filter 'flow=cart state=failed older=30d'")
    };
    if text.trim().is_empty() {
        return Err(refuse("the filter is empty".to_owned()));
    }
    let filter = Filter::read(text).map_err(|error| refuse(error.to_string()))?;
    if let Some(term) = filter.terms.iter().find(|term| term.key == Key::Any) {
        let word = match &term.with {
            Operand::Texts(texts) => texts.join(","),
            _ => String::new(),
        };
        return Err(refuse(format!("`{}` is no part of a filter to delete by", display(&word))));
    }
    if let Some(state) = filter.states().iter().find(|state| !state.is_final()) {
        return Err(refuse(format!("`{}` is no state of a finished run", state.word())));
    }
    let words = (!filter.terms.is_empty()).then(|| text.to_owned());
    // What finishes from now on is not meant.
    Ok(RunFilter { before_ms: Some(now_ms), words, ..RunFilter::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_or_refused_with_their_word() {
        let words = "flow=cart state=failed,cancelled older=2d";
        let expected = RunFilter { before_ms: Some(7), words: Some(words.to_owned()), ..RunFilter::default() };
        assert_eq!(read(words, 7).unwrap(), expected);
        assert_eq!(read("all", 7).unwrap(), RunFilter { before_ms: Some(7), ..RunFilter::default() });
        for (text, part) in [
            ("", "empty"),
            ("state=running", "`running` is no state"),
            ("older=soon", "`soon` is no time"),
            ("colour=red", "`colour=red`"),
            ("everything", "`everything`"),
        ] {
            let error = read(text, 7).unwrap_err();
            assert!(error.message.contains(part), "{text}: {}", error.message);
        }
    }
}
