//! The filter of the list: the words of `aura run list --filter`, read while they are typed.
//!
//! Invariant: reading never fails; what is no word of a filter is a text that must occur. Words about payloads and labels
//! are the daemon's to answer: its runs are shown as it gives them.

use aura_protocol::filter::{self, Columns, Key, Op, Operand};
use aura_protocol::rpc::RunQuery;

use super::Row;

/// Older runs read at a time.
const PAGE: u32 = 500;

/// A filter that was read.
pub struct Filter {
    text: String,
    read: filter::Filter,
}

impl Filter {
    /// Reads the words of a text.
    #[must_use]
    pub fn read(text: &str) -> Self {
        Self { text: text.to_owned(), read: filter::Filter::typed(text) }
    }

    /// What of it the daemon looks for, to find older runs.
    #[must_use]
    pub fn query(&self, flows: &dyn Fn(&str) -> bool) -> RunQuery {
        let mut query = RunQuery { limit: PAGE, ..RunQuery::default() };
        let mut more = false;
        for term in &self.read.terms {
            let text = match (&term.with, term.not) {
                (Operand::Texts(texts), false) => texts.first().map(String::as_str).unwrap_or_default(),
                _ => "",
            };
            match term.key {
                Key::State if query.states.is_empty() && !term.not => {
                    let fits = |name: &str| match (&term.with, term.op) {
                        (Operand::Texts(texts), Op::Is) => texts.iter().any(|text| text == name),
                        _ => name.contains(text),
                    };
                    let known = filter::STATES.iter().filter(|(name, _)| fits(name));
                    query.states = known.map(|(_, state)| *state).collect();
                }
                Key::Flow if flows(text) => query.flow = Some(text.to_owned()),
                Key::Any | Key::State | Key::Flow | Key::Step | Key::Run | Key::Trigger => {}
                _ => more = true,
            }
        }
        // Half a word is not asked for.
        query.filter = Some(self.text.clone()).filter(|text| more && filter::Filter::read(text).is_ok());
        query
    }

    /// Whether a row passes all words that it can answer.
    #[must_use]
    pub fn takes(&self, row: &Row<'_>, now_ms: i64) -> bool {
        if self.read.terms.is_empty() {
            return true;
        }
        let columns = match row {
            Row::Run(head) => Columns::of(head, None),
            Row::Held(row) => Columns {
                state: "held",
                flow: &row.flow,
                trigger: &row.trigger,
                id: row.event.to_string(),
                why: &row.reason,
                created_ms: row.delivery.received_ms,
                ..Columns::default()
            },
        };
        self.read.row(&columns, now_ms)
    }

    /// Whether the daemon alone can answer some of its words.
    #[must_use]
    pub fn needs_daemon(&self) -> bool {
        self.read.terms.iter().any(|term| matches!(term.key, Key::Payload(_) | Key::Subject | Key::Label(_)))
    }
}

#[cfg(test)]
mod tests {
    use aura_protocol::run::RunState;

    use super::*;

    #[test]
    fn the_daemon_is_asked_for_what_it_can_look_for() {
        let check = |text: &str, states: &[RunState], flow: Option<&str>, filter: Option<&str>| {
            let query = Filter::read(text).query(&|name| name == "shop");
            let said = (query.states.as_slice(), query.flow.as_deref(), query.filter.as_deref());
            assert_eq!(said, (states, flow, filter), "{text}");
        };
        check("", &[], None, None);
        check("s:failed flow:shop mail", &[RunState::Failed], Some("shop"), None);
        check("!s:failed flow:sho", &[], None, None);
        check("state:in_doubt", &[RunState::InDoubt], None, None);
        check("state=failed,queued", &[RunState::Queued, RunState::Failed], None, None);
        check("flow=shop trigger.body.id=7", &[], Some("shop"), Some("flow=shop trigger.body.id=7"));
        check("since=1h", &[], None, Some("since=1h"));
        check("took>", &[], None, None);
    }

    #[test]
    fn terms_are_joined_by_and() {
        let store = crate::fixture::store();
        let check = |text: &str, expected: usize| {
            let filter = Filter::read(text);
            let count = store.runs.values().filter(|head| filter.takes(&Row::Run(head), crate::fixture::NOW)).count();
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
        check("older=100d", 0);
    }
}
