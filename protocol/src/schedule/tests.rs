//! Instants of schedules: what people expect of a clock on the wall, also when it is changed.

use proptest::prelude::*;

use super::*;
use crate::value::Value;

fn with(text: &str) -> Map {
    match Value::from_json(text.as_bytes()) {
        Ok(Value::Map(map)) => map,
        other => panic!("{text} is no object: {other:?}"),
    }
}

fn schedule(text: &str) -> Schedule {
    Schedule::read(&with(text)).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"))
}

fn at(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

#[test]
fn the_next_instants_are_those_on_the_wall() {
    let check = |settings: &str, after: &str, expected: &[&str]| {
        let schedule = schedule(settings);
        let got: Vec<String> = schedule.after(at(after), expected.len()).map(|ms| schedule.local(ms)).collect();
        assert_eq!(got, expected, "{settings} after {after}");
    };
    check(r#"{"every":"5m"}"#, "2026-11-22T04:00:00Z", &["2026-11-22T04:05:00+00:00", "2026-11-22T04:10:00+00:00"]);
    check(r#"{"every":"1s"}"#, "2026-11-22T04:00:00.999Z", &["2026-11-22T04:00:01+00:00"]);
    check(
        r#"{"cron":"0 9 * * MON-FRI","zone":"Europe/Berlin"}"#,
        "2026-11-20T08:00:00Z",
        &["2026-11-23T09:00:00+01:00", "2026-11-24T09:00:00+01:00"],
    );
    check(r#"{"cron":"*/20 * * * * *"}"#, "2026-11-22T04:00:19.5Z", &["2026-11-22T04:00:20+00:00"]);
    check(r#"{"cron":"@daily"}"#, "2026-11-22T00:00:00Z", &["2026-11-23T00:00:00+00:00"]);
    check(
        r#"{"cron":"0 0 L 2 *"}"#,
        "2026-11-22T00:00:00Z",
        &["2027-02-28T00:00:00+00:00", "2028-02-29T00:00:00+00:00"],
    );
}

#[test]
fn a_changed_clock_neither_loses_nor_repeats_an_instant() {
    let check = |cron: &str, zone: &str, from: &str, to: &str, expected: &[&str]| {
        let schedule = schedule(&format!(r#"{{"cron":"{cron}","zone":"{zone}"}}"#));
        let got: Vec<String> =
            schedule.after(at(from), 50).take_while(|ms| *ms <= at(to)).map(|ms| schedule.local(ms)).collect();
        assert_eq!(got, expected, "{cron} {zone}");
    };
    // Berlin, spring 2027: 02:00 becomes 03:00 on 28 March at 01:00 UTC.
    let (from, to) = ("2027-03-27T12:00:00Z", "2027-03-29T12:00:00Z");
    check("30 2 * * *", "Europe/Berlin", from, to, &["2027-03-28T03:00:00+02:00", "2027-03-29T02:30:00+02:00"]);
    let hours = ["2027-03-28T01:00:00+01:00", "2027-03-28T03:00:00+02:00", "2027-03-28T04:00:00+02:00"];
    check("0 * * * *", "Europe/Berlin", "2027-03-27T23:00:00Z", "2027-03-28T02:00:00Z", &hours);
    // Berlin, autumn 2026: 03:00 becomes 02:00 on 25 October at 01:00 UTC; 02:30 comes twice.
    let (from, to) = ("2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z");
    check("30 2 * * *", "Europe/Berlin", from, to, &["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]);
    let hours = ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"];
    check("0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", "2026-10-25T02:00:00Z", &hours);
    // Half an hour in one go, on an island.
    let (from, to) = ("2027-04-03T00:00:00Z", "2027-04-05T00:00:00Z");
    check("45 1 * * *", "Australia/Lord_Howe", from, to, &["2027-04-04T01:45:00+11:00", "2027-04-05T01:45:00+10:30"]);
}

#[test]
fn wrong_settings_are_refused_with_their_key() {
    let check = |settings: &str, key: &str, part: &str| {
        let wrong = Schedule::read(&with(settings)).map(|_| ()).unwrap_err();
        let found = wrong.iter().find(|one| one.key == key);
        let found = found.unwrap_or_else(|| panic!("{settings}: nothing about `{key}` in {wrong:?}"));
        assert!(format!("{} ({})", found.message, found.hint).contains(part), "{settings}: {found:?}");
    };
    check("{}", "", "does not say when");
    check(r#"{"cron":"0 9 * * *","every":"5m"}"#, "every", "not both");
    check(r#"{"cron":"61 * * * *"}"#, "cron", "no cron expression");
    check(r#"{"cron":"5/5 * * * *"}"#, "cron", "write `5-59/5`");
    check(r#"{"cron":"often"}"#, "cron", "minute hour day month weekday");
    check(r#"{"cron":5}"#, "cron", "must be a text");
    check(r#"{"every":"10ms"}"#, "every", "between 1s and");
    check(r#"{"every":"5 minutes"}"#, "every", "not a duration");
    check(r#"{"every":"5m","zone":"Europe/Bonn"}"#, "zone", "no zone `Europe/Bonn`");
    check(r#"{"every":"5m","catch_up":"none"}"#, "catch_up", "skip, latest, all");
    check(r#"{"every":"5m","catch_up":{"all":0}}"#, "catch_up", "{ all: 24 }");
    check(r#"{"every":"5m","overlap":"drop"}"#, "overlap", "skip, queue, cancel, allow");
    check(r#"{"every":"5m","jitter":"6m"}"#, "jitter", "as long as `every` at most");
    check(r#"{"cron":"0 9 * * *","jitter":"13h"}"#, "jitter", "longer than 12h");
    check(r#"{"every":"5m","drift":"5s"}"#, "drift", "no setting `drift`");
    check(r#"{"cron":[]}"#, "cron", "1 to 20");
    check(r#"{"cron":["0 9 * * *",7]}"#, "cron", "list of texts");
    check(r#"{"cron":["0 9 * * *","nine"]}"#, "cron", "`nine` is no cron expression");
    check(r#"{"rrule":"FREQ=DAILY"}"#, "rrule", "counts from `start`");
    check(r#"{"rrule":"FREQ=HOURLY","start":"2026-01-01"}"#, "rrule", "write `every` or `cron`");
    check(r#"{"every":"1h","start":"2026-01-01T09:00Z"}"#, "start", "without an offset");
    check(r#"{"every":"1h","start":"tomorrow"}"#, "start", "no wall time");
    check(r#"{"every":"1h","start":"2026-02-01","until":"2026-01-01"}"#, "until", "before `start`");
    check(r#"{"at":"2026-13-01"}"#, "at", "no wall time");
    check(r#"{"every":"1h","except":["x"]}"#, "except", "no wall time");
}

#[test]
fn a_day_that_never_comes_has_no_instant_and_is_told_soon() {
    let began = std::time::Instant::now();
    assert_eq!(schedule(r#"{"cron":"0 0 30 2 *"}"#).next_after(at("2026-11-22T00:00:00Z")), None);
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "it took {:?}", began.elapsed());
}

const CRONS: &[&str] =
    &["30 2 * * *", "0 * * * *", "*/7 * * * *", "15,45 1-3 * * *", "0 0 1 * *", "*/13 2 * * * *", "59 23 * * SUN"];
const ZONES: &[&str] =
    &["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Santiago"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Wherever the walk starts, it finds the same instants: what `skip` and `latest` leave out is never found again.
    #[test]
    fn the_instants_are_one_set(cron in 0..CRONS.len(), zone in 0..ZONES.len(), day in 0_i64..730, second in 0_i64..86_400, step in 1_i64..10_800) {
        let schedule = schedule(&format!(r#"{{"cron":"{}","zone":"{}"}}"#, CRONS[cron], ZONES[zone]));
        let start = at("2026-01-01T00:00:00Z") + (day * 86_400 + second) * 1000;
        let walked: Vec<i64> = schedule.after(start, 40).collect();
        prop_assert!(walked.windows(2).all(|pair| pair[0] < pair[1]), "{walked:?}");
        prop_assert!(walked.iter().all(|ms| *ms > start && ms % 1000 == 0));
        let last = *walked.last().unwrap();
        let mut probe = start;
        while probe < last.min(start + step * 60 * 1000) {
            let expected = walked.iter().copied().find(|ms| *ms > probe);
            prop_assert_eq!(schedule.next_after(probe), expected, "from {}", schedule.local(probe));
            probe += step * 1000;
        }
    }
}

#[test]
fn the_cases_of_the_reference_give_what_they_say() {
    let cases: serde_json::Value =
        serde_json::from_str(include_str!("../../tests/data/reference-cases.json")).expect("JSON");
    let case = &cases["49a_cron"];
    let asked = case["input"]["cases"].as_array().expect("cases");
    let expected = case["expected"]["next"].as_array().expect("answers");
    assert_eq!((asked.len(), expected.len()), (5, 5));
    for (asked, expected) in asked.iter().zip(expected) {
        let text = |at: usize| asked[at].as_str().expect("a text");
        let schedule = schedule(&format!(r#"{{"cron":"{}","zone":"{}"}}"#, text(0), text(1)));
        let count = usize::try_from(asked[3].as_u64().expect("a number")).unwrap();
        // Its times are wall times of the zone, and one that is due itself counts.
        let from = wall(text(2).parse().unwrap(), schedule.zone()).unwrap() - 1;
        let found: Vec<String> = schedule.after(from, count).map(|ms| schedule.local(ms)).collect();
        let wanted: Vec<&str> = expected[2].as_array().expect("times").iter().filter_map(|it| it.as_str()).collect();
        assert_eq!(found, wanted, "{asked}");
    }
}

#[test]
fn intervals_lists_bounds_exceptions_and_times_by_name() {
    let check = |settings: &str, after: &str, expected: &[&str]| {
        let schedule = schedule(settings);
        let got: Vec<String> = schedule.after(at(after), 6).map(|ms| schedule.local(ms)).collect();
        assert_eq!(&got[..got.len().min(expected.len())], expected, "{settings} after {after}");
        assert_eq!(settings_of(schedule.settings()).unwrap().settings(), schedule.settings());
    };
    check(
        r#"{"every":"90m","start":"2026-11-22T09:15","zone":"Europe/Berlin"}"#,
        "2026-11-20T00:00:00Z",
        &["2026-11-22T09:15:00+01:00", "2026-11-22T10:45:00+01:00", "2026-11-22T12:15:00+01:00"],
    );
    check(
        r#"{"cron":["0 9 * * *","30 17 * * FRI"]}"#,
        "2026-11-19T12:00:00Z",
        &["2026-11-20T09:00:00+00:00", "2026-11-20T17:30:00+00:00", "2026-11-21T09:00:00+00:00"],
    );
    check(
        r#"{"cron":"0 9 * * *","zone":"Europe/Berlin","start":"2026-12-23","until":"2026-12-28T09:00","except":["2026-12-24","2026-12-25","2026-12-26T09:00"]}"#,
        "2026-01-01T00:00:00Z",
        &["2026-12-23T09:00:00+01:00", "2026-12-27T09:00:00+01:00", "2026-12-28T09:00:00+01:00"],
    );
    check(
        r#"{"at":["2026-12-31T23:59:59","2026-12-24"],"zone":"Asia/Tokyo"}"#,
        "2026-01-01T00:00:00Z",
        &["2026-12-24T00:00:00+09:00", "2026-12-31T23:59:59+09:00"],
    );
    check(
        r#"{"rrule":"FREQ=MONTHLY;BYDAY=-1FR","start":"2026-01-01T16:00","zone":"America/New_York"}"#,
        "2026-02-28T00:00:00Z",
        &["2026-03-27T16:00:00-04:00", "2026-04-24T16:00:00-04:00"],
    );
    let dense = schedule(r#"{"every":"1s","except":["2026-11-22","2026-11-23"]}"#);
    assert_eq!(dense.next_after(at("2026-11-21T23:59:59Z")), Some(at("2026-11-24T00:00:00Z")), "stepped over by days");
    assert_eq!(schedule(r#"{"every":"1h","start":"2026-01-01T00:30"}"#).count(0, at("2026-01-01T02:30:00Z"), 9), 3);
    assert_eq!(dense.rule(), "every 1s, 2 exceptions");
    assert_eq!(
        schedule(r#"{"cron":["0 9 * * *","@hourly"],"zone":"Asia/Tokyo"}"#).rule(),
        "0 9 * * * | @hourly Asia/Tokyo"
    );
}

#[test]
fn jitter_is_drawn_once_for_a_flow_and_an_instant() {
    let plain = schedule(r#"{"cron":"0 * * * *","jitter":"10m"}"#);
    let (one, two) = (plain.clone().seeded([1; 16]), plain.clone().seeded([2; 16]));
    let delays = |schedule: &Schedule| -> Vec<i64> {
        schedule.after(0, 200).map(|instant| schedule.fires_at(instant) - instant).collect()
    };
    assert_eq!(delays(&one), delays(&plain.seeded([1; 16])), "a restart does not move it");
    assert_ne!(delays(&one), delays(&two));
    assert!(delays(&one).iter().all(|delay| (0..=600_000).contains(delay)));
    let spread = delays(&one).iter().filter(|delay| **delay > 300_000).count();
    assert!((60..140).contains(&spread), "it is spread: {spread}");
    let none = schedule(r#"{"cron":"0 * * * *"}"#);
    assert_eq!(none.fires_at(3_600_000), 3_600_000);
}

/// Zones whose clocks change in five ways: at one and at two o'clock, in the south, by half an hour, at midnight.
const CHANGING: &[&str] =
    &["Europe/Berlin", "America/New_York", "Australia/Sydney", "Australia/Lord_Howe", "America/Santiago"];
const OF_THE_WALL: &[&str] =
    &["30 2 * * *", "0 0 * * *", "*/20 * * * *", "15 1-3 * * *", "0 0 29 2 *", "59 59 23 L * *"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    /// Over five years of clock changes and leap days: a rule of certain times of a day fires each day that it names
    /// exactly as often as it names a time, neither more nor less, and one that repeats within the hour leaves no gap
    /// of real time.
    #[test]
    fn no_day_is_doubled_or_missed_when_clocks_change(
        zone in 0..CHANGING.len(), hour in 0_i8..24, minute in 0_i8..60, day in 0_i64..1_800, days in 1_i64..40,
    ) {
        let daily = schedule(&format!(r#"{{"cron":"{minute} {hour} * * *","zone":"{}"}}"#, CHANGING[zone]));
        let same = schedule(&format!(
            r#"{{"rrule":"FREQ=DAILY;BYHOUR={hour};BYMINUTE={minute}","start":"2020-01-01","zone":"{}"}}"#, CHANGING[zone]
        ));
        let zoned = |ms: i64| Timestamp::from_millisecond(ms).unwrap().to_zoned(daily.zone().clone());
        let first: jiff::civil::Date = "2024-01-01".parse().unwrap();
        let first = first.checked_add(jiff::Span::new().days(day)).unwrap();
        let last = first.checked_add(jiff::Span::new().days(days)).unwrap();
        let midnight = |day: jiff::civil::Date| wall(day.to_datetime(jiff::civil::Time::midnight()), daily.zone()).unwrap();
        let (from, to) = (midnight(first) - 1, midnight(last) - 1);
        let found: Vec<i64> = daily.after(from, 100).take_while(|at| *at <= to).collect();
        prop_assert_eq!(i64::try_from(found.len()).unwrap(), days, "one a day: {:?}", &found);
        for (number, at) in found.iter().enumerate() {
            let expected = first.checked_add(jiff::Span::new().days(i64::try_from(number).unwrap())).unwrap();
            let local = zoned(*at);
            prop_assert_eq!(local.date(), expected);
            let (h, m) = (local.hour(), local.minute());
            // Only a time that is not there is later, and then the first there is.
            let there = expected.at(hour, minute, 0, 0).to_zoned(daily.zone().clone()).unwrap();
            let gap = there.time() != jiff::civil::Time::new(hour, minute, 0, 0).unwrap();
            prop_assert!(gap || (h, m) == (hour, minute), "{local} for {hour}:{minute}");
            if gap {
                let before = Timestamp::from_millisecond(*at - 1).unwrap().to_zoned(daily.zone().clone());
                prop_assert_ne!(before.offset(), local.offset(), "the first moment after the change: {}", local);
            }
        }
        let recurring: Vec<i64> = same.after(from, 100).take_while(|at| *at <= to).collect();
        prop_assert_eq!(found, recurring, "cron and RRULE mean the same days");
    }

    /// Every schedule's walk is one set, in order and without an end in between, whatever its kind.
    #[test]
    fn walks_of_all_kinds_are_one_set(
        zone in 0..CHANGING.len(), cron in 0..OF_THE_WALL.len(), kind in 0..4, hour in 0_i64..30_000, skip in 1_i64..40,
    ) {
        let zone = CHANGING[zone];
        let settings = match kind {
            0 => format!(r#"{{"cron":"{}","zone":"{zone}"}}"#, OF_THE_WALL[cron]),
            1 => format!(r#"{{"cron":["{}","7 */6 * * *"],"zone":"{zone}","except":["2026-10-25","2027-03-28"]}}"#, OF_THE_WALL[cron]),
            2 => format!(r#"{{"every":"7h","start":"2026-03-28T01:30","zone":"{zone}"}}"#),
            _ => format!(r#"{{"rrule":"FREQ=WEEKLY;BYDAY=SU,MO;BYHOUR=0,1,2,3;BYMINUTE=0,30","start":"2026-01-05T00:00","zone":"{zone}"}}"#),
        };
        let schedule = schedule(&settings);
        let start = at("2026-01-01T00:00:00Z") + hour * 3_600_000;
        let walked: Vec<i64> = schedule.after(start, 30).collect();
        prop_assert!(walked.windows(2).all(|pair| pair[0] < pair[1]), "{walked:?}");
        for (number, instant) in walked.iter().enumerate() {
            prop_assert!(schedule.has(*instant));
            prop_assert_eq!(schedule.next_after(*instant - 1), Some(*instant));
            prop_assert_eq!(schedule.next_after(*instant), walked.get(number + 1).copied().or(schedule.next_after(*instant)));
        }
        if let (Some(first), Some(last)) = (walked.first(), walked.last()) {
            prop_assert_eq!(schedule.count(*first - 1, *last, 1_000), 30);
            let probe = first + (last - first) / skip;
            prop_assert_eq!(schedule.next_after(probe), walked.iter().copied().find(|at| *at > probe).or(schedule.next_after(probe)));
        }
    }
}
