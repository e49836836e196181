//! At home: one link to each relay, which sends it the routes and takes what waits there.
//!
//! Invariant: a delivery is said to be stored only after its commit here, and the row that remembers it goes only after
//! the relay answered that; of one relay only one link takes, and what it began it ends, so that nothing is decided twice. A
//! pass goes from the oldest delivery to the newest; what could not be taken is tried again in the next pass, after a wait
//! that grows and in which what is new behind it is taken all the same. One answer is in memory at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aura_protocol::relay::{ACK_MAX, Numbered, RelayInfo, Relayed, TAKE_MAX, Take, Taken, check_url};
use aura_protocol::{RelayId, TenantId, wire};
use aura_storage::rows::relay::{RelayRecord, TakenRow, taken_key, taken_of};
use aura_storage::{Key, ReadError, Table, Txn};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::hand::{Became, hand_over};
use super::here::digest;
use super::link::Wire;
use crate::http::Door;

const TENANT: TenantId = TenantId::DEFAULT;
/// How long the relay is asked to wait for something.
const WAIT_MS: u64 = 20_000;
/// First and longest wait after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// Changes of the catalog that come together are sent together.
const GATHER: Duration = Duration::from_millis(50);

/// The links. Cheap to clone.
#[derive(Clone)]
pub struct Home(Arc<Inner>);

struct Inner {
    door: Door,
    links: Mutex<BTreeMap<RelayId, Link>>,
    /// Which entry takes from which relay, as relays name themselves.
    taking: Mutex<BTreeMap<RelayId, RelayId>>,
}

struct Link {
    record: Arc<RelayRecord>,
    seen: Arc<Seen>,
    end: CancellationToken,
    /// Its work, until that has ended.
    work: Option<JoinHandle<()>>,
}

/// How a link fares.
#[derive(Default)]
struct Seen {
    now: Mutex<Now>,
    taken: AtomicU64,
    repeated: AtomicU64,
    refused: AtomicU64,
}

#[derive(Clone, Default)]
struct Now {
    connected: bool,
    current: bool,
    public_url: String,
    waiting: u64,
    oldest_ms: Option<i64>,
    heard_ms: Option<i64>,
    away_since_ms: Option<i64>,
    error: String,
}

