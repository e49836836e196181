//! Test events: an address of its own for a trigger of a draft, for a while.
//!
//! What comes there is bounded, proved and looked at as in production, and shown to whoever listens. Invariant: nothing
//! is stored and nothing starts; a listener lives in memory only, and all that is held of events is bounded in number,
//! bytes and time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aura_protocol::event::Delivery;
use aura_protocol::rpc::HeardEvent;
use aura_protocol::{Code, EventId, Value, WireError};
use axum::extract::{Request, State};
use axum::http::{Method, header, request};
use axum::response::{IntoResponse, Response};
use tokio::sync::Notify;

use crate::catalog::routes::Target;
use crate::http::Door;
use crate::http::answer::{self, Refused};
use crate::http::intake::{Route, all_headers, asked, stored};
use crate::http::meet::{Met, Proved, Turned, meet, success};

/// Listeners at the same time.
pub const LISTENERS_MAX: usize = 16;
/// Most of a body that is shown.
const SHOWN_MAX: usize = 256 * 1024;
/// Bytes that one listener holds.
const HELD_MAX: usize = 4 * 1024 * 1024;
/// Refused deliveries and handshakes that one listener shows.
const OTHERS_MAX: u32 = 50;
/// Without anybody who asks for news a listener ends.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Says what production would do with an event that passed.
pub type Judge = Box<dyn Fn(&Delivery, &Value) -> String + Send + Sync>;

/// One trigger that is listened to.
pub struct Listener {
    /// The trigger, as a published one would be.
    pub target: Target,
    judge: Judge,
    until: Instant,
    count: u32,
    news: Notify,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    events: Vec<HeardEvent>,
    bytes: usize,
    passed: u32,
    /// Refused ones, and handshakes.
    others: u32,
    asked: Option<Instant>,
    ended: Option<String>,
}

/// By id: the token of the address, and the listener.
type All = HashMap<String, (String, Arc<Listener>)>;

/// All listeners of a daemon. Cheap to clone.
#[derive(Clone, Default)]
pub struct Listeners(Arc<Mutex<All>>);

impl Held {
    /// Whether there is room for what came: events end a listener when enough came, all else is shown so often only.
    fn counts(&mut self, event: &HeardEvent) -> bool {
        match event.refused {
            None if !event.handshake => self.passed += 1,
            _ if self.others >= OTHERS_MAX => return false,
            _ => self.others += 1,
        }
        true
    }
}

impl Listener {
    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came behind the first `after`, with the place of the next, and why it has ended, if it has.
    pub fn told(&self, after: u64, bytes_max: usize) -> (Vec<HeardEvent>, u64, Option<String>) {
        let mut held = self.held();
        held.asked = Some(Instant::now());
        self.end(&mut held);
        let from = usize::try_from(after).unwrap_or(usize::MAX).min(held.events.len());
        let mut bytes = 0;
        let fits = |event: &&HeardEvent| {
            bytes += event.body.len() + 4096;
            bytes <= bytes_max || bytes == event.body.len() + 4096
        };
        let events: Vec<HeardEvent> = held.events.iter().skip(from).take_while(fits).cloned().collect();
        let next = from + events.len();
        let ended = held.ended.clone().filter(|_| next == held.events.len());
        (events, u64::try_from(next).unwrap_or(u64::MAX), ended)
    }

    /// Resolves when something may have come or ended.
    pub async fn changed(&self, wait: Duration) {
        let left = self.until.saturating_duration_since(Instant::now()) + Duration::from_millis(5);
        let _late = tokio::time::timeout(wait.min(left), self.news.notified()).await;
    }

    fn end(&self, held: &mut Held) {
        if held.ended.is_some() {
            return;
        }
        let why = if held.passed >= self.count {
            match self.count {
                1 => "the event came".to_owned(),
                count => format!("{count} events came"),
            }
        } else if held.bytes > HELD_MAX {
            format!("more than {} MiB came", HELD_MAX >> 20)
        } else if Instant::now() >= self.until {
            "the time is over".to_owned()
        } else {
            return;
        };
        held.ended = Some(why);
    }

    fn listens(&self) -> bool {
        let mut held = self.held();
        self.end(&mut held);
        held.ended.is_none()
    }

    fn forgotten(&self) -> bool {
        let held = self.held();
        let since = held.asked.map_or(Duration::MAX, |asked| asked.elapsed());
        since > FORGOTTEN
    }

    fn hears(&self, event: HeardEvent) {
        let mut held = self.held();
        if !held.counts(&event) {
            return;
        }
        held.bytes +=
            event.body.len() + event.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        held.events.push(event);
        self.end(&mut held);
        drop(held);
        // Whoever asks later finds it; whoever waits is woken.
        self.news.notify_one();
    }
}

