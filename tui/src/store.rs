//! What we know of the daemon. Screens read it and never ask; the link's replies change it.
//!
//! Invariant: everything in here has a limit, and [`Store::apply`] says whether anything shown changed.

use std::collections::{BTreeMap, VecDeque};

use aura_protocol::WireError;
use aura_protocol::approval::Question;
use aura_protocol::event::{EventRow, EventState};
use aura_protocol::ids::{EventId, RunId};
use aura_protocol::rpc::{PayloadQuery, ReplayPreview, RunDetail, RunQuery, RunReplay, StatusReply};
use aura_protocol::run::{RunHead, RunState};
use aura_protocol::text::display;
use aura_protocol::watch::{Item, WatchReply};
use tokio::time::Instant;

use crate::catalog::Catalog;
use crate::event::Reply;
use crate::events::Events;
use crate::hooks::Hooks;
use crate::schedules::Schedules;
use crate::subscriptions::Subscriptions;
use crate::times;
use crate::twins::Twins;

/// Most runs kept; the oldest ended ones go first.
pub const RUNS_MAX: usize = 20_000;
/// Most held events kept.
const HELD_MAX: usize = 1000;
/// Most transitions kept of the open run.
const JOURNAL_MAX: usize = 20_000;
/// Most lines kept of a demo's story.
const STORY_MAX: usize = 200;
/// A clock that is off by more than this has jumped (a demo's does).
const JUMP_MS: i64 = 30_000;

/// A window of a payload that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// What was asked.
    pub query: PayloadQuery,
    /// Whole length in bytes.
    pub total: u64,
    /// The piece.
    pub text: String,
}

/// The link as screens show it.
#[derive(Clone, Debug, PartialEq)]
pub enum Link {
    /// Not yet connected.
    Opening,
    /// Connected.
    Up,
    /// Lost, since when, and why.
    Down(Instant, String),
}

/// Where the list of runs goes on, for one question (all runs, or those of a flow or state).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Older {
    /// The next page begins before this run; `None`: there are no older ones.
    pub next: Option<RunId>,
    /// Asked, no answer yet.
    pub asked: bool,
    /// Of a filter that the daemon alone can answer: the runs it gave.
    pub given: std::collections::BTreeSet<RunId>,
}

/// What we know.
pub struct Store {
    /// The link.
    pub link: Link,
    /// The daemon's status at connect.
    pub status: Option<StatusReply>,
    /// The daemon's clock at the last news.
    pub now_ms: i64,
    now_at: Instant,
    known_ms: Option<i64>,
    /// Runs by id, oldest first.
    pub runs: BTreeMap<RunId, RunHead>,
    /// Held events, oldest first.
    pub held: BTreeMap<EventId, EventRow>,
    /// The open run.
    pub detail: Option<RunDetail>,
    /// The payload window asked for last.
    pub window: Option<Window>,
    /// What to say in the status line.
    pub notice: String,
    /// What a demo told so far, oldest first; empty for every other daemon.
    pub story: VecDeque<String>,
    /// Counts up with every change of runs or held events.
    pub version: u64,
    /// The open run lost its thread: it must be read anew.
    pub detail_stale: bool,
    /// A run was found by a part of its id.
    pub found: Option<RunId>,
    /// A run told what it asks people.
    pub asked: Option<(RunId, Vec<Question>)>,
    /// What a replay would do, not shown yet.
    pub preview: Option<(RunReplay, ReplayPreview)>,
    /// Where older runs begin, by question; the empty one is of all runs.
    pub older: BTreeMap<String, Older>,
    /// Flows.
    pub catalog: Catalog,
    /// Held, dropped and repeated events.
    pub events: Events,
    /// Schedules.
    pub schedules: Schedules,
    /// Endpoints and their deliveries.
    pub hooks: Hooks,
    /// Who is sent which events.
    pub subscriptions: Subscriptions,
    /// What was done, as commands.
    pub twins: Twins,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            link: Link::Opening,
            status: None,
            now_ms: 0,
            now_at: Instant::now(),
            known_ms: None,
            runs: BTreeMap::new(),
            held: BTreeMap::new(),
            detail: None,
            window: None,
            notice: String::new(),
            story: VecDeque::new(),
            version: 0,
            detail_stale: false,
            found: None,
            asked: None,
            preview: None,
            older: BTreeMap::new(),
            catalog: Catalog::default(),
            events: Events::default(),
            schedules: Schedules::default(),
            hooks: Hooks::default(),
            subscriptions: Subscriptions::default(),
            twins: Twins::default(),
        }
    }
}

