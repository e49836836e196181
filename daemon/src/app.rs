//! The daemon, built in order. Reads like a table of contents.
//!
//! What is opened last closes first: door and socket, then work, then the engine, then the store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aura_integrations::http::{EgressPolicy, Http};
use aura_integrations::redact::Sink;
use aura_integrations::registry::Registry;
use aura_storage::{OpenError, Standing, Store, StoreOptions};
use tokio::sync::watch;

use crate::args::{Args, Command};
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::config::Options;
use crate::engine::blobs::BlobLimits;
use crate::engine::{Deps, Engine};
use crate::hold::Hold;
use crate::http::{Door, Limits, Outside};
use crate::keys::MasterKey;
use crate::locked::Next;
use crate::reached::Reached;
use crate::relay::here;
use crate::relay::home::Home;
use crate::retention::Retention;
use crate::room::Room;
use crate::rpc::{Service, Shared, socket};
use crate::sockets::Places;
use crate::stop::Stop;
use crate::tasks::{Signal, Signals, Tasks};
use crate::tunnel::Tunnel;
use crate::upkeep::{Upkeep, scrub};
use crate::{keys, locked, notify, upkeep};

/// A daemon that serves.
pub struct App {
    /// What the socket offers.
    pub service: Service,
    /// Address of the door.
    pub http: std::net::SocketAddr,
    tasks: Tasks,
    /// Given back last.
    _places: Arc<Places>,
    failed: watch::Receiver<Option<String>>,
}

/// What differs between a real daemon and the demo.
pub struct Setting {
    /// Settings.
    pub options: Options,
    /// The master key.
    pub key: MasterKey,
    /// Time.
    pub clock: Clock,
    /// Where flows may call.
    pub egress: EgressPolicy,
    /// The settings as people see them.
    pub settings: aura_protocol::rpc::Settings,
    /// What everything passes that leaves.
    pub sink: Sink,
    /// It is a relay.
    pub relay: bool,
}

/// `aurad`: serves until it is asked to end or the disk fails. Without a key that fits it is locked meanwhile.
///
/// # Errors
/// Why it did not start, or had to end.
pub async fn serve(
    options: Options,
    settings: aura_protocol::rpc::Settings,
    args: Args,
    sink: Sink,
) -> Result<(), Stop> {
    for warning in crate::config::warnings(&options) {
        tracing::warn!("{warning}");
    }
    // From here on neither signal ends the process by itself.
    let mut signals = Signals::new()?;
    let grace = Duration::from_secs(options.grace_seconds);
    let clock = Clock::system();
    let places = Arc::new(Places::take(&options).await?);
    let app = loop {
        let started = match keys::find(&options) {
            Err(stop) => Err(stop),
            Ok(key) => {
                if key.made {
                    tracing::warn!(file = %key.file.display(), "made the master key at first start; keep a copy of it in a safe place");
                }
                let (options, egress, settings) = (options.clone(), options.egress(), settings.clone());
                let sink = sink.clone();
                let relay = matches!(args.command, Some(Command::Relay));
                let setting = Setting { options, key, clock: clock.clone(), egress, settings, sink, relay };
                App::start(setting, Arc::clone(&places)).await
            }
        };
        match started {
            Ok(app) => break app,
            Err(Stop::Key(why)) => {
                let asked = async {
                    Ok(match signals.next().await {
                        Signal::Reload => Next::Again,
                        Signal::End(_) => Next::End,
                    })
                };
                if locked::serve(&options, &places, &clock, &why, &sink, asked).await? == Next::End {
                    notify::stopping();
                    return Ok(());
                }
                notify::reloading();
            }
            Err(other) => return Err(other),
        }
    };
    tracing::info!(http = %app.http, socket = %app.service.socket.display(), "ready");
    let status = format!("serving {}", app.http);
    notify::ready(&status);
    let service = &app.service;
    tokio::spawn(notify::watch(service.store.clone(), service.engine.clone(), service.tasks.clone()));
    app.until_end(grace, &mut signals, || {
        notify::reloading();
        reload(&args, &options);
        notify::ready(&status);
    })
    .await
}

