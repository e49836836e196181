//! The link of the screens to the daemon: one long poll, questions beside it, again and again after a loss.
//!
//! Invariant: the cursor only moves when its news was handed on, so a lost link loses nothing; a person's
//! decision keeps its request id until it is answered.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use aura_protocol::ids::RunId;
use aura_protocol::outgoing::{
    Resend, SendingQuery, SendingRef, Subscription as Subscriber, SubscriptionEnable, SubscriptionQuery,
};
use aura_protocol::rpc::{
    AuraClient, Call, FlowEnable, FlowPause, FlowRun, RunCancel, RunPage, RunPause, RunQuery, RunRef, RunReplay,
    RunResolve, SchedulePause, WebhookRedeliver, WebhookSwitch,
};
use aura_protocol::watch::{BYTES_MAX, Subscription, WAIT_MS_MAX, WatchReply, WatchRequest};
use aura_protocol::{Code, WireError};
use tokio::sync::mpsc;

use crate::action::Request;
use crate::catalog::FlowView;
use crate::client::{ANSWER_MAX, Answer, Client, context, lost, new_call, rpc};
use crate::event::{Event, Reply};
use crate::target::Target;

/// News from before the screens opened, so that held events are seen: commits looked back.
const LOOK_BACK: u64 = 2000;
/// Runs read for the list.
const RUNS_READ: u32 = 500;
/// The status is asked for again after this, when there are other news.
const STATUS_AGE: Duration = Duration::from_secs(10);
/// Questions that wait for a link.
const WAITING_MAX: usize = 64;

/// The link is gone; or the screens are, and the link ends.
enum Loss {
    Link,
    Screens,
}