impl Store {
    /// Takes a reply of the link; true if anything shown changed.
    pub fn apply(&mut self, reply: Reply) -> bool {
        match reply {
            Reply::Up(hello) => {
                let first = self.link == Link::Opening;
                self.link = Link::Up;
                if first {
                    self.say(format!("connected as {} ({:?})", hello.account, hello.role).to_lowercase());
                }
                true
            }
            Reply::Down(error) => self.lost(&error),
            Reply::Status(status) => self.status(status),
            Reply::Runs(runs) => {
                for head in runs {
                    self.head(head);
                }
                true
            }
            Reply::Older(query, page) => {
                let was = self.runs.len();
                let oldest = page.runs.last().map(|head| head.run);
                let given: Vec<RunId> = page.runs.iter().map(|head| head.run).collect();
                for head in page.runs {
                    self.head(head);
                }
                // What did not fit any more would be asked for again and again.
                let kept = oldest.is_none_or(|run| self.runs.contains_key(&run));
                let older = self.older.entry(question(&query)).or_default();
                older.next = page.next.filter(|_| kept);
                older.asked = false;
                if query.filter.is_some() {
                    older.given.extend(given);
                }
                if let Some(bounded) = &page.bounded {
                    let looked_at = bounded.looked_at;
                    self.say(format!("{looked_at} runs were looked at, there are older ones: go down for more"));
                }
                if !kept {
                    self.say(format!("{RUNS_MAX} runs are loaded: filter, or see `aura run list --before`"));
                }
                was != self.runs.len() || !kept
            }
            Reply::Flows(rows, activity) => {
                self.catalog.take(rows, activity);
                true
            }
            Reply::Flow(view) => {
                self.catalog.open = Some(*view);
                true
            }
            Reply::Events(query, page) => {
                self.events.take(page, query.before.is_none());
                true
            }
            Reply::Schedules(rows) => {
                self.schedules.take(rows);
                true
            }
            Reply::Schedule(row, what) => {
                self.twins.settle(None);
                self.say(format!("{}/{} {what}", row.flow, row.trigger));
                self.schedules.put(*row);
                self.catalog.stale = true;
                true
            }
            Reply::Hooks(rows) => {
                self.hooks.take(rows);
                true
            }
            Reply::Deliveries(whose, query, page) => {
                self.hooks.page(&whose, page, query.before.is_none());
                true
            }
            Reply::Delivery(detail) => {
                self.hooks.open = Some(*detail);
                true
            }
            Reply::Redelivered(row) => {
                self.twins.settle(row.refused.then_some(row.said.as_str()));
                self.say(format!("{} to {}/{}: {}", row.delivery.short(), row.flow, row.trigger, row.said));
                self.hooks.stale = true;
                true
            }
            Reply::Hook(hook) => {
                self.twins.settle(None);
                let said = if hook.closed { "is closed: senders hear 404" } else { "takes deliveries" };
                self.say(format!("{}/{} {said}", hook.flow, hook.trigger));
                self.hooks.stale = true;
                true
            }
            Reply::Subscriptions(rows) => self.subscriptions.take(rows),
            Reply::Sendings(of, page) => self.subscriptions.sent(of, page),
            Reply::Subscribed(row, what) => {
                self.twins.settle(None);
                self.say(format!("{} {what}", row.name));
                self.subscriptions.put(*row);
                true
            }
            Reply::Sent(what) => {
                self.twins.settle(None);
                self.say(what);
                true
            }
            Reply::Changed(row, what) => {
                self.twins.settle(None);
                self.say(format!("{} {what}", row.flow));
                self.catalog.put(row);
                true
            }
            Reply::Preview(preview, request) => {
                self.preview = Some((*request, *preview));
                true
            }
            Reply::Started(head) => {
                self.twins.settle(None);
                let how =
                    head.origin.map_or("started by hand".to_owned(), |run| format!("goes on from {}", run.short()));
                self.say(format!("{} {how}: {}", head.run.short(), head.state.word()));
                self.found = Some(head.run);
                self.head(*head);
                true
            }
            Reply::Run(detail) => {
                self.head(detail.head.clone());
                self.detail = Some(*detail);
                self.detail_stale = false;
                true
            }
            Reply::Asks(run, asked) => {
                self.asked = Some((run, asked));
                false
            }
            Reply::Found(run) => {
                self.found = Some(run);
                true
            }
            Reply::Payload(query, window) => {
                self.window = Some(Window { query, total: window.total, text: window.text });
                true
            }
            Reply::News(news, fresh) => self.news(news, fresh),
            Reply::Caught(count) => {
                let news = if count == 1 { "event" } else { "events" };
                self.say(format!("connected again, caught up {count} {news}"));
                true
            }
            Reply::Took(head, what) => {
                self.twins.settle(None);
                self.say(format!("{} {what}: {}", head.run.short(), head.state.word()));
                self.head(*head);
                true
            }
            Reply::Refused(error) => {
                self.twins.settle(Some(&error.message));
                self.older.values_mut().for_each(|older| older.asked = false);
                let hint = error.hint.map_or(String::new(), |hint| format!(" - {hint}"));
                self.say(format!("{}{hint} [{}]", error.message, error.code.text()))
            }
        }
    }

