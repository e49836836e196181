//! Runs named by people: a whole id, or a unique prefix or suffix of at least four characters.
//!
//! Looked for among the unfinished runs and the newest ones; two that fit are an answer of their own.

use aura_protocol::rpc::RunRef;
use aura_protocol::run::RunHead;
use aura_protocol::text::display;
use aura_protocol::{Code, RunId, TenantId, WireError};
use aura_storage::rows::{LiveRow, run_key};
use aura_storage::{Key, Table};

use crate::catalog::unreadable;
use crate::rpc::Shared;

/// How many of the newest runs are looked at.
pub const NEWEST: usize = 5_000;
/// How many unfinished runs are looked at.
const LIVE: usize = 100_000;
/// Shortest prefix or suffix.
const SHORTEST: usize = 4;

/// The run that a reference names.
///
/// # Errors
/// No id, none fits, or more than one does.
pub fn find(shared: &Shared, run: &RunRef) -> Result<RunHead, WireError> {
    let tenant = TenantId::DEFAULT;
    let text = run.0.trim();
    if let Ok(id) = text.parse::<RunId>() {
        return head(shared, tenant, id)?.ok_or_else(|| nothing(text));
    }
    let part = part_of(text)?;
    let (from, to) = (Key::tenant(tenant), Key::tenant(tenant).after_prefix());
    let heads: Vec<(Key, RunHead)> =
        shared.store.scan(tenant, Table::Runs, &from, &to, NEWEST, true).map_err(|error| unreadable(&error))?;
    let live: Vec<(Key, LiveRow)> =
        shared.store.scan(tenant, Table::Live, &from, &to, LIVE, true).map_err(|error| unreadable(&error))?;
    let mut ids: Vec<RunId> = heads.iter().map(|(_, head)| head.run).collect();
    ids.extend(live.iter().filter_map(|(key, _)| key.id_at(16).map(RunId::from_bytes)));
    let fitting = fitting(ids, &part);
    match fitting.as_slice() {
        [] => Err(nothing(text)),
        [one] => head(shared, tenant, *one)?.ok_or_else(|| nothing(text)),
        several => {
            let names: Vec<String> = several.iter().take(5).map(RunId::to_string).collect();
            let more = if several.len() > 5 { ", …" } else { "" };
            Err(WireError::new(
                Code::Ambiguous,
                format!("{} names {} runs: {}{more}", display(text), several.len(), names.join(", ")),
            )
            .hint("give more characters"))
        }
    }
}

/// As [`find`], for a whole id also if the row of the run cannot be read.
///
/// # Errors
/// As [`find`].
pub fn find_any(shared: &Shared, run: &RunRef) -> Result<RunId, WireError> {
    if let Ok(id) = run.0.trim().parse::<RunId>() {
        return Ok(id);
    }
    find(shared, run).map(|head| head.run)
}

fn head(shared: &Shared, tenant: TenantId, run: RunId) -> Result<Option<RunHead>, WireError> {
    shared.store.get(tenant, Table::Runs, &run_key(tenant, run)).map_err(|error| unreadable(&error))
}

fn nothing(text: &str) -> WireError {
    WireError::not_found(format!("there is no run {}", display(text))).hint("`aura run list` shows the newest runs")
}

/// The Crockford characters asked for, as ids are written.
fn part_of(text: &str) -> Result<String, WireError> {
    let body = match text.get(..4) {
        Some(prefix) if prefix.eq_ignore_ascii_case("run_") => text.get(4..).unwrap_or_default(),
        _ => text,
    };
    let part: String = body
        .chars()
        .map(|c| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        })
        .collect();
    let fits = part.chars().all(|c| c.is_ascii_digit() || (c.is_ascii_uppercase() && c != 'U'));
    if fits && (SHORTEST..26).contains(&part.len()) {
        return Ok(part);
    }
    Err(WireError::new(
        Code::Invalid,
        format!("{} is no run: give an id, or at least {SHORTEST} of its first or last characters", display(text)),
    ))
}

fn fitting(mut ids: Vec<RunId>, part: &str) -> Vec<RunId> {
    ids.sort_unstable();
    ids.dedup();
    ids.retain(|id| {
        let text = aura_protocol::ids::crockford(id.0.as_u128());
        text.starts_with(part) || text.ends_with(part)
    });
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_as_ids_are() {
        for (text, part) in [("run_01ab", "01AB"), ("RUN_01ab", "01AB"), ("oilx", "011X"), ("9876", "9876")] {
            assert_eq!(part_of(text).unwrap(), part, "{text}");
        }
        for text in ["", "abc", "run_abc", "ab-cd", "uuuu", "ääää", "run_\u{1b}[2Jx", &"a".repeat(26)] {
            let error = part_of(text).unwrap_err();
            assert_eq!(error.code, Code::Invalid, "{text}");
        }
    }

    #[test]
    fn a_prefix_or_a_suffix_finds_the_runs_that_fit() {
        let ids: Vec<RunId> =
            (0..40).map(|n| RunId::from_parts(1_790_000_000_000 + n * 400_000_000, &[n as u8; 10])).collect();
        let one = ids[7];
        let text = aura_protocol::ids::crockford(one.0.as_u128());
        assert_eq!(fitting(ids.clone(), &text[20..]), [one], "suffix");
        assert_eq!(fitting([ids.clone(), ids.clone()].concat(), &text[..12]), [one], "prefix, told once");
        assert!(fitting(ids.clone(), &text[..2]).len() > 1);
    }
}
