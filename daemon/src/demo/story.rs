//! The story: two updates of one cart, an hour of quiet, a mail, a night, a second mail, success.
//!
//! Each point waits for a condition (the daemon's own tail, the fakes' records), never for a time; pacing
//! only adds pauses for the eye.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use aura_integrations::fakes::Behaviour;
use aura_integrations::http::{EgressPolicy, Http, HttpRequest};
use aura_protocol::event::{Ack, EventRow, EventState};
use aura_protocol::run::{Record, RunState, Transition};
use aura_protocol::watch::{BYTES_MAX, Item, Subscription, WatchRequest};
use aura_protocol::{RunId, Value, signature};
use tokio::time::{Instant, timeout_at};

use crate::app::App;
use crate::demo::{Fakes, NAME, told};
use crate::rpc::eyes::Eyes;
use crate::rpc::watch;
use crate::stop::Stop;

/// One point of the story may take this long.
const POINT: Duration = Duration::from_secs(25);
/// What a provider takes to answer when somebody watches.
const LIFELIKE: Duration = Duration::from_millis(1200);
const HOUR_MS: u64 = 3_600_000;

/// The story and where it stands.
pub struct Story<'a> {
    app: &'a App,
    fakes: &'a Fakes,
    secret: String,
    paced: bool,
    cursor: Option<u64>,
    news: VecDeque<Item>,
    run: Option<RunId>,
}

fn wrong(what: impl Into<String>) -> Stop {
    Stop::Demo(what.into())
}

impl<'a> Story<'a> {
    /// A story about to begin.
    #[must_use]
    pub fn new(app: &'a App, fakes: &'a Fakes, secret: String, paced: bool) -> Self {
        Self { app, fakes, secret, paced, cursor: None, news: VecDeque::new(), run: None }
    }

    /// Plays it to its end.
    ///
    /// # Errors
    /// The first thing that did not happen.
    pub async fn play(mut self) -> Result<(), Stop> {
        self.look().await?;
        told::line(&format!("ready socket={} http={}", self.app.service.socket.display(), self.app.http));
        if self.paced {
            self.wait_for_a_watcher().await?;
            for fake in [&*self.fakes.shop, &*self.fakes.mail, &*self.fakes.chat] {
                fake.usually(Behaviour::Delay(LIFELIKE));
            }
            self.pause(2).await;
        }

        self.deliver("evt-demo-1", 0).await?;
        self.until("the first update was not held", |item| matches!(item, Item::Event(row) if held(row))).await?;
        self.pause(3).await;
        self.deliver("evt-demo-2", 1).await?;
        self.until("the second update was not held", |item| matches!(item, Item::Event(row) if held(row))).await?;
        self.pause(4).await;

        self.jump(1)?;
        self.until("no run started after an hour of quiet", |item| {
            record(item, |record| matches!(record, Record::RunStarted(_)))
        })
        .await?;
        self.until("the run did not go to sleep", |item| {
            record(item, |record| matches!(record, Record::WaitCreated { .. }))
        })
        .await?;
        self.mail(1, "cart-1").await?;
        self.pause(4).await;

        self.jump(23)?;
        self.until("the run did not end after the second jump", |item| {
            record(item, |record| matches!(record, Record::RunFinished { .. }))
        })
        .await?;
        self.mail(2, "cart-2").await?;
        self.judge().await
    }

    async fn wait_for_a_watcher(&self) -> Result<(), Stop> {
        let mut watched = self.app.service.watched.subscribe();
        watched.wait_for(|count| *count > 0).await.map(|_| ()).map_err(|_| wrong("the daemon ended"))
    }