    /// The status at connect, and now and then after it. What nobody sees changes nothing on screen.
    fn status(&mut self, status: StatusReply) -> bool {
        let shown = |status: &StatusReply| {
            let StatusReply { profile, state, listen, .. } = status.clone();
            (profile, state, listen)
        };
        let same = self.status.as_ref().is_some_and(|known| shown(known) == shown(&status));
        let jumped = self.clock(status.now_ms);
        if self.status.is_none() || jumped {
            self.now_ms = status.now_ms;
        }
        self.status = Some(status);
        jumped || !same
    }

    /// The daemon's clock by now, as far as it is known.
    #[must_use]
    pub fn moment_ms(&self) -> i64 {
        let here = i64::try_from(self.now_at.elapsed().as_millis()).unwrap_or(0);
        self.known_ms.map_or(0, |known| known.saturating_add(here))
    }

    /// Puts a line into the status line; true if it is another one than before.
    pub fn say(&mut self, text: impl AsRef<str>) -> bool {
        let text = display(text.as_ref());
        let other = self.notice != text;
        self.notice = text;
        other
    }

    /// Takes back what was said, unless it is a line of a story.
    pub fn hush(&mut self) -> bool {
        self.story.back() != Some(&self.notice) && self.say("")
    }

    /// Takes a line of a demo's story; it stays to be read.
    pub fn tell(&mut self, line: &str) -> bool {
        let kept: String = line.chars().take(400).collect();
        self.story.push_back(display(&kept));
        if self.story.len() > STORY_MAX {
            self.story.pop_front();
        }
        self.say(kept);
        true
    }

    fn lost(&mut self, error: &WireError) -> bool {
        let why = display(&error.message);
        match &self.link {
            Link::Down(_, before) if *before == why => false,
            Link::Down(since, _) => {
                self.link = Link::Down(*since, why);
                true
            }
            _ => {
                self.link = Link::Down(Instant::now(), why);
                true
            }
        }
    }

    fn news(&mut self, news: WatchReply, fresh: bool) -> bool {
        let jumped = self.clock(news.now_ms);
        let shown = jumped || !news.items.is_empty();
        if shown {
            self.now_ms = news.now_ms;
        }
        for item in news.items {
            match item {
                Item::Run(head) => self.head(*head),
                Item::Event(row) => self.event(*row, fresh),
                Item::Transition(run, transition) => self.transition(run, transition),
                Item::Changed(_) => {
                    self.catalog.stale = true;
                    self.catalog.open_stale = true;
                }
            }
        }
        self.catalog.stale |= shown && fresh;
        self.hooks.stale |= shown && fresh;
        shown
    }

    /// Compares the daemon's clock with how much time went by here; a jump is said once.
    fn clock(&mut self, now_ms: i64) -> bool {
        let here = i64::try_from(self.now_at.elapsed().as_millis()).unwrap_or(i64::MAX);
        let known = self.known_ms;
        self.now_at = Instant::now();
        let jump = known.map_or(0, |known| now_ms.saturating_sub(known).saturating_sub(here));
        self.known_ms = Some(now_ms);
        if jump.abs() < JUMP_MS {
            return false;
        }
        let way = if jump > 0 { "forward" } else { "back" };
        self.say(format!("the daemon's clock jumped {way} {}", times::took(jump.abs())));
        true
    }