/// Connects, reports and asks until the screens are gone.
pub async fn link(target: Target, requests: mpsc::Receiver<Request>, events: mpsc::Sender<Event>) {
    let target = target.quiet();
    let mut link = Link {
        events,
        requests,
        cursor: None,
        run: None,
        waiting: VecDeque::new(),
        status_at: Instant::now(),
        paged: false,
    };
    let mut pause = Duration::from_millis(100);
    loop {
        match Client::connect(&target).await {
            Ok(client) => {
                pause = Duration::from_millis(100);
                match link.serve(&client).await {
                    Loss::Screens => return,
                    Loss::Link => {
                        let gone = WireError::new(Code::Unreachable, "aurad closed the connection");
                        if link.tell(Reply::Down(gone)).await.is_err() {
                            return;
                        }
                    }
                }
            }
            Err(error) => {
                if link.tell(Reply::Down(error)).await.is_err() {
                    return;
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

struct Link {
    events: mpsc::Sender<Event>,
    requests: mpsc::Receiver<Request>,
    cursor: Option<u64>,
    run: Option<RunId>,
    waiting: VecDeque<(Request, Call)>,
    status_at: Instant,
    /// Where older runs begin was said.
    paged: bool,
}

impl Link {
    async fn tell(&self, reply: Reply) -> Result<(), Loss> {
        self.events.send(Event::Link(Box::new(reply))).await.map_err(|_| Loss::Screens)
    }

    async fn serve(&mut self, client: &Client) -> Loss {
        match self.session(client).await {
            Ok(()) => Loss::Screens,
            Err(loss) => loss,
        }
    }

    async fn session(&mut self, client: &Client) -> Result<(), Loss> {
        let rpc = rpc(client);
        self.tell(Reply::Up(client.hello.clone())).await?;
        let status = self.status(&rpc).await?;
        let fresh = match (self.cursor, status) {
            (Some(before), Some(now)) if before <= now => false,
            (_, now) => {
                self.cursor = now.map(|now| now.saturating_sub(LOOK_BACK));
                true
            }
        };
        let missed = self.catch_up(&rpc, fresh).await?;
        self.runs(&rpc).await?;
        if let Some(run) = self.run {
            self.ask(&rpc, &(Request::Run(run), new_call())).await?;
        }
        if !fresh {
            self.tell(Reply::Caught(missed)).await?;
        }
        while let Some(question) = self.waiting.front().cloned() {
            self.ask(&rpc, &question).await?;
            self.waiting.pop_front();
        }
        self.follow(&rpc).await
    }

    /// What happened since the cursor, without waiting; says how much it was.
    async fn catch_up(&mut self, rpc: &AuraClient, fresh: bool) -> Result<u64, Loss> {
        let mut missed = 0;
        loop {
            let request = self.watch_request(0);
            let Some(news) = self.handed(rpc.watch(context(ANSWER_MAX), new_call(), request).await).await? else {
                return Ok(missed);
            };
            missed += u64::try_from(news.items.len()).unwrap_or(0);
            let more = news.more;
            self.news(rpc, news, !fresh).await?;
            if !more {
                return Ok(missed);
            }
        }
    }

    /// The long poll with questions beside it.
    async fn follow(&mut self, rpc: &AuraClient) -> Result<(), Loss> {
        loop {
            let within = Duration::from_millis(u64::from(WAIT_MS_MAX)) + Duration::from_secs(10);
            let poll = rpc.watch(context(within), new_call(), self.watch_request(WAIT_MS_MAX));
            tokio::pin!(poll);
            let news = loop {
                tokio::select! {
                    biased;
                    asked = self.requests.recv() => {
                        let Some(request) = asked else { return Err(Loss::Screens) };
                        if let Request::Watch(run) = request {
                            self.run = run;
                            break None;
                        }
                        if self.waiting.len() < WAITING_MAX {
                            self.waiting.push_back((request, new_call()));
                        }
                        while let Some(question) = self.waiting.front().cloned() {
                            self.ask(rpc, &question).await?;
                            self.waiting.pop_front();
                        }
                    }
                    answer = &mut poll => break Some(answer),
                }
            };
            if let Some(answer) = news {
                match self.handed(answer).await? {
                    Some(news) => self.news(rpc, news, true).await?,
                    None => tokio::time::sleep(Duration::from_secs(1)).await,
                }
                if self.status_at.elapsed() >= STATUS_AGE {
                    self.status(rpc).await?;
                }
            }
        }
    }

    fn watch_request(&self, wait_ms: u32) -> WatchRequest {
        let mut subscriptions = vec![Subscription::Runs, Subscription::Events, Subscription::Catalog];
        subscriptions.extend(self.run.map(Subscription::Run));
        WatchRequest { subscriptions, cursor: self.cursor, max_items: 1000, max_bytes: BYTES_MAX, wait_ms }
    }

    async fn news(&mut self, rpc: &AuraClient, news: WatchReply, fresh: bool) -> Result<(), Loss> {
        let (cursor, cut) = (news.cursor, news.cut);
        self.tell(Reply::News(news, fresh)).await?;
        self.cursor = Some(cursor);
        if cut {
            self.runs(rpc).await?;
            if let Some(run) = self.run {
                self.ask(rpc, &(Request::Run(run), new_call())).await?;
            }
        }
        Ok(())
    }

    async fn status(&mut self, rpc: &AuraClient) -> Result<Option<u64>, Loss> {
        let status = self.handed(rpc.status(context(ANSWER_MAX), new_call(), ()).await).await?;
        let cursor = status.as_ref().map(|status| status.cursor);
        self.status_at = Instant::now();
        if let Some(status) = status {
            self.tell(Reply::Status(status)).await?;
        }
        Ok(cursor)
    }

    async fn runs(&mut self, rpc: &AuraClient) -> Result<(), Loss> {
        let query = RunQuery { limit: RUNS_READ, ..RunQuery::default() };
        let answer = rpc.run_page(context(ANSWER_MAX), new_call(), query).await;
        if let Some(RunPage { runs, next, .. }) = self.handed(answer).await? {
            self.tell(Reply::Runs(runs)).await?;
            if !self.paged {
                self.paged = true;
                self.tell(Reply::Older(RunQuery::default(), RunPage { next, ..RunPage::default() })).await?;
            }
        }
        Ok(())
    }

    /// A refusal goes to the screens, a lost link up, an answer to the caller.
    async fn handed<T>(&self, answer: Answer<T>) -> Result<Option<T>, Loss> {
        match lost(answer) {
            Ok(Some(reply)) => Ok(Some(reply)),
            Ok(None) => Err(Loss::Link),
            Err(error) => {
                self.tell(Reply::Refused(error)).await?;
                Ok(None)
            }
        }
    }

    /// A flow with its endpoints and what is wrong in its text.
    async fn flow(&self, rpc: &AuraClient, name: String) -> Result<Option<FlowView>, Loss> {
        let answer = rpc.flow_show(context(ANSWER_MAX), new_call(), name).await;
        let Some(detail) = self.handed(answer).await? else { return Ok(None) };
        let hooks = self.handed(rpc.webhook_list(context(ANSWER_MAX), new_call(), ()).await).await?;
        let mut hooks = hooks.unwrap_or_default();
        hooks.retain(|hook| hook.flow == detail.row.flow);
        let forms = self.handed(rpc.form_list(context(ANSWER_MAX), new_call(), ()).await).await?;
        let mut forms = forms.unwrap_or_default();
        forms.retain(|form| form.flow == detail.row.flow);
        let query = aura_protocol::rpc::PollQuery { flow: Some(detail.row.flow.clone()) };
        let polls = self.handed(rpc.poll_list(context(ANSWER_MAX), new_call(), query).await).await?;
        let query = aura_protocol::rpc::BackfillQuery { flow: Some(detail.row.flow.clone()) };
        let backfills = self.handed(rpc.backfill_list(context(ANSWER_MAX), new_call(), query).await).await?;
        let (polls, backfills) = (polls.unwrap_or_default(), backfills.unwrap_or_default());
        let text = detail.draft.clone().or_else(|| detail.published.clone()).unwrap_or_default();
        let answer = rpc.flow_check(context(ANSWER_MAX), new_call(), text).await;
        let findings = match lost(answer) {
            Ok(Some(findings)) => findings,
            Ok(None) => return Err(Loss::Link),
            Err(error) => error.findings,
        };
        Ok(Some(FlowView { detail, hooks, forms, polls, backfills, findings }))
    }

    async fn ask(&mut self, rpc: &AuraClient, (request, call): &(Request, Call)) -> Result<(), Loss> {
        let (context, call) = (context(ANSWER_MAX), call.clone());
        let reply = match request.clone() {
            Request::Watch(run) => {
                self.run = run;
                None
            }
            Request::Run(run) => {
                let answer = rpc.run_show(context, call, RunRef(run.to_string())).await;
                self.handed(answer).await?.map(|detail| Reply::Run(Box::new(detail)))
            }
            Request::Older(query) => {
                let answer = rpc.run_page(context, call, query.clone()).await;
                self.handed(answer).await?.map(|page| Reply::Older(query, page))
            }
            Request::Flows => {
                let rows = self.handed(rpc.flow_list(context, call, ()).await).await?;
                let activity = rpc.flow_activity(self::context(ANSWER_MAX), new_call(), ()).await;
                match (rows, self.handed(activity).await?) {
                    (Some(rows), Some(activity)) => Some(Reply::Flows(rows, activity)),
                    _ => None,
                }
            }
            Request::Flow(name) => self.flow(rpc, name).await?.map(|view| Reply::Flow(Box::new(view))),
            Request::Switch(flow, enabled) => {
                let answer = rpc.flow_enable(context, call, FlowEnable { flow, enabled }).await;
                let what = if enabled { "takes events" } else { "takes no events; its live runs go on" };
                self.handed(answer).await?.map(|row| Reply::Changed(row, what))
            }
            Request::Publish(flow) => {
                let answer = rpc.flow_publish(context, call, flow).await;
                self.handed(answer).await?.map(|row| Reply::Changed(row, "published"))
            }
            Request::Start(flow, input) => {
                let answer = rpc.flow_run(context, call, FlowRun { flow, input }).await;
                self.handed(answer).await?.map(|head| Reply::Started(Box::new(head)))
            }
            Request::Events(query) => {
                let answer = rpc.event_list(context, call, query.clone()).await;
                self.handed(answer).await?.map(|page| Reply::Events(query, page))
            }
            Request::Schedules(query) => {
                let answer = rpc.schedule_list(context, call, query).await;
                self.handed(answer).await?.map(Reply::Schedules)
            }
            Request::PauseSchedule(schedule, paused) => {
                let answer = rpc.schedule_pause(context, call, SchedulePause { schedule, paused }).await;
                let what = if paused { "rests" } else { "goes on" };
                self.handed(answer).await?.map(|row| Reply::Schedule(Box::new(row), what))
            }
            Request::RunSchedule(schedule) => {
                let answer = rpc.schedule_run(context, call, schedule).await;
                self.handed(answer).await?.map(|head| Reply::Started(Box::new(head)))
            }
            Request::StopBackfill(schedule) => {
                let answer = rpc.schedule_stop(context, call, schedule).await;
                self.handed(answer).await?.map(|row| Reply::Schedule(Box::new(row), "makes up for nothing any more"))
            }
            Request::Hooks => {
                let answer = rpc.webhook_list(context, call, ()).await;
                self.handed(answer).await?.map(Reply::Hooks)
            }
            Request::Deliveries(whose, query) => {
                let answer = rpc.webhook_deliveries(context, call, query.clone()).await;
                self.handed(answer).await?.map(|page| Reply::Deliveries(whose, query, page))
            }
            Request::Delivery(id) => {
                let answer = rpc.webhook_delivery(context, call, id.to_string()).await;
                self.handed(answer).await?.map(|detail| Reply::Delivery(Box::new(detail)))
            }
            Request::Redeliver(id) => {
                let request = WebhookRedeliver { ids: vec![id.to_string()], ..WebhookRedeliver::default() };
                let answer = rpc.webhook_redeliver(context, call, request).await;
                let row = self.handed(answer).await?.and_then(|answer| answer.rows.into_iter().next());
                row.map(|row| Reply::Redelivered(Box::new(row)))
            }
            Request::SwitchHook(flow, trigger, closed) => {
                let request = WebhookSwitch { flow, trigger: Some(trigger), closed };
                let answer = rpc.webhook_switch(context, call, request).await;
                self.handed(answer).await?.map(|hook| Reply::Hook(Box::new(hook)))
            }
            Request::Subscriptions => self.subscriptions(rpc).await?.map(Reply::Subscriptions),
            Request::Sendings(name) => {
                let (subscription, limit) = (Some(name.clone()), crate::subscriptions::SENDINGS);
                let query = SendingQuery { subscription, limit, ..SendingQuery::default() };
                let answer = rpc.sending_list(context, call, query).await;
                self.handed(answer).await?.map(|page| Reply::Sendings(name, page))
            }
            Request::SwitchSubscription(name, enabled) => {
                let answer = rpc.subscription_enable(context, call, SubscriptionEnable { name, enabled }).await;
                let what = if enabled { "is sent to" } else { "is sent nothing; what waits stays" };
                self.handed(answer).await?.map(|row| Reply::Subscribed(Box::new(row), what))
            }
            Request::Resend(subscription, message) => {
                let ask = Resend {
                    subscription,
                    message: Some(message),
                    states: Vec::new(),
                    kind: None,
                    since_ms: None,
                    until_ms: None,
                    missing: false,
                    plan: false,
                    after: None,
                };
                let answer = self.handed(rpc.sending_resend(context, call, ask).await).await?;
                answer.map(|done| match done.sendings {
                    0 => Reply::Sent(format!("{message} is being sent just now, or is gone")),
                    _ => Reply::Sent(format!("{message} is on its way")),
                })
            }
            Request::GiveUp(subscription, message) => {
                let answer = rpc.sending_give_up(context, call, SendingRef { subscription, message }).await;
                self.handed(answer).await?.map(|_| Reply::Sent(format!("{message} is given up")))
            }
            Request::Find(part) => {
                let answer = rpc.run_show(context, call, RunRef(part)).await;
                self.handed(answer).await?.map(|detail| Reply::Found(detail.head.run))
            }
            Request::Payload(query) => {
                let answer = rpc.run_payload(context, call, query.clone()).await;
                self.handed(answer).await?.map(|window| Reply::Payload(query, window))
            }
            Request::Replay(replay) => {
                let answer = rpc.run_replay(context, call, RunReplay::clone(&replay)).await;
                self.handed(answer).await?.map(|answer| match answer.run {
                    Some(head) => Reply::Started(Box::new(head)),
                    None => Reply::Preview(Box::new(answer.preview), replay),
                })
            }
            Request::Cancel(run) => {
                let cancel = RunCancel { run: RunRef(run.to_string()), reason: "cancelled on the screen".to_owned() };
                let answer = rpc.run_cancel(context, call, cancel).await;
                self.handed(answer).await?.map(|head| Reply::Took(Box::new(head), "asked to cancel"))
            }
            Request::Pause(run, paused) => {
                let reason = if paused { "paused on the screen".to_owned() } else { String::new() };
                let pause = RunPause { run: RunRef(run.to_string()), paused, reason };
                let answer = rpc.run_pause(context, call, pause).await;
                let what = if paused { "paused" } else { "goes on" };
                self.handed(answer).await?.map(|head| Reply::Took(Box::new(head), what))
            }
            Request::PauseFlow(flow, paused) => {
                let answer = rpc.flow_pause(context, call, FlowPause { flow, paused }).await;
                let what = if paused { "paused: its events are held" } else { "goes on with what was held" };
                self.handed(answer).await?.map(|row| Reply::Changed(row, what))
            }
            Request::Asks(run) => {
                let answer = rpc.run_asks(context, call, RunRef(run.to_string())).await;
                self.handed(answer).await?.map(|asked| Reply::Asks(run, asked))
            }
            Request::Vote(vote) => {
                let what = if vote.approve { "approved" } else { "rejected" };
                let answer = rpc.run_vote(context, call, *vote).await;
                self.handed(answer).await?.map(|head| Reply::Took(Box::new(head), what))
            }
            Request::Resolve(run, step, resolution) => {
                let resolve = RunResolve { run: RunRef(run.to_string()), step, resolution };
                let answer = rpc.run_resolve(context, call, resolve).await;
                self.handed(answer).await?.map(|head| Reply::Took(Box::new(head), "resolved"))
            }
        };
        match reply {
            Some(reply) => self.tell(reply).await,
            None => Ok(()),
        }
    }

    /// All subscriptions, page by page.
    async fn subscriptions(&self, rpc: &AuraClient) -> Result<Option<Vec<Subscriber>>, Loss> {
        let (mut rows, mut query) = (Vec::new(), SubscriptionQuery::default());
        loop {
            let answer = rpc.subscription_list(context(ANSWER_MAX), new_call(), query.clone()).await;
            let Some(page) = self.handed(answer).await? else { return Ok(None) };
            rows.extend(page.subscriptions);
            query.after = page.next;
            if query.after.is_none() || rows.len() >= crate::subscriptions::KEPT {
                return Ok(Some(rows));
            }
        }
    }
}
