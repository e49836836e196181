//! Schedules through the real daemon: each instant once over kills, overlaps, publishing and a clock that jumps.
//!
//! The one invariant: what an instant became is read from the runs' own `trigger.scheduled_at`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use aura_protocol::event::Tick;
use aura_protocol::rpc::{FlowEnable, ScheduleBackfill, ScheduleInfo, SchedulePause, ScheduleQuery, ScheduleRef};
use aura_protocol::run::{Record, RunState};

use crate::support::daemon::Journal;
use crate::support::{Daemon, LIMIT, Setup, assert_says, now_ms, wait_for, wait_until};

fn flow(name: &str, with: &str, steps: &str) -> String {
    format!("aura: 1\nflow: {name}\ntriggers:\n  - id: tick\n    on: schedule\n    with: {{ {with} }}\nsteps:\n{steps}")
}

const QUICK: &str = "  - id: say\n    set: { at: \"{{ trigger.scheduled_at }}\" }\n";
const LONG: &str = "  - id: rest\n    sleep: { for: 1h }\n";

/// The instants that became runs, with how many runs each.
fn instants(daemon: &Daemon, flow: &str) -> BTreeMap<i64, usize> {
    let mut found = BTreeMap::new();
    for head in daemon.runs(flow) {
        let journal = Journal(daemon.show(head.run));
        let body = journal.records().find_map(|record| match record {
            Record::RunStarted(started) => Some(started.event.body.clone()),
            _ => None,
        });
        let tick: Tick = serde_json::from_slice(&body.expect("a first record")).expect("an instant");
        let at = tick.scheduled_at.parse::<jiff::Timestamp>().expect("a time").as_millisecond();
        *found.entry(at).or_default() += 1;
    }
    found
}

fn schedule(daemon: &Daemon, flow: &str) -> ScheduleInfo {
    let query = ScheduleQuery { flow: Some(flow.to_owned()), count: 3 };
    daemon.ask().schedule_list(query).expect("the schedules").remove(0)
}

#[test]
fn no_instant_is_lost_or_doubled_when_the_daemon_is_killed() {
    let mut daemon = Daemon::start();
    daemon.publish(&flow("ticks", "every: 1s", QUICK));
    let first = wait_for("the first instant", LIMIT, || schedule(&daemon, "ticks").last_ms);
    for round in 0..6_u64 {
        let begin = Instant::now();
        let live = Duration::from_millis(100 + round * 170);
        wait_until("a while", LIMIT, || begin.elapsed() > live);
        daemon.kill9();
        daemon.up();
    }
    let until = now_ms() + 1_000;
    wait_until("the last instants", LIMIT, || schedule(&daemon, "ticks").last_ms.is_some_and(|last| last >= until));
    daemon.wait_quiet(LIMIT);
    let found = instants(&daemon, "ticks");
    let last = *found.keys().last().expect("an instant");
    let expected: BTreeMap<i64, usize> = (first..=last).step_by(1_000).map(|instant| (instant, 1)).collect();
    assert_eq!(found, expected, "each second from the first to the last has one run");
    assert!(expected.len() >= 5, "{expected:?}");
    assert_eq!(schedule(&daemon, "ticks").missed, 0);
}

#[test]
fn a_schedule_rests_while_its_flow_is_disabled_and_begins_anew_with_another_rule() {
    let daemon = Daemon::start();
    daemon.publish(&flow("ticks", "every: 1s", QUICK));
    wait_until("an instant", LIMIT, || schedule(&daemon, "ticks").last_ms.is_some());
    daemon.ask().flow_enable(FlowEnable { flow: "ticks".into(), enabled: false }).expect("disabled");
    let (off, at) = (schedule(&daemon, "ticks"), now_ms());
    assert!(!off.enabled && off.next.is_empty(), "{off:?}");
    let rows = daemon.ask().flow_list(()).expect("flows");
    assert_eq!(rows[0].next_ms, None);
    wait_until("three seconds of rest", LIMIT, || now_ms() > at + 3_000);
    daemon.ask().flow_enable(FlowEnable { flow: "ticks".into(), enabled: true }).expect("enabled");
    let again = now_ms();
    wait_until("an instant after that", LIMIT, || schedule(&daemon, "ticks").last_ms.is_some_and(|last| last > again));
    let found = instants(&daemon, "ticks");
    assert!(!found.keys().any(|instant| (at + 1_000..again).contains(instant)), "{at} {again} {found:?}");
    assert!(found.values().all(|runs| *runs == 1), "{found:?}");
    // A yearly rule has missed nothing, whatever the mark of the rule before.
    daemon.publish(&flow("ticks", "cron: \"0 0 1 1 *\", catch_up: all", QUICK));
    let yearly = schedule(&daemon, "ticks");
    assert_eq!((yearly.rule.as_str(), yearly.missed, yearly.next.len()), ("0 0 1 1 * UTC", 0, 3));
    let said = daemon.aura(&["schedule", "next", "ticks", "--count", "2"]).success();
    assert_eq!(said.out.matches("-01-01T00:00:00+00:00  ticks/tick").count(), 2, "{said:?}");
    let said = daemon.aura(&["schedule", "list", "--json"]).success();
    assert_eq!(said.json()["rule"], "0 0 1 1 * UTC");
    let rows = daemon.ask().flow_list(()).expect("flows");
    assert_eq!(rows[0].next_ms, Some(yearly.next[0]));
}

