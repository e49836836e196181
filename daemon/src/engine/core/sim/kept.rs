//! What `kv` steps keep and what large values become, judged with a model of its own.
//!
//! The journal says in which order `kv` steps had their answers; told again here, it must give the same answers and
//! the rows on disk. Every reference leads to what was said, as long as a row holds it, and to nothing afterwards.

use std::collections::BTreeMap;

use aura_protocol::Value;
use aura_protocol::run::{ErrorClass, Record, Transition};

use super::disk::{LARGE, kept_key};
use super::flows::other_value;
use super::{Fault, Sim, id_of};

type Rows = BTreeMap<String, (Value, Option<i64>)>;

/// What one operation answers, and what it leaves; `None`: it is refused.
fn model(rows: &mut Rows, input: &Value, at_ms: i64) -> Option<Value> {
    let text = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let name = text("name");
    let alive = rows.get(&name).filter(|(_, until)| until.is_none_or(|until| until > at_ms)).cloned();
    let held = alive.clone().map(|(value, _)| value);
    let ttl = input.get("ttl_ms").and_then(Value::as_int).map(|ttl| at_ms + i64::try_from(ttl).unwrap());
    let field = |name: &str| input.get(name).cloned().unwrap_or_default();
    match text("operation").as_str() {
        "get" => Some(held.unwrap_or_default()),
        "set" => {
            rows.insert(name, (field("value"), ttl));
            Some(held.unwrap_or_default())
        }
        "delete" => {
            if alive.is_some() {
                rows.remove(&name);
            }
            Some(held.unwrap_or_default())
        }
        "incr" => {
            let sum = held.unwrap_or(Value::Int(0)).as_int()? + 1;
            rows.insert(name, (Value::Int(sum), ttl.or(alive.and_then(|(_, until)| until))));
            Some(Value::Int(sum))
        }
        "cas" => {
            let swapped = held.clone().unwrap_or_default() == field("from");
            let there = if swapped { field("to") } else { held.unwrap_or_default() };
            if swapped {
                rows.insert(name, (field("to"), ttl));
            }
            Some(Value::object([("swapped", Value::Bool(swapped)), ("value", there)]))
        }
        _ => None,
    }
}

/// Every `kv` step did exactly what the journal says, once.
pub(super) fn kept(sim: &Sim) -> Result<(), Fault> {
    let mut rows = Rows::new();
    let mut inputs: BTreeMap<&str, &Value> = BTreeMap::new();
    for transition in &sim.journal {
        for record in &transition.records {
            match record {
                Record::Scheduled { path, input, .. } if sim.keeps.contains(id_of(path)) => {
                    inputs.insert(path, input);
                }
                Record::Completed { path, attempt, output } if *attempt > 0 => {
                    let Some(input) = inputs.get(path.as_str()) else { continue };
                    let wanted = model(&mut rows, &sim.disk.loaded(input)?, transition.at_ms);
                    if wanted.as_ref() != Some(&sim.disk.loaded(output)?) {
                        let (got, wanted) = (output.to_json(), wanted.map(|value| value.to_json()));
                        return Err(format!("{path} read {got} of what is kept, not {wanted:?}"));
                    }
                }
                Record::Failed { path, attempt, error, .. } if *attempt > 0 && error.class == ErrorClass::Invalid => {
                    let Some(input) = inputs.get(path.as_str()) else { continue };
                    if model(&mut rows.clone(), &sim.disk.loaded(input)?, transition.at_ms).is_some() {
                        return Err(format!("{path} was refused without a reason: {}", error.message));
                    }
                }
                _ => {}
            }
        }
    }
    let rows: BTreeMap<_, _> = rows.into_iter().map(|(name, row)| (kept_key(&name), row)).collect();
    let disk = sim.disk.kv.iter().map(|(key, row)| (key.clone(), (row.value.clone(), row.expires_ms)));
    let disk: BTreeMap<_, _> = disk.collect();
    if rows != disk {
        return Err(format!("{disk:?} is kept, and the journal says {rows:?}"));
    }
    if usize::try_from(sim.disk.names).ok() != Some(disk.len()) {
        return Err(format!("{} names are counted, {} are kept", sim.disk.names, disk.len()));
    }
    Ok(())
}

/// Every reference of these rows leads to something.
fn found(sim: &Sim, journal: &[Transition]) -> Result<(), Fault> {
    for record in journal.iter().flat_map(|transition| &transition.records) {
        for value in record.payloads() {
            sim.disk.loaded(value)?;
        }
    }
    Ok(())
}

/// Large values: what was said is found, counted right, and gone with the last row that refers to it.
pub(super) fn large(sim: &Sim) -> Result<(), Fault> {
    sim.disk.lost()?;
    let mut outputs: BTreeMap<&str, Value> = BTreeMap::new();
    for record in sim.journal.iter().flat_map(|transition| &transition.records) {
        for value in record.payloads() {
            let large = match value {
                Value::Blob(_) => false,
                other => other.weight() > LARGE,
            };
            // What a run began with is kept by the door, and a record may hold several small ones.
            if large && !matches!(record, Record::RunStarted(_)) {
                return Err(format!("a value of {} bytes stands in the journal", value.weight()));
            }
        }
        let Record::Completed { path, attempt, output } = record else { continue };
        let output = sim.disk.loaded(output)?;
        if *attempt > 0 && sim.peer.answers(path) && output != sim.peer.output(path) {
            return Err(format!("{path} gave something else than its peer said"));
        }
        if let Some(before) = sim.echoes.get(id_of(path)) {
            let before = format!("{before}{}", &path[id_of(path).len()..]);
            if outputs.get(before.as_str()).is_some_and(|before| output.get("v") != Some(before)) {
                return Err(format!("{path} did not read what {before} gave"));
            }
        }
        outputs.insert(path, output);
    }
    sim.disk.counts(&sim.journal, &other_value())?;
    // Retention takes rows from the end of a journal, and can be stopped after each.
    for left in (0..sim.journal.len()).rev() {
        sim.disk.delete(&sim.journal[left])?;
        if !sim.trouble.quick || left == 1 {
            found(sim, &sim.journal[..left])?;
        }
    }
    sim.disk.counts(&[], &other_value())
}
