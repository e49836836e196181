//! What home says to a relay, one HTTP request each.
//!
//! Invariant: a failure is one sentence without the token and without anything of an answer that a log should not have;
//! answers are bounded, and what is not in form is a failure. Bodies of deliveries are left as they came: no sink changes
//! them on the way, as at the door.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use aura_integrations::http::{EgressPolicy, Http, HttpRequest, HttpResponse};
use aura_protocol::relay::{
    BODY_PATH, BodyPiece, Numbered, ROUTES_MAX, ROUTES_PATH, TAKE_BYTES, TAKE_PATH, Take, Taken,
};
use aura_protocol::text::display;
use aura_protocol::wire;
use aura_storage::rows::relay::RelayRecord;
use url::Url;

/// Time for a request beside what it waits for.
const TIME: Duration = Duration::from_secs(30);
/// Most characters of an answer that a sentence repeats.
const SAID_MAX: usize = 200;

/// The way to one relay.
#[derive(Clone, Debug)]
pub struct Wire {
    http: Http,
    url: String,
    token: String,
}

impl Wire {
    /// The way to a relay of this record. Its operator chose the address, so it may be in a private network.
    ///
    /// # Errors
    /// The address is none.
    pub fn to(record: &RelayRecord) -> Result<Self, String> {
        let url = Url::parse(&record.url).map_err(|error| format!("its address is none: {error}"))?;
        let host = match url.host() {
            Some(url::Host::Domain(name)) => name.to_owned(),
            Some(url::Host::Ipv4(address)) => address.to_string(),
            Some(url::Host::Ipv6(address)) => address.to_string(),
            None => return Err("its address names no host".to_owned()),
        };
        let everywhere = ["0.0.0.0/0", "::/0"].map(str::to_owned);
        let allow_hosts = std::iter::once(host).chain(everywhere).collect();
        let policy = EgressPolicy { allow_loopback: true, allow_hosts };
        let http = Http::new(policy).map_err(|error| error.message)?;
        Ok(Self { http, url: record.url.clone(), token: record.token.clone() })
    }

    async fn send(&self, method: &str, path: &str, body: Vec<u8>, timeout: Duration) -> Result<HttpResponse, String> {
        let request = HttpRequest {
            method: method.to_owned(),
            url: format!("{}{path}", self.url),
            headers: vec![
                ("authorization".to_owned(), format!("Bearer {}", self.token)),
                ("content-type".to_owned(), "application/octet-stream".to_owned()),
            ],
            body,
            timeout,
            redirects: 0,
        };
        let answer = self.http.send(request, &AtomicBool::new(false)).await;
        let answer = answer.map_err(|(error, _)| error.message)?;
        match answer.status {
            200..=299 => Ok(answer),
            404 => Err("it answers like an address that it does not know: the token is another one, or it is no relay"
                .to_owned()),
            300..=399 => {
                Err(format!("it answers {}, which leads elsewhere; give the address it leads to", answer.status))
            }
            status => {
                let text: String = String::from_utf8_lossy(&answer.body).chars().take(SAID_MAX).collect();
                Err(format!("it answers {status}: {}", display(text.trim())))
            }
        }
    }

    /// Says what is stored here, and asks for more.
    ///
    /// # Errors
    /// A sentence.
    pub async fn take(&self, take: &Take) -> Result<Taken, String> {
        let body = wire::encode(take).map_err(|error| error.to_string())?;
        let timeout = TIME + Duration::from_millis(take.wait_ms);
        let answer = self.send("POST", TAKE_PATH, body, timeout).await?;
        wire::decode(&answer.body)
            .map_err(|error| format!("its answer is none of a relay: {}", display(&error.to_string())))
    }

    /// Sends the routes, encoded.
    ///
    /// # Errors
    /// A sentence.
    pub async fn routes(&self, encoded: Vec<u8>) -> Result<(), String> {
        if encoded.len() > ROUTES_MAX {
            return Err(format!("the routes have {} bytes, and a relay takes {ROUTES_MAX}", encoded.len()));
        }
        self.send("PUT", ROUTES_PATH, encoded, TIME).await.map(drop)
    }

    /// Reads a body that was too large for an answer.
    ///
    /// # Errors
    /// A sentence; also if it is not as long as was said.
    pub async fn body(&self, which: Numbered, bytes: usize) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        while body.len() < bytes {
            let offset = u64::try_from(body.len()).unwrap_or(u64::MAX);
            let asked = wire::encode(&BodyPiece { which, offset }).map_err(|error| error.to_string())?;
            let piece = self.send("POST", BODY_PATH, asked, TIME).await?.body;
            let most = usize::try_from(TAKE_BYTES).unwrap_or(usize::MAX);
            if piece.is_empty() || piece.len() > most || body.len() + piece.len() > bytes {
                return Err("a large body is not as long as the relay said".to_owned());
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}