#[test]
fn an_earlier_run_that_goes_on_is_treated_as_the_flow_says() {
    let daemon = Daemon::start();
    for overlap in ["skip", "queue", "cancel", "allow"] {
        daemon.publish(&flow(overlap, &format!("every: 1s, overlap: {overlap}"), LONG));
    }
    let states = |flow: &str| -> Vec<RunState> { daemon.runs(flow).iter().map(|head| head.state).collect() };
    wait_until("three runs side by side", LIMIT, || states("allow") == [RunState::Waiting; 3]);
    wait_until("runs that wait for the first", LIMIT, || {
        states("queue").starts_with(&[RunState::Waiting, RunState::Queued, RunState::Queued])
    });
    wait_until("runs that make room", LIMIT, || {
        let states = states("cancel");
        states.starts_with(&[RunState::Cancelled, RunState::Cancelled])
    });
    assert_eq!(states("skip"), [RunState::Waiting]);
    assert!(daemon.show(daemon.runs("allow")[0].run).head.state == RunState::Waiting);
    let said = daemon.aura(&["flow", "disable", "queue"]);
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn the_next_instants_are_shown_when_a_file_is_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("daily.yaml");
    std::fs::write(&file, flow("daily", "cron: \"0 9 * * *\", zone: Asia/Tokyo", QUICK)).expect("a file");
    let said = crate::support::aura(&["flow", "check", &file.display().to_string()]).success();
    assert_eq!(said.out.matches("T09:00:00+09:00").count(), 10, "{said:?}");
    std::fs::write(&file, flow("daily", "cron: \"0 25 * * *\"", QUICK)).expect("a file");
    let said = crate::support::aura(&["flow", "check", &file.display().to_string()]);
    assert_eq!(said.code, 4, "{said:?}");
    assert_says(&said.out, &["is no cron expression"]);
}

/// A clock for one daemon that a file sets while it runs.
struct Faked {
    library: String,
    file: std::path::PathBuf,
}

impl Faked {
    fn new(folder: &Path) -> Option<Self> {
        let found = Command::new("sh")
            .args(["-c", "ls /usr/lib/*/faketime/libfaketimeMT.so.1 /usr/local/lib/faketime/libfaketimeMT.so.1 2>/dev/null | head -n 1"])
            .output()
            .ok()?;
        let library = String::from_utf8_lossy(&found.stdout).trim().to_owned();
        let faked = Self { library, file: folder.join("faketime.rc") };
        (!faked.library.is_empty()).then_some(faked)
    }

    /// Sets the clock to so many seconds off the real one.
    fn set(&self, seconds: i64) {
        let draft = self.file.with_extension("new");
        std::fs::write(&draft, format!("{seconds:+}\n")).expect("a clock file");
        std::fs::rename(&draft, &self.file).expect("a set clock");
    }