    fn head(&mut self, head: RunHead) {
        let known = self.runs.get(&head.run);
        if known.is_some_and(|known| {
            known.transition > head.transition
                || (known.transition == head.transition && known.state.is_final() && !head.state.is_final())
        }) {
            return;
        }
        if known == Some(&head) {
            return;
        }
        self.version += 1;
        if let Some(detail) = self.detail.as_mut().filter(|detail| detail.head.run == head.run) {
            detail.head = head.clone();
        }
        self.runs.insert(head.run, head);
        while self.runs.len() > RUNS_MAX {
            let ended = self.runs.iter().find(|(_, head)| head.state.is_final()).map(|(run, _)| *run);
            match ended.or_else(|| self.runs.keys().next().copied()) {
                Some(run) => drop(self.runs.remove(&run)),
                None => break,
            }
        }
    }

    fn event(&mut self, row: EventRow, fresh: bool) {
        self.version += 1;
        self.events.put(row.clone());
        let what = match row.state {
            EventState::Held => {
                let words = if row.reason.is_empty() { "held".to_owned() } else { row.reason.clone() };
                // The event accepted last stands for its group; the ones before it have an earlier time.
                self.held.insert(row.event, row.clone());
                words
            }
            EventState::Dropped => {
                self.held.remove(&row.event);
                format!("dropped: {}", row.reason)
            }
            EventState::Started | EventState::Queued | EventState::Duplicate => {
                self.held.remove(&row.event);
                let now = self.now_ms;
                self.held.retain(|_, held| {
                    held.flow != row.flow || held.trigger != row.trigger || held.starts_at_ms.is_some_and(|at| at > now)
                });
                row.run.map_or("started".to_owned(), |run| format!("became run {}", run.short()))
            }
        };
        while self.held.len() > HELD_MAX {
            self.held.pop_first();
        }
        if fresh {
            self.say(format!("event {} of {}: {what}", row.event.short(), row.flow));
        }
    }

    fn transition(&mut self, run: RunId, transition: aura_protocol::run::Transition) {
        let Some(detail) = self.detail.as_mut().filter(|detail| detail.head.run == run) else { return };
        let last = detail.journal.last().map_or(0, |last| last.number);
        if transition.number <= last {
            return;
        }
        if transition.number != last + 1 {
            self.detail_stale = true;
            return;
        }
        detail.journal.push(transition);
        if detail.journal.len() > JOURNAL_MAX {
            detail.journal.drain(..JOURNAL_MAX / 4);
            detail.cut = true;
        }
    }

    /// Where older runs of a question begin: its own place, else where all runs end.
    #[must_use]
    pub fn older_of(&self, query: &RunQuery) -> Older {
        let of_all = || self.older.get("").filter(|_| query.filter.is_none());
        self.older.get(&question(query)).or_else(of_all).cloned().unwrap_or_default()
    }

    /// Whether the daemon was asked this question.
    #[must_use]
    pub fn was_asked(&self, query: &RunQuery) -> bool {
        self.older.contains_key(&question(query))
    }

    /// Notes that older runs of a question were asked for.
    pub fn ask_older(&mut self, query: &RunQuery) {
        let known = self.older_of(query);
        self.older.insert(question(query), Older { asked: true, ..known });
    }

    /// Runs in a state.
    #[must_use]
    pub fn count(&self, wanted: impl Fn(RunState) -> bool) -> usize {
        self.runs.values().filter(|head| wanted(head.state)).count()
    }
}

/// What a question about runs is told from others by; empty for all runs.
fn question(query: &RunQuery) -> String {
    let mut words: Vec<&str> = query.states.iter().map(|state| state.word()).collect();
    words.sort_unstable();
    let flow = query.flow.as_deref().unwrap_or_default();
    let filter = query.filter.as_deref().unwrap_or_default();
    if words.is_empty() && flow.is_empty() && filter.is_empty() {
        return String::new();
    }
    format!("{flow}/{}/{filter}", words.join(","))
}
