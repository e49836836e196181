//! The link against a fake daemon behind a real socket: restart, catching up, one id for one decision.

use std::path::PathBuf;
use std::time::Duration;

use aura_protocol::run::RunState;
use aura_protocol::watch::Item;
use tokio::sync::mpsc;

use crate::action::Request;
use crate::client::Session;
use crate::event::Event;
use crate::fake::{Fake, Script};
use crate::fixture;
use crate::store::{Link, Store};

struct Bench {
    _dir: tempfile::TempDir,
    socket: PathBuf,
    store: Store,
    replies: mpsc::Receiver<Event>,
    requests: mpsc::Sender<Request>,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("aurad.sock");
    let (events, replies) = mpsc::channel(64);
    let (requests, asked) = mpsc::channel(64);
    tokio::spawn(crate::link::link(socket.clone().into(), asked, events));
    Bench { _dir: dir, socket, store: Store::default(), replies, requests }
}

impl Bench {
    /// Feeds replies into the store until it is as wanted.
    async fn until(&mut self, what: &str, wanted: impl Fn(&Store) -> bool) {
        let wait = async {
            while !wanted(&self.store) {
                match self.replies.recv().await.unwrap() {
                    Event::Link(reply) => drop(self.store.apply(*reply)),
                    other => panic!("{other:?}"),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("never: {what}"));
    }
}

fn changed(number: u8, transition: u64) -> Item {
    let mut head = fixture::head(number, "order-paid-fulfil", RunState::Running);
    head.transition = transition;
    Item::Run(Box::new(head))
}

#[tokio::test]
async fn a_restart_is_seen_and_what_was_missed_is_caught_up_without_gaps() {
    let mut bench = bench();
    bench.until("away from the start", |store| matches!(store.link, Link::Down(..))).await;
    let fake = Fake::new(Script { heads: fixture::heads(), ..Script::default() });
    let first = fake.listen(&bench.socket);
    bench.until("connected", |store| store.link == Link::Up && store.runs.len() == 10).await;
    fake.push(changed(20, 10));
    bench.until("news", |store| store.runs[&fixture::run(20)].transition == 10).await;
    drop(first);
    bench.until("lost", |store| matches!(store.link, Link::Down(..))).await;
    assert_eq!(bench.store.runs.len(), 10, "the screen keeps what it knew");
    fake.push(changed(20, 11));
    fake.push(changed(21, 1));
    let _second = fake.listen(&bench.socket);
    bench.until("caught up", |store| store.notice.contains("caught up 2 events")).await;
    assert_eq!(bench.store.runs[&fixture::run(20)].transition, 11);
    assert!(bench.store.runs.contains_key(&fixture::run(21)));
    fake.push(changed(21, 2));
    bench.until("live again", |store| store.runs[&fixture::run(21)].transition == 2).await;
}

#[tokio::test]
async fn a_decision_that_lost_its_link_is_sent_again_with_the_same_id() {
    let mut bench = bench();
    let fake = Fake::new(Script { heads: fixture::heads(), unanswered: 1, ..Script::default() });
    let first = fake.listen(&bench.socket);
    bench.until("connected", |store| store.runs.len() == 10).await;
    bench.requests.send(Request::Cancel(fixture::run(20))).await.unwrap();
    fake.hangs().await;
    drop(first);
    let _second = fake.listen(&bench.socket);
    bench.until("cancelled", |store| store.runs[&fixture::run(20)].state == RunState::Cancelled).await;
    let cancels = fake.script.lock().unwrap().cancels.clone();
    assert!(cancels.len() == 2 && cancels[0] == cancels[1], "{cancels:?}");
}

#[tokio::test]
async fn a_command_that_lost_its_link_is_sent_again_with_the_same_id() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("aurad.sock");
    let fake = Fake::new(Script { heads: fixture::heads(), unanswered: 1, ..Script::default() });
    let first = fake.listen(&socket);
    let mut session = Session::new(socket.clone());
    let cancel = async {
        let request = aura_protocol::rpc::RunCancel {
            run: aura_protocol::rpc::RunRef(fixture::run(20).to_string()),
            reason: "test".into(),
        };
        session
            .call(|rpc, context, call| {
                let request = request.clone();
                async move { rpc.run_cancel(context, call, request).await }
            })
            .await
    };
    let restart = async {
        fake.hangs().await;
        drop(first);
        fake.listen(&socket)
    };
    let (head, _second) = tokio::join!(cancel, restart);
    assert_eq!(head.unwrap().state, RunState::Cancelled);
    let cancels = fake.script.lock().unwrap().cancels.clone();
    assert!(cancels.len() == 2 && cancels[0] == cancels[1], "{cancels:?}");
}

#[tokio::test]
async fn another_protocol_is_refused_with_the_older_side_named() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("aurad.sock");
    let fake = Fake::new(Script { protocol: 2, ..Script::default() });
    let _running = fake.listen(&socket);
    let error = crate::client::Client::connect(&socket.into()).await.err().unwrap();
    assert!(error.message.ends_with("aura is older"), "{error}");
}

#[tokio::test]
async fn a_run_that_is_watched_gets_its_transitions_and_a_gap_asks_anew() {
    let mut bench = bench();
    let fake = Fake::new(Script { heads: fixture::heads(), detail: Some(fixture::detail()), ..Script::default() });
    let _running = fake.listen(&bench.socket);
    bench.until("connected", |store| store.runs.len() == 10).await;
    let run = fixture::run(15);
    bench.requests.send(Request::Watch(Some(run))).await.unwrap();
    bench.requests.send(Request::Run(run)).await.unwrap();
    bench.until("its journal", |store| store.detail.is_some()).await;
    let transition = |number| aura_protocol::run::Transition { number, at_ms: fixture::NOW, records: Vec::new() };
    fake.push(Item::Transition(run, transition(8)));
    bench.until("one more", |store| store.detail.as_ref().unwrap().journal.len() == 8).await;
    fake.push(Item::Transition(run, transition(8)));
    fake.push(Item::Transition(run, transition(10)));
    bench.until("a gap", |store| store.detail_stale).await;
    assert_eq!(bench.store.detail.as_ref().unwrap().journal.len(), 8, "nothing is shown out of order");
}
