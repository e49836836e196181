//! A connector as its `connector.toml` says it: fields, actions as request and answer templates, errors as
//! rules, triggers.
//!
//! [`Connector::load`] reads the file into `descriptor::Connector` (what others see) and the compiled request
//! data (what [`crate::registry`] calls). A file that does not hold together is refused with a sentence:
//! templates name declared inputs and fields only, so a request can never read what a form does not show.
//! The calling itself is in `call`.

mod call;
mod file;

use aura_protocol::descriptor;
use aura_protocol::run::{ErrorClass, Reach};
use aura_protocol::value::{Map, Value};

use crate::template::{Source, Template};

/// Why a `connector.toml` is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connector.toml of {connector}: {problem}")]
pub struct ConnectorError {
    /// Its id, as far as known.
    pub connector: String,
    /// What is wrong.
    pub problem: String,
}

/// Brings the inputs of an action into the form that its templates need; an Err is a sentence for people.
pub type Prepare = fn(action: &str, input: &mut Map) -> Result<(), String>;

/// Reads how long a throttled answer asks to wait, in milliseconds, from its body.
pub type Wait = fn(body: &Value) -> Option<u64>;

/// What data cannot say: the few lines of Rust that a provider may need.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hooks {
    /// Inputs before the request.
    pub prepare: Option<Prepare>,
    /// Waits that stand in a body.
    pub wait: Option<Wait>,
}

/// The scheme of a trigger whose provider signs nothing.
pub const UNSIGNED: &str = "none";

/// One provider.
#[derive(Clone, Debug)]
pub struct Connector {
    /// What checks, forms, help and docs see.
    pub descriptor: descriptor::Connector,
    /// The connection field that holds the secret which signs deliveries.
    pub signing_secret: Option<String>,
    pub(crate) hooks: Hooks,
    pub(crate) base_url: Vec<Template>,
    pub(crate) headers: Vec<(String, Template)>,
    pub(crate) defaults: Vec<(String, String)>,
    pub(crate) messages: Vec<Vec<String>>,
    pub(crate) codes: Vec<Vec<String>>,
    pub(crate) waits: Vec<WaitHeader>,
    pub(crate) errors: Vec<ErrorRule>,
    pub(crate) calls: Vec<Call>,
}

/// The request and answer of one action.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) action: String,
    pub(crate) method: String,
    pub(crate) path: Template,
    pub(crate) key_header: Option<String>,
    pub(crate) body: Option<Template>,
    pub(crate) output: Template,
    /// Class of the error when a part of the output is not in the answer.
    pub(crate) when_missing: Option<ErrorClass>,
}

/// A header that says how long to wait.
#[derive(Clone, Debug)]
pub(crate) struct WaitHeader {
    pub(crate) header: String,
    pub(crate) unit: WaitUnit,
}

/// How to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WaitUnit {
    /// From now.
    Seconds,
    /// Until that Unix time in seconds.
    EpochSeconds,
}

/// Tells an error from the body (200 is not success), before the status does.
#[derive(Clone, Debug)]
pub(crate) struct ErrorRule {
    pub(crate) status: Vec<u16>,
    pub(crate) at: Vec<String>,
    /// Empty: anything that is there and not empty.
    pub(crate) is: Vec<Value>,
    pub(crate) class: ErrorClass,
    pub(crate) reach: Reach,
}

impl Connector {
    /// Reads and checks a `connector.toml`.
    ///
    /// # Errors
    /// [`ConnectorError`] with the first thing that does not hold together.
    pub fn load(text: &str, hooks: Hooks) -> Result<Self, ConnectorError> {
        let error = |connector: &str, problem: String| ConnectorError { connector: connector.to_owned(), problem };
        let file: file::File = toml::from_str(text).map_err(|problem| error("?", problem.to_string()))?;
        let id = file.id.clone();
        let connector = file.compile(hooks).map_err(|problem| error(&id, problem))?;
        connector.check().map_err(|problem| error(&id, problem))?;
        Ok(connector)
    }

    fn check(&self) -> Result<(), String> {
        let fields: Vec<&str> = self.descriptor.fields.iter().map(|field| field.name.as_str()).collect();
        unique("field", fields.iter().copied())?;
        unique("action", self.descriptor.actions.iter().map(|action| action.id.as_str()))?;
        unique("trigger", self.descriptor.triggers.iter().map(|trigger| trigger.id.as_str()))?;
        if self.base_url.is_empty() {
            return Err("base_url is empty".to_owned());
        }
        if let Some(name) = &self.signing_secret
            && !self.descriptor.fields.iter().any(|field| field.name == *name && field.secret)
        {
            return Err(format!("signing_secret `{name}` is not a secret field"));
        }
        for trigger in &self.descriptor.triggers {
            // Nobody signs it: its address, which nobody can guess, is all the proof there is.
            if trigger.scheme == UNSIGNED {
                continue;
            }
            if aura_protocol::signature::scheme(&trigger.scheme).is_none() {
                return Err(format!("trigger {} has scheme `{}`, which nobody knows", trigger.id, trigger.scheme));
            }
            if self.signing_secret.is_none() {
                return Err(format!("trigger {} needs a signing_secret", trigger.id));
            }
        }
        for template in self.base_url.iter().chain(self.headers.iter().map(|(_, template)| template)) {
            for source in template.sources() {
                match source {
                    Source::Connection(name) if fields.contains(&name.as_str()) => {}
                    _ => return Err(format!("base_url and headers read connection fields only, not {source:?}")),
                }
            }
        }
        for (action, call) in self.descriptor.actions.iter().zip(&self.calls) {
            let problem = |what: String| format!("action {}: {what}", action.id);
            unique("input", action.input.iter().map(|field| field.name.as_str())).map_err(problem)?;
            let request = call.path.sources().into_iter().chain(call.body.iter().flat_map(Template::sources));
            for source in request {
                let known = match source {
                    Source::Input(path) => {
                        path.first().is_some_and(|name| action.input.iter().any(|f| f.name == *name))
                    }
                    Source::Connection(name) => fields.contains(&name.as_str()),
                    Source::Key => true,
                    Source::Body(_) | Source::Header(_) => false,
                };
                if !known {
                    return Err(problem(format!("the request reads {source:?}, which is not declared")));
                }
            }
            for source in call.output.sources() {
                if !matches!(source, Source::Body(_) | Source::Header(_)) {
                    return Err(problem(format!("the output reads {source:?}, not the answer")));
                }
            }
            if action.effect == aura_protocol::flow::Effect::Keyed
                && (action.key_window_ms == 0 || call.key_header.is_none())
            {
                return Err(problem("effect keyed needs key_window and key_header".to_owned()));
            }
        }
        Ok(())
    }
}

fn unique<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(format!("{what} `{name}` is there twice"));
        }
    }
    Ok(())
}
