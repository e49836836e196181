//! A run's journal as people read it: one line per record, and the timeline of its steps.
//!
//! Pure and shared by the screens and the commands, so that `aura run show` and the Run screen never
//! disagree. Every text that came from outside has passed `text::display` when it leaves this file.

use aura_protocol::run::{Awaited, Record, Resolution, RunState, ScopeKind, StepError, StepState};
use aura_protocol::text::display;

use crate::times;

mod timeline;
pub use timeline::timeline;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It went on.
    Info,
    /// It coped.
    Warn,
    /// Somebody should look.
    Error,
}

impl Level {
    /// Five cells.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info ",
            Self::Warn => "warn ",
            Self::Error => "error",
        }
    }
}

/// One record as one line without its time.
#[must_use]
pub fn line(record: &Record, at_ms: i64) -> (Level, String) {
    use Level::{Error, Info, Warn};
    let (level, text) = match record {
        Record::RunStarted(start) => {
            let more = u64::try_from(start.events.len()).unwrap_or(0) + start.events_more;
            let events = if more > 1 { format!(", {more} events") } else { String::new() };
            let origin = start.origin.as_ref().map_or(String::new(), |origin| {
                format!(", goes on from {} at {}, wanted by {}", origin.run, origin.point, origin.by)
            });
            (Info, format!("run of {} began: trigger {}{events}{origin}", start.flow, start.trigger))
        }
        Record::Scheduled { path, key, effect, .. } => {
            (Info, format!("step {path} scheduled  effect={} key={key}", effect_word(effect)))
        }
        Record::Started { path, attempt, .. } => (Info, format!("step {path} started  attempt={attempt}")),
        Record::Completed { path, attempt: 0, .. } => (Info, format!("step {path} succeeded")),
        Record::Completed { path, attempt, .. } => (Info, format!("step {path} succeeded  attempt={attempt}")),
        Record::Handled { path, .. } => (Info, format!("step {path} stays failed, its handler ended well")),
        Record::Failed { path, attempt, error, retry_at_ms } => match retry_at_ms {
            Some(at) => {
                let wait = times::took(at - at_ms);
                (Warn, format!("step {path} failed, again in {wait}  attempt={attempt}  {}", sentence(error)))
            }
            None => (Error, format!("step {path} failed  attempt={attempt}  {}", sentence(error))),
        },
        Record::Skipped { path, why, .. } => (Info, format!("step {path} skipped: {why}")),
        Record::Lost { path, join } => (Info, format!("step {path} lost: {join} went on without it")),
        Record::Listed { path, items, parallel, .. } => {
            (Info, format!("map {path} has {} items, {parallel} at once", items.len()))
        }
        Record::ItemDone { path, index } => (Info, format!("step {path} is done with item {index}")),
        Record::Broken { path, index } => (Info, format!("loop {path} breaks off in iteration {index}")),
        Record::TimedOut { path, error } => (Warn, format!("step {path} is out of time: {}", sentence(error))),
        Record::Compensated { path, error: None } => (Warn, format!("step {path} was undone")),
        Record::Compensated { path, error: Some(error) } => {
            (Error, format!("step {path} could not be undone: {}", sentence(error)))
        }
        Record::Copied(copied) => match copied.bare() {
            // How a copy says that the body of a `try` failed.
            Record::TimedOut { path, error } => {
                (Info, format!("copied: the body of step {path} failed: {}", sentence(error)))
            }
            other => (Info, format!("copied: {}", line(other, at_ms).1)),
        },
        Record::ItemsCopied { path, items } => (Info, format!("copied: {} items of {path}", items.len())),
        Record::Migrated { version, by } => {
            let version: String = version.chars().take(8).collect();
            (Warn, format!("{by} moved the run to version {version}"))
        }
        Record::Yielded => (Info, "more to do: goes on at once".to_owned()),
        Record::ScopeOpened { path, scope } => (Info, opened(path, *scope)),
        Record::WaitCreated { path, until_ms } => {
            (Info, format!("step {path} sleeps {}", times::took(until_ms - at_ms)))
        }
        Record::Awaiting { path, what, until_ms } => {
            let until = until_ms.map(|until| format!(", {} at most", times::took(until - at_ms))).unwrap_or_default();
            (Info, format!("step {path} waits for {}{until}", awaited(what)))
        }
        Record::Voted { path, vote } => {
            let said = if vote.approve { "approved" } else { "rejected" };
            let why = if vote.comment.is_empty() { String::new() } else { format!(": {}", vote.comment) };
            let via = if vote.via.is_empty() { String::new() } else { format!(" by {}", vote.via) };
            (Info, format!("{} {said} step {path}{via}{why}", vote.by))
        }
        Record::Delegated { path, by, to } => (Info, format!("{by} has {to} decide about step {path}")),
        Record::Escalated { path } => (Warn, format!("step {path} asks others too")),
        Record::Called { path, run, flow, waits, .. } => {
            let how = if *waits { "and waits for it" } else { "and goes on" };
            (Info, format!("step {path} began {run} of {flow} {how}"))
        }
        Record::Signalled { path, by, .. } => (Info, format!("what step {path} waits for came from {by}")),
        Record::TimerFired { path } if path.is_empty() => (Warn, "the run's time is up".to_owned()),
        Record::TimerFired { path } => (Info, format!("step {path} goes on: its time came")),
        Record::InDoubt { path, attempt, error } => {
            (Error, format!("step {path} is in doubt  attempt={attempt}  {}", sentence(error)))
        }
        Record::Resolved { path, resolution, by } => (Warn, format!("{by} resolved step {path}: {}", how(resolution))),
        Record::CancelRequested { by, reason } => (Warn, format!("{by} asked to cancel: {reason}")),
        Record::Paused { by, reason } if reason.is_empty() => (Warn, format!("{by} paused the run")),
        Record::Paused { by, reason } => (Warn, format!("{by} paused the run: {reason}")),
        Record::Resumed { by } => (Warn, format!("{by} let the run go on")),
        Record::ForceFinished { state, by, reason } => {
            (Warn, format!("{by} ended the run by hand as {}: {reason}", state.word()))
        }
        Record::Responded { path, status, body, .. } => {
            (Info, format!("step {path} answered the sender  status={status} bytes={}", body.len()))
        }
        Record::Log { path, level, message } => {
            let level = match level.as_str() {
                "error" => Error,
                "warn" => Warn,
                _ => Info,
            };
            (level, if path.is_empty() { message.clone() } else { format!("{path}: {message}") })
        }
        Record::RunFinished { state, error, .. } => match error {
            Some(error) => (Error, format!("run {}: {}", state.word(), sentence(error))),
            None => (if *state == RunState::Succeeded { Info } else { Warn }, format!("run {}", state.word())),
        },
    };
    (level, display(&text))
}

