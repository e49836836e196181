//! Lanes against a store that is a map: order, fairness, bounds.

use std::collections::BTreeMap;

use aura_storage::rows::outgoing::SigningSecret;
use proptest::prelude::*;

use super::*;

fn id(number: u8) -> SubscriptionId {
    SubscriptionId::from_bytes([number; 16])
}

fn record(number: u8, ordered: bool, rate: Option<&str>) -> SubscriptionRecord {
    SubscriptionRecord {
        id: id(number),
        name: format!("s{number}"),
        url: "https://a.example".to_owned(),
        types: vec!["*".to_owned()],
        customer: None,
        note: String::new(),
        headers: Vec::new(),
        rate: rate.map(str::to_owned),
        ordered,
        enabled: true,
        secrets: vec![SigningSecret { value: "x".to_owned(), until_ms: None }],
        created_ms: 0,
        changed_ms: 0,
        deleted: None,
    }
}

/// Due rows as the store has them: by lane, time in the key and message, with when each may be sent.
#[derive(Default)]
struct Rows(BTreeMap<(SubscriptionId, i64, MessageId), i64>);

impl Rows {
    fn page(&self, lane: SubscriptionId, ordered: bool, room: usize, now: i64) -> Page {
        let low = MessageId::from_bytes([0; 16]);
        let of_lane = self.0.range((lane, i64::MIN, low)..).take_while(|((of, ..), _)| *of == lane);
        let mut page = Page::default();
        for ((_, due_ms, message), next) in of_lane.take(if ordered { 1 } else { room }) {
            if *next > now {
                page.next_ms = Some(*next);
                break;
            }
            page.due.push(Due { due_ms: *due_ms, message: *message });
        }
        page
    }
}

fn take(lanes: &mut Lanes, rows: &Rows, now: i64) -> Option<(SubscriptionId, Due)> {
    loop {
        match lanes.next(now) {
            Next::Send(lane, due) => return Some((lane, due)),
            Next::Read { id, ordered, room } => lanes.filled(id, rows.page(id, ordered, room, now), now),
            Next::Nothing => return None,
        }
    }
}

#[test]
fn ids_of_messages_only_grow() {
    let mut lanes = Lanes::new(4, 4);
    let first = lanes.message(1000, [255; 10]);
    let second = lanes.message(1000, [0; 10]);
    let third = lanes.message(5, [0; 10]);
    assert!(first < second && second < third);
    lanes.made(MessageId::from_bytes([200; 16]));
    assert!(lanes.message(6, [0; 10]) > MessageId::from_bytes([200; 16]));
}

#[test]
fn silent_receivers_leave_half_of_the_places_to_the_others() {
    let mut lanes = Lanes::new(16, 16);
    let mut rows = Rows::default();
    for number in 1..=20 {
        lanes.configure(id(number), Some(&record(number, false, None)));
        for _ in 0..100 {
            rows.0.insert((id(number), 0, lanes.message(0, [number; 10])), 0);
        }
    }
    let mut at_work = Vec::new();
    while let Some(next) = take(&mut lanes, &rows, 0) {
        at_work.push(next);
    }
    assert_eq!(at_work.len(), 8, "nobody has answered yet, so all share a half");
    // One of them answers at once: it has the other half for itself.
    let (quick, due) = at_work.remove(0);
    rows.0.remove(&(quick, due.due_ms, due.message));
    lanes.ended(quick, due.message, Went::Answered(Duration::from_millis(5)));
    let mut more = Vec::new();
    while let Some(next) = take(&mut lanes, &rows, 0) {
        more.push(next);
    }
    let of_quick = more.iter().filter(|(lane, _)| *lane == quick).count();
    assert!(of_quick >= 7, "{of_quick} of the quick one");
    assert_eq!(lanes.at_work(), 16);
    assert!(lanes.slow <= 8);
}

#[test]
fn a_lane_keeps_a_handful_of_names_of_a_million() {
    let mut lanes = Lanes::new(256, 16);
    let mut rows = Rows::default();
    lanes.configure(id(1), Some(&record(1, false, None)));
    for _ in 0..100_000 {
        rows.0.insert((id(1), 0, lanes.message(0, [1; 10])), 0);
    }
    let mut sent = 0;
    let mut out = Vec::new();
    loop {
        while let Some(next) = take(&mut lanes, &rows, 0) {
            out.push(next);
        }
        let lane = &lanes.lanes[&id(1)];
        assert!(lane.ready.len() <= READY_EACH * 16 + 16 && lane.at_work.len() <= 16);
        let Some((lane, due)) = out.pop() else { break };
        rows.0.remove(&(lane, due.due_ms, due.message));
        lanes.ended(lane, due.message, Went::Answered(Duration::ZERO));
        sent += 1;
    }
    assert_eq!(sent, 100_000);
}

