//! Everything that can happen to the screens, as one enum: the loop of [`crate::app`] has one inbox.
//!
//! Invariant: whatever changes what is shown arrives here; nothing else draws.

use aura_protocol::WireError;
use aura_protocol::approval::Question;
use aura_protocol::ids::RunId;
use aura_protocol::outgoing::{SendingPage, Subscription};
use aura_protocol::rpc::{
    Activity, DeliveryDetail, DeliveryPage, DeliveryQuery, EventPage, EventQuery, FlowRow, HelloReply, PayloadQuery,
    PayloadWindow, RedeliveredRow, ReplayPreview, RunDetail, RunPage, RunQuery, RunReplay, ScheduleInfo, StatusReply,
    Webhook,
};
use aura_protocol::run::RunHead;
use aura_protocol::watch::WatchReply;
use crossterm::event::KeyEvent;

use crate::catalog::FlowView;
use crate::commands::Finished;
use crate::hooks::Whose;

/// Something happened.
#[derive(Debug)]
pub enum Event {
    /// A key.
    Key(KeyEvent),
    /// Pasted text.
    Paste(String),
    /// The terminal has another size.
    Resize,
    /// The link to the daemon reports.
    Link(Box<Reply>),
    /// A command that was run from here has ended.
    Finished(Box<Finished>),
    /// A line from the demo, for the status line.
    Notice(String),
    /// The terminal or the process asks to end.
    Stop,
}

/// What the link reports.
#[derive(Debug)]
pub enum Reply {
    /// The daemon shook hands.
    Up(HelloReply),
    /// The link is lost or was never there; it is tried again.
    Down(WireError),
    /// The daemon's status.
    Status(StatusReply),
    /// The newest runs.
    Runs(Vec<RunHead>),
    /// Older runs than those known, for this question.
    Older(RunQuery, RunPage),
    /// All flows and what they did lately.
    Flows(Vec<FlowRow>, Activity),
    /// One flow.
    Flow(Box<FlowView>),
    /// All schedules.
    Schedules(Vec<ScheduleInfo>),
    /// A schedule took a person's decision.
    Schedule(Box<ScheduleInfo>, &'static str),
    /// A page of events, for this question.
    Events(EventQuery, EventPage),
    /// All endpoints.
    Hooks(Vec<Webhook>),
    /// A page of deliveries, for this question.
    Deliveries(Whose, DeliveryQuery, DeliveryPage),
    /// One delivery.
    Delivery(Box<DeliveryDetail>),
    /// A delivery was delivered again.
    Redelivered(Box<RedeliveredRow>),
    /// An endpoint was closed or opened.
    Hook(Box<Webhook>),
    /// All subscriptions.
    Subscriptions(Vec<Subscription>),
    /// What was sent to one.
    Sendings(String, SendingPage),
    /// A subscription took a person's decision.
    Subscribed(Box<Subscription>, &'static str),
    /// A sending took a person's decision: what it is, in words.
    Sent(String),
    /// A flow took a person's decision.
    Changed(FlowRow, &'static str),
    /// What a replay would do, and what was asked.
    Preview(Box<ReplayPreview>, Box<RunReplay>),
    /// A run was started by hand.
    Started(Box<RunHead>),
    /// A run with its journal.
    Run(Box<RunDetail>),
    /// What a run asks people.
    Asks(RunId, Vec<Question>),
    /// A run was found by a part of its id.
    Found(RunId),
    /// A window of a payload.
    Payload(PayloadQuery, PayloadWindow),
    /// News; `fresh` is false for what was before the screens opened.
    News(WatchReply, bool),
    /// After a lost link: this many pieces of news were missed and are here now.
    Caught(u64),
    /// A run took a person's decision.
    Took(Box<RunHead>, &'static str),
    /// A question was refused.
    Refused(WireError),
}