fn opened(path: &str, scope: ScopeKind) -> String {
    match scope {
        ScopeKind::Arm(number) => format!("step {path} takes arm {}", number.saturating_add(1)),
        ScopeKind::OnError => format!("step {path} runs its on_error"),
        ScopeKind::Item(index) => format!("map {path} begins item {index}"),
        ScopeKind::Try => format!("step {path} tries its steps"),
        ScopeKind::Catch => format!("step {path} runs its catch"),
        ScopeKind::Iteration(index) => format!("loop {path} begins iteration {index}"),
        ScopeKind::Compensate => format!("step {path} is being undone"),
        ScopeKind::FlowOnError => "the flow's on_error runs".to_owned(),
        ScopeKind::Finally => "finally runs".to_owned(),
    }
}

/// What a step waits for, in words.
fn awaited(what: &Awaited) -> String {
    match what {
        Awaited::Callback => "its callback".to_owned(),
        Awaited::Event { trigger, .. } => format!("an event of {trigger}"),
        Awaited::People(ask) => format!("approval by {}", ask.approvers.join(", ")),
        Awaited::Run { run, flow } => format!("{run} of {flow}"),
    }
}

fn how(resolution: &Resolution) -> &'static str {
    match resolution {
        Resolution::Done(_) => "it happened",
        Resolution::Retry => "send it again with the same key",
        Resolution::Fail => "it failed",
    }
}

