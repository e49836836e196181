//! Proof of a delivery over its raw bytes: fail closed, say little to the sender, say why in the log.
//!
//! A secret that vanished after publishing refuses like a wrong signature: the trigger is never left open.

use aura_protocol::signature;

use crate::catalog::State;
use crate::catalog::routes::{Proof, Target};

/// Checks a delivery against its trigger.
///
/// # Errors
/// Why it is refused, for the log; the sender hears one sentence for all reasons.
pub fn check(
    target: &Target,
    state: &State,
    headers: &[(String, String)],
    body: &[u8],
    now_ms: i64,
) -> Result<(), String> {
    if let Some(missing) = target.proof.missing_secret(state) {
        return Err(format!("no secret configured, every delivery is refused: {missing}"));
    }
    match &target.proof {
        Proof::Open => Ok(()),
        Proof::Bearer(secret) => {
            let Some(secret) = secret.value(state) else { return Err("no secret configured".to_owned()) };
            signature::bearer(&secret, headers).map_err(|refusal| refusal.to_string())
        }
        Proof::Signed { scheme, secret } => {
            let Some(known) = signature::scheme(scheme) else {
                return Err(format!("this build does not know the signature scheme {scheme}"));
            };
            let Some(secret) = secret.value(state) else { return Err("no secret configured".to_owned()) };
            signature::verify(known, &[secret.as_str()], headers, body, now_ms, None)
                .map_err(|refusal| refusal.to_string())
        }
    }
}
