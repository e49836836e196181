//! What a run asks people, and the decision: over the run's screen.
//!
//! Invariant: what is sent carries the hash of what is shown here; nothing is sent before `a` or `r` and `enter`.

use aura_protocol::approval::{FieldKind, Question};
use aura_protocol::rpc::{RunRef, RunVote};
use aura_protocol::text::{display, display_lines};
use aura_protocol::{Map, Value};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use unicode_width::UnicodeWidthStr;

use super::field::Field;
use crate::action::{Action, Request};
use crate::theme::Tone;

/// Lines of the form that are shown at first; `i` shows the whole.
const FORM_LINES: usize = 12;
/// Cells of a row.
pub const WIDTH: usize = 70;
/// Rows by which a page moves.
const PAGE: usize = 10;

/// One question and what was typed so far.
#[derive(Clone, Debug, PartialEq)]
pub struct VoteDialog {
    question: Question,
    /// Yes or no, once chosen.
    approve: Option<bool>,
    /// What is filled in, and last the comment.
    fields: Vec<Field>,
    at: usize,
    /// The whole form is shown, from this row on.
    whole: Option<usize>,
    /// What is wrong with what was typed.
    problem: String,
}

/// What a key did.
pub enum Voted {
    /// It stays.
    Stay,
    /// It closes; do this.
    Close(Vec<Action>),
}

impl VoteDialog {
    /// Opens a question.
    #[must_use]
    pub fn new(question: Question) -> Self {
        Self { question, approve: None, fields: Vec::new(), at: 0, whole: None, problem: String::new() }
    }

    /// Its title.
    #[must_use]
    pub fn title(&self) -> String {
        display(&format!("{} of {} asks", self.question.path, self.question.run.short()))
    }

    /// The field that is typed into.
    pub fn field(&mut self) -> Option<&mut Field> {
        self.fields.get_mut(self.at)
    }

    /// Takes a key.
    pub fn key(&mut self, key: KeyEvent) -> Voted {
        let stop = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
        if self.whole.is_some() && !stop {
            self.move_whole(key.code);
            return Voted::Stay;
        }
        let Some(approve) = self.approve else {
            match key.code {
                _ if stop => return Voted::Close(Vec::new()),
                KeyCode::Char('i') => self.whole = Some(0),
                KeyCode::Char('a') => self.choose(true),
                KeyCode::Char('r') => self.choose(false),
                _ => {}
            }
            return Voted::Stay;
        };
        match key.code {
            KeyCode::Enter if approve && self.finds_wrong() => {}
            KeyCode::Enter if self.at + 1 >= self.fields.len() => {
                return Voted::Close(vec![Action::Ask(Request::Vote(Box::new(self.vote(approve))))]);
            }
            KeyCode::Enter | KeyCode::Down | KeyCode::Tab => self.at = (self.at + 1).min(self.fields.len() - 1),
            KeyCode::Up | KeyCode::BackTab => self.at = self.at.saturating_sub(1),
            _ => {
                let Some(field) = self.fields.get_mut(self.at) else { return Voted::Stay };
                match stop {
                    true if field.text.is_empty() => return Voted::Close(Vec::new()),
                    true => field.text.clear(),
                    false => drop(field.key(key)),
                }
                self.problem.clear();
            }
        }
        Voted::Stay
    }

    fn move_whole(&mut self, key: KeyCode) {
        let Some(top) = self.whole else { return };
        let last = self.rows(WIDTH, "").len().saturating_sub(1);
        self.whole = match key {
            KeyCode::Char('j') | KeyCode::Down => Some((top + 1).min(last)),
            KeyCode::Char('k') | KeyCode::Up => Some(top.saturating_sub(1)),
            KeyCode::PageDown | KeyCode::Char(' ') => Some((top + PAGE).min(last)),
            KeyCode::PageUp => Some(top.saturating_sub(PAGE)),
            KeyCode::Home | KeyCode::Char('g') => Some(0),
            KeyCode::End | KeyCode::Char('G') => Some(last),
            KeyCode::Char('i') | KeyCode::Enter => None,
            _ => Some(top),
        };
    }

    /// The first row that is shown.
    #[must_use]
    pub fn top(&self) -> usize {
        self.whole.unwrap_or(0)
    }

