//! Tests of flows through the real binaries: the templates with a crash at every record, the page's example, what is said
//! when a case fails, and a case written from a real run.
//!
//! The one invariant: `aura flow test` gives the same with a daemon and without one.

use std::fs;
use std::path::{Path, PathBuf};

use aura_protocol::run::RunState;
use serde_json::Value;

use crate::e2e_effects::stage;
use crate::support::{Answer, Daemon, assert_says, aura};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder above").to_owned()
}

/// The reports of `--json`, one a line.
fn reports(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// The demo's flow and those that are handed out as templates.
const TEMPLATES: &[&str] =
    &["recover-abandoned-cart", "win-back-carts", "onboard-customer", "route-support-message", "deploy-on-push"];

#[test]
fn the_templates_survive_a_crash_at_every_record() {
    let examples = root().join("docs/examples").display().to_string();
    let said = aura(&["flow", "test", &examples, "--crash", "--json"]);
    assert_eq!(said.code, 0, "{said:#?}");
    let all = reports(&said.out);
    for flow in TEMPLATES {
        let of: Vec<&Value> = all.iter().filter(|report| report["flow"] == **flow).collect();
        let whole = of.iter().filter(|report| report["state"] != "dropped");
        assert!(of.len() >= 3, "{flow} has {} cases", of.len());
        for report in whole {
            let crashes = &report["crashes"];
            assert_eq!(crashes["same"], true, "{report:#}");
            assert!(crashes["runs"].as_u64() > Some(1), "{report:#}");
        }
    }
    let sum = |name: &str| all.iter().filter_map(|report| report["crashes"][name].as_u64()).sum::<u64>();
    assert!(sum("runs") > 300 && sum("in_doubt") > 20, "{} crashes, {} in doubt", sum("runs"), sum("in_doubt"));
    println!("{} cases, {} crashes at {} records", all.len(), sum("runs"), sum("records"));
}

#[test]
fn the_page_does_what_it_says() {
    let page = fs::read_to_string(root().join("docs/testing-flows.md")).expect("the page");
    let mut blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("order.yaml"), blocks.next().expect("the flow")).expect("written");
    fs::write(path("order.test.yaml"), blocks.next().expect("its cases")).expect("written");
    aura(&["flow", "check", &path("order.yaml")]).success();
    let junit = path("report.xml");
    let said = aura(&["flow", "test", &path(""), "--crash", "--junit", &junit]).success();
    assert_says(&said.out, &["ok    the review mail goes out after a week", "3 passed", "crashes at"]);
    let xml = fs::read_to_string(junit).expect("the report");
    assert_says(&xml, &["tests=\"3\" failures=\"0\"", "name=\"the ERP refuses\"", "order.test.yaml"]);

    // The difference that the page shows.
    let wrong = fs::read_to_string(path("order.test.yaml"))
        .expect("the cases")
        .replace("path: [book, later, { review: failed }, tell]", "path: [book, later, review]");
    fs::write(path("order.test.yaml"), wrong).expect("written");
    let said = aura(&["flow", "test", &path("order.yaml"), "--junit", &path("report.xml")]);
    assert_eq!(said.code, 1, "{said:#?}");
    let shown = page.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the difference");
    let difference = shown.lines().skip_while(|line| !line.contains("did not settle")).skip(1);
    let difference: String = difference.map(|line| format!("{line}\n")).collect();
    assert!(said.out.contains(&difference) && said.out.contains("order.test.yaml:23:7:"), "{}\n{difference}", said.out);
    assert_says(fs::read_to_string(path("report.xml")).expect("the report"), &["failures=\"1\"", "<failure message="]);
    let said = aura(&["flow", "test", &path("order.yaml"), "--case", "the ERP refuses"]).success();
    assert_says(&said.out, &["1 passed"]);
}

