//! What follows from a call that did not succeed: the effect table of design §4.

use aura_protocol::flow::{Effect, InDoubtPolicy};
use aura_protocol::run::{ErrorClass, Reach, StepError};

use super::bugs::{Bug, has};
use super::frames::StepCell;
use super::plan::PlanStep;
use super::scope::Moment;
use super::state::ms;

/// What follows.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Another attempt at this time.
    Retry(i64),
    /// The step failed.
    Fail(StepError),
    /// Nobody knows; a person decides.
    Doubt(StepError),
}

/// Decides about one attempt.
#[must_use]
pub fn decide(step: &PlanStep, cell: &StepCell, error: StepError, reach: Reach, moment: &Moment) -> Verdict {
    let effect = cell.effect.unwrap_or(step.effect);
    let next = next_attempt(step, cell, &error, moment);
    match reach {
        Reach::Unsent => match next.filter(|_| error.class.retryable()) {
            None if cell.unknown => doubt(step, None, earlier(error)),
            next => retry_or_fail(next, error),
        },
        Reach::Refused => {
            let again = match effect {
                Effect::Once => error.class == ErrorClass::RateLimited,
                _ => error.class.retryable(),
            };
            // A refusal of the same key says that nothing happened; "slower", "in progress" and "who are you" do not.
            let definite = effect == Effect::Keyed && matches!(error.class, ErrorClass::Invalid | ErrorClass::NotFound);
            match next.filter(|_| again) {
                None if cell.unknown && !definite => doubt(step, None, earlier(error)),
                next => retry_or_fail(next, error),
            }
        }
        Reach::Arrived => Verdict::Fail(error),
        Reach::Unknown => match effect {
            Effect::Read | Effect::Idempotent => retry_or_fail(next.filter(|_| error.class.retryable()), error),
            Effect::Keyed => match next.filter(|due| *due <= window_end(step, cell)) {
                Some(due) => Verdict::Retry(due),
                None => doubt(step, next, error),
            },
            Effect::Lookup | Effect::Once => doubt(step, next, error),
        },
    }
}

/// The last time at which the peer still honours the key of a `keyed` call.
#[must_use]
pub fn window_end(step: &PlanStep, cell: &StepCell) -> i64 {
    let window = if has(Bug::KeyWindowIsForgotten) { i64::MAX } else { ms(step.key_window.ms) };
    cell.key_ms.saturating_add(window)
}

/// Why a call must not leave any more: an earlier attempt may have arrived, and its peer has forgotten the key.
#[must_use]
pub fn forgotten(step: &PlanStep, cell: &StepCell, now_ms: i64) -> Option<StepError> {
    let late = cell.effect == Some(Effect::Keyed) && cell.unknown && now_ms > window_end(step, cell);
    let message = "an earlier attempt may have arrived and its key is too old to repeat it";
    late.then(|| StepError { unknown: true, ..StepError::new(ErrorClass::InDoubt, message) })
}

/// What becomes of an unknown outcome, by the step's policy.
#[must_use]
pub fn doubt(step: &PlanStep, next: Option<i64>, error: StepError) -> Verdict {
    match step.in_doubt {
        InDoubtPolicy::Retry => {
            next.map_or(Verdict::Fail(StepError { class: ErrorClass::InDoubt, ..error }), Verdict::Retry)
        }
        InDoubtPolicy::Fail => Verdict::Fail(StepError { class: ErrorClass::InDoubt, ..error }),
        InDoubtPolicy::Ask | InDoubtPolicy::Probe => Verdict::Doubt(error),
    }
}

/// The last attempt did not happen, but an earlier one may have.
fn earlier(error: StepError) -> StepError {
    let message = format!("an earlier attempt may have arrived; the last one: {}", error.message);
    StepError { message, unknown: true, ..error }
}

fn retry_or_fail(next: Option<i64>, error: StepError) -> Verdict {
    next.map_or(Verdict::Fail(error), Verdict::Retry)
}

/// When the next attempt is due: exponential backoff with full jitter, never before the peer's
/// `Retry-After`; `None` if attempts or time are used up.
#[must_use]
pub fn next_attempt(step: &PlanStep, cell: &StepCell, error: &StepError, moment: &Moment) -> Option<i64> {
    let retry = &step.retry;
    if cell.attempt >= retry.attempts {
        return None;
    }
    let longest = retry.longest_pause(cell.attempt).ms;
    let asked = error.retry_after_ms.filter(|_| !has(Bug::RetryAfterIsIgnored));
    let wait = moment.below(longest.saturating_add(1)).max(asked.unwrap_or(0));
    let due = moment.now_ms.saturating_add(ms(wait));
    let last = retry
        .max_elapsed
        .filter(|_| !has(Bug::MaxElapsedIsForgotten))
        .map(|span| cell.scheduled_ms.saturating_add(ms(span.ms)));
    (last.is_none_or(|last| due <= last)).then_some(due)
}