/// The class of an effect as people see it.
#[must_use]
pub fn effect_word(effect: &aura_protocol::flow::Effect) -> &'static str {
    use aura_protocol::flow::Effect;
    match effect {
        Effect::Read => "read",
        Effect::Idempotent => "idempotent",
        Effect::Keyed => "keyed",
        Effect::Lookup => "lookup",
        Effect::Once => "once",
    }
}

/// An error in one sentence with its class and code.
#[must_use]
pub fn sentence(error: &StepError) -> String {
    let code = error.code.as_ref().map_or(String::new(), |code| format!(" {code}"));
    display(&format!("{} ({}{code})", error.message, error.class.word()))
}

/// An attempt of a step, or a wait between attempts or of a sleep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// `#2`, `wait`, or empty for a step's only attempt.
    pub label: String,
    /// When it began.
    pub from_ms: i64,
    /// When it ended or will end; `None`: not known yet.
    pub to_ms: Option<i64>,
    /// How it stands.
    pub state: StepState,
    /// What went wrong, or until when.
    pub note: String,
}

/// A step as the timeline shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Step id.
    pub id: String,
    /// Kind or action; empty if its version is not known.
    pub kind: String,
    /// Nesting.
    pub depth: u32,
    /// Scope it stands in, as the outline says.
    pub scope: String,
    /// State.
    pub state: StepState,
    /// When it was first heard of.
    pub from_ms: Option<i64>,
    /// When it settled.
    pub to_ms: Option<i64>,
    /// Attempts so far.
    pub attempts: u32,
    /// It failed and its handler ended well: the run went on.
    pub handled: bool,
    /// One line: why it failed, was skipped, waits.
    pub note: String,
    /// Attempts and waits in their order.
    pub spans: Vec<Span>,
    /// It was undone, or could not be; the note says which.
    pub undone: bool,
    /// Of a map: items that ended well, and all of them.
    pub items: Option<(usize, usize)>,
    /// Of a loop: iterations that began.
    pub rounds: Option<u32>,
    /// Another run did it, and this one goes on from that.
    pub copied: bool,
    /// It asks people.
    pub asked: bool,
}

impl Step {
    fn new(id: &str, kind: &str, depth: u32, scope: &str) -> Self {
        Self {
            id: id.to_owned(),
            kind: kind.to_owned(),
            depth,
            scope: scope.to_owned(),
            state: StepState::Queued,
            from_ms: None,
            to_ms: None,
            attempts: 0,
            handled: false,
            note: String::new(),
            spans: Vec::new(),
            undone: false,
            items: None,
            rounds: None,
            copied: false,
            asked: false,
        }
    }

    /// What the row says beside the name: a map tells how far it is.
    #[must_use]
    pub fn told(&self) -> String {
        match self.items {
            Some((done, all)) if self.state != StepState::Skipped => {
                let gap = if self.note.is_empty() { "" } else { "; " };
                format!("{done} of {all} items done{gap}{}", self.note)
            }
            _ => match self.rounds {
                Some(count) => {
                    let gap = if self.note.is_empty() { "" } else { "; " };
                    let word = if count == 1 { "iteration" } else { "iterations" };
                    format!("{count} {word}{gap}{}", self.note)
                }
                None => self.note.clone(),
            },
        }
    }

