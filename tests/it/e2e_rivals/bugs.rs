//! Every deliberate bug of `docs/rivals.md`, switched on under the test that the page names for it: the test must fail.
//!
//! Only in a build with the feature `bugs` (`.ci/full` makes it); the tests themselves are run by the gate without any
//! bug. Each test runs in a process of its own, because a bug counts for a whole daemon.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use crate::tidy::rivals::shown;

/// Tests at the same time: most of them wait for something that does not come.
const AT_ONCE: usize = 4;

/// Whether this very program's test of this name passes with a bug (none: as it is), and what it says.
fn passes(test: &str, bug: Option<&str>) -> (bool, String) {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", test, "--test-threads", "1"]).stdin(Stdio::null());
    command.env_remove("AURA_BUG").envs(bug.map(|bug| ("AURA_BUG", bug)));
    let output = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("running 1 test"), "there is no test {test}: {said}");
    (output.status.success(), said)
}

#[test]
fn every_test_of_the_page_finds_its_bugs() {
    let only = std::env::var("AURA_BUG_ONLY").unwrap_or_default();
    let mut work: Vec<(String, Option<String>)> = shown()
        .into_iter()
        .filter_map(|shown| Some((shown.test, Some(shown.bug?))))
        .filter(|(test, bug)| only.is_empty() || test.contains(&only) || bug.as_deref() == Some(&only))
        .collect();
    // Each without a bug too: it must be the bug that it fails of.
    let whole: BTreeSet<String> = work.iter().map(|(test, _)| test.clone()).collect();
    work.extend(whole.into_iter().map(|test| (test, None)));
    assert!(!work.is_empty(), "no pair of test and bug");
    let (work, wrong) = (Mutex::new(work), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = work.lock().expect("the work").pop();
                    let Some((test, bug)) = next else { return };
                    let (passed, said) = passes(&test, bug.as_deref());
                    let reason =
                        said.lines().skip_while(|line| !line.contains("panicked at")).nth(1).unwrap_or_default();
                    println!("{test} with {bug:?}: {}: {reason}", if passed { "passes" } else { "fails" });
                    if passed == bug.is_some() {
                        wrong.lock().expect("the list").push(format!("{test} with {bug:?}: {said}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("the list");
    assert!(wrong.is_empty(), "a test overlooks its bug, or fails without one:\n{}", wrong.join("\n"));
}
