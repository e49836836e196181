//! The one table of keys: it drives what keys do, the footer, the palette, the help overlay and `docs/keys.md`.
//!
//! Invariant: a key that is not in this table does nothing, and inside one context no key stands twice. A person's
//! settings may give a command other keys; [`Keys`] is the table after that.

use std::borrow::Cow;
use std::collections::BTreeMap;

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
    /// In the list of flows.
    Flows,
    /// In one flow.
    Flow,
    /// In the list of events.
    Events,
    /// In the list of schedules.
    Schedules,
    /// On the screen of webhooks.
    Hooks,
    /// In the list of subscriptions.
    Subscriptions,
}

impl Context {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Everywhere,
        Self::Runs,
        Self::Run,
        Self::Flows,
        Self::Flow,
        Self::Events,
        Self::Schedules,
        Self::Hooks,
        Self::Subscriptions,
    ];

    /// Title in help and docs.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Everywhere => "Everywhere",
            Self::Runs => "Runs",
            Self::Run => "Run",
            Self::Flows => "Flows",
            Self::Flow => "Flow",
            Self::Events => "Events",
            Self::Schedules => "Schedules",
            Self::Hooks => "Hooks",
            Self::Subscriptions => "Subscriptions",
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
    Pause,
    Vote,
    Resolve,
    Replay,
    Retry,
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
    GoRuns,
    GoFlows,
    GoEvents,
    GoSchedules,
    Backfill,
    GoSubscriptions,
    SendTest,
    Rotate,
    Recover,
    GiveUp,
    ShowLog,
    Edit,
    Switch,
    RunNow,
    Publish,
    RunsOf,
    EventsOf,
    CopyUrl,
    Simulate,
    Listen,
    GoHooks,
    Claim,
    Doctor,
}

/// A row of the table.
#[derive(Clone, Debug)]
pub struct Bind {
    /// Where.
    pub context: Context,
    /// Keys as people write them, between blanks.
    pub keys: Cow<'static, str>,
    /// What.
    pub command: Command,
    /// Word in the footer; empty: not in the footer.
    pub foot: &'static str,
    /// Sentence in help and docs.
    pub help: &'static str,
}

const fn bind(context: Context, keys: &'static str, command: Command, foot: &'static str, help: &'static str) -> Bind {
    Bind { context, keys: Cow::Borrowed(keys), command, foot, help }
}

use Command as C;
use Context::{Events, Everywhere, Flow, Flows, Hooks, Run, Runs, Schedules, Subscriptions};

