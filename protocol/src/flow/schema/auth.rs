//! How a delivery proves itself, as the schema of the flow file says it.
//!
//! Invariant: the keys are those that the reader takes; a test compares them.

use schemars::JsonSchema;

use super::Duration;

/// How a delivery proves itself.
#[derive(JsonSchema)]
#[schemars(rename = "Auth", untagged)]
pub(super) enum AuthFile {
    /// Nobody checks.
    None(NoneWord),
    /// `Authorization: Bearer …` with the value of a secret.
    Bearer(BearerFile),
    /// `Authorization: Basic …` with a user and the value of a secret.
    Basic(BasicFile),
    /// A header with the value of a secret.
    Header(HeaderFile),
    /// A signature.
    Scheme(SchemeFile),
    /// The HMAC of a sender that no scheme names.
    Hmac(HmacFile),
}

/// Nobody checks; must be written out.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(super) enum NoneWord {
    /// Nobody checks.
    None,
}

/// A bearer secret.
#[derive(JsonSchema)]
#[schemars(rename = "Bearer", deny_unknown_fields)]
pub(super) struct BearerFile {
    /// Name of the secret, never its value.
    bearer: String,
}

/// A user and a password.
#[derive(JsonSchema)]
#[schemars(rename = "BasicAuth", deny_unknown_fields)]
pub(super) struct BasicFile {
    /// Who.
    basic: BasicWayFile,
}

/// A user and a password.
#[derive(JsonSchema)]
#[schemars(rename = "Basic", deny_unknown_fields)]
pub(super) struct BasicWayFile {
    /// The user; no secret.
    user: String,
    /// Name of the secret that is the password, never its value.
    secret: String,
}

/// A header of the sender's.
#[derive(JsonSchema)]
#[schemars(rename = "HeaderAuth", deny_unknown_fields)]
pub(super) struct HeaderFile {
    /// Which.
    header: HeaderWayFile,
}

/// A header of the sender's.
#[derive(JsonSchema)]
#[schemars(rename = "Header", deny_unknown_fields)]
pub(super) struct HeaderWayFile {
    /// Name of the header, as in `X-Hook-Key`.
    name: String,
    /// Name of the secret that is its value, never its value.
    secret: String,
}

/// A sender that no scheme names.
#[derive(JsonSchema)]
#[schemars(rename = "HmacAuth", deny_unknown_fields)]
pub(super) struct HmacFile {
    /// How it signs.
    hmac: HmacWayFile,
}

/// How a sender signs.
#[derive(JsonSchema)]
#[schemars(rename = "Hmac", deny_unknown_fields)]
pub(super) struct HmacWayFile {
    /// Name of the secret, never its value.
    secret: String,
    /// The header that holds the signature.
    header: String,
    /// What stands before the signature, as in `sha256=`.
    prefix: Option<String>,
    /// `hex` (default) or `base64`.
    encoding: Option<String>,
    /// `sha256` (default), `sha512` or `sha1`.
    algorithm: Option<String>,
    /// The header that holds the time, in Unix seconds or milliseconds.
    timestamp: Option<String>,
    /// How far that time may be from ours; 5m.
    tolerance: Option<Duration>,
    /// What is signed: `{body}`, or `{timestamp}.{body}` where there is a timestamp.
    signed: Option<String>,
    /// The header that holds the id of a delivery.
    id: Option<String>,
}

/// A signature scheme and the secret that signs.
#[derive(JsonSchema)]
#[schemars(rename = "Scheme", deny_unknown_fields)]
pub(super) struct SchemeFile {
    /// As in `stripe`, `github` or `shopify_webhook`; `docs/connectors.md` lists all.
    scheme: String,
    /// Name of the secret, never its value.
    secret: String,
}
