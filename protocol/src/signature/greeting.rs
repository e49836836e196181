//! Handshakes: what vendors send before or beside events, and what they want to hear.
//!
//! Those that are signed are answered after the proof ([`handshake`]). The few that come unsigned
//! ([`unsigned`]) start nothing, change nothing and tell nothing that their sender does not know already.

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{Greeting, Request, Scheme};

/// Longest challenge that is sent back, in bytes.
const CHALLENGE_MAX: usize = 1024;
/// Longest body of an unsigned handshake that is read, in bytes.
const UNSIGNED_MAX: usize = 4096;
/// Longest token that is kept, in bytes.
const TOKEN_MAX: usize = 256;

/// A delivery that only asks whether somebody is there: answered at once, it starts no flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// Status of the answer.
    pub status: u16,
    /// Body of the answer, plain text.
    pub body: String,
}

/// An unsigned handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsigned {
    /// Answer this and do nothing else.
    Answer(Handshake),
    /// The vendor names the token that will sign its deliveries: keep it for the operator, who has to show it to
    /// the vendor and to add it as the secret. It is no secret of ours before that.
    Token(String),
    /// The agreed word is missing or another one: refuse with 403.
    Denied,
}

/// The answer to a signed handshake of the vendor; `None` if the delivery is an event.
///
/// Slack signs `url_verification` and wants its challenge back; GitHub signs a `ping`.
#[must_use]
pub fn handshake(scheme: &Scheme<'_>, headers: &[(String, String)], body: &[u8]) -> Option<Handshake> {
    let fine = |body: String| Handshake { status: 200, body };
    match scheme.greeting {
        Greeting::Slack => {
            if ssl_check(body) {
                return Some(fine(String::new()));
            }
            // Events are large, and a handshake is not.
            let fields: Fields = (body.len() <= UNSIGNED_MAX).then(|| serde_json::from_slice(body).ok())??;
            (fields.kind.as_deref() == Some("url_verification"))
                .then(|| fine(fields.challenge.filter(|text| plain(text)).unwrap_or_default()))
        }
        Greeting::Ping { header, value } => {
            (Request::post(headers, body).header(header) == Some(value)).then(|| fine(String::new()))
        }
        Greeting::None | Greeting::HubChallenge | Greeting::Token { .. } | Greeting::UnsignedPing { .. } => None,
    }
}

/// What an unsigned request is to this scheme, if it is a handshake; `None`: it has to prove itself.
///
/// `agreed` is the verify token of the connection (Meta). A token handshake counts only while no secret is set:
/// once there is one, nobody can bring another.
#[must_use]
pub fn unsigned(
    scheme: &Scheme<'_>,
    request: &Request<'_>,
    agreed: Option<&str>,
    secret_set: bool,
) -> Option<Unsigned> {
    if scheme.families.iter().any(|family| request.header(family.signature).is_some()) {
        return None;
    }
    match scheme.greeting {
        // Slack looks at the certificate of a command's address now and then; its libraries answer before any proof.
        Greeting::Slack => {
            let asks = match request.method {
                "GET" => ssl_check(request.query().as_bytes()),
                _ => ssl_check(request.body),
            };
            asks.then(|| Unsigned::Answer(Handshake { status: 200, body: String::new() }))
        }
        Greeting::HubChallenge if request.method == "GET" => Some(hub(request, agreed)),
        Greeting::Token { field } if request.method == "POST" && !secret_set => {
            token(field, request.body).map(Unsigned::Token)
        }
        Greeting::UnsignedPing { field } if request.method == "POST" => {
            let number = std::str::from_utf8(request.body).ok()?.strip_prefix(field)?.strip_prefix('=')?;
            let fits = (1..=20).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
            fits.then(|| Unsigned::Answer(Handshake { status: 200, body: String::new() }))
        }
        _ => None,
    }
}

/// The token that the body of a handshake names in this field ([`Greeting::Token`]).
#[must_use]
pub fn token(field: &str, body: &[u8]) -> Option<String> {
    let small = Some(body).filter(|body| body.len() <= UNSIGNED_MAX)?;
    let body: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(small).ok()?;
    let token = body.get(field)?.as_str()?;
    let fits = !token.is_empty() && token.len() <= TOKEN_MAX && token.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| token.to_owned())
}

/// Whether a form says `ssl_check=1`, wherever in it: Slack's order is not documented.
fn ssl_check(form: &[u8]) -> bool {
    form.len() <= UNSIGNED_MAX
        && form_urlencoded::parse(form).take(16).any(|(name, value)| name == "ssl_check" && value == "1")
}

fn hub(request: &Request<'_>, agreed: Option<&str>) -> Unsigned {
    let (mut mode, mut challenge, mut token) = (None, None, None);
    for (name, value) in form_urlencoded::parse(request.query().as_bytes()).take(16) {
        let place = match name.as_ref() {
            "hub.mode" => &mut mode,
            "hub.challenge" => &mut challenge,
            "hub.verify_token" => &mut token,
            _ => continue,
        };
        if place.replace(value.into_owned()).is_some() {
            return Unsigned::Denied;
        }
    }
    let (Some(agreed), Some(token)) = (agreed.filter(|agreed| !agreed.is_empty()), token) else {
        return Unsigned::Denied;
    };
    let same = bool::from(Sha256::digest(token.as_bytes()).ct_eq(&Sha256::digest(agreed.as_bytes())));
    match (mode.as_deref(), challenge) {
        (Some("subscribe"), Some(challenge)) if same && plain(&challenge) => {
            Unsigned::Answer(Handshake { status: 200, body: challenge })
        }
        _ => Unsigned::Denied,
    }
}

/// Text that may be sent back: short, and nothing in it that a browser would act on.
fn plain(text: &str) -> bool {
    text.len() <= CHALLENGE_MAX && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>'))
}

#[derive(Deserialize)]
struct Fields {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    challenge: Option<String>,
}
