//! Schedules under a virtual clock: steps, absences and jumps of the clock, against a plain model.

use std::collections::BTreeSet;

use aura_protocol::Value;
use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

fn schedule(text: &str) -> Schedule {
    match Value::from_json(text.as_bytes()) {
        Ok(Value::Map(map)) => Schedule::read(&map).unwrap(),
        other => panic!("{text}: {other:?}"),
    }
}

fn at(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

fn mark(text: &str) -> Mark {
    Mark { ms: at(text), gap: None }
}

#[test]
fn what_was_missed_is_treated_as_the_flow_says() {
    let check = |settings: &str, from: &str, now: &str, fire: &[&str], missed: u64| {
        let due = due(&schedule(settings), mark(from), at(now));
        let (fired, left) = due.map_or((Vec::new(), 0), |due| (due.fire, due.missed));
        assert_eq!(fired, fire.iter().map(|text| at(text)).collect::<Vec<_>>(), "{settings} {from} {now}");
        assert_eq!(left, missed, "{settings} {from} {now}");
    };
    let hourly = |catch_up: &str| format!(r#"{{"cron":"0 * * * *","catch_up":"{catch_up}"}}"#);
    let (nine, half_past_twelve) = ("2026-11-22T09:00:00Z", "2026-11-22T12:30:00Z");
    check(&hourly("latest"), nine, "2026-11-22T09:59:59.999Z", &[], 0);
    check(&hourly("latest"), nine, "2026-11-22T10:00:00Z", &["2026-11-22T10:00:00Z"], 0);
    check(&hourly("latest"), nine, half_past_twelve, &["2026-11-22T12:00:00Z"], 2);
    check(&hourly("skip"), nine, half_past_twelve, &[], 3);
    check(&hourly("skip"), nine, "2026-11-22T12:00:30Z", &["2026-11-22T12:00:00Z"], 2);
    let all = &["2026-11-22T10:00:00Z", "2026-11-22T11:00:00Z", "2026-11-22T12:00:00Z"];
    check(&hourly("all"), nine, half_past_twelve, all, 0);
    // A restart of some seconds is no absence, whatever the flow says.
    let seconds = &["2026-11-22T09:00:01Z", "2026-11-22T09:00:02Z", "2026-11-22T09:00:03Z"];
    check(r#"{"every":"1s","catch_up":"skip"}"#, nine, "2026-11-22T09:00:03.5Z", seconds, 0);
}

#[test]
fn a_cap_and_jitter_decide_how_much_is_caught_up_and_when() {
    let capped = schedule(r#"{"cron":"0 * * * *","catch_up":{"all":2}}"#);
    let caught = due(&capped, mark("2026-11-22T09:00:00Z"), at("2026-11-22T13:30:00Z")).unwrap();
    assert_eq!((caught.fire, caught.missed), (vec![at("2026-11-22T12:00:00Z"), at("2026-11-22T13:00:00Z")], 2));
    let spread = schedule(r#"{"cron":"0 * * * *","jitter":"20m"}"#).seeded([7; 16]);
    let (nine, ten) = (mark("2026-11-22T09:00:00Z"), at("2026-11-22T10:00:00Z"));
    let begins = spread.fires_at(ten);
    assert!(begins > ten && begins < ten + 1_200_000, "{begins}");
    assert_eq!(due(&spread, nine, begins - 1), None);
    let on_time = due(&spread, nine, begins).unwrap();
    assert_eq!((on_time.fire, on_time.late), (vec![ten], false), "late counts from when it begins");
    assert!(due(&spread, nine, begins + GRACE_MS + 1).unwrap().late);
}

#[test]
fn ten_years_of_seconds_are_decided_at_once_and_bounded() {
    let began = std::time::Instant::now();
    let (from, now) = ("2026-11-22T09:00:00Z", "2036-11-22T09:00:00Z");
    let all = due(&schedule(r#"{"every":"1s","catch_up":"all"}"#), mark(from), at(now)).unwrap();
    assert_eq!((all.fire.len(), all.fire[999], all.mark.ms), (ALL_MAX, at(now), at(now)));
    assert_eq!(all.missed, 10 * 365 * 86_400 + 3 * 86_400 - 1_000);
    assert!(all.late);
    let yearly = due(&schedule(r#"{"cron":"0 0 1 1 *","catch_up":"all"}"#), mark(from), at(now)).unwrap();
    assert_eq!((yearly.fire.len(), yearly.missed), (10, 0));
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_clock_that_was_ten_years_ahead_does_not_stop_the_schedule_for_ten_years() {
    let hourly = schedule(r#"{"cron":"0 * * * *"}"#);
    let before = mark("2026-11-22T09:00:00Z");
    let ahead = due(&hourly, before, at("2036-11-22T09:30:00Z")).unwrap();
    assert_eq!(ahead.fire, [at("2036-11-22T09:00:00Z")]);
    let now = at("2026-11-22T09:40:00Z");
    let back = ahead.mark.rewound(now).unwrap();
    assert_eq!(due(&hourly, back, now), None, "what was decided before the jump is not fired again");
    assert_eq!(due(&hourly, back, at("2026-11-22T10:00:00Z")).unwrap().fire, [at("2026-11-22T10:00:00Z")]);
    // Set back to before what fired for real: it waits until the clock is there again.
    let behind = ahead.mark.rewound(at("2026-11-22T08:00:00Z")).unwrap();
    assert_eq!(behind.ms, before.ms);
    assert_eq!(behind.rewound(at("2026-11-22T08:00:00Z")), None);
    // An hour back without a jump before: nothing moves.
    assert_eq!(before.rewound(at("2026-11-22T08:00:00Z")), None);
    // Published while the clock was ahead.
    let published = Mark::begin(None, at("2036-11-22T09:30:00Z"));
    assert_eq!(published.rewound(now).map(|mark| mark.ms), Some(now));
}

/// One thing that happens to the clock or the daemon.
#[derive(Clone, Debug)]
enum Happens {
    /// The daemon looks after so many milliseconds.
    Look(i64),
    /// The daemon is away for so long.
    Away(i64),
    /// The clock is set by so much.
    Set(i64),
    /// Killed after firing some of what is due: the mark stands where the last commit left it.
    Killed(i64, usize),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        6 => (1_i64..90_000).prop_map(Happens::Look),
        1 => (60_000_i64..4_000_000).prop_map(Happens::Away),
        1 => prop_oneof![Just(3_600_000_i64), Just(-3_600_000), Just(315_360_000_000), -90_000_i64..90_000].prop_map(Happens::Set),
        2 => (1_i64..200_000, 0_usize..4).prop_map(|(ms, fired)| Happens::Killed(ms, fired)),
    ]
}

const RULES: &[&str] = &[
    r#""every":"1s""#,
    r#""every":"90s""#,
    r#""cron":"*/5 * * * *","zone":"Europe/Berlin""#,
    r#""cron":"30 2 * * *","zone":"Europe/Berlin""#,
    r#""cron":"*/7 * * * *","zone":"America/Santiago","jitter":"90s""#,
    r#""every":"5m","start":"2026-01-01T00:01","jitter":"5m""#,
    r#""rrule":"FREQ=DAILY;BYHOUR=0,1,2,3;BYMINUTE=15,45","start":"2026-01-01","zone":"America/New_York""#,
    r#""cron":["45 1 * * *","0 * * * *"],"zone":"Australia/Lord_Howe","except":["2027-04-04T01:45"]"#,
    r#""cron":"0 0 29 2 *","zone":"Australia/Sydney","jitter":"10m""#,
];
const CATCH_UP: &[&str] = &["skip", "latest", "all"];
/// A calm day, then shortly before clocks change in Berlin (twice), New York, on Lord Howe and in Santiago, and before a
/// leap day begins in Sydney.
const STARTS: &[&str] = &[
    "2026-11-22T09:00:00Z",
    "2027-03-28T00:40:00Z",
    "2026-10-25T00:20:00Z",
    "2026-11-01T05:10:00Z",
    "2027-04-03T14:20:00Z",
    "2027-04-04T02:20:00Z",
    "2028-02-28T12:40:00Z",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the clock does, no instant fires twice, and as long as nobody is away and the clock is left alone,
    /// every instant fires.
    #[test]
    fn nothing_fires_twice_and_nothing_on_time_is_lost(
        rule in 0..RULES.len(), catch_up in 0..CATCH_UP.len(), start in 0..STARTS.len(),
        story in proptest::collection::vec(happens(), 1..40),
    ) {
        let schedule = schedule(&format!(r#"{{{},"catch_up":"{}"}}"#, RULES[rule], CATCH_UP[catch_up]));
        let mut now = at(STARTS[start]);
        let mut mark = Mark { ms: now, gap: None };
        let mut fired = BTreeSet::new();
        let mut calm = true;
        // A stretch that is lived again: what fired in it is held back by the store's dedupe keys, not by the mark.
        let mut again_until = i64::MIN;
        for what in story {
            let (kept, set) = match what {
                Happens::Look(ms) => { now += ms; (usize::MAX, false) }
                Happens::Away(ms) => { now += ms; calm = false; (usize::MAX, false) }
                Happens::Set(ms) => { now += ms; calm = false; (usize::MAX, ms < 0) }
                Happens::Killed(ms, fired) => { now += ms; (fired, false) }
            };
            if let Some(back) = mark.rewound(now) {
                prop_assert!(set || !calm, "a clock that only goes on rewinds nothing");
                again_until = mark.gap.map_or(again_until, |(_, to)| to.max(mark.ms).max(again_until));
                mark = back;
            }
            let before = mark;
            let Some(due) = due(&schedule, mark, now) else { continue };
            prop_assert!(due.fire.len() <= ALL_MAX);
            prop_assert!(due.mark.ms <= now && due.mark.ms > before.ms);
            for (place, instant) in due.fire.iter().enumerate() {
                prop_assert!(*instant > before.ms && *instant <= now);
                let twice = fired.contains(instant) && *instant > again_until;
                prop_assert!(!twice, "{} fired twice", schedule.local(*instant));
                if place >= kept {
                    break;
                }
                fired.insert(*instant);
                mark.ms = *instant;
            }
            if due.fire.len() <= kept {
                mark = due.mark;
            }
            if calm && !due.late {
                let begun = |instant: &i64| schedule.fires_at(*instant) <= now;
                let expected: Vec<i64> = schedule.after(before.ms, 100_000).take_while(begun).collect();
                prop_assert_eq!(due.fire, expected);
                prop_assert_eq!(due.missed, 0);
            }
        }
    }
}