    /// Looks at what was typed so far: the first field that is wrong is typed into again.
    fn finds_wrong(&mut self) -> bool {
        // What comes behind this one was not asked for yet.
        let typed = self.question.ask.fields.iter().zip(&self.fields).enumerate().take(self.at + 1);
        let wrong = typed.into_iter().find_map(|(at, (asked, field))| {
            let fits = asked.kind == FieldKind::Text || asked.kind.typed(&field.text).as_str().is_none();
            let must = if asked.kind == FieldKind::Boolean { "yes or no" } else { "a number" };
            (!fits).then(|| (at, format!("`{}` must be {must}", display(&asked.name))))
        });
        let Some((at, problem)) = wrong else { return false };
        (self.at, self.problem) = (at, problem);
        true
    }

    fn choose(&mut self, approve: bool) {
        self.approve = Some(approve);
        // Whoever refuses only says why.
        let asked = if approve { self.question.ask.fields.len() } else { 0 };
        self.fields = vec![Field::default(); asked + 1];
    }

    fn vote(&self, approve: bool) -> RunVote {
        let mut form = Map::new();
        if approve {
            for (asked, field) in self.question.ask.fields.iter().zip(&self.fields) {
                form.insert(asked.name.clone(), asked.kind.typed(&field.text));
            }
        }
        RunVote {
            run: RunRef(self.question.run.to_string()),
            step: self.question.path.clone(),
            approve,
            hash: self.question.ask.hash.clone(),
            form: if form.is_empty() { Value::Null } else { Value::Map(form) },
            comment: self.fields.last().map(|field| field.text.trim().to_owned()).unwrap_or_default(),
        }
    }

    /// What is shown: lead and text of each row, with the tone of the text. The row that is typed into ends in the
    /// cursor.
    #[must_use]
    pub fn rows(&self, width: usize, cursor: &str) -> Vec<(String, String, Tone)> {
        if self.whole.is_some() {
            return self.whole_rows(width);
        }
        let ask = &self.question.ask;
        let mut rows = vec![(String::new(), display(&ask.who(&self.question.standing)), Tone::Dim)];
        let lines: Vec<(String, String)> =
            self.form().map(|(name, text)| (format!("{name} "), display(&text))).collect();
        let more = lines.len().saturating_sub(FORM_LINES);
        let long = |(lead, text): &(String, String)| lead.width() + text.width() > width;
        let cut = lines.iter().take(FORM_LINES).filter(|line| long(line)).count();
        rows.extend(lines.into_iter().take(FORM_LINES).map(|(lead, text)| (lead, text, Tone::Plain)));
        let said = match (more, cut) {
            (0, 0) => None,
            (0, cut) => Some(format!("{cut} longer than a row")),
            (more, 0) => Some(format!("{more} more")),
            (more, cut) => Some(format!("{more} more, {cut} longer than a row")),
        };
        let how = if self.approve.is_none() { "`i` shows the whole" } else { "esc, then `i` shows the whole" };
        rows.extend(said.map(|said| (String::new(), format!("… {said}: {how}"), Tone::Dim)));
        rows.push((String::new(), String::new(), Tone::Plain));
        let Some(approve) = self.approve else {
            rows.push(("a ".to_owned(), "approve".to_owned(), Tone::Plain));
            rows.push(("r ".to_owned(), "reject".to_owned(), Tone::Plain));
            return rows;
        };
        let said = if approve { "approve; enter goes on and at the end decides" } else { "reject; enter decides" };
        rows.push((String::new(), said.to_owned(), Tone::Dim));
        for (at, field) in self.fields.iter().enumerate() {
            let lead = match ask.fields.get(at).filter(|_| approve) {
                Some(asked) => {
                    let hint = if asked.kind == FieldKind::Boolean { "yes or no" } else { asked.kind.word() };
                    format!("{} ({hint}) ", display(&asked.name))
                }
                None => "comment ".to_owned(),
            };
            let room = width.saturating_sub(lead.len() + 2);
            let shown = field.shown(room, if at == self.at { cursor } else { "" });
            rows.push((lead, shown, Tone::Title));
        }
        if !self.problem.is_empty() {
            rows.push((String::new(), self.problem.clone(), Tone::Bad));
        }
        rows
    }

    /// What people are asked about: name and text.
    fn form(&self) -> impl Iterator<Item = (String, String)> {
        let form = self.question.ask.form.as_map().into_iter().flatten();
        form.map(|(name, value)| (display(name), value.as_str().map_or_else(|| value.to_json_pretty(), str::to_owned)))
    }

