//! The filter language for runs: words between blanks, all of which must be true.
//!
//! `state=failed flow=cart since=1h label.team=growth trigger.body.id=42 took>10s "no answer"`. A word is `key OP value`
//! or a bare text that must occur in a column; `!` before a word turns it round. Operators: `=` is (several values with
//! `,`), `:` or `~` contains, `<` `<=` `>` `>=` for times, durations and numbers. The one invariant: a filter that was
//! read means the same to the daemon, the command line and the screens; `judge.rs` decides, here is only reading.

mod judge;
#[cfg(test)]
mod tests;

use crate::flow::Span;
use crate::run::RunState;
use crate::text::display;

pub use judge::{Columns, field, text_of};

/// Words of one filter at most.
const TERMS_MAX: usize = 32;
/// Longest filter, in bytes.
const TEXT_MAX: usize = 2048;

/// What a word is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// Any column that a list shows.
    Any,
    /// `state`.
    State,
    /// `flow`.
    Flow,
    /// `version`: a hash from its start.
    Version,
    /// `trigger`: the id of the trigger.
    Trigger,
    /// `step`: the step at work or the last one.
    Step,
    /// `run`: the id of the run.
    Run,
    /// `error`: the message of its error, or why it does not move.
    Error,
    /// `label.NAME`: a label of its flow.
    Label(String),
    /// When it was created (`since`, `until`).
    Created,
    /// When it ended (`older`, `ended`).
    Finished,
    /// How long it took, or takes so far.
    Took,
    /// `subject`: whom it is about, as its flow says.
    Subject,
    /// `trigger.PATH` or `input.PATH`: a value of what began it.
    Payload(String),
}

/// How it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `=`
    Is,
    /// `:` and `~`
    Has,
    /// `<`
    Less,
    /// `<=`
    Most,
    /// `>`
    More,
    /// `>=`
    Least,
}

/// A time as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// So long ago.
    Ago(i64),
    /// Then, in Unix milliseconds.
    At(i64),
}

impl When {
    /// In Unix milliseconds.
    #[must_use]
    pub fn at(self, now_ms: i64) -> i64 {
        match self {
            Self::Ago(ms) => now_ms.saturating_sub(ms),
            Self::At(ms) => ms,
        }
    }
}

/// What it is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// Any of these texts.
    Texts(Vec<String>),
    /// A time.
    Time(When),
    /// A duration in milliseconds.
    Span(i64),
}

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// It must not be true.
    pub not: bool,
    /// What it is about.
    pub key: Key,
    /// How it is compared.
    pub op: Op,
    /// With what.
    pub with: Operand,
}

/// A filter that was read. Without terms it takes every run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// All must be true.
    pub terms: Vec<Term>,
}

/// Why a filter cannot be read: one sentence that names the word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FilterError(pub String);

impl Filter {
    /// Reads a filter; `all` (or nothing) takes every run.
    ///
    /// # Errors
    /// The first word that is no part of a filter.
    pub fn read(text: &str) -> Result<Self, FilterError> {
        if text.len() > TEXT_MAX {
            return Err(FilterError(format!("the filter has {} bytes and may have {TEXT_MAX}", text.len())));
        }
        let mut terms = Vec::new();
        for word in words(text)? {
            if word != "all" {
                terms.push(term(&word)?);
            }
        }
        if terms.len() > TERMS_MAX {
            return Err(FilterError(format!("the filter has {} words and may have {TERMS_MAX}", terms.len())));
        }
        Ok(Self { terms })
    }

    /// As [`Filter::read`], while somebody is still typing: what is no part of a filter is a text to be found.
    #[must_use]
    pub fn typed(text: &str) -> Self {
        let words = words(text).unwrap_or_else(|_| text.split_whitespace().map(str::to_owned).collect());
        let plain = |word: &str| {
            let with = Operand::Texts(vec![word.to_lowercase()]);
            Term { not: false, key: Key::Any, op: Op::Has, with }
        };
        let words = words.iter().filter(|word| *word != "all" && *word != "!").take(TERMS_MAX);
        Self { terms: words.map(|word| term(word).unwrap_or_else(|_| plain(word))).filter(Term::says).collect() }
    }

