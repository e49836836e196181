//! What a trigger takes beyond the usual: larger bodies and packed ones, within bounds.
//!
//! The one rule that must hold: the proof is over the bytes as they came, and what is kept is the text.

use std::io::Write;

use aura_protocol::run::RunState;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::{Daemon, Hook, now_ms, run_of};
use aura_protocol::event::EventState;

const FLOW: &str = r#"aura: 1
flow: NAME
triggers:
  - id: in
    on: webhook
    auth: { scheme: github, secret: hub }
    WITH
steps:
  - id: kept
    set: { size: "{{ trigger.body.pad.length }}", order: "{{ trigger.body.order }}", headers: "{{ trigger.headers }}" }
"#;

fn packed(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).expect("packed");
    encoder.finish().expect("packed")
}

/// A text that packs badly.
fn noise(bytes: usize) -> String {
    let mut state = 7_u64;
    let letters = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + u8::try_from((state >> 33) % 64).expect("small"))
    });
    letters.filter(|letter| *letter != '\\').take(bytes).collect()
}

fn send(hook: &Hook, id: &str, body: &[u8], proved: &[u8], encoding: &str) -> crate::support::Reply {
    let scheme = aura_protocol::signature::scheme("github").expect("a scheme");
    let mut headers = aura_protocol::signature::sign(scheme, "hush-hush-7", proved, now_ms(), id);
    headers.push(("content-type".to_owned(), "application/json".to_owned()));
    if !encoding.is_empty() {
        headers.push(("content-encoding".to_owned(), encoding.to_owned()));
    }
    hook.send_with(&headers, body).expect("an answer")
}

#[test]
fn packed_and_large_deliveries_are_taken_where_the_trigger_says_so() {
    let daemon = Daemon::start();
    daemon.secret("hub", "hush-hush-7");
    daemon.publish(&FLOW.replace("NAME", "roomy").replace("WITH", "with: { body_max: 2 MiB, encodings: [gzip] }"));
    daemon.publish(&FLOW.replace("NAME", "usual").replace("    WITH\n", ""));
    let (roomy, usual) = (daemon.open_hook("roomy"), daemon.open_hook("usual"));

    let text = format!(r#"{{"order": 17, "pad": "{}"}}"#, noise(200_000));
    let small = packed(text.as_bytes());
    let reply = send(&roomy, "m1", &small, &small, "gzip");
    let journal = daemon.wait_state(run_of(&reply, EventState::Started), RunState::Succeeded);
    let output: serde_json::Value = serde_json::from_str(&journal.output("kept")).expect("JSON");
    assert_eq!((&output["size"], &output["order"]), (&200_000.into(), &17.into()));
    let headers = output["headers"].as_object().expect("headers");
    assert!(!headers.contains_key("content-encoding") && headers.contains_key("content-type"), "{headers:?}");
    assert_eq!(send(&roomy, "m1", &small, &small, "gzip").field("state"), "duplicate");

    let large = format!(r#"{{"order": 18, "pad": "{}"}}"#, noise(1_500_000));
    let reply = send(&roomy, "m2", large.as_bytes(), large.as_bytes(), "");
    daemon.wait_state(run_of(&reply, EventState::Started), RunState::Succeeded);

    let too_large = packed(format!(r#"{{"pad": "{}"}}"#, noise(2_200_000)).as_bytes());
    let bomb = packed(format!(r#"{{"pad": "{}"}}"#, "a".repeat(1_900_000)).as_bytes());
    for (what, hook, body, proved, encoding, status, says) in [
        ("proved unpacked", &roomy, &small, text.as_bytes(), "gzip", 401, "not signed"),
        ("not packed", &roomy, &text.clone().into_bytes(), text.as_bytes(), "gzip", 400, "no gzip"),
        ("cut off", &roomy, &small[..9_000].to_vec(), &small[..9_000], "gzip", 400, "no gzip"),
        ("unpacked too large", &roomy, &too_large, too_large.as_slice(), "gzip", 413, "larger than 2097152"),
        ("a bomb", &roomy, &bomb, bomb.as_slice(), "gzip", 400, "more than 10 times"),
        ("another packing", &roomy, &small, small.as_slice(), "br", 415, "or as gzip"),
        ("packed unasked", &usual, &small, small.as_slice(), "gzip", 415, "without content-encoding"),
        ("large unasked", &usual, &large.clone().into_bytes(), large.as_bytes(), "", 413, "larger than 1048576"),
    ] {
        let reply = send(hook, what, body, proved, encoding);
        assert_eq!(reply.status, status, "{what}: {}", reply.text());
        assert!(reply.text().contains(says) && reply.event().is_none(), "{what}: {}", reply.text());
    }
    assert_eq!((daemon.runs("roomy").len(), daemon.runs("usual").len()), (2, 0));
}

#[test]
fn settings_that_a_trigger_does_not_have_are_refused() {
    let daemon = Daemon::start();
    daemon.secret("hub", "hush-hush-7");
    for (with, says) in [
        ("with: { body_max: 26 MiB }", "from 1 KiB to 25 MiB"),
        ("with: { encodings: [br] }", "only gzip is"),
        ("with: { size: 5 }", "has no setting `size`"),
    ] {
        let error = daemon.apply(&FLOW.replace("NAME", "roomy").replace("WITH", with));
        let row = error.err().map(|error| error.findings);
        let found = row.unwrap_or_else(|| daemon.ask().flow_check(FLOW.replace("WITH", with)).expect("findings"));
        assert!(found.iter().any(|finding| finding.message.contains(says)), "{with}: {found:?}");
    }
}