/// All keys.
pub const TABLE: &[Bind] = &[
    bind(Runs, "enter l right", C::Enter, "open", "Open the selected run"),
    bind(Runs, "/", C::Filter, "filter", "Filter: words, !word for without, state: flow: step: run: for one column"),
    bind(Runs, "space", C::Mark, "mark", "Mark or unmark the selected run; actions then apply to all marked"),
    bind(Runs, "c", C::Cancel, "cancel", "Ask the selected or marked runs to end, after a question"),
    bind(Runs, ".", C::Freeze, "freeze", "Freeze the list, or let it live again; it counts what it hides"),
    bind(Runs, "y", C::Copy, "copy id", "Copy the run's id"),
    bind(Run, "a", C::Vote, "approve", "Decide about what a step asks people: approve, reject"),
    bind(Run, "R", C::Resolve, "resolve", "Decide about a step in doubt: it happened, send again, it failed"),
    bind(Run, "tab", C::Pane, "pane", "Next pane: steps, payload, log"),
    bind(Run, "backtab", C::PaneBack, "", "Pane before"),
    bind(Run, "c", C::Cancel, "cancel", "Ask the run to end, after a question"),
    bind(Run, "P", C::Pause, "pause", "Hold the run where it is, or let it go on, after a question"),
    bind(Run, "r", C::Replay, "again", "Run again from the selected step: first what that would send"),
    bind(
        Run,
        "F",
        C::Retry,
        "",
        "Run again from the step that failed, on the published version: first what that would send",
    ),
    bind(Run, "i", C::Input, "input", "Show the input of the selected step"),
    bind(Run, "o", C::Output, "output", "Show the output of the selected step"),
    bind(Run, "e", C::Error, "error", "Show the error of the selected step"),
    bind(Run, "f", C::Fold, "fold", "Fold the payload: everything, one level, two, three"),
    bind(Run, "]", C::NextWindow, "", "Next window of a large payload"),
    bind(Run, "[", C::PriorWindow, "", "Window before of a large payload"),
    bind(Run, "w", C::Wrap, "", "Wrap long payload lines, or cut them"),
    bind(Run, ".", C::Follow, "follow", "Follow the log, or stay where you are"),
    bind(Run, "z", C::Zoom, "zoom", "Show only this pane, or all"),
    bind(Run, "y", C::Copy, "", "Copy the selected step's id"),
    bind(Run, "Y", C::CopyId, "copy id", "Copy the run's id"),
    bind(Flows, "enter l right", C::Enter, "open", "Open the selected flow"),
    bind(Flows, "/", C::Filter, "filter", "Filter: words, !word for without, state: trigger: for one column"),
    bind(Flows, "e", C::Edit, "edit", "Edit the flow's text in your $EDITOR; it is checked and kept as draft"),
    bind(Flows, "r", C::RunNow, "run", "Start a run by hand, with an input"),
    bind(Flows, "s", C::Switch, "on/off", "Let the flow take events, or stop it, after a question"),
    bind(Flows, "P", C::Pause, "", "Hold the flow's events, or start what was held, after a question"),
    bind(Flows, "p", C::Publish, "publish", "Make the draft the published version, after a question"),
    bind(Flows, "f", C::RunsOf, "its runs", "Show this flow's runs"),
    bind(Flows, "v", C::EventsOf, "", "Show this flow's held, dropped and repeated events"),
    bind(Flows, "y", C::Copy, "", "Copy the flow's name"),
    bind(Flow, "tab", C::Pane, "pane", "Next pane: facts, text, findings"),
    bind(Flow, "backtab", C::PaneBack, "", "Pane before"),
    bind(Flow, "e", C::Edit, "edit", "Edit the flow's text in your $EDITOR; it is checked and kept as draft"),
    bind(Flow, "r", C::RunNow, "run", "Start a run by hand, with an input"),
    bind(Flow, "s", C::Switch, "on/off", "Let the flow take events, or stop it, after a question"),
    bind(Flow, "P", C::Pause, "pause", "Hold the flow's events, or start what was held, after a question"),
    bind(Flow, "p", C::Publish, "publish", "Make the draft the published version, after a question"),
    bind(Flow, "d", C::Fold, "draft", "Show the draft's text, or the published one"),
    bind(Flow, "f", C::RunsOf, "its runs", "Show this flow's runs"),
    bind(Flow, "v", C::EventsOf, "events", "Show this flow's held, dropped and repeated events"),
    bind(
        Flow,
        "t",
        C::Simulate,
        "try",
        "Simulate the flow, or up to a step, or one step; or do one step really, after a question",
    ),
    bind(Flow, "l", C::Listen, "listen", "Show the next event of a trigger at an address of its own; nothing starts"),
    bind(Flow, "B", C::Backfill, "", "Run the flow over past objects: the plan is shown first"),
    bind(Flow, "z", C::Zoom, "zoom", "Show only this pane, or all"),
    bind(Flow, "y", C::CopyUrl, "copy URL", "Copy the URL of the flow's endpoint"),
    bind(Flow, "Y", C::CopyId, "", "Copy the flow's name"),
    bind(
        Events,
        "enter l right",
        C::Enter,
        "open",
        "Open the run that the event began or repeats, or the event's text",
    ),
    bind(Events, "/", C::Filter, "filter", "Filter: words, !word for without, state: flow: trigger: for one column"),
    bind(Events, "tab", C::Pane, "pane", "The list, or what was delivered"),
    bind(Events, "z", C::Zoom, "zoom", "Show only this pane, or both"),
    bind(Events, "y", C::Copy, "copy id", "Copy the event's id"),
    bind(Schedules, "enter l right", C::Enter, "last run", "Open the run of the instant that fired last"),
    bind(Schedules, "/", C::Filter, "filter", "Filter: words, !word for without, state: flow: trigger: for one column"),
    bind(Schedules, "r", C::RunNow, "run now", "Start one run now, after a question; the schedule does not move"),
    bind(Schedules, "P", C::Pause, "pause", "Let this schedule rest, or go on, after a question; its flow goes on"),
    bind(
        Schedules,
        "b",
        C::Backfill,
        "backfill",
        "Runs of past instants: first which they would be; or end a backfill",
    ),
    bind(Schedules, "f", C::RunsOf, "its runs", "Show the flow's runs"),
    bind(Schedules, "v", C::EventsOf, "", "Show the flow's held, dropped and repeated events"),
    bind(
        Schedules,
        "z",
        C::Zoom,
        "",
        "Show only the list, or the selected one too; on a small screen one or the other",
    ),
    bind(Schedules, "y", C::Copy, "", "Copy flow and trigger"),
    bind(Subscriptions, "enter l right", C::Enter, "open", "The sendings of the selected one; there, the attempts"),
    bind(Subscriptions, "/", C::Filter, "filter", "Filter: words, !word for without, state: customer: type: for one"),
    bind(Subscriptions, "t", C::SendTest, "test", "Send a test event, and show what came back"),
    bind(Subscriptions, "s", C::Switch, "on/off", "Send to it, or stop, after a question"),
    bind(Subscriptions, "r", C::Replay, "again", "Send the selected message again, after a question"),
    bind(Subscriptions, "F", C::Recover, "recover", "Send again what failed since a time"),
    bind(Subscriptions, "R", C::Rotate, "rotate", "Make a new secret; the one before signs beside it for a while"),
    bind(Subscriptions, "x", C::GiveUp, "", "Give the selected message up, after a question"),
    bind(Subscriptions, "tab", C::Pane, "pane", "The list, or what was sent"),
    bind(Subscriptions, "backtab", C::PaneBack, "", "Pane before"),
    bind(Subscriptions, "z", C::Zoom, "zoom", "Show only this pane, or both"),
    bind(Subscriptions, "y", C::Copy, "", "Copy the name, or the message's id"),
    bind(Everywhere, "1", C::GoRuns, "", "Runs"),
    bind(Everywhere, "2", C::GoFlows, "", "Flows"),
    bind(Everywhere, "3", C::GoEvents, "", "Events that were held, dropped or repeated"),
    bind(Everywhere, "4", C::GoSchedules, "", "Schedules: what fires next, over all flows"),
    bind(Hooks, "enter l right", C::Enter, "open", "The endpoint's deliveries, the delivery in full, then its run"),
    bind(Hooks, "/", C::Filter, "filter", "Filter: words, !word for without, state: flow: from: for one column"),
    bind(Hooks, "tab", C::Pane, "pane", "Next pane: endpoints, deliveries, one delivery"),
    bind(Hooks, "backtab", C::PaneBack, "", "Pane before"),
    bind(Hooks, "r", C::Replay, "replay", "Deliver the selected delivery once more, after a question"),
    bind(Hooks, "c", C::Claim, "claim", "Let an endpoint take the selected delivery, if it proves itself there"),
    bind(
        Hooks,
        "R",
        C::Rotate,
        "rotate",
        "Give the endpoint a new secret or address; the one before goes on for a while",
    ),
    bind(Hooks, "P", C::Pause, "close", "Close the endpoint, or let it take deliveries again, after a question"),
    bind(Hooks, "d", C::Doctor, "doctor", "Prove the endpoint's public address end to end"),
    bind(Hooks, "z", C::Zoom, "zoom", "Show only this pane, or all"),
    bind(Hooks, "y", C::CopyUrl, "copy URL", "Copy the endpoint's URL"),
    bind(Hooks, "Y", C::Copy, "", "Copy the delivery's id"),
    bind(Everywhere, "5", C::GoHooks, "", "Webhooks: endpoints and what came to them"),
    bind(Everywhere, "6", C::GoSubscriptions, "", "Subscriptions: who is sent which events, and what became of them"),
    bind(Everywhere, "j down", C::Down, "", "Down"),
    bind(Everywhere, "k up", C::Up, "", "Up"),
    bind(Everywhere, "ctrl-d pgdn", C::HalfDown, "", "Half a page down"),
    bind(Everywhere, "ctrl-u pgup", C::HalfUp, "", "Half a page up"),
    bind(Everywhere, "g home", C::Top, "", "To the top"),
    bind(Everywhere, "G end", C::Bottom, "", "To the bottom"),
    bind(Everywhere, "?", C::Help, "keys", "These keys; type to search by word or key"),
    bind(
        Everywhere,
        ": ctrl-p",
        C::Palette,
        "all",
        "Everything: screens, what can be done here, commands, flows, runs",
    ),
    bind(Everywhere, "@", C::ShowLog, "log", "The command line's twin of everything done here, or hide it"),
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

/// The table after a person's settings.
#[derive(Clone, Debug)]
pub struct Keys(Vec<Bind>);

impl Default for Keys {
    fn default() -> Self {
        Self(TABLE.to_vec())
    }
}

impl Keys {
    /// The table with other keys for some commands: `[keys.runs]`, `cancel = "x"`.
    ///
    /// # Errors
    /// A sentence: no such screen or command, not a key, or a key that stands twice.
    pub fn with(changes: &BTreeMap<String, BTreeMap<String, String>>) -> Result<Self, String> {
        let mut table = TABLE.to_vec();
        for (screen, commands) in changes {
            let context = Context::ALL
                .into_iter()
                .find(|context| context.title().eq_ignore_ascii_case(screen))
                .ok_or_else(|| format!("`keys.{screen}`: there is no such screen; say everywhere, runs, run, …"))?;
            for (command, keys) in commands {
                let place = table.iter_mut().find(|bind| bind.context == context && bind.command.word() == *command);
                let bind = place.ok_or_else(|| format!("`keys.{screen}.{command}`: no such command on this screen"))?;
                if keys.split(' ').any(|key| !is_key(key)) {
                    return Err(format!(
                        "`keys.{screen}.{command}`: `{keys}` is no key, write like x, X, ctrl-x or pgup"
                    ));
                }
                bind.keys = Cow::Owned(keys.clone());
            }
        }
        for context in Context::ALL {
            let mut seen = std::collections::BTreeSet::new();
            for key in table.iter().filter(|bind| bind.context == context).flat_map(|bind| bind.keys.split(' ')) {
                if !seen.insert(key) {
                    return Err(format!("`keys`: {key} stands twice on the screen {}", context.title().to_lowercase()));
                }
            }
        }
        Ok(Self(table))
    }

    /// What a key means on a screen.
    #[must_use]
    pub fn meaning(&self, context: Context, key: KeyEvent) -> Option<Command> {
        let name = name(key)?;
        let of = |wanted: Context| {
            self.0.iter().find(|bind| bind.context == wanted && bind.keys.split(' ').any(|key| key == name))
        };
        of(context).or_else(|| of(Everywhere)).map(|bind| bind.command)
    }

    /// Rows of a screen, its own first, then those of every screen.
    pub fn of(&self, context: Context) -> impl Iterator<Item = &Bind> {
        let rows = move |wanted: Context| self.0.iter().filter(move |bind| bind.context == wanted);
        rows(context).chain(rows(Everywhere))
    }

    /// Rows for a screen's footer, its own first; then how many of them are its own.
    pub fn foot(&self, context: Context, applies: &dyn Fn(Command) -> bool) -> (Vec<(&str, &'static str)>, usize) {
        let rows: Vec<&Bind> = self.of(context).filter(|bind| !bind.foot.is_empty() && applies(bind.command)).collect();
        let own = rows.iter().filter(|bind| bind.context == context).count();
        (rows.into_iter().map(|bind| (bind.keys.split(' ').next().unwrap_or_default(), bind.foot)).collect(), own)
    }

    /// Rows of help for a screen that match a text by key or word.
    pub fn help(&self, context: Context, search: &str) -> Vec<&Bind> {
        let wanted = search.trim().to_lowercase();
        let fits = |bind: &&Bind| {
            wanted.is_empty()
                || bind.keys.split(' ').any(|key| key == search.trim())
                || bind.help.to_lowercase().contains(&wanted)
        };
        self.of(context).filter(fits).collect()
    }
}

impl Command {
    /// Its name in the settings file: `half-down` for `HalfDown`.
    #[must_use]
    pub fn word(self) -> String {
        let mut out = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_uppercase() && !out.is_empty() {
                out.push('-');
            }
            out.extend(letter.to_lowercase());
        }
        out
    }
}

fn is_key(text: &str) -> bool {
    const NAMED: &[&str] = &[
        "space",
        "enter",
        "esc",
        "tab",
        "backtab",
        "up",
        "down",
        "left",
        "right",
        "pgup",
        "pgdn",
        "home",
        "end",
        "backspace",
    ];
    let single = |text: &str| text.chars().count() == 1 && !text.chars().any(char::is_whitespace);
    NAMED.contains(&text) || single(text) || text.strip_prefix("ctrl-").is_some_and(single)
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

/// `docs/keys.md`.
#[cfg(test)]
#[must_use]
pub fn page() -> String {
    let mut out = String::from(
        "# Keys\n\nGenerated from the key table of the client; a test keeps it true. `?` shows the same on screen.\n",
    );
    for context in Context::ALL {
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
    use super::*;

    fn changed(screen: &str, command: &str, keys: &str) -> Result<Keys, String> {
        let commands = BTreeMap::from([(command.to_owned(), keys.to_owned())]);
        Keys::with(&BTreeMap::from([(screen.to_owned(), commands)]))
    }

    #[test]
    fn no_key_stands_twice_in_a_context_and_every_key_is_one() {
        Keys::with(&BTreeMap::new()).unwrap();
        for bind in TABLE {
            assert!(bind.keys.split(' ').all(is_key), "{bind:?}");
        }
    }

    #[test]
    fn a_person_may_give_a_command_other_keys_but_no_key_two_commands() {
        let keys = changed("runs", "cancel", "x ctrl-k").unwrap();
        let press = |letter| KeyEvent::new(KeyCode::Char(letter), KeyModifiers::NONE);
        assert_eq!(keys.meaning(Runs, press('x')), Some(Command::Cancel));
        assert_eq!(keys.meaning(Runs, press('c')), None);
        assert_eq!(keys.meaning(Run, press('c')), Some(Command::Cancel));
        assert!(changed("runs", "cancel", "y").unwrap_err().contains("y stands twice on the screen runs"));
        assert!(changed("runs", "cancel", "hyper-x").unwrap_err().contains("is no key"));
        assert!(changed("runs", "cancel", "").unwrap_err().contains("is no key"));
        assert_eq!(Command::HalfDown.word(), "half-down");
    }

    #[test]
    fn help_finds_by_word_and_by_key() {
        let check = |search: &str, expected: Command| {
            let found: Vec<Command> = Keys::default().help(Runs, search).iter().map(|bind| bind.command).collect();
            assert!(found.contains(&expected), "{search}: {found:?}");
        };
        check("suspend", Command::Suspend);
        check("ctrl-z", Command::Suspend);
        check("/", Command::Filter);
        assert!(Keys::default().help(Runs, "no such thing").is_empty());
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