    /// Whether some word needs more than the row of a list.
    #[must_use]
    pub fn needs_payload(&self) -> bool {
        self.terms.iter().any(|term| matches!(term.key, Key::Payload(_) | Key::Subject))
    }

    /// The flows that it is about, if it says so.
    #[must_use]
    pub fn flows(&self) -> Option<&[String]> {
        self.terms.iter().find_map(|term| match (&term.key, term.op, &term.with) {
            (Key::Flow, Op::Is, Operand::Texts(names)) if !term.not => Some(names.as_slice()),
            _ => None,
        })
    }

    /// The states that it is about; none: any.
    #[must_use]
    pub fn states(&self) -> Vec<RunState> {
        let said = self.terms.iter().find_map(|term| match (&term.key, term.op, &term.with) {
            (Key::State, Op::Is, Operand::Texts(words)) if !term.not => Some(words),
            _ => None,
        });
        let known = |word: &String| STATES.iter().find(|(name, _)| name == word).map(|(_, state)| *state);
        said.into_iter().flatten().filter_map(known).collect()
    }

    /// Only runs created from then on fit, in Unix milliseconds; none: no such limit.
    #[must_use]
    pub fn since(&self, now_ms: i64) -> Option<i64> {
        let said = self.terms.iter().filter_map(|term| match (&term.key, term.op, &term.with) {
            (Key::Created, Op::Least | Op::More, Operand::Time(when)) if !term.not => Some(when.at(now_ms)),
            _ => None,
        });
        said.max()
    }
}

impl Term {
    /// Whether it says anything (while it is typed, `flow:` does not).
    fn says(&self) -> bool {
        !matches!(&self.with, Operand::Texts(texts) if texts.iter().all(String::is_empty))
    }
}

/// The states as they are typed.
pub const STATES: &[(&str, RunState)] = &[
    ("queued", RunState::Queued),
    ("running", RunState::Running),
    ("waiting", RunState::Waiting),
    ("retrying", RunState::Retrying),
    ("paused", RunState::Paused),
    ("in_doubt", RunState::InDoubt),
    ("succeeded", RunState::Succeeded),
    ("failed", RunState::Failed),
    ("cancelled", RunState::Cancelled),
];

/// The words of a text: between blanks, where quotes keep blanks together.
fn words(text: &str) -> Result<Vec<String>, FilterError> {
    let (mut words, mut word, mut quote, mut begun) = (Vec::new(), String::new(), None, false);
    for c in text.chars() {
        match (quote, c) {
            (Some(open), _) if open == c => quote = None,
            (None, '"' | '\'') => (quote, begun) = (Some(c), true),
            (None, _) if c.is_whitespace() => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            _ => {
                word.push(c);
                begun = true;
            }
        }
    }
    if quote.is_some() {
        return Err(FilterError("a quote in the filter is not closed".to_owned()));
    }
    if begun {
        words.push(word);
    }
    Ok(words)
}

/// Where the operator of a word stands, its length and what it is.
fn operator(word: &str) -> Option<(usize, usize, Op)> {
    let at = word.find(['=', ':', '~', '<', '>'])?;
    let rest = word.get(at..)?;
    let (length, op) = match rest.as_bytes() {
        [b'<', b'=', ..] => (2, Op::Most),
        [b'>', b'=', ..] => (2, Op::Least),
        [b'<', ..] => (1, Op::Less),
        [b'>', ..] => (1, Op::More),
        [b'=', ..] => (1, Op::Is),
        _ => (1, Op::Has),
    };
    Some((at, length, op))
}

