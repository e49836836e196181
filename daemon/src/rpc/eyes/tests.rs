//! Who sees which link and which redacted value, over the methods that clients call.

use aura_integrations::http::EgressPolicy;
use aura_integrations::redact::Sink;
use aura_protocol::Code;
use aura_protocol::outgoing::SubscriptionTest;
use aura_protocol::rpc::{Call, EventQuery, FlowApply, FlowRun, Handler, PayloadQuery, RunQuery, RunRef};
use aura_protocol::run::RunState;
use aura_protocol::upkeep::ExportQuery;
use aura_protocol::watch::{BYTES_MAX, Subscription, WatchRequest};
use aura_protocol::{RequestId, RunId, wire};

use super::*;
use crate::app::{App, Setting};
use crate::clock::Clock;
use crate::config::Options;
use crate::keys::MasterKey;
use crate::rpc::handler::Session;
use crate::rpc::peer::{Peer, Standing};
use crate::rpc::runs;

struct Rig {
    app: App,
    _dir: tempfile::TempDir,
}

/// How the calls of somebody begin.
fn call() -> Call {
    Call { tenant: TenantId::DEFAULT, actor: "test".to_owned(), request: RequestId::now() }
}

impl Rig {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            data_dir: dir.path().join("data"),
            socket: dir.path().join("aurad.sock"),
            listen: "127.0.0.1:0".to_owned(),
            ballast_mib: 0,
            disk_reserve_mib: 0,
            disk_reserve_percent: 0,
            ..Options::default()
        };
        let settings = crate::settings::shown(&options, None);
        let places = crate::sockets::Places::take(&options).await.unwrap();
        let setting = Setting {
            options,
            key: MasterKey::random().unwrap(),
            clock: Clock::system(),
            egress: EgressPolicy::default(),
            settings,
            sink: Sink::default(),
            relay: false,
        };
        Self { app: App::start(setting, places.into()).await.unwrap(), _dir: dir }
    }

    fn session(&self, account: &str, role: Role) -> (Session, Actor) {
        let peer = Peer { account: account.to_owned(), standing: Standing::Has(role) };
        let session = Session { service: self.app.service.clone(), peer };
        let actor = session.actor(&call()).unwrap();
        (session, actor)
    }

    async fn publish(&self, text: &str) {
        let (session, actor) = self.session("olaf", Role::Owner);
        let row = session.flow_apply(actor.clone(), FlowApply { text: text.to_owned() }).await;
        let row = row.unwrap_or_else(|error| panic!("{error}: {:?}", error.findings));
        session.flow_publish(actor, row.flow).await.unwrap();
    }

    async fn run(&self, flow: &str, state: RunState) -> RunId {
        let (session, actor) = self.session("olaf", Role::Owner);
        let asked = FlowRun { flow: flow.to_owned(), input: Value::Null };
        let run = session.flow_run(actor.clone(), asked).await.unwrap().run;
        let mut news = self.app.service.store.newest();
        loop {
            news.borrow_and_update();
            let detail = session.run_show(actor.clone(), RunRef(run.to_string())).await.unwrap();
            if detail.head.state == state && detail.head.blocked_by.is_some() == (state == RunState::Waiting) {
                return run;
            }
            news.changed().await.unwrap();
        }
    }

    /// Everything that an account is shown of a run.
    async fn shown(&self, account: &str, role: Role, run: RunId) -> Vec<(&'static str, Vec<u8>)> {
        let (session, actor) = self.session(account, role);
        let of = || RunRef(run.to_string());
        let payload = |step: &str, part: &str| PayloadQuery {
            run: of(),
            step: step.to_owned(),
            part: part.to_owned(),
            offset: 0,
            limit: 100_000,
        };
        let news = WatchRequest {
            subscriptions: vec![Subscription::Transitions, Subscription::Events],
            cursor: Some(0),
            max_items: 1_000,
            max_bytes: BYTES_MAX,
            wait_ms: 0,
        };
        let mut changes = self.app.service.store.newest();
        let page = loop {
            changes.borrow_and_update();
            let query = EventQuery { limit: 10, ..EventQuery::default() };
            let page = session.event_list(actor.clone(), query).await.unwrap();
            if !page.events.is_empty() {
                break page;
            }
            changes.changed().await.unwrap();
        };
        let event = page.events[0].event;
        let mut found = vec![("event_list", wire::encode(&page).unwrap())];
        macro_rules! ask {
            ($($method:ident($request:expr);)*) => {$(
                let reply = session.$method(actor.clone(), $request).await.unwrap();
                found.push((stringify!($method), wire::encode(&reply).unwrap()));
            )*};
        }
        ask! {
            event_show(event);
            run_show(of());
            run_payload(payload("mail", "output"));
            run_payload(payload("broken", "error"));
            run_page(RunQuery { limit: 10, ..RunQuery::default() });
            run_asks(of());
            flow_activity(());
            watch(news);
        }
        found
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

const TAKER: &str = "aura: 1
flow: taker
triggers: [{ id: told, on: event, with: { name: said }, filter: \"{{ false }}\" }]
steps: [{ id: a, set: { b: 1 } }]
";

const LINKS: &str = "aura: 1
flow: links
steps:
  - id: mail
    set: { ben: \"see {{ run.approvals.release.ben }}.\", carl: \"{{ run.approvals.release.carl }}\", paid: \"{{ run.callbacks.paid }}\" }
  - id: broken
    set: { n: \"{{ Number(steps.mail.output.ben) }}\" }
    on_error: [{ id: told, emit: { event: said, body: { mails: \"{{ steps.mail.output }}\" } } }]
  - id: paid
    needs: [broken]
    wait: { callback: true, deadline: 2d }
  - id: release
    needs: [broken]
    redact: [input.iban]
    approval:
      form: { iban: S3CRET, links: \"{{ steps.mail.output }}\" }
      approvers: [ben, carl]
      quorum: 2
      deadline: 2d
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_is_shown_to_whom_it_is_for_and_leaves_in_no_file() {
    let rig = Rig::start().await;
    rig.publish(TAKER).await;
    rig.publish(LINKS).await;
    let run = rig.run("links", RunState::Waiting).await;
    let (owner, actor) = rig.session("olaf", Role::Owner);
    let query = PayloadQuery {
        run: RunRef(run.to_string()),
        step: "mail".to_owned(),
        part: "output".to_owned(),
        offset: 0,
        limit: 10_000,
    };
    let mails = Value::from_json(owner.run_payload(actor.clone(), query).await.unwrap().text.as_bytes()).unwrap();
    let token = |name: &str| {
        let link = mails.get(name).and_then(Value::as_str).unwrap().trim_end_matches('.');
        link.rsplit('/').next().unwrap().to_owned()
    };
    let (ben, carl, paid) = (token("ben"), token("carl"), token("paid"));
    let check = async |account: &str, role: Role, seen: &[&String]| {
        for (method, reply) in rig.shown(account, role, run).await {
            for token in [&ben, &carl, &paid] {
                let whole = ["run_show", "watch", "event_show"].contains(&method);
                assert!(seen.contains(&token) || !contains(&reply, token), "{account} sees a link in {method}");
                assert!(!whole || !seen.contains(&token) || contains(&reply, token), "{account} lost one in {method}");
            }
            assert!(method != "run_show" || seen.len() == 3 || contains(&reply, links::LINK), "{account} {method}");
        }
    };
    check("vera", Role::Viewer, &[]).await;
    check("ben", Role::Viewer, &[&ben]).await;
    check("carl", Role::Viewer, &[&carl]).await;
    check("olga", Role::Operator, &[&paid]).await;
    check("edna", Role::Editor, &[&paid]).await;
    check("anton", Role::Admin, &[&ben, &carl, &paid]).await;

    let mut files = vec![owner.run_record(actor.clone(), RunRef(run.to_string())).await.unwrap()];
    let mut query = ExportQuery { runs: true, ..ExportQuery::default() };
    loop {
        let page = owner.export(actor.clone(), query.clone()).await.unwrap();
        files.extend(page.lines);
        let Some(next) = page.next else { break };
        query.after = next;
    }
    let file = files.join("\n");
    assert!(file.contains(links::LINK), "{file}");
    for token in [&ben, &carl, &paid] {
        assert!(!file.contains(token.as_str()), "{file}");
    }
    // Whoever decides sees what about, the others do not.
    for (account, role, sees) in
        [("ben", Role::Viewer, true), ("vera", Role::Viewer, false), ("olaf", Role::Owner, false)]
    {
        let (session, actor) = rig.session(account, role);
        let asked = session.run_asks(actor, RunRef(run.to_string())).await.unwrap();
        assert_eq!(asked.len(), 1);
        let form = asked[0].ask.form.to_json();
        assert_eq!((form.contains("S3CRET"), form.contains("[redacted]")), (sees, !sees), "{account}: {form}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_that_nobody_can_read_hides_everything() {
    let rig = Rig::start().await;
    rig.publish("aura: 1\nflow: plain\nsteps: [{ id: a, set: { b: S3CRET } }]").await;
    let run = rig.run("plain", RunState::Succeeded).await;
    let (session, actor) = rig.session("olaf", Role::Owner);
    let head = session.run_show(actor, RunRef(run.to_string())).await.unwrap().head;
    let shared = &rig.app.service;
    assert_eq!(runs::redacted(shared, &head), aura_protocol::flow::redact::Redacted::default());
    let lost = RunHead { version: "0".repeat(64), ..head };
    assert_eq!(runs::redacted(shared, &lost), aura_protocol::flow::redact::Redacted::everything());
}

#[tokio::test]
async fn only_editors_send_a_test_that_looks_like_a_real_event() {
    let rig = Rig::start().await;
    let test = |kind: Option<&str>, data: Option<&str>| SubscriptionTest {
        name: "acme".to_owned(),
        kind: kind.map(str::to_owned),
        data: data.map(str::to_owned),
    };
    for (role, test, expected) in [
        (Role::Operator, test(Some("order.paid"), None), Code::Forbidden),
        (Role::Operator, test(None, Some("{}")), Code::Forbidden),
        // There is no such subscription: so far they come.
        (Role::Operator, test(None, None), Code::NotFound),
        (Role::Editor, test(Some("order.paid"), Some("{}")), Code::NotFound),
    ] {
        let (session, actor) = rig.session("anna", role);
        let error = session.subscription_test(actor, test.clone()).await.unwrap_err();
        assert_eq!(error.code, expected, "{role:?} {test:?}: {error}");
    }
}
