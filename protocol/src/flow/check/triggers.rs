//! Rules of the door: who may send, how long keys count, how long a sender waits, how many runs go on.

use super::super::path::Path;
use super::super::suggest::did_you_mean;
use super::super::{Auth, Kind, Reply, Span, Trigger, support};
use super::Checks;
use crate::intake::Takes;
use crate::schedule::{Overlap, Schedule, Wrong};
use crate::value::Value;

/// A dedupe key counts at least this long (design §11): providers send again for up to three days.
const DEDUPE_FLOOR: Span = Span::from_secs(72 * 3600);
/// Networks of one trigger.
const ALLOW_MAX: usize = 64;
/// A sender is never kept waiting longer.
const REPLY_MAX: Span = Span::from_secs(25);

impl Checks<'_> {
    pub(super) fn triggers(&mut self) {
        let flow = &self.document.flow;
        let root = Path::root();
        for (number, trigger) in flow.triggers.iter().enumerate() {
            let path = root.field("triggers").item(number);
            match trigger.on.as_str() {
                "webhook" => self.webhook(trigger, &path),
                "manual" => self.no_sender(trigger, &path, "runs by hand start at once and answer with the run"),
                "flow_failed" => {
                    self.no_caller(trigger, &path, "it is told of runs that have failed");
                    self.failures(trigger, &path.field("with"));
                }
                "event" => self.emitted(trigger, &path),
                "called" => self.no_sender(trigger, &path, "the step that calls waits for the run, or has its id"),
                "schedule" => self.schedule(trigger, &path),
                "form" => self.form(trigger, &path),
                "poll" => self.poll(trigger, &path),
                on if on.contains('.') => self.connector_trigger(trigger, &path),
                _ => {}
            }
            self.policies(trigger, &path);
            self.allowed(trigger, &path.field("allow"));
        }
        if let Some(limits) = &flow.concurrency
            && limits.limit == 0
        {
            self.error(
                &root.field("concurrency").field("limit"),
                "`limit: 0` would never start a run",
                "write 1 or more",
            );
        }
        if flow.timeout == Some(Span::from_ms(0)) {
            self.error(
                &root.field("timeout"),
                "a timeout of 0 ends every run at once",
                "leave it out or make it longer",
            );
        }
        let (least, most) = (Span::from_secs(3600), Span::from_secs(3650 * 24 * 3600));
        if flow.retention.is_some_and(|kept| kept < least || kept > most) {
            let message = "finished runs are kept between an hour and ten years";
            self.error(&root.field("retention"), message, "write 1h to 3650d");
        }
        self.answers();
    }

    fn webhook(&mut self, trigger: &Trigger, path: &Path) {
        let auth = path.field("auth");
        match &trigger.auth {
            None => {
                let hint = "write `auth: { scheme: github, secret: NAME }`, `auth: { bearer: NAME }` or `auth: none`";
                self.error(path, "the webhook does not say how deliveries prove themselves", hint);
            }
            Some(Auth::None) => {
                let hint = "use a signature scheme or a bearer secret";
                self.warn(&auth, "anybody who knows the address can start runs", hint);
            }
            Some(Auth::Bearer(secret)) => self.secret_name(secret, &auth.field("bearer")),
            Some(Auth::Basic { user, secret }) => {
                let auth = auth.field("basic");
                if user.is_empty() || user.len() > 128 || user.contains(':') || user.chars().any(char::is_control) {
                    let hint = "write the user's name as the sender was given it, 1 to 128 characters";
                    self.error(&auth.field("user"), "a user has no `:` and no control characters", hint);
                }
                self.secret_name(secret, &auth.field("secret"));
            }
            Some(Auth::Header { name, secret }) => {
                let auth = auth.field("header");
                if !is_header(name) {
                    let hint = "write it as in `X-Hook-Key`";
                    self.error(&auth.field("name"), "this is not the name of a header that can hold a secret", hint);
                }
                self.secret_name(secret, &auth.field("secret"));
            }
            Some(Auth::Scheme { scheme, secret }) => {
                if crate::signature::scheme(scheme).is_none() {
                    let message = format!("`{}` is no signature scheme", crate::text::display(scheme));
                    self.error(&auth.field("scheme"), message, did_you_mean(scheme, support::schemes()));
                }
                self.secret_name(secret, &auth.field("secret"));
            }
            Some(Auth::Hmac(hmac)) => {
                let auth = auth.field("hmac");
                if let Err(wrong) = crate::signature::Generic::of(hmac) {
                    self.error(&auth.field(wrong.key), wrong.message, wrong.hint);
                }
                self.secret_name(&hmac.secret, &auth.field("secret"));
            }
        }
        if trigger.connection.is_some() {
            let hint = "a plain webhook proves itself by `auth`";
            self.error(&path.field("connection"), "`connection` belongs to a connector's trigger", hint);
        }
    }

    /// Networks that may send.
    fn allowed(&mut self, trigger: &Trigger, path: &Path) {
        if trigger.allow.len() > ALLOW_MAX {
            let hint = "join them to larger networks";
            self.error(path, format!("a trigger allows at most {ALLOW_MAX} networks"), hint);
        }
        for (number, network) in trigger.allow.iter().enumerate().take(ALLOW_MAX) {
            if !is_network(network) {
                let message = format!("`{}` is no address and no network", crate::text::display(network));
                self.error(&path.item(number), message, "write it as in 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32");
            }
        }
    }

    fn secret_name(&mut self, name: &str, path: &Path) {
        if !is_name(name) {
            let hint = "write the name under which the secret was added, never its value";
            self.error(path, "this is not the name of a secret", hint);
        }
    }

    /// A trigger without a sender has nobody to prove, tell apart or answer.
    fn no_sender(&mut self, trigger: &Trigger, path: &Path, hint: &str) {
        let written = [
            ("auth", trigger.auth.is_some()),
            ("connection", trigger.connection.is_some()),
            ("allow", !trigger.allow.is_empty()),
            ("dedupe", trigger.dedupe.is_some()),
            ("debounce", trigger.debounce.is_some()),
            ("batch", trigger.batch.is_some()),
            ("throttle", trigger.throttle.is_some()),
            ("filter", trigger.filter.is_some()),
            ("reply", trigger.reply != Reply::Ack),
        ];
        for (key, _) in written.iter().filter(|(_, written)| *written) {
            let message = format!("`{key}` has no meaning on a {} trigger", trigger.on);
            self.error(&path.field(key), message, hint);
        }
    }

    /// A trigger for what happens inside of this installation: there are events, and nobody outside who sends them.
    fn no_caller(&mut self, trigger: &Trigger, path: &Path, hint: &str) {
        let written = [
            ("auth", trigger.auth.is_some()),
            ("connection", trigger.connection.is_some()),
            ("allow", !trigger.allow.is_empty()),
            ("reply", trigger.reply != Reply::Ack),
        ];
        for (key, _) in written.iter().filter(|(_, written)| *written) {
            let message = format!("`{key}` has no meaning on a {} trigger", trigger.on);
            self.error(&path.field(key), message, hint);
        }
    }

    /// Of which event of `emit` steps a trigger is told.
    fn emitted(&mut self, trigger: &Trigger, path: &Path) {
        self.no_caller(trigger, path, "its events come from `emit` steps of this installation");
        let with = path.field("with");
        for key in trigger.with.keys().filter(|key| *key != "name") {
            let message = format!("triggers of kind `event` take no setting `{}`", crate::text::display(key));
            self.error(&with.field(key), message, "`name` says which event");
        }
        match trigger.with.get("name") {
            Some(Value::Str(name)) if is_name(name) => {}
            Some(_) => self.error(&with.field("name"), "`name` is the name of an event", "write it as the `emit` does"),
            None => self.error(path, "the trigger does not say which event", "write `with: { name: order_paid }`"),
        }
    }

    fn schedule(&mut self, trigger: &Trigger, path: &Path) {
        self.no_sender(trigger, path, "a schedule starts runs by itself; use `if` on the first step to leave one out");
        let with = path.field("with");
        let schedule = match Schedule::read(&trigger.with) {
            Ok(schedule) => schedule,
            Err(wrong) => {
                for Wrong { key, message, hint } in wrong {
                    let at = match key.as_str() {
                        "" => path.clone(),
                        key => with.field(key),
                    };
                    self.error(&at, message, hint);
                }
                return;
            }
        };
        if schedule.overlap.is_some_and(|overlap| overlap != Overlap::Allow) && self.document.flow.concurrency.is_some()
        {
            let message = "`overlap` and the flow's `concurrency` would both decide which runs go on";
            self.error(&with.field("overlap"), message, "leave `overlap` out: then `concurrency` decides alone");
        }
        // Any time will do: a rule without an instant in a century has none.
        if schedule.next_after(0).is_none() {
            let key = ["cron", "every", "rrule", "at"].into_iter().find(|key| trigger.with.contains_key(*key));
            self.error(&with.field(key.unwrap_or("cron")), "this schedule is never due", "no such day exists");
        }
    }

    fn connector_trigger(&mut self, trigger: &Trigger, path: &Path) {
        match &trigger.connection {
            None => {
                let provider = trigger.on.split('.').next().unwrap_or_default();
                let hint = format!("write `connection:` and the name of a {provider} connection");
                self.error(path, format!("the trigger `{}` needs a connection", trigger.on), hint);
            }
            Some(name) if !is_name(name) => {
                let message = format!("`{}` cannot name a connection", crate::text::display(name));
                self.error(&path.field("connection"), message, "use letters, digits, `-`, `_` and `.`");
            }
            Some(_) => {}
        }
        if trigger.auth.is_some() {
            let hint = "its connection holds the secret that signs deliveries";
            self.error(&path.field("auth"), "`auth` belongs to a plain webhook", hint);
        }
    }

    /// Of which flows a trigger is told.
    fn failures(&mut self, trigger: &Trigger, path: &Path) {
        let text = |value: &Value| value.as_str().is_some_and(|text| !text.contains("{{"));
        for (key, value) in &trigger.with {
            let at = path.field(key);
            match (key.as_str(), value) {
                ("flows", Value::List(names)) if !names.is_empty() && names.iter().all(text) => {}
                ("flows", _) => {
                    self.error(&at, "`flows` is a list of names of flows", "write `flows: [a, b]`, or leave it out");
                }
                ("labels", Value::Map(labels)) if !labels.is_empty() && labels.values().all(text) => {}
                ("labels", _) => {
                    let hint = "write `labels: { team: growth }`, or leave it out";
                    self.error(&at, "`labels` are those that the failed flow has", hint);
                }
                ("default_on_error", Value::Bool(_)) => {}
                ("default_on_error", _) => {
                    let hint =
                        "write `default_on_error: true` to be told of flows that have no `on_error` of their own";
                    self.error(&at, "`default_on_error` is true or false", hint);
                }
                _ => {
                    let shown = crate::text::display(key);
                    let message = format!("triggers of kind `flow_failed` take no setting `{shown}`");
                    self.error(&at, message, "`flows`, `labels` and `default_on_error` say of which flows it is told");
                }
            }
        }
    }

    fn policies(&mut self, trigger: &Trigger, path: &Path) {
        if trigger.on == "webhook" || trigger.on.contains('.') {
            if let Err(wrong) = Takes::read(&trigger.with) {
                for Wrong { key, message, hint } in wrong {
                    self.error(&path.field("with").field(&key), message, hint);
                }
            }
            self.backfill(trigger, path);
        } else if support::TRIGGERS.contains(&trigger.on.as_str())
            && !matches!(trigger.on.as_str(), "schedule" | "event" | "flow_failed" | "form" | "poll")
        {
            for key in trigger.with.keys() {
                let message = format!("triggers of kind `{}` take no setting `{key}`", trigger.on);
                self.error(&path.field("with").field(key), message, "leave it out");
            }
        }
        if let Some(dedupe) = &trigger.dedupe
            && dedupe.window < DEDUPE_FLOOR
        {
            let message = format!("the dedupe window is {}, it must be at least 72h", dedupe.window);
            let hint = "providers send again for up to three days; without `window` it is 7d";
            self.error(&path.field("dedupe").field("window"), message, hint);
        }
        if let Some(debounce) = &trigger.debounce {
            if debounce.quiet == Span::from_ms(0) {
                let hint = "leave `debounce` out, or make `for` longer";
                self.error(&path.field("debounce").field("for"), "a debounce of 0 waits for nothing", hint);
            }
            if debounce.max.is_some_and(|max| max < debounce.quiet) {
                let hint = "`max` counts from the first event and must not be shorter than `for`";
                self.error(&path.field("debounce").field("max"), "`max` is shorter than `for`", hint);
            }
        }
        self.gathering(trigger, path);
        let Reply::Respond { wait } = trigger.reply else { return };
        let path = path.field("reply").field("respond").field("wait");
        if wait > REPLY_MAX {
            self.error(&path, format!("`wait` is {wait}, a sender is kept waiting at most 25s"), "");
        } else if let Some((name, cap)) = support::patience(&trigger.on, trigger.auth.as_ref())
            && wait > cap
        {
            let message = format!("`wait` is {wait}, {name} gives up after {cap}");
            self.error(&path, message, format!("write `wait: {cap}` or less, or leave it out"));
        }
    }

    /// `reply: respond` and `respond` steps belong together.
    fn answers(&mut self) {
        let mut steps = self.scopes.steps().filter(|(_, step, _)| matches!(step.kind, Kind::Respond(_)));
        let first = steps.next().map(|(_, _, path)| path);
        drop(steps);
        let mut waiting = self.document.flow.triggers.iter().enumerate();
        let waits = waiting.find(|(_, trigger)| trigger.reply != Reply::Ack).map(|(number, _)| number);
        match (first, waits) {
            (Some(path), None) => {
                let hint = "write `reply: { respond: {} }` on the webhook trigger";
                self.warn(&path, "nobody waits for this answer: every trigger replies `ack`", hint);
            }
            (None, Some(number)) => {
                let path = Path::root().field("triggers").item(number).field("reply");
                let hint = "add a `respond` step or write `reply: ack`";
                self.warn(&path, "the sender waits for an answer and no step gives one", hint);
            }
            _ => {}
        }
    }
}

/// Whether a header may hold a secret: a name, and none that means something else to HTTP.
fn is_header(name: &str) -> bool {
    const TAKEN: [&str; 7] =
        ["host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection", "expect"];
    let letters = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    (1..=64).contains(&name.len())
        && name.bytes().all(letters)
        && !TAKEN.iter().any(|taken| name.eq_ignore_ascii_case(taken))
}

/// `203.0.113.7`, `203.0.113.0/24`, `2001:db8::/32`.
fn is_network(text: &str) -> bool {
    use std::net::IpAddr;
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32_u8 } else { 128 };
    bits.is_none_or(|bits| bits.bytes().all(|c| c.is_ascii_digit()) && bits.parse::<u8>().is_ok_and(|it| it <= most))
}

/// Whether a text can name a connection or a secret.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}
