//! What an attempt means: success, another attempt and when, or the end. Pure.
//!
//! The invariant: a wait is never shorter than the schedule says, nor than a receiver asked for within bounds; and
//! whatever a receiver answers, a sending ends.

use aura_integrations::http::Delivered;
use aura_protocol::flow::redact::HIDDEN;
use aura_protocol::outgoing::{Attempt, Cause, SendingState};
use aura_protocol::run::StepError;
use aura_protocol::text::display_lines;
use aura_storage::rows::outgoing::{HealthRow, SendingRow};

/// Attempts of a sending that are kept.
pub(super) const ATTEMPTS_KEPT: usize = 20;
/// Bytes kept of an answer.
const ANSWER_KEPT: usize = 1024;
/// No link and no secret of ours is longer, in bytes.
const PIECE_MAX: usize = 600;
/// Bytes kept of a sentence.
const ERROR_KEPT: usize = 300;
/// A receiver can ask for a wait of at most this: a day.
const ASKED_MAX_MS: i64 = 86_400_000;
/// Waits are longer than the schedule by up to this part of them, so that sendings that failed together come apart.
const JITTER_PERCENT: i64 = 20;

/// What becomes of a sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The receiver took it.
    Succeeded,
    /// Once more, then.
    Again {
        /// In Unix milliseconds.
        at_ms: i64,
    },
    /// Given up.
    Failed,
    /// The receiver wants nothing more.
    Gone,
}

/// The beginning of a text, at most `max` bytes.
fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or_default()
}

/// A text that was cut, without what may be a piece of a link or a secret at its end: nobody would find a piece.
fn without_piece(text: &str) -> &str {
    let token = |c: char| c.is_ascii_alphanumeric() || "-_.~+/=%".contains(c);
    let rest = text.trim_end_matches(token).len();
    cut(text, rest.max(text.len().saturating_sub(PIECE_MAX)))
}

/// An answer of which nothing is kept but that there was one.
pub(super) fn without_body(said: Delivered) -> Delivered {
    let body = if said.body.is_empty() { Vec::new() } else { HIDDEN.as_bytes().to_vec() };
    Delivered { body, ..said }
}

/// What happened, for the log.
pub(super) fn attempt(number: u32, at_ms: i64, took_ms: u32, said: &Result<Delivered, StepError>) -> Attempt {
    let (status, error, answer) = match said {
        Err(error) => (None, error.message.clone(), String::new()),
        Ok(said) => {
            let status = said.status;
            let error = match status {
                200..300 => String::new(),
                300..400 => format!("the answer {status} leads elsewhere, and redirects are not followed"),
                410 => "the answer 410 says that nobody wants these events any more".to_owned(),
                _ => format!("the answer has status {status}"),
            };
            let whole = display_lines(&String::from_utf8_lossy(&said.body));
            let mut answer = cut(&whole, ANSWER_KEPT);
            if answer.len() < whole.len() || said.cut.is_some() {
                answer = without_piece(answer);
            }
            let mut answer = answer.to_owned();
            if let Some(why) = said.cut {
                answer.insert_str(0, &format!("[{why}]\n"));
            }
            (Some(status), error, answer)
        }
    };
    Attempt { number, at_ms, took_ms, status, error: cut(&error, ERROR_KEPT).to_owned(), answer }
}

/// What follows from an attempt that was the `tries`th of its schedule; `draw` is random.
pub(super) fn verdict(
    said: &Result<Delivered, StepError>,
    tries: u32,
    waits_ms: &[i64],
    now_ms: i64,
    draw: u64,
) -> Verdict {
    match said {
        Ok(said) if (200..300).contains(&said.status) => return Verdict::Succeeded,
        Ok(said) if said.status == 410 => return Verdict::Gone,
        _ => {}
    }
    let wait = usize::try_from(tries.saturating_sub(1)).ok().and_then(|at| waits_ms.get(at).copied());
    let Some(wait) = wait else { return Verdict::Failed };
    let most = wait.saturating_mul(JITTER_PERCENT) / 100;
    let jitter = i64::try_from(draw % (most.unsigned_abs() + 1)).unwrap_or(0);
    let asked = said.as_ref().ok().and_then(|said| said.retry_after_ms);
    let asked = asked.map_or(0, |ms| i64::try_from(ms).unwrap_or(ASKED_MAX_MS).min(ASKED_MAX_MS));
    Verdict::Again { at_ms: now_ms.saturating_add(wait.saturating_add(jitter).max(asked)) }
}

