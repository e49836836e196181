//! What flows did lately: newest run, runs and failures of a day, held events. Counted from the newest runs.
//!
//! One look costs at most `LOOKED_AT` heads; a daemon that is busier than that says how far back it looked.

use std::collections::BTreeMap;

use aura_protocol::rpc::{Activity, FlowActivity, LastRun};
use aura_protocol::run::{RunHead, RunState};
use aura_protocol::{TenantId, WireError};
use aura_storage::rows::HeldRow;
use aura_storage::{Key, Table};

use crate::catalog::unreadable;
use crate::rpc::eyes::Eyes;
use crate::rpc::{Shared, cut};

/// The time that is looked at.
const DAY_MS: i64 = 24 * 3_600_000;
/// Most runs looked at.
const LOOKED_AT: usize = 10_000;
/// Runs read at a time.
const WINDOW: usize = 200;
/// Most held groups looked at.
const HELD_MAX: usize = 10_000;
/// Longest sentence about a failure, in bytes.
const SENTENCE_MAX: usize = 300;

/// What all flows did.
///
/// # Errors
/// The store cannot be read.
pub fn activity(shared: &Shared, eyes: &Eyes) -> Result<Activity, WireError> {
    let tenant = TenantId::DEFAULT;
    let mut since_ms = shared.clock.now_ms().saturating_sub(DAY_MS);
    let mut flows: BTreeMap<String, FlowActivity> = BTreeMap::new();
    let from = Key::tenant(tenant);
    let mut to = Key::tenant(tenant).after_prefix();
    let mut looked_at = 0;
    'all: loop {
        let window: Vec<(Key, RunHead)> =
            shared.store.scan(tenant, Table::Runs, &from, &to, WINDOW, true).map_err(|error| unreadable(&error))?;
        let last = window.len() < WINDOW;
        for (key, head) in window {
            to = key;
            if head.created_ms < since_ms {
                break 'all;
            }
            looked_at += 1;
            if looked_at > LOOKED_AT {
                since_ms = head.created_ms;
                break 'all;
            }
            count(&mut flows, &|head| eyes.head(&shared.store, head), head);
        }
        if last {
            break;
        }
    }
    let (from, to) = (Key::tenant(tenant), Key::tenant(tenant).after_prefix());
    let held: Vec<(Key, HeldRow)> =
        shared.store.scan(tenant, Table::Held, &from, &to, HELD_MAX, false).map_err(|error| unreadable(&error))?;
    for (_, row) in held {
        let Some(name) = shared.catalog.flow_name(row.flow) else { continue };
        let flow = of(&mut flows, &name);
        flow.held += 1;
        flow.next_held_ms = [flow.next_held_ms, row.due_ms].into_iter().flatten().min();
    }
    Ok(Activity { flows: flows.into_values().collect(), since_ms })
}

fn of<'a>(flows: &'a mut BTreeMap<String, FlowActivity>, name: &str) -> &'a mut FlowActivity {
    flows.entry(name.to_owned()).or_insert_with(|| FlowActivity { flow: name.to_owned(), ..FlowActivity::default() })
}

/// Heads come newest first.
fn count(flows: &mut BTreeMap<String, FlowActivity>, seen: &dyn Fn(&mut RunHead), mut head: RunHead) {
    let flow = of(flows, &head.flow);
    flow.runs += 1;
    flow.failed += u64::from(head.state == RunState::Failed);
    if flow.last.is_none() {
        seen(&mut head);
        cut::head(&mut head, SENTENCE_MAX);
        let error = head.error.map(|error| error.message).unwrap_or_default();
        flow.last = Some(LastRun {
            run: head.run,
            state: head.state,
            created_ms: head.created_ms,
            finished_ms: head.finished_ms,
            error,
        });
    }
}
