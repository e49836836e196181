//! One flow: facts, endpoints, what it did, and its text with what is wrong beside the line.
//!
//! Invariant: the text is shown as it is stored; findings stand below their line and are never part of it.

mod view;

use aura_protocol::ids::FlowId;

use super::flows::decide;
use crate::action::Action;
use crate::catalog::FlowView;
use crate::keymap::Command;
use crate::store::Store;
use crate::widgets::part::PartDialog;

/// A pane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pane {
    #[default]
    Text,
    Facts,
}

/// State of the screen for one flow.
#[derive(Default)]
pub struct FlowScreen {
    flow: Option<FlowId>,
    pane: Pane,
    zoom: bool,
    published: bool,
    top: usize,
    lines: usize,
    page: usize,
}

impl FlowScreen {
    /// Opens a flow.
    pub fn open(&mut self, flow: FlowId) {
        if self.flow != Some(flow) {
            *self = Self { flow: Some(flow), ..Self::default() };
        }
    }

    fn view<'a>(&self, store: &'a Store) -> Option<&'a FlowView> {
        store.catalog.open.as_ref().filter(|view| Some(view.detail.row.id) == self.flow)
    }

    /// What a command does here.
    pub fn command(&mut self, command: Command, store: &Store) -> Vec<Action> {
        let Some(view) = self.view(store) else { return Vec::new() };
        let half = self.page.max(2) / 2;
        let last = self.lines.saturating_sub(self.page.max(1));
        let to = match command {
            Command::Down => self.top + 1,
            Command::Up => self.top.saturating_sub(1),
            Command::HalfDown => self.top + half,
            Command::HalfUp => self.top.saturating_sub(half),
            Command::Top => 0,
            Command::Bottom => last,
            Command::Pane | Command::PaneBack => {
                self.pane = if self.pane == Pane::Text { Pane::Facts } else { Pane::Text };
                return vec![Action::Draw];
            }
            Command::Zoom => {
                self.zoom = !self.zoom;
                return vec![Action::Draw];
            }
            Command::Fold => {
                let detail = &view.detail;
                if detail.draft.is_none() || detail.published.is_none() {
                    return vec![Action::Say(
                        "there is only one text: draft and published version are the same".to_owned(),
                    )];
                }
                self.published = !self.published;
                self.top = 0;
                return vec![Action::Draw];
            }
            Command::CopyUrl => {
                return match view.hooks.first() {
                    Some(hook) => vec![Action::Copy(hook.url.clone())],
                    None => vec![Action::Say("this flow has no endpoint in a published version".to_owned())],
                };
            }
            Command::Simulate => {
                let detail = &view.detail;
                let text = detail.draft.as_ref().or(detail.published.as_ref()).map_or("", String::as_str);
                let last = store.catalog.activity.get(&detail.row.flow).and_then(|activity| activity.last.as_ref());
                return vec![match PartDialog::new(text, last.map(|last| last.run)) {
                    Ok(dialog) => Action::PartDialog(Box::new(dialog)),
                    Err(why) => Action::Say(why),
                }];
            }
            Command::Listen => {
                let line = format!("flow listen {}", view.detail.row.flow);
                // Which trigger, how long and where to save: the line says what may follow.
                return vec![Action::Line(
                    line,
                    "[--on TRIGGER] [--for 10m] [--count 1] [--save FILE.json]".to_owned(),
                )];
            }
            Command::Publish if view.detail.draft.is_some() => {
                let due = upcoming(view.detail.draft.as_deref().unwrap_or_default(), store.now_ms);
                return decide(command, &view.detail.row).into_iter().map(|action| with(action, &due)).collect();
            }
            Command::CopyId => return vec![Action::Copy(view.detail.row.flow.clone())],
            other => return decide(other, &view.detail.row),
        };
        self.top = to.min(last);
        vec![Action::Draw]
    }
}

/// When the schedules of a text fire next, a line each.
fn upcoming(text: &str, now_ms: i64) -> String {
    let document = aura_protocol::flow::read(text).ok();
    let found = document.map(|document| aura_protocol::flow::upcoming(&document, now_ms)).unwrap_or_default();
    let lines = found.iter().map(|finding| finding.message.replace(": ", ":\n  ").replace(", ", "\n  "));
    lines.collect::<Vec<_>>().join("\n")
}

/// A question with more to know below it.
fn with(action: Action, more: &str) -> Action {
    match action {
        Action::Confirm(question, asked) if !more.is_empty() => Action::Confirm(format!("{question}\n{more}"), asked),
        other => other,
    }
}
