//! The list of connectors: one line each. Everything else asks here by name.
//!
//! To add a connector: one folder and one line in [`BUILTIN`] (see `docs/connectors.md`); the conformance
//! test then demands its fixtures.

use aura_protocol::descriptor::{self, Action, TriggerKind};
use aura_protocol::run::{CallOutcome, ErrorClass, Reach, StepError};
use aura_protocol::text::display;
use aura_protocol::value::Value;

use crate::connector::{Connector, ConnectorError, Hooks};
use crate::ctx::CallCtx;
use crate::{sendgrid, shopify, slack};

/// What a connector's folder hands in.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// Its id, as in the file.
    pub id: &'static str,
    /// Text of its `connector.toml`.
    pub toml: &'static str,
    /// Its Rust, if it has any.
    pub hooks: Hooks,
    /// A realistic payload of each trigger: its id and the body.
    pub samples: &'static [(&'static str, &'static str)],
    /// The recorded exchange of each action: its id and the fixture.
    pub exchanges: &'static [(&'static str, &'static str)],
}

/// Every connector of this build.
pub const BUILTIN: &[Builtin] = &[
    sendgrid::BUILTIN, // mail
    shopify::BUILTIN,  // shop
    slack::BUILTIN,    // chat
];

/// The connectors, ready to be called.
#[derive(Debug, Default)]
pub struct Registry {
    connectors: Vec<Connector>,
    descriptors: Vec<descriptor::Connector>,
}

impl Registry {
    /// The connectors of this build. One whose file is broken is left out and logged; the tests forbid it.
    #[must_use]
    pub fn builtin() -> Self {
        let mut connectors = Vec::with_capacity(BUILTIN.len());
        for loaded in Self::load_each() {
            match loaded {
                Ok(connector) => connectors.push(connector),
                Err(error) => tracing::error!(%error, "a connector is left out"),
            }
        }
        let descriptors = connectors.iter().map(|connector| connector.descriptor.clone()).collect();
        Self { connectors, descriptors }
    }

    /// Reads every file of this build, each with its own verdict.
    pub fn load_each() -> impl Iterator<Item = Result<Connector, ConnectorError>> {
        BUILTIN.iter().map(|builtin| Connector::load(builtin.toml, builtin.hooks))
    }

    /// What checks, forms and docs need of all connectors.
    #[must_use]
    pub fn connectors(&self) -> &[descriptor::Connector] {
        &self.descriptors
    }

    /// One connector's self-description.
    #[must_use]
    pub fn connector(&self, id: &str) -> Option<&descriptor::Connector> {
        self.find(id).map(|connector| &connector.descriptor)
    }

    /// An action by its full name, as in `shopify.get_abandoned_checkout`.
    #[must_use]
    pub fn action(&self, name: &str) -> Option<&Action> {
        let (connector, id) = name.split_once('.')?;
        self.find(connector)?.descriptor.actions.iter().find(|action| action.id == id)
    }

    /// A trigger by its full name, as in `shopify.checkout_updated`.
    #[must_use]
    pub fn trigger(&self, name: &str) -> Option<&TriggerKind> {
        let (connector, id) = name.split_once('.')?;
        self.find(connector)?.descriptor.triggers.iter().find(|trigger| trigger.id == id)
    }

    /// The connection field whose secret signs a connector's deliveries.
    #[must_use]
    pub fn signing_field(&self, connector: &str) -> Option<&str> {
        self.find(connector)?.signing_secret.as_deref()
    }

    /// Calls an action, once. Repeating is the engine's decision, by the outcome's class and reach.
    ///
    /// The output keeps the vendor's field names. Neither outputs nor errors hold a secret of the connection.
    pub async fn call(&self, ctx: &CallCtx<'_>, action: &str, input: &Value) -> CallOutcome {
        let found = action.split_once('.').and_then(|(id, name)| {
            let connector = self.find(id)?;
            Some((connector, connector.descriptor.actions.iter().position(|action| action.id == name)?))
        });
        match found {
            Some((connector, index)) => connector.call(ctx, index, input).await,
            None => {
                let sentence = format!("this build has no action `{}`", display(action));
                CallOutcome::Failed(StepError::new(ErrorClass::Invalid, sentence), Reach::Unsent)
            }
        }
    }

    /// Whether an action takes an input: closed, complete, of the right types.
    ///
    /// # Errors
    /// What is wrong with it, or that there is no such action.
    pub fn check_input(&self, action: &str, input: &Value) -> Result<(), String> {
        let found = action.split_once('.').and_then(|(id, name)| Some((self.find(id)?, name)));
        match found {
            Some((connector, name)) => {
                connector.check_input(name, input).map_err(|problem| format!("{action}: {problem}"))
            }
            None => Err(format!("this build has no action `{}`", display(action))),
        }
    }

    fn find(&self, id: &str) -> Option<&Connector> {
        self.connectors.iter().find(|connector| connector.descriptor.id == id)
    }
}

/// A realistic payload of a trigger, as in `shopify.checkout_updated`, for tests, the demo and `webhook test`.
#[must_use]
pub fn sample(trigger: &str) -> Option<&'static str> {
    let (connector, id) = trigger.split_once('.')?;
    let builtin = BUILTIN.iter().find(|builtin| builtin.id == connector)?;
    builtin.samples.iter().find(|(name, _)| *name == id).map(|(_, body)| *body)
}

/// What an action gave when its exchange with the provider was recorded, as in `slack.post_message`.
#[must_use]
pub fn example(action: &str) -> Option<Value> {
    let (connector, id) = action.split_once('.')?;
    let builtin = BUILTIN.iter().find(|builtin| builtin.id == connector)?;
    let (_, fixture) = builtin.exchanges.iter().find(|(name, _)| *name == id)?;
    Value::from_json(fixture.as_bytes()).ok()?.get("output").cloned()
}
