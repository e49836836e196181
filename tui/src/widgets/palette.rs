//! What the palette offers for a text: screens, what can be done here, commands, flows, runs; best first.
//!
//! Invariant: rows come from the tables that everything else reads (keys, the command line's definition, the
//! store); nothing is listed twice by hand.

use std::sync::OnceLock;

use aura_protocol::text::display;
use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};

use crate::action::{Action, Place, Request};
use crate::cli::table::{self, Row};
use crate::keymap::{Command, Context, Keys};
use crate::store::Store;

/// Most rows offered.
pub const OFFERS_MAX: usize = 100;
/// What a fitting name is worth beyond a fitting sentence.
const NAMED: u32 = 60;
/// What the whole name is worth.
const EXACT: u32 = 1_000;
/// Most runs looked at.
const RUNS_MAX: usize = 2_000;

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// What it is.
    pub text: String,
    /// Its key, or the kind of thing it is.
    pub side: String,
    /// What it does.
    pub action: Action,
}

fn commands() -> &'static [Row] {
    static ROWS: OnceLock<Vec<Row>> = OnceLock::new();
    ROWS.get_or_init(table::rows)
}

/// What stands around an overlay.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// What we know.
    pub store: &'a Store,
    /// The table of keys.
    pub keys: &'a Keys,
    /// The screen below.
    pub context: Context,
}

/// What is offered for a text, best first.
#[must_use]
pub fn offers(text: &str, around: &Around<'_>) -> Vec<Offer> {
    let wanted = text.trim();
    let mut out = Vec::new();
    if wanted == "q" {
        // `:q` leaves, as in editors.
        out.push(Offer { text: "quit".to_owned(), side: "Q".to_owned(), action: Action::Quit });
    }
    out.extend(typed(wanted));
    let bare = wanted.strip_prefix("aura ").unwrap_or(wanted);
    let mut scored = Vec::new();
    let mut matcher = Matcher::new(Config::DEFAULT);
    let pattern = Pattern::parse(wanted, CaseMatching::Ignore, Normalization::Smart);
    let mut cells = Vec::new();
    // The name counts before what is said about it.
    let mut weigh = |name: &str, offer: Offer, bonus: u32| {
        let exact = if name.strip_prefix("aura ").unwrap_or(name) == bare { EXACT } else { 0 };
        let named = pattern.score(Utf32Str::new(name, &mut cells), &mut matcher).map(|score| score + NAMED + exact);
        let score = named.or_else(|| pattern.score(Utf32Str::new(&offer.text, &mut cells), &mut matcher));
        if let Some(score) = score {
            scored.push((score + bonus, offer));
        }
    };
    for bind in around.keys.of(around.context).filter(|bind| offered(bind.command)) {
        let name = bind.command.word();
        let text = format!("{name}  {}", bind.help);
        let side = bind.keys.split(' ').next().unwrap_or_default().to_owned();
        weigh(&name, Offer { text, side, action: Action::Do(bind.command) }, 24);
    }
    for row in commands() {
        let name = format!("aura {}", row.words);
        let text = format!("{name}  {}", row.about);
        let action = if row.needs_more {
            Action::Line(format!("{} ", row.words), row.usage.clone())
        } else {
            Action::Run(row.words.split(' ').map(str::to_owned).collect())
        };
        weigh(&name, Offer { text, side: "command".to_owned(), action }, 8);
    }
    for flow in around.store.catalog.rows.values() {
        let text = format!("{}  {}", display(&flow.flow), display(&flow.title));
        let action = Action::Go(Place::Flow(flow.id));
        weigh(&flow.flow, Offer { text, side: "flow".to_owned(), action }, 12);
    }
    for head in around.store.runs.values().rev().take(RUNS_MAX) {
        let text = format!("{}  {}  {}", head.run, display(&head.flow), head.state.word());
        let action = Action::Go(Place::Run(head.run));
        weigh(&text.clone(), Offer { text, side: "run".to_owned(), action }, 0);
    }
    // Best first; what is as good stays in the order above.
    if !wanted.is_empty() {
        scored.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    }
    out.extend(scored.into_iter().map(|(_, offer)| offer).take(OFFERS_MAX));
    let id = wanted.len() >= 4 && wanted.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    // Nearly every part of an id has a digit, and words have none.
    if id && (out.is_empty() || wanted.contains(|c: char| c.is_ascii_digit())) {
        out.push(Offer {
            text: format!("look for run {}", display(wanted)),
            side: "run".to_owned(),
            action: Action::Ask(Request::Find(wanted.to_owned())),
        });
    }
    out
}

/// A whole command line was typed: it is offered as it stands.
fn typed(wanted: &str) -> Option<Offer> {
    let line = wanted.strip_prefix("aura ").unwrap_or(wanted);
    let follows = |row: &&Row| line.strip_prefix(&row.words).is_some_and(|rest| rest.starts_with(' '));
    let row = commands().iter().find(follows)?;
    let words = crate::words::split(line).ok()?;
    let known = row.words.split(' ').count();
    (words.len() > known).then(|| Offer {
        text: format!("aura {}", display(line)),
        side: "run it".to_owned(),
        action: Action::Run(words),
    })
}

/// Whether a key's command makes sense in the palette: moving and typing does not.
fn offered(command: Command) -> bool {
    use Command as C;
    !matches!(
        command,
        C::Up | C::Down | C::HalfUp | C::HalfDown | C::Top | C::Bottom | C::Palette | C::Clear | C::Back | C::Enter
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(text: &str, context: Context) -> Offer {
        let (store, keys) = (crate::fixture::store(), Keys::default());
        let around = Around { store: &store, keys: &keys, context };
        offers(text, &around).into_iter().next().unwrap_or_else(|| panic!("nothing for {text}"))
    }

    #[test]
    fn few_letters_find_what_is_meant() {
        let check = |text: &str, context, part: &str| {
            let offer = first(text, context);
            assert!(offer.text.contains(part), "{text}: {offer:?}");
        };
        check("q", Context::Runs, "quit");
        check("cancel", Context::Runs, "cancel  Ask the selected");
        check("go flows", Context::Runs, "go-flows");
        check("flpub", Context::Runs, "aura flow publish");
        check("aura doctor", Context::Run, "aura doctor");
        check("refund-sync failed", Context::Runs, "refund-sync  failed");
        check("status --json", Context::Runs, "aura status --json");
        assert_eq!(first("status --json", Context::Runs).action, Action::Run(vec!["status".into(), "--json".into()]));
        assert_eq!(first("flow publish", Context::Runs).action, Action::Line("flow publish ".into(), "<NAME>".into()));
    }

    #[test]
    fn each_row_of_what_can_be_done_here_shows_its_key() {
        let offer = first("resolve decide about", Context::Run);
        assert_eq!((offer.side.as_str(), offer.action), ("R", Action::Do(Command::Resolve)));
    }
}
