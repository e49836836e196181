//! Forms in a browser's hands, with the real daemon: what is typed is judged, kept, stored once and survives a kill.
//!
//! The one invariant: who saw the thanks has an event, and one page sent twice has one.

use aura_protocol::rpc::FlowEnable;
use aura_protocol::run::RunState;

use crate::support::sender::exchange;
use crate::support::{Daemon, LIMIT, Reply, assert_says, wait_until};

const ASK: &str = r#"aura: 1
flow: returns
triggers:
  - id: ask
    on: form
    with:
      title: Return an order
      note: We answer within a day.
      thanks: You will hear from us.
      fields:
        - { name: email, label: Your e-mail, type: email, required: true }
        - { name: qty, label: How many, type: number, min: 1 }
        - { name: why, label: Why, type: choice, options: [broken, too small] }
        - { name: story, label: What happened, lines: 4 }
steps:
  - id: got
    set: { email: "{{ trigger.body.email }}", qty: "{{ trigger.body.qty }}", why: "{{ trigger.body.why }}", story: "{{ trigger.body.story }}" }
"#;

fn path(daemon: &Daemon) -> String {
    let said = daemon.aura(&["form", "show", "returns", "--json"]).success();
    let url = said.json()["url"].as_str().expect("an address").to_owned();
    url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).expect("a path")
}