    /// The word people see: its state, or that its failure was handled.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self.state {
            StepState::Succeeded if self.copied => "copied",
            _ if self.handled => "handled",
            state => state.word(),
        }
    }

    /// A wait for something from outside ends.
    fn waited(&mut self, at_ms: i64, state: StepState) {
        if let Some(wait) = self.spans.last_mut().filter(|wait| wait.state == StepState::Waiting) {
            (wait.to_ms, wait.state) = (Some(at_ms), state);
        }
    }

    fn close(&mut self, at_ms: i64, state: StepState) {
        if let Some(span) = self.spans.last_mut().filter(|span| span.state != StepState::Failed && span.label != "wait")
        {
            span.to_ms = Some(at_ms);
            span.state = state;
        }
    }

    fn apply(&mut self, at_ms: i64, record: &Record) {
        self.from_ms.get_or_insert(at_ms);
        match record {
            Record::Copied(copied) => {
                self.copied |= matches!(copied.bare(), Record::Completed { .. } | Record::Handled { .. });
                match copied.bare() {
                    Record::TimedOut { error, .. } => self.note = sentence(error),
                    // The end of it counts, not the attempts.
                    Record::Failed { error, .. } => {
                        (self.state, self.note) = (StepState::Failed, sentence(error));
                    }
                    other => self.apply(at_ms, other),
                }
            }
            Record::ItemsCopied { items, .. } => {
                self.state = StepState::Running;
                if let Some((done, _)) = &mut self.items {
                    *done += items.iter().filter(|item| item.error.is_none()).count();
                }
                if self.items.is_none() {
                    self.rounds = items.last().map(|item| item.index.saturating_add(1));
                }
            }
            Record::Scheduled { .. } => self.state = StepState::Running,
            Record::Started { attempt, .. } => {
                self.state = StepState::Running;
                self.attempts = self.attempts.max(*attempt);
                self.spans.push(span(format!("#{attempt}"), at_ms, None, StepState::Running));
            }
            Record::Awaiting { what, until_ms, .. } => {
                self.state = StepState::Waiting;
                self.asked = matches!(what, Awaited::People(_));
                self.note = display(&format!("waits for {}", awaited(what)));
                self.spans.push(span("wait".to_owned(), at_ms, *until_ms, StepState::Waiting));
            }
            Record::Voted { vote, .. } => {
                let said = if vote.approve { "approved" } else { "rejected" };
                let before = if self.note.is_empty() { String::new() } else { format!("{}; ", self.note) };
                let why = if vote.comment.is_empty() { String::new() } else { format!(" ({})", vote.comment) };
                self.note = display(&format!("{before}{} {said}{why}", vote.by));
            }
            Record::Delegated { by, to, .. } => self.note = display(&format!("{by} has {to} decide")),
            Record::Called { run, flow, waits: true, .. } => {
                self.state = StepState::Waiting;
                self.note = display(&format!("waits for {run} of {flow}"));
                self.spans.push(span("wait".to_owned(), at_ms, None, StepState::Waiting));
            }
            Record::Called { run, flow, .. } => self.note = display(&format!("{run} of {flow}")),
            Record::Signalled { by, .. } if self.state == StepState::Queued => {
                self.note = display(&format!("{by} came early"));
            }
            Record::Completed { attempt, .. } => {
                // Who decided stays to be read, that they were waited for does not.
                let decided = self.note.split_once("; ").filter(|_| self.asked).map(|(_, decided)| decided.to_owned());
                self.waited(at_ms, StepState::Succeeded);
                self.state = StepState::Succeeded;
                self.attempts = self.attempts.max(*attempt);
                self.to_ms = Some(at_ms);
                self.note = decided.unwrap_or_default();
                self.close(at_ms, StepState::Succeeded);
            }
            Record::Failed { attempt, error, retry_at_ms, .. } => {
                self.attempts = self.attempts.max(*attempt);
                self.note = sentence(error);
                let from = self.spans.last().and_then(|span| span.to_ms).or(self.from_ms).unwrap_or(at_ms);
                let running = self.spans.last().is_some_and(|span| span.state == StepState::Running);
                let waited = *attempt == 0 && self.spans.last().is_some_and(|span| span.state == StepState::Waiting);
                if waited {
                    // It called nobody: what it waited for came to nothing.
                    self.waited(at_ms, StepState::Failed);
                } else if !running {
                    self.spans.push(span(format!("#{attempt}"), from, None, StepState::Running));
                }
                self.close(at_ms, StepState::Failed);
                if let Some(last) = self.spans.last_mut() {
                    last.note.clone_from(&self.note);
                }
                match retry_at_ms {
                    Some(until) => {
                        self.state = StepState::Retrying;
                        self.spans.push(span("wait".to_owned(), at_ms, Some(*until), StepState::Waiting));
                    }
                    None => {
                        let dropped = error.class == aura_protocol::run::ErrorClass::Cancelled;
                        self.state = if dropped { StepState::Cancelled } else { StepState::Failed };
                        self.to_ms = Some(at_ms);
                    }
                }
            }
            Record::Handled { .. } => {
                // A failed scope has no record of its own, only what follows from it.
                self.state = StepState::Failed;
                self.to_ms = Some(at_ms);
                self.handled = true;
                self.note = format!("handled: {}", self.note);
            }
            Record::Skipped { why, .. } => {
                self.state = StepState::Skipped;
                self.to_ms = Some(at_ms);
                self.note = display(why);
            }
            Record::Lost { join, .. } => {
                self.note = display(&format!("{join} went on without it"));
                if self.from_ms == Some(at_ms) && self.state == StepState::Queued {
                    self.state = StepState::Skipped;
                    self.to_ms = Some(at_ms);
                }
            }
            Record::Listed { items, .. } => {
                self.state = StepState::Running;
                self.items = Some((0, items.len()));
            }
            Record::ItemDone { .. } => {
                if let Some((done, _)) = &mut self.items {
                    *done += 1;
                }
            }
            Record::TimedOut { error, .. } => self.note = sentence(error),
            Record::ScopeOpened { scope: ScopeKind::Iteration(index), .. } => {
                self.state = StepState::Running;
                self.rounds = Some(index.saturating_add(1));
            }
            Record::Compensated { error, .. } => {
                self.undone = true;
                self.note = match error {
                    None => "undone".to_owned(),
                    Some(error) => format!("could not be undone: {}", sentence(error)),
                };
            }
            Record::WaitCreated { until_ms, .. } => {
                self.state = StepState::Waiting;
                self.spans.push(span("wait".to_owned(), at_ms, Some(*until_ms), StepState::Waiting));
            }
            Record::TimerFired { .. } => {
                if let Some(wait) = self.spans.last_mut().filter(|span| span.label == "wait") {
                    wait.state = StepState::Succeeded;
                    wait.to_ms = Some(at_ms);
                }
                self.state = StepState::Running;
            }
            Record::InDoubt { error, .. } => {
                self.state = StepState::InDoubt;
                self.note = sentence(error);
                self.close(at_ms, StepState::InDoubt);
            }
            Record::Resolved { resolution, by, .. } => {
                self.note = display(&format!("{by}: {}", how(resolution)));
                self.state = match resolution {
                    Resolution::Done(_) => StepState::Succeeded,
                    Resolution::Retry => StepState::Running,
                    Resolution::Fail => StepState::Failed,
                };
            }
            Record::ScopeOpened { .. } if self.to_ms.is_none() => self.state = StepState::Running,
            _ => {}
        }
    }
}

