//! Instants of schedules: what people expect of a clock on the wall, also when it is changed.

use proptest::prelude::*;

use super::*;

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
    check(r#"{"every":"5m","overlap":"drop"}"#, "overlap", "skip, queue, cancel, allow");
    check(r#"{"every":"5m","jitter":"5s"}"#, "jitter", "no setting `jitter`");
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
