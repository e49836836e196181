//! The JSON Schema of the flow file, generated from the types below, for editors and `aura flow schema`.
//!
//! These types say how a file is *written*; [`super::types`] says what it *means*. A test holds their keys
//! equal to [`super::keys`], which is what the reader takes. Rules that a schema cannot say are in `check`.

#![expect(dead_code, reason = "these types exist for their schema; files are read by `read`, with positions")]

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema};
use serde_json::{Value as Json, json};

use super::{Effect, InDoubtPolicy, WhenFull};

/// The schema as JSON (draft 2020-12).
#[must_use]
pub fn schema() -> Json {
    let mut settings = schemars::generate::SchemaSettings::draft2020_12();
    settings.inline_subschemas = false;
    let mut schema = settings.into_generator().into_root_schema_for::<FlowFile>().to_value();
    without_null(&mut schema);
    schema
}

/// A key that may be left out is not a key that may be null: takes the null out that the derive puts in.
fn without_null(schema: &mut Json) {
    match schema {
        Json::Array(items) => items.iter_mut().for_each(without_null),
        Json::Object(rules) => {
            rules.values_mut().for_each(without_null);
            if let Some(Json::Array(types)) = rules.get_mut("type") {
                types.retain(|name| name != "null");
                if let [one] = types.as_slice() {
                    let one = one.clone();
                    rules.insert("type".to_owned(), one);
                }
            }
            if let Some(Json::Array(ways)) = rules.get_mut("anyOf") {
                ways.retain(|way| way.get("type").is_none_or(|name| name != "null"));
                if let [Json::Object(one)] = ways.as_slice() {
                    let one = one.clone();
                    rules.remove("anyOf");
                    rules.extend(one);
                }
            }
        }
        _ => {}
    }
}

/// Any JSON object; texts in it may hold expressions.
type Object = serde_json::Map<String, Json>;

