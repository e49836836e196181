//! Sources: what a `poll` trigger and a backfill read from a provider, page by page. Pure: settings go in.
//!
//! Invariant: a source only reads (effect class `read`), its objects have keys by which each is told once, and every
//! expression of it was parsed before anything is asked. Who keeps how far it came stands in the daemon's `sources`.

mod read;
#[cfg(test)]
mod tests;

use crate::expr::Template;
use crate::flow::Span;
use crate::value::{Map, Value};

/// The method of deliveries that a poll made.
pub const POLL: &str = "POLL";
/// The method of deliveries that a backfill made.
pub const BACKFILL: &str = "BACKFILL";
/// Keys of a source: `with.backfill` of a trigger, and the most of a poll's `with`.
pub const SOURCE_KEYS: &[&str] =
    &["uses", "connection", "input", "http", "items", "key", "cursor", "next", "order", "body", "count", "pages"];
/// Keys of a poll besides those of its source.
pub const POLL_KEYS: &[&str] = &["every", "start", "window"];
/// Keys of `http` in a source.
pub const HTTP_KEYS: &[&str] = &["method", "url", "query", "headers"];
/// What the expressions of a source read, besides `item` and `index`.
pub const NAMES: &[&str] = &["cursor", "page", "since", "until", "output"];
/// The shortest `every`.
pub const EVERY_MIN: Span = Span::from_secs(1);
/// The longest `every`.
pub const EVERY_MAX: Span = Span::from_secs(31 * 86_400);
/// How long a key counts unless the trigger says otherwise.
pub const WINDOW: Span = Span::from_secs(30 * 86_400);
/// The shortest window, as of every dedupe key.
pub const WINDOW_MIN: Span = Span::from_secs(72 * 3600);
/// The longest window.
pub const WINDOW_MAX: Span = Span::from_secs(365 * 86_400);
/// Pages that one poll follows unless the trigger says otherwise.
pub const PAGES: u32 = 20;
/// Most `pages`.
pub const PAGES_MAX: u32 = 1_000;
/// Most objects of one page.
pub const ITEMS_MAX: usize = 2_000;

/// In which order a provider gives its objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// What changed first comes first: each page moves the cursor.
    #[default]
    Oldest,
    /// What changed last comes first: pages are read until one known object.
    Newest,
}

/// Where a new poll begins.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Start {
    /// What is there already is marked as known and starts nothing.
    #[default]
    Now,
    /// What is there already starts runs too.
    All,
    /// As if the cursor had come so far.
    At(Value),
}

/// What is asked.
#[derive(Clone, Debug)]
pub enum Ask {
    /// An action of a connector with this input.
    Uses {
        /// As in `shopify.list_orders`.
        action: String,
        /// The connection; of a poll also that of the trigger.
        connection: Option<String>,
    },
    /// A request, `GET` or `HEAD`.
    Http,
}

/// How many objects there are.
#[derive(Clone, Debug)]
pub struct Count {
    /// The action that says so.
    pub action: String,
    /// Its input; reads `since` and `until`.
    pub input: Template,
    /// The number; reads `output`.
    pub value: Template,
}

/// What is read, compiled.
#[derive(Clone, Debug)]
pub struct Source {
    /// Of whom.
    pub ask: Ask,
    /// The input of the action, or the request's `method`, `url`, `query` and `headers`.
    pub input: Template,
    /// The list in what came; none: all of it is the list.
    pub items: Option<Template>,
    /// What tells objects apart.
    pub key: Template,
    /// How far an object (or a page) brings the reader.
    pub cursor: Option<Template>,
    /// The cursor is of single objects, not of the page.
    pub cursor_of_item: bool,
    /// What asks for the next page; null ends.
    pub next: Option<Template>,
    /// In which order objects come.
    pub order: Order,
    /// `trigger.body` of the event; none: the object.
    pub body: Option<Template>,
    /// How many there are, for a plan.
    pub count: Option<Count>,
    /// Pages at once.
    pub pages: u32,
    /// Another identity begins anew: what is asked, the key and the cursor as they are written.
    pub identity: String,
    /// The names that `input` reads: whether a backfill can say since and until when.
    pub reads: Vec<String>,
}

impl Source {
    /// In a few words: the action, or method and host.
    #[must_use]
    pub fn says(&self) -> &str {
        match &self.ask {
            Ask::Uses { action, .. } => action,
            Ask::Http => "http",
        }
    }

    /// The connection that it reads through.
    #[must_use]
    pub fn connection(&self) -> Option<&str> {
        match &self.ask {
            Ask::Uses { connection, .. } => connection.as_deref(),
            Ask::Http => None,
        }
    }

    /// Whether its first question can say since when: it reads `since` or `cursor`.
    #[must_use]
    pub fn takes_since(&self) -> bool {
        self.reads.iter().any(|name| name == "since" || name == "cursor")
    }

    /// Whether it can end at a time: it reads `until`, or its objects have cursors to be compared.
    #[must_use]
    pub fn takes_until(&self) -> bool {
        self.reads.iter().any(|name| name == "until") || (self.cursor.is_some() && self.cursor_of_item)
    }
}

/// A poll trigger's settings.
#[derive(Clone, Debug)]
pub struct Poll {
    /// The pause between two polls.
    pub every: Span,
    /// Where it begins.
    pub start: Start,
    /// So long a key counts.
    pub window: Span,
    /// What is read.
    pub source: Source,
}

/// The source of a trigger that a backfill can read: a poll's own, or the one written under `with.backfill`.
#[must_use]
pub fn of_trigger(on: &str, connection: Option<&str>, with: &Map) -> Option<Source> {
    if on == "poll" {
        return Poll::read(with, connection).ok().map(|poll| poll.source);
    }
    match with.get("backfill") {
        Some(Value::Map(source)) => Source::read(source, connection).ok(),
        _ => None,
    }
}
