//! Every signature scheme of this build, as data. `docs/connectors.md` shows the same table, made from here.
//!
//! A scheme of a webhook signs the body; one that does not cannot stand in [`SCHEMES`] (a test says so).

use super::{Algorithm, DeliveryId, Encoding, Family, Greeting, Hash, Key, Layout, Part, Scheme, Unit, Window};

/// The commonest form, from which the entries below say their differences: hexadecimal HMAC-SHA256 of the body.
const PLAIN: Scheme<'static> = Scheme {
    name: "",
    title: "",
    families: &[],
    layout: Layout::One { prefix: "" },
    encoding: Encoding::Hex,
    algorithm: Algorithm::Hmac(Hash::Sha256),
    signed: &[Part::Body],
    key: Key::Text,
    window: None,
    delivery: DeliveryId::Header,
    greeting: Greeting::None,
    success_status: 202,
    reply_within_ms: None,
};

const fn family(signature: &'static str) -> Family<'static> {
    Family { signature, timestamp: None, id: None, version: None }
}

/// Five minutes before and after.
const FIVE_MINUTES: Window = Window { tolerance_s: 300, both_ways: true, unit: Unit::Seconds };

/// Every scheme that a webhook can name.
pub static SCHEMES: &[Scheme<'static>] = &[
    // base64 of HMAC-SHA256 over the body; older deliveries have `X-Shopify-…` headers, Events ones `shopify-…`.
    // Admin-created webhooks are signed with the store's secret, an app's with its client secret.
    Scheme {
        name: "shopify_webhook",
        title: "Shopify",
        families: &[
            Family { id: Some("x-shopify-event-id"), ..family("x-shopify-hmac-sha256") },
            Family { id: Some("shopify-event-id"), ..family("shopify-hmac-sha256") },
        ],
        encoding: Encoding::Base64,
        success_status: 200,
        reply_within_ms: Some(5_000),
        ..PLAIN
    },
    // The secret is used with its `whsec_`. Any v1 may match (rolled secrets); v0 is ignored. Stripe's own
    // libraries refuse only what is too old.
    Scheme {
        name: "stripe",
        title: "Stripe",
        families: &[family("stripe-signature")],
        layout: Layout::Pairs { time: "t", signature: "v1" },
        signed: &[Part::Time, Part::Text("."), Part::Body],
        window: Some(Window { both_ways: false, ..FIVE_MINUTES }),
        delivery: DeliveryId::Body("id"),
        reply_within_ms: Some(10_000),
        ..PLAIN
    },
    // No time is signed: a repeat is told by the delivery id only. The older SHA-1 header is never read.
    Scheme {
        name: "github",
        title: "GitHub",
        families: &[Family { id: Some("x-github-delivery"), ..family("x-hub-signature-256") }],
        layout: Layout::One { prefix: "sha256=" },
        greeting: Greeting::Ping { header: "x-github-event", value: "ping" },
        reply_within_ms: Some(10_000),
        ..PLAIN
    },
    // Slack's Python library refuses times ahead as well, its JavaScript one does not: both ways is safer.
    Scheme {
        name: "slack",
        title: "Slack",
        families: &[Family { timestamp: Some("x-slack-request-timestamp"), ..family("x-slack-signature") }],
        layout: Layout::One { prefix: "v0=" },
        signed: &[Part::Text("v0:"), Part::Time, Part::Text(":"), Part::Body],
        window: Some(FIVE_MINUTES),
        delivery: DeliveryId::Body("event_id"),
        greeting: Greeting::Slack,
        success_status: 200,
        reply_within_ms: Some(3_000),
        ..PLAIN
    },
    // standardwebhooks.com; the key is the base 64 after `whsec_`.
    Scheme { name: "standard_webhooks", title: "Standard Webhooks", families: &[STANDARD], ..STANDARD_WEBHOOKS },
    // Svix sends the same under its own names, and sometimes under both.
    Scheme {
        name: "svix",
        title: "Svix",
        families: &[
            Family { timestamp: Some("svix-timestamp"), id: Some("svix-id"), ..family("svix-signature") },
            STANDARD,
        ],
        ..STANDARD_WEBHOOKS
    },
    // The body ends with CR LF, which is signed as well. No window: retries go on for 24 h with the time of the
    // first, so repeats are told by the ids of the events.
    Scheme {
        name: "sendgrid",
        title: "SendGrid",
        families: &[Family {
            timestamp: Some("x-twilio-email-event-webhook-timestamp"),
            ..family("x-twilio-email-event-webhook-signature")
        }],
        encoding: Encoding::Base64,
        algorithm: Algorithm::EcdsaP256,
        signed: &[Part::Time, Part::Body],
        key: Key::PublicKey,
        delivery: DeliveryId::Each { list: None, fields: &["sg_event_id"] },
        ..PLAIN
    },
    // Signs method and address, so `public_url` must be what HubSpot was given. Too old is refused, ahead is not.
    Scheme {
        name: "hubspot_v3",
        title: "HubSpot (v3)",
        families: &[Family { timestamp: Some("x-hubspot-request-timestamp"), ..family("x-hubspot-signature-v3") }],
        encoding: Encoding::Base64,
        signed: &[Part::Method, Part::LooseUrl, Part::Body, Part::Time],
        window: Some(Window { tolerance_s: 300, both_ways: false, unit: Unit::Millis }),
        ..HUBSPOT
    },
    // Before v3 HubSpot hashed the secret and the text without HMAC, and no time: take v3 where you can.
    Scheme {
        name: "hubspot_v2",
        title: "HubSpot (v2)",
        families: &[Family { version: Some((HUBSPOT_VERSION, "v2")), ..family("x-hubspot-signature") }],
        algorithm: Algorithm::Digest,
        signed: &[Part::Method, Part::Url, Part::Body],
        ..HUBSPOT
    },
    Scheme {
        name: "hubspot_v1",
        title: "HubSpot (v1)",
        families: &[Family { version: Some((HUBSPOT_VERSION, "v1")), ..family("x-hubspot-signature") }],
        algorithm: Algorithm::Digest,
        ..HUBSPOT
    },
    // The key is the verification token of the first, unsigned delivery.
    Scheme {
        name: "notion",
        title: "Notion",
        families: &[family("x-notion-signature")],
        layout: Layout::One { prefix: "sha256=" },
        delivery: DeliveryId::Body("id"),
        greeting: Greeting::Token { field: "verification_token" },
        ..PLAIN
    },
    // The body comes first, then the time. Klaviyo says no window; ours is five minutes.
    Scheme {
        name: "klaviyo",
        title: "Klaviyo",
        families: &[Family {
            timestamp: Some("klaviyo-timestamp"),
            id: Some("klaviyo-webhook-id"),
            ..family("klaviyo-signature")
        }],
        signed: &[Part::Body, Part::Time],
        window: Some(FIVE_MINUTES),
        delivery: DeliveryId::Each { list: Some("data"), fields: &["topic", "external_id"] },
        ..PLAIN
    },
    Scheme {
        name: "woocommerce",
        title: "WooCommerce",
        families: &[Family { id: Some("x-wc-webhook-delivery-id"), ..family("x-wc-webhook-signature") }],
        encoding: Encoding::Base64,
        greeting: Greeting::UnsignedPing { field: "webhook_id" },
        reply_within_ms: Some(5_000),
        ..PLAIN
    },
    // Signed are the bytes as sent, with `\u00eb` for ë. The older SHA-1 header is never read. A page's events of
    // one second look alike but for their content, so the bytes themselves tell repeats.
    Scheme {
        name: "meta",
        title: "Meta",
        families: &[family("x-hub-signature-256")],
        layout: Layout::One { prefix: "sha256=" },
        delivery: DeliveryId::Digest,
        greeting: Greeting::HubChallenge,
        success_status: 200,
        ..PLAIN
    },
];

/// Shopify's signed addresses: the callback of an installation (`hmac`) and calls through its app proxy
/// (`signature`). No webhook: nothing of a body is signed.
pub static SHOPIFY_QUERY: Scheme<'static> = Scheme {
    name: "shopify_query",
    title: "Shopify addresses",
    layout: Layout::Query,
    signed: &[],
    window: Some(Window { tolerance_s: 90, both_ways: true, unit: Unit::Seconds }),
    success_status: 200,
    ..PLAIN
};

const STANDARD: Family<'static> =
    Family { timestamp: Some("webhook-timestamp"), id: Some("webhook-id"), ..family("webhook-signature") };

const STANDARD_WEBHOOKS: Scheme<'static> = Scheme {
    layout: Layout::List { prefix: "v1," },
    encoding: Encoding::Base64,
    signed: &[Part::Id, Part::Text("."), Part::Time, Part::Text("."), Part::Body],
    key: Key::Base64 { prefix: "whsec_" },
    window: Some(FIVE_MINUTES),
    reply_within_ms: Some(15_000),
    ..PLAIN
};

const HUBSPOT_VERSION: &str = "x-hubspot-signature-version";

const HUBSPOT: Scheme<'static> = Scheme {
    delivery: DeliveryId::Each { list: None, fields: &["eventId", "subscriptionId", "occurredAt"] },
    reply_within_ms: Some(5_000),
    ..PLAIN
};