    fn setup(&self) -> Setup {
        let environment = [
            ("LD_PRELOAD", self.library.clone()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        let environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Setup { environment, ..Setup::default() }
    }
}

const HOUR: i64 = 3_600;

#[test]
fn a_clock_that_jumps_fires_nothing_twice_and_ends_nothing_early() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(clock) = Faked::new(folder.path()) else {
        println!("not run: there is no libfaketime here (Debian package `faketime`)");
        return;
    };
    clock.set(0);
    let daemon = Daemon::start_with(clock.setup());
    daemon.publish(&flow("ticks", "every: 1s", QUICK));
    let patient = "aura: 1\nflow: patient\ntimeout: 40m\ntriggers:\n  - { id: in, on: manual }\nsteps:\n  - id: rest\n    sleep: { for: 30m }\n";
    daemon.publish(patient);
    let patient = daemon.run("patient", "{}");
    daemon.wait_state(patient, RunState::Waiting);
    let reaches = |what: &str, seconds: i64| {
        let until = now_ms() + seconds * 1_000;
        wait_until(what, LIMIT, || schedule(&daemon, "ticks").last_ms.is_some_and(|last| last >= until));
    };
    reaches("the first instants", 1);
    // An hour forward: what lies between was missed, and the last of it fires.
    clock.set(HOUR);
    reaches("an instant an hour ahead", HOUR + 1);
    let missed = schedule(&daemon, "ticks").missed;
    assert!(missed > 1_000, "an hour of seconds was left out: {missed}");
    // Back again: nothing fires twice, and what comes after that fires.
    clock.set(0);
    reaches("instants after the clock was set right", 2);
    // An hour back: it waits; forward again and it goes on.
    let before = instants(&daemon, "ticks");
    clock.set(-HOUR);
    let begin = Instant::now();
    wait_until("a while in the past", LIMIT, || begin.elapsed() > Duration::from_secs(2));
    let meanwhile = instants(&daemon, "ticks");
    let oldest = before.keys().next().expect("an instant");
    assert!(meanwhile.keys().all(|instant| instant >= oldest), "the past fired again: {meanwhile:?}");
    clock.set(0);
    reaches("instants after the clock was set right again", 2);
    // Ten years.
    clock.set(10 * 365 * 24 * HOUR);
    reaches("an instant ten years ahead", 10 * 365 * 24 * HOUR + 1);
    clock.set(0);
    reaches("instants after the ten years", 2);
    let found = instants(&daemon, "ticks");
    assert!(found.values().all(|runs| *runs == 1), "an instant fired twice: {found:?}");
    assert_eq!(daemon.show(patient).head.state, RunState::Waiting, "a jump is no half hour");
}

#[test]
fn a_clock_that_was_set_ends_nothing_early_over_a_restart_either() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(clock) = Faked::new(folder.path()) else {
        println!("not run: there is no libfaketime here (Debian package `faketime`)");
        return;
    };
    clock.set(0);
    let mut daemon = Daemon::start_with(clock.setup());
    let nap =
        |length: &str| format!("aura: 1\nflow: nap-{length}\nsteps:\n  - id: rest\n    sleep: {{ for: {length} }}\n");
    daemon.publish(&nap("30m"));
    daemon.publish(&nap("2s"));
    let patient = daemon.run("nap-30m", "{}");
    daemon.wait_state(patient, RunState::Waiting);
    let apart = |daemon: &Daemon| daemon.ask().status(()).expect("a status").now_ms - now_ms();
    let waits = |daemon: &Daemon, set: &str| {
        // A short nap that is begun and ends now: timers were looked at.
        let short = daemon.run("nap-2s", "{}");
        daemon.wait_state(short, RunState::Succeeded);
        assert_eq!(daemon.show(patient).head.state, RunState::Waiting, "{set}: half an hour is half an hour");
        assert!(apart(daemon).abs() < 5_000, "{set}: what waits goes by the old time");
        assert_says(daemon.aura(&["doctor"]).out, &[set]);
    };
    // While it runs, and then a kill.
    clock.set(HOUR);
    daemon.kill9();
    daemon.up();
    waits(&daemon, "the system's clock was set forward by 3");
    // Between a clean end and the next start.
    assert!(daemon.stop().success());
    clock.set(3 * HOUR);
    daemon.up();
    waits(&daemon, "the system's clock was set forward by 10");
    assert!(daemon.stop().success());
    clock.set(-HOUR);
    daemon.up();
    waits(&daemon, "the system's clock was set back by 3");
    // Nothing waits: a clock that was set forward is followed, and a kill at once does not change that.
    clock.set(2 * HOUR);
    daemon.aura(&["run", "cancel", &patient.to_string()]).success();
    let last = daemon.run("nap-2s", "{}");
    daemon.wait_state(last, RunState::Succeeded);
    wait_until("the new time", LIMIT, || apart(&daemon) > HOUR * 1_000);
    daemon.kill9();
    daemon.up();
    let after = daemon.run("nap-2s", "{}");
    daemon.wait_state(after, RunState::Succeeded);
    assert!((apart(&daemon) - 2 * HOUR * 1_000).abs() < 5_000, "{}", apart(&daemon));
}

