//! Calls about runs: lists in windows, one run with its journal, payloads in windows, cancel and resolve.

use aura_protocol::approval::{Question, Vote};
use aura_protocol::flow::redact::{self, Redacted};
use aura_protocol::rpc::{
    Actor, OutlineRow, PayloadQuery, PayloadWindow, RunCancel, RunDelegate, RunDetail, RunForceFinish, RunPage,
    RunPause, RunQuery, RunRef, RunResolve, RunSignal, RunVote,
};
use aura_protocol::run::{Awaited, Record, RunHead, RunState, StepError, Transition};
use aura_protocol::text::display;
use aura_protocol::{BlobRef, Code, RunId, TenantId, Value, WireError, wire};
use aura_storage::rows::{journal_key, run_key};
use aura_storage::{Key, Store, Table};

use crate::catalog::unreadable;
use crate::engine::Flows;
use crate::rpc::eyes::Eyes;
use crate::rpc::search::Search;
use crate::rpc::{Service, Shared, cut, refs};

/// Most heads of one list.
pub const LIST_MAX: usize = 500;
/// Bytes of heads after which a list ends; its reader goes on from the last run.
const LIST_BYTES_MAX: usize = 1024 * 1024;
/// Largest journal of one reply, in bytes.
const JOURNAL_MAX: usize = 2 * 1024 * 1024;
/// Most transitions of one reply.
const TRANSITIONS_MAX: usize = 10_000;
/// Longest reason of a person.
const REASON_MAX: usize = 500;
/// What people are asked, in bytes of one reply; behind it questions are only named.
const ASKED_MAX: usize = 2 * 1024 * 1024;
/// So many bytes fit a frame with them.
const ASKED_HARD_MAX: usize = 3 * 1024 * 1024;
/// Largest window of a payload, in bytes.
const WINDOW_MAX: u32 = 256 * 1024;

/// Runs, newest first; fewer than asked for if they would be more than a reply may hold.
///
/// # Errors
/// The filter is none, or the store cannot be read.
pub fn list(shared: &Shared, eyes: &Eyes, query: &RunQuery) -> Result<Vec<RunHead>, WireError> {
    page(shared, eyes, query).map(|page| page.runs)
}

/// As [`list`], with where to go on: also a filter that found nothing so far can be continued.
///
/// # Errors
/// The filter is none, or the store cannot be read.
pub fn page(shared: &Shared, eyes: &Eyes, query: &RunQuery) -> Result<RunPage, WireError> {
    let now_ms = shared.clock.now_ms();
    let search = Search::read(&shared.store, Some(shared.catalog.now()), query.filter.as_deref(), now_ms)?;
    let mut page = list_of(&search, &|head| eyes.head(&shared.store, head), query)?;
    shared.engine.tell_blocked(&mut page.runs, false);
    Ok(page)
}

fn list_of(search: &Search<'_>, seen: &dyn Fn(&mut RunHead), query: &RunQuery) -> Result<RunPage, WireError> {
    let limit = usize::try_from(query.limit).unwrap_or(LIST_MAX).clamp(1, LIST_MAX);
    let fits = |head: &RunHead| {
        query.flow.as_ref().is_none_or(|flow| head.flow == *flow)
            && (query.states.is_empty() || query.states.contains(&head.state))
    };
    let mut look = search.begin(query.before)?;
    let (mut found, mut bytes): (Vec<RunHead>, usize) = (Vec::new(), 0);
    loop {
        let Some(mut head) = search.next(&mut look)? else {
            let next = look.last().filter(|_| look.has_more());
            return Ok(RunPage { runs: found, next, bounded: look.bounded() });
        };
        if !fits(&head) {
            continue;
        }
        seen(&mut head);
        cut::head(&mut head, cut::HEAD_TEXT_MAX);
        bytes += wire::encode(&head).map_or(LIST_BYTES_MAX, |encoded| encoded.len());
        if found.len() == limit || (bytes > LIST_BYTES_MAX && !found.is_empty()) {
            let next = found.last().map(|head| head.run);
            return Ok(RunPage { runs: found, next, bounded: None });
        }
        found.push(head);
    }
}

fn journal(shared: &Shared, run: RunId, from: u64, limit: usize) -> Result<Vec<Transition>, WireError> {
    let tenant = TenantId::DEFAULT;
    let (from, to) = (journal_key(tenant, run, from), run_key(tenant, run).after_prefix());
    let rows: Vec<(Key, Transition)> =
        shared.store.scan(tenant, Table::Journal, &from, &to, limit, false).map_err(|error| unreadable(&error))?;
    Ok(rows.into_iter().map(|(_, transition)| transition).collect())
}

