//! Actions as data: what keys lead to. Screens return them, [`crate::app`] carries them out.
//!
//! Invariant: a screen changes only itself; whatever reaches the daemon, the terminal or another screen is
//! an action, so a test can read it. Every question has its twin on the command line.

use aura_protocol::Value;
use aura_protocol::ids::{DeliveryId, FlowId, MessageId, RunId};
use aura_protocol::rpc::{
    DeliveryQuery, EventQuery, PayloadQuery, RunQuery, RunReplay, RunVote, ScheduleQuery, ScheduleRef, VersionOf,
};
use aura_protocol::run::{Point, Resolution};

use crate::cli::output::json_line;
use crate::hooks::Whose;
use crate::target::quoted;
use crate::widgets::part::PartDialog;

/// A place to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// All runs.
    Runs,
    /// One run.
    Run(RunId),
    /// All flows.
    Flows,
    /// One flow.
    Flow(FlowId),
    /// Events that were held, dropped or repeated.
    Events,
    /// Schedules of all flows.
    Schedules,
    /// Endpoints and their deliveries.
    Hooks,
    /// Who is sent which events.
    Subscriptions,
}

/// A question to the daemon.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Watch this run too, or none.
    Watch(Option<RunId>),
    /// Read a run with its journal.
    Run(RunId),
    /// Find a run by the start or end of its id, then go there.
    Find(String),
    /// Read a window of a payload.
    Payload(PayloadQuery),
    /// Ask runs to end.
    Cancel(RunId),
    /// Decide about a step in doubt.
    Resolve(RunId, String, Resolution),
    /// Read what a run asks people.
    Asks(RunId),
    /// Decide about it.
    Vote(Box<RunVote>),
    /// Run something again, or say what that would do.
    Replay(Box<RunReplay>),
    /// Read older runs.
    Older(RunQuery),
    /// Read all flows and what they did lately.
    Flows,
    /// Read one flow: text, endpoints, findings.
    Flow(String),
    /// Hold a run where it is, or let it go on.
    Pause(RunId, bool),
    /// Hold a flow's events, or start what was held.
    PauseFlow(String, bool),
    /// Let a flow take events, or not.
    Switch(String, bool),
    /// Publish a flow's draft.
    Publish(String),
    /// Start a run by hand.
    Start(String, Value),
    /// Read a page of events.
    Events(EventQuery),
    /// Read all schedules.
    Schedules(ScheduleQuery),
    /// Let one schedule rest, or go on.
    PauseSchedule(ScheduleRef, bool),
    /// One run of a schedule now.
    RunSchedule(ScheduleRef),
    /// End a backfill.
    StopBackfill(ScheduleRef),
    /// Read all endpoints.
    Hooks,
    /// Read a page of deliveries.
    Deliveries(Whose, DeliveryQuery),
    /// Read one delivery.
    Delivery(DeliveryId),
    /// Deliver once more.
    Redeliver(DeliveryId),
    /// Close an endpoint, or open it.
    SwitchHook(String, String, bool),
    /// Read all subscriptions.
    Subscriptions,
    /// Read what was sent to one.
    Sendings(String),
    /// Have a subscription sent to, or not.
    SwitchSubscription(String, bool),
    /// Send a message again.
    Resend(String, MessageId),
    /// Give a sending up.
    GiveUp(String, MessageId),
}

