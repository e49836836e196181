//! The driver itself, for a fraction of a second in each mode: what it says must be true, however fast it is.
//!
//! No figure is judged here: a machine that does other work must not fail this. The daemon and the client are
//! those of the dev profile, built first by the same command that `cargo run` uses.
#![expect(clippy::expect_used, reason = "this whole crate is a test: a panic is how it says no")]
#![allow(missing_docs, reason = "test functions say what they test by their names")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use aura_bench::load::{self, Plan};
use aura_bench::rounds::{Bench, Phase, Program, drain};
use aura_bench::served::{self, Place, Programs};
use aura_bench::sink::Sink;

/// The binaries, built once.
fn programs() -> &'static Programs {
    static PROGRAMS: OnceLock<Programs> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let bench = PathBuf::from(env!("CARGO_BIN_EXE_aura-bench"));
        let folder = bench.parent().expect("a folder").to_owned();
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--locked", "--quiet", "-p", "aura-daemon", "-p", "aura-tui", "-p", "aura-demo", "--bins"])
            .arg("--target-dir")
            .arg(folder.parent().expect("the target folder"))
            .arg("--manifest-path")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml"))
            .status()
            .expect("cargo starts");
        assert!(status.success(), "aurad and aura could not be built");
        Programs { aurad: folder.join("aurad"), aura: folder.join("aura"), bench }
    })
}

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("aura-bench-").tempdir().expect("a folder")
}

#[test]
fn every_program_answers_every_request_and_every_effect_arrives() {
    let folder = folder();
    let mut bench = Bench::start(programs(), folder.path(), &Program::ALL).expect("all programs start");
    let closed = Phase { connections: 4, length: Duration::from_millis(200), rate: None };
    let one = Phase { connections: 1, ..closed };
    let steady = Phase { rate: Some(100), ..closed };
    for (name, phase) in [("closed loop", closed), ("one connection", one), ("fixed rate", steady)] {
        let part = bench.part(name, 2, &Program::ALL, &phase).expect("a part");
        for series in &part.series {
            assert_eq!(series.samples.len(), 2);
            for sample in &series.samples {
                let program = series.program;
                assert!(
                    sample.acked > 0 && sample.per_s > 0.0 && sample.cpu_ms >= 0.0,
                    "{program:?} {name}: {sample:?}"
                );
                let bad = (sample.lost, sample.repeated, sample.refused, sample.failed);
                assert_eq!(bad, (0, 0, 0, 0), "{program:?} {name}");
                assert_eq!(sample.done_ms[0] > 0.0, program.calls(), "{program:?} {name}");
                // Twenty requests are due in the time; none is left out.
                assert!(phase.rate.is_none() || sample.acked == 20, "{program:?} {name}: {sample:?}");
            }
        }
        let json = part.json();
        assert_eq!(json["programs"]["W2"]["rounds"], serde_json::Value::Null);
        assert_eq!(json["programs"]["W2"]["per_s"]["rounds"].as_array().map(Vec::len), Some(2));
        assert!(part.text().contains("W2"), "{}", part.text());
    }
}

#[test]
fn what_is_lost_and_what_is_wrong_is_said() {
    let folder = folder();
    let sink = Sink::start(([127, 0, 0, 1], 0).into()).expect("a sink");
    let echo = served::limit(programs(), aura_bench::limits::Limit::L1, folder.path(), sink.address).expect("L1");
    let plan = Plan { most: Some(25), replies: true, ..Plan::closed(&echo, "lost", 2, Duration::from_secs(60)) };
    sink.begin(&plan.tag);
    // The echo is no answer of W1.
    let outcome = load::run(&plan).expect("a load");
    assert_eq!((outcome.acks.len(), outcome.wrong), (0, 25));
    let outcome = load::run(&Plan { replies: false, ..plan.clone() }).expect("a load");
    assert_eq!((outcome.acks.len(), outcome.wrong), (25, 0));
    // Nothing calls the sink.
    let arrived = sink.arrived(outcome.acks.iter().map(|ack| ack.number));
    assert!(arrived.first.iter().all(Option::is_none));
    drop(echo);
    let outcome = load::run(&Plan { stop_at_error: true, ..plan }).expect("a load");
    assert!(outcome.acks.is_empty() && outcome.broken > 0, "{outcome:?}");
}

#[test]
fn a_daemon_that_was_killed_goes_on_with_what_it_acknowledged() {
    let folder = folder();
    let sink = Sink::start(([127, 0, 0, 1], 0).into()).expect("a sink");
    let place = Place::new(programs(), folder.path()).expect("a place");
    let (mut served, _) = place.start().expect("a daemon");
    served.path = place.publish("w2", &served::w2(sink.address)).expect("a flow");
    let plan =
        Plan { most: Some(64), stop_at_error: true, ..Plan::closed(&served, "kill", 8, Duration::from_secs(60)) };
    sink.begin(&plan.tag);
    let outcome = load::run(&plan).expect("a load");
    served.kill().expect("a kill");
    assert_eq!(outcome.acks.len(), 64, "{outcome:?}");
    let (_again, _) = place.start().expect("the daemon starts again");
    drain(&sink, &outcome);
    let arrived = sink.arrived(outcome.acks.iter().map(|ack| ack.number));
    assert!(arrived.first.iter().all(Option::is_some), "acknowledged and lost");
}

#[test]
fn outgoing_messages_are_all_sent_beside_the_bare_loop_and_very_many_may_wait() {
    let folder = folder();
    let said = Command::new(&programs().bench)
        .args(["outgoing", "--rounds", "1", "--messages", "60", "--parallel", "4", "--waiting", "400", "--data-dir"])
        .arg(folder.path())
        .output()
        .expect("the driver starts");
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success(), "{text}{}", String::from_utf8_lossy(&said.stderr));
    assert!(text.contains("bare loop a s") && text.contains("RSS MiB"), "{text}");
}
