//! The screens' state: events in, things to do out, a frame when something shown has changed.
//!
//! Invariant: whatever a key does goes through [`Action`]; the loop around the terminal is in [`terminal`], the
//! line on top of every screen in [`header`].

mod header;
mod terminal;

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use tokio::time::Instant;

use crate::action::{Action, Place, Request};
use crate::event::Event;
use crate::keymap::{Command, Context, Keys};
use crate::look::Look;
use crate::screens::events::{self, EventsScreen};
use crate::screens::flow::FlowScreen;
use crate::screens::flows::Flows;
use crate::screens::hooks::HooksScreen;
use crate::screens::run::RunScreen;
use crate::screens::runs::Runs;
use crate::screens::schedules::{self, SchedulesScreen};
use crate::screens::subscriptions::SubscriptionsScreen;
use crate::store::{Link, Store};
use crate::term::clipboard;
use crate::theme::Tone;
use crate::widgets::filter::FilterField;
use crate::widgets::foot;
use crate::widgets::overlay::{Overlay, Then};
use crate::widgets::palette::Around;
use crate::widgets::replay::Replay;
use crate::widgets::vote::VoteDialog;

#[cfg(test)]
pub use terminal::Hands;
#[cfg(test)]
pub use terminal::run;
pub use terminal::{Opening, open};

/// Below this the screens show a plain list.
const SMALLEST: (u16, u16) = (60, 16);
/// What flows did is asked for again after this, when something happened.
const FRESH: Duration = Duration::from_secs(2);
/// Places remembered for going back.
const BACK_MAX: usize = 50;

/// What the loop has to do after an event.
#[derive(Debug, PartialEq)]
pub enum Todo {
    /// Ask the daemon.
    Ask(Request),
    /// Write a sequence to the terminal as it is.
    Write(Vec<u8>),
    /// Write the next frame whole.
    Redraw,
    /// Suspend this process.
    Suspend,
    /// Run a command of ours and show what it says.
    Run(Vec<String>),
    /// Give the terminal to a command of ours until it ends.
    Lend(Vec<String>),
    /// Leave.
    Quit,
}

/// The state of the screens.
pub struct App {
    /// What we know.
    pub store: Store,
    /// The table of keys.
    pub keys: Keys,
    /// The context's name, if one was chosen.
    pub context_name: Option<String>,
    /// It is marked as production.
    pub production: bool,
    look: Look,
    place: Place,
    before: Vec<Place>,
    last: Option<Place>,
    runs: Runs,
    run: RunScreen,
    flows: Flows,
    flow: FlowScreen,
    events: EventsScreen,
    schedules: SchedulesScreen,
    hooks: HooksScreen,
    subscriptions: SubscriptionsScreen,
    overlay: Option<Overlay>,
    show_log: bool,
    asked_at: Option<Instant>,
    dirty: bool,
}

impl App {
    /// On the list of runs, knowing nothing yet.
    #[must_use]
    pub fn new(look: Look) -> Self {
        Self {
            store: Store::default(),
            keys: Keys::default(),
            context_name: None,
            production: false,
            look,
            place: Place::Runs,
            before: Vec::new(),
            last: None,
            runs: Runs::default(),
            run: RunScreen::default(),
            flows: Flows::default(),
            flow: FlowScreen::default(),
            events: EventsScreen::default(),
            schedules: SchedulesScreen::default(),
            hooks: HooksScreen::default(),
            subscriptions: SubscriptionsScreen::default(),
            overlay: None,
            show_log: false,
            asked_at: None,
            dirty: true,
        }
    }

