//! The lanes against a model that looks at everybody each time.

use proptest::prelude::*;

use super::*;
use crate::engine::core::bugs;

const KEYS: u8 = 3;

fn ask(kind: u8, key: u8, limit: Limit) -> Ask {
    let mut name = [kind; 16];
    name[1] = key;
    Ask { key: name, owner: [kind; 16], limit }
}

fn at_most(most: u32) -> Limit {
    Limit { most: Some(most), rate: None }
}

fn in_time(count: u32, per_us: i64) -> Limit {
    Limit { most: None, rate: Some(Rate { count, per_us }) }
}

fn behind(limit: Limit) -> Need {
    Need { narrow: None, wide: Some(ask(1, 0, limit)) }
}

/// What may happen to the lanes.
#[derive(Clone, Debug)]
enum Act {
    /// Somebody comes: narrow key, wide key, tenant, priority.
    Come(Option<u8>, Option<u8>, u8, i32),
    /// One of those at work begins to use its rates, and the first so many of them end.
    End(usize),
    /// One of those who wait gives up.
    GiveUp(usize),
    /// Time passes.
    Pass(i64),
}

fn act() -> impl Strategy<Value = Act> {
    let key = || proptest::option::of(0..KEYS);
    prop_oneof![
        4 => (key(), key(), 0_u8..3, -2_i32..3).prop_map(|(a, b, tenant, priority)| Act::Come(a, b, tenant, priority)),
        3 => (0_usize..8).prop_map(Act::End),
        1 => (0_usize..8).prop_map(Act::GiveUp),
        2 => (0_i64..400).prop_map(Act::Pass),
    ]
}

struct World {
    lanes: Lanes<u8, usize>,
    narrow: Limit,
    wide: Limit,
    most: usize,
    now: i64,
    waiting: Vec<(usize, Ticket, Need)>,
    at_work: Vec<(usize, Lane)>,
    uses: HashMap<PoolKey, Vec<i64>>,
    went: Vec<usize>,
}

impl World {
    fn goes(&mut self, item: usize, lane: Lane) {
        self.went.push(item);
        self.at_work.push((item, lane));
        self.lanes.used(lane, self.now);
        for key in lane.pools() {
            self.uses.entry(key).or_default().push(self.now);
        }
    }

    fn drain(&mut self) {
        while let Some((item, lane)) = self.lanes.next(self.now) {
            self.waiting.retain(|(other, ..)| *other != item);
            self.goes(item, lane);
        }
    }

    fn holders(&self, key: PoolKey) -> usize {
        self.at_work.iter().filter(|(_, lane)| lane.pools().any(|held| held == key)).count()
    }

    fn used(&self, key: PoolKey, per_us: i64) -> usize {
        self.uses.get(&key).map_or(0, |uses| uses.iter().filter(|at| **at + per_us > self.now).count())
    }