/// An integer and a unit: `500ms`, `30s`, `5m`, `23h`, `7d`, `2w`; a day is 24 hours.
#[derive(JsonSchema)]
#[schemars(rename = "Duration")]
struct Duration(#[schemars(regex(pattern = "^[0-9]+(ms|s|m|h|d|w)$"))] String);

/// A text with at least one expression: `"{{ trigger.body.id }}"`.
#[derive(JsonSchema)]
struct Expression(#[schemars(regex(pattern = r"\{\{"))] String);

/// One expression that gives true or false, or `true` or `false` itself.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Condition {
    /// An expression.
    Expression(Expression),
    /// Always or never.
    Constant(bool),
}

/// The id of a step or trigger, unique in the flow.
#[derive(JsonSchema)]
struct Id(#[schemars(regex(pattern = "^[a-z][a-z0-9_]{0,63}$"))] String);

/// A flow: what starts it, and what it does.
#[derive(JsonSchema)]
#[schemars(title = "AURA flow, format 1", deny_unknown_fields)]
struct FlowFile {
    /// The format: 1.
    #[schemars(extend("const" = 1))]
    aura: u32,
    /// Stable name, `[a-z0-9-]`; the title is for people.
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9-]{0,63}$"))]
    flow: String,
    /// Title for people.
    title: Option<String>,
    /// A note for people.
    note: Option<String>,
    /// Labels for search and grouping.
    labels: Option<BTreeMap<String, String>>,
    /// Whom a run is about.
    subject: Option<Expression>,
    /// JSON Schema of the input of manual and called runs.
    input: Option<Json>,
    /// What starts runs.
    triggers: Option<Vec<TriggerFile>>,
    /// Runs that may go on at the same time, by key.
    concurrency: Option<ConcurrencyFile>,
    /// Runs that start in a time, by key.
    rate: Option<limits::RateFile>,
    /// Who goes first: an integer from -100 to 100, or an expression; default 0.
    priority: Option<limits::Priority>,
    /// Paths of what begins a run by whose values it is found, as in `trigger.body.order.id`.
    index: Option<Vec<String>>,
    /// A run may take this long.
    timeout: Option<Duration>,
    /// How long events, runs and payloads are kept.
    retention: Option<Duration>,
    /// What the flow does, in order.
    steps: Vec<StepFile>,
    /// Steps that run when a failure was handled nowhere nearer.
    on_error: Option<Vec<StepFile>>,
    /// Steps that always run at the end.
    finally: Option<Vec<StepFile>>,
}

/// What starts a run.
#[derive(JsonSchema)]
#[schemars(rename = "Trigger", deny_unknown_fields)]
struct TriggerFile {
    /// Unique in the flow.
    id: Id,
    /// `webhook`, `manual`, … or `connector.event` as in `shopify.checkout_updated`.
    on: String,
    /// The connection whose secret signs deliveries (connector triggers).
    connection: Option<String>,
    /// Settings of the trigger kind.
    with: Option<Object>,
    /// How deliveries prove themselves (webhook triggers).
    auth: Option<auth::AuthFile>,
    /// Addresses and networks that may send, as in `203.0.113.0/24`; without it anybody may.
    allow: Option<Vec<String>>,
    /// Equal keys inside the window are one event.
    dedupe: Option<DedupeFile>,
    /// Wait for quiet; then one run with the last event.
    debounce: Option<DebounceFile>,
    /// Collect events: one run with all of them.
    batch: Option<limits::BatchFile>,
    /// So many events start runs in a time.
    throttle: Option<limits::ThrottleFile>,
    /// Only events for which this is true start runs.
    filter: Option<Condition>,
    /// What the sender hears.
    reply: Option<ReplyFile>,
}

/// Equal keys inside the window are one event.
#[derive(JsonSchema)]
#[schemars(rename = "Dedupe", deny_unknown_fields)]
struct DedupeFile {
    /// The key.
    key: Expression,
    /// Default 7d, at least 72h.
    window: Option<Duration>,
}

/// Wait until no event of the key came for a while.
#[derive(JsonSchema)]
#[schemars(rename = "Debounce", deny_unknown_fields)]
struct DebounceFile {
    /// The key.
    key: Expression,
    /// The quiet time.
    r#for: Duration,
    /// Counted from the first event; never wait longer.
    max: Option<Duration>,
}

/// What the sender of a webhook hears.
#[derive(JsonSchema)]
#[schemars(rename = "Reply", untagged)]
enum ReplyFile {
    /// The acknowledgement.
    Ack(AckWord),
    /// What the run's `respond` says.
    Respond(ReplyRespondFile),
}

/// The acknowledgement, right after the commit.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum AckWord {
    /// The acknowledgement.
    Ack,
}

/// The answer of the run, if it comes in time.
#[derive(JsonSchema)]
#[schemars(rename = "ReplyRespond", deny_unknown_fields)]
struct ReplyRespondFile {
    /// Its settings.
    respond: ReplyWaitFile,
}

/// How long the sender is kept waiting.
#[derive(JsonSchema)]
#[schemars(rename = "ReplyWait", deny_unknown_fields)]
struct ReplyWaitFile {
    /// Default 10s, at most 25s, less for senders that give up early.
    wait: Option<Duration>,
    /// What the sender hears then.
    on_timeout: Option<AckWord>,
}

/// Runs that may go on at the same time, by key.
#[derive(JsonSchema)]
#[schemars(rename = "Concurrency", deny_unknown_fields)]
struct ConcurrencyFile {
    /// Absent: one key for the whole flow.
    key: Option<Expression>,
    /// How many hold the key at once, default 1.
    #[schemars(range(min = 1))]
    limit: Option<u32>,
    /// What happens to one more, default `queue`.
    when_full: Option<WhenFull>,
}