#[test]
fn daylight_saving_neither_loses_nor_doubles_an_instant() {
    // Offsets are made when the test runs: the daemon's clock stands a few seconds before the change.
    let cases = [
        // 02:00 becomes 03:00: 02:30 is due at 03:00.
        ("2027-03-28T00:59:57Z", "30 2 * * *", vec!["2027-03-28T01:00:00Z"]),
        // 03:00 becomes 02:00: an hourly rule is due in both hours.
        ("2027-10-31T00:59:57Z", "0 * * * *", vec!["2027-10-31T01:00:00Z"]),
        // 02:30 comes twice and is due the first time only; here the second one.
        ("2027-10-31T01:29:57Z", "30 2 * * *", vec![]),
    ];
    // Side by side: each waits some seconds of its own clock.
    std::thread::scope(|scope| {
        for (at, cron, expected) in cases {
            scope.spawn(move || change(at, cron, &expected));
        }
    });
}

#[test]
fn what_was_due_while_the_daemon_was_away_fires_once_as_the_flow_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(clock) = Faked::new(folder.path()) else {
        println!("not run: there is no libfaketime here (Debian package `faketime`)");
        return;
    };
    let time = |text: &str| text.parse::<jiff::Timestamp>().expect("a time").as_millisecond();
    let set = |text: &str| clock.set((time(text) - now_ms()) / 1_000);
    set("2027-05-03T09:58:00Z");
    let mut daemon = Daemon::start_with(clock.setup());
    let words = ["skip", "latest", "all"];
    for word in words {
        daemon.publish(&flow(word, &format!("cron: \"0 * * * *\", catch_up: {word}"), QUICK));
    }
    daemon.kill9();
    // The condition: four instants pass while nobody is there, the last of them half an hour ago.
    set("2027-05-03T13:30:00Z");
    daemon.up();
    let hours = |hours: &[u32]| -> BTreeMap<i64, usize> {
        hours.iter().map(|hour| (time(&format!("2027-05-03T{hour}:00:00Z")), 1)).collect()
    };
    let fired = |daemon: &Daemon| words.map(|word| instants(daemon, word));
    let expected = [hours(&[]), hours(&[13]), hours(&[10, 11, 12, 13])];
    wait_until("what was missed", LIMIT, || fired(&daemon) == expected && schedule(&daemon, "skip").missed == 4);
    assert_eq!([schedule(&daemon, "latest").missed, schedule(&daemon, "all").missed], [3, 0]);
    daemon.wait_quiet(LIMIT);
    // The next start fires none again, nor does a clock that goes back over all of them: ten o'clock comes once more, and
    // only those whom it passed by have it now.
    daemon.kill9();
    daemon.up();
    daemon.kill9();
    set("2027-05-03T09:59:57Z");
    daemon.up();
    let expected = [hours(&[10]), hours(&[10, 13]), hours(&[10, 11, 12, 13])];
    wait_until("ten o'clock", LIMIT, || fired(&daemon)[..2] == expected[..2]);
    assert_eq!(fired(&daemon), expected);
}

fn change(at: &str, cron: &str, expected: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(clock) = Faked::new(folder.path()) else {
        println!("not run: there is no libfaketime here (Debian package `faketime`)");
        return;
    };
    let at = at.parse::<jiff::Timestamp>().expect("a time").as_millisecond();
    clock.set((at - now_ms()) / 1_000);
    let daemon = Daemon::start_with(clock.setup());
    daemon.publish(&flow("summer", &format!("cron: \"{cron}\", zone: Europe/Berlin, catch_up: all"), QUICK));
    daemon.publish(&flow("beat", "every: 1s", QUICK));
    let until = at + 5_000;
    wait_until("the change of the hour", LIMIT, || schedule(&daemon, "beat").last_ms.is_some_and(|last| last >= until));
    let found: Vec<i64> = instants(&daemon, "summer").into_iter().flat_map(|(at, runs)| vec![at; runs]).collect();
    let expected: Vec<i64> =
        expected.iter().map(|at| at.parse::<jiff::Timestamp>().expect("a time").as_millisecond()).collect();
    assert_eq!(found, expected, "{cron}");
}