#[test]
fn a_rate_holds_and_a_disabled_lane_sends_nothing() {
    let mut lanes = Lanes::new(16, 16);
    let mut rows = Rows::default();
    lanes.configure(id(1), Some(&record(1, false, Some("2/1s"))));
    for _ in 0..5 {
        rows.0.insert((id(1), 0, lanes.message(0, [1; 10])), 0);
    }
    let now = 1_000_000;
    assert!(take(&mut lanes, &rows, now).is_some() && take(&mut lanes, &rows, now).is_some());
    assert_eq!(take(&mut lanes, &rows, now), None);
    assert_eq!(lanes.next_ms(), Some(now + 1001));
    assert!(take(&mut lanes, &rows, now + 1001).is_some());
    let health = HealthRow { disabled: Some((0, aura_protocol::outgoing::Cause::Gone)), ..HealthRow::default() };
    lanes.fares(id(1), health);
    assert_eq!(take(&mut lanes, &rows, now + 9_000), None);
    lanes.fares(id(1), HealthRow::default());
    assert!(take(&mut lanes, &rows, now + 9_000).is_some());
    lanes.configure(id(1), Some(&SubscriptionRecord { enabled: false, ..record(1, false, None) }));
    assert_eq!(take(&mut lanes, &rows, now + 99_000), None);
}

#[test]
fn what_comes_while_a_lane_is_read_is_not_forgotten() {
    let mut lanes = Lanes::new(4, 4);
    lanes.configure(id(1), Some(&record(1, false, None)));
    assert_eq!(lanes.next(5), Next::Read { id: id(1), ordered: false, room: READY });
    // Read before it came, told after.
    lanes.heat(id(1));
    lanes.filled(id(1), Page { due: Vec::new(), next_ms: Some(9_000) }, 5);
    assert_eq!(lanes.next(5), Next::Read { id: id(1), ordered: false, room: READY });
    lanes.filled(id(1), Page { due: Vec::new(), next_ms: Some(9_000) }, 5);
    assert_eq!((lanes.next(5), lanes.next_ms()), (Next::Nothing, Some(9_000)));
}

#[test]
fn a_receiver_is_sent_to_again_while_its_answers_are_stored_but_not_for_ever() {
    let mut lanes = Lanes::new(256, 4);
    let mut rows = Rows::default();
    for (number, ordered) in [(1, false), (2, true)] {
        lanes.configure(id(number), Some(&record(number, ordered, None)));
        for _ in 0..100 {
            rows.0.insert((id(number), 0, lanes.message(0, [number; 10])), 0);
        }
    }
    let quick = Went::Answered(Duration::ZERO);
    let (mut settling, mut of_ordered) = (Vec::new(), Vec::new());
    while let Some((lane, due)) = take(&mut lanes, &rows, 0) {
        lanes.answered(lane, due.message, quick);
        assert!(lanes.is_at_work(lane, due.message), "it may not be sent again yet");
        if lane == id(1) { settling.push(due) } else { of_ordered.push(due) }
    }
    let seen: BTreeSet<MessageId> = settling.iter().map(|due| due.message).collect();
    assert_eq!((seen.len(), settling.len()), (4 * SETTLING, 4 * SETTLING), "each once, and no more than that wait");
    assert_eq!((of_ordered.len(), lanes.at_work()), (1, 1), "in order nothing is sent before the one before is stored");
    let first = settling.remove(0);
    rows.0.remove(&(id(1), first.due_ms, first.message));
    lanes.ended(id(1), first.message, quick);
    let (lane, next) = take(&mut lanes, &rows, 0).expect("one is stored, so there is room");
    assert!(lane == id(1) && !seen.contains(&next.message));
    // One that could not be stored is looked at again, later.
    lanes.answered(lane, next.message, quick);
    lanes.ended(lane, next.message, Went::Nothing(1_000));
    assert_eq!((take(&mut lanes, &rows, 0), lanes.next_ms()), (None, Some(1_000)));
    for due in settling {
        rows.0.remove(&(id(1), due.due_ms, due.message));
        lanes.ended(id(1), due.message, quick);
    }
    assert_eq!(take(&mut lanes, &rows, 1_000), Some((id(1), next)));
}