/// One step: exactly one kind key, and modifiers.
#[derive(JsonSchema)]
#[schemars(rename = "Step", deny_unknown_fields, transform = one_kind)]
struct StepFile {
    /// Unique in the flow.
    id: Id,
    /// A connector's action, `connector.action`.
    uses: Option<String>,
    /// An HTTP request.
    http: Option<HttpFile>,
    /// Named values; its output is that object.
    set: Option<Object>,
    /// JavaScript in the runner.
    code: Option<CodeFile>,
    /// The first arm whose condition is true.
    branch: Option<Vec<ArmFile>>,
    /// Steps for each item of a list.
    map: Option<MapFile>,
    /// Steps again and again, within mandatory caps.
    r#loop: Option<LoopFile>,
    /// Steps, and others when they fail.
    r#try: Option<TryFile>,
    /// Waits for a time.
    sleep: Option<SleepFile>,
    /// Waits for an event or a callback.
    wait: Option<WaitFile>,
    /// Waits for people.
    approval: Option<ApprovalFile>,
    /// Runs another flow.
    call: Option<CallFile>,
    /// Gives an event to every flow that takes it.
    emit: Option<EmitFile>,
    /// Reads or writes the key-value store.
    kv: Option<KvFile>,
    /// Answers the sender of the webhook.
    respond: Option<RespondFile>,
    /// Ends the run.
    stop: Option<StopFile>,
    /// Input of the action (beside `uses`).
    with: Option<Object>,
    /// Connection of the action (beside `uses`).
    connection: Option<String>,
    /// A decision as data (beside `set` and `branch`).
    rules: Option<rules::RulesFile>,
    /// Skip this step unless true.
    r#if: Option<Condition>,
    /// Steps of the same scope that must have settled; absent: the one written before.
    needs: Option<Vec<NeedFile>>,
    /// How several needs are joined, default `all`.
    join: Option<JoinFile>,
    /// The steps that lost a settled join are cancelled.
    losers: Option<CancelWord>,
    /// This step once for each item of a list.
    each: Option<EachFile>,
    /// When and how often to try again.
    retry: Option<RetryFile>,
    /// How long one attempt may take.
    timeout: Option<Duration>,
    /// Steps that run instead when this one failed.
    on_error: Option<Vec<StepFile>>,
    /// Steps that undo this one.
    compensate: Option<Vec<StepFile>>,
    /// What a repeat of this call does outside.
    effect: Option<Effect>,
    /// What to do when the outcome of a call is unknown.
    in_doubt: Option<InDoubtPolicy>,
    /// The owner accepts that `in_doubt: retry` may do it twice.
    i_accept_duplicates: Option<bool>,
    /// Limits of its calls by key.
    limit: Option<limits::LimitFile>,
    /// Paths whose values are never shown.
    redact: Option<Vec<String>>,
    /// A note for people.
    note: Option<String>,
}

/// Exactly one kind key: what the derive cannot say.
fn one_kind(schema: &mut Schema) {
    let kinds: Vec<Json> = super::keys::KINDS.iter().map(|kind| json!({ "required": [kind] })).collect();
    schema.insert("oneOf".to_owned(), Json::Array(kinds));
}

/// One arm of a branch: `when` or `else: true`.
#[derive(JsonSchema)]
#[schemars(rename = "Arm", deny_unknown_fields, extend("oneOf" = [{ "required": ["when"] }, { "required": ["else"] }]))]
struct ArmFile {
    /// Taken if true.
    when: Option<Condition>,
    /// Taken if nothing before was; the last arm.
    #[schemars(extend("const" = true))]
    r#else: Option<bool>,
    /// What the arm does.
    steps: Vec<StepFile>,
}

/// An HTTP request.
#[derive(JsonSchema)]
#[schemars(rename = "Http", deny_unknown_fields)]
struct HttpFile {
    /// Default GET.
    method: Option<MethodWord>,
    /// The address.
    url: String,
    /// Query parameters.
    query: Option<Object>,
    /// Headers.
    headers: Option<Object>,
    /// JSON body (text is sent as it is).
    body: Option<Json>,
    /// Form body.
    form: Option<Object>,
}

