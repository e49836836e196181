//! Cuts large payloads out of transitions, so that a reply fits its frame whatever a run carried.
//!
//! What was cut stands as the text `… N bytes …`; `run_payload` serves it in windows. Sentences of a head keep
//! their beginning.

use aura_protocol::Value;
use aura_protocol::run::{Awaited, Record, RunHead, StepError, Transition};

/// Payloads over this many bytes are cut in replies.
pub const PAYLOAD_MAX: usize = 16 * 1024;
/// Texts of a head over this many bytes are shortened in replies.
pub const HEAD_TEXT_MAX: usize = 2 * 1024;

/// A transition whose payloads are at most `max` bytes each.
#[must_use]
pub fn transition(mut transition: Transition, max: usize) -> Transition {
    for record in &mut transition.records {
        cut_record(record, max);
    }
    transition
}

fn mark(bytes: usize) -> String {
    format!("… {bytes} bytes …")
}

fn value(value: &mut Value, max: usize) {
    if let Value::Blob(blob) = value {
        *value = Value::Str(blob.mark());
        return;
    }
    let weight = value.weight();
    if weight > max {
        *value = Value::Str(mark(weight));
    }
}

fn bytes(body: &mut Vec<u8>, max: usize) {
    if body.len() > max {
        *body = mark(body.len()).into_bytes();
    }
}

/// A head whose sentences and details are at most `max` bytes each: what a flow or a provider said may be large,
/// and a reply holds many heads.
pub fn head(head: &mut RunHead, max: usize) {
    if let Some(failure) = &mut head.error {
        shorten(&mut failure.message, max);
        if let Some(code) = &mut failure.code {
            shorten(code, max);
        }
        if let Some(detail) = &mut failure.detail {
            value(detail, max);
        }
    }
    if let Some(blocked) = &mut head.blocked_by {
        shorten(&mut blocked.reason, max);
    }
}

/// Keeps the beginning of a text and says how long it was.
fn shorten(text: &mut String, max: usize) {
    if text.len() > max {
        let mark = format!(" {}", mark(text.len()));
        text.truncate(text.floor_char_boundary(max.saturating_sub(mark.len())));
        text.push_str(&mark);
    }
}

/// An error whose parts are at most `max` bytes each.
fn error(error: &mut StepError, max: usize) {
    if let Some(detail) = &mut error.detail {
        value(detail, max);
    }
    if error.message.len() > max {
        error.message = mark(error.message.len());
    }
}

fn cut_record(record: &mut Record, max: usize) {
    match record {
        Record::RunStarted(started) => {
            let started = std::sync::Arc::make_mut(started);
            bytes(&mut started.event.body, max);
            if let Some(blob) = started.event.blob.take() {
                started.event.body = blob.mark().into_bytes();
            }
            value(&mut started.input, max);
            started.index.clear();
            if let Some(origin) = &mut started.origin {
                origin.keys.truncate(100);
                origin.input.iter_mut().for_each(|input| value(input, max));
            }
            if started.events.len() > 100 {
                started.events_more += u64::try_from(started.events.len() - 100).unwrap_or(0);
                started.events.truncate(100);
            }
        }
        Record::Copied(copied) => cut_record(copied, max),
        Record::ItemsCopied { items, .. } => {
            for item in &mut *items {
                value(&mut item.output, max);
                item.error.iter_mut().for_each(|failure| error(failure, max));
            }
            // How many there are stays.
            if items.iter().map(|item| item.output.weight()).sum::<usize>() > max {
                items.iter_mut().for_each(|item| item.output = Value::Null);
            }
        }
        Record::Scheduled { input, draws, .. } => {
            value(input, max);
            draws.truncate(100);
        }
        Record::Completed { output, .. } | Record::Handled { output, .. } | Record::Signalled { data: output, .. } => {
            value(output, max);
        }
        Record::Awaiting { what: Awaited::People(ask), .. } => value(&mut ask.form, max),
        Record::Voted { vote, .. } => value(&mut vote.form, max),
        Record::Listed { items, keys, .. } => {
            // How many there are stays.
            if items.iter().map(Value::weight).sum::<usize>() > max {
                items.fill(Value::Null);
            }
            if keys.iter().map(String::len).sum::<usize>() > max {
                keys.clear();
            }
        }
        Record::Compensated { error: Some(failure), .. } => error(failure, max),
        Record::Failed { error: failure, .. } | Record::InDoubt { error: failure, .. } => error(failure, max),
        Record::Responded { body, .. } => bytes(body, max),
        Record::Log { message, .. } if message.len() > max => *message = mark(message.len()),
        Record::RunFinished { error: failure, output, .. } => {
            value(output, max);
            if let Some(failure) = failure {
                error(failure, max);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_payloads_become_their_size_and_small_ones_stay() {
        let output = |text: String| Record::Completed { path: "a".to_owned(), attempt: 1, output: Value::Str(text) };
        let given = Transition { number: 1, at_ms: 0, records: vec![output("x".repeat(20_000)), output("ok".into())] };
        let cut = transition(given, PAYLOAD_MAX);
        assert_eq!(cut.records, [output("… 20016 bytes …".into()), output("ok".into())]);
    }
}