/// One run with its journal; the end of it if the whole does not fit.
///
/// # Errors
/// No such run, or the store cannot be read.
pub fn show(shared: &Shared, eyes: &Eyes, run: &RunRef) -> Result<RunDetail, WireError> {
    let mut head = refs::find(shared, run)?;
    shared.engine.tell_blocked(std::slice::from_mut(&mut head), true);
    eyes.head(&shared.store, &mut head);
    cut::head(&mut head, cut::HEAD_TEXT_MAX);
    let redacted = redacted(shared, &head);
    let most = u64::try_from(TRANSITIONS_MAX).unwrap_or(u64::MAX);
    let first = head.transition.saturating_sub(most);
    let mut journal: Vec<Transition> = journal(shared, head.run, first, TRANSITIONS_MAX + 100)?
        .into_iter()
        .map(|transition| cut::transition(shown_to(shared, eyes, &redacted, transition), cut::PAYLOAD_MAX))
        .collect();
    let mut bytes = 0;
    let fits = journal.iter().rev().take_while(|transition| {
        bytes += wire::encode(transition).map_or(JOURNAL_MAX, |encoded| encoded.len());
        bytes <= JOURNAL_MAX
    });
    let kept = fits.count().max(1);
    let dropped = journal.len().saturating_sub(kept);
    journal.drain(..dropped);
    let outline = shared
        .catalog
        .version(TenantId::DEFAULT, head.flow_id, &head.version)
        .map(|flow| outline(&flow))
        .unwrap_or_default();
    Ok(RunDetail { head, journal, outline, cut: dropped > 0 || first > 1 })
}

/// What a run's version hides from people; of a version that cannot be read, everything.
pub(crate) fn redacted(shared: &Shared, head: &RunHead) -> Redacted {
    let flow = shared.catalog.version(TenantId::DEFAULT, head.flow_id, &head.version);
    flow.map_or_else(Redacted::everything, |flow| Redacted::of(&flow))
}

/// A transition without what is hidden, and without links that are not for them.
pub(crate) fn shown_to(shared: &Shared, eyes: &Eyes, redacted: &Redacted, mut transition: Transition) -> Transition {
    redacted.transition(&mut transition);
    eyes.transition(&shared.store, &mut transition);
    transition
}

fn outline(flow: &aura_protocol::flow::Flow) -> Vec<OutlineRow> {
    crate::catalog::definition::outline(flow)
}

/// A window of one payload, as pretty JSON.
///
/// # Errors
/// No such run, step or part.
pub fn payload(shared: &Shared, eyes: &Eyes, query: &PayloadQuery) -> Result<PayloadWindow, WireError> {
    let head = refs::find(shared, &query.run)?;
    let journal = journal(shared, head.run, 0, TRANSITIONS_MAX)?;
    let found = part(&journal, &query.step, &query.part)?.ok_or_else(|| {
        let of =
            if query.step.is_empty() { "the run".to_owned() } else { format!("the step {}", display(&query.step)) };
        WireError::not_found(format!("{of} has no {} (yet)", query.part))
    })?;
    let redacted = redacted(shared, &head);
    let mut found = match found {
        Payload::Error(mut error) => {
            redacted.error(&query.step, &mut error);
            error.to_value()
        }
        Payload::Value(found) => {
            let mut found = whole(&shared.store, &journal, found)?;
            let side = if query.part == "input" { redact::Part::Input } else { redact::Part::Output };
            // What began a run is no step's.
            if !(query.step.is_empty() && query.part == "input") {
                redacted.hide(&query.step, side, &mut found);
            }
            found
        }
    };
    eyes.value(&shared.store, &mut found);
    let text = found.to_json_pretty();
    // Of the whole: a window may end within a secret.
    Ok(window(&shared.catalog.sink().text(&text), query.offset, query.limit))
}

