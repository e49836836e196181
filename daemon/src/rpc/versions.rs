//! Calls about versions: history, plans, many files at once, rollback, and runs that move.
//!
//! Unfinished runs are looked for in bounded pieces; what was not looked at is said.

use std::collections::{HashMap, HashSet};

use aura_protocol::rpc::{
    Actor, FlowFiles, FlowRow, FlowText, FlowVersion, FlowVersionOf, PlannedFlow, RunMigrate, RunMigrated, VersionOf,
};
use aura_protocol::run::{RunHead, RunState};
use aura_protocol::{Code, FlowId, RunId, TenantId, WireError};
use aura_storage::rows::{HeldRow, LiveRow, run_key};
use aura_storage::{Key, Table};

use crate::catalog::together::too_many;
use crate::catalog::unreadable;
use crate::engine::{Flows, Published};
use crate::rpc::eyes::Eyes;
use crate::rpc::{Service, Shared, flows, refs, runs};

/// Unfinished runs of the whole daemon that are looked at.
const LIVE_MAX: usize = 200_000;
/// Read at a time.
const WINDOW: usize = 1_000;
/// Held groups that are looked at.
const HELD_MAX: usize = 100_000;
/// Unfinished runs of a flow that a plan compares with the new version.
const COMPARED: usize = 50;

/// A run that goes on.
type Unfinished = (FlowId, RunId, RunState);

/// Unfinished runs of some flows, and whether these are all.
fn live(shared: &Shared, wanted: &dyn Fn(FlowId) -> bool) -> Result<(Vec<Unfinished>, bool), WireError> {
    let tenant = TenantId::DEFAULT;
    let (mut from, to) = (Key::tenant(tenant), Key::tenant(tenant).after_prefix());
    let (mut found, mut looked_at) = (Vec::new(), 0);
    loop {
        let rows: Vec<(Key, LiveRow)> =
            shared.store.scan(tenant, Table::Live, &from, &to, WINDOW, false).map_err(|error| unreadable(&error))?;
        looked_at += rows.len();
        let wanted = rows.iter().filter(|(_, row)| wanted(row.flow));
        found
            .extend(wanted.filter_map(|(key, row)| Some((row.flow, key.id_at(16).map(RunId::from_bytes)?, row.state))));
        match rows.last() {
            Some((last, _)) if rows.len() == WINDOW && looked_at < LIVE_MAX => from = last.next(),
            Some(_) if rows.len() == WINDOW => return Ok((found, false)),
            _ => return Ok((found, true)),
        }
    }
}

/// The publications of a flow, newest first.
///
/// # Errors
/// No such flow, or the store cannot be read.
pub fn history(shared: &Shared, flow: &str) -> Result<Vec<FlowVersion>, WireError> {
    let id = shared.catalog.flow_id(flow)?;
    let mut by_version: HashMap<String, u64> = HashMap::new();
    for (_, run, _) in live(shared, &|flow| flow == id)?.0 {
        let key = run_key(TenantId::DEFAULT, run);
        let head: Option<RunHead> =
            shared.store.get(TenantId::DEFAULT, Table::Runs, &key).map_err(|error| unreadable(&error))?;
        if let Some(head) = head {
            *by_version.entry(head.version).or_default() += 1;
        }
    }
    shared.catalog.history(flow, &|version| by_version.get(version).copied().unwrap_or(0))
}

/// The text of a version; without what is a secret by now.
///
/// # Errors
/// No such flow or version.
pub fn text(shared: &Shared, query: &FlowVersionOf) -> Result<FlowText, WireError> {
    let found = shared.catalog.text_of(&query.flow, &query.version)?;
    Ok(FlowText { text: shared.catalog.sink().text(&found.text).into_owned(), ..found })
}

/// What files would change, and what that means for runs.
///
/// # Errors
/// They are too many, or the store cannot be read.
pub fn plan(shared: &Shared, files: &FlowFiles) -> Result<Vec<PlannedFlow>, WireError> {
    too_many(&files.texts)?;
    let found: Vec<(PlannedFlow, Option<FlowId>)> = shared.catalog.planned_all(&files.texts);
    let changed = found.iter().filter(|(planned, _)| planned.change == "changed").filter_map(|(_, id)| *id);
    // Read once for all of them.
    let busy = Busy::of(shared, &changed.collect())?;
    let each = found.into_iter().zip(&files.texts);
    Ok(each.map(|((found, id), text)| planned(shared, &busy, found, id, text)).collect())
}

/// What is under way of some flows.
struct Busy {
    live: HashMap<FlowId, Vec<(RunId, RunState)>>,
    /// These are all unfinished runs.
    all: bool,
    held: HashMap<FlowId, u64>,
}

