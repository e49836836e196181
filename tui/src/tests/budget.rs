//! Byte budgets with the real loop: the first frame, silence when nothing changes, one frame for a burst.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aura_protocol::run::RunState;
use aura_protocol::watch::{Item, WatchReply};
use aura_protocol::{Code, WireError};
use tokio::sync::mpsc;

use super::{app, key};
use crate::action::Request;
use crate::app::{Hands, run};
use crate::event::{Event, Reply};
use crate::fixture;
use crate::term::{Canvas, Screen};

#[derive(Clone, Default)]
struct Counter(Arc<Mutex<Vec<Vec<u8>>>>);

impl Counter {
    fn frames(&self) -> Vec<usize> {
        self.0.lock().unwrap().iter().map(Vec::len).collect()
    }
}

impl Screen for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap().push(bytes.to_vec());
        Ok(())
    }
    fn suspend(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn lend(&mut self, _: bool) -> io::Result<()> {
        Ok(())
    }
    fn size(&self) -> (u16, u16) {
        (100, 30)
    }
}

/// The loop on a full store, its inbox and what it wrote.
fn started() -> (mpsc::Sender<Event>, mpsc::Receiver<Request>, Counter, tokio::task::JoinHandle<io::Result<()>>) {
    let (events, mut inbox) = mpsc::channel(1024);
    let (requests, asked) = mpsc::channel(64);
    let counter = Counter::default();
    let mut screen = counter.clone();
    let task = tokio::task::spawn_local(async move {
        let mut app = app(fixture::store());
        let mut canvas = Canvas::new(false);
        let mut hands = Hands::new(requests, std::path::PathBuf::from("/nowhere").into());
        run(&mut app, &mut inbox, &mut hands, &mut screen, &mut canvas, Duration::from_millis(33)).await
    });
    (events, asked, counter, task)
}

fn news(items: Vec<Item>, now_ms: i64) -> Event {
    Event::Link(Box::new(Reply::News(WatchReply { cursor: 1, items, cut: false, more: false, now_ms }, true)))
}

#[tokio::test(start_paused = true)]
async fn the_first_frame_fits_its_budget_and_a_static_store_writes_nothing() {
    tokio::task::LocalSet::new()
        .run_until(async {
            let (events, _asked, counter, task) = started();
            tokio::time::sleep(Duration::from_millis(10)).await;
            let first = counter.frames();
            assert_eq!(first.len(), 1, "one write for one frame");
            assert!(first[0] <= 8000, "{} bytes", first[0]);
            // Long polls come back empty meanwhile, with the daemon's clock.
            for seconds in [25, 50] {
                tokio::time::sleep(Duration::from_secs(25)).await;
                events.send(news(Vec::new(), fixture::NOW + seconds * 1000)).await.unwrap();
            }
            tokio::time::sleep(Duration::from_secs(30)).await;
            assert_eq!(counter.frames(), first, "nothing changed, so nothing may be written");
            drop(events);
            task.await.unwrap().unwrap();
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_news_is_drawn_at_the_pace_of_frames() {
    tokio::task::LocalSet::new()
        .run_until(async {
            let (events, _asked, counter, _task) = started();
            for number in 0..200_u8 {
                let mut head = fixture::head(20, "order-paid-fulfil", RunState::Running);
                head.transition = 10 + u64::from(number);
                head.steps_done = u32::from(number);
                events.send(news(vec![Item::Run(Box::new(head))], fixture::NOW)).await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            let frames = counter.frames().len();
            assert!((20..=32).contains(&frames), "{frames} frames in a second");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_key_is_a_small_frame_and_no_question() {
    tokio::task::LocalSet::new()
        .run_until(async {
            let (events, mut asked, counter, _task) = started();
            tokio::time::sleep(Duration::from_millis(50)).await;
            events.send(Event::Key(key("j"))).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
            let frames = counter.frames();
            assert_eq!(frames.len(), 2, "drawn at once");
            assert!(frames[1] < 1200, "{} bytes for a moved selection", frames[1]);
            assert!(asked.try_recv().is_err(), "moving asks nothing");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_daemon_counts_its_seconds_and_keeps_the_screen() {
    tokio::task::LocalSet::new()
        .run_until(async {
            let (events, _asked, counter, _task) = started();
            tokio::time::sleep(Duration::from_millis(50)).await;
            let error = WireError::new(Code::Unreachable, "aurad closed the connection");
            events.send(Event::Link(Box::new(Reply::Down(error)))).await.unwrap();
            tokio::time::sleep(Duration::from_millis(4500)).await;
            let frames = counter.0.lock().unwrap().clone();
            let last = String::from_utf8(frames.last().unwrap().clone()).unwrap();
            assert!(frames.len() >= 5 && last.len() < 200, "{} frames, last {last:?}", frames.len());
            assert!(last.contains('4'), "{last:?}");
        })
        .await;
}
