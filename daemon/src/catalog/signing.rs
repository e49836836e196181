//! How a trigger's deliveries are signed: by a scheme of this build, or as its author described.
//!
//! A name that this build does not know (written by a newer one) signs nothing: such a trigger refuses everything.

use std::sync::Arc;

use aura_protocol::flow::Hmac;
use aura_protocol::signature::{self, Generic, Scheme};

/// How deliveries are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signing {
    /// A scheme of this build.
    Known(&'static Scheme<'static>),
    /// Described in the trigger.
    Described(Arc<Generic>),
    /// A name that this build does not know.
    Unknown(String),
}

impl Signing {
    /// By name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        signature::scheme(name).map_or_else(|| Self::Unknown(name.to_owned()), Self::Known)
    }

    /// By description.
    #[must_use]
    pub fn described(hmac: &Hmac) -> Self {
        Generic::of(hmac)
            .map_or_else(|_| Self::Unknown("hmac".to_owned()), |generic| Self::Described(Arc::new(generic)))
    }

    /// `none` of these names is shown for anything else.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Known(scheme) => scheme.name,
            Self::Described(_) => "hmac",
            Self::Unknown(name) => name,
        }
    }

    /// The scheme, if it is one of this build.
    #[must_use]
    pub fn known(&self) -> Option<&'static Scheme<'static>> {
        match self {
            Self::Known(scheme) => Some(scheme),
            Self::Described(_) | Self::Unknown(_) => None,
        }
    }

    /// Hands the scheme to `then`; `None` if there is none.
    pub fn with<R>(&self, then: impl FnOnce(&Scheme<'_>) -> R) -> Option<R> {
        match self {
            Self::Known(scheme) => Some(then(scheme)),
            Self::Described(generic) => Some(generic.with(then)),
            Self::Unknown(_) => None,
        }
    }

    /// The headers of a description that may stand only once; those of schemes are known.
    pub fn own_headers(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::Described(generic) => Some(generic.headers()),
            Self::Known(_) | Self::Unknown(_) => None,
        }
        .into_iter()
        .flatten()
    }
}
