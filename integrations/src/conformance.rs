//! What every registered connector must pass, without a line of its own here.
//!
//! For each action there is `src/<connector>/fixtures/<action>.json`: a connection, an input, the exact
//! request it makes, the vendor's answer, the output, and the vendor's error answers with what they must be
//! taken for. A connector without such a file fails, and so does one whose answers leak a secret.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use aura_protocol::descriptor::Action;
use aura_protocol::run::{CallOutcome, ErrorClass, Reach};
use aura_protocol::value::{Map, Value};
use serde::Deserialize;

use crate::connector::{Connector, Hooks};
use crate::ctx::CallCtx;
use crate::fakes::{Behaviour, FakeHandle, Reply, Seen};
use crate::http::{EgressPolicy, Http};
use crate::redact::Sink;
use crate::registry::{BUILTIN, Registry, sample};

const NOW_MS: i64 = 1_790_000_000_000;
const KEY: &str = "aura_conformancekey0123456789";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    /// `$BASE` stands for the address of the test server.
    connection: Vec<(String, String)>,
    input: Value,
    request: Request,
    answer: Answer,
    output: Value,
    errors: Vec<ErrorCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    status: u16,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorCase {
    answer: Answer,
    class: ErrorClass,
    reach: Reach,
    #[serde(default)]
    retry_after_ms: Option<u64>,
    /// Must be in the sentence.
    says: String,
}

impl Answer {
    fn behaviour(&self) -> Behaviour {
        let body = if self.body.is_null() { String::new() } else { self.body.to_json() };
        Behaviour::Answer(Reply { status: self.status, headers: self.headers.clone(), body })
    }
}

fn fixture(connector: &str, action: &str) -> Fixture {
    let path: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "src", connector, "fixtures", &format!("{action}.json")].iter().collect();
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{} is missing: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A connector's action against a server that answers what the fixture says.
struct Bench {
    registry: Registry,
    http: Http,
    server: FakeHandle,
    settings: Vec<(String, String)>,
    secrets: Vec<(String, String)>,
}

impl Bench {
    async fn new(connector: &str, fixture: &Fixture) -> Self {
        let registry = Registry::builtin();
        let server = FakeHandle::serve(|_| Reply::json(500, "{}")).await.unwrap();
        let fields = &registry.connector(connector).unwrap().fields;
        let (secrets, settings): (Vec<_>, Vec<_>) = fixture
            .connection
            .iter()
            .map(|(name, value)| (name.clone(), value.replace("$BASE", &server.base_url)))
            .partition(|(name, _)| fields.iter().any(|field| field.name == *name && field.secret));
        for (name, _) in settings.iter().chain(&secrets) {
            assert!(fields.iter().any(|field| field.name == *name), "{connector} has no field {name}");
        }
        let sink = Sink::default();
        sink.replace(secrets.iter().map(|(_, secret): &(String, String)| secret.as_str()));
        let policy = EgressPolicy { allow_loopback: true, ..EgressPolicy::default() };
        let http = Http::guarded(policy, sink).unwrap();
        Self { registry, http, server, settings, secrets }
    }

    async fn call(&self, action: &str, input: &Value) -> CallOutcome {
        let sent = AtomicBool::new(false);
        let ctx = CallCtx {
            http: &self.http,
            settings: &self.settings,
            secrets: &self.secrets,
            key: KEY,
            timeout: Duration::from_secs(20),
            now_ms: NOW_MS,
            sent: &sent,
        };
        self.registry.call(&ctx, action, input).await
    }

    fn leaks(&self, text: &str) -> bool {
        self.secrets.iter().any(|(_, secret)| text.contains(secret.as_str()))
    }
}

fn actions() -> Vec<(String, Action)> {
    let registry = Registry::builtin();
    let list = |connector: &aura_protocol::descriptor::Connector| {
        connector.actions.iter().map(|action| (connector.id.clone(), action.clone())).collect::<Vec<_>>()
    };
    registry.connectors().iter().flat_map(list).collect()
}

#[test]
fn every_file_loads_and_describes_itself() {
    for (builtin, loaded) in BUILTIN.iter().zip(Registry::load_each()) {
        let connector = loaded.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(connector.descriptor.id, builtin.id);
        for field in
            connector.descriptor.fields.iter().chain(connector.descriptor.actions.iter().flat_map(|a| &a.input))
        {
            assert!(!field.help.is_empty() && !field.example.is_empty(), "{}.{}", builtin.id, field.name);
        }
        for trigger in &connector.descriptor.triggers {
            let name = format!("{}.{}", builtin.id, trigger.id);
            let body = sample(&name).unwrap_or_else(|| panic!("{name} has no sample"));
            assert!(matches!(Value::from_json_strict(body.as_bytes()), Ok(Value::Map(_))), "{name}");
        }
        for (id, _) in builtin.samples {
            assert!(connector.descriptor.triggers.iter().any(|trigger| trigger.id == *id), "{id} is no trigger");
        }
    }
    assert_eq!(Registry::builtin().connectors().len(), BUILTIN.len());
    assert!(sample("shopify.nothing").is_none() && sample("nothing").is_none());
}

