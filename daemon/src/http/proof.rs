//! Proof of a delivery over its raw bytes: fail closed, say little to the sender, say why in the log.
//!
//! A secret that vanished after publishing refuses like a wrong signature: the trigger is never left open.

use aura_protocol::rpc::Verdict;
use aura_protocol::signature::{self, Refusal, Request};

use crate::catalog::State;
use crate::catalog::routes::{Proof, Target};

/// Why a delivery is not proved: the part for the log of deliveries, and a sentence. The sender hears one sentence for
/// all reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unproved {
    /// The part that differed.
    pub verdict: Verdict,
    /// In one sentence.
    pub why: String,
}

impl From<Refusal> for Unproved {
    fn from(refusal: Refusal) -> Self {
        Self { verdict: refusal.verdict(), why: refusal.to_string() }
    }
}

/// Checks a delivery against its trigger, and says which secret it was.
///
/// # Errors
/// Why it is refused.
pub fn check(target: &Target, state: &State, request: &Request<'_>, now_ms: i64) -> Result<Verdict, Unproved> {
    if let Some(missing) = target.proof.missing_secret(state) {
        let why = format!("no secret configured, every delivery is refused: {missing}");
        return Err(Unproved { verdict: Verdict::NoSecret, why });
    }
    let Some(secret) = target.proof.secret() else { return Ok(Verdict::Open) };
    let values = secret.values(state, now_ms);
    let texts: Vec<&str> = values.iter().map(|value| value.as_str()).collect();
    let matched = match &target.proof {
        Proof::Open => return Ok(Verdict::Open),
        Proof::Bearer(_) => signature::bearer(&texts, request.headers),
        Proof::Basic(user, _) => signature::basic(user, &texts, request.headers),
        Proof::Header(name, _) => signature::header(name, &texts, request.headers),
        Proof::Signed { scheme, .. } => {
            let matched = scheme.with(|known| signature::matched(known, &texts, request, now_ms, None));
            let Some(matched) = matched else {
                let why = format!("this build does not know the signature scheme {}", scheme.name());
                return Err(Unproved { verdict: Verdict::BadSecret, why });
            };
            matched
        }
    };
    Ok(if matched? == 0 { Verdict::Proved } else { Verdict::ProvedBefore })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aura_integrations::redact::Sink;
    use aura_integrations::registry::Registry;
    use aura_protocol::rpc::{Actor, ConnectionAdd, Role};
    use aura_protocol::{RequestId, TenantId};
    use aura_storage::{Store, StoreOptions};

    use super::*;
    use crate::catalog::Catalog;
    use crate::clock::Clock;

    #[tokio::test]
    async fn a_connection_that_lost_its_signing_secret_refuses_with_one_sentence() {
        let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
        let catalog = Catalog::open(store, Arc::new(Registry::builtin()), Clock::system(), Sink::default()).unwrap();
        let (role, request) = (Role::Owner, RequestId::now());
        let actor = Actor { name: "test".to_owned(), role, tenant: TenantId::DEFAULT, request };
        let set = async |fields: &[(&str, &str)]| {
            let fields = fields.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            let add = ConnectionAdd { name: "shop".to_owned(), connector: "shopify".to_owned(), fields, keep_ms: None };
            catalog.connection_add(&actor, add).await.unwrap()
        };
        set(&[("shop", "a.myshopify.com"), ("access_token", "t"), ("webhook_secret", "hush")]).await;
        let flow = "aura: 1
flow: f
triggers:
  - { id: order, on: shopify.order_created, connection: shop }
steps:
  - id: a
    set: { b: 1 }
";
        catalog.apply(&actor, flow).await.unwrap();
        catalog.publish(&actor, "f").await.unwrap();
        let target = Arc::clone(catalog.now().routes().named("default", "f", "order").unwrap());
        let scheme = signature::scheme("shopify_webhook").unwrap();
        let prove = |secret: &str| {
            let headers = signature::sign(scheme, secret, b"{}", 0, "d");
            check(&target, &catalog.now(), &Request::post(&headers, b"{}"), 0)
        };
        assert_eq!(prove("hush"), Ok(Verdict::Proved));
        // A new token alone does not take the signing secret away.
        assert_eq!(set(&[("access_token", "u")]).await.secrets, ["access_token", "webhook_secret"]);
        assert_eq!(prove("hush"), Ok(Verdict::Proved));
        assert!(prove("rush").is_err());
        set(&[("webhook_secret", "")]).await;
        for secret in ["hush", ""] {
            let refused = prove(secret).unwrap_err();
            assert_eq!(refused.verdict, Verdict::NoSecret);
            assert_eq!(
                refused.why,
                "no secret configured, every delivery is refused: the connection shop has no `webhook_secret`"
            );
        }
    }
}
