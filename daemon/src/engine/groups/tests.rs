//! Groups against a plain model: whatever comes when, and however often the daemon is killed, each event is in one
//! group, groups of a key start in order, and none is larger or later than it may be.

use aura_protocol::EventId;
use aura_protocol::flow::Span;
use proptest::prelude::*;

use super::*;
use crate::engine::core::bugs;

const FLOW: [u8; 16] = [1; 16];

fn event(number: usize, at: i64, bytes: usize) -> Delivery {
    Delivery {
        event: EventId::from_bytes(u128::try_from(number).unwrap().to_be_bytes()),
        trigger: "in".to_owned(),
        method: "POST".to_owned(),
        query: String::new(),
        headers: Vec::new(),
        body: vec![b'1'; bytes],
        blob: None,
        received_ms: at,
        came: None,
    }
}

fn gather(key: u8, max: usize) -> Gather {
    let how = How::Batch { key: key.to_string(), max, within: Span::from_ms(100) };
    Gather { hash: [key; 16], how }
}

/// Rows as they are stored, and what started: key, events, when.
#[derive(Default)]
struct World {
    rows: HeldRows,
    stored: HashMap<HeldId, HeldRow>,
    ids: u128,
    started: Vec<(u8, Vec<EventId>, i64)>,
}

impl World {
    fn comes(&mut self, number: usize, key: u8, max: usize, at: i64, bytes: usize) {
        let ids = &mut self.ids;
        let id = || {
            *ids += 1;
            HeldId::from_bytes(ids.to_be_bytes())
        };
        let flow = (FlowId::from_bytes(FLOW), "in");
        let (_, row) = self.rows.joined(flow, &gather(key, max), &event(number, at, bytes), id);
        self.stored.insert(row.held, row.clone());
        self.rows.insert(row);
    }

    /// What is due starts; the order in which timers are looked at is no order of groups.
    fn looks(&mut self, now: i64, backwards: bool) {
        loop {
            let mut due: Vec<HeldId> =
                self.rows.iter().filter(|row| row.due_ms.is_some_and(|due| due <= now)).map(|row| row.held).collect();
            due.sort_unstable();
            if backwards {
                due.reverse();
            }
            let Some(held) = due.into_iter().find(|held| self.rows.first_of_its_key(*held).is_some()) else { return };
            let row = self.rows.take(held).unwrap();
            self.stored.remove(&held);
            self.started.push((row.hash[0], row.events, now));
        }
    }

    fn restarts(&mut self) {
        self.rows = HeldRows::default();
        for row in self.stored.values() {
            self.rows.insert(row.clone());
        }
    }
}

fn story(max: usize, story: &[(u8, i64, u8)]) -> Result<(), String> {
    let (mut world, mut now, mut came) = (World::default(), 0, Vec::new());
    for (number, (key, pause, what)) in story.iter().enumerate() {
        now += pause;
        match what {
            0 => world.restarts(),
            1 | 2 => world.looks(now, *what == 1),
            _ => {
                world.comes(number, *key, max, now, 1);
                came.push((*key, event(number, now, 0).event, now));
            }
        }
    }
    world.looks(now + 1_000, false);
    let told = |what: &str| Err(format!("{what}: {:?}", world.started));
    for key in 0..4 {
        let expected: Vec<EventId> = came.iter().filter(|it| it.0 == key).map(|it| it.1).collect();
        let of_key = || world.started.iter().filter(|it| it.0 == key);
        let got: Vec<EventId> = of_key().flat_map(|it| it.1.clone()).collect();
        if got != expected {
            return told("each event once and in order");
        }
        if of_key().any(|it| it.1.len() > max) {
            return told("no more than a batch holds");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_event_is_in_one_batch_and_batches_of_a_key_start_in_order(
        max in 2_usize..5,
        events in proptest::collection::vec((0_u8..4, 0_i64..60, 0_u8..12), 1..120),
    ) {
        prop_assert_eq!(story(max, &events), Ok(()));
    }
}

#[test]
fn a_batch_that_takes_too_many_is_noticed() {
    let events: Vec<(u8, i64, u8)> = (0..9).map(|_| (0, 1, 9)).collect();
    assert_eq!(story(3, &events), Ok(()));
    bugs::with(Some(Bug::FullBatchGoesOn), || assert!(story(3, &events).is_err()));
}

#[test]
fn a_batch_starts_when_it_is_full_when_its_time_is_over_and_when_it_is_large() {
    let mut world = World::default();
    for number in 0..3 {
        world.comes(number, 0, 3, i64::try_from(number).unwrap(), 1);
    }
    assert_eq!(world.rows.iter().map(|row| row.due_ms).collect::<Vec<_>>(), [Some(2)], "full");
    world.comes(3, 0, 3, 50, 1);
    let row = world.rows.iter().find(|row| row.events.len() == 1).cloned().unwrap();
    assert_eq!((row.due_ms, row.first_ms), (Some(150), 50), "counted from its first event");
    assert!(world.rows.first_of_its_key(row.held).is_none(), "the full one goes first");
    world.comes(4, 0, 3, 160, 1);
    assert_eq!(world.rows.len(), 3, "nothing joins one whose time is over");
    world.comes(5, 1, 3, 160, 5 * 1024 * 1024);
    let large = world.rows.iter().find(|row| row.hash == [1; 16]).unwrap();
    assert_eq!(large.due_ms, Some(160), "more bytes than a batch waits with");
}

#[test]
fn the_run_of_a_batch_sees_all_events_in_order_and_what_is_damaged() {
    let mut world = World::default();
    (0..3).for_each(|number| world.comes(number, 7, 3, 5, 1));
    let row = world.rows.iter().next().cloned().unwrap();
    let stored: Vec<EventRow> = [2, 0]
        .into_iter()
        .map(|number| crate::engine::held::held_event("f", "in", &event(number, 5, 1), String::new(), None))
        .collect();
    let all = delivery(&row, row.batch.as_ref().unwrap(), &stored).to_trigger();
    let events = all.get("events").and_then(Value::as_list).unwrap();
    let ids: Vec<&str> = events.iter().filter_map(|it| it.get("event")?.as_str()).collect();
    let expected: Vec<String> = row.events.iter().map(ToString::to_string).collect();
    assert_eq!(ids, expected);
    assert_eq!(events[0].get("body"), Some(&Value::from(1_i64)));
    assert!(events[1].get("unreadable").is_some() && events[1].get("body").is_none());
    assert_eq!(all.get("key"), Some(&Value::from(7_i64)));
    assert!(all.get("body").is_some_and(Value::is_null));
    let few = |bug| bugs::with(bug, || delivery(&row, row.batch.as_ref().unwrap(), &stored).to_trigger());
    let count = |all: &Value| all.get("events").and_then(Value::as_list).map(<[Value]>::len);
    assert_eq!((count(&few(None)), count(&few(Some(Bug::LastOfBatchIsLost)))), (Some(3), Some(2)));
}