/// The row after an attempt.
pub(super) fn after(row: &SendingRow, attempt: Attempt, verdict: Verdict, ordered: bool) -> SendingRow {
    let mut next = SendingRow {
        tries: row.tries.saturating_add(1),
        attempted: attempt.number,
        due_ms: None,
        next_ms: None,
        reason: String::new(),
        ..row.clone()
    };
    match verdict {
        Verdict::Succeeded => next.state = SendingState::Succeeded,
        Verdict::Again { at_ms } => {
            next.state = SendingState::Waiting;
            next.next_ms = Some(at_ms);
            next.due_ms = Some(if ordered { 0 } else { at_ms });
        }
        Verdict::Failed => {
            next.state = SendingState::Failed;
            next.reason = format!("given up after {} attempts", next.tries);
        }
        Verdict::Gone => {
            next.state = SendingState::Failed;
            next.reason = "the receiver answered 410 (gone)".to_owned();
        }
    }
    next.attempts.push(attempt);
    let over = next.attempts.len().saturating_sub(ATTEMPTS_KEPT);
    next.attempts.drain(..over);
    next
}

/// How the subscription fares after an attempt.
pub(super) fn fares(before: HealthRow, verdict: Verdict, at_ms: i64, disable_after_ms: i64) -> HealthRow {
    if verdict == Verdict::Succeeded {
        return HealthRow { failing_since_ms: None, last_success_ms: Some(at_ms), ..before };
    }
    let since = before.failing_since_ms.unwrap_or(at_ms);
    let cause = match verdict {
        Verdict::Gone => Some(Cause::Gone),
        _ if at_ms.saturating_sub(since) >= disable_after_ms => Some(Cause::Failing),
        _ => None,
    };
    let disabled = before.disabled.or(cause.map(|cause| (at_ms, cause)));
    HealthRow { failing_since_ms: Some(since), disabled, ..before }
}

#[cfg(test)]
mod tests {
    use aura_protocol::run::ErrorClass;
    use proptest::prelude::*;

    use super::*;

    fn said(status: u16) -> Result<Delivered, StepError> {
        Ok(Delivered { status, ..Delivered::default() })
    }

    fn lost() -> Result<Delivered, StepError> {
        Err(StepError::new(ErrorClass::Timeout, "no answer"))
    }

    #[test]
    fn only_2xx_is_success_and_the_schedule_ends() {
        let waits = [5_000, 60_000];
        for (said, tries, expected) in [
            (said(200), 1, Verdict::Succeeded),
            (said(204), 3, Verdict::Succeeded),
            (said(301), 1, Verdict::Again { at_ms: 5_100 }),
            (said(404), 2, Verdict::Again { at_ms: 60_100 }),
            (said(500), 3, Verdict::Failed),
            (lost(), 1, Verdict::Again { at_ms: 5_100 }),
            (lost(), 3, Verdict::Failed),
            (said(410), 1, Verdict::Gone),
            (said(500), u32::MAX, Verdict::Failed),
        ] {
            assert_eq!(verdict(&said, tries, &waits, 100, 0), expected, "{said:?} {tries}");
        }
        let asks =
            |seconds: u64| Ok(Delivered { status: 503, retry_after_ms: Some(seconds * 1000), ..Delivered::default() });
        let at = |seconds| verdict(&asks(seconds), 1, &waits, 0, 0);
        assert_eq!(at(1), Verdict::Again { at_ms: 5_000 }, "never sooner than the schedule");
        assert_eq!(at(3600), Verdict::Again { at_ms: 3_600_000 });
        assert_eq!(at(u64::MAX / 2000), Verdict::Again { at_ms: ASKED_MAX_MS }, "a day at most");
    }