/// A run and its whole journal, large values and the body of its event included.
///
/// # Errors
/// No such run, it is longer than one answer may be, or something of it cannot be read.
pub fn whole_journal(shared: &Shared, run: &RunRef) -> Result<(RunHead, Vec<Transition>), WireError> {
    let head = refs::find(shared, run)?;
    let mut found = journal(shared, head.run, 0, TRANSITIONS_MAX)?;
    if found.len() >= TRANSITIONS_MAX {
        let message = format!("{} has more than {TRANSITIONS_MAX} transitions", head.run);
        return Err(WireError::new(Code::Invalid, message).hint("take a shorter run"));
    }
    let tenant = TenantId::DEFAULT;
    let content = |blob: BlobRef| {
        let content = shared.store.blob(tenant, blob).map_err(|error| unreadable(&error))?;
        content.ok_or_else(|| WireError::new(Code::Corrupt, "a stored value is missing; run `aura doctor --deep`"))
    };
    let mut read = |blob: BlobRef| {
        wire::decode(&content(blob)?).map_err(|_| WireError::new(Code::Corrupt, "a stored value does not decode"))
    };
    for record in found.iter_mut().flat_map(|transition| &mut transition.records) {
        if let Record::RunStarted(started) = record {
            let started = std::sync::Arc::make_mut(started);
            if let Some(blob) = started.event.blob.take() {
                started.event.body = content(blob)?;
            }
            started.input = started.input.loaded(&mut read)?;
        }
        for payload in record.payloads_mut() {
            *payload = payload.loaded(&mut read)?;
        }
    }
    Ok((head, found))
}

/// A payload with what of it stands in blobs.
fn whole(store: &Store, journal: &[Transition], value: Value) -> Result<Value, WireError> {
    let tenant = TenantId::DEFAULT;
    let read = |blob: BlobRef| {
        let content = store.blob(tenant, blob).map_err(|error| unreadable(&error))?;
        content.ok_or_else(|| WireError::new(Code::Corrupt, "the stored value is missing; run `aura doctor --deep`"))
    };
    let body = journal.iter().flat_map(|transition| &transition.records).find_map(|record| match record {
        Record::RunStarted(started) => started.event.blob.map(|blob| (blob, &started.event)),
        _ => None,
    });
    if let Some((blob, event)) = body
        && value.get("body") == Some(&Value::Blob(blob))
    {
        let mut event = event.clone();
        (event.body, event.blob) = (read(blob)?, None);
        return Ok(event.to_trigger());
    }
    value.loaded(&mut |blob| {
        wire::decode(&read(blob)?).map_err(|_| WireError::new(Code::Corrupt, "the stored value does not decode"))
    })
}

fn window(text: &str, offset: u64, limit: u32) -> PayloadWindow {
    let total = u64::try_from(text.len()).unwrap_or(u64::MAX);
    let start = text.floor_char_boundary(usize::try_from(offset).unwrap_or(usize::MAX));
    let limit = usize::try_from(limit.clamp(4, WINDOW_MAX)).unwrap_or(4);
    let end = text.floor_char_boundary(start.saturating_add(limit));
    PayloadWindow { text: text.get(start..end).unwrap_or_default().to_owned(), total }
}

/// What a part of a step is.
#[derive(Debug, PartialEq)]
enum Payload {
    Value(Value),
    Error(Box<StepError>),
}

fn part(journal: &[Transition], step: &str, part: &str) -> Result<Option<Payload>, WireError> {
    if !matches!(part, "input" | "output" | "error") {
        return Err(WireError::new(
            Code::Invalid,
            format!("{} is no part of a step: say input, output or error", display(part)),
        ));
    }
    let records = journal.iter().flat_map(|transition| &transition.records).rev();
    let value = |value: &Value| Some(Payload::Value(value.clone()));
    let failure = |error: &StepError| Some(Payload::Error(Box::new(error.clone())));
    let mut found = records.map(Record::bare).filter_map(|record| match (part, record) {
        ("input", Record::RunStarted(started)) if step.is_empty() => match started.event.is_by_hand() {
            true => value(&started.input),
            false => value(&started.event.to_trigger()),
        },
        ("output", Record::RunFinished { output, .. }) if step.is_empty() => value(output),
        ("error", Record::RunFinished { error, .. }) if step.is_empty() => error.as_ref().and_then(failure),
        ("input", Record::Scheduled { path, input, .. }) if path == step => value(input),
        ("input", Record::Awaiting { path, what: Awaited::People(ask), .. }) if path == step => value(&ask.form),
        ("output", Record::Completed { path, output, .. } | Record::Handled { path, output }) if path == step => {
            value(output)
        }
        ("error", Record::Failed { path, error, .. } | Record::InDoubt { path, error, .. }) if path == step => {
            failure(error)
        }
        _ => None,
    });
    Ok(found.next())
}

