//! `aura webhook test --provider-sample`: what a provider really sends, signed now, as a line for a shell.
//!
//! Invariant: a signature over a sample body is shown, since it proves this one body and nothing else; a token, password
//! or header value never is, but stands as a variable of the shell.

use aura_integrations::registry;
use aura_protocol::rpc::{WebhookSample, WebhookSampleQuery};
use aura_protocol::signature;
use aura_protocol::{EventId, WireError};

use super::{proof, sample};
use crate::catalog::routes::{Proof, Target};
use crate::rpc::Service;

/// A realistic body and the headers that tell its event, by scheme.
fn of_scheme(scheme: &str) -> Option<(&'static str, &'static [(&'static str, &'static str)])> {
    Some(match scheme {
        "stripe" => (
            r#"{"id":"evt_ID","object":"event","api_version":"2026-10-28.endive","created":CREATED,"type":"payment_intent.succeeded","livemode":false,"data":{"object":{"id":"pi_3ID","object":"payment_intent","amount":4200,"currency":"eur","status":"succeeded","receipt_email":"maria@example.com"}}}"#,
            &[("user-agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)")],
        ),
        "github" => (
            r#"{"ref":"refs/heads/main","before":"0000000000000000000000000000000000000000","after":"6113728f27ae82c7b1a177c8d03f9e96e0adf246","repository":{"id":1,"full_name":"acme/shop","private":true},"pusher":{"name":"maria","email":"maria@example.com"},"commits":[{"id":"6113728f27ae82c7b1a177c8d03f9e96e0adf246","message":"Correct the price of the blue chair","timestamp":"2026-11-22T10:00:00Z"}]}"#,
            &[("x-github-event", "push"), ("x-github-delivery", "ID"), ("user-agent", "GitHub-Hookshot/aura")],
        ),
        "shopify_webhook" => (
            r#"{"id":820982911946154508,"admin_graphql_api_id":"gid://shopify/Order/820982911946154508","email":"maria@example.com","created_at":"2026-11-22T10:00:00+01:00","currency":"EUR","total_price":"199.00","financial_status":"paid","line_items":[{"id":866550311766439020,"title":"Blue chair","quantity":1,"price":"199.00","sku":"CH-BLUE"}]}"#,
            &[
                ("x-shopify-topic", "orders/paid"),
                ("x-shopify-shop-domain", "acme.myshopify.com"),
                ("x-shopify-api-version", "2026-10"),
                ("x-shopify-event-id", "ID"),
                ("x-shopify-webhook-id", "ID"),
            ],
        ),
        "slack" => (
            r#"{"token":"sample","team_id":"T061EG9R6","api_app_id":"A0PNCHHK2","type":"event_callback","event_id":"EvID","event_time":CREATED,"event":{"type":"app_mention","user":"U061F7AUR","text":"<@U0LAN0Z89> is it everything?","ts":"1732269600.000100","channel":"C123ABC456"}}"#,
            &[("user-agent", "Slackbot 1.0 (+https://api.slack.com/robots)")],
        ),
        "standard_webhooks" | "svix" => (
            r#"{"type":"contact.created","timestamp":"2026-11-22T10:00:00Z","data":{"id":"ID","email":"maria@example.com","plan":"team"}}"#,
            &[],
        ),
        "hubspot_v1" | "hubspot_v2" | "hubspot_v3" => (
            r#"[{"eventId":CREATED,"subscriptionId":12345,"portalId":62515,"occurredAt":CREATED000,"subscriptionType":"deal.propertyChange","attemptNumber":0,"objectId":1246965,"propertyName":"dealstage","propertyValue":"closedwon","changeSource":"CRM"}]"#,
            &[],
        ),
        "notion" => (
            r#"{"id":"ID","timestamp":"2026-11-22T10:00:00.000Z","workspace_id":"13950b26-c203-4f3b-b97d-93ec06319565","type":"page.properties_updated","attempt_number":1,"entity":{"id":"153104cd-477e-809d-8dc4-ff2d96ae3090","type":"page"},"data":{"updated_properties":["Status"]}}"#,
            &[],
        ),
        "klaviyo" => (
            r#"{"data":[{"topic":"event:klaviyo.opened_email","external_id":"ID","payload":{"data":{"type":"event","attributes":{"timestamp":CREATED,"profile":{"email":"maria@example.com"}}}}}],"meta":{"version":"2026-07-15"}}"#,
            &[],
        ),
        "woocommerce" => (
            r#"{"id":727,"status":"processing","currency":"EUR","total":"29.35","billing":{"first_name":"Maria","email":"maria@example.com"},"line_items":[{"id":315,"name":"Woo Single #1","product_id":93,"quantity":2,"total":"6.00"}]}"#,
            &[
                ("x-wc-webhook-topic", "order.updated"),
                ("x-wc-webhook-delivery-id", "ID"),
                ("x-wc-webhook-source", "https://shop.example.com/"),
            ],
        ),
        "meta" => (
            r#"{"object":"page","entry":[{"id":"153125381133","time":CREATED,"changes":[{"field":"leadgen","value":{"leadgen_id":"444444444444","page_id":"153125381133","form_id":"555555555555","created_time":CREATED}}]}]}"#,
            &[],
        ),
        _ => return None,
    })
}