    async fn pause(&self, seconds: u64) {
        if self.paced {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
    }

    /// Takes the news that are there; the first look only says where now is.
    async fn look(&mut self) -> Result<(), Stop> {
        let request = WatchRequest {
            subscriptions: vec![Subscription::Transitions, Subscription::Events],
            cursor: self.cursor,
            max_items: 200,
            max_bytes: BYTES_MAX,
            wait_ms: 1000,
        };
        let reply =
            watch::news(&self.app.service, Eyes::own(), request).await.map_err(|error| wrong(error.to_string()))?;
        self.cursor = Some(reply.cursor);
        for item in &reply.items {
            match item {
                Item::Event(row) if held(row) => told::event(reply.now_ms, row),
                Item::Transition(_, transition) => told::transition(transition),
                _ => {}
            }
        }
        self.news.extend(reply.items);
        Ok(())
    }

    /// Waits for a piece of news; what came before it is done with.
    async fn until(&mut self, otherwise: &str, fits: impl Fn(&Item) -> bool) -> Result<(), Stop> {
        let until = Instant::now() + POINT;
        loop {
            while let Some(item) = self.news.pop_front() {
                if let Item::Transition(run, _) = &item {
                    self.run = Some(*run);
                }
                if fits(&item) {
                    return Ok(());
                }
                if record(
                    &item,
                    |record| matches!(record, Record::RunFinished { state, .. } if *state != RunState::Succeeded),
                ) {
                    return Err(wrong(format!("{otherwise}: the run did not succeed")));
                }
            }
            timeout_at(until, self.look()).await.map_err(|_| wrong(otherwise))??;
        }
    }

    fn jump(&self, hours: u64) -> Result<(), Stop> {
        let now = self.app.service.clock.advance(hours * HOUR_MS).ok_or_else(|| wrong("the clock does not jump"))?;
        told::at(now, &format!("clock    +{hours} h"));
        Ok(())
    }

    /// Sends one signed update of the cart over HTTP, as Shopify does.
    async fn deliver(&self, event: &str, minutes: u64) -> Result<(), Stop> {
        let body = cart(minutes)?;
        let clock = &self.app.service.clock;
        let scheme = signature::scheme("shopify_webhook").ok_or_else(|| wrong("no scheme for Shopify"))?;
        let mut headers = signature::sign(scheme, &self.secret, &body, clock.now_ms(), event);
        for (name, value) in [
            ("content-type", "application/json"),
            ("x-shopify-topic", "checkouts/update"),
            ("x-shopify-shop-domain", "acme.myshopify.example"),
        ] {
            headers.push((name.to_owned(), value.to_owned()));
        }
        let webhooks = self.app.service.catalog.webhooks(&self.app.service.reached.address());
        let url =
            webhooks.first().map(|webhook| webhook.url.clone()).ok_or_else(|| wrong("the flow has no endpoint"))?;
        let http = Http::new(EgressPolicy { allow_loopback: true, ..EgressPolicy::default() })
            .map_err(|error| wrong(error.to_string()))?;
        let request = HttpRequest {
            method: "POST".to_owned(),
            url,
            headers,
            body,
            timeout: Duration::from_secs(10),
            redirects: 0,
        };
        let answer = http
            .send(request, &AtomicBool::new(false))
            .await
            .map_err(|(error, _)| wrong(format!("the delivery {event} failed: {error}")))?;
        let ack: Ack = serde_json::from_slice(&answer.body).map_err(|_| {
            wrong(format!("the delivery {event} was answered {} without an acknowledgement", answer.status))
        })?;
        if ack.state != EventState::Held {
            return Err(wrong(format!("the delivery {event} is {:?} and not held", ack.state)));
        }
        told::at(
            clock.now_ms(),
            &format!("webhook  Shopify sends checkouts/update {event}: answered {}, held", answer.status),
        );
        Ok(())
    }

    async fn mail(&self, count: usize, template: &str) -> Result<(), Stop> {
        let mails = self.fakes.mail.mails();
        let Some(mail) = mails.last().filter(|mail| mails.len() == count && mail.template == template) else {
            return Err(wrong(format!(
                "SendGrid should have {count} mails, the last one {template}, and has {}",
                mails.len()
            )));
        };
        told::at(
            self.app.service.clock.now_ms(),
            &format!("mail     {} arrived at SendGrid for {}", mail.template, mail.to),
        );
        Ok(())
    }

    /// One run, and it succeeded.
    async fn judge(&self) -> Result<(), Stop> {
        let query = aura_protocol::rpc::RunQuery { limit: 10, ..aura_protocol::rpc::RunQuery::default() };
        let heads = self
            .app
            .service
            .read(move |shared| crate::rpc::runs::list(shared, &Eyes::own(), &query))
            .await
            .map_err(|error| wrong(error.to_string()))?;
        match heads.as_slice() {
            [only] if only.state == RunState::Succeeded && Some(only.run) == self.run && only.flow == NAME => {
                told::line(&format!("{} succeeded", only.run));
                Ok(())
            }
            [only] => Err(wrong(format!("{} is {}", only.run, only.state.word()))),
            several => Err(wrong(format!("two updates of one cart should be one run and are {}", several.len()))),
        }
    }
}

/// An event that decides when its group fires; earlier ones of the group say so once more without a time.
fn held(row: &EventRow) -> bool {
    row.state == EventState::Held && row.starts_at_ms.is_some()
}

fn record(item: &Item, fits: impl Fn(&Record) -> bool) -> bool {
    matches!(item, Item::Transition(_, Transition { records, .. }) if records.iter().any(fits))
}

/// The sample of a cart, updated some minutes after the first time.
fn cart(minutes: u64) -> Result<Vec<u8>, Stop> {
    let sample = aura_integrations::registry::sample("shopify.checkout_updated").ok_or_else(|| wrong("no sample"))?;
    let mut body = Value::from_json(sample.as_bytes()).map_err(|error| wrong(error.to_string()))?;
    if let Value::Map(fields) = &mut body {
        fields.insert("updated_at".to_owned(), Value::from(format!("2026-11-21T09:{:02}:03+01:00", 15 + minutes % 40)));
    }
    Ok(body.to_json().into_bytes())
}