    /// Whether a frame would differ from the one before; reading it clears it.
    pub fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }

    fn context(&self) -> Context {
        match self.place {
            Place::Runs => Context::Runs,
            Place::Run(_) => Context::Run,
            Place::Flows => Context::Flows,
            Place::Flow(_) => Context::Flow,
            Place::Events => Context::Events,
            Place::Schedules => Context::Schedules,
            Place::Hooks => Context::Hooks,
            Place::Subscriptions => Context::Subscriptions,
        }
    }

    /// The screen before which there is none.
    fn first(&self) -> bool {
        matches!(
            self.place,
            Place::Runs | Place::Flows | Place::Events | Place::Schedules | Place::Hooks | Place::Subscriptions
        )
    }

    /// The filter of the list on screen.
    fn filter(&mut self) -> Option<&mut FilterField> {
        match self.place {
            Place::Runs => Some(&mut self.runs.filter),
            Place::Flows => Some(&mut self.flows.filter),
            Place::Events => Some(&mut self.events.filter),
            Place::Schedules => Some(&mut self.schedules.filter),
            Place::Hooks => Some(&mut self.hooks.filter),
            Place::Subscriptions => Some(&mut self.subscriptions.filter),
            Place::Run(_) | Place::Flow(_) => None,
        }
    }

    fn typing(&mut self) -> bool {
        self.filter().is_some_and(|filter| filter.open)
    }

    fn clear(&mut self) -> bool {
        self.filter().is_some_and(FilterField::clear)
    }

    /// Takes an event.
    pub fn handle(&mut self, event: Event) -> Vec<Todo> {
        let mut todos = Vec::new();
        match event {
            Event::Key(key) => self.key(key, &mut todos),
            Event::Paste(text) => {
                match &mut self.overlay {
                    Some(overlay) => overlay.paste(&text),
                    None => {
                        if let Some(filter) = self.filter() {
                            filter.paste(&text);
                        }
                    }
                }
                self.dirty = true;
            }
            Event::Resize => {
                self.dirty = true;
                todos.push(Todo::Redraw);
            }
            Event::Link(reply) => {
                self.dirty |= self.store.apply(*reply);
                if let Some(run) = self.store.found.take() {
                    self.go(Place::Run(run), &mut todos);
                }
                if let Some((run, questions)) = self.store.asked.take()
                    && self.place == Place::Run(run)
                    && self.overlay.is_none()
                {
                    match self.run.chosen(questions) {
                        Some(question) => self.overlay = Some(Overlay::Vote(Box::new(VoteDialog::new(question)))),
                        None => drop(self.store.say("no step of this run asks people")),
                    }
                    self.dirty = true;
                }
                if let Some((request, preview)) = self.store.preview.take() {
                    // Whoever typed something else meanwhile is not interrupted.
                    if self.overlay.is_none() {
                        self.overlay = Some(Overlay::Replay(Box::new(Replay::new(request, preview))));
                    }
                }
                if let (true, Place::Run(run)) = (std::mem::take(&mut self.store.detail_stale), self.place) {
                    todos.push(Todo::Ask(Request::Run(run)));
                }
            }
            Event::Finished(finished) => {
                let refused = finished.code.filter(|code| *code != 0).map(|code| format!("exit code {code}"));
                self.store.twins.note(self.store.moment_ms(), &finished.line, true);
                self.store.twins.settle(refused.as_deref());
                self.overlay = Some(Overlay::output(&finished));
                self.store.say("");
                self.store.catalog.stale = true;
                self.store.catalog.open_stale = true;
                self.store.hooks.stale = true;
                self.dirty = true;
            }
            Event::Notice(line) => self.dirty |= self.store.tell(&line),
            Event::Stop => todos.push(Todo::Quit),
        }
        self.wants(&mut todos);
        todos
    }

    /// What must be asked now so that the screen shows what is.
    fn wants(&mut self, todos: &mut Vec<Todo>) {
        match self.place {
            Place::Run(_) => {
                if let Some(request) = self.run.wants(&self.store) {
                    todos.push(Todo::Ask(request));
                }
            }
            Place::Flow(flow) if std::mem::take(&mut self.store.catalog.open_stale) => {
                if let Some(row) = self.store.catalog.of(flow) {
                    let name = row.flow.clone();
                    self.ask(Request::Flow(name), todos);
                }
            }
            Place::Subscriptions if self.store.link == Link::Up => {
                // Nobody is told of every sending, so whoever looks asks again.
                let again = self.asked_at.is_none_or(|at| at.elapsed() >= FRESH);
                if again {
                    self.asked_at = Some(Instant::now());
                }
                let wanted = self.subscriptions.wants(&self.store, again);
                todos.extend(wanted.into_iter().map(Todo::Ask));
            }
            _ => {}
        }
        let hooks = self.place == Place::Hooks && self.store.link == Link::Up;
        if hooks && self.store.hooks.stale && self.asked_at.is_none_or(|at| at.elapsed() >= FRESH) {
            self.hooks_anew(todos);
        }
        let shown = self.reads_the_catalog() && self.store.link == Link::Up;
        if shown && self.store.catalog.stale && self.asked_at.is_none_or(|at| at.elapsed() >= FRESH) {
            self.store.catalog.stale = false;
            self.asked_at = Some(Instant::now());
            self.ask(if self.place == Place::Schedules { schedules::all() } else { Request::Flows }, todos);
        }
    }

    /// Whether what is on screen is asked for again when something happened.
    fn reads_the_catalog(&self) -> bool {
        matches!(self.place, Place::Flows | Place::Flow(_) | Place::Schedules)
    }

    /// Endpoints and deliveries are read again.
    fn hooks_anew(&mut self, todos: &mut Vec<Todo>) {
        self.store.hooks.stale = false;
        self.asked_at = Some(Instant::now());
        // What asks by itself again and again is nothing that a person did.
        todos.extend(self.hooks.wants(&self.store).into_iter().map(Todo::Ask));
    }

    /// A command that had the terminal has ended.
    pub fn lent(&mut self, words: &[String], said: &str) {
        let line = words.join(" ");
        self.store.twins.note(self.store.moment_ms(), &line, true);
        self.store.twins.settle((!said.is_empty()).then_some(said));
        let how = if said.is_empty() { "done" } else { said };
        self.store.say(format!("aura {line}: {how}"));
        self.store.catalog.stale = true;
        self.store.catalog.open_stale = true;
        self.dirty = true;
    }

    fn key(&mut self, key: KeyEvent, todos: &mut Vec<Todo>) {
        let context = self.context();
        if let Some(overlay) = &mut self.overlay {
            self.dirty = true;
            let around = Around { store: &self.store, keys: &self.keys, context };
            if let Then::Close(actions) = overlay.key(key, &around) {
                self.overlay = None;
                self.act(actions, todos);
            }
            return;
        }
        let stop = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
        if self.typing() && !stop {
            let actions = match self.place {
                Place::Flows => self.flows.typed(key, &self.store),
                Place::Events => self.events.typed(key, &self.store),
                Place::Schedules => self.schedules.typed(key, &self.store),
                Place::Hooks => self.hooks.typed(key, &self.store),
                Place::Subscriptions => self.subscriptions.typed(key, &self.store),
                _ => self.runs.typed(key, &self.store),
            };
            return self.act(actions, todos);
        }
        if let Some(command) = self.keys.meaning(self.context(), key) {
            // What was said about the step before does not stand beside the next one.
            self.dirty |= self.store.hush();
            self.command(command, todos);
        }
    }

    fn command(&mut self, command: Command, todos: &mut Vec<Todo>) {
        let leave = || Action::Confirm("Leave AURA?".to_owned(), Vec::new());
        let actions = match command {
            Command::Help => {
                self.overlay = Some(Overlay::Help(Default::default(), 0));
                vec![Action::Draw]
            }
            Command::Palette => {
                self.overlay = Some(Overlay::Palette(Default::default(), 0));
                vec![Action::Draw]
            }
            Command::GoRuns => vec![Action::Go(Place::Runs)],
            Command::GoFlows => vec![Action::Go(Place::Flows)],
            Command::GoEvents => vec![Action::Go(Place::Events)],
            Command::GoSchedules => vec![Action::Go(Place::Schedules)],
            Command::GoHooks => vec![Action::Go(Place::Hooks)],
            Command::GoSubscriptions => vec![Action::Go(Place::Subscriptions)],
            Command::ShowLog => {
                self.show_log = !self.show_log;
                vec![Action::Draw]
            }
            Command::Back if self.stepped_back() => vec![Action::Draw],
            Command::Back if self.first() => match (self.clear(), self.place) {
                (true, _) => vec![Action::Draw],
                (false, Place::Runs) => vec![leave()],
                (false, _) if self.before.is_empty() => vec![Action::Go(Place::Runs)],
                (false, _) => vec![Action::Back],
            },
            Command::Back => vec![Action::Back],
            Command::Last => self.last.map(Action::Go).into_iter().collect(),
            Command::Leave => vec![Action::Quit],
            Command::Clear => {
                if self.clear() {
                    vec![Action::Draw]
                } else {
                    vec![leave()]
                }
            }
            Command::Redraw => vec![Action::Redraw],
            Command::Suspend => vec![Action::Suspend],
            other => match self.place {
                Place::Runs => self.runs.command(other, &self.store),
                Place::Run(_) => self.run.command(other, &self.store),
                Place::Flows => self.flows.command(other, &self.store),
                Place::Flow(_) => self.flow.command(other, &self.store),
                Place::Events => self.events.command(other, &self.store),
                Place::Schedules => self.schedules.command(other, &self.store),
                Place::Hooks => self.hooks.command(other, &self.store),
                Place::Subscriptions => self.subscriptions.command(other, &self.store),
            },
        };
        self.act(actions, todos);
    }

    /// One pane back, where `enter` opened the next one.
    fn stepped_back(&mut self) -> bool {
        match self.place {
            Place::Hooks => self.hooks.stepped_back(),
            Place::Subscriptions => self.subscriptions.stepped_back(),
            _ => false,
        }
    }

    fn act(&mut self, actions: Vec<Action>, todos: &mut Vec<Todo>) {
        self.dirty |= !actions.is_empty();
        for action in actions {
            match action {
                Action::Draw => {}
                Action::Go(place) => self.go(place, todos),
                Action::Back => {
                    let to = self.before.pop().unwrap_or(Place::Runs);
                    self.enter(to, todos);
                }
                Action::Ask(request) => self.ask(request, todos),
                Action::RunsOf(flow) => {
                    self.runs.only(&flow);
                    self.go(Place::Runs, todos);
                }
                Action::EventsOf(flow) => {
                    self.events.only(&flow);
                    self.go(Place::Events, todos);
                }
                Action::StartDialog(flow) => {
                    self.overlay = Some(Overlay::Start(flow, Default::default(), String::new()));
                }
                Action::PartDialog(dialog) => self.overlay = Some(Overlay::Part(dialog)),
                Action::Line(text, usage) => {
                    let mut field = crate::widgets::field::Field::default();
                    field.paste(&text);
                    self.overlay = Some(Overlay::Line(field, usage, String::new()));
                }
                Action::Run(words) if crate::cli::table::takes_terminal(&words) => todos.push(Todo::Lend(words)),
                Action::Run(words) => {
                    self.store.say(format!("aura {} …", words.join(" ")));
                    todos.push(Todo::Run(words));
                }
                Action::Do(command) => self.command(command, todos),
                Action::Confirm(question, requests) => {
                    let mut then: Vec<Action> = requests.into_iter().map(Action::Ask).collect();
                    if then.is_empty() {
                        then.push(Action::Quit);
                    }
                    self.overlay = Some(Overlay::Confirm(question, then));
                }
                Action::ResolveDialog(run, step) => {
                    self.overlay = Some(Overlay::Resolve(run, step, None, String::new()));
                }
                Action::Copy(text) => match clipboard(&text) {
                    Some(bytes) => {
                        self.store.say(format!("copied through the terminal (OSC 52): {text}"));
                        todos.push(Todo::Write(bytes));
                    }
                    None => drop(self.store.say("this text cannot go through the terminal's clipboard")),
                },
                Action::Say(text) => drop(self.store.say(text)),
                Action::Quit => todos.push(Todo::Quit),
                Action::Redraw => todos.push(Todo::Redraw),
                Action::Suspend => todos.push(Todo::Suspend),
            }
        }
    }

    fn ask(&mut self, request: Request, todos: &mut Vec<Todo>) {
        if let Request::Older(query) = &request {
            self.store.ask_older(query);
        }
        if let Request::Deliveries(whose, _) = &request {
            self.store.hooks.show(whose.clone());
        }
        if let Some(twin) = request.twin() {
            self.store.twins.note(self.store.moment_ms(), &twin, request.decides());
        }
        todos.push(Todo::Ask(request));
    }

    fn go(&mut self, place: Place, todos: &mut Vec<Todo>) {
        if place == self.place {
            return;
        }
        self.before.push(self.place);
        if self.before.len() > BACK_MAX {
            self.before.remove(0);
        }
        self.enter(place, todos);
    }

    fn enter(&mut self, place: Place, todos: &mut Vec<Todo>) {
        self.dirty = true;
        self.last = Some(self.place);
        self.place = place;
        if let Place::Run(run) = place {
            self.run.open(run);
            if self.store.detail.as_ref().is_none_or(|detail| detail.head.run != run) {
                self.store.detail = None;
            }
            self.store.window = None;
            // First the watch, then the state: nothing falls between.
            todos.push(Todo::Ask(Request::Watch(Some(run))));
            self.ask(Request::Run(run), todos);
            return;
        }
        if matches!(self.last, Some(Place::Run(_))) {
            todos.push(Todo::Ask(Request::Watch(None)));
        }
        match place {
            Place::Flows => self.store.catalog.stale = true,
            Place::Flow(flow) => {
                self.flow.open(flow);
                if self.store.catalog.open.as_ref().is_none_or(|view| view.detail.row.id != flow) {
                    self.store.catalog.open = None;
                }
                self.store.catalog.open_stale = false;
                if let Some(row) = self.store.catalog.of(flow) {
                    let name = row.flow.clone();
                    self.ask(Request::Flow(name), todos);
                }
            }
            Place::Events => self.ask(events::newest(), todos),
            Place::Schedules => self.store.catalog.stale = true,
            Place::Hooks => self.hooks_anew(todos),
            Place::Subscriptions => {
                self.asked_at = Some(Instant::now());
                for request in self.subscriptions.wants(&self.store, true) {
                    self.ask(request, todos);
                }
            }
            Place::Runs | Place::Run(_) => {}
        }
    }

    /// When the banner of a lost link must count on.
    #[must_use]
    pub fn tick_at(&self) -> Option<Instant> {
        match &self.store.link {
            Link::Down(since, _) => Some(*since + Duration::from_secs(since.elapsed().as_secs() + 1)),
            Link::Up if self.store.catalog.stale && self.reads_the_catalog() => self.asked_at.map(|at| at + FRESH),
            // What is refused is no news of the daemon: it is asked for.
            Link::Up if self.place == Place::Hooks => self.asked_at.map(|at| at + FRESH),
            Link::Up if self.place == Place::Subscriptions => self.asked_at.map(|at| at + FRESH),
            _ => None,
        }
    }

    /// Time went by without an event: the banner counts, what is old is asked for again.
    pub fn tick(&mut self) -> Vec<Todo> {
        self.dirty |= matches!(self.store.link, Link::Down(..));
        self.store.hooks.stale |= self.place == Place::Hooks;
        let mut todos = Vec::new();
        self.wants(&mut todos);
        todos
    }

    /// Draws the whole frame.
    pub fn draw(&mut self, buf: &mut Buffer, area: Rect) {
        if area.width < 12 || area.height < 3 {
            self.look.put(buf, area, 0, 0, "too small", Tone::Plain);
            return;
        }
        let small = area.width < SMALLEST.0 || area.height < SMALLEST.1;
        self.header(buf, Rect { height: 1, ..area }, small);
        let keys = if small {
            0
        } else if area.height < 24 {
            1
        } else {
            2
        };
        let body = Rect { y: area.y + 1, height: area.height - 2 - keys, ..area };
        if small {
            self.runs.draw_small(&self.look, &self.store, buf, body);
        } else {
            let body = self.command_log(buf, body);
            match self.place {
                Place::Runs => self.runs.draw(&self.look, &self.store, buf, body),
                Place::Run(_) => self.run.draw(&self.look, &self.store, buf, body),
                Place::Flows => self.flows.draw(&self.look, &self.store, buf, body),
                Place::Flow(_) => self.flow.draw(&self.look, &self.store, buf, body),
                Place::Events => self.events.draw(&self.look, &self.store, buf, body),
                Place::Schedules => self.schedules.draw(&self.look, &self.store, buf, body),
                Place::Hooks => self.hooks.draw(&self.look, &self.store, buf, body),
                Place::Subscriptions => self.subscriptions.draw(&self.look, &self.store, buf, body),
            }
            foot::draw(
                &self.look,
                buf,
                Rect { y: area.y + area.height - 1 - keys, height: keys, ..area },
                &self.keys,
                self.context(),
                &|command| !matches!(self.place, Place::Run(_)) || self.run.offers(command, &self.store),
            );
        }
        let status = Rect { y: area.y + area.height - 1, height: 1, ..area };
        self.look.put(buf, status, 1, 0, &self.store.notice, Tone::Plain);
        if let Some(overlay) = &self.overlay {
            let around = Around { store: &self.store, keys: &self.keys, context: self.context() };
            overlay.draw(&self.look, &around, buf, area);
        }
    }
}