/// Reads the settings again: the log's filter changes at once, what needs a start is named.
fn reload(args: &Args, running: &Options) {
    let new = match crate::config::load(args) {
        Ok(new) => new,
        Err(error) => {
            tracing::error!("the settings were not read again and stay as they are: {error}");
            return;
        }
    };
    if !crate::telemetry::refilter(&new.log) {
        tracing::error!(log = new.log, "the log's filter stays as it is");
    }
    let (old, new) = (toml::Table::try_from(running), toml::Table::try_from(&new));
    let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
    let changed = Options::NAMES.iter().filter(|name| **name != "log" && old.get(**name) != new.get(**name));
    let changed: Vec<&str> = changed.copied().collect();
    if changed.is_empty() {
        tracing::info!("the settings were read again");
    } else {
        tracing::warn!(
            settings = changed.join(", "),
            "the settings were read again; these take effect at the next start"
        );
    }
}

impl App {
    /// Builds every service in order and starts serving.
    ///
    /// # Errors
    /// What could not be opened, in one sentence.
    pub async fn start(setting: Setting, places: Arc<Places>) -> Result<Self, Stop> {
        let Setting { options, key, clock, egress, settings, sink, relay } = setting;
        let tasks = Tasks::default();

        let (listener, address) = (places.hooks()?, places.address);
        let at_socket = places.rpc.listener()?;
        let store = open_store(&options, &key).await?;
        let failed = store.failed();
        match store.steady() {
            Ok(kept) => kept.iter().for_each(|kept| clock.resume(kept)),
            Err(error) => tracing::error!(%error, "how the clock went before is lost: what waits counts by the wall"),
        }

        let relay = here::opened(&store, &clock, &options, relay).await?;

        let registry = Arc::new(Registry::builtin());
        let http =
            Http::guarded(egress, sink.clone()).map_err(|error| Stop::System(format!("no HTTP client: {error}")))?;
        let catalog = Catalog::open(store.clone(), Arc::clone(&registry), clock.clone(), sink)
            .map_err(|error| Stop::Store(error.to_string()))?;
        let room = Room::default();
        let reached = Reached::new(&options.public_url, &format!("http://{address}"));
        let tunnel = Tunnel::of(&options);
        let engine = Engine::start(Deps {
            reached: reached.clone(),
            store: store.clone(),
            flows: Arc::new(catalog.clone()),
            clock: clock.clone(),
            registry,
            http: Arc::new(http),
            calls_max: options.calls_max,
            room: room.clone(),
            hold: Hold::default(),
            runners: options.runners(),
            outgoing: options.outgoing(),
            blobs: BlobLimits {
                output_max: options.output_mib << 20,
                run_max: u64::try_from(options.run_mib << 20).unwrap_or(u64::MAX),
            },
        })
        .await
        .map_err(|error| Stop::Store(format!("the runs could not be resumed: {error:#}")))?;

        let outside = Outside { relay, ..Outside::of(&options, reached.clone()) };
        let limits = Limits { turn_away: !places.held, ..Limits::of(&options) };
        let door = Door::new(catalog.clone(), engine.clone(), clock.clone(), limits, tasks.clone(), outside);
        let relays = Home::new(door.clone());
        let bounds = options.bounds();
        let outgoing_ms = options.outgoing().kept_ms;
        let service = Service::new(Shared {
            store,
            catalog,
            engine,
            clock,
            tasks: tasks.clone(),
            accounts: options.accounts.clone(),
            profile: options.profile.clone(),
            listen: address.to_string(),
            reached,
            tunnel,
            data_dir: options.data_dir,
            socket: options.socket,
            key_file: key.file,
            started: Instant::now(),
            listeners: door.listeners.clone(),
            door: door.clone(),
            relays: relays.clone(),
            upkeep: Upkeep::default(),
            watched: watch::Sender::new(0),
            pace: crate::rpc::watch::Pace::default(),
            room: room.clone(),
            quota: bounds.quota,
            settings,
        });
        tasks.spawn(room.watch(service.store.clone(), bounds, tasks.closing.clone()));
        tasks.spawn(service.clock.clone().keep(service.store.clone(), tasks.closing.clone()));
        tasks.spawn(renewed(service.clone()));
        let engine = service.engine.clone();
        let retention = Retention {
            gone: Box::new(move |flow| engine.flow_gone(flow)),
            store: service.store.clone(),
            catalog: service.catalog.clone(),
            clock: service.clock.clone(),
            usual_ms: i64::try_from(options.retention_days).unwrap_or(3_650) * 24 * 3_600_000,
            quota: bounds.quota,
            outgoing_ms,
        };
        let (hold, closing) = (service.engine.hold().clone(), tasks.closing.clone());
        tasks.spawn(async move {
            // Nothing of a restored store goes before a person has looked at it.
            tokio::select! {
                () = closing.cancelled() => {}
                () = hold.released() => retention.work(closing.clone()).await,
            }
        });
        tasks.spawn(upkeep::start::check(service.clone()));
        tasks.spawn(scrub::nightly(service.clone(), options.scrub_hours));
        tasks.spawn(relays.keep());
        tasks.spawn(door.clone().serve(listener));
        if let Some((listener, address)) = places.api()? {
            tracing::info!(api = %address, "the API listens");
            tasks.spawn(door.serve_api(listener, options.api_hosts));
        }
        if let Some(tunnel) = &service.tunnel {
            tunnel.clone().start(address, service.reached.clone(), &tasks);
        }
        tasks.spawn(socket::serve(at_socket, service.clone()));
        Ok(Self { service, http: address, tasks, _places: places, failed })
    }