fn span(label: String, from_ms: i64, to_ms: Option<i64>, state: StepState) -> Span {
    Span { label, from_ms, to_ms, state, note: String::new() }
}

#[cfg(test)]
mod tests {
    use aura_protocol::rpc::OutlineRow;
    use aura_protocol::run::{ErrorClass, Transition};

    use super::*;

    fn at(number: u64, at_ms: i64, records: Vec<Record>) -> Transition {
        Transition { number, at_ms, records }
    }
    fn started(path: &str, attempt: u32) -> Record {
        Record::Started { path: path.into(), attempt, lease: 1, epoch: 1 }
    }
    fn failed(path: &str, attempt: u32, retry_at_ms: Option<i64>) -> Record {
        Record::Failed {
            path: path.into(),
            attempt,
            error: StepError::new(ErrorClass::RateLimited, "Too many requests"),
            retry_at_ms,
        }
    }

    #[test]
    fn attempts_and_the_waits_between_them_are_spans_of_the_step() {
        let journal = vec![
            at(1, 0, vec![started("a", 1)]),
            at(2, 100, vec![failed("a", 1, Some(2100))]),
            at(3, 2100, vec![Record::TimerFired { path: "a".into() }, started("a", 2)]),
            at(4, 2300, vec![Record::Completed { path: "a".into(), attempt: 2, output: Default::default() }]),
        ];
        let steps = timeline(&[], &journal);
        let [step] = steps.as_slice() else { panic!("one step: {steps:?}") };
        assert_eq!((step.state, step.attempts, step.to_ms), (StepState::Succeeded, 2, Some(2300)));
        let spans: Vec<(&str, i64, Option<i64>)> =
            step.spans.iter().map(|span| (span.label.as_str(), span.from_ms, span.to_ms)).collect();
        assert_eq!(spans, [("#1", 0, Some(100)), ("wait", 100, Some(2100)), ("#2", 2100, Some(2300))]);
    }