    proptest! {
        #[test]
        fn a_wait_is_what_the_schedule_says_and_a_little_more(
            wait in 1_i64..100_000_000, draw in any::<u64>(), now in 0_i64..1_000_000_000_000,
        ) {
            let Verdict::Again { at_ms } = verdict(&lost(), 1, &[wait], now, draw) else {
                return Err(TestCaseError::fail("another attempt"));
            };
            prop_assert!((now + wait..=now + wait + wait / 5).contains(&at_ms));
        }
    }

    #[test]
    fn a_receiver_that_fails_for_days_is_disabled_and_a_success_begins_anew() {
        let day = 86_400_000;
        let fail = |health, at| fares(health, Verdict::Again { at_ms: 0 }, at, 5 * day);
        let first = fail(HealthRow::default(), 1000);
        assert_eq!((first.failing_since_ms, first.disabled), (Some(1000), None));
        let later = fail(first, 4 * day);
        assert_eq!((later.failing_since_ms, later.disabled), (Some(1000), None));
        let well = fares(later, Verdict::Succeeded, 4 * day + 1, 5 * day);
        assert_eq!((well.failing_since_ms, well.last_success_ms), (None, Some(4 * day + 1)));
        assert_eq!(fail(well, 6 * day).disabled, None, "it counts from the first failure since then");
        let over = fail(later, 5 * day + 1000);
        assert_eq!(over.disabled, Some((5 * day + 1000, Cause::Failing)));
        assert_eq!(fail(over, 9 * day).disabled, over.disabled, "disabled once");
        assert_eq!(fares(HealthRow::default(), Verdict::Gone, 7, 5 * day).disabled, Some((7, Cause::Gone)));
    }

    #[test]
    fn the_log_keeps_little_of_a_lot() {
        let body = "ä\u{1b}[31m".repeat(10_000).into_bytes();
        let said = Ok(Delivered { status: 500, body, cut: Some("the body broke off"), ..Delivered::default() });
        let kept = attempt(3, 0, 1, &said);
        assert!(kept.answer.len() <= ANSWER_KEPT + 40 && kept.answer.starts_with("[the body broke off]\n"));
        assert!(!kept.answer.contains('\u{1b}'), "nothing reaches a terminal as it came");
        // A piece of a word is dropped with its word, and of one that is longer than ours as much as ours would be.
        let kept = |body: String, cut| {
            attempt(1, 0, 1, &Ok(Delivered { status: 500, body: body.into(), cut, ..Delivered::default() }))
        };
        assert_eq!(kept("a b token-9a7".to_owned(), None).answer, "a b token-9a7", "nothing was cut");
        assert_eq!(kept("a b token-9a7".to_owned(), Some("late")).answer, "[late]\na b ");
        assert_eq!(kept(format!("{}/a/token/0123456789", "a ".repeat(505)), None).answer, "a ".repeat(505));
        assert_eq!(kept("x".repeat(5000), None).answer.len(), ANSWER_KEPT - PIECE_MAX);
        let long: Result<Delivered, _> = Err(StepError::new(ErrorClass::Transient, "x".repeat(5000)));
        assert_eq!(attempt(1, 0, 1, &long).error.len(), ERROR_KEPT);
        let mut row = SendingRow {
            kind: "a".to_owned(),
            state: SendingState::Waiting,
            created_ms: 0,
            due_ms: Some(0),
            next_ms: Some(0),
            tries: 0,
            attempted: 0,
            attempts: Vec::new(),
            reason: String::new(),
        };
        for number in 1..100 {
            row = after(&row, attempt(number, 0, 1, &said), Verdict::Again { at_ms: 9 }, true);
        }
        assert_eq!((row.attempts.len(), row.attempts[0].number, row.due_ms), (ATTEMPTS_KEPT, 80, Some(0)));
        assert!(aura_protocol::wire::encode(&row).unwrap().len() < 40_000);
    }
}