fn term(word: &str) -> Result<Term, FilterError> {
    let refuse = |message: String| Err(FilterError(message));
    let shown = display(word);
    let (mut not, body) = word.strip_prefix('!').map_or((false, word), |rest| (true, rest));
    let Some((at, length, op)) = operator(body).filter(|(at, ..)| *at > 0) else {
        let with = Operand::Texts(vec![body.to_lowercase()]);
        return Ok(Term { not, key: Key::Any, op: Op::Has, with });
    };
    let (mut name, value) = (body.get(..at).unwrap_or_default(), body.get(at + length..).unwrap_or_default());
    // `key!=value`
    if let Some(rest) = name.strip_suffix('!').filter(|_| op == Op::Is) {
        (name, not) = (rest, !not);
    }
    let texts = |lower: bool| {
        let part = |part: &str| if lower { part.to_lowercase() } else { part.to_owned() };
        match op {
            Op::Is => value.split(',').map(part).collect(),
            _ => vec![part(value)],
        }
    };
    let compares = matches!(op, Op::Is | Op::Has);
    let named = |key: Key| Ok(Term { not, key, op, with: Operand::Texts(texts(op == Op::Has)) });
    let timed = |key: Key, op: Op| match when(value) {
        Some(when) => Ok(Term { not, key, op, with: Operand::Time(when) }),
        None => refuse(format!("`{}` is no time: write 1h, 30d, 2026-11-22 or 2026-11-22T08:00:00Z", display(value))),
    };
    match name {
        "state" | "s" if compares => {
            let words: Vec<String> = texts(true).iter().map(|word: &String| word.replace(' ', "_")).collect();
            let unknown = words.iter().find(|word| !STATES.iter().any(|(name, _)| name == word));
            if let (Op::Is, Some(unknown)) = (op, unknown) {
                let known: Vec<&str> = STATES.iter().map(|(name, _)| *name).collect();
                return refuse(format!("`{}` is no state of a run: {}", display(unknown), known.join(", ")));
            }
            Ok(Term { not, key: Key::State, op, with: Operand::Texts(words) })
        }
        "flow" | "f" if compares => named(Key::Flow),
        "version" if compares => named(Key::Version),
        "trigger" | "t" if compares => named(Key::Trigger),
        "step" if compares => named(Key::Step),
        "run" | "id" if compares => named(Key::Run),
        "error" | "why" if compares => named(Key::Error),
        "subject" if compares => named(Key::Subject),
        "label" if op == Op::Is && value.contains(':') => {
            let (label, text) = value.split_once(':').unwrap_or_default();
            let with = Operand::Texts(vec![text.to_owned()]);
            Ok(Term { not, key: Key::Label(label.to_owned()), op, with })
        }
        "since" if op == Op::Is => timed(Key::Created, Op::Least),
        "until" if op == Op::Is => timed(Key::Created, Op::Less),
        "older" if op == Op::Is => timed(Key::Finished, Op::Less),
        "created" if !compares => timed(Key::Created, op),
        "ended" if !compares => timed(Key::Finished, op),
        "took" if !compares => match value.parse::<Span>() {
            Ok(span) => {
                let with = Operand::Span(i64::try_from(span.ms).unwrap_or(i64::MAX));
                Ok(Term { not, key: Key::Took, op, with })
            }
            Err(_) => refuse(format!("`{}` is no duration like 500ms, 10s or 2h", display(value))),
        },
        _ => match name.split_once('.') {
            Some(("label", label)) if compares && !label.is_empty() => named(Key::Label(label.to_owned())),
            Some(("trigger" | "input", path)) if !path.is_empty() => {
                Ok(Term { not, key: Key::Payload(name.to_owned()), op, with: Operand::Texts(texts(op == Op::Has)) })
            }
            _ => refuse(format!(
                "`{shown}` is no part of a filter; put quotes around a text to be found, as in '\"a=b\"'"
            )),
        },
    }
}

/// A time: so long ago, a day, or an instant.
fn when(text: &str) -> Option<When> {
    if let Ok(span) = text.parse::<Span>() {
        return Some(When::Ago(i64::try_from(span.ms).unwrap_or(i64::MAX)));
    }
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(When::At(at.as_millisecond()));
    }
    let day: jiff::civil::Date = text.parse().ok()?;
    day.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|at| When::At(at.timestamp().as_millisecond()))
}
