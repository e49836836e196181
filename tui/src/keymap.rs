//! The one table of keys: it drives what keys do, the footer, the help overlay and `docs/keys.md`.
//!
//! Invariant: a key that is not in this table does nothing, and inside one context no key stands twice.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Where a key counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// On every screen.
    Everywhere,
    /// In the list of runs.
    Runs,
    /// In one run.
    Run,
}

impl Context {
    /// Title in help and docs.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Everywhere => "Everywhere",
            Self::Runs => "Runs",
            Self::Run => "Run",
        }
    }
}

/// What a key means; the screen in front decides what that does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant is explained in the table below, which people read too")]
pub enum Command {
    Up,
    Down,
    HalfUp,
    HalfDown,
    Top,
    Bottom,
    Enter,
    Back,
    Leave,
    Clear,
    Help,
    Palette,
    Last,
    Redraw,
    Suspend,
    Filter,
    Mark,
    Freeze,
    Cancel,
    Resolve,
    Pane,
    PaneBack,
    Zoom,
    Fold,
    Input,
    Output,
    Error,
    NextWindow,
    PriorWindow,
    Follow,
    Copy,
    CopyId,
    Wrap,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Bind {
    /// Where.
    pub context: Context,
    /// Keys as people write them, between blanks.
    pub keys: &'static str,
    /// What.
    pub command: Command,
    /// Word in the footer; empty: not in the footer.
    pub foot: &'static str,
    /// Sentence in help and docs.
    pub help: &'static str,
}

const fn bind(context: Context, keys: &'static str, command: Command, foot: &'static str, help: &'static str) -> Bind {
    Bind { context, keys, command, foot, help }
}

use Command as C;
use Context::{Everywhere, Run, Runs};

/// All keys.
pub const TABLE: &[Bind] = &[
    bind(Runs, "enter l right", C::Enter, "open", "Open the selected run"),
    bind(Runs, "/", C::Filter, "filter", "Filter: words, !word for without, state: flow: step: run: for one column"),
    bind(Runs, "space", C::Mark, "mark", "Mark or unmark the selected run; actions then apply to all marked"),
    bind(Runs, "c", C::Cancel, "cancel", "Ask the selected or marked runs to end, after a question"),
    bind(Runs, ".", C::Freeze, "freeze", "Freeze the list, or let it live again; it counts what it hides"),
    bind(Runs, "y", C::Copy, "copy id", "Copy the run's id"),
    bind(Run, "tab", C::Pane, "pane", "Next pane: steps, payload, log"),
    bind(Run, "backtab", C::PaneBack, "", "Pane before"),
    bind(Run, "i", C::Input, "input", "Show the input of the selected step"),
    bind(Run, "o", C::Output, "output", "Show the output of the selected step"),
    bind(Run, "e", C::Error, "error", "Show the error of the selected step"),
    bind(Run, "f", C::Fold, "fold", "Fold the payload: everything, one level, two, three"),
    bind(Run, "]", C::NextWindow, "", "Next window of a large payload"),
    bind(Run, "[", C::PriorWindow, "", "Window before of a large payload"),
    bind(Run, "w", C::Wrap, "", "Wrap long payload lines, or cut them"),
    bind(Run, ".", C::Follow, "follow", "Follow the log, or stay where you are"),
    bind(Run, "z", C::Zoom, "zoom", "Show only this pane, or all"),
    bind(Run, "c", C::Cancel, "cancel", "Ask the run to end, after a question"),
    bind(Run, "R", C::Resolve, "resolve", "Decide about a step in doubt: it happened, send again, it failed"),
    bind(Run, "y", C::Copy, "", "Copy the selected step's id"),
    bind(Run, "Y", C::CopyId, "copy id", "Copy the run's id"),
    bind(Everywhere, "j down", C::Down, "", "Down"),
    bind(Everywhere, "k up", C::Up, "", "Up"),
    bind(Everywhere, "ctrl-d pgdn", C::HalfDown, "", "Half a page down"),
    bind(Everywhere, "ctrl-u pgup", C::HalfUp, "", "Half a page up"),
    bind(Everywhere, "g home", C::Top, "", "To the top"),
    bind(Everywhere, "G end", C::Bottom, "", "To the bottom"),
    bind(Everywhere, "?", C::Help, "keys", "These keys; type to search by word or key"),
    bind(Everywhere, ":", C::Palette, "go to", "Go to: runs, the id of a run, quit"),
    bind(Everywhere, "-", C::Last, "", "The screen before this one"),
    bind(
        Everywhere,
        "q esc h left",
        C::Back,
        "back",
        "One step back; on the first screen esc clears the filter and q asks to leave",
    ),
    bind(Everywhere, "Q", C::Leave, "", "Leave AURA"),
    bind(Everywhere, "ctrl-c", C::Clear, "", "Clear the field; without one, ask to leave"),
    bind(Everywhere, "ctrl-l", C::Redraw, "", "Draw everything anew"),
    bind(Everywhere, "ctrl-z", C::Suspend, "", "Suspend; `fg` in the shell comes back"),
];

/// What a key means on a screen.
#[must_use]
pub fn meaning(context: Context, key: KeyEvent) -> Option<Command> {
    let name = name(key)?;
    let of = |wanted: Context| {
        TABLE.iter().find(|bind| bind.context == wanted && bind.keys.split(' ').any(|key| key == name))
    };
    of(context).or_else(|| of(Everywhere)).map(|bind| bind.command)
}

/// A key as people write it.
#[must_use]
pub fn name(key: KeyEvent) -> Option<String> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    if key.modifiers.contains(KeyModifiers::ALT) {
        return None;
    }
    Some(match key.code {
        KeyCode::Char(' ') => "space".to_owned(),
        KeyCode::Char(c) if control => format!("ctrl-{}", c.to_ascii_lowercase()),
        KeyCode::Char(c) => c.to_string(),
        KeyCode::Enter => "enter".to_owned(),
        KeyCode::Esc => "esc".to_owned(),
        KeyCode::Tab => "tab".to_owned(),
        KeyCode::BackTab => "backtab".to_owned(),
        KeyCode::Up => "up".to_owned(),
        KeyCode::Down => "down".to_owned(),
        KeyCode::Left => "left".to_owned(),
        KeyCode::Right => "right".to_owned(),
        KeyCode::PageUp => "pgup".to_owned(),
        KeyCode::PageDown => "pgdn".to_owned(),
        KeyCode::Home => "home".to_owned(),
        KeyCode::End => "end".to_owned(),
        KeyCode::Backspace => "backspace".to_owned(),
        _ => return None,
    })
}

