//! `aurad demo`: a whole daemon in a temporary directory, with fakes for its providers and a clock that jumps.
//!
//! It is the same daemon as everybody's: the story goes over real HTTP, the real store and the real engine.
//! Nothing outside its directory is read or written, and the directory goes when it ends.

mod place;
mod story;
mod told;

use std::path::PathBuf;
use std::time::Duration;

use aura_integrations::http::EgressPolicy;
use aura_integrations::redact::Sink;
use aura_integrations::{sendgrid, shopify, slack};
use aura_protocol::rpc::{Actor, ConnectionAdd, Role};
use aura_protocol::{RequestId, TenantId, WireError};

use crate::app::{App, Setting};
use crate::clock::Clock;
use crate::config::Options;
use crate::demo::place::Place;
use crate::demo::story::Story;
use crate::keys::MasterKey;
use crate::stop::Stop;
use crate::tasks;

/// The whole demo may take this long when nobody watches.
const WHOLE: Duration = Duration::from_secs(60);
/// How long the daemon may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// The flow of the demo, word for word the one in the documentation.
pub const FLOW: &str = include_str!("../../../docs/examples/recover-abandoned-carts.yaml");
/// Its name.
pub const NAME: &str = "recover-abandoned-cart";

/// The providers.
pub struct Fakes {
    /// The shop.
    pub shop: shopify::fake::Fake,
    /// Mail.
    pub mail: sendgrid::fake::Fake,
    /// Chat.
    pub chat: slack::fake::Fake,
}

/// Runs the demo; `paced` waits for a client that watches, goes slowly and stays up until it is told to
/// end or its standard input does.
///
/// # Errors
/// One sentence: what did not happen.
pub async fn run(socket: Option<PathBuf>, paced: bool, sink: &Sink) -> Result<(), Stop> {
    let place = Place::new()?;
    let play = async {
        let (app, fakes, secret) = open(&place, socket, sink).await?;
        let outcome = play(&app, &fakes, secret, paced).await;
        app.end(GRACE).await;
        outcome
    };
    let limit = async {
        if paced {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(WHOLE).await;
    };
    tokio::select! {
        outcome = play => outcome,
        () = limit => Err(Stop::Demo("the demo did not end within 60 s".to_owned())),
    }
}

/// Plays; with somebody who watches the daemon stays up after the end until it is asked to end.
async fn play(app: &App, fakes: &Fakes, secret: String, paced: bool) -> Result<(), Stop> {
    let story = async {
        Story::new(app, fakes, secret, paced).play().await?;
        if paced {
            std::future::pending::<()>().await;
        }
        Ok(())
    };
    tokio::select! {
        outcome = story => outcome,
        signal = tasks::asked_to_end() => match (paced, signal) {
            (true, Ok(_)) => Ok(()),
            (_, signal) => Err(Stop::Demo(format!("the demo was ended by {}", signal.unwrap_or("a signal")))),
        },
        () = watcher_gone(), if paced => Ok(()),
    }
}

/// Ends when standard input does: whoever watches holds its other end and may have been killed.
async fn watcher_gone() {
    let (gone, told) = tokio::sync::oneshot::channel();
    // A thread of its own: a blocked read on the runtime's threads would hold the end of the process.
    let reads = std::thread::Builder::new().name("demo-stdin".to_owned()).spawn(move || {
        let ended = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        // Nobody waits any more when the demo has ended meanwhile.
        let _ = gone.send(ended.is_ok());
    });
    if reads.is_err() || told.await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn open(place: &Place, socket: Option<PathBuf>, sink: &Sink) -> Result<(App, Fakes, String), Stop> {
    let fakes = fakes().await.map_err(|error| Stop::Demo(format!("the providers' fakes did not start: {error}")))?;
    let options = Options {
        data_dir: place.path().join("data"),
        socket: socket.unwrap_or_else(|| place.path().join("aurad.sock")),
        listen: "127.0.0.1:0".to_owned(),
        profile: "demo".to_owned(),
        // It is gone in an hour and stores nothing worth a reserve.
        ballast_mib: 0,
        disk_reserve_mib: 0,
        disk_reserve_percent: 0,
        ..Options::default()
    };
    let egress = EgressPolicy { allow_loopback: true, ..EgressPolicy::default() };
    let (settings, sink) = (crate::settings::shown(&options, None), sink.clone());
    let setting =
        Setting { options, key: MasterKey::random()?, clock: Clock::demo(), egress, settings, sink, relay: false };
    let places = crate::sockets::Places::take(&setting.options).await?;
    let app = App::start(setting, places.into()).await?;
    let secret = random_text()?;
    prepare(&app, &fakes, &secret).await.map_err(|error| {
        let findings: Vec<&str> = error.findings.iter().map(|finding| finding.message.as_str()).collect();
        Stop::Demo(format!(
            "the demo's flow could not be published: {error}{}{}",
            if findings.is_empty() { "" } else { ": " },
            findings.join("; ")
        ))
    })?;
    Ok((app, fakes, secret))
}

async fn fakes() -> std::io::Result<Fakes> {
    Ok(Fakes {
        shop: shopify::fake::Fake::start().await?,
        mail: sendgrid::fake::Fake::start().await?,
        chat: slack::fake::Fake::start().await?,
    })
}

/// Fields of a connection by name.
type Fields<'a> = &'a [(&'a str, &'a str)];

async fn prepare(app: &App, fakes: &Fakes, secret: &str) -> Result<(), WireError> {
    let actor =
        Actor { name: "demo".to_owned(), role: Role::Owner, tenant: TenantId::DEFAULT, request: RequestId::now() };
    let catalog = &app.service.catalog;
    let connections: [(&str, &str, Fields<'_>); 3] = [
        (
            "shop",
            "shopify",
            &[
                ("base_url", &fakes.shop.base_url),
                ("access_token", shopify::fake::ACCESS_TOKEN),
                ("webhook_secret", secret),
            ],
        ),
        (
            "mail",
            "sendgrid",
            &[("base_url", &fakes.mail.base_url), ("api_key", sendgrid::fake::API_KEY), ("from", "shop@acme.example")],
        ),
        ("ops", "slack", &[("base_url", &fakes.chat.base_url), ("bot_token", slack::fake::BOT_TOKEN)]),
    ];
    for (name, connector, fields) in connections {
        let fields = fields.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect();
        let add = ConnectionAdd { name: name.to_owned(), connector: connector.to_owned(), fields, keep_ms: None };
        catalog.connection_add(&actor, add).await?;
    }
    told::line(&format!("check    {NAME}: {} findings", catalog.check(FLOW).len()));
    let row = catalog.apply(&actor, FLOW).await?;
    told::line(&format!("apply    {}", row.flow));
    let row = catalog.publish(&actor, &row.flow).await?;
    app.service.engine.flow_changed(actor.tenant, row.id).await;
    let version: String = row.published.unwrap_or_default().chars().take(12).collect();
    told::line(&format!("publish  {} as version {version}", row.flow));
    Ok(())
}

fn random_text() -> Result<String, Stop> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| Stop::System(format!("no randomness: {error}")))?;
    Ok(format!("shpss_{}", aura_protocol::ids::crockford(u128::from_be_bytes(bytes)).to_ascii_lowercase()))
}