fn send(daemon: &Daemon, head: &str, more: &str, body: &str) -> Reply {
    let length = body.len();
    let text =
        format!("{head} HTTP/1.1\r\nhost: a\r\n{more}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
    exchange(daemon.address(), text.as_bytes(), || ()).expect("an answer")
}

const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";

fn token(page: &str) -> String {
    let rest = page.split_once("name=\"token\" value=\"").expect("a token").1;
    rest.split_once('"').expect("its end").0.to_owned()
}

#[test]
fn a_form_is_filled_in_corrected_and_sent_once() {
    let mut daemon = Daemon::start();
    daemon.publish(ASK);
    let path = path(&daemon);
    let page = send(&daemon, &format!("GET {path}"), "", "");
    assert_eq!((page.status, page.header("cache-control")), (200, Some("no-store")));
    assert_says(
        page.header("content-security-policy").unwrap_or_default(),
        &["default-src 'none'", "form-action 'self'"],
    );
    assert_says(page.text(), &["<h1>Return an order</h1>", "Your e-mail", "We answer within a day."]);
    let token = token(&page.text());
    let post = |body: &str| send(&daemon, &format!("POST {path}"), FORM, body);
    let wrong = post(&format!("token={token}&f.email=jo&f.qty=0&f.story=it+%3Cbroke%3E"));
    assert_eq!((wrong.status, wrong.event()), (422, None));
    assert_says(
        wrong.text(),
        &["There is a problem", "Please write 1 or more", "value=\"jo\"", "it &lt;broke&gt;</textarea>"],
    );
    assert!(daemon.runs("returns").is_empty(), "nothing was taken");
    // Nobody finds out here which secrets the vault has: a right guess comes back as a wrong one does.
    daemon.secret("bank", "sk_live_0123456789abcdef");
    let guess = post(&format!("token={token}&f.email=jo&f.story=sk_live_0123456789abcdef"));
    assert_says(guess.text(), &["sk_live_0123456789abcdef</textarea>"]);
    let good = format!("token={token}&f.email=jo%40example.com&f.qty=1%2C50&f.why=broken&f.story=it%0D%0Abroke");
    let taken = post(&good);
    assert_eq!(taken.status, 303, "{}", taken.text());
    let event = taken.event().expect("a promise").to_owned();
    // Said is durable; a reload or a second click is the same event.
    daemon.kill9();
    daemon.up();
    let again = send(&daemon, &format!("POST {path}"), FORM, &good);
    assert_eq!((again.status, again.event()), (303, Some(event.as_str())));
    wait_until("the run", LIMIT, || daemon.runs("returns").len() == 1);
    let run = daemon.runs("returns")[0].run;
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_eq!(journal.output("got"), r#"{"email":"jo@example.com","qty":1.50,"why":"broken","story":"it\nbroke"}"#);
    let to = again.header("location").expect("where the thanks are").to_owned();
    let thanks = send(&daemon, &format!("GET /f/{to}"), "", "");
    assert_eq!(thanks.status, 200);
    assert_says(thanks.text(), &["<h1>Thank you</h1>", "You will hear from us."]);
    // Another thing typed on the same page (the browser went back) is another event.
    let other = send(&daemon, &format!("POST {path}"), FORM, &good.replace("jo%40", "ann%40"));
    assert_eq!(other.status, 303);
    assert_ne!(other.event(), Some(event.as_str()));
    wait_until("both runs", LIMIT, || daemon.runs("returns").len() == 2);
}

#[test]
fn what_no_page_of_ours_sent_starts_nothing() {
    let daemon = Daemon::start();
    daemon.publish(ASK);
    let path = path(&daemon);
    let token = token(&send(&daemon, &format!("GET {path}"), "", "").text());
    let good = "f.email=jo%40example.com";
    let post = |more: &str, body: &str| send(&daemon, &format!("POST {path}"), &format!("{FORM}{more}"), body);
    let check = |reply: Reply, status: u16, says: &str| {
        assert_eq!((reply.status, reply.event()), (status, None), "{says}: {}", reply.text());
        assert_says(reply.text(), &[says]);
        assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
    };
    check(post("", good), 422, "This could not be taken. Please send it again.");
    check(post("", &format!("token=AAAA{token}&{good}")), 422, "Please send it again");
    check(post("", &format!("token={token}&website=x&{good}")), 422, "Please send it again");
    check(post("sec-fetch-site: cross-site\r\n", &format!("token={token}&{good}")), 403, "from another page");
    check(
        send(&daemon, &format!("POST {path}"), "content-type: application/json\r\n", "{}"),
        400,
        "could not be taken",
    );
    check(post("", &format!("token={token}&f.email={}", "a".repeat(600 * 1024))), 413, "too large");
    check(send(&daemon, "GET /f/abcdefghjkmnpqrstvwxyz1234", "", ""), 404, "There is no such form");
    check(send(&daemon, &format!("DELETE {path}"), "", ""), 404, "There is no such form");
    // The address is no webhook: what is posted there is never taken without the page.
    let hook = path.replace("/f/", "/hooks/");
    let raw = send(&daemon, &format!("POST {hook}"), "content-type: application/json\r\n", r#"{"email":"x"}"#);
    assert_eq!(raw.status, 404);
    daemon.ask().flow_enable(FlowEnable { flow: "returns".into(), enabled: false }).expect("disabled");
    check(post("sec-fetch-site: same-origin\r\n", &format!("token={token}&{good}")), 404, "There is no such form");
    assert!(daemon.runs("returns").is_empty());
    daemon.ask().flow_enable(FlowEnable { flow: "returns".into(), enabled: true }).expect("enabled");
    let taken = post("sec-fetch-site: same-origin\r\n", &format!("token={token}&{good}"));
    assert_eq!(taken.status, 303, "the page that was open all the time still counts");
}

/// Long: `.ci/full` installs Chromium and axe-core, and says where.
#[test]
#[ignore = "needs a browser: .ci/full installs one and runs this"]
fn the_pages_of_a_form_pass_axe_core_in_a_browser() {
    let folder = std::env::var("AURA_AXE_FOLDER").expect("AURA_AXE_FOLDER says where axe-core and Chromium are");
    let daemon = Daemon::start();
    daemon.publish(ASK);
    let url = format!("http://{}{}", daemon.address(), path(&daemon));
    let mut command = std::process::Command::new("npm");
    let status = command.args(["run", "--silent", "judge", "--", &url]).current_dir(folder).status().expect("npm");
    assert!(status.success(), "axe-core found something, or the form could not be filled in");
    assert_eq!(daemon.runs("returns").len(), 4, "one for each size and colour");
}