#[derive(Clone, Debug)]
enum Step {
    Add(u8),
    Answer(usize, bool),
    End(usize, bool),
    Lose(usize),
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1_u8..5).prop_map(Step::Add),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(which, fails)| Step::End(which, fails)),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(which, fails)| Step::Answer(which, fails)),
        1 => any::<usize>().prop_map(Step::Lose),
        1 => (1_i64..5_000).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens: nothing is at work twice, ordered lanes keep their order, all is sent in the end, and the
    /// places are never exceeded.
    #[test]
    fn everything_is_sent_once_and_ordered_lanes_in_order(steps in proptest::collection::vec(step(), 1..300)) {
        let mut lanes = Lanes::new(6, 3);
        let mut rows = Rows::default();
        let (mut now, mut at_work, mut over) = (0_i64, Vec::<(SubscriptionId, Due)>::new(), Vec::new());
        // Answered and not stored yet; whether it failed.
        let mut settling = Vec::<((SubscriptionId, Due), bool)>::new();
        let mut added = 0_usize;
        for number in 1..5 {
            lanes.configure(id(number), Some(&record(number, number < 3, None)));
        }
        let mut tries: BTreeMap<MessageId, u32> = BTreeMap::new();
        let mut end = |lanes: &mut Lanes, rows: &mut Rows, over: &mut Vec<_>, (lane, due): (SubscriptionId, Due), fails: bool, now: i64| {
            let next = rows.0.remove(&(lane, due.due_ms, due.message));
            assert!(next.is_some_and(|next| next <= now), "sent before its time, or twice");
            let count = tries.entry(due.message).or_default();
            *count += 1;
            if fails && *count < 3 {
                let at = now + 700;
                let ordered = lane < id(3);
                rows.0.insert((lane, if ordered { 0 } else { at }, due.message), at);
            } else {
                over.push((lane, due.message));
            }
            let went = if fails { Went::Silent } else { Went::Answered(Duration::ZERO) };
            lanes.ended(lane, due.message, went);
        };
        for step in steps {
            match step {
                Step::Add(number) => {
                    let due = if number < 3 { 0 } else { now };
                    rows.0.insert((id(number), due, lanes.message(now, [0; 10])), now);
                    added += 1;
                    lanes.heat(id(number));
                }
                Step::Answer(which, fails) if !at_work.is_empty() => {
                    let (lane, due) = at_work[which % at_work.len()];
                    let went = if fails { Went::Silent } else { Went::Answered(Duration::ZERO) };
                    lanes.answered(lane, due.message, went);
                    if lane >= id(3) {
                        at_work.retain(|other| *other != (lane, due));
                        settling.push(((lane, due), fails));
                    }
                }
                Step::End(which, fails) if which % 2 == 0 && !at_work.is_empty() => {
                    let which = which % at_work.len();
                    end(&mut lanes, &mut rows, &mut over, at_work.remove(which), fails, now);
                }
                Step::End(which, _) if !settling.is_empty() => {
                    let (next, fails) = settling.remove(which % settling.len());
                    end(&mut lanes, &mut rows, &mut over, next, fails, now);
                }
                // The commit failed: its row is as it was.
                Step::Lose(which) if !settling.is_empty() => {
                    let ((lane, due), _) = settling.remove(which % settling.len());
                    lanes.ended(lane, due.message, Went::Nothing(now + 1_000));
                }
                Step::Answer(..) | Step::End(..) | Step::Lose(_) => {}
                Step::Wait(ms) => now += ms,
            }
            while let Some(next) = take(&mut lanes, &rows, now) {
                prop_assert!(!at_work.contains(&next), "at work twice");
                prop_assert!(settling.iter().all(|(other, _)| *other != next), "at work and not yet stored");
                at_work.push(next);
            }
            prop_assert!(settling.len() <= 2 * (SETTLING + 1) * 3);
            prop_assert!(at_work.len() <= 6 && lanes.at_work() == at_work.len());
            for number in 1..3 {
                prop_assert!(at_work.iter().filter(|(lane, _)| *lane == id(number)).count() <= 1);
            }
        }
        for _ in 0..10_000 {
            while let Some((next, fails)) = settling.pop() {
                end(&mut lanes, &mut rows, &mut over, next, fails, now);
            }
            while let Some(next) = take(&mut lanes, &rows, now) {
                at_work.push(next);
            }
            match at_work.pop() {
                Some(next) => end(&mut lanes, &mut rows, &mut over, next, false, now),
                None if rows.0.is_empty() => break,
                None => now = lanes.next_ms().expect("what waits has a time").max(now),
            }
            while let Some(next) = take(&mut lanes, &rows, now) {
                at_work.push(next);
            }
        }
        prop_assert_eq!(over.len(), added);
        for number in 1..3 {
            let order: Vec<MessageId> =
                over.iter().filter(|(lane, _)| *lane == id(number)).map(|(_, message)| *message).collect();
            prop_assert!(order.is_sorted(), "an ordered lane");
        }
    }
}