/// A head as replies carry it.
pub(crate) fn shown(service: &Service, eyes: &Eyes, mut head: RunHead) -> RunHead {
    eyes.head(&service.store, &mut head);
    cut::head(&mut head, cut::HEAD_TEXT_MAX);
    head
}

/// Asks a run to end.
///
/// # Errors
/// No such run, or what the engine says.
pub async fn cancel(service: &Service, actor: Actor, request: RunCancel) -> Result<RunHead, WireError> {
    let eyes = Eyes::of(&actor);
    let reason: String = request.reason.chars().take(REASON_MAX).collect();
    let run = service.read(move |shared| refs::find(shared, &request.run)).await?.run;
    let engine = service.engine.clone();
    service
        .change(async move { engine.cancel(&actor, run, &reason).await })
        .await
        .map(|head| shown(service, &eyes, head))
}

/// Decides about a step in doubt.
///
/// # Errors
/// No such run, the step is not in doubt, or what the engine says.
pub async fn resolve(service: &Service, actor: Actor, request: RunResolve) -> Result<RunHead, WireError> {
    let eyes = Eyes::of(&actor);
    let RunResolve { run, step, resolution } = request;
    let run = service.read(move |shared| refs::find(shared, &run)).await?.run;
    let engine = service.engine.clone();
    service
        .change(async move { engine.resolve(&actor, run, &step, resolution).await })
        .await
        .map(|head| shown(service, &eyes, head))
}

/// Decides about what a step asks people.
///
/// # Errors
/// No such run, not asked, or what the engine says.
pub async fn vote(service: &Service, actor: Actor, request: RunVote) -> Result<RunHead, WireError> {
    let eyes = Eyes::of(&actor);
    let RunVote { run, step, approve, hash, form, comment } = request;
    let run = service.read(move |shared| refs::find(shared, &run)).await?.run;
    let engine = service.engine.clone();
    // Who it is and when is said by the engine.
    let vote = Vote { by: String::new(), approve, hash, form, comment, via: String::new(), at_ms: 0 };
    service
        .change(async move { engine.vote(&actor, run, &step, vote).await })
        .await
        .map(|head| shown(service, &eyes, head))
}

/// Has somebody else decide.
///
/// # Errors
/// No such run or account, not asked, or what the engine says.
pub async fn delegate(service: &Service, actor: Actor, request: RunDelegate) -> Result<RunHead, WireError> {
    let eyes = Eyes::of(&actor);
    let RunDelegate { run, step, to } = request;
    let Some(role) = super::peer::role_of(&to, &service.accounts) else {
        let error = WireError::not_found(format!("there is no account {}", display(&to)));
        return Err(error.hint("accounts stand under `[accounts]` in the settings of the daemon"));
    };
    let run = service.read(move |shared| refs::find(shared, &run)).await?.run;
    let engine = service.engine.clone();
    let to = (to, role.word().to_owned());
    service
        .change(async move { engine.delegate(&actor, run, &step, to).await })
        .await
        .map(|head| shown(service, &eyes, head))
}

/// What a run asks people now.
///
/// # Errors
/// No such run, or it cannot be read.
pub async fn asks(service: &Service, actor: Actor, run: RunRef) -> Result<Vec<Question>, WireError> {
    let head = service.read(move |shared| refs::find(shared, &run)).await?;
    let (mut questions, begun_by) = service.engine.questions(actor.tenant, head.run).await?;
    service
        .read(move |shared| {
            let (redacted, eyes) = (redacted(shared, &head), Eyes::of(&actor));
            let starters: Vec<&str> = begun_by.iter().map(String::as_str).collect();
            let decides = |question: &Question| {
                question.ask.may(&question.standing, &starters, &actor.name, actor.role.word()).is_ok()
            };
            questions.sort_by_key(|question| !decides(question));
            for question in &mut questions {
                // Who decides sees what about; the others what everybody sees.
                if !decides(question) {
                    redacted.hide(&question.path, redact::Part::Input, &mut question.ask.form);
                }
                let votes = question.standing.votes.iter_mut();
                votes.for_each(|vote| redacted.form(&question.path, &mut vote.form, &mut |_| ()));
                eyes.question(&shared.store, question);
            }
            Ok(bounded(questions))
        })
        .await
}

