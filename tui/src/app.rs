//! The screens' one loop: an inbox of events, a state, a frame when something shown has changed.
//!
//! Invariant: nothing is written unless something changed; events are drained before a frame is drawn, and
//! frames keep their distance (30 a second, 10 over ssh).

use std::path::PathBuf;
use std::time::Duration;

use aura_protocol::text::display;
use aura_protocol::{Code, WireError};
use crossterm::event::{Event as Input, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use futures::StreamExt;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::action::{Action, Place, Request};
use crate::event::Event;
use crate::keymap::{self, Command, Context};
use crate::look::Look;
use crate::screens::run::RunScreen;
use crate::screens::runs::Runs;
use crate::store::{Link, Store};
use crate::term::{Canvas, Screen, Terminal, clipboard};
use crate::theme::Tone;
use crate::times;
use crate::widgets::foot;
use crate::widgets::overlay::{Overlay, Then};

/// Below this the screens show a plain list.
const SMALLEST: (u16, u16) = (60, 16);
/// Events taken before a frame is due.
const DRAIN_MAX: usize = 512;
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
    /// Leave.
    Quit,
}

/// The state of the screens.
pub struct App {
    /// What we know.
    pub store: Store,
    look: Look,
    place: Place,
    before: Vec<Place>,
    last: Option<Place>,
    runs: Runs,
    run: RunScreen,
    overlay: Option<Overlay>,
    dirty: bool,
}

impl App {
    /// On the list of runs, knowing nothing yet.
    #[must_use]
    pub fn new(look: Look) -> Self {
        Self {
            store: Store::default(),
            look,
            place: Place::Runs,
            before: Vec::new(),
            last: None,
            runs: Runs::default(),
            run: RunScreen::default(),
            overlay: None,
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
        }
    }

    /// Takes an event.
    pub fn handle(&mut self, event: Event) -> Vec<Todo> {
        let mut todos = Vec::new();
        match event {
            Event::Key(key) => self.key(key, &mut todos),
            Event::Paste(text) => {
                match &mut self.overlay {
                    Some(overlay) => overlay.paste(&text),
                    None => self.runs.paste(&text),
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
                if let (true, Place::Run(run)) = (std::mem::take(&mut self.store.detail_stale), self.place) {
                    todos.push(Todo::Ask(Request::Run(run)));
                }
            }
            Event::Notice(line) => self.dirty |= self.store.tell(&line),
            Event::Stop => todos.push(Todo::Quit),
        }
        if let Place::Run(_) = self.place
            && let Some(request) = self.run.wants(&self.store)
        {
            todos.push(Todo::Ask(request));
        }
        todos
    }

    fn key(&mut self, key: KeyEvent, todos: &mut Vec<Todo>) {
        if let Some(overlay) = &mut self.overlay {
            self.dirty = true;
            if let Then::Close(actions) = overlay.key(key, &self.store) {
                self.overlay = None;
                self.act(actions, todos);
            }
            return;
        }
        let stop = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
        if self.place == Place::Runs && self.runs.typing() && !stop {
            let actions = self.runs.typed(key, &self.store);
            return self.act(actions, todos);
        }
        if let Some(command) = keymap::meaning(self.context(), key) {
            self.command(command, todos);
        }
    }

    fn command(&mut self, command: Command, todos: &mut Vec<Todo>) {
        let leave = || Action::Confirm("Leave AURA?".to_owned(), Vec::new());
        let actions = match command {
            Command::Help => {
                self.overlay = Some(Overlay::Help(self.context(), Default::default(), 0));
                vec![Action::Draw]
            }
            Command::Palette => {
                self.overlay = Some(Overlay::Palette(Default::default(), 0));
                vec![Action::Draw]
            }
            Command::Back if self.place == Place::Runs => {
                if self.runs.clear() {
                    vec![Action::Draw]
                } else {
                    vec![leave()]
                }
            }
            Command::Back => vec![Action::Back],
            Command::Last => self.last.map(Action::Go).into_iter().collect(),
            Command::Leave => vec![Action::Quit],
            Command::Clear => {
                if self.place == Place::Runs && self.runs.clear() {
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
            },
        };
        self.act(actions, todos);
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
                Action::Ask(request) => todos.push(Todo::Ask(request)),
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
            todos.push(Todo::Ask(Request::Run(run)));
        } else {
            todos.push(Todo::Ask(Request::Watch(None)));
        }
    }

    /// When the banner of a lost link must count on.
    #[must_use]
    pub fn tick_at(&self) -> Option<Instant> {
        match &self.store.link {
            Link::Down(since, _) => Some(*since + Duration::from_secs(since.elapsed().as_secs() + 1)),
            _ => None,
        }
    }

    /// Marks the frame as changed without an event (the banner counts).
    pub fn tick(&mut self) {
        self.dirty = true;
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
            match self.place {
                Place::Runs => self.runs.draw(&self.look, &self.store, buf, body),
                Place::Run(_) => self.run.draw(&self.look, &self.store, buf, body),
            }
            foot::draw(
                &self.look,
                buf,
                Rect { y: area.y + area.height - 1 - keys, height: keys, ..area },
                self.context(),
            );
        }
        let status = Rect { y: area.y + area.height - 1, height: 1, ..area };
        self.look.put(buf, status, 1, 0, &self.store.notice, Tone::Plain);
        if let Some(overlay) = &self.overlay {
            overlay.draw(&self.look, &self.store, buf, area);
        }
    }

