//! A delivery as a request to a program of this machine: address, headers, and the body as it came.
//!
//! Invariant: pure. The body is never touched and no header is changed; left out are those of the connection that it
//! came over, and added are ours, whose names nobody else can use.

use aura_protocol::rpc::{DeliveryRow, RawDelivery};
use aura_protocol::text::display;
use aura_protocol::{Code, WireError};
use ureq::http::{HeaderName, HeaderValue, Method, Uri};

/// Headers that belong to a connection or to a proxy on the way, not to what was sent.
const OF_THE_WAY: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// What ours begin with.
const OURS: &str = "aura-";

/// Where copies go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `http://host:port`.
    base: String,
    /// Path without query.
    path: String,
    /// Query without `?`.
    query: String,
    /// The path of the delivery is appended.
    append: bool,
}

impl Place {
    /// Reads `--to`: an address, `localhost:3000/hook`, or a port.
    ///
    /// # Errors
    /// It is no address of HTTP in the clear.
    pub fn read(text: &str, keep_path: bool) -> Result<Self, WireError> {
        let wrong = |why: &str| {
            WireError::new(Code::Invalid, format!("--to {} {why}", display(text)))
                .hint("give an address as in http://127.0.0.1:3000/hook, or only a port")
        };
        let first = text.split(['/', '?']).next().unwrap_or_default();
        let port = first.parse::<u16>().is_ok_and(|port| port > 0);
        let whole = match text {
            // A bare number would be read as an address by itself.
            _ if port => format!("http://127.0.0.1:{text}"),
            address if address.contains("://") => address.to_owned(),
            address => format!("http://{address}"),
        };
        let uri: Uri = whole.parse().map_err(|_| wrong("is no address"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(wrong("asks for TLS, and copies go in the clear to a program of this machine"));
            }
            _ => return Err(wrong("is no address of HTTP")),
        }
        let authority = uri.authority().filter(|it| !it.host().is_empty()).ok_or_else(|| wrong("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("has a name or password in it, which would not be sent"));
        }
        let written = whole.split_once("://").map_or("", |(_, rest)| rest);
        let slash = written.split(['?', '#']).next().is_some_and(|address| address.ends_with('/'));
        Ok(Self {
            base: format!("http://{authority}"),
            path: uri.path().to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
            append: keep_path || slash,
        })
    }

    /// Where copies go, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        let Self { base, path, append, .. } = self;
        let more = if *append { format!("{}/…", path.trim_end_matches('/')) } else { path.clone() };
        format!("{base}{more}")
    }

    /// The address of one delivery.
    fn of(&self, path: &str, query: &str) -> String {
        let path = match self.append {
            true => format!("{}/{}", self.path.trim_end_matches('/'), path.trim_start_matches('/')),
            false => self.path.clone(),
        };
        let query = [self.query.as_str(), query].into_iter().filter(|part| !part.is_empty());
        let query = query.collect::<Vec<_>>().join("&");
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}{path}{mark}{query}", self.base)
    }
}

/// A request that is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Method.
    pub method: Method,
    /// The whole address.
    pub uri: Uri,
    /// Headers in their order; length and host are the sender's to add.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Copy {
    /// The copy of a delivery.
    ///
    /// # Errors
    /// Why there can be none, in a few words.
    pub fn of(place: &Place, row: &DeliveryRow, raw: RawDelivery) -> Result<Self, String> {
        let method = Method::from_bytes(raw.method.as_bytes()).map_err(|_| "its method is none".to_owned())?;
        let uri = place.of(&raw.path, &raw.query);
        let uri: Uri = uri.parse().map_err(|_| "its path or query is no part of an address".to_owned())?;
        let named = raw.headers.iter().filter(|(name, _)| name == "connection");
        let named: Vec<String> =
            named.flat_map(|(_, value)| value.split(',').map(|name| name.trim().to_ascii_lowercase())).collect();
        let passes = |name: &str| {
            !OF_THE_WAY.contains(&name) && !name.starts_with(OURS) && !named.iter().any(|known| known == name)
        };
        let mut headers = Vec::with_capacity(raw.headers.len() + 5);
        for (name, value) in raw.headers.iter().filter(|(name, _)| passes(name)) {
            let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
            else {
                return Err(format!("its header {} cannot be sent", display(name)));
            };
            headers.push((name, value));
        }
        let event = row.event.map(|event| event.to_string()).unwrap_or_default();
        let endpoint = if row.flow.is_empty() { String::new() } else { format!("{}/{}", row.flow, row.trigger) };
        let ours = [
            ("aura-delivery-id", row.id.to_string()),
            ("aura-event-id", event),
            ("aura-delivery-endpoint", endpoint),
            ("aura-delivery-path", raw.path),
            ("aura-delivery-verdict", row.verdict.word().to_owned()),
        ];
        for (name, value) in ours.into_iter().filter(|(_, value)| !value.is_empty()) {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.push((HeaderName::from_static(name), value));
            }
        }
        Ok(Self { method, uri, headers, body: raw.body })
    }
}