    fn whole_rows(&self, width: usize) -> Vec<(String, String, Tone)> {
        let mut rows = vec![(String::new(), "j k space move, `i` goes back, esc closes".to_owned(), Tone::Dim)];
        for (name, text) in self.form() {
            rows.push((name, String::new(), Tone::Plain));
            let text = display_lines(&text);
            let lines = text.lines().flat_map(|line| crate::look::wrapped(line, width.saturating_sub(2)));
            rows.extend(lines.map(|line| (String::new(), format!("  {line}"), Tone::Plain)));
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use aura_protocol::RunId;
    use aura_protocol::approval::{Ask, Field as Asked, Standing};

    use super::*;

    fn dialog(form: Value, fields: &[(&str, FieldKind)]) -> VoteDialog {
        let ask = Ask {
            hash: "h".to_owned(),
            form,
            fields: fields.iter().map(|(name, kind)| Asked { name: (*name).to_owned(), kind: *kind }).collect(),
            approvers: vec!["anna".to_owned()],
            quorum: 1,
            reject: None,
            no_self: false,
            delegate: false,
            escalate_ms: None,
            escalate: Vec::new(),
        };
        let (flow, path) = ("pay".to_owned(), "check".to_owned());
        VoteDialog::new(Question { run: RunId::now(), flow, path, ask, standing: Standing::default(), until_ms: None })
    }

    fn typed(dialog: &mut VoteDialog, keys: &str) -> Option<Vec<Action>> {
        for key in keys.chars() {
            let code = if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) };
            if let Voted::Close(actions) = dialog.key(KeyEvent::new(code, KeyModifiers::NONE)) {
                return Some(actions);
            }
        }
        None
    }

    fn text(dialog: &VoteDialog) -> String {
        let rows = dialog.rows(WIDTH, "_").into_iter().map(|(lead, text, _)| format!("{lead}{text}"));
        rows.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_whole_form_is_shown_however_long_it_is() {
        let mut many: Map = (0..30).map(|at| (format!("field{at}"), Value::from(format!("value {at}")))).collect();
        many.insert("note".to_owned(), Value::from(format!("{}the end", "a long story, ".repeat(40))));
        let mut open = dialog(Value::Map(many), &[]);
        assert!(text(&open).contains("… 19 more: `i` shows the whole") && !text(&open).contains("value 29"));
        assert_eq!(typed(&mut open, "i"), None);
        let whole = text(&open);
        assert!(whole.contains("value 29") && whole.contains("the end"), "{whole}");
        assert!(whole.lines().all(|line| line.width() <= WIDTH), "{whole}");
        assert_eq!(typed(&mut open, "jj "), None);
        assert_eq!(open.top(), 12);
        // Nothing is decided meanwhile.
        assert_eq!(typed(&mut open, "ar\n"), None);
        assert!(text(&open).contains("approve") && open.top() == 0, "{}", text(&open));
        let long = dialog(Value::object([("note", "x".repeat(200))]), &[]);
        assert!(text(&long).contains("… 1 longer than a row: `i` shows the whole"), "{}", text(&long));
    }

    #[test]
    fn a_wrong_value_stays_with_what_is_wrong_and_a_right_one_is_sent() {
        let fields = [("why", FieldKind::Text), ("limit", FieldKind::Number), ("fast", FieldKind::Boolean)];
        let mut open = dialog(Value::object([("sum", 5_i64)]), &fields);
        assert_eq!(typed(&mut open, "abecause\n5o\n"), None);
        assert!(text(&open).ends_with("`limit` must be a number") && text(&open).contains("5o_"), "{}", text(&open));
        open.key(KeyEvent::new(KeyCode::Backspace, KeyModifiers::NONE));
        assert!(!text(&open).contains("must be"), "{}", text(&open));
        assert_eq!(typed(&mut open, "0\nmaybe\n"), None);
        assert!(text(&open).ends_with("`fast` must be yes or no"), "{}", text(&open));
        open.key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
        let sent = typed(&mut open, "yes\nfine\n").expect("it closes");
        let [Action::Ask(Request::Vote(vote))] = sent.as_slice() else { panic!("{sent:?}") };
        assert_eq!(vote.form.to_json(), r#"{"why":"because","limit":50,"fast":true}"#);
        assert_eq!((vote.approve, vote.comment.as_str(), vote.hash.as_str()), (true, "fine", "h"));
        // Whoever refuses fills nothing in.
        let mut open = dialog(Value::Null, &fields);
        assert_eq!(typed(&mut open, "rno\n").expect("it closes").len(), 1);
    }
}
