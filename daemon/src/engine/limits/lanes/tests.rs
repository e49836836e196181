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

/// The rates of both kinds count in these times, whatever else of them changes.
const PER_US: [i64; 2] = [300, 200];

/// What may happen to the lanes.
#[derive(Clone, Debug)]
enum Act {
    /// Somebody comes: narrow key, wide key, tenant, priority.
    Come(Option<u8>, Option<u8>, u8, i32),
    /// One of those at work begins to use its rates.
    Use(usize),
    /// One of those at work ends, whether it used its rates or not.
    End(usize),
    /// One of those who wait gives up.
    GiveUp(usize),
    /// The narrow or wide limits are others: places, and uses of the rate.
    Limit(usize, Option<u32>, Option<u32>),
    /// Time passes.
    Pass(i64),
}

fn act() -> impl Strategy<Value = Act> {
    let key = || proptest::option::of(0..KEYS);
    let most = || proptest::option::of(1_u32..4);
    prop_oneof![
        5 => (key(), key(), 0_u8..3, -2_i32..3).prop_map(|(a, b, tenant, priority)| Act::Come(a, b, tenant, priority)),
        4 => (0_usize..8).prop_map(Act::Use),
        3 => (0_usize..8).prop_map(Act::End),
        1 => (0_usize..8).prop_map(Act::GiveUp),
        1 => (0_usize..2, most(), most()).prop_map(|(kind, most, count)| Act::Limit(kind, most, count)),
        2 => (0_i64..400).prop_map(Act::Pass),
    ]
}

fn limit(kind: usize, most: Option<u32>, count: Option<u32>) -> Limit {
    Limit { most, rate: count.map(|count| Rate { count, per_us: PER_US[kind] }) }
}

struct AtWork {
    lane: Lane,
    used: bool,
}

struct World {
    lanes: Lanes<u8, usize>,
    /// Of the narrow and of the wide ones.
    limits: [Limit; 2],
    most: usize,
    now: i64,
    waiting: Vec<(usize, Ticket, Need)>,
    at_work: Vec<AtWork>,
    uses: HashMap<PoolKey, Vec<i64>>,
}

impl World {
    fn limit_of(&self, key: PoolKey) -> Limit {
        self.limits[usize::from(key[0])]
    }

    /// Somebody's turn has come: nobody has more than it may by that.
    fn goes(&mut self, lane: Lane) -> Result<(), TestCaseError> {
        self.at_work.push(AtWork { lane, used: false });
        prop_assert!(self.at_work.len() <= self.most);
        for key in lane.pools() {
            let limit = self.limit_of(key);
            if let Some(most) = limit.most {
                prop_assert!(self.holders(key, |_| true) <= most);
            }
            if let Some(rate) = limit.rate {
                let used = self.used(key, rate.per_us) + self.holders(key, |one| !one.used);
                prop_assert!(used <= rate.count, "{} of {} in time", used, rate.count);
            }
        }
        Ok(())
    }

    fn begin(&mut self, at: usize) {
        let Some(one) = self.at_work.get_mut(at).filter(|one| !one.used) else { return };
        one.used = true;
        let lane = one.lane;
        self.lanes.used(lane, self.now);
        for key in lane.pools().filter(|key| self.limit_of(*key).rate.is_some()).collect::<Vec<_>>() {
            self.uses.entry(key).or_default().push(self.now);
        }
    }

    fn end(&mut self, at: usize) {
        let one = self.at_work.remove(at);
        self.lanes.leave(one.lane, one.used, self.now);
    }

    fn drain(&mut self) -> Result<(), TestCaseError> {
        while let Some((item, lane)) = self.lanes.next(self.now) {
            self.waiting.retain(|(other, ..)| *other != item);
            self.goes(lane)?;
        }
        Ok(())
    }

    fn holders(&self, key: PoolKey, which: impl Fn(&AtWork) -> bool) -> u32 {
        let holds = |one: &&AtWork| one.lane.pools().any(|held| held == key) && which(one);
        u32::try_from(self.at_work.iter().filter(holds).count()).unwrap()
    }

    fn used(&self, key: PoolKey, per_us: i64) -> u32 {
        let count = self.uses.get(&key).map_or(0, |uses| uses.iter().filter(|at| **at + per_us > self.now).count());
        u32::try_from(count).unwrap()
    }