#[cfg(test)]
mod tests {
    use aura_protocol::EventId;
    use aura_protocol::rpc::Verdict;

    use super::*;

    #[test]
    fn an_address_is_read_as_people_write_it_and_refused_with_a_reason() {
        let check = |text: &str, keep: bool, path: &str, expected: &str| {
            let place = Place::read(text, keep).unwrap();
            assert_eq!(place.of(path, "q=1"), expected, "{text}");
        };
        check("http://127.0.0.1:3000/hook", false, "/hooks/a", "http://127.0.0.1:3000/hook?q=1");
        check("http://127.0.0.1:3000/hook", true, "/hooks/a", "http://127.0.0.1:3000/hook/hooks/a?q=1");
        check("http://127.0.0.1:3000/in/", false, "/hooks/a", "http://127.0.0.1:3000/in/hooks/a?q=1");
        check("http://127.0.0.1:3000/in/?k=v", false, "/a", "http://127.0.0.1:3000/in/a?k=v&q=1");
        check("localhost:3000/hook?k=v", false, "/a", "http://localhost:3000/hook?k=v&q=1");
        check("localhost:3000", false, "/a", "http://localhost:3000/?q=1");
        check("localhost:3000/", false, "/a", "http://localhost:3000/a?q=1");
        check("3000/in/", false, "/a", "http://127.0.0.1:3000/in/a?q=1");
        check("3000?k=v", false, "/a", "http://127.0.0.1:3000/?k=v&q=1");
        check("3000", true, "/a", "http://127.0.0.1:3000/a?q=1");
        check("http://[::1]:80/x", false, "/a", "http://[::1]:80/x?q=1");
        assert_eq!(Place::read("3000/hook", false).unwrap().shown(), "http://127.0.0.1:3000/hook");
        assert_eq!(Place::read("3000/in/", false).unwrap().shown(), "http://127.0.0.1:3000/in/…");
        let refused = |text: &str, part: &str| {
            let error = Place::read(text, false).unwrap_err();
            assert!(error.message.contains(part), "{text}: {error}");
        };
        refused("https://127.0.0.1/x", "TLS");
        refused("ftp://127.0.0.1/x", "no address of HTTP");
        refused("http://user:hush@127.0.0.1/x", "password");
        refused("http://", "no address");
        refused("a b", "no address");
    }

    #[test]
    fn the_body_and_what_proves_it_go_on_and_what_belongs_to_the_way_does_not() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let raw = RawDelivery {
            method: "POST".to_owned(),
            path: "/hooks/abc".to_owned(),
            headers: vec![
                header("host", "hooks.example.com"),
                header("connection", "keep-alive, X-Hop"),
                header("x-hop", "1"),
                header("content-length", "4"),
                header("transfer-encoding", "chunked"),
                header("stripe-signature", "t=1,v1=ab"),
                header("content-encoding", "gzip"),
                header("x-twice", "1"),
                header("x-twice", "2"),
                header("aura-event-id", "evt_of_somebody_else"),
                header("x-name", "J\u{fc}rgen"),
            ],
            body: vec![0, 255, 13, 10],
            ..RawDelivery::default()
        };
        let event = EventId::from_parts(7, &[7; 10]);
        let row = DeliveryRow {
            flow: "shop".to_owned(),
            trigger: "paid".to_owned(),
            event: Some(event),
            verdict: Verdict::Proved,
            ..DeliveryRow::default()
        };
        let copy = Copy::of(&Place::read("3000", false).unwrap(), &row, raw.clone()).unwrap();
        let sent: Vec<(String, String)> = copy
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let event = event.to_string();
        let id = DeliveryId::default().to_string();
        let expected = [
            ("stripe-signature", "t=1,v1=ab"),
            ("content-encoding", "gzip"),
            ("x-twice", "1"),
            ("x-twice", "2"),
            ("x-name", "J\u{fc}rgen"),
            ("aura-delivery-id", id.as_str()),
            ("aura-event-id", event.as_str()),
            ("aura-delivery-endpoint", "shop/paid"),
            ("aura-delivery-path", "/hooks/abc"),
            ("aura-delivery-verdict", "proved"),
        ];
        assert_eq!(sent, expected.map(|(name, value)| header(name, value)));
        assert_eq!(copy.body, [0, 255, 13, 10]);
        let evil = RawDelivery { headers: vec![header("x-a", "1\r\nx-b: 2")], ..raw };
        let error = Copy::of(&Place::read("3000", false).unwrap(), &row, evil).unwrap_err();
        assert!(error.contains("x-a"), "{error}");
    }

    use aura_protocol::DeliveryId;
}