#[tokio::test]
async fn every_action_makes_its_request_and_reads_its_answer() {
    for (connector, action) in actions() {
        let name = format!("{connector}.{}", action.id);
        let fixture = fixture(&connector, &action.id);
        let bench = Bench::new(&connector, &fixture).await;
        bench.server.next(fixture.answer.behaviour());
        let outcome = bench.call(&name, &fixture.input).await;
        let CallOutcome::Done(output) = outcome else { panic!("{name}: {outcome:?}") };
        assert_eq!(output.to_canonical_json(), fixture.output.to_canonical_json(), "{name}");
        let seen: Seen = bench.server.requests().remove(0);
        assert_eq!((&seen.method, &seen.path), (&fixture.request.method, &fixture.request.path), "{name}");
        for (header, value) in &fixture.request.headers {
            assert_eq!(seen.header(header), Some(value.as_str()), "{name}: {header}");
        }
        // The query of GraphQL is long and laid out; its spaces do not count.
        let normal = |value: Value| match value {
            Value::Map(mut map) => {
                if let Some(Value::Str(query)) = map.get_mut("query") {
                    *query = query.split_whitespace().collect::<Vec<_>>().join(" ");
                }
                Value::Map(map)
            }
            other => other,
        };
        assert_eq!(
            normal(seen.json()).to_canonical_json(),
            normal(fixture.request.body).to_canonical_json(),
            "{name}: body"
        );
    }
}