/// A delivery of the provider, signed now.
///
/// # Errors
/// No such endpoint, its secret is not set, or only its sender can sign.
pub fn of_provider(service: &Service, query: &WebhookSampleQuery) -> Result<WebhookSample, WireError> {
    let state = service.catalog.now();
    let target = state.routes().of_flow(&query.flow, query.trigger.as_deref())?;
    let now_ms = service.clock.wall_ms();
    let id = format!("test{}", EventId::now().short().to_ascii_lowercase());
    let (body, own) = body_of(&target, &id, now_ms);
    let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    headers.extend(own);
    let url = format!("{}/hooks/{}", service.reached.address(), target.endpoint);
    let request = signature::Request { method: "POST", url: &url, headers: &[], body: body.as_bytes() };
    let (mut valid_s, mut own) = (None, None);
    match &target.proof {
        Proof::Open => {}
        Proof::Bearer(_) => own = Some(("authorization".to_owned(), "Bearer $TOKEN".to_owned())),
        Proof::Basic(user, _) => own = Some(("authorization".to_owned(), basic(user))),
        Proof::Header(name, _) => own = Some((name.clone(), "$TOKEN".to_owned())),
        Proof::Signed { scheme, .. } => {
            let signed = proof(&target, &state, &request, now_ms, &id)?;
            headers.retain(|(name, _)| !signed.iter().any(|(other, _)| other == name));
            headers.extend(signed);
            valid_s = scheme.with(|scheme| scheme.window.map(|window| window.tolerance_s)).flatten();
        }
    }
    let curl = curl(&url, &headers, own.as_ref(), &body);
    headers.extend(own);
    Ok(WebhookSample { provider: target.proof.word().to_owned(), body, headers, curl, valid_s })
}

fn body_of(target: &Target, id: &str, now_ms: i64) -> (String, Vec<(String, String)>) {
    let created = now_ms.div_euclid(1000).to_string();
    let filled = |text: &str| text.replace("CREATED", &created).replace("ID", id);
    let on = target.published.flow.triggers.get(target.trigger).map_or("", |trigger| trigger.on.as_str());
    let of_scheme = of_scheme(target.proof.word());
    let mut headers: Vec<(String, String)> = of_scheme
        .map(|(_, own)| own.iter().map(|(name, value)| ((*name).to_owned(), filled(value))).collect())
        .unwrap_or_default();
    // The trigger's own event wins over the usual one of its scheme.
    headers.retain(|(name, _)| !target.matches.iter().any(|(own, _)| own == name));
    headers.extend(target.matches.iter().cloned());
    let body = match (registry::sample(on), of_scheme) {
        (Some(body), _) => body.to_owned(),
        (None, Some((body, _))) => filled(body),
        (None, None) => String::from_utf8(sample(id)).unwrap_or_default(),
    };
    (body, headers)
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The value of `Authorization` for this user, with the password from a variable of the shell.
fn basic(user: &str) -> String {
    format!("Basic $(printf %s {}\"$PASSWORD\" | base64 -w0)", quoted(&format!("{user}:")))
}

/// A line for a shell. Only `own` is read by the shell: what we wrote of a header that holds a variable.
fn curl(url: &str, headers: &[(String, String)], own: Option<&(String, String)>, body: &str) -> String {
    let mut line = format!("curl -i -X POST {}", quoted(url));
    for (name, value) in headers {
        line.push_str(" -H ");
        line.push_str(&quoted(&format!("{name}: {value}")));
    }
    if let Some((name, value)) = own {
        // The name is outside of what the shell reads; its value stands between double quotes.
        line.push_str(&format!(" -H {}\"{value}\"", quoted(&format!("{name}: "))));
    }
    line.push_str(" --data-binary ");
    line.push_str(&quoted(body));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_whose_sender_can_be_imitated_has_a_sample_that_is_json_and_names_its_delivery() {
        for scheme in signature::SCHEMES {
            let Some((body, own)) = of_scheme(scheme.name) else {
                assert_eq!(scheme.name, "sendgrid", "only its sender can sign");
                continue;
            };
            let body = body.replace("CREATED", "1732269600").replace("ID", "test1");
            serde_json::from_str::<serde_json::Value>(&body).unwrap_or_else(|error| panic!("{}: {error}", scheme.name));
            let mut headers: Vec<(String, String)> =
                own.iter().map(|(name, value)| ((*name).to_owned(), value.replace("ID", "test1"))).collect();
            let signed = signature::sign(scheme, "whsec_c2VjcmV0", body.as_bytes(), 1_732_269_600_000, "test1");
            headers.retain(|(name, _)| !signed.iter().any(|(other, _)| other == name));
            headers.extend(signed);
            let id = signature::delivery_id(scheme, &headers, body.as_bytes());
            assert!(id.is_some(), "{}", scheme.name);
        }
    }

    #[test]
    fn a_line_for_the_shell_cannot_leave_its_quotes() {
        let line = curl("http://h/'x", &[("a".into(), "b'$(c)".into())], None, "it's");
        assert_eq!(line, r"curl -i -X POST 'http://h/'\''x' -H 'a: b'\''$(c)' --data-binary 'it'\''s'");
        let own = ("authorization".to_owned(), basic("o'x';id>&2;'\"$(id)`id`"));
        let line = curl("http://h", &[], Some(&own), "{}");
        // A shell itself says what it makes of it.
        let script = format!("curl() {{ printf '%s\\n' \"$@\"; }}; PASSWORD=p; {line}");
        let said = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let coded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, "o'x';id>&2;'\"$(id)`id`:p");
        let text = String::from_utf8_lossy(&said.stdout);
        assert_eq!(text.lines().nth(5), Some(format!("authorization: Basic {coded}").as_str()), "{text}");
        assert!(said.stderr.is_empty() && text.lines().count() == 8, "{said:?}");
    }
}