#[test]
fn what_is_wrong_has_its_code_and_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let write = |name: &str, text: &str| fs::write(path(name), text).expect("written");
    let check = |arguments: &[&str], code: i32, says: &[&str]| {
        let said = aura(&[&["flow", "test"], arguments].concat());
        assert_eq!(said.code, code, "{said:#?}");
        assert_says(format!("{}{}", said.out, said.err), says);
    };
    write("a.yaml", "aura: 1\nflow: a\nsteps:\n  - { id: x, set: { n: 1 } }\n");
    check(&[&path("a.yaml")], 3, &["has no cases", "--record RUN"]);
    check(&[&path("")], 3, &["holds no file that ends in .test.yaml"]);
    write("a.test.yaml", "aura: 1\ncases:\n  - name: one\n    expects: {}\n");
    check(&[&path("a.yaml")], 2, &["a.test.yaml:4:5: error: the key `expects` is not known", "did you mean `expect`"]);
    write("a.test.yaml", "aura: 1\ncases:\n  - name: one\n");
    check(&[&path("a.yaml"), "--case", "two"], 3, &["there is no case `two`; there are one"]);
    check(&[&path("a.yaml")], 0, &["1 passed"]);
    write("a.yaml", "aura: 1\nflow: a\nsteps:\n  - { id: x, set: { n: \"{{ steps.y.output }}\" } }\n");
    check(&[&path("a.yaml")], 4, &["a.yaml:4:", "error:"]);
    write("b.yaml", "aura: 1\nflow: b\nsteps:\n  - { id: x, http: { url: https://e.org } }\n");
    write("b.test.yaml", "aura: 1\ncases:\n  - name: one\n");
    check(&[&path("b.yaml")], 1, &["b.test.yaml:3:5:", "add `pins: { x: { output: … } }`", "0 passed, 1 failed"]);
    let said = aura(&["flow", "simulate", &path("b.yaml"), "--pin", r#"x={"status":200,"headers":{},"body":"hi"}"#]);
    assert_eq!(said.code, 0, "{said:#?}");
    assert_says(&said.out, &["x -> GET https://e.org (read)", "x: succeeded", "succeeded after 0s", "\"body\":\"hi\""]);
    let said = aura(&["flow", "simulate", &path("b.yaml"), "--strict"]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert_says(&said.out, &["--pin STEP=JSON"]);
}

const REAL: &str = r#"
steps:
  - id: charge
    http: { method: POST, url: "RECEIVER/charge", body: { amount: "{{ input.amount }}", mail: "{{ input.email }}" } }
    effect: keyed
    retry: { base: 1ms }
  - id: parcels
    each: "{{ input.items }}"
    http: { method: PUT, url: "RECEIVER/parcels/{{ item.sku }}" }
  - id: paid
    wait: { callback: true, deadline: 7d }
  - id: thanks
    set: { text: "Dear {{ input.first_name }}, {{ steps.paid.output.sum }} came from {{ input.email }}" }
"#;

#[test]
fn a_case_from_a_real_run_passes_and_tells_nothing_about_people() {
    let (daemon, receiver) = stage("real", REAL);
    receiver.on("/charge", |_, before| {
        if before == 0 { Answer::status(503) } else { Answer::ok().body(r#"{"id":"ch_1","name_on_card":"x"}"#) }
    });
    let input = r#"{"amount":5,"email":"ada@lovelace.org","first_name":"Augusta","items":[{"sku":"A"},{"sku":"B"}]}"#;
    let run = daemon.run("real", input);
    receiver.wait("/parcels/B", 1);
    let id = run.to_string();
    daemon.aura(&["run", "signal", &id, "paid", "--data", r#"{"sum":12.50}"#]).success();
    daemon.wait_state(run, RunState::Succeeded);

    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("real.yaml"), daemon.aura(&["flow", "show", "real"]).success().out).expect("written");
    daemon.aura(&["flow", "test", &path("real.yaml"), "--record", &id]).success();
    let written = fs::read_to_string(path("real.test.yaml")).expect("the cases");
    for original in ["ada@", "lovelace", "Augusta"] {
        assert!(!written.contains(original), "{original} stands in\n{written}");
    }
    assert_says(&written, &["stand-ins", "person-1@example.com", "Dear name-1, 12.50 came from person-1@example.com"]);
    assert!(!written.contains("goes another way"), "{written}");
    for said in
        [daemon.aura(&["flow", "test", &path("real.yaml"), "--crash"]), aura(&["flow", "test", &path("real.yaml")])]
    {
        assert_says(said.success().out, &["1 passed"]);
    }
    let again = daemon.aura(&["flow", "test", &path("real.yaml"), "--record", &id]);
    assert_eq!(again.code, 5, "the same name twice: {again:#?}");
    let shown = daemon.aura(&["flow", "test", "-", "--record", &id]).success();
    assert_says(&shown.out, &["cases:"]);
}

#[test]
fn a_secret_never_stands_in_a_recorded_case() {
    let daemon = Daemon::start();
    daemon.secret("hook", "tell-nobody-this-secret");
    daemon.publish(
        "aura: 1\nflow: quiet\ntriggers:\n  - { id: hand, on: manual }\nsteps:\n  - { id: x, set: { said: \"{{ input.text }}\" } }\n",
    );
    let run = daemon.run("quiet", r#"{"text":"it is tell-nobody-this-secret, I think"}"#);
    daemon.wait_state(run, RunState::Succeeded);
    let shown = daemon.aura(&["flow", "test", "-", "--record", &run.to_string()]).success();
    assert!(!shown.out.contains("tell-nobody"), "{}", shown.out);
    assert_says(&shown.out, &["I think"]);
}

const SHOP: &str = r#"aura: 1
flow: shop
triggers: [{ id: hand, on: manual }]
steps:
  - { id: later, sleep: { for: 1h } }
  - { id: route, needs: [later], set: { large: "{{ input.sum >= 100 }}" } }
"#;

const SHOP_CASES: &str = r#"aura: 1
cases:
  - name: exactly a hundred is large
    input: { sum: 100 }
    expect: { outputs: { route: { large: true } } }
"#;

/// Another build: this one, behind a script that changes what it is asked.
fn build(folder: &Path, script: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("aurad");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("made runnable");
    path.display().to_string()
}

#[test]
fn another_build_says_what_it_makes_of_each_flow_before_it_takes_over() {
    let daemon = Daemon::start();
    daemon.publish(SHOP);
    let run = daemon.run("shop", r#"{"sum":100}"#);
    daemon.wait_state(run, RunState::Waiting);
    // The version of the run is not the published one any more, and counts all the same.
    daemon.publish(&SHOP.replace("1h", "2h"));
    let folder = tempfile::tempdir().expect("a folder");
    let flows = folder.path().join("flows");
    fs::create_dir(&flows).expect("made");
    fs::write(flows.join("shop.yaml"), SHOP).expect("written");
    fs::write(flows.join("shop.test.yaml"), SHOP_CASES).expect("written");
    let flows = flows.display().to_string();
    let own = env!("CARGO_BIN_EXE_it-aurad").to_owned();
    let same = build(folder.path(), &format!("exec '{own}' \"$@\""));
    let said = daemon.aura(&["upgrade", "check", "--with", &same, &flows]).success();
    assert_says(&said.out, &["1 unfinished", "1 passed", "3 looked at: nothing would change"]);
    // Only read: said so.
    let said = daemon.aura(&["upgrade", "check", "--with", &same]).success();
    assert_says(&said.err, &["only read, not run"]);
    // A build for which a hundred is not more than a hundred: who upgrades hears it, and nothing has happened yet.
    let other = build(folder.path(), &format!("sed 's/>= 100/> 100/' | '{own}' \"$@\""));
    let said = daemon.aura(&["upgrade", "check", "--with", &other, &flows]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert_says(&said.out, &["another version", "case `exactly a hundred is large`", "3 would change or stop"]);
    // A build that refuses what this one runs.
    let refuses = build(folder.path(), &format!("sed 's/large:/large?:/; s/aura: 1/aura: 9/' | '{own}' \"$@\""));
    let rows = daemon.aura(&["upgrade", "check", "--with", &refuses, "--json", &flows]);
    assert_eq!(rows.code, 1, "{rows:#?}");
    let problems = reports(&rows.out);
    assert!(problems.iter().all(|row| !row["problems"].as_array().expect("a list").is_empty()), "{problems:#?}");
    let gone = daemon.aura(&["upgrade", "check", "--with", "/nowhere/aurad", &flows]);
    assert_says(&gone.err, &["/nowhere/aurad", "cannot be started"]);
    assert_eq!(daemon.show(run).head.state, RunState::Waiting);
}