/// Questions that fit a reply. Those behind it stand there without what is asked, and so without its hash: nobody
/// decides about what they were not shown.
fn bounded(mut questions: Vec<Question>) -> Vec<Question> {
    let mut bytes = 0;
    let mut fit = 0;
    for question in &mut questions {
        let weight = |question: &Question| wire::encode(question).map_or(ASKED_MAX, |encoded| encoded.len());
        let whole = weight(question);
        if bytes + whole > ASKED_MAX && fit > 0 {
            let said = format!("… {whole} bytes, shown when the steps before it are decided …");
            (question.ask.form, question.ask.hash) = (Value::object([("form", said)]), String::new());
            for vote in &mut question.standing.votes {
                (vote.form, vote.comment) = (Value::Null, String::new());
            }
        }
        bytes += weight(question);
        if bytes > ASKED_HARD_MAX {
            break;
        }
        fit += 1;
    }
    questions.truncate(fit.max(1));
    questions
}

/// Gives a step what it waits for.
///
/// # Errors
/// No such run, the step waits for nothing, or what the engine says.
pub async fn signal(service: &Service, actor: Actor, request: RunSignal) -> Result<RunHead, WireError> {
    let eyes = Eyes::of(&actor);
    let RunSignal { run, step, data } = request;
    let run = service.read(move |shared| refs::find(shared, &run)).await?.run;
    let engine = service.engine.clone();
    service
        .change(async move { engine.signal(&actor, run, &step, data).await })
        .await
        .map(|head| shown(service, &eyes, head))
}

/// Holds a run where it is, or lets it go on.
///
/// # Errors
/// No such run, or what the engine says.
pub async fn pause(service: &Service, actor: Actor, request: RunPause) -> Result<RunHead, WireError> {
    let eyes = Eyes::of(&actor);
    let RunPause { run, paused, reason } = request;
    let reason: String = reason.chars().take(REASON_MAX).collect();
    let run = service.read(move |shared| refs::find(shared, &run)).await?.run;
    let engine = service.engine.clone();
    service
        .change(async move { engine.pause(&actor, run, paused, &reason).await })
        .await
        .map(|head| shown(service, &eyes, head))
}

/// Ends a run as it stands.
///
/// # Errors
/// No such run, no reason, another state than succeeded or failed, or what the engine says.
pub async fn force_finish(service: &Service, actor: Actor, request: RunForceFinish) -> Result<RunHead, WireError> {
    let eyes = Eyes::of(&actor);
    let RunForceFinish { run, state, reason } = request;
    if !matches!(state, RunState::Succeeded | RunState::Failed) {
        let message = format!("a run cannot be ended by hand as {}", state.word());
        return Err(WireError::new(Code::Invalid, message).hint("say succeeded or failed"));
    }
    let reason: String = reason.trim().chars().take(REASON_MAX).collect();
    if reason.is_empty() {
        return Err(WireError::new(
            Code::Invalid,
            "ending a run by hand needs a reason, for those who look at it later",
        ));
    }
    let run = service.read(move |shared| refs::find_any(shared, &run)).await?;
    let engine = service.engine.clone();
    service
        .change(async move { engine.force_finish(&actor, run, state, &reason).await })
        .await
        .map(|head| shown(service, &eyes, head))
}

#[cfg(test)]
mod tests {
    use aura_protocol::run::{Blocked, ErrorClass, StepError};
    use aura_protocol::{EventId, FlowId};
    use aura_storage::{StoreOptions, Txn};

    use super::*;

    fn stopped(said: &str) -> RunHead {
        let mut error = StepError::new(ErrorClass::Invalid, said);
        error.detail = Some(Value::from(said));
        error.code = Some(said.to_owned());
        RunHead {
            run: RunId::now(),
            flow_id: FlowId::now(),
            flow: "f".to_owned(),
            version: "v".to_owned(),
            trigger: "t".to_owned(),
            event: EventId::now(),
            state: RunState::Failed,
            created_ms: 0,
            finished_ms: None,
            step: "s".to_owned(),
            attempt: 1,
            steps_done: 1,
            steps_all: 1,
            blocked_by: Some(Blocked::because(said, None)),
            error: Some(error),
            transition: 1,
            origin: None,
        }
    }