    /// Nobody has more than it may, and nobody waits who could go on.
    fn judge(&mut self) -> Result<(), TestCaseError> {
        prop_assert!(self.at_work.len() <= self.most);
        prop_assert_eq!(self.lanes.count(), self.waiting.len());
        for (kind, limit) in [(0, self.narrow), (1, self.wide)] {
            for key in 0..KEYS {
                let key = ask(kind, key, limit).key;
                if let Some(most) = limit.most {
                    prop_assert!(self.holders(key) <= usize::try_from(most).unwrap());
                }
                if let Some(rate) = limit.rate {
                    prop_assert!(self.used(key, rate.per_us) <= usize::try_from(rate.count).unwrap());
                }
            }
        }
        let waiting = self.waiting.clone();
        for (item, ticket, need) in waiting {
            let could =
                self.at_work.len() < self.most && need.lane().pools().all(|key| self.lanes.has_room(key, self.now));
            prop_assert!(!could, "{} waits and could go on", item);
            let (why, _) = self.lanes.why(ticket);
            if let Behind::Rate(_, _, Some(at)) = why {
                prop_assert!(at > self.now && self.lanes.wakes_us().is_some_and(|wakes| wakes <= at), "it is woken");
            }
            prop_assert!(why != Behind::Places || self.at_work.len() >= self.most, "{:?}", why);
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn nobody_has_more_than_it_may_and_nobody_waits_who_could_go_on(
        most in 1_usize..6, narrow in 1_u32..3, wide in 1_u32..4, count in 1_u32..4, by_rate in any::<(bool, bool)>(),
        acts in proptest::collection::vec(act(), 1..120),
    ) {
        let mut world = World {
            lanes: Lanes::new(most),
            narrow: if by_rate.0 { in_time(count, 300) } else { at_most(narrow) },
            wide: if by_rate.1 { in_time(count + 1, 200) } else { at_most(wide) },
            most, now: 0, waiting: Vec::new(), at_work: Vec::new(), uses: HashMap::new(), went: Vec::new(),
        };
        for (number, act) in acts.into_iter().enumerate() {
            match act {
                Act::Come(a, b, tenant, priority) => {
                    let need = Need {
                        narrow: a.map(|key| ask(0, key, world.narrow)),
                        wide: b.map(|key| ask(1, key, world.wide)),
                    };
                    world.drain();
                    if world.lanes.enter(&need, world.now) {
                        world.goes(number, need.lane());
                    } else {
                        let ticket = world.lanes.wait(&need, tenant, priority, number, world.now);
                        world.waiting.push((number, ticket, need));
                    }
                }
                Act::End(at) if at < world.at_work.len() => {
                    let (_, lane) = world.at_work.remove(at);
                    world.lanes.leave(lane, true, world.now);
                }
                Act::GiveUp(at) if at < world.waiting.len() => {
                    let (item, ticket, _) = world.waiting.remove(at);
                    prop_assert_eq!(world.lanes.remove(ticket, world.now), Some(item));
                }
                Act::Pass(time) => world.now += time,
                Act::End(_) | Act::GiveUp(_) => {}
            }
            world.drain();
            world.judge()?;
        }
        // Everybody goes on in the end.
        for _ in 0..2000 {
            if world.waiting.is_empty() {
                break;
            }
            for (_, lane) in std::mem::take(&mut world.at_work) {
                world.lanes.leave(lane, true, world.now);
            }
            world.drain();
            world.judge()?;
            world.now = world.lanes.wakes_us().unwrap_or(world.now).max(world.now);
        }
        prop_assert_eq!(world.waiting.len(), 0);
        for (_, lane) in std::mem::take(&mut world.at_work) {
            world.lanes.leave(lane, true, world.now);
        }
        world.lanes.tidy(world.now + 10_000_000_000);
        prop_assert!(world.lanes.pools.is_empty() && world.lanes.ready.is_empty() && world.lanes.sleeping.is_empty());
        prop_assert!(world.lanes.lines.is_empty() && world.lanes.rounds.is_empty());
    }
}

/// The order in which those who wait behind one place go: tenant and priority of each, by number.
fn order(waiting: &[(u8, i32)]) -> Vec<usize> {
    let mut lanes: Lanes<u8, usize> = Lanes::new(1);
    assert!(lanes.enter(&Need::default(), 0));
    for (number, (tenant, priority)) in waiting.iter().enumerate() {
        lanes.wait(&Need::default(), *tenant, *priority, number, 0);
    }
    lanes.leave(Lane::default(), false, 0);
    let mut went = Vec::new();
    while let Some((item, lane)) = lanes.next(0) {
        went.push(item);
        lanes.leave(lane, false, 0);
    }
    went
}

#[test]
fn the_higher_priority_goes_first_then_tenants_in_turn_then_who_came_first() {
    let all_of_one = [(1, 0), (1, 0), (1, 5), (1, -5), (1, 5)];
    assert_eq!(order(&all_of_one), [2, 4, 0, 1, 3]);
    let many_of_one = [(1, 0), (1, 0), (1, 0), (2, 0), (2, 0), (3, 0)];
    assert_eq!(order(&many_of_one), [0, 3, 5, 1, 4, 2], "a tenant with many does not hold up the others");
    assert_eq!(order(&[(1, 0), (1, 0), (2, 1)]), [2, 0, 1], "priority goes before fairness");
    bugs::with(Some(Bug::PriorityIsForgotten), || assert_ne!(order(&all_of_one), [2, 4, 0, 1, 3]));
    bugs::with(Some(Bug::FairnessIsForgotten), || assert_ne!(order(&many_of_one), [0, 3, 5, 1, 4, 2]));
}

#[test]
fn a_full_limit_holds_up_its_own_only() {
    let check = |expected: usize| {
        let mut lanes: Lanes<u8, u32> = Lanes::new(10);
        let need = behind(at_most(2));
        let entered = (0..5).filter(|_| lanes.enter(&need, 0)).count();
        assert!(lanes.enter(&Need::default(), 0), "others go on");
        assert_eq!(entered, expected);
    };
    check(2);
    bugs::with(Some(Bug::LimitIsIgnored), || check(5));
}

#[test]
fn who_waits_is_told_why_and_how_many_are_before_it() {
    let mut lanes: Lanes<u8, u32> = Lanes::new(10);
    let need = behind(in_time(1, 100));
    assert!(lanes.enter(&need, 0));
    let first = lanes.wait(&need, 1, 0, 1, 0);
    let second = lanes.wait(&need, 1, 0, 2, 0);
    let (Behind::Rate(_, _, None), 0) = lanes.why(first) else { panic!("what is spoken for comes first") };
    lanes.used(need.lane(), 5);
    let (Behind::Rate(_, _, Some(105)), 1) = lanes.why(second) else { panic!("{:?}", lanes.why(second)) };
    assert_eq!((lanes.wakes_us(), lanes.next(104)), (Some(105), None));
    assert_eq!(lanes.next(105).map(|(item, _)| item), Some(1));
    // The limit is taken away: nobody waits any more.
    lanes.set_limits([1; 16], 106, &|_, _| Limit::default());
    assert_eq!(lanes.next(106).map(|(item, _)| item), Some(2));
    assert_eq!((lanes.count(), lanes.wakes_us()), (0, None));
}
