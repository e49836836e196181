//! Addresses that end a wait: `…/c/{code}` on the HTTP door.
//!
//! A code carries run and step and a keyed hash of both, so nothing of it is stored and nobody can make one. It ends
//! one wait, once: what it ends is in the run's journal, and afterwards it ends nothing.

use std::sync::Arc;

use aura_protocol::{RunId, TenantId, Value};
use aura_storage::{Store, Txn};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;

use super::core::scope::Links;
use super::core::{Input, Refused};
use super::driver::{Driver, EngineError};

/// Longest code, in bytes: the path of a step within some maps.
const CODE_MAX: usize = 1024;

/// Makes addresses of one tenant.
pub(crate) struct DoorLinks {
    /// Signs.
    pub store: Store,
    /// Whose.
    pub tenant: TenantId,
    /// Where the door is reached.
    pub base: Arc<str>,
}

impl Links for DoorLinks {
    fn callback(&self, run: RunId, path: &str) -> String {
        let mac = mac(&self.store, self.tenant, run, path);
        let code = BASE64.encode([run.bytes().as_slice(), &mac, path.as_bytes()].concat());
        format!("{}/c/{code}", self.base.trim_end_matches('/'))
    }

    fn approval(&self, run: RunId, path: &str, account: &str) -> String {
        let token = super::asked::token(&self.store, self.tenant, run, path, account);
        format!("{}/a/{token}", self.base.trim_end_matches('/'))
    }
}

fn mac(store: &Store, tenant: TenantId, run: RunId, path: &str) -> [u8; 16] {
    store.index_hash(tenant, "callback", &[&run.bytes(), path.as_bytes()])
}

/// Run and step of a code that this installation made.
pub(super) fn opened(store: &Store, tenant: TenantId, code: &str) -> Option<(RunId, String)> {
    let bytes = BASE64.decode(code).ok().filter(|_| code.len() <= CODE_MAX)?;
    let (run, rest) = bytes.split_first_chunk::<16>()?;
    let (given, path) = rest.split_first_chunk::<16>()?;
    let (run, path) = (RunId::from_bytes(*run), std::str::from_utf8(path).ok()?);
    let wanted = mac(store, tenant, run, path);
    bool::from(subtle::ConstantTimeEq::ct_eq(wanted.as_slice(), given.as_slice())).then(|| (run, path.to_owned()))
}

/// What became of a call to such an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalledBack {
    /// It ended the wait, or will as soon as the step waits.
    Taken,
    /// It had come before; nothing changed.
    Repeated,
    /// Its time is over.
    Over,
    /// There is no such address.
    Unknown,
}

impl Driver {
    /// Somebody called the address of a wait.
    pub(crate) async fn called_back(
        self: &Arc<Self>,
        tenant: TenantId,
        code: &str,
        data: Value,
    ) -> Result<CalledBack, EngineError> {
        let Some((run, path)) = opened(&self.deps.store, tenant, code) else { return Ok(CalledBack::Unknown) };
        let signal = Input::Signal { path, data, by: "callback".to_owned() };
        match self.transition(tenant, run, signal, Txn::new()).await {
            Ok(_) => Ok(CalledBack::Taken),
            Err(EngineError::Refused(Refused::Answered(_))) => {
                // What came first may still be on its way to the disk.
                self.deps.store.commit(Txn::new()).await?;
                Ok(CalledBack::Repeated)
            }
            Err(EngineError::Refused(Refused::TooMuch(why))) => Err(EngineError::Refused(Refused::TooMuch(why))),
            Err(EngineError::Refused(_)) => Ok(CalledBack::Over),
            Err(EngineError::NotFound(_)) => Ok(CalledBack::Unknown),
            Err(error) => Err(error),
        }
    }
}