    #[test]
    fn questions_fit_a_reply_and_what_is_not_shown_is_not_decided() {
        let question = |at: usize, bytes: usize| {
            let form = serde_json::json!({ "form": "x".repeat(bytes) });
            let ask =
                serde_json::json!({ "hash": "h", "form": form, "fields": [], "approvers": ["anna"], "quorum": 1 });
            let question = serde_json::json!({
                "run": RunId::now(), "flow": "pay", "path": format!("check[{at}]"), "ask": ask, "standing": {}
            });
            serde_json::from_value::<Question>(question).unwrap()
        };
        let many: Vec<Question> = (0..100).map(|at| question(at, 60_000)).collect();
        let shown = bounded(many.clone());
        assert!(wire::encode(&shown).unwrap().len() <= ASKED_HARD_MAX && shown.len() == 100);
        let whole = shown.iter().take_while(|question| !question.ask.hash.is_empty()).count();
        assert!((30..50).contains(&whole), "{whole}");
        assert_eq!(shown[..whole], many[..whole]);
        for question in &shown[whole..] {
            assert!(question.ask.hash.is_empty() && question.ask.form.to_json().contains("bytes, shown when"));
        }
        // The next ones come when those are decided.
        assert_eq!(bounded(many[whole..].to_vec())[0], many[whole]);
        assert_eq!(bounded(Vec::new()), []);
        assert_eq!(bounded(many[..3].to_vec()), many[..3]);
    }

    #[tokio::test]
    async fn runs_that_stopped_with_much_to_say_are_listed_in_replies_that_fit() {
        let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
        let said = format!("the reason: {}", "ü".repeat(15_000));
        let mut all = Vec::new();
        for _ in 0..8 {
            let mut txn = Txn::new();
            for _ in 0..25 {
                let head = stopped(&said);
                let key = run_key(TenantId::DEFAULT, head.run);
                store.put(&mut txn, TenantId::DEFAULT, Table::Runs, key, &head).unwrap();
                all.push(head.run);
            }
            store.commit(txn).await.unwrap();
        }
        all.sort_unstable();
        all.reverse();
        let (mut seen, mut replies) = (Vec::new(), 0);
        loop {
            let query = RunQuery { before: seen.last().copied(), limit: 500, ..RunQuery::default() };
            let heads = list_of(&Search::read(&store, None, None, 0).unwrap(), &|_| (), &query).unwrap().runs;
            assert!(wire::encode(&heads).unwrap().len() <= LIST_BYTES_MAX + 16);
            if heads.is_empty() {
                break;
            }
            replies += 1;
            for head in heads {
                let error = head.error.unwrap();
                assert!(error.message.starts_with("the reason: üü") && error.message.ends_with("30012 bytes …"));
                assert!(error.message.len() <= 2048 && head.blocked_by.unwrap().reason.len() <= 2048);
                assert_eq!(error.detail, Some(Value::from("… 30028 bytes …")));
                seen.push(head.run);
            }
        }
        assert_eq!(seen, all);
        assert!(replies > 1, "a reply ends before its frame does");
        let query = RunQuery { limit: 3, ..RunQuery::default() };
        let page = list_of(&Search::read(&store, None, None, 0).unwrap(), &|_| (), &query).unwrap();
        assert_eq!((page.runs.len(), page.next), (3, Some(all[2])));
        let query = RunQuery { before: Some(all[198]), limit: 3, ..RunQuery::default() };
        let page = list_of(&Search::read(&store, None, None, 0).unwrap(), &|_| (), &query).unwrap();
        assert_eq!((page.runs[0].run, page.next), (all[199], None));
    }

    #[test]
    fn windows_put_together_are_the_whole_text() {
        let text = "a\u{e9}\u{1f600}z".repeat(40);
        let mut out = String::new();
        while out.len() < text.len() {
            let piece = window(&text, u64::try_from(out.len()).unwrap(), 7);
            assert!(!piece.text.is_empty() && piece.text.len() <= 7);
            assert_eq!(piece.total, 320);
            out.push_str(&piece.text);
        }
        assert_eq!(out, text);
        assert_eq!(window(&text, 10_000, 7).text, "");
    }

    #[test]
    fn the_newest_payload_of_a_step_is_served() {
        let done = |text: &str| Record::Completed { path: "a".into(), attempt: 1, output: Value::from(text) };
        let journal = [Transition { number: 1, at_ms: 0, records: vec![done("old"), done("new")] }];
        assert_eq!(part(&journal, "a", "output").unwrap(), Some(Payload::Value(Value::from("new"))));
        assert_eq!(part(&journal, "b", "output").unwrap(), None);
        assert_eq!(part(&journal, "a", "colour").unwrap_err().code, Code::Invalid);
    }
}