    fn header(&self, buf: &mut Buffer, area: Rect, small: bool) {
        let look = &self.look;
        let mut x = look.put(buf, area, 0, 0, " AURA ", Tone::Title);
        let mut put = |text: &str, tone| x += look.put(buf, area, x, 0, text, tone);
        let status = self.store.status.as_ref();
        put(&format!(" {} ", status.map_or("-".to_owned(), |status| display(&status.profile))), Tone::Plain);
        match &self.store.link {
            Link::Down(since, why) => {
                let secs = since.elapsed().as_secs();
                put(&format!(" aurad not reachable {secs}s, retrying ({why})"), Tone::Bad);
                return;
            }
            Link::Opening => return put(" connecting", Tone::Dim),
            Link::Up if small => {
                return put(&format!(" below {}x{}: a list only", SMALLEST.0, SMALLEST.1), Tone::Warn);
            }
            Link::Up => {}
        }
        let state = status.map_or(String::new(), |status| display(&status.state));
        put(&state, if state.starts_with("ready") { Tone::Good } else { Tone::Warn });
        if self.store.now_ms > 0 {
            let now = self.store.now_ms;
            let shown = if area.width < 100 { times::clock(now, &look.zone) } else { times::day(now, &look.zone) };
            put(&format!("  {shown}"), Tone::Plain);
        }
        if let Place::Run(run) = self.place {
            put(&format!("  runs {} ", look.glyphs.crumb), Tone::Dim);
            // The whole id where it fits, its end otherwise.
            return if area.width >= 80 { put(&run.to_string(), Tone::Title) } else { put(&run.short(), Tone::Title) };
        }
        use aura_protocol::run::RunState as S;
        let counts: [(usize, &str, Tone); 5] = [
            (self.store.held.len(), "held", Tone::Calm),
            (self.store.count(|state| matches!(state, S::Running | S::Retrying | S::Queued)), "running", Tone::Busy),
            (self.store.count(|state| matches!(state, S::Waiting | S::Paused)), "waiting", Tone::Calm),
            (self.store.count(|state| state == S::InDoubt), "in doubt", Tone::Warn),
            (self.store.count(|state| state == S::Failed), "failed", Tone::Bad),
        ];
        for (count, word, tone) in counts {
            if count > 0 {
                put(&format!("  {count} {word}"), tone);
            }
        }
    }
}