    /// What is kept of those at work is true, and nobody waits who could go on.
    fn judge(&mut self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.lanes.count(), self.waiting.len());
        for (key, pool) in &self.lanes.pools {
            let (holders, spoken_for) = (self.holders(*key, |_| true), self.holders(*key, |one| !one.used));
            prop_assert_eq!((pool.at_work, pool.spoken_for), (holders, spoken_for), "{:?}", &key[..2]);
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
        let first = |kind: usize, by_rate: bool, most: u32, count: u32| match by_rate {
            true => limit(kind, None, Some(count)),
            false => limit(kind, Some(most), None),
        };
        let mut world = World {
            lanes: Lanes::new(most),
            limits: [first(0, by_rate.0, narrow, count), first(1, by_rate.1, wide, count + 1)],
            most, now: 0, waiting: Vec::new(), at_work: Vec::new(), uses: HashMap::new(),
        };
        for (number, act) in acts.into_iter().enumerate() {
            match act {
                Act::Come(a, b, tenant, priority) => {
                    let need = Need {
                        narrow: a.map(|key| ask(0, key, world.limits[0])),
                        wide: b.map(|key| ask(1, key, world.limits[1])),
                    };
                    world.drain()?;
                    if world.lanes.enter(&need, world.now) {
                        world.goes(need.lane())?;
                    } else {
                        let ticket = world.lanes.wait(&need, tenant, priority, number, world.now);
                        world.waiting.push((number, ticket, need));
                    }
                }
                Act::Use(at) => world.begin(at),
                Act::End(at) if at < world.at_work.len() => world.end(at),
                Act::GiveUp(at) if at < world.waiting.len() => {
                    let (item, ticket, _) = world.waiting.remove(at);
                    prop_assert_eq!(world.lanes.remove(ticket, world.now), Some(item));
                }
                Act::Limit(kind, most, count) => {
                    let changed = limit(kind, most, count);
                    world.limits[kind] = changed;
                    world.lanes.set_limits([u8::try_from(kind).unwrap(); 16], world.now, &|_, _| changed);
                }
                Act::Pass(time) => world.now += time,
                Act::End(_) | Act::GiveUp(_) => {}
            }
            world.drain()?;
            world.judge()?;
        }
        // Everybody goes on in the end.
        for _ in 0..2000 {
            if world.waiting.is_empty() {
                break;
            }
            while !world.at_work.is_empty() {
                world.begin(0);
                world.end(0);
            }
            world.drain()?;
            world.judge()?;
            world.now = world.lanes.wakes_us().unwrap_or(world.now).max(world.now);
        }
        prop_assert_eq!(world.waiting.len(), 0);
        while !world.at_work.is_empty() {
            world.end(0);
        }
        for kind in 0..2_u8 {
            let rate = limit(usize::from(kind), None, Some(1));
            world.lanes.set_limits([kind; 16], world.now, &|_, _| rate);
        }
        world.lanes.tidy(world.now + 10_000_000_000);
        prop_assert!(world.lanes.pools.is_empty() && world.lanes.ready.is_empty() && world.lanes.sleeping.is_empty());
        prop_assert!(world.lanes.lines.is_empty() && world.lanes.rounds.is_empty());
    }
}

#[test]
fn a_rate_that_comes_or_goes_between_turn_and_use_neither_shuts_nor_opens_the_limit() {
    let (none, rate) = (Limit::default(), in_time(1, 100));
    let check = |first: Limit, then: Limit, used: bool| {
        let mut lanes: Lanes<u8, u32> = Lanes::new(10);
        assert!(lanes.enter(&behind(first), 0));
        let other = behind(then);
        lanes.set_limits([1; 16], 0, &|_, _| then);
        if used {
            lanes.used(other.lane(), 0);
        }
        lanes.leave(other.lane(), used, 0);
        lanes.set_limits([1; 16], 500, &|_, _| rate);
        assert!(lanes.enter(&behind(rate), 500), "{first:?} {then:?} {used}: it is free again");
        assert!(!lanes.enter(&behind(rate), 500), "{first:?} {then:?} {used}: for one");
    };
    for used in [false, true] {
        check(none, rate, used);
        check(rate, none, used);
        check(at_most(1), in_time(1, 200), used);
    }
}

#[test]
fn a_rate_behind_a_full_limit_wakes_nobody_and_ends() {
    let mut lanes: Lanes<u8, u32> = Lanes::new(10);
    let need = behind(Limit { most: Some(1), rate: Some(Rate { count: 1, per_us: 100 }) });
    assert!(lanes.enter(&need, 0));
    lanes.used(need.lane(), 0);
    lanes.wait(&need, 1, 0, 1, 0);
    assert_eq!(lanes.wakes_us(), None, "only one that leaves makes room");
    assert_eq!(lanes.next(500), None);
    lanes.leave(need.lane(), true, 500);
    assert_eq!(lanes.next(500).map(|(item, _)| item), Some(1));
}

#[test]
fn whose_turn_a_look_brought_is_not_forgotten() {
    let mut lanes: Lanes<u8, u32> = Lanes::new(10);
    let need = behind(in_time(1, 100));
    assert!(lanes.enter(&need, 0));
    lanes.used(need.lane(), 0);
    lanes.wait(&need, 1, 0, 1, 0);
    assert_eq!(lanes.wakes_us(), Some(100));
    // Somebody only asks, and does not come in: who waited has its turn from now on, and nothing else wakes it.
    assert!(!lanes.is_free(&need, 100));
    assert_eq!(lanes.wakes_us(), Some(0));
    assert_eq!(lanes.next(100).map(|(item, _)| item), Some(1));
    assert_eq!(lanes.wakes_us(), None);
}

#[test]
fn a_turn_costs_the_same_however_many_lanes_share_a_limit() {
    let mut lanes: Lanes<u8, u32> = Lanes::new(10_000);
    let need = |number: u32| {
        let mut wide = ask(1, 0, at_most(1));
        wide.key[2..6].copy_from_slice(&number.to_be_bytes());
        Need { narrow: Some(ask(0, 0, in_time(400, 1000))), wide: Some(wide) }
    };
    for number in 0..400 {
        assert!(lanes.enter(&need(number), 0));
        lanes.used(need(number).lane(), 0);
    }
    for number in 400..1000 {
        assert!(!lanes.enter(&need(number), 0));
        lanes.wait(&need(number), 1, 0, number, 0);
    }
    for number in 400..800 {
        let (item, lane) = lanes.next(1000).expect("the next stretch");
        assert_eq!(item, number);
        lanes.used(lane, 1000);
        lanes.leave(lane, true, 1000);
    }
    assert_eq!(lanes.next(1000), None);
    assert!(lanes.looks < 5_000, "{} looks at lines for 1,000 turns", lanes.looks);
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