impl Seen {
    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Home {
    /// No link yet.
    #[must_use]
    pub fn new(door: Door) -> Self {
        Self(Arc::new(Inner { door, links: Mutex::default(), taking: Mutex::default() }))
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<RelayId, Link>> {
        self.0.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a link to every relay that is not paused, until the daemon ends.
    pub async fn keep(self) {
        let door = self.0.door.clone();
        let mut changes = door.catalog.changes();
        loop {
            changes.borrow_and_update();
            self.follow();
            tokio::select! {
                () = door.tasks.closing.cancelled() => break,
                changed = changes.changed() => if changed.is_err() { break },
            }
        }
        for link in self.links().values() {
            link.end.cancel();
        }
    }

    /// Begins and ends links as the catalog says.
    fn follow(&self) {
        let state = self.0.door.catalog.now();
        let mut links = self.links();
        let mut before = BTreeMap::new();
        links.retain(|id, link| {
            let stays = state.relays().any(|record| record.id == *id && *record == link.record);
            if !stays {
                link.end.cancel();
                before.insert(*id, link.work.take());
            }
            stays
        });
        for record in state.relays() {
            if links.contains_key(&record.id) {
                continue;
            }
            let (seen, end) = (Arc::<Seen>::default(), CancellationToken::new());
            let old = before.remove(&record.id).flatten();
            let link = (self.clone(), Arc::clone(record), Arc::clone(&seen), end.clone());
            let work = self.0.door.tasks.spawn(work(link, old));
            links.insert(record.id, Link { record: Arc::clone(record), seen, end, work: Some(work) });
        }
    }

    /// Whether an entry may take from a relay: one of them at most, whatever their addresses are.
    fn claim(&self, peer: RelayId, entry: RelayId) -> Result<(), String> {
        let mut taking = self.0.taking.lock().unwrap_or_else(PoisonError::into_inner);
        match taking.get(&peer).copied() {
            Some(other) if other != entry => {
                let links = self.links();
                let name = links.get(&other).map_or("another one", |link| link.record.name.as_str());
                Err(format!("it is the same relay as {name}, which takes from it already: remove one of them"))
            }
            _ => {
                taking.retain(|_, of| *of != entry);
                taking.insert(peer, entry);
                Ok(())
            }
        }
    }

    /// An entry takes from nobody any more.
    fn let_off(&self, entry: RelayId) {
        self.0.taking.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, of| *of != entry);
    }

    /// All relays as people see them, by name.
    #[must_use]
    pub fn shown(&self) -> Vec<RelayInfo> {
        let door = &self.0.door;
        let own: Vec<String> = door.catalog.own_answers().iter().map(|name| {
            format!("{name} answers its senders itself (reply: respond); over a relay they hear the usual acknowledgement")
        }).collect();
        let links = self.links();
        door.catalog.now().relays().map(|record| info(record, links.get(&record.id), &own)).collect()
    }

    /// What there is to say in the first line of a screen; nothing if every relay answers.
    #[must_use]
    pub fn say(&self) -> Option<String> {
        let links = self.links();
        let away = links.values().filter(|link| link.seen.now().away_since_ms.is_some());
        let away: Vec<String> = away.map(|link| format!("the relay {} is away", link.record.name)).collect();
        (!away.is_empty()).then(|| away.join("; "))
    }
}

/// A relay with how its link fares.
fn info(record: &RelayRecord, link: Option<&Link>, own: &[String]) -> RelayInfo {
    let seen = link.map(|link| Arc::clone(&link.seen)).unwrap_or_default();
    let now = seen.now().clone();
    let plain = check_url(&record.url, false).is_err();
    let plain = plain
        .then(|| "it is called without encryption: anybody on the way reads its token and your secrets".to_owned());
    RelayInfo {
        id: record.id,
        name: record.name.clone(),
        url: record.url.clone(),
        public_url: if now.public_url.is_empty() { record.url.clone() } else { now.public_url },
        paused: record.paused,
        connected: now.connected,
        current: now.current,
        waiting: now.waiting,
        oldest_ms: now.oldest_ms,
        heard_ms: now.heard_ms,
        away_since_ms: now.away_since_ms,
        taken: seen.taken.load(Relaxed),
        repeated: seen.repeated.load(Relaxed),
        refused: seen.refused.load(Relaxed),
        error: now.error,
        warnings: plain.into_iter().chain(own.iter().cloned()).collect(),
    }
}

/// The wait after so many failures in a row, with jitter.
fn backoff(failures: u32) -> Duration {
    let most = BACKOFF.0.saturating_mul(1 << failures.min(10)).min(BACKOFF.1);
    let mut byte = [0_u8; 1];
    let _ = getrandom::fill(&mut byte);
    let [random] = byte;
    most / 2 + most.mul_f32(f32::from(random) / 512.0)
}

/// One link.
struct Work {
    home: Home,
    door: Door,
    record: Arc<RelayRecord>,
    seen: Arc<Seen>,
    end: CancellationToken,
    wire: Wire,
    /// The relay as it names itself; none before its first answer.
    peer: Option<RelayId>,
    /// Stored here, and the relay does not know so.
    acks: BTreeSet<Numbered>,
    /// Where this pass is; 0 while all of it could be taken.
    after: u64,
    /// Why something of this pass stays there.
    left: Option<String>,
    /// When the next pass begins; none before this one was at its end.
    again: Option<Instant>,
    /// Requests in a row that failed.
    failures: u32,
    /// Passes in a row that took nothing of what was there.
    stuck: u32,
    /// Routes that the relay has, as far as is known.
    has: Option<[u8; 32]>,
    /// The routes of now, and of which change of the catalog.
    own: Option<(u64, [u8; 32])>,
}

type Entry = (Home, Arc<RelayRecord>, Arc<Seen>, CancellationToken);

async fn work((home, record, seen, end): Entry, before: Option<JoinHandle<()>>) {
    if let Some(before) = before {
        // What it had begun is decided first.
        let _ = before.await;
    }
    if record.paused {
        return;
    }
    let wire = match Wire::to(&record) {
        Ok(wire) => wire,
        Err(why) => {
            seen.now().error = why;
            return;
        }
    };
    let (door, entry) = (home.0.door.clone(), record.id);
    let (peer, acks, after, left, failures, stuck) = (None, BTreeSet::new(), 0, None, 0, 0);
    let (again, has, own) = (None, None, None);
    let mut work =
        Work { home, door, record, seen, end, wire, peer, acks, after, left, again, failures, stuck, has, own };
    work.go_on().await;
    work.seen.now().connected = false;
    work.home.let_off(entry);
}

impl Work {
    /// Takes until its end. It ends between two answers only: what is handed over is waited for.
    async fn go_on(&mut self) {
        let mut changes = self.door.catalog.changes();
        let (end, hold) = (self.end.clone(), self.door.engine.hold().clone());
        let mut wait_ms = 0;
        loop {
            tokio::select! {
                () = end.cancelled() => return,
                () = hold.released() => {}
            }
            let ack: Vec<Numbered> = self.acks.iter().take(ACK_MAX).copied().collect();
            let (said, wire) = (ack.clone(), self.wire.clone());
            let take = Take { after: self.after, ack, max: TAKE_MAX, wait_ms };
            let answer = tokio::select! {
                () = end.cancelled() => return,
                answer = self.answered(async move { wire.take(&take).await }, &mut changes) => answer,
            };
            let taken = match answer {
                Ok(taken) => taken,
                Err(why) => {
                    wait_ms = 0;
                    self.failures = self.failures.saturating_add(1);
                    self.failed(why, true).await;
                    continue;
                }
            };
            let said = match self.is(taken.relay) {
                Ok(true) => said,
                // What was said was said to another one.
                Ok(false) => Vec::new(),
                Err(why) => {
                    self.stuck = self.stuck.saturating_add(1);
                    self.failed(why, false).await;
                    continue;
                }
            };
            self.let_go(&said).await;
            self.heard(&taken);
            if let Err(why) = self.route().await {
                // What waits there is taken all the same.
                self.wrong(&why);
            }
            wait_ms = match self.took(taken.deliveries).await {
                Pass::Over => WAIT_MS,
                Pass::GoesOn => 0,
                Pass::Rests(wait) => u64::try_from(wait.as_millis()).unwrap_or(WAIT_MS).min(WAIT_MS),
                Pass::Stuck(why) => {
                    self.stuck = self.stuck.saturating_add(1);
                    self.failed(why, false).await;
                    0
                }
            };
        }
    }

    /// Waits for an answer; routes that change meanwhile are sent beside it.
    async fn answered(
        &mut self,
        asked: impl Future<Output = Result<Taken, String>>,
        changes: &mut watch::Receiver<u64>,
    ) -> Result<Taken, String> {
        tokio::pin!(asked);
        loop {
            tokio::select! {
                answer = &mut asked => return answer,
                Ok(()) = changes.changed() => {}
            }
            tokio::time::sleep(GATHER).await;
            changes.borrow_and_update();
            // Of one that has not answered yet nobody knows whether it is a relay.
            let connected = self.seen.now().connected;
            if connected && let Err(why) = self.route().await {
                self.wrong(&why);
            }
        }
    }

    /// Whether the relay that answers is the one of before; of another one what was taken of it is said to be stored.
    fn is(&mut self, peer: RelayId) -> Result<bool, String> {
        if self.peer == Some(peer) {
            return Ok(true);
        }
        self.home.claim(peer, self.record.id)?;
        let acks = self.load(peer).map_err(|error| format!("what was taken before cannot be read: {error}"))?;
        // What the one before it did not hear stays remembered, for when it is there again.
        (self.peer, self.acks, self.after, self.left, self.again) = (Some(peer), acks, 0, None, None);
        Ok(false)
    }

    fn load(&self, peer: RelayId) -> Result<BTreeSet<Numbered>, ReadError> {
        let all = Key::tenant(TENANT).id(peer.bytes());
        let (mut from, to, mut found) = (all.clone(), all.after_prefix(), BTreeSet::new());
        loop {
            let store = self.door.catalog.store();
            let page: Vec<(Key, TakenRow)> = store.scan(TENANT, Table::RelayTaken, &from, &to, ACK_MAX, false)?;
            let known =
                page.iter().filter_map(|(key, row)| Some(Numbered { number: row.number, event: taken_of(key)? }));
            found.extend(known);
            match page.last() {
                Some((key, _)) if page.len() == ACK_MAX => from = key.next(),
                _ => return Ok(found),
            }
        }
    }

    fn heard(&mut self, taken: &Taken) {
        self.has = taken.routes;
        self.failures = 0;
        let now_ms = self.door.clock.now_ms();
        let mut now = self.seen.now();
        if !now.connected {
            tracing::info!(relay = self.record.name, waiting = taken.waiting, "the relay answers");
        }
        let public_url = taken.public_url.chars().filter(|c| !c.is_control()).take(crate::config::PUBLIC_URL_MAX);
        let error = if self.stuck > 0 { now.error.clone() } else { String::new() };
        *now = Now {
            connected: true,
            public_url: public_url.collect(),
            waiting: taken.waiting,
            oldest_ms: taken.oldest_ms,
            heard_ms: Some(now_ms),
            away_since_ms: None,
            error,
            current: now.current,
        };
    }

    /// The relay let go of these: nothing has to be remembered of them.
    async fn let_go(&mut self, gone: &[Numbered]) {
        let Some(peer) = self.peer else { return };
        for one in gone {
            self.acks.remove(one);
        }
        for piece in gone.chunks(128) {
            let mut txn = Txn::new();
            for one in piece {
                txn.delete(Table::RelayTaken, taken_key(TENANT, peer, one.event));
            }
            // Otherwise the next start finds them, and says so again.
            if let Err(error) = self.door.catalog.store().commit_low(txn).await {
                tracing::warn!(%error, "what a relay let go of is still remembered");
            }
        }
    }

    /// Sends the routes if the relay has others.
    async fn route(&mut self) -> Result<(), String> {
        let change = *self.door.catalog.changes().borrow();
        if self.own.is_some_and(|(of, own)| of == change && self.has == Some(own)) {
            return Ok(());
        }
        let (catalog, body_max) = (self.door.catalog.clone(), self.door.limits.body_max);
        let made = tokio::task::spawn_blocking(move || wire::encode(&catalog.for_relays(body_max))).await;
        let encoded = match made {
            Ok(Ok(encoded)) => encoded,
            Ok(Err(error)) => return Err(format!("the routes cannot be written: {error}")),
            Err(error) => return Err(format!("the routes cannot be made: {error}")),
        };
        let own = digest(&encoded);
        self.own = Some((change, own));
        if self.has != Some(own) {
            self.seen.now().current = false;
            self.wire.routes(encoded).await.map_err(|why| format!("it did not take the routes: {why}"))?;
            tracing::info!(relay = self.record.name, "the relay has the routes of now");
            self.has = Some(own);
        }
        self.seen.now().current = true;
        Ok(())
    }

    async fn took(&mut self, deliveries: Vec<Relayed>) -> Pass {
        let Some(peer) = self.peer else { return Pass::Over };
        let last = deliveries.last().map(|one| one.which.number);
        let in_order = deliveries.is_sorted_by(|a, b| a.which.number < b.which.number);
        let behind = deliveries.first().is_none_or(|one| one.which.number > self.after);
        if deliveries.len() > usize::try_from(TAKE_MAX).unwrap_or(usize::MAX) || !in_order || !behind {
            return Pass::Stuck("its answer is none of a relay: deliveries are out of order or too many".to_owned());
        }
        let mut taken = 0;
        for (which, became) in hand_over(&self.door, (&self.record, peer), &self.wire, deliveries).await {
            let count = match became {
                Became::Taken => &self.seen.taken,
                Became::Repeated => &self.seen.repeated,
                Became::Refused => &self.seen.refused,
                Became::Later(why) => {
                    self.left = Some(why);
                    continue;
                }
            };
            count.fetch_add(1, Relaxed);
            taken += 1;
            self.acks.insert(which);
        }
        // What is new while a pass rests says nothing of what it left.
        if taken > 0 && self.again.is_none() {
            self.stuck = 0;
        }
        match (last, self.left.clone()) {
            (None, None) => {
                (self.after, self.stuck) = (0, 0);
                if self.acks.is_empty() { Pass::Over } else { Pass::GoesOn }
            }
            (Some(_), None) => {
                // What was taken is gone there before the next answer.
                self.after = 0;
                Pass::GoesOn
            }
            (last, Some(why)) => {
                self.after = last.unwrap_or(self.after);
                self.left_behind(last.is_none(), &why)
            }
        }
    }

    /// How a pass goes on that left something: to its end, and from there it waits behind all of it for what is new, until
    /// the next one begins.
    fn left_behind(&mut self, at_end: bool, why: &str) -> Pass {
        let now = Instant::now();
        let again = match self.again {
            None if !at_end => return Pass::GoesOn,
            None => {
                let again = now + backoff(self.stuck);
                (self.stuck, self.again) = (self.stuck.saturating_add(1), Some(again));
                self.wrong(why);
                again
            }
            Some(again) => again,
        };
        if again <= now {
            (self.after, self.left, self.again) = (0, None, None);
            return Pass::GoesOn;
        }
        match self.acks.is_empty() {
            true => Pass::Rests(again - now),
            false => Pass::GoesOn,
        }
    }

    /// Says what is wrong, once.
    fn wrong(&self, why: &str) {
        let mut now = self.seen.now();
        if now.error != why {
            tracing::warn!(relay = self.record.name, "{why}");
            now.error = why.to_owned();
        }
    }

    /// Says what is wrong, and waits.
    async fn failed(&mut self, why: String, away: bool) {
        self.wrong(&why);
        if away {
            let now_ms = self.door.clock.now_ms();
            let mut now = self.seen.now();
            now.connected = false;
            now.away_since_ms = now.away_since_ms.or(Some(now_ms));
        }
        let tries = self.failures.max(self.stuck).saturating_sub(1);
        tokio::select! {
            () = self.end.cancelled() => {}
            () = tokio::time::sleep(backoff(tries)) => {}
        }
    }
}

/// How a pass stands.
enum Pass {
    /// There is nothing more.
    Over,
    /// There may be more.
    GoesOn,
    /// It left something; so long until the next one.
    Rests(Duration),
    /// The answer is none: why.
    Stuck(String),
}