impl Busy {
    fn of(shared: &Shared, flows: &HashSet<FlowId>) -> Result<Self, WireError> {
        let mut busy = Self { live: HashMap::new(), all: true, held: HashMap::new() };
        if flows.is_empty() {
            return Ok(busy);
        }
        let (live, all) = live(shared, &|flow| flows.contains(&flow))?;
        busy.all = all;
        live.into_iter().for_each(|(flow, run, state)| busy.live.entry(flow).or_default().push((run, state)));
        let tenant = TenantId::DEFAULT;
        let (from, to) = (Key::tenant(tenant), Key::tenant(tenant).after_prefix());
        let rows: Vec<(Key, HeldRow)> =
            shared.store.scan(tenant, Table::Held, &from, &to, HELD_MAX, false).map_err(|error| unreadable(&error))?;
        rows.iter().for_each(|(_, row)| *busy.held.entry(row.flow).or_default() += 1);
        Ok(busy)
    }
}

fn planned(shared: &Shared, busy: &Busy, mut planned: PlannedFlow, id: Option<FlowId>, text: &str) -> PlannedFlow {
    let Some(id) = id.filter(|_| planned.change == "changed") else { return planned };
    let live = busy.live.get(&id).map(Vec::as_slice).unwrap_or_default();
    let mut by_state: HashMap<RunState, u64> = HashMap::new();
    live.iter().for_each(|(_, state)| *by_state.entry(*state).or_default() += 1);
    planned.live = by_state.into_iter().collect();
    planned.live.sort_by_key(|(state, _)| state.word());
    planned.held = busy.held.get(&id).copied().unwrap_or(0);
    if let Some(version) = shared.catalog.known_text(id, text)
        && let Some(flow) = shared.catalog.version(TenantId::DEFAULT, id, &version)
    {
        let to = Published { id, name: planned.flow.clone(), version, flow, enabled: true, paused: false };
        for (run, _) in live.iter().take(COMPARED) {
            planned.looked_at += 1;
            let reasons = shared.engine.hindrances(TenantId::DEFAULT, *run, &to);
            planned.movable += u64::from(reasons.is_ok_and(|reasons| reasons.is_empty()));
        }
    }
    let mut notes = Vec::new();
    if !live.is_empty() {
        let more = if busy.all { "" } else { "at least " };
        let runs = if live.len() == 1 { "run goes" } else { "runs go" };
        notes.push(format!("{more}{} unfinished {runs} on under the versions that they began with", live.len()));
        notes.push(format!(
            "{} of {} looked at could move to the new version: `aura run migrate RUN --to published`",
            planned.movable, planned.looked_at
        ));
    }
    if planned.held > 0 {
        let groups = if planned.held == 1 { "group of events is" } else { "groups of events are" };
        notes.push(format!("{} {groups} held: what they begin is of the version published then", planned.held));
    }
    planned.notes.splice(0..0, notes);
    planned
}

/// Stores many files at once, and publishes them if wanted.
///
/// # Errors
/// One of them is refused: then none is stored.
pub async fn apply_all(service: &Service, actor: Actor, files: FlowFiles) -> Result<Vec<FlowRow>, WireError> {
    for text in &files.texts {
        flows::refuse_secrets(service, text)?;
    }
    let inner = service.clone();
    let change = async move {
        let rows = inner.catalog.apply_all(&actor, &files).await?;
        for row in rows.iter().filter(|_| files.publish) {
            inner.engine.flow_changed(actor.tenant, row.id).await;
        }
        Ok(rows)
    };
    service.change(change).await
}

/// Publishes an old version again.
///
/// # Errors
/// No such version, or it cannot be published any more.
pub async fn rollback(service: &Service, actor: Actor, request: FlowVersionOf) -> Result<FlowRow, WireError> {
    let VersionOf::Hash(part) = request.version else {
        return Err(WireError::new(Code::Invalid, "name the version by its hash").hint("`aura flow log FLOW` shows it"));
    };
    let inner = service.clone();
    let change = async move {
        let row = inner.catalog.rollback(&actor, &request.flow, &part).await?;
        inner.engine.flow_changed(actor.tenant, row.id).await;
        Ok(row)
    };
    service.change(change).await
}

/// Moves an unfinished run to another version, or says why it cannot.
///
/// # Errors
/// No such run or version, or the run has ended.
pub async fn migrate(service: &Service, actor: Actor, request: RunMigrate) -> Result<RunMigrated, WireError> {
    let RunMigrate { run, to, plan } = request;
    let head = service.read(move |shared| refs::find(shared, &run)).await?;
    let flow = service.catalog.chosen(head.flow_id, &head.version, &to).await?;
    let (inner, eyes) = (service.clone(), Eyes::of(&actor));
    let change = async move {
        if !plan {
            inner.catalog.keep_version(&actor, &flow).await?;
        }
        inner.engine.migrate(&actor, head.run, flow, plan).await
    };
    let answer = service.change(change).await?;
    Ok(RunMigrated { run: runs::shown(service, &eyes, answer.run), ..answer })
}