/// Runs the loop until somebody leaves or the inbox closes.
///
/// # Errors
/// If the terminal is gone.
pub async fn run<S: Screen>(
    app: &mut App,
    inbox: &mut mpsc::Receiver<Event>,
    requests: &mpsc::Sender<Request>,
    screen: &mut S,
    canvas: &mut Canvas,
    pace: Duration,
) -> std::io::Result<()> {
    let mut due = Instant::now();
    let mut dirty = true;
    loop {
        dirty |= app.take_dirty();
        if dirty && Instant::now() >= due {
            if let Some(bytes) = canvas.frame(screen.size(), |buf, area| app.draw(buf, area))? {
                screen.write(&bytes)?;
            }
            dirty = false;
            due = Instant::now() + pace;
        }
        let wake = if dirty { Some(due) } else { app.tick_at() };
        let event = tokio::select! {
            biased;
            event = inbox.recv() => Some(event),
            () = sleep_until(wake) => None,
        };
        let Some(event) = event else {
            app.tick();
            continue;
        };
        let Some(event) = event else { return Ok(()) };
        let mut next = Some(event);
        let mut taken = 0;
        while let Some(event) = next {
            for todo in app.handle(event) {
                match todo {
                    Todo::Ask(request) => {
                        if requests.try_send(request).is_err() {
                            app.store.say("too many questions wait for aurad; this one was not asked");
                        }
                    }
                    Todo::Write(bytes) => screen.write(&bytes)?,
                    Todo::Redraw => {
                        canvas.forget();
                        dirty = true;
                    }
                    Todo::Suspend => {
                        screen.suspend()?;
                        canvas.forget();
                        dirty = true;
                    }
                    Todo::Quit => return Ok(()),
                }
            }
            taken += 1;
            next = if taken < DRAIN_MAX { inbox.try_recv().ok() } else { None };
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Opens the screens on a socket until a person leaves; lines of `notices` go to the status line.
///
/// # Errors
/// If there is no terminal, or it went away.
pub async fn open(socket: PathBuf, notices: Option<mpsc::Receiver<String>>) -> Result<(), WireError> {
    let gone = |error: std::io::Error| WireError::new(Code::Internal, format!("the terminal: {error}"));
    let look = Look::from_env();
    let pace = if std::env::var_os("SSH_CONNECTION").is_some() { 100 } else { 33 };
    let (events, mut inbox) = mpsc::channel(1024);
    let (requests, asked) = mpsc::channel(64);
    let mut canvas = Canvas::new(look.glyphs.ascii);
    let mut app = App::new(look);
    let mut terminal = Terminal::take().map_err(gone)?;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(crate::link::link(socket, asked, events.clone()));
    tasks.spawn(keys(events.clone()));
    tasks.spawn(signals(events.clone()));
    if let Some(notices) = notices {
        tasks.spawn(forward(notices, events.clone()));
    }
    drop(events);
    let ended = run(&mut app, &mut inbox, &requests, &mut terminal, &mut canvas, Duration::from_millis(pace)).await;
    tasks.abort_all();
    drop(terminal);
    ended.map_err(gone)
}

async fn keys(events: mpsc::Sender<Event>) {
    let mut stream = EventStream::new();
    while let Some(Ok(input)) = stream.next().await {
        let event = match input {
            Input::Key(key) if key.kind != KeyEventKind::Release => Event::Key(key),
            Input::Paste(text) => Event::Paste(text),
            Input::Resize(..) => Event::Resize,
            _ => continue,
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
    // The terminal is gone.
    let _ = events.send(Event::Stop).await;
}

async fn signals(events: mpsc::Sender<Event>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut hangup)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup())) else {
        return;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = hangup.recv() => {}
    }
    let _ = events.send(Event::Stop).await;
}

async fn forward(mut notices: mpsc::Receiver<String>, events: mpsc::Sender<Event>) {
    while let Some(line) = notices.recv().await {
        if events.send(Event::Notice(line)).await.is_err() {
            return;
        }
    }
}