#[tokio::test]
async fn every_error_answer_is_taken_for_what_it_is() {
    for (connector, action) in actions() {
        let name = format!("{connector}.{}", action.id);
        let fixture = fixture(&connector, &action.id);
        assert!(fixture.errors.len() >= 3, "{name}: the vendor's errors belong in the fixture");
        let bench = Bench::new(&connector, &fixture).await;
        for case in &fixture.errors {
            bench.server.next(case.answer.behaviour());
            let CallOutcome::Failed(error, reach) = bench.call(&name, &fixture.input).await else {
                panic!("{name}: an error answer was taken for success: {}", case.says)
            };
            assert!(error.message.contains(&case.says), "{name}: `{}` is not in `{}`", case.says, error.message);
            assert_eq!((error.class, reach), (case.class, case.reach), "{name}: {}", error.message);
            assert_eq!(error.retry_after_ms, case.retry_after_ms, "{name}: {}", error.message);
        }
        // What holds for every provider, whatever its table says.
        for (behaviour, class, reach) in [
            (Behaviour::Answer(Reply::json(503, "")), ErrorClass::Transient, Reach::Unknown),
            (Behaviour::Answer(Reply::json(401, "{}")), ErrorClass::Auth, Reach::Refused),
            (Behaviour::Answer(Reply::json(302, "").header("location", "/")), ErrorClass::Invalid, Reach::Refused),
            (Behaviour::Answer(Reply::json(200, "<html>a wall</html>")), ErrorClass::Transient, Reach::Unknown),
            (Behaviour::Drop, ErrorClass::Transient, Reach::Unknown),
        ] {
            let what = format!("{name}: {behaviour:?}");
            bench.server.next(behaviour);
            match bench.call(&name, &fixture.input).await {
                CallOutcome::Failed(error, got) => assert_eq!((error.class, got), (class, reach), "{what}: {error}"),
                CallOutcome::Done(_) => panic!("{what}"),
            }
        }
        bench.server.next(Behaviour::Answer(Reply::json(429, "{}").header("retry-after", "7")));
        match bench.call(&name, &fixture.input).await {
            CallOutcome::Failed(error, Reach::Refused) if error.class == ErrorClass::RateLimited => {
                assert_eq!(error.retry_after_ms, Some(7000), "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn inputs_are_closed_and_checked_before_anything_is_sent() {
    for (connector, action) in actions() {
        let name = format!("{connector}.{}", action.id);
        let fixture = fixture(&connector, &action.id);
        let bench = Bench::new(&connector, &fixture).await;
        let input = fixture.input.as_map().unwrap().clone();
        let refused = async |input: Map, words: &str| match bench.call(&name, &Value::Map(input)).await {
            CallOutcome::Failed(error, Reach::Unsent) if error.class == ErrorClass::Invalid => {
                assert!(error.message.contains(words), "{name}: {}", error.message);
            }
            other => panic!("{name}: {other:?}"),
        };
        let mut more = input.clone();
        more.insert("surprise".into(), Value::Null);
        refused(more, "input `surprise` is not known").await;
        for field in &action.input {
            if field.required {
                let mut less = input.clone();
                less.shift_remove(&field.name);
                refused(less.clone(), &format!("input `{}` is missing", field.name)).await;
                less.insert(field.name.clone(), Value::Null);
                refused(less, &format!("input `{}` is missing", field.name)).await;
            }
            let mut wrong = input.clone();
            wrong.insert(field.name.clone(), Value::List(vec![]));
            refused(wrong, &format!("input `{}` must be", field.name)).await;
        }
        assert_eq!(bench.server.count(), 0, "{name}: something was sent");
    }
}

#[tokio::test]
async fn secrets_stay_out_of_outputs_and_errors() {
    for (connector, action) in actions() {
        let name = format!("{connector}.{}", action.id);
        let fixture = fixture(&connector, &action.id);
        let bench = Bench::new(&connector, &fixture).await;
        assert!(!bench.secrets.is_empty(), "{name}: the fixture's connection has a secret");
        let echoed: Vec<&str> = bench.secrets.iter().map(|(_, secret)| secret.as_str()).collect();
        let words = Value::from(format!("you said {}", echoed.join(" and ")));
        let bodies = [
            Value::object([("error", words.clone()), ("ok", Value::from(false))]),
            Value::object([("errors", words.clone())]),
            Value::object([("errors", Value::List(vec![Value::object([("message", words.clone())])]))]),
        ];
        for body in bodies {
            for status in [200, 400, 500] {
                bench.server.next(Behaviour::Answer(Reply::json(status, body.to_json())));
                let outcome = format!("{:?}", bench.call(&name, &fixture.input).await);
                assert!(!bench.leaks(&outcome), "{name}: {outcome}");
            }
        }
        let mut answer = fixture.answer.behaviour();
        if let Behaviour::Answer(reply) = &mut answer {
            for (_, value) in &mut reply.headers {
                *value = words.as_str().unwrap().to_owned();
            }
        }
        bench.server.next(answer);
        let outcome = format!("{:?}", bench.call(&name, &fixture.input).await);
        assert!(!bench.leaks(&outcome), "{name}: {outcome}");
        // The request itself must carry the secret, or the test proves nothing.
        assert!(bench.leaks(&format!("{:?}", bench.server.requests())), "{name}");
    }
}

#[tokio::test]
async fn a_connection_that_lacks_something_says_what() {
    for (connector, action) in actions() {
        let name = format!("{connector}.{}", action.id);
        let fixture = fixture(&connector, &action.id);
        let bench = Bench::new(&connector, &fixture).await;
        let required: Vec<_> = bench.registry.connector(&connector).unwrap().fields.clone();
        for field in required.iter().filter(|field| field.required) {
            let mut bare = Bench::new(&connector, &fixture).await;
            bare.settings.retain(|(name, _)| *name != field.name);
            bare.secrets.retain(|(name, _)| *name != field.name);
            match bare.call(&name, &fixture.input).await {
                CallOutcome::Failed(error, Reach::Unsent) => {
                    assert!(error.message.contains(&format!("{} of the connection", field.name)), "{}", error.message);
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_file_that_does_not_hold_together_is_refused() {
    const GOOD: &str = r#"
        id = "x"
        title = "X"
        signing_secret = "s"
        base_url = ["${connection.base_url}"]
        headers = { authorization = "Bearer ${connection.s}" }
        [[fields]]
        name = "base_url"
        type = "text"
        help = "h"
        [[fields]]
        name = "s"
        type = "text"
        secret = true
        help = "h"
        [[actions]]
        id = "a"
        title = "A"
        effect = "once"
        request = { method = "POST", path = "/a/${input.i}", body = { k = "${key}" } }
        answer = { output = "${body.o}" }
        [[actions.input]]
        name = "i"
        type = "text"
        help = "h"
        [[triggers]]
        id = "t"
        title = "T"
        scheme = "github"
    "#;
    assert!(Connector::load(GOOD, Hooks::default()).is_ok());
    for (from, to, words) in [
        ("id = \"x\"", "id = \"x\"\ncolour = \"red\"", "colour"),
        ("${input.i}", "${input.j}", "which is not declared"),
        ("\"${key}\"", "\"${connection.nothing}\"", "which is not declared"),
        ("\"${key}\"", "\"${body.x}\"", "which is not declared"),
        ("\"${key}\"", "1.5", "written as text"),
        ("${body.o}", "${connection.s}", "not the answer"),
        ("Bearer ${connection.s}", "Bearer ${input.i}", "read connection fields only"),
        ("signing_secret = \"s\"", "signing_secret = \"base_url\"", "is not a secret field"),
        ("signing_secret = \"s\"", "", "needs a signing_secret"),
        ("scheme = \"github\"", "scheme = \"sha1\"", "which nobody knows"),
        ("effect = \"once\"", "effect = \"keyed\"", "needs key_window and key_header"),
        ("effect = \"once\"", "effect = \"sometimes\"", "sometimes"),
        ("method = \"POST\"", "method = \"BREW\"", "is none of GET"),
        ("path = \"/a", "path = \"a", "does not begin with /"),
        ("name = \"s\"", "name = \"base_url\"", "is there twice"),
        ("type = \"text\"\n        secret", "type = \"float\"\n        secret", "which is none of text"),
        ("authorization", "Authorization", "lower case"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let error = Connector::load(&GOOD.replacen(from, to, 1), Hooks::default()).unwrap_err();
        assert!(error.to_string().contains(words), "{to}: {error}");
    }
}
