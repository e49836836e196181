//! Whether a run fits a filter: its row first, what began it only if that is asked for.
//!
//! Invariant: pure, and a missing value makes its word untrue, never an error.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::{Filter, Key, Op, Operand, Term};
use crate::expr::compare_numbers;
use crate::run::RunHead;
use crate::value::Value;

/// The row of a list, as a filter sees it.
#[derive(Clone, Debug, Default)]
pub struct Columns<'a> {
    /// State as it is typed (`in_doubt`, or `held` for an event).
    pub state: &'a str,
    /// Flow.
    pub flow: &'a str,
    /// Version hash.
    pub version: &'a str,
    /// Trigger id.
    pub trigger: &'a str,
    /// Step.
    pub step: &'a str,
    /// Id of the run or event.
    pub id: String,
    /// Its error, or why it does not move.
    pub why: &'a str,
    /// When it was created.
    pub created_ms: i64,
    /// When it ended.
    pub finished_ms: Option<i64>,
    /// Labels of its flow, if they are known.
    pub labels: Option<&'a BTreeMap<String, String>>,
}

impl<'a> Columns<'a> {
    /// Those of a run.
    #[must_use]
    pub fn of(head: &'a RunHead, labels: Option<&'a BTreeMap<String, String>>) -> Self {
        let state = super::STATES.iter().find(|(_, state)| *state == head.state).map_or("", |(name, _)| *name);
        let error = head.error.as_ref().map(|error| error.message.as_str());
        let why = error.or_else(|| head.blocked_by.as_ref().map(|blocked| blocked.reason.as_str()));
        Self {
            state,
            flow: &head.flow,
            version: &head.version,
            trigger: &head.trigger,
            step: &head.step,
            id: head.run.to_string(),
            why: why.unwrap_or_default(),
            created_ms: head.created_ms,
            finished_ms: head.finished_ms,
            labels,
        }
    }
}

impl Filter {
    /// Whether a row fits all words that a row can answer; words about payloads are left to [`Filter::payload`].
    #[must_use]
    pub fn row(&self, row: &Columns<'_>, now_ms: i64) -> bool {
        self.terms.iter().all(|term| term.row(row, now_ms).is_none_or(|found| found != term.not))
    }

    /// Whether what began a run fits all words about payloads; `read` gives the value of `trigger` or `input`, or whom
    /// the run is about for `subject`.
    #[must_use]
    pub fn payload(&self, read: &dyn Fn(&str) -> Value) -> bool {
        self.terms.iter().all(|term| {
            let root = match &term.key {
                Key::Payload(path) => path.split('.').next().unwrap_or_default(),
                Key::Subject => "subject",
                _ => return true,
            };
            let whole = read(root);
            let path = if let Key::Payload(path) = &term.key { path.as_str() } else { "" };
            let found = field(&whole, path.split_once('.').map_or("", |(_, rest)| rest));
            found.is_some_and(|found| term.value(found)) != term.not
        })
    }

    /// Whether the words about flows and labels fit a flow; none: there are no such words.
    #[must_use]
    pub fn fits_flow(&self, flow: &str, labels: &BTreeMap<String, String>) -> Option<bool> {
        let row = Columns { flow, labels: Some(labels), ..Columns::default() };
        let mut about = self.terms.iter().filter(|term| matches!(term.key, Key::Flow | Key::Label(_))).peekable();
        about.peek()?;
        Some(about.all(|term| term.row(&row, 0) == Some(!term.not)))
    }

    /// The words that ask for one value exactly, as an index can answer: what it is about and the value.
    pub fn equalities(&self) -> impl Iterator<Item = (&Key, &str)> {
        self.terms.iter().filter_map(|term| match (&term.key, term.op, &term.with) {
            (Key::Payload(_) | Key::Subject, Op::Is, Operand::Texts(texts)) if !term.not => match texts.as_slice() {
                [one] => Some((&term.key, one.as_str())),
                _ => None,
            },
            _ => None,
        })
    }
}

impl Term {
    /// `None`: a row cannot say.
    fn row(&self, row: &Columns<'_>, now_ms: i64) -> Option<bool> {
        let same = |column: &str| self.text(column);
        Some(match &self.key {
            Key::Any => [row.state, row.flow, row.step, row.trigger, row.why, &row.id].into_iter().any(same),
            Key::State => same(row.state),
            Key::Flow => same(row.flow),
            Key::Version => match &self.with {
                Operand::Texts(texts) => texts.iter().any(|text| !text.is_empty() && row.version.starts_with(text)),
                _ => false,
            },
            Key::Trigger => same(row.trigger),
            Key::Step => same(row.step),
            Key::Run => same(&row.id),
            Key::Error => same(row.why),
            Key::Label(name) => row.labels.and_then(|labels| labels.get(name)).is_some_and(|text| same(text)),
            Key::Created => self.time(row.created_ms, now_ms),
            Key::Finished => row.finished_ms.is_some_and(|at| self.time(at, now_ms)),
            Key::Took => match self.with {
                Operand::Span(span) => {
                    let took = row.finished_ms.unwrap_or(now_ms).saturating_sub(row.created_ms);
                    self.fits(took.cmp(&span))
                }
                _ => false,
            },
            Key::Subject | Key::Payload(_) => return None,
        })
    }

    fn time(&self, at: i64, now_ms: i64) -> bool {
        match self.with {
            Operand::Time(when) => self.fits(at.cmp(&when.at(now_ms))),
            _ => false,
        }
    }

    fn fits(&self, order: Ordering) -> bool {
        match self.op {
            Op::Is | Op::Has => order.is_eq(),
            Op::Less => order.is_lt(),
            Op::Most => order.is_le(),
            Op::More => order.is_gt(),
            Op::Least => order.is_ge(),
        }
    }

    fn text(&self, column: &str) -> bool {
        let Operand::Texts(texts) = &self.with else { return false };
        texts.iter().any(|text| match self.op {
            Op::Has => column.to_lowercase().contains(text),
            Op::Is => column == text,
            op => Self { op, ..self.clone() }.fits(column.cmp(text)),
        })
    }

    /// A value of a payload: numbers are compared as numbers, all else as text.
    fn value(&self, value: &Value) -> bool {
        let Operand::Texts(texts) = &self.with else { return false };
        let Some(shown) = text_of(value) else { return false };
        texts.iter().any(|text| match (self.op, value) {
            (Op::Is, Value::Int(_) | Value::Dec(_)) => {
                compare_numbers(&shown, text).map_or(shown == *text, Ordering::is_eq)
            }
            (Op::Is | Op::Has, _) => self.text(&shown),
            _ => self.fits(compare_numbers(&shown, text).unwrap_or_else(|| shown.as_str().cmp(text))),
        })
    }
}

/// The value at a path of names and positions, with `.` between them; the whole for an empty path.
#[must_use]
pub fn field<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let mut found = value;
    for name in path.split('.').filter(|name| !name.is_empty()) {
        found = match found {
            Value::List(items) => items.get(name.parse::<usize>().ok()?)?,
            other => other.get(name)?,
        };
    }
    Some(found)
}

/// A value as a filter names it: texts, numbers, `true` and `false`; other values have no such text.
#[must_use]
pub fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Str(text) => Some(text.clone()),
        Value::Int(_) | Value::Dec(_) | Value::Bool(_) => Some(value.to_json()),
        _ => None,
    }
}