impl Request {
    /// The command that asks the same, without `aura`; nothing for what only a screen needs.
    #[must_use]
    pub fn twin(&self) -> Option<String> {
        let json = |value: &Value| quoted(&json_line(value).unwrap_or_default());
        Some(match self {
            Self::Watch(_) | Self::Payload(_) => return None,
            Self::Asks(run) => format!("approve {run} --show"),
            Self::Run(run) => format!("run show {run}"),
            Self::Find(part) => format!("run show {}", quoted(part)),
            Self::Cancel(run) => format!("run cancel {run} --reason 'cancelled on the screen'"),
            Self::Pause(run, true) => format!("run pause {run} --reason 'paused on the screen'"),
            Self::Pause(run, false) => format!("run resume {run}"),
            Self::PauseFlow(name, true) => format!("flow pause {}", quoted(name)),
            Self::PauseFlow(name, false) => format!("flow resume {}", quoted(name)),
            Self::Resolve(run, step, how) => {
                let how = match how {
                    Resolution::Done(Value::Null) => "--done".to_owned(),
                    Resolution::Done(output) => format!("--done --output {}", json(output)),
                    Resolution::Retry => "--retry".to_owned(),
                    Resolution::Fail => "--fail".to_owned(),
                };
                format!("run resolve {run} {} {how}", quoted(step))
            }
            Self::Vote(vote) => {
                let word = if vote.approve { "approve" } else { "reject" };
                let mut line = format!("{word} {} {} --hash {}", vote.run.0, quoted(&vote.step), vote.hash);
                if !vote.form.is_null() {
                    line.push_str(&format!(" --form {}", json(&vote.form)));
                }
                if !vote.comment.is_empty() {
                    line.push_str(&format!(" --comment {}", quoted(&vote.comment)));
                }
                line
            }
            Self::Replay(replay) => replayed(replay),
            Self::Older(query) => {
                let mut line = format!("run list --limit {}", query.limit);
                for state in &query.states {
                    line.push_str(&format!(" --state {}", state.word().replace(' ', "_")));
                }
                if let Some(flow) = &query.flow {
                    line.push_str(&format!(" --flow {}", quoted(flow)));
                }
                if let Some(filter) = &query.filter {
                    line.push_str(&format!(" --filter {}", quoted(filter)));
                }
                query.before.iter().for_each(|run| line.push_str(&format!(" --before {run}")));
                line
            }
            Self::Flows => "flow list".to_owned(),
            Self::Flow(name) => format!("flow show {}", quoted(name)),
            Self::Switch(name, true) => format!("flow enable {}", quoted(name)),
            Self::Switch(name, false) => format!("flow disable {}", quoted(name)),
            Self::Publish(name) => format!("flow publish {}", quoted(name)),
            Self::Start(name, Value::Null) => format!("flow run {}", quoted(name)),
            Self::Start(name, input) => format!("flow run {} --input {}", quoted(name), json(input)),
            Self::Schedules(query) => format!("schedule next --count {}", query.count),
            Self::PauseSchedule(it, true) => format!("schedule pause {}", words(it)),
            Self::PauseSchedule(it, false) => format!("schedule resume {}", words(it)),
            Self::RunSchedule(it) => format!("schedule run {}", words(it)),
            Self::StopBackfill(it) => format!("schedule stop {}", words(it)),
            Self::Hooks => "webhook list".to_owned(),
            Self::Deliveries(Whose::Unclaimed, query) => format!("webhook unclaimed --limit {}", query.limit),
            Self::Deliveries(_, query) => {
                let of = match (&query.flow, &query.trigger) {
                    (Some(flow), Some(trigger)) => format!(" {}", quoted(&format!("{flow}/{trigger}"))),
                    _ => String::new(),
                };
                let before = query.before.map_or(String::new(), |id| format!(" --before {id}"));
                format!("webhook deliveries{of} --limit {}{before}", query.limit)
            }
            Self::Delivery(id) => format!("webhook delivery {id}"),
            Self::Redeliver(id) => format!("webhook replay {id}"),
            Self::SwitchHook(flow, trigger, closed) => {
                let word = if *closed { "disable" } else { "enable" };
                format!("webhook {word} {}", quoted(&format!("{flow}/{trigger}")))
            }
            Self::Subscriptions => "subscription list".to_owned(),
            Self::Sendings(name) => {
                format!("subscription sendings {} --limit {}", quoted(name), crate::subscriptions::SENDINGS)
            }
            Self::SwitchSubscription(name, true) => format!("subscription enable {}", quoted(name)),
            Self::SwitchSubscription(name, false) => format!("subscription disable {}", quoted(name)),
            Self::Resend(name, message) => format!("subscription resend {} {message}", quoted(name)),
            Self::GiveUp(name, message) => format!("subscription give-up {} {message}", quoted(name)),
            Self::Events(query) => {
                let before = query.before.map_or(String::new(), |event| format!(" --before {event}"));
                format!("event list --limit {}{before}", query.limit)
            }
        })
    }

    /// It changes something.
    #[must_use]
    pub fn decides(&self) -> bool {
        match self {
            Self::Replay(replay) => !replay.preview,
            Self::Cancel(_)
            | Self::Pause(..)
            | Self::PauseFlow(..)
            | Self::Resolve(..)
            | Self::Vote(_)
            | Self::Switch(..)
            | Self::Publish(_)
            | Self::PauseSchedule(..)
            | Self::RunSchedule(_)
            | Self::StopBackfill(_)
            | Self::Redeliver(_)
            | Self::SwitchHook(..)
            | Self::SwitchSubscription(..)
            | Self::Resend(..)
            | Self::GiveUp(..)
            | Self::Start(..) => true,
            _ => false,
        }
    }
}

fn words(it: &ScheduleRef) -> String {
    let trigger = it.trigger.as_ref().map_or(String::new(), |trigger| format!(" {}", quoted(trigger)));
    format!("{}{trigger}", quoted(&it.flow))
}

fn replayed(replay: &RunReplay) -> String {
    let mut line = format!("run replay {}", quoted(&replay.run.0));
    match &replay.point {
        Point::Start => {}
        Point::Step(step) => line.push_str(&format!(" --from {}", quoted(step))),
        Point::Item { map, key } => line.push_str(&format!(" --item {}", quoted(&format!("{map}:{key}")))),
    }
    match &replay.version {
        VersionOf::Run => {}
        VersionOf::Published => line.push_str(" --version published"),
        VersionOf::Draft => line.push_str(" --version draft"),
        VersionOf::Hash(hash) => line.push_str(&format!(" --version {}", quoted(hash))),
    }
    if let Some(input) = &replay.input {
        line.push_str(&format!(" --input {}", quoted(&json_line(input).unwrap_or_default())));
    }
    if replay.reuse_keys {
        line.push_str(" --reuse-keys");
    }
    if replay.preview {
        line.push_str(" --preview");
    }
    line
}