/// Methods.
#[derive(JsonSchema)]
#[schemars(rename = "Method", rename_all = "UPPERCASE")]
enum MethodWord {
    /// Reads.
    Get,
    /// Reads headers.
    Head,
    /// Does something once.
    Post,
    /// Puts; twice is the same as once.
    Put,
    /// Changes once.
    Patch,
    /// Deletes; twice is the same as once.
    Delete,
}

/// Steps for each item of a list.
#[derive(JsonSchema)]
#[schemars(rename = "Map", deny_unknown_fields)]
struct MapFile {
    /// The list.
    over: ListFile,
    /// A name for the item, besides `item`.
    r#as: Option<ItemName>,
    /// A key that is different for each item, default its index.
    key: Option<Expression>,
    /// How many items at once: 1 to 1000, default 16.
    max_parallel: Option<CountFile>,
    /// How many items of the list are one.
    batch: Option<CountFile>,
    /// What a failed item means, default `fail`.
    on_item_error: Option<ItemErrorWord>,
    /// The body.
    steps: Vec<StepFile>,
}

/// The list of `each`, or the settings of a map.
#[derive(JsonSchema)]
#[schemars(rename = "Each", untagged)]
enum EachFile {
    /// The list.
    List(ListFile),
    /// Settings, as of a map.
    Settings(EachSettingsFile),
}

/// Settings of `each`, as of a map.
#[derive(JsonSchema)]
#[schemars(rename = "EachSettings", deny_unknown_fields)]
struct EachSettingsFile {
    /// The list.
    over: ListFile,
    /// A name for the item, besides `item`.
    r#as: Option<ItemName>,
    /// A key that is different for each item, default its index.
    key: Option<Expression>,
    /// How many items at once: 1 to 1000, default 16.
    max_parallel: Option<CountFile>,
    /// How many items of the list are one.
    batch: Option<CountFile>,
    /// What a failed item means, default `fail`.
    on_item_error: Option<ItemErrorWord>,
}

/// A list, or an expression that gives one.
#[derive(JsonSchema)]
#[schemars(rename = "List", untagged)]
enum ListFile {
    /// An expression.
    Expression(Expression),
    /// The items themselves.
    Items(Vec<Json>),
}

/// A number, or an expression that gives one.
#[derive(JsonSchema)]
#[schemars(rename = "Count", untagged)]
enum CountFile {
    /// A number.
    Number(#[schemars(range(min = 1))] u32),
    /// An expression.
    Expression(Expression),
}

/// A name for an item.
#[derive(JsonSchema)]
struct ItemName(#[schemars(regex(pattern = "^[a-z][a-z0-9_]{0,63}$"))] String);

/// What a failed item means.
#[derive(JsonSchema)]
#[schemars(rename = "ItemError", rename_all = "snake_case")]
enum ItemErrorWord {
    /// The map fails.
    Fail,
    /// Its row says so, the others go on.
    Continue,
}

/// Steps again and again.
#[derive(JsonSchema)]
#[schemars(rename = "Loop", deny_unknown_fields, extend("oneOf" = [{ "required": ["while"] }, { "required": ["until"] }]))]
struct LoopFile {
    /// Goes on while true.
    r#while: Option<Condition>,
    /// Goes on until true.
    until: Option<Condition>,
    /// Never more often.
    max_iterations: u32,
    /// Never longer.
    max_duration: Duration,
    /// Ends within an iteration.
    break_if: Option<Condition>,
    /// The body.
    steps: Vec<StepFile>,
}

/// Steps, and others when they fail.
#[derive(JsonSchema)]
#[schemars(rename = "Try", deny_unknown_fields)]
struct TryFile {
    /// The body.
    steps: Option<Vec<StepFile>>,
    /// What runs when the body failed.
    catch: Option<Vec<StepFile>>,
}

/// Reads or writes what the tenant's flows keep: one of `get`, `set`, `delete`, `incr`, `cas`, with its name.
#[derive(JsonSchema)]
#[schemars(rename = "Kv", deny_unknown_fields, extend("oneOf" = [
    { "required": ["get"] }, { "required": ["set", "value"] }, { "required": ["delete"] },
    { "required": ["incr"] }, { "required": ["cas", "from", "to"] },
]))]
struct KvFile {
    /// The value under this name, null (or `default`) if there is none.
    get: Option<String>,
    /// Keeps `value` under this name; gives what was there before.
    set: Option<String>,
    /// Removes what is under this name; gives what was there.
    delete: Option<String>,
    /// Adds `by` (1) to the number under this name, 0 if there is none; gives the new number.
    incr: Option<String>,
    /// Keeps `to` under this name if `from` is there now (null: nothing); gives `swapped` and the `value` there now.
    cas: Option<String>,
    /// Of `get`: given where there is nothing.
    default: Option<Json>,
    /// Of `set`: what is kept, at most 64 KiB.
    value: Option<Json>,
    /// Of `incr`: a number or an expression.
    by: Option<Json>,
    /// Of `cas`: what must be there now.
    from: Option<Json>,
    /// Of `cas`: what is kept then.
    to: Option<Json>,
    /// How long it is kept, as in `7d`; without it for ever.
    ttl: Option<String>,
}

