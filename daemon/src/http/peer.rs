//! Who stands at the other end: the address of the connection, or what a trusted proxy says of it.
//!
//! The invariant: `X-Forwarded-…` is read only if the connection itself comes from a network that the operator
//! trusts; from anybody else these headers are words of a stranger.

use std::net::IpAddr;

use aura_integrations::http::in_network;
use axum::http::{HeaderMap, request};

/// The address of a connection's other end; part of every request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Most entries read of `X-Forwarded-For`.
const HOPS_MAX: usize = 32;

/// The proxies that the operator trusts: addresses and networks.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Vec<String>);

impl Proxies {
    /// These addresses, as in `10.0.0.7`, and networks, as in `10.0.0.0/8`.
    #[must_use]
    pub fn new(list: &[String]) -> Self {
        Self(list.to_vec())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an address is one of them.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|entry| entry.parse() == Ok(address) || in_network(entry, address))
    }

    /// Who sent a request, if a trusted proxy brought it: of the addresses it names the last that is no proxy.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        if self.0.is_empty() || !self.trusts(peer) {
            return None;
        }
        let mut client = peer.to_canonical();
        let lines: Vec<&str> =
            headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok()).collect();
        let hops = lines.iter().rev().flat_map(|line| line.rsplit(',')).take(HOPS_MAX);
        for hop in hops {
            // What cannot be read was written by nobody we trust.
            let Some(address) = address_of(hop.trim()) else { break };
            client = address;
            if !self.trusts(address) {
                break;
            }
        }
        Some(client)
    }

    /// The whole address of a request as its sender wrote it; `public_url` wins, a trusted proxy comes next.
    #[must_use]
    pub fn address(&self, public_url: &str, head: &request::Parts) -> String {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        if !public_url.is_empty() {
            return format!("{}{path}", public_url.trim_end_matches('/'));
        }
        let trusted = head.extensions.get::<Peer>().is_some_and(|peer| self.trusts(peer.0));
        let said = |name: &str| {
            let value = head.headers.get(name).filter(|_| trusted)?.to_str().ok()?;
            Some(value.split(',').next_back()?.trim()).filter(|value| !value.is_empty())
        };
        let scheme = said("x-forwarded-proto").filter(|scheme| matches!(*scheme, "http" | "https")).unwrap_or("http");
        let own = head.headers.get("host").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let host = said("x-forwarded-host").unwrap_or(own);
        format!("{scheme}://{host}{path}")
    }
}

/// `203.0.113.7`, `203.0.113.7:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn address_of(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().ok();
    let socket = || text.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    address.or_else(socket).or_else(bracketed).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn forwarded_words_count_from_trusted_proxies_only() {
        let proxies = Proxies::new(&["10.0.0.0/8".to_owned(), "2001:db8::1".to_owned(), "127.0.0.1".to_owned()]);
        let check = |peer: &str, lines: &[&str], expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            assert_eq!(proxies.client(ip(peer), &headers), expected.map(ip), "{peer} {lines:?}");
        };
        check("203.0.113.9", &["198.51.100.1"], None);
        check("10.1.2.3", &["198.51.100.1"], Some("198.51.100.1"));
        check("::ffff:10.1.2.3", &["198.51.100.1:4711"], Some("198.51.100.1"));
        check("10.1.2.3", &["1.1.1.1, 198.51.100.1, 10.9.9.9"], Some("198.51.100.1"));
        check("10.1.2.3", &["1.1.1.1", "198.51.100.1"], Some("198.51.100.1"));
        check("10.1.2.3", &["1.1.1.1, unknown"], Some("10.1.2.3"));
        check("10.1.2.3", &[], Some("10.1.2.3"));
        check("2001:db8::1", &["[2001:db8::77]:443"], Some("2001:db8::77"));
        assert_eq!(Proxies::default().client(ip("127.0.0.1"), &HeaderMap::new()), None);
    }

    #[test]
    fn the_address_is_what_its_sender_wrote() {
        let proxies = Proxies::new(&["127.0.0.1".to_owned()]);
        let check = |public: &str, peer: &str, expected: &str| {
            let request = Request::builder()
                .uri("/hooks/x?a=1")
                .header("host", "door:8470")
                .header("x-forwarded-proto", "https")
                .header("x-forwarded-host", "hooks.example.com");
            let mut head = request.body(()).unwrap().into_parts().0;
            head.extensions.insert(Peer(ip(peer)));
            assert_eq!(proxies.address(public, &head), expected, "{public} {peer}");
        };
        check("https://h.example/", "127.0.0.1", "https://h.example/hooks/x?a=1");
        check("", "127.0.0.1", "https://hooks.example.com/hooks/x?a=1");
        check("", "198.51.100.1", "http://door:8470/hooks/x?a=1");
    }
}
