//! The filter of the list: words that must occur, `!word` that must not, `key:value` for one column.
//!
//! Invariant: reading never fails; an unknown key is an ordinary word.

use aura_protocol::rpc::RunQuery;
use aura_protocol::run::RunState;

use super::Row;

/// Older runs read at a time.
const PAGE: u32 = 500;
/// All states.
const STATES: &[RunState] = &[
    RunState::Queued,
    RunState::Running,
    RunState::Waiting,
    RunState::Retrying,
    RunState::Paused,
    RunState::InDoubt,
    RunState::Succeeded,
    RunState::Failed,
    RunState::Cancelled,
];

enum Of {
    Any,
    State,
    Flow,
    Step,
    Run,
    Trigger,
}

struct Term {
    not: bool,
    of: Of,
    text: String,
}

/// A filter that was read.
pub struct Filter(Vec<Term>);

impl Filter {
    /// Reads the terms between blanks.
    #[must_use]
    pub fn read(text: &str) -> Self {
        Self(text.split_whitespace().map(term).filter(|term| !term.text.is_empty()).collect())
    }

    /// What of it the daemon can look for by itself, to find older runs.
    #[must_use]
    pub fn query(&self, flows: &dyn Fn(&str) -> bool) -> RunQuery {
        let mut query = RunQuery { limit: PAGE, ..RunQuery::default() };
        for term in self.0.iter().filter(|term| !term.not) {
            match term.of {
                Of::State if query.states.is_empty() => {
                    let word = |state: &RunState| state.word().replace(' ', "_");
                    query.states = STATES.iter().copied().filter(|state| word(state).contains(&term.text)).collect();
                }
                Of::Flow if flows(&term.text) => query.flow = Some(term.text.clone()),
                _ => {}
            }
        }
        query
    }

    /// Whether a row passes all terms.
    #[must_use]
    pub fn takes(&self, row: &Row<'_>) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let columns = match row {
            Row::Run(head) => [
                head.state.word().replace(' ', "_"),
                head.flow.clone(),
                head.step.clone(),
                head.run.to_string(),
                head.trigger.clone(),
            ],
            Row::Held(row) => {
                ["held".to_owned(), row.flow.clone(), String::new(), row.event.to_string(), row.trigger.clone()]
            }
        }
        .map(|column| column.to_lowercase());
        let [state, flow, step, run, trigger] = &columns;
        self.0.iter().all(|term| {
            let found = match term.of {
                Of::Any => columns.iter().any(|column| column.contains(&term.text)),
                Of::State => state.contains(&term.text),
                Of::Flow => flow.contains(&term.text),
                Of::Step => step.contains(&term.text),
                Of::Run => run.contains(&term.text),
                Of::Trigger => trigger.contains(&term.text),
            };
            found != term.not
        })
    }
}

fn term(word: &str) -> Term {
    let (not, word) = word.strip_prefix('!').map_or((false, word), |rest| (true, rest));
    let (of, text) = match word.split_once(':') {
        Some(("state" | "s", text)) => (Of::State, text),
        Some(("flow" | "f", text)) => (Of::Flow, text),
        Some(("step", text)) => (Of::Step, text),
        Some(("run" | "id", text)) => (Of::Run, text),
        Some(("trigger" | "t", text)) => (Of::Trigger, text),
        _ => (Of::Any, word),
    };
    Term { not, of, text: text.to_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_is_asked_for_what_it_can_look_for() {
        let check = |text: &str, states: &[RunState], flow: Option<&str>| {
            let query = Filter::read(text).query(&|name| name == "shop");
            assert_eq!((query.states.as_slice(), query.flow.as_deref()), (states, flow), "{text}");
        };
        check("", &[], None);
        check("s:failed flow:shop mail", &[RunState::Failed], Some("shop"));
        check("!s:failed flow:sho", &[], None);
        check("state:in_doubt", &[RunState::InDoubt], None);
    }

    #[test]
    fn terms_are_joined_by_and() {
        let store = crate::fixture::store();
        let check = |text: &str, expected: usize| {
            let filter = Filter::read(text);
            let count = store.runs.values().filter(|head| filter.takes(&Row::Run(head))).count();
            assert_eq!(count, expected, "{text}");
        };
        let all = store.runs.len();
        check("", all);
        check("state:", all);
        check("s:failed", 1);
        check("!s:failed", all - 1);
        check("flow:refund state:in_doubt", 1);
        check("REFUND !in_doubt", 2);
        check("nothing-like-that", 0);
    }
}