/// Rows for a screen's footer: key and word.
#[must_use]
pub fn foot(context: Context) -> Vec<(&'static str, &'static str)> {
    let shown = |wanted: Context| TABLE.iter().filter(move |bind| bind.context == wanted && !bind.foot.is_empty());
    shown(context)
        .chain(shown(Everywhere))
        .map(|bind| (bind.keys.split(' ').next().unwrap_or_default(), bind.foot))
        .collect()
}

/// Rows of help for a screen that match a text by key or word: own keys first.
#[must_use]
pub fn help(context: Context, search: &str) -> Vec<&'static Bind> {
    let wanted = search.trim().to_lowercase();
    let fits = |bind: &&Bind| {
        wanted.is_empty()
            || bind.keys.split(' ').any(|key| key == search.trim())
            || bind.help.to_lowercase().contains(&wanted)
    };
    let of = |of: Context| TABLE.iter().filter(move |bind| bind.context == of);
    of(context).chain(of(Everywhere)).filter(fits).collect()
}

/// `docs/keys.md`.
#[cfg(test)]
#[must_use]
pub fn page() -> String {
    let mut out = String::from(
        "# Keys\n\nGenerated from the key table of the client; a test keeps it true. `?` shows the same on screen.\n",
    );
    for context in [Everywhere, Runs, Run] {
        out.push_str(&format!("\n## {}\n\n| Keys | What they do |\n|---|---|\n", context.title()));
        for bind in TABLE.iter().filter(|bind| bind.context == context) {
            let keys: Vec<String> = bind.keys.split(' ').map(|key| format!("`{key}`")).collect();
            out.push_str(&format!("| {} | {} |\n", keys.join(" "), bind.help));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_key_stands_twice_in_a_context() {
        for context in [Everywhere, Runs, Run] {
            let mut seen = BTreeSet::new();
            for bind in TABLE.iter().filter(|bind| bind.context == context) {
                for key in bind.keys.split(' ') {
                    assert!(seen.insert(key), "`{key}` stands twice in {context:?}");
                }
            }
        }
    }

    #[test]
    fn help_finds_by_word_and_by_key() {
        let check = |search: &str, expected: Command| {
            let found: Vec<Command> = help(Runs, search).iter().map(|bind| bind.command).collect();
            assert!(found.contains(&expected), "{search}: {found:?}");
        };
        check("suspend", Command::Suspend);
        check("ctrl-z", Command::Suspend);
        check("/", Command::Filter);
        assert!(help(Runs, "no such thing").is_empty());
    }

    #[test]
    fn the_page_in_the_docs_is_this_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/keys.md");
        if std::env::var_os("AURA_WRITE_DOCS").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), page(), "write it anew with AURA_WRITE_DOCS=1");
    }
}
