//! Flows, runs and events as lines of JSON, in windows that fit a frame; never a secret value
//! or a link that decides something.
//!
//! The marker between two windows says what comes next: `r:KEY:NUMBER` a run from a transition on, `e:KEY` an event.
//! Payloads stand whole wherever they are stored, those over 256 KiB as their size.

use std::sync::Arc;

use aura_protocol::event::EventRow;
use aura_protocol::run::{Record, RunHead, Transition};
use aura_protocol::upkeep::{ExportPage, ExportQuery};
use aura_protocol::{BlobRef, Code, TenantId, Value, WireError, wire};
use aura_storage::rows::{journal_key, run_key};
use aura_storage::{Key, Table};

use crate::catalog::unreadable;
use crate::rpc::eyes::Eyes;
use crate::rpc::{Shared, cut, runs};

/// Bytes of lines after which a window ends.
const WINDOW_BYTES: usize = 1024 * 1024;
/// Longest line before its payloads are cut further.
const LINE_BYTES: usize = 1024 * 1024;
/// Payloads over this are shown as their size.
const PAYLOAD_MAX: usize = 256 * 1024;
/// Rows read at a time.
const ROWS: usize = 16;
/// Rows looked at for one window, whatever its filter.
const LOOKED_AT: usize = 5_000;

const TENANT: TenantId = TenantId::DEFAULT;

/// What is gathered for one window.
struct Window {
    lines: Vec<String>,
    bytes: usize,
    looked_at: usize,
}

impl Window {
    fn add<T: serde::Serialize>(&mut self, kind: &str, extra: &[(&str, String)], value: &T) -> Result<(), WireError> {
        let broken = |error: serde_json::Error| WireError::internal(format!("not JSON: {error}"));
        let mut line = serde_json::to_string(value).map_err(broken)?;
        let mut head = format!("{{\"kind\":\"{kind}\"");
        for (name, text) in extra {
            head.push_str(&format!(",\"{name}\":{}", serde_json::to_string(text).map_err(broken)?));
        }
        if line.len() > 2 {
            head.push(',');
        }
        line.replace_range(..1, &head);
        self.bytes += line.len();
        self.lines.push(line);
        Ok(())
    }
    fn full(&self) -> bool {
        self.bytes >= WINDOW_BYTES || self.looked_at >= LOOKED_AT
    }
    fn ends_at(self, next: Option<String>) -> ExportPage {
        ExportPage { lines: self.lines, next }
    }
}

/// A window of the export.
///
/// # Errors
/// No such flow, a marker that is none, or the store cannot be read.
pub fn page(shared: &Shared, query: &ExportQuery) -> Result<ExportPage, WireError> {
    let mut window = Window { lines: Vec::new(), bytes: 0, looked_at: 0 };
    let wrong = || WireError::new(Code::Invalid, "this is no marker of an export");
    let parts: Vec<&str> = query.after.split(':').collect();
    match parts.as_slice() {
        [""] => {
            flows(shared, query, &mut window)?;
            let next = query.runs.then(|| "r::0".to_owned());
            Ok(window.ends_at(next))
        }
        ["r", key, number] => {
            let key = from_hex(key).ok_or_else(wrong)?;
            runs(shared, query, key, number.parse().map_err(|_| wrong())?, window)
        }
        ["e", key] => events(shared, query, from_hex(key).ok_or_else(wrong)?, window),
        _ => Err(wrong()),
    }
}

fn from_hex(text: &str) -> Option<Key> {
    let pair = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..text.len()).step_by(2).map(pair).collect::<Option<Vec<u8>>>().map(Key)
}

fn flows(shared: &Shared, query: &ExportQuery, window: &mut Window) -> Result<(), WireError> {
    let rows = match &query.flow {
        Some(flow) => vec![shared.catalog.show(flow)?.row],
        None => shared.catalog.list(),
    };
    for row in rows {
        let detail = shared.catalog.show(&row.flow)?;
        window.add("flow", &[], &detail)?;
    }
    Ok(())
}