/// JavaScript in the runner: the body of a function of `input`; what it returns is the output.
#[derive(JsonSchema)]
#[schemars(rename = "Code", deny_unknown_fields)]
struct CodeFile {
    /// The script, at most 64 KiB. Its text is never a template.
    js: String,
    /// What it may read as `input`.
    input: Option<Json>,
}

/// Waits for a time: `for` or `until`.
#[derive(JsonSchema)]
#[schemars(rename = "Sleep", deny_unknown_fields, extend("oneOf" = [{ "required": ["for"] }, { "required": ["until"] }]))]
struct SleepFile {
    /// A duration, or an expression that gives one.
    r#for: Option<String>,
    /// A time like `2026-11-27T08:00:00Z`, or an expression that gives one.
    until: Option<String>,
}

/// Waits for an event or a callback.
#[derive(JsonSchema)]
#[schemars(rename = "Wait", deny_unknown_fields, extend("oneOf" = [{ "required": ["event", "match"] }, { "required": ["callback"] }]))]
struct WaitFile {
    /// An event of this trigger of the flow; it starts no runs then.
    event: Option<String>,
    /// Whoever posts to the address `run.callbacks.<id>`.
    #[schemars(extend("const" = true))]
    callback: Option<bool>,
    /// Which event.
    r#match: Option<MatchFile>,
    /// Not longer than this; then the step fails. A duration, or an expression that gives one.
    deadline: String,
}

/// Which event is awaited: one whose key is that of the run.
#[derive(JsonSchema)]
#[schemars(rename = "Match", deny_unknown_fields)]
struct MatchFile {
    /// The key of an event; it reads `trigger`, the event.
    event: Expression,
    /// The key of the run.
    run: Json,
}

/// Waits for people.
#[derive(JsonSchema)]
#[schemars(rename = "Approval", deny_unknown_fields)]
struct ApprovalFile {
    /// What they see, and what they fill in: `{ ask: text }`, `number` or `boolean`.
    form: Option<Object>,
    /// Accounts and roles who may decide.
    approvers: Vec<String>,
    /// How many must agree, default 1; or `{ approve, reject }`.
    quorum: Option<Json>,
    /// Not whoever began the run.
    no_self: Option<bool>,
    /// Whoever is asked may ask somebody else instead.
    delegate: Option<bool>,
    /// Not longer than this: a duration, or `{ business, zone, open, close, days, holidays }`.
    deadline: Json,
    /// Who is asked too, and after which time.
    escalate: Option<EscalateFile>,
}

/// Who is asked too when nobody has decided in time.
#[derive(JsonSchema)]
#[schemars(rename = "Escalate", deny_unknown_fields)]
struct EscalateFile {
    /// After this time, written as the deadline is.
    after: Json,
    /// Accounts and roles.
    approvers: Vec<String>,
}

