//! `run_delete`: named runs, or all that fit a filter, a bounded piece a call, oldest first.
//!
//! Runs that have not finished are kept and said. Everything named is looked up before anything is deleted.

use std::time::{Duration, Instant};

use aura_protocol::filter::Filter;
use aura_protocol::rpc::{RUNS_MAX, RunDelete, RunFilter, RunsDeleted};
use aura_protocol::run::RunHead;
use aura_protocol::{Code, TenantId, WireError};
use aura_storage::Key;
use aura_storage::rows::run_key;

use crate::catalog::unreadable;
use crate::retention::delete::{DeleteError, Deletion};
use crate::retention::window;
use crate::rpc::search::Search;
use crate::rpc::{Service, Shared, refs};

/// Ids that a reply names.
const FIRST: usize = 10;
/// Runs looked at by one call, and how long it may take.
const LOOKED_AT: usize = 20_000;
const LONGEST: Duration = Duration::from_secs(5);

/// Deletes, or plans to.
///
/// # Errors
/// A run is not there, neither runs nor a filter were given, or the store refuses.
pub async fn delete(service: &Service, request: RunDelete) -> Result<RunsDeleted, WireError> {
    let RunDelete { runs, filter, plan } = request;
    if runs.len() > RUNS_MAX {
        return Err(WireError::new(Code::Invalid, format!("at most {RUNS_MAX} runs can be named at once")));
    }
    match filter {
        Some(filter) if runs.is_empty() => {
            let worker = service.clone();
            service.change(async move { by_filter(&worker, filter, plan).await }).await
        }
        None if !runs.is_empty() => {
            let heads = service.read(move |shared| runs.iter().map(|run| refs::find(shared, run)).collect()).await?;
            let worker = service.clone();
            service.change(async move { named(&worker, heads, plan).await }).await
        }
        _ => Err(WireError::new(Code::Invalid, "say which runs: name them, or give a filter, not both")),
    }
}

async fn named(service: &Service, heads: Vec<RunHead>, plan: bool) -> Result<RunsDeleted, WireError> {
    let mut said = RunsDeleted::default();
    let mut deletion = Deletion::new(&service.store, TenantId::DEFAULT);
    for head in &heads {
        if !head.state.is_final() {
            said.kept.push((head.run, format!("it has not finished: {}", head.state.word())));
            continue;
        }
        if !plan {
            deletion.take(head).await.map_err(failed)?;
        }
        note(&mut said, head);
    }
    let deleted = deletion.finish().await.map_err(failed)?;
    if !plan {
        said.runs = deleted;
    }
    Ok(said)
}

async fn by_filter(service: &Service, filter: RunFilter, plan: bool) -> Result<RunsDeleted, WireError> {
    let tenant = TenantId::DEFAULT;
    let words = filter.words.clone();
    // Read once here, so that a wrong one is refused before anything is looked at.
    let filtered = words.as_ref().map(|words| Filter::read(words).map(|_| ())).transpose();
    filtered.map_err(|error| WireError::new(Code::Invalid, error.to_string()))?;
    let fits = |head: &RunHead| {
        head.state.is_final()
            && filter.flow.as_ref().is_none_or(|flow| head.flow == *flow)
            && (filter.states.is_empty() || filter.states.contains(&head.state))
            && filter.before_ms.is_none_or(|before| head.finished_ms.is_some_and(|finished| finished < before))
    };
    let mut said = RunsDeleted::default();
    let began = Instant::now();
    let end = Key::tenant(tenant).after_prefix();
    let mut from = filter.after.map_or_else(|| Key::tenant(tenant), |run| run_key(tenant, run).next());
    let (mut looked_at, mut deleted) = (0, 0);
    loop {
        let to = end.clone();
        let words = words.clone();
        let rows = service.read(move |shared| looked(shared, words.as_deref(), from, &to)).await?;
        looked_at += rows.len();
        let Some((last, _)) = rows.last().cloned() else { break };
        let mut deletion = Deletion::new(&service.store, tenant);
        for head in rows.into_iter().filter_map(|(_, head)| head).filter(|head| fits(head)) {
            if !plan {
                deletion.take(&head).await.map_err(failed)?;
            }
            note(&mut said, &head);
        }
        deleted += deletion.finish().await.map_err(failed)?;
        if looked_at >= LOOKED_AT || began.elapsed() > LONGEST {
            said.next = last.id_at(16).map(aura_protocol::RunId::from_bytes);
            break;
        }
        from = last.next();
    }
    if !plan {
        said.runs = deleted;
    }
    Ok(said)
}

/// A window of rows; those that do not fit are there without their head.
fn looked(shared: &Shared, words: Option<&str>, from: Key, to: &Key) -> Result<Vec<(Key, Option<RunHead>)>, WireError> {
    let mut rows = window(&shared.store, from, to).map_err(|error| unreadable(&error))?;
    if words.is_some() {
        let search = Search::read(&shared.store, Some(shared.catalog.now()), words, shared.clock.now_ms())?;
        for (_, head) in &mut rows {
            if let Some(found) = head.as_ref().filter(|head| head.state.is_final())
                && !search.fits(found)?
            {
                *head = None;
            }
        }
    }
    Ok(rows)
}

fn note(said: &mut RunsDeleted, head: &RunHead) {
    said.runs += 1;
    if said.first.len() < FIRST {
        said.first.push(head.run);
    }
    if let Some(finished) = head.finished_ms {
        let (oldest, newest) = said.finished_ms.unwrap_or((finished, finished));
        said.finished_ms = Some((oldest.min(finished), newest.max(finished)));
    }
}

fn failed(error: DeleteError) -> WireError {
    match error {
        DeleteError::Live => WireError::new(Code::Conflict, "the run has not finished; cancel it first"),
        DeleteError::Read(error) => unreadable(&error),
        DeleteError::Commit(error) => crate::catalog::edit::uncommitted(&error),
    }
}