    /// Serves until a signal or a failed disk, then ends in order. A reload is told to `reload`.
    ///
    /// # Errors
    /// The disk failed (exit 74): what was not acknowledged may or may not be there, nothing else is lost.
    pub async fn until_end(self, grace: Duration, signals: &mut Signals, reload: impl Fn()) -> Result<(), Stop> {
        let mut failed = self.failed.clone();
        loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Reload => reload(),
                    Signal::End(name) => {
                        tracing::info!(signal = name, "ending: new work is refused, work at hand is finished");
                        notify::stopping();
                        break;
                    }
                },
                sentence = disk_failed(&mut failed) => {
                    tracing::error!("{sentence}");
                    return Err(Stop::Store(sentence));
                }
            }
        }
        let again = async { while signals.next().await == Signal::Reload {} };
        tokio::select! {
            () = self.end(grace) => {}
            () = again => tracing::warn!("asked twice: ending at once; what is unfinished resumes at the next start"),
        }
        Ok(())
    }

    /// Ends in order: nobody new, work at hand, calls of the engine, the store.
    pub async fn end(self, grace: Duration) {
        let began = Instant::now();
        self.tasks.close(grace).await;
        self.service.engine.drain(grace.saturating_sub(began.elapsed()).max(Duration::from_millis(500))).await;
        self.service.store.close().await;
        tracing::info!("ended");
    }
}

async fn open_store(options: &Options, key: &MasterKey) -> Result<Store, Stop> {
    make_private(&options.data_dir)?;
    let options = StoreOptions {
        dir: Some(options.data_dir.clone()),
        master: *key.bytes,
        cache_bytes: options.cache_mib * 1024 * 1024,
        queue_max: options.queue_max,
        ballast_bytes: options.ballast_mib * 1024 * 1024,
        reserve_bytes: options.disk_reserve_mib * 1024 * 1024,
        record_from: if options.quick_restart { 0 } else { StoreOptions::RECORD_FROM },
    };
    tokio::task::spawn_blocking(move || Store::open(&options))
        .await
        .map_err(|error| Stop::Store(format!("the store did not open: {error}")))?
        .map_err(|error| match error {
            OpenError::WrongKey => Stop::Key(error.to_string()),
            other => Stop::Store(other.to_string()),
        })
}

fn make_private(dir: &std::path::Path) -> Result<(), Stop> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| Stop::Store(format!("the data directory {} cannot be made: {error}", dir.display())))
}

/// After the store was opened again: flows, connections and runs are read anew. What cannot be read now is tried
/// again; a store that is over says so itself and ends the daemon.
async fn renewed(service: Service) {
    let mut standing = service.store.standing();
    let mut known = service.store.epoch();
    loop {
        let opened = match *standing.borrow_and_update() {
            Standing::Good(epoch) => Some(epoch),
            _ => None,
        };
        if opened.is_some_and(|epoch| epoch != known) {
            let renewed = async {
                service.catalog.renew().await?;
                service.engine.renew().await
            };
            match renewed.await {
                Ok(()) => {
                    known = service.engine.epoch();
                    tracing::info!(epoch = known, "everything was read again after the fault; work goes on");
                }
                Err(error) => {
                    tracing::error!(%error, "what is stored could not be read again; it is tried once more");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
            if service.tasks.closing.is_cancelled() {
                return;
            }
            continue;
        }
        tokio::select! {
            () = service.tasks.closing.cancelled() => return,
            changed = standing.changed() => if changed.is_err() { return },
        }
    }
}

/// Waits until the store says that the disk failed.
async fn disk_failed(failed: &mut watch::Receiver<Option<String>>) -> String {
    loop {
        if let Some(sentence) = failed.borrow_and_update().clone() {
            return sentence;
        }
        if failed.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
