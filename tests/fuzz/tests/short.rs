//! The short run of every target: kept inputs, seeds, and mutations of both (`AURA_FUZZ_CASES` each, default 2,000).

#![expect(clippy::unwrap_used, reason = "a test that cannot read its own corpus says so by a panic")]

use std::panic::catch_unwind;
use std::path::Path;
use std::time::{Duration, Instant};

use aura_fuzz::mutate::{Numbers, mutated};
use aura_fuzz::{TARGETS, Target};

fn kept(target: &Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
}

fn run(target: &Target, input: &[u8]) {
    let begin = Instant::now();
    let outcome = catch_unwind(|| (target.run)(input));
    let shown: String = input.iter().flat_map(|byte| std::ascii::escape_default(*byte)).map(char::from).collect();
    assert!(outcome.is_ok(), "target {} is broken by this input, keep it in its corpus: {shown}", target.name);
    // Far beyond anything linear in 64 KiB, even on a machine that is busy: it hangs.
    assert!(begin.elapsed() < Duration::from_secs(20), "target {} takes for ever with: {shown}", target.name);
}

#[test]
fn no_input_breaks_a_parser() {
    let cases: u64 = std::env::var("AURA_FUZZ_CASES").ok().map_or(2_000, |text| text.parse().expect("a number"));
    std::thread::scope(|scope| {
        for half in [0, 1] {
            // The stack of a worker thread of the daemon.
            let worker = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
            let work = move || {
                for target in TARGETS.iter().skip(half).step_by(2) {
                    let mut seeds: Vec<Vec<u8>> = target.seeds.iter().map(|seed| seed.to_vec()).collect();
                    assert!(!seeds.is_empty(), "target {} has no seeds", target.name);
                    seeds.extend(kept(target));
                    seeds.iter().for_each(|seed| run(target, seed));
                    for case in 0..cases {
                        let mut numbers = Numbers(case);
                        run(target, &mutated(&seeds, &mut numbers));
                    }
                }
            };
            worker.spawn_scoped(scope, work).unwrap();
        }
    });
}
