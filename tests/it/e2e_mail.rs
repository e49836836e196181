//! Mails as SendGrid's Inbound Parse posts them, through the real door: fields, files, repeats.
//!
//! The one invariant: the body is written here byte by byte, as the provider's pages say.

use aura_protocol::rpc::DeliveryQuery;
use aura_protocol::run::RunState;

use crate::support::{Daemon, LIMIT, assert_says, wait_until};

const FLOW: &str = r#"aura: 1
flow: tickets
triggers:
  - { id: mail, on: sendgrid.inbound, connection: mail }
steps:
  - id: got
    set:
      from: "{{ trigger.body.envelope.from }}"
      subject: "{{ trigger.body.subject }}"
      files: "{{ trigger.body.files.map(file => `${file.filename} ${file.size}`) }}"
"#;

fn mail(id: &str, attachment: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut part = |head: &str, content: &[u8]| {
        out.extend_from_slice(format!("--xYzZY\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes());
        out.extend_from_slice(content);
        out.extend_from_slice(b"\r\n");
    };
    part("name=\"headers\"", format!("From: jo@example.com\nMessage-ID: <{id}@example.com>\n").as_bytes());
    part("name=\"subject\"", b"Wo ist mein P\xe4ckchen?");
    part("name=\"charsets\"", br#"{"subject":"iso-8859-1"}"#);
    part("name=\"envelope\"", br#"{"to":["in@acme.example"],"from":"jo@example.com"}"#);
    part("name=\"attachment1\"; filename=\"label.pdf\"\r\nContent-Type: application/pdf", attachment);
    out.extend_from_slice(b"--xYzZY--\r\n");
    out
}

#[test]
fn a_mail_with_a_large_file_becomes_one_run_however_often_it_is_delivered() {
    let daemon = Daemon::start();
    daemon.connect("mail", "sendgrid", &[("api_key", "SG.tests-only-0123456789")]);
    daemon.publish(FLOW);
    let hook = daemon.open_hook("tickets");
    let kind = ("content-type".to_owned(), "multipart/form-data; boundary=xYzZY".to_owned());
    let send = |body: &[u8]| hook.send_with(std::slice::from_ref(&kind), body).expect("an answer");
    let large = vec![0xF0_u8; 3 * 1024 * 1024];
    let first = send(&mail("1", &large));
    assert_eq!(first.status, 202, "{}", first.text());
    let again = send(&mail("1", &large));
    assert_eq!((again.status, again.event()), (200, first.event()));
    assert_eq!(send(&mail("2", b"")).status, 202);
    wait_until("both runs", LIMIT, || daemon.runs("tickets").len() == 2);
    let run = daemon.runs("tickets")[0].run;
    let journal = daemon.wait_state(run, RunState::Succeeded);
    let expected = r#"{"from":"jo@example.com","subject":"Wo ist mein Päckchen?","files":["label.pdf 3145728"]}"#;
    assert_eq!(journal.output("got"), expected);
    let mut cut = mail("3", b"x");
    cut.truncate(120);
    let refused = send(&cut);
    assert_eq!((refused.status, refused.event()), (400, None));
    assert_says(refused.text(), &["no multipart/form-data"]);
    // A sample of the connector, as people try their flow.
    let said = daemon.aura(&["webhook", "test", "tickets"]).success();
    assert_says(&said.out, &["202"]);
}

#[test]
fn a_mail_that_came_too_early_is_claimed_as_the_mail_that_it_is() {
    let daemon = Daemon::start();
    daemon.connect("mail", "sendgrid", &[("api_key", "SG.tests-only-0123456789")]);
    daemon.publish(FLOW);
    let hook = daemon.open_hook("tickets");
    let kind = ("content-type".to_owned(), "multipart/form-data; boundary=xYzZY".to_owned());
    let send = || hook.send_with(std::slice::from_ref(&kind), &mail("1", b"a file")).expect("an answer");
    daemon.aura(&["webhook", "disable", "tickets"]).success();
    assert_eq!(send().status, 404);
    daemon.aura(&["webhook", "enable", "tickets"]).success();
    let query = DeliveryQuery { unclaimed: true, limit: 10, ..DeliveryQuery::default() };
    let early = daemon.ask().webhook_deliveries(query).expect("the deliveries").deliveries[0].id.to_string();
    daemon.aura(&["webhook", "claim", &early, "tickets/mail"]).success();
    let run = daemon.runs("tickets")[0].run;
    let expected = r#"{"from":"jo@example.com","subject":"Wo ist mein Päckchen?","files":["label.pdf 6"]}"#;
    assert_eq!(daemon.wait_state(run, RunState::Succeeded).output("got"), expected);
    // Its sender comes again: it is the same mail.
    assert_eq!(send().field("state"), "duplicate");
    assert_eq!(daemon.runs("tickets").len(), 1);
}