impl Listeners {
    fn all(&self) -> std::sync::MutexGuard<'_, All> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (_, listener)| !listener.forgotten());
        all
    }

    /// Begins to listen: gives the id for those who ask and the token of the address.
    ///
    /// # Errors
    /// Too many listen already, or there is no randomness.
    pub fn open(
        &self,
        target: Target,
        judge: Judge,
        (within, count): (Duration, u32),
    ) -> Result<(String, String), WireError> {
        let mut all = self.all();
        if all.len() >= LISTENERS_MAX {
            let message = format!("{LISTENERS_MAX} listeners wait for test events already");
            return Err(WireError::new(Code::Busy, message).hint("end one of them, or wait until its time is over"));
        }
        let (id, token) = (secret()?, secret()?);
        let held = Mutex::new(Held { asked: Some(Instant::now()), ..Held::default() });
        let until = Instant::now() + within;
        let listener = Listener { target, judge, until, count: count.max(1), news: Notify::new(), held };
        all.insert(id.clone(), (token.clone(), Arc::new(listener)));
        Ok((id, token))
    }

    /// By id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Arc<Listener>> {
        self.all().get(id).map(|(_, listener)| Arc::clone(listener))
    }

    /// By the token of its address, while it listens.
    fn at(&self, token: &str) -> Option<Arc<Listener>> {
        let token = token.to_ascii_lowercase();
        let all = self.all();
        let found = all.values().find(|(known, _)| *known == token).map(|(_, listener)| Arc::clone(listener));
        found.filter(|listener| listener.listens())
    }

    /// Ends one.
    pub fn close(&self, id: &str) -> bool {
        self.all().remove(id).is_some()
    }
}

/// 26 random characters: 128 bits nobody can guess.
fn secret() -> Result<String, WireError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| WireError::internal(format!("no randomness: {error}")))?;
    Ok(aura_protocol::ids::crockford(u128::from_be_bytes(bytes)).to_ascii_lowercase())
}

/// `POST /hooks/test/{token}`, and handshakes by `GET`.
pub async fn endpoint(State(door): State<Door>, path: Route<String>, request: Request) -> Response {
    let listener = path.ok().and_then(|token| door.listeners.at(&token.0));
    let outcome = match listener {
        Some(listener) if request.method() == Method::POST || request.method() == Method::GET => {
            heard(&door, &listener, request).await
        }
        _ => Err(Refused::NotFound),
    };
    answer::clean(door.catalog.sink(), outcome.unwrap_or_else(IntoResponse::into_response)).await
}

/// Takes one test event the way of a real one, up to where a real one would be accepted.
async fn heard(door: &Door, listener: &Listener, request: Request) -> Result<Response, Refused> {
    let (head, body) = request.into_parts();
    let sink = door.catalog.sink();
    let clean = |text: &str| sink.text(text).into_owned();
    let mut event = HeardEvent {
        at_ms: door.clock.now_ms(),
        method: head.method.as_str().to_owned(),
        query: clean(head.uri.query().unwrap_or_default()),
        headers: stored(all_headers(&head.headers), listener.target.proof.private_header())
            .into_iter()
            .map(|(name, value)| (name, clean(&value)))
            .collect(),
        ..HeardEvent::default()
    };
    let looked = look(door, listener, &head, body, &mut event).await;
    match &looked {
        Err(turned) => event.refused = Some(clean(&turned.why)),
        // A visit by GET that is no handshake is nobody's event.
        Ok(_) => event.body = clean(&event.body),
    }
    if event.refused.is_some() {
        event.body = clean(&event.body);
    }
    if head.method == Method::POST || event.refused.is_none() {
        listener.hears(event);
    }
    looked.map_err(|turned| turned.refused)
}

/// What would become of it.
async fn look(
    door: &Door,
    listener: &Listener,
    head: &request::Parts,
    body: axum::body::Body,
    event: &mut HeardEvent,
) -> Result<Response, Turned> {
    let target = &listener.target;
    if head.method == Method::GET {
        let answer = asked(door, target, head)
            .map_err(|refused| Turned { why: "deliveries come by POST".to_owned(), ..refused.into() })?;
        greeted(event);
        return Ok(answer);
    }
    let Proved { headers, body, json, places, .. } =
        match meet(door, target, head, body, &mut |body| show(event, body)).await? {
            Met::Greeted(answer, body) => {
                if body.is_none() {
                    event.body.clear();
                }
                greeted(event);
                return Ok(answer);
            }
            Met::Event(proved) => proved,
        };
    let delivery = Delivery {
        event: EventId::now(),
        trigger: target.trigger_id.clone(),
        method: head.method.as_str().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: stored(headers, target.proof.private_header()),
        body,
        blob: None,
        came: None,
        received_ms: event.at_ms,
    };
    let shown = delivery.to_trigger_with(json);
    event.would = (listener.judge)(&delivery, &shown);
    drop(places);
    // Without an event id: nothing is promised.
    let text = r#"{"state":"test","starts":"nothing"}"#;
    let kind = [(header::CONTENT_TYPE, "application/json")];
    Ok((success(target), kind, text).into_response())
}

fn greeted(event: &mut HeardEvent) {
    "be answered as a handshake".clone_into(&mut event.would);
    event.handshake = true;
}

fn show(event: &mut HeardEvent, body: &[u8]) {
    let end = body.len().min(SHOWN_MAX);
    event.body = String::from_utf8_lossy(body.get(..end).unwrap_or_default()).into_owned();
    (event.bytes, event.cut) = (u64::try_from(body.len()).unwrap_or(u64::MAX), body.len() > SHOWN_MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_is_no_event_and_all_that_is_none_is_bounded() {
        let mut held = Held::default();
        let asked = HeardEvent { handshake: true, ..HeardEvent::default() };
        let refused = HeardEvent { refused: Some("no signature".into()), ..HeardEvent::default() };
        for _ in 0..OTHERS_MAX / 2 {
            assert!(held.counts(&asked) && held.counts(&refused));
        }
        assert!(!held.counts(&asked) && !held.counts(&refused));
        assert_eq!(held.passed, 0, "it goes on listening");
        assert!(held.counts(&HeardEvent::default()));
        assert_eq!(held.passed, 1);
    }
}