    #[test]
    fn a_step_that_never_came_is_skipped_once_the_run_ended() {
        let row = |step: &str| OutlineRow { step: step.into(), depth: 0, kind: "set".into(), scope: "steps".into() };
        let journal = vec![
            at(1, 0, vec![started("a", 1)]),
            at(2, 5, vec![failed("a", 1, None)]),
            at(3, 5, vec![Record::RunFinished { state: RunState::Failed, error: None, output: Default::default() }]),
        ];
        let states: Vec<StepState> = timeline(&[row("a"), row("b")], &journal).iter().map(|step| step.state).collect();
        assert_eq!(states, [StepState::Failed, StepState::Skipped]);
    }

    #[test]
    fn a_handled_failure_stays_a_failure_and_says_that_it_was_handled() {
        let journal = vec![
            at(1, 0, vec![started("a", 1)]),
            at(2, 5, vec![failed("a", 1, None)]),
            at(3, 5, vec![Record::ScopeOpened { path: "a".into(), scope: ScopeKind::OnError }]),
            at(4, 9, vec![Record::Handled { path: "a".into(), output: Default::default() }]),
        ];
        let steps = timeline(&[], &journal);
        let [step] = steps.as_slice() else { panic!("one step: {steps:?}") };
        assert_eq!((step.state, step.to_ms, step.word()), (StepState::Failed, Some(9), "handled"));
        assert_eq!(step.note, "handled: Too many requests (rate_limited)");
    }

    #[test]
    fn lines_say_what_happens_next() {
        let check = |record: Record, expected: (Level, &str)| {
            let (level, text) = line(&record, 1000);
            assert_eq!((level, text.as_str()), expected);
        };
        check(
            failed("post", 2, Some(5000)),
            (Level::Warn, "step post failed, again in 4.0s  attempt=2  Too many requests (rate_limited)"),
        );
        check(
            Record::CancelRequested { by: "maria".into(), reason: "wrong list".into() },
            (Level::Warn, "maria asked to cancel: wrong list"),
        );
        check(
            Record::ScopeOpened { path: "still_open".into(), scope: ScopeKind::Arm(0) },
            (Level::Info, "step still_open takes arm 1"),
        );
    }
}
