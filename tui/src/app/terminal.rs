//! The screens' one loop around a terminal: events in, frames out, the terminal lent to an editor in between.
//!
//! Invariant: nothing is written unless something changed; events are drained before a frame is drawn, and
//! frames keep their distance (30 a second, 10 over ssh). While another program has the terminal nobody here
//! reads its keys.

use std::path::PathBuf;
use std::time::Duration;

use aura_protocol::{Code, WireError};
use crossterm::event::{Event as Input, EventStream, KeyEventKind};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::{App, Todo};
use crate::action::Request;
use crate::commands;
use crate::event::Event;
use crate::keymap::Keys;
use crate::look::Look;
use crate::settings::{Chosen, Settings};
use crate::target::Target;
use crate::term::{Canvas, Screen, Terminal};

/// Events taken before a frame is due.
const DRAIN_MAX: usize = 512;
/// Commands that run beside the screens at the same time.
const COMMANDS_MAX: usize = 4;

/// What the screens are opened with.
pub struct Opening {
    /// The daemon.
    pub chosen: Chosen,
    /// The client's settings.
    pub settings: Settings,
}

impl Opening {
    /// On a socket, with nothing set.
    #[must_use]
    pub fn at(socket: PathBuf) -> Self {
        let target = Target::Socket(socket);
        let chosen = Chosen { target, context: None, production: false, source: "demo".to_owned() };
        Self { chosen, settings: Settings::default() }
    }
}

/// What the loop reaches beside its terminal.
pub struct Hands {
    /// Questions to the daemon.
    pub requests: mpsc::Sender<Request>,
    /// The daemon, for commands.
    pub target: Target,
    /// Where events come from.
    pub events: Option<mpsc::Sender<Event>>,
    running: JoinSet<()>,
    keyboard: Option<JoinHandle<()>>,
}

impl Hands {
    /// Hands that ask only.
    #[must_use]
    pub fn new(requests: mpsc::Sender<Request>, target: Target) -> Self {
        Self { requests, target, events: None, running: JoinSet::new(), keyboard: None }
    }

    fn listen(&mut self) {
        self.keyboard = self.events.clone().map(|events| tokio::spawn(keys(events)));
    }

    async fn deafen(&mut self) {
        if let Some(keyboard) = self.keyboard.take() {
            keyboard.abort();
            // Cancelled, as it should be.
            let _ = keyboard.await;
        }
    }

    /// Runs a command with its output caught; true if there was a place for it.
    fn start(&mut self, words: Vec<String>) -> bool {
        while self.running.try_join_next().is_some() {}
        let Some(events) = self.events.clone().filter(|_| self.running.len() < COMMANDS_MAX) else { return false };
        let target = self.target.clone();
        self.running.spawn(async move {
            let finished = commands::run(&target, words).await;
            // The screens may be gone.
            let _ = events.send(Event::Finished(Box::new(finished))).await;
        });
        true
    }
}

/// Runs the loop until somebody leaves or the inbox closes.
///
/// # Errors
/// If the terminal is gone.
pub async fn run<S: Screen>(
    app: &mut App,
    inbox: &mut mpsc::Receiver<Event>,
    hands: &mut Hands,
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
        let mut todos = match event {
            None => app.tick(),
            Some(None) => return Ok(()),
            Some(Some(event)) => app.handle(event),
        };
        let mut taken = 0;
        loop {
            for todo in todos {
                match todo {
                    Todo::Ask(request) => {
                        if hands.requests.try_send(request).is_err() {
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
                    Todo::Run(words) => {
                        if !hands.start(words) {
                            app.store.say("four commands are at work; this one was not begun");
                        }
                        dirty = true;
                    }
                    Todo::Lend(words) => {
                        hands.deafen().await;
                        screen.lend(true)?;
                        let said = lend(&hands.target, &words).await;
                        screen.lend(false)?;
                        hands.listen();
                        canvas.forget();
                        app.lent(&words, &said);
                        dirty = true;
                    }
                    Todo::Quit => return Ok(()),
                }
            }
            taken += 1;
            if taken >= DRAIN_MAX {
                break;
            }
            todos = match inbox.try_recv() {
                Ok(event) => app.handle(event),
                Err(_) => break,
            };
        }
    }
}

/// Another program has the terminal until it ends; how that was, for the status line.
async fn lend(target: &Target, words: &[String]) -> String {
    let started = commands::command(target, words).and_then(|command| tokio::process::Command::from(command).spawn());
    let ended = match started {
        Ok(mut child) => child.wait().await,
        Err(error) => Err(error),
    };
    match ended {
        Ok(status) if status.success() => {
            if tells(words) {
                wait_for_enter().await;
            }
            String::new()
        }
        Ok(status) => {
            wait_for_enter().await;
            status.code().map_or("it was stopped".to_owned(), |code| format!("it ended with exit code {code}"))
        }
        Err(error) => format!("it did not start: {error}"),
    }
}

/// What a failed command said stays until it was read.
/// Whether what a command said is what it was asked for, so that it is to be read before the screens come back.
fn tells(words: &[String]) -> bool {
    matches!(words, [group, name, ..] if group == "flow" && (name == "listen" || name == "try"))
}

async fn wait_for_enter() {
    use std::io::Write;
    let mut err = std::io::stderr();
    // A terminal that is gone is found by the loop.
    let _ = write!(err, "\npress enter to go back to the screens ").and_then(|()| err.flush());
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(drop)
    });
    let _ = read.await;
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Opens the screens until a person leaves; lines of `notices` go to the status line.
///
/// # Errors
/// If there is no terminal, or it went away.
pub async fn open(opening: &Opening, notices: Option<mpsc::Receiver<String>>) -> Result<(), WireError> {
    let gone = |error: std::io::Error| WireError::new(Code::Internal, format!("the terminal: {error}"));
    let look = Look::from_env(&opening.settings);
    let keymap = Keys::with(&opening.settings.keys).map_err(|why| WireError::new(Code::Invalid, why))?;
    let pace = if std::env::var_os("SSH_CONNECTION").is_some() { 100 } else { 33 };
    let (events, mut inbox) = mpsc::channel(1024);
    let (requests, asked) = mpsc::channel(64);
    let mut canvas = Canvas::new(look.glyphs.ascii);
    let mut app = App::new(look);
    app.keys = keymap;
    app.context_name.clone_from(&opening.chosen.context);
    app.production = opening.chosen.production;
    let target = opening.chosen.target.clone();
    let mut terminal = Terminal::take().map_err(gone)?;
    let mut tasks = JoinSet::new();
    tasks.spawn(crate::link::link(target.clone(), asked, events.clone()));
    tasks.spawn(signals(events.clone()));
    if let Some(notices) = notices {
        tasks.spawn(forward(notices, events.clone()));
    }
    let mut hands = Hands { events: Some(events), ..Hands::new(requests, target) };
    hands.listen();
    let ended = run(&mut app, &mut inbox, &mut hands, &mut terminal, &mut canvas, Duration::from_millis(pace)).await;
    hands.deafen().await;
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