fn named(flow: &str) -> ScheduleRef {
    ScheduleRef { flow: flow.to_owned(), trigger: None }
}

#[test]
fn past_instants_are_made_up_for_once_over_kills_and_never_beside_live_ones() {
    let mut daemon = Daemon::start();
    daemon.publish(&flow("ticks", "every: 1s", QUICK));
    wait_until("an instant", LIMIT, || schedule(&daemon, "ticks").last_ms.is_some());
    let live_from = schedule(&daemon, "ticks").last_ms.expect("an instant");
    let past = ScheduleBackfill { schedule: named("ticks"), from_ms: live_from - 60_000, to_ms: i64::MAX, dry: true };
    let plan = daemon.ask().schedule_backfill(past.clone()).expect("a plan");
    assert!(!plan.begun && plan.count >= 55 && plan.first.len() == 10 && plan.fired >= 1, "{plan:?}");
    assert!(daemon.runs("ticks").len() < 20, "a plan starts nothing");
    let begun = daemon.ask().schedule_backfill(ScheduleBackfill { dry: false, ..past.clone() }).expect("begun");
    assert!(begun.begun && begun.schedule.backfill.is_some(), "{begun:?}");
    let again = daemon.ask().schedule_backfill(ScheduleBackfill { dry: false, ..past.clone() });
    assert_says(again.expect_err("one at a time").message, &["goes on already"]);
    for _ in 0..3 {
        let from = daemon.runs("ticks").len();
        wait_until("some more", LIMIT, || daemon.runs("ticks").len() > from + 3);
        daemon.kill9();
        daemon.up();
    }
    wait_until("the end of it", LIMIT, || schedule(&daemon, "ticks").backfill.is_none());
    daemon.wait_quiet(LIMIT);
    let found = instants(&daemon, "ticks");
    assert!(found.values().all(|runs| *runs == 1), "an instant has two runs: {found:?}");
    let expected: Vec<i64> = (live_from - 60_000..=live_from).step_by(1_000).collect();
    let missing: Vec<&i64> = expected.iter().filter(|instant| !found.contains_key(*instant)).collect();
    assert!(missing.is_empty(), "{missing:?} of {found:?}");
    // All of it has fired now, also for who asks again, and after another rule was published and taken back.
    let empty = daemon.ask().schedule_backfill(ScheduleBackfill { dry: false, ..past.clone() }).expect("a plan");
    assert!(!empty.begun && empty.count == 0, "{empty:?}");
    daemon.publish(&flow("ticks", "cron: \"0 0 1 1 *\"", QUICK));
    daemon.publish(&flow("ticks", "every: 2s", QUICK));
    let to_ms = live_from;
    let plan = daemon.ask().schedule_backfill(ScheduleBackfill { to_ms, ..past }).expect("a plan");
    assert_eq!(plan.count, 0, "another rule at the same instants: {plan:?}");
    let said = daemon.aura(&["schedule", "backfill", "ticks", "--from", "2020-01-01", "--dry-run"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert_says(&said.err, &["more than 10000 runs"]);
}

#[test]
fn a_schedule_of_a_paused_flow_goes_on_from_where_it_was() {
    let mut daemon = Daemon::start();
    daemon.publish(&flow("kept", "every: 1s, catch_up: all", QUICK));
    wait_until("an instant", LIMIT, || schedule(&daemon, "kept").last_ms.is_some());
    daemon.aura(&["flow", "pause", "kept"]).success();
    let (last, at) = (schedule(&daemon, "kept").last_ms.expect("an instant"), now_ms());
    daemon.kill9();
    daemon.up();
    wait_until("three seconds of rest", LIMIT, || now_ms() > at + 3_000);
    assert_eq!(schedule(&daemon, "kept").last_ms, Some(last), "it rests, also after a kill");
    daemon.aura(&["flow", "resume", "kept"]).success();
    let until = now_ms() + 1_000;
    wait_until("what was kept and more", LIMIT, || schedule(&daemon, "kept").last_ms.is_some_and(|ms| ms >= until));
    daemon.wait_quiet(LIMIT);
    let found = instants(&daemon, "kept");
    let missing: Vec<i64> = (last..=until).step_by(1_000).filter(|instant| !found.contains_key(instant)).collect();
    assert!(missing.is_empty() && found.values().all(|runs| *runs == 1), "{missing:?} {found:?}");
}

#[test]
fn one_schedule_rests_runs_now_and_says_what_it_left_out() {
    let daemon = Daemon::start();
    daemon.publish(
        "aura: 1\nflow: two\ntriggers:\n  - { id: fast, on: schedule, with: { every: 1s } }\n  - { id: slow, on: schedule, with: { cron: \"0 0 1 1 *\" } }\nsteps:\n  - id: say\n    set: { cause: \"{{ trigger.cause }}\" }\n",
    );
    let of = |trigger: &str| {
        let all = daemon.ask().schedule_list(ScheduleQuery { flow: Some("two".into()), count: 1 }).expect("schedules");
        all.into_iter().find(|it| it.trigger == trigger).expect("a schedule")
    };
    wait_until("an instant", LIMIT, || of("fast").last_ms.is_some());
    let said = daemon.aura(&["schedule", "pause", "two"]);
    assert_says(&said.err, &["has several schedules", "fast, slow"]);
    let fast = ScheduleRef { flow: "two".into(), trigger: Some("fast".into()) };
    let paused = daemon.ask().schedule_pause(SchedulePause { schedule: fast.clone(), paused: true }).expect("paused");
    assert!(paused.paused_by.is_some() && paused.next.is_empty() && paused.enabled, "{paused:?}");
    let (last, at) = (of("fast").last_ms, now_ms());
    wait_until("three seconds of rest", LIMIT, || now_ms() > at + 3_000);
    assert_eq!(of("fast").last_ms, last, "it rests");
    let run = daemon.aura(&["schedule", "run", "two", "slow", "--json"]).success().json();
    let run = run["run"].as_str().expect("a run").parse().expect("an id");
    assert_eq!(daemon.wait_state(run, RunState::Succeeded).output("say"), "{\"cause\":\"by_hand\"}");
    assert_eq!(of("slow").last_ms, None, "a run by hand moves no schedule");
    let said = daemon.aura(&["schedule", "resume", "two", "fast"]).success();
    assert_says(&said.out, &["two/fast goes on", "were left out while it was paused"]);
    assert!(of("fast").missed >= 3, "{:?}", of("fast"));
    wait_until("an instant after that", LIMIT, || of("fast").last_ms > last);
}

#[test]
fn jitter_spreads_what_recurs_ends_and_exceptions_hold_over_a_restart() {
    let mut daemon = Daemon::start();
    let begin = now_ms();
    daemon.publish(&flow("spread", "every: 4s, jitter: 3s", QUICK));
    daemon.publish(&flow(
        "recurring",
        "rrule: \"FREQ=MONTHLY;BYDAY=-1FR\", start: 2026-01-01T16:00, zone: Asia/Tokyo, except: [2026-01-30]",
        QUICK,
    ));
    let spread = schedule(&daemon, "spread");
    assert_eq!((spread.jitter_ms, spread.begins.len()), (3_000, spread.next.len()));
    assert!(
        spread.next.iter().zip(&spread.begins).all(|(at, begins)| (*at..=*at + 3_000).contains(begins)),
        "{spread:?}"
    );
    daemon.kill9();
    daemon.up();
    let again = schedule(&daemon, "spread");
    for (at, begins) in again.next.iter().zip(&again.begins) {
        let before = spread.next.iter().position(|known| known == at).map(|place| spread.begins[place]);
        assert!(before.is_none_or(|before| before == *begins), "a restart moves no run: {spread:?} {again:?}");
    }
    wait_until("two instants", LIMIT, || instants(&daemon, "spread").len() >= 2);
    for head in daemon.runs("spread") {
        let journal = Journal(daemon.show(head.run));
        let body = journal.records().find_map(|record| match record {
            Record::RunStarted(started) => Some(started.event.body.clone()),
            _ => None,
        });
        let tick: Tick = serde_json::from_slice(&body.expect("a first record")).expect("an instant");
        let at = tick.scheduled_at.parse::<jiff::Timestamp>().expect("a time").as_millisecond();
        assert!(at % 4_000 == 0 && at > begin && head.created_ms >= at, "{tick:?} {}", head.created_ms);
    }
    let recurring = schedule(&daemon, "recurring");
    let said = daemon.aura(&["schedule", "next", "recurring", "--count", "10"]).success();
    assert_eq!(said.out.matches("T16:00:00+09:00  recurring/tick").count(), 10, "{said:?}");
    assert_says(&recurring.rule, &["FREQ=MONTHLY;BYDAY=-1FR Asia/Tokyo, 1 exception"]);
}