/// What a key leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Only this screen changed.
    Draw,
    /// Go somewhere.
    Go(Place),
    /// Go to the runs of a flow.
    RunsOf(String),
    /// Go to the events of a flow.
    EventsOf(String),
    /// One step back.
    Back,
    /// Ask the daemon.
    Ask(Request),
    /// Ask the person first, then ask the daemon.
    Confirm(String, Vec<Request>),
    /// Ask the person how a step in doubt ended.
    ResolveDialog(RunId, String),
    /// Ask the person for the input of a run by hand.
    StartDialog(String),
    /// Ask the person which part of a flow is simulated.
    PartDialog(Box<PartDialog>),
    /// Open a line with the beginning of a command and what may follow it.
    Line(String, String),
    /// Run a command of ours; its output is shown, or it gets the terminal.
    Run(Vec<String>),
    /// Do what a key does here.
    Do(crate::keymap::Command),
    /// Put an id or constant on the clipboard.
    Copy(String),
    /// Say something in the status line.
    Say(String),
    /// Leave.
    Quit,
    /// Draw everything anew.
    Redraw,
    /// Stop this process until the shell wakes it.
    Suspend,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_has_a_twin_that_the_command_line_understands() {
        let run = crate::fixture::run(1);
        let output = Value::object([("it's", Value::from("a b"))]);
        let before = Some(run);
        let states = vec![aura_protocol::run::RunState::InDoubt];
        let all = [
            Request::Run(run),
            Request::Find("4XK2".into()),
            Request::Cancel(run),
            Request::Resolve(run, "charge".into(), Resolution::Done(output.clone())),
            Request::Resolve(run, "charge".into(), Resolution::Retry),
            Request::Resolve(run, "charge".into(), Resolution::Fail),
            Request::Asks(run),
            Request::Vote(Box::new(RunVote {
                run: aura_protocol::rpc::RunRef(run.to_string()),
                step: "ask[it's]".into(),
                approve: true,
                hash: "abc".into(),
                form: output.clone(),
                comment: "it's fine".into(),
            })),
            Request::Older(RunQuery {
                flow: Some("a".into()),
                states,
                before,
                limit: 500,
                filter: Some("took>10s error~'a b'".into()),
            }),
            Request::Replay(Box::new(RunReplay {
                run: aura_protocol::rpc::RunRef(run.to_string()),
                point: Point::Item { map: "parcels".into(), key: "it's 1".into() },
                input: Some(output.clone()),
                version: VersionOf::Hash("1a2b".into()),
                reuse_keys: true,
                preview: true,
            })),
            Request::Schedules(ScheduleQuery { flow: None, count: 10 }),
            Request::PauseSchedule(ScheduleRef { flow: "a".into(), trigger: Some("t".into()) }, true),
            Request::PauseSchedule(ScheduleRef { flow: "a".into(), trigger: None }, false),
            Request::RunSchedule(ScheduleRef { flow: "a".into(), trigger: Some("t".into()) }),
            Request::StopBackfill(ScheduleRef { flow: "a".into(), trigger: Some("t".into()) }),
            Request::Subscriptions,
            Request::Sendings("a".into()),
            Request::SwitchSubscription("a".into(), true),
            Request::SwitchSubscription("a".into(), false),
            Request::Resend("a".into(), MessageId::from_parts(1, &[1; 10])),
            Request::GiveUp("a".into(), MessageId::from_parts(1, &[1; 10])),
            Request::Flows,
            Request::Hooks,
            Request::Deliveries(Whose::Unclaimed, DeliveryQuery { limit: 7, ..DeliveryQuery::default() }),
            Request::Deliveries(
                Whose::Endpoint("a".into(), "b".into()),
                DeliveryQuery {
                    flow: Some("a".into()),
                    trigger: Some("b".into()),
                    before: Some(DeliveryId::default()),
                    limit: 7,
                    ..DeliveryQuery::default()
                },
            ),
            Request::Delivery(DeliveryId::default()),
            Request::Redeliver(DeliveryId::default()),
            Request::SwitchHook("a".into(), "b".into(), true),
            Request::SwitchHook("a".into(), "b".into(), false),
            Request::Flow("a".into()),
            Request::Switch("a".into(), true),
            Request::Switch("a".into(), false),
            Request::Publish("a".into()),
            Request::Start("a".into(), Value::Null),
            Request::Start("a".into(), output),
            Request::Events(EventQuery { before: Some(crate::fixture::event(1)), limit: 100, ..EventQuery::default() }),
        ];
        for request in all {
            let twin = request.twin().unwrap();
            let words = crate::words::split(&twin).unwrap();
            let line = std::iter::once("aura".to_owned()).chain(words);
            let read = crate::cli::definition().try_get_matches_from(line);
            assert!(read.is_ok(), "{twin}: {}", read.unwrap_err());
        }
    }
}