/// Gives an event to every flow that has a trigger `on: event` for it, or to subscribers outside.
#[derive(JsonSchema)]
#[schemars(rename = "Emit", deny_unknown_fields)]
struct EmitFile {
    /// Its name.
    event: String,
    /// The body of the event.
    body: Option<Json>,
    /// Who gets it: `flows` (as without this), `subscribers` or `everyone`.
    #[schemars(extend("enum" = ["flows", "subscribers", "everyone"]))]
    to: Option<String>,
    /// Only subscribers of this customer get it.
    customer: Option<Json>,
}

/// Runs another flow.
#[derive(JsonSchema)]
#[schemars(rename = "Call", deny_unknown_fields)]
struct CallFile {
    /// The name of a flow with a trigger `on: called`.
    flow: String,
    /// Its `input`.
    input: Option<Json>,
    /// Waits for its end, as it does without this.
    #[schemars(extend("const" = true))]
    wait: Option<bool>,
    /// Does not wait.
    #[schemars(extend("const" = true))]
    detach: Option<bool>,
}

/// Answers the sender of the webhook.
#[derive(JsonSchema)]
#[schemars(rename = "Respond", deny_unknown_fields)]
struct RespondFile {
    /// Default 200; an integer or an expression.
    status: Option<Json>,
    /// Headers.
    headers: Option<Object>,
    /// Text as it is, anything else as JSON.
    body: Option<Json>,
}

/// Ends the run: `ok` or `fail` with a reason.
#[derive(JsonSchema)]
#[schemars(rename = "Stop", deny_unknown_fields, extend("oneOf" = [{ "required": ["ok"] }, { "required": ["fail"] }]))]
struct StopFile {
    /// Succeeded, with a reason.
    ok: Option<Json>,
    /// Failed, with a reason.
    fail: Option<Json>,
}

/// A need on a sibling step.
#[derive(JsonSchema)]
#[schemars(rename = "Need", untagged)]
enum NeedFile {
    /// It has settled.
    Step(String),
    /// It has settled in a certain way.
    When(NeedWhenFile),
}

/// A need on how a sibling settled.
#[derive(JsonSchema)]
#[schemars(rename = "NeedWhen", deny_unknown_fields)]
struct NeedWhenFile {
    /// The sibling.
    step: String,
    /// Default `settled`.
    when: Option<SettledWord>,
}

/// How a step settled.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum SettledWord {
    /// In any way.
    Settled,
    /// Well.
    Succeeded,
    /// By an error.
    Failed,
}

/// How several needs are joined.
#[derive(JsonSchema)]
#[schemars(rename = "Join", untagged)]
enum JoinFile {
    /// All or any.
    Word(JoinWord),
    /// So many of them.
    Some(JoinSomeFile),
}

/// All or any.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum JoinWord {
    /// All of them.
    All,
    /// The first of them.
    Any,
}

/// So many of the needs.
#[derive(JsonSchema)]
#[schemars(rename = "JoinSome", deny_unknown_fields)]
struct JoinSomeFile {
    /// How many.
    n_of: u32,
}

/// Losers are cancelled.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum CancelWord {
    /// Cancelled.
    Cancel,
}

/// Attempts; the first one counts.
#[derive(JsonSchema)]
#[schemars(rename = "Retry", deny_unknown_fields)]
struct RetryFile {
    /// Default 4, at most 100.
    #[schemars(range(min = 1, max = 100))]
    attempts: Option<u32>,
    /// First pause, default 1s.
    base: Option<Duration>,
    /// Each pause is so many times the one before, default 2; at most three decimals.
    factor: Option<serde_json::Number>,
    /// Longest pause, default 1m.
    cap: Option<Duration>,
    /// No further attempt after this long.
    max_elapsed: Option<Duration>,
}

mod auth;
mod limits;
mod rules;
#[cfg(test)]
mod tests;
