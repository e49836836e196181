//! Every command as a row, from the definitions: what the palette of the screens offers.
//!
//! Invariant: nothing is listed by hand, so a new command appears by itself; only those that need the whole
//! terminal, or make no sense on a screen, are named here.

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its words after `aura`.
    pub words: String,
    /// What it does.
    pub about: String,
    /// It cannot be run without more words.
    pub needs_more: bool,
    /// What may follow, as in `<NAME> [--draft]`.
    pub usage: String,
}

/// Commands that take the whole terminal: they ask, open an editor or never end.
const WHOLE: &[&str] = &[
    "flow edit",
    "webhook rotate",
    "webhook delete",
    "webhook deliveries --follow",
    "flow listen",
    "flow try",
    "connection add",
    "relay add",
    "tail",
    "run tail",
    "listen",
    "connect",
    "onboard",
    "support bundle",
];
/// Commands that make no sense within the screens.
const APART: &[&str] = &["demo", "stdio", "completions", "man"];

/// Whether a command line takes the whole terminal.
#[must_use]
pub fn takes_terminal(words: &[String]) -> bool {
    let line = words.join(" ");
    let begins = |known: &&str| line == **known || line.starts_with(&format!("{known} "));
    WHOLE.iter().any(begins) || words.iter().any(|word| word == "-")
}

/// All commands.
#[must_use]
pub fn rows() -> Vec<Row> {
    let mut whole = super::definition();
    whole.build();
    let mut out = Vec::new();
    add(&whole, "", &mut out);
    out
}

fn add(command: &clap::Command, before: &str, out: &mut Vec<Row>) {
    for below in command.get_subcommands().filter(|below| below.get_name() != "help" && !below.is_hide_set()) {
        let words = format!("{before}{}", below.get_name());
        if below.get_subcommands().next().is_some() {
            add(below, &format!("{words} "), out);
        } else if !APART.contains(&words.as_str()) {
            let about = below.get_about().map(ToString::to_string).unwrap_or_default();
            let own = below.get_arguments().filter(|arg| !arg.is_global_set() && arg.get_id() != "help");
            let mut usage = Vec::new();
            for arg in own {
                let text = arg.to_string();
                let text = if arg.is_positional() || arg.is_required_set() { text } else { format!("[{text}]") };
                usage.push(text);
            }
            let group = below.get_groups().any(clap::ArgGroup::is_required_set);
            let needs_more = group || below.get_arguments().any(clap::Arg::is_required_set);
            out.push(Row { words, about, needs_more, usage: usage.join(" ") });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_there_by_themselves_and_say_whether_they_need_more() {
        let rows = rows();
        let row = |words: &str| rows.iter().find(|row| row.words == words).unwrap_or_else(|| panic!("{words}"));
        assert!(!row("flow list").needs_more && !row("status").needs_more);
        assert!(row("flow publish").needs_more && row("run resolve").needs_more);
        assert_eq!(row("flow publish").usage, "<NAME>");
        assert!(!rows.iter().any(|row| row.words == "demo" || row.words.contains("help")));
    }

    #[test]
    fn what_asks_or_never_ends_takes_the_terminal() {
        let check = |line: &str, expected| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(takes_terminal(&words), expected, "{line}");
        };
        check("flow edit shop", true);
        check("tail", true);
        check("run tail 4XK2", true);
        check("flow apply -", true);
        check("run list", false);
        check("tailor", false);
    }
}