fn runs(
    shared: &Shared,
    query: &ExportQuery,
    mut from: Key,
    mut number: u64,
    mut window: Window,
) -> Result<ExportPage, WireError> {
    from = from.max(Key::tenant(TENANT));
    let to = Key::tenant(TENANT).after_prefix();
    loop {
        let rows: Vec<(Key, RunHead)> =
            shared.store.scan(TENANT, Table::Runs, &from, &to, ROWS, false).map_err(|error| unreadable(&error))?;
        let more = rows.len() == ROWS;
        for (key, mut head) in rows {
            window.looked_at += 1;
            if query.flow.as_ref().is_none_or(|flow| head.flow == *flow) {
                if number == 0 {
                    Eyes::anybody().head(&shared.store, &mut head);
                    cut::head(&mut head, cut::HEAD_TEXT_MAX);
                    window.add("run", &[], &head)?;
                }
                if let Some(next) = journal(shared, &head, number, &mut window)? {
                    return Ok(window.ends_at(Some(format!("r:{}:{next}", key.hex()))));
                }
            }
            number = 0;
            from = key.next();
            if window.full() {
                return Ok(window.ends_at(Some(format!("r:{}:0", from.hex()))));
            }
        }
        if !more {
            return Ok(window.ends_at(Some("e:".to_owned())));
        }
    }
}

/// Transitions from a number on; gives the number to go on with if the window is full.
fn journal(shared: &Shared, head: &RunHead, from: u64, window: &mut Window) -> Result<Option<u64>, WireError> {
    let (run, redacted) = (head.run, runs::redacted(shared, head));
    let (mut from, to) = (journal_key(TENANT, run, from), run_key(TENANT, run).after_prefix());
    loop {
        let rows: Vec<(Key, Transition)> =
            shared.store.scan(TENANT, Table::Journal, &from, &to, ROWS, false).map_err(|error| unreadable(&error))?;
        let more = rows.len() == ROWS;
        for (key, transition) in rows {
            let next = transition.number + 1;
            let shown = runs::shown_to(shared, &Eyes::anybody(), &redacted, whole(shared, transition)?);
            let mut shown = cut::transition(shown, PAYLOAD_MAX);
            if serde_json::to_string(&shown).is_ok_and(|line| line.len() > LINE_BYTES) {
                shown = cut::transition(shown, cut::PAYLOAD_MAX);
            }
            window.add("transition", &[("run", run.to_string())], &shown)?;
            from = key.next();
            if window.full() {
                return Ok(Some(next));
            }
        }
        if !more {
            return Ok(None);
        }
    }
}

/// A transition with the stored values that a line may hold; a larger one stands as its size.
fn whole(shared: &Shared, mut transition: Transition) -> Result<Transition, WireError> {
    let bytes = |blob: BlobRef| {
        let content = shared.store.blob(TENANT, blob).map_err(|error| unreadable(&error))?;
        content.ok_or_else(|| WireError::new(Code::Corrupt, "a stored value is missing; run `aura doctor --deep`"))
    };
    let fits = |blob: BlobRef| usize::try_from(blob.bytes).is_ok_and(|bytes| bytes <= PAYLOAD_MAX);
    let mut load = |blob: BlobRef| match fits(blob) {
        true => {
            wire::decode(&bytes(blob)?).map_err(|_| WireError::new(Code::Corrupt, "a stored value does not decode"))
        }
        false => Ok(Value::Str(blob.mark())),
    };
    for record in &mut transition.records {
        for value in record.payloads_mut().filter(|value| value.has_blob()) {
            *value = value.loaded(&mut load)?;
        }
        if let Record::RunStarted(started) = record {
            let started = Arc::make_mut(started);
            if started.input.has_blob() {
                started.input = started.input.loaded(&mut load)?;
            }
            if let Some(blob) = started.event.blob.filter(|blob| fits(*blob)) {
                (started.event.body, started.event.blob) = (bytes(blob)?, None);
            }
        }
    }
    Ok(transition)
}

fn events(shared: &Shared, query: &ExportQuery, from: Key, mut window: Window) -> Result<ExportPage, WireError> {
    let mut from = from.max(Key::tenant(TENANT));
    let to = Key::tenant(TENANT).after_prefix();
    loop {
        let rows: Vec<(Key, EventRow)> =
            shared.store.scan(TENANT, Table::Events, &from, &to, ROWS, false).map_err(|error| unreadable(&error))?;
        let more = rows.len() == ROWS;
        for (key, mut row) in rows {
            window.looked_at += 1;
            if query.flow.as_ref().is_none_or(|flow| row.flow == *flow) {
                Eyes::anybody().event(&shared.store, &mut row);
                if row.delivery.body.len() > PAYLOAD_MAX {
                    row.delivery.body = format!("… {} bytes …", row.delivery.body.len()).into_bytes();
                }
                window.add("event", &[], &row)?;
            }
            from = key.next();
            if window.full() {
                return Ok(window.ends_at(Some(format!("e:{}", from.hex()))));
            }
        }
        if !more {
            return Ok(window.ends_at(None));
        }
    }
}
