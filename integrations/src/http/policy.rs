//! Where requests may go: schemes, ports, names and every address that a name resolves to.
//!
//! The name is resolved here, all its addresses must pass, and only those are dialled, so that a name that
//! changes between check and use gains nothing. Hosts as decimal, octal or hexadecimal numbers were turned
//! into addresses by `url` before. The list of refused networks is that of the threat model (page 6.3).

use std::error::Error as StdError;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;
use url::{Host, Url};

/// Time for one name.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Names resolved at the same time.
const RESOLVE_MAX: usize = 32;
/// Ports of services that speak no HTTP, or that nobody wants to be reached through a flow.
const PORTS: &[u16] = &[
    0, 7, 9, 19, 20, 21, 22, 23, 25, 53, 69, 110, 111, 119, 135, 137, 138, 139, 143, 161, 389, 445, 465, 512, 513, 514,
    587, 636, 873, 993, 995, 1433, 1521, 2049, 2375, 2376, 2379, 2380, 3306, 3389, 4222, 5432, 5672, 5900, 6379, 6380,
    9042, 9092, 9200, 9300, 10250, 11211, 27017,
];

/// Names of this machine.
const LOCAL: &[&str] = &["localhost", "localhost.localdomain", "localhost6", "ip6-localhost", "ip6-loopback"];
/// Ends of names that only a private network knows.
const INSIDE: &[&str] = &[".internal", ".local", ".localdomain", ".home.arpa", ".lan"];

/// What the operator allows beyond the public internet. The default allows nothing beyond it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressPolicy {
    /// 127.0.0.0/8, ::1 and `localhost` may be called (the demo and tests need it).
    pub allow_loopback: bool,
    /// Hosts, as names or addresses, that may be called whatever they resolve to, on any port; and networks,
    /// as in `10.1.0.0/16`, whose addresses may be called.
    pub allow_hosts: Vec<String>,
}

/// A request that the policy refuses: it was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("blocked by egress policy: {why}; an operator can allow the host by the setting `egress_hosts`")]
pub struct Blocked {
    /// What was refused, in words, without the address.
    pub why: &'static str,
}

impl EgressPolicy {
    /// Checks everything of an address that is known before its name is resolved.
    ///
    /// # Errors
    /// [`Blocked`] with the part that is refused.
    pub fn check_url(&self, url: &Url) -> Result<(), Blocked> {
        let blocked = |why| Err(Blocked { why });
        if !matches!(url.scheme(), "http" | "https") {
            return blocked("only http and https addresses are called");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return blocked("an address with a user name or password in it is not called; use a header");
        }
        let Some(host) = url.host() else {
            return blocked("the address has no host");
        };
        let name = host_text(&host);
        if self.allows_host(&name) {
            return Ok(());
        }
        if url.port_or_known_default().is_none_or(|port| PORTS.contains(&port)) {
            return blocked("this port is not called");
        }
        match host {
            Host::Domain(_) => self.check_name(&name),
            Host::Ipv4(address) => self.check_address(IpAddr::V4(address)),
            Host::Ipv6(address) => self.check_address(IpAddr::V6(address)),
        }
    }

    fn check_name(&self, name: &str) -> Result<(), Blocked> {
        let local = LOCAL.contains(&name) || name.ends_with(".localhost");
        let inside =
            name == "metadata" || name.starts_with("metadata.") || INSIDE.iter().any(|end| name.ends_with(end));
        if (local && !self.allow_loopback) || inside {
            return Err(Blocked { why: "this name belongs to the machine or its network" });
        }
        Ok(())
    }

    /// Checks one address.
    ///
    /// # Errors
    /// [`Blocked`] if it is in a network that is refused.
    pub fn check_address(&self, address: IpAddr) -> Result<(), Blocked> {
        let kind = match address {
            IpAddr::V4(v4) => kind_v4(v4),
            IpAddr::V6(v6) => kind_v6(v6),
        };
        match kind {
            Kind::Public => Ok(()),
            Kind::Loopback if self.allow_loopback => Ok(()),
            _ if self.allows_network(address) => Ok(()),
            Kind::Loopback => Err(Blocked { why: "the host is this machine itself" }),
            Kind::Private => Err(Blocked { why: "the host is in a private network" }),
            Kind::Special => Err(Blocked { why: "the host is in a network for special use" }),
        }
    }

    fn allows_network(&self, address: IpAddr) -> bool {
        self.allow_hosts.iter().any(|allowed| in_network(allowed, address))
    }

    fn allows_host(&self, name: &str) -> bool {
        self.allow_hosts.iter().any(|allowed| allowed.trim_end_matches('.').eq_ignore_ascii_case(name))
    }
}

/// Whether a text is a network of the form `10.1.0.0/16`.
#[must_use]
pub fn is_network(text: &str) -> bool {
    text.split_once('/').is_some_and(|(base, bits)| match (base.parse(), bits.parse::<u32>()) {
        (Ok(IpAddr::V4(_)), Ok(bits)) => bits <= 32,
        (Ok(IpAddr::V6(_)), Ok(bits)) => bits <= 128,
        _ => false,
    })
}

/// Whether an address is in a network of the form `10.1.0.0/16`; anything else is no network.
#[must_use]
pub fn in_network(network: &str, address: IpAddr) -> bool {
    let Some((base, bits)) = network.split_once('/') else { return false };
    let (Ok(base), Ok(bits)) = (base.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            base.to_bits() & mask == address.to_bits() & mask
        }
        (IpAddr::V6(base), IpAddr::V6(address)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            base.to_bits() & mask == address.to_bits() & mask
        }
        _ => false,
    }
}

fn host_text(host: &Host<&str>) -> String {
    match host {
        Host::Domain(name) => name.trim_end_matches('.').to_ascii_lowercase(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Public,
    Loopback,
    Private,
    Special,
}

fn kind_v4(address: Ipv4Addr) -> Kind {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        (127, ..) => Kind::Loopback,
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => Kind::Private,
        // 0/8, shared 100.64/10, link-local, IETF 192.0.0/24, tests 198.18/15, multicast and everything above.
        (0 | 224..=255, ..)
        | (100, 64..=127, _)
        | (169, 254, _)
        | (192, 0, 0)
        | (192, 0, 2)
        | (192, 88, 99)
        | (198, 18..=19, _)
        | (198, 51, 100)
        | (203, 0, 113) => Kind::Special,
        _ => Kind::Public,
    }
}

fn kind_v6(address: Ipv6Addr) -> Kind {
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        kind_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Kind::Loopback,
        [0, 0, 0, 0, 0, 0, 0, 0] => Kind::Special,
        // Mapped ::ffff:0:0/96 and the old compatible ::/96.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => embedded(high, low),
        // Translated ::ffff:0:0:0/96.
        [0, 0, 0, 0, 0xffff, 0, high, low] => embedded(high, low),
        // NAT64, well-known and local prefix; the address stands in the last 32 bits.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x64, 0xff9b, 1, ..] => Kind::Special,
        // ISATAP: the address stands behind 0:5efe in whatever network.
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] if embedded(high, low) != Kind::Public => embedded(high, low),
        // 6to4 carries an address behind 2002.
        [0x2002, high, low, ..] => embedded(high, low),
        // Teredo, documentation, discard.
        [0x2001, 0 | 0xdb8, ..] | [0x100, 0, 0, 0, ..] => Kind::Special,
        [0xfc00..=0xfdff, ..] => Kind::Private,
        // Link-local, site-local, multicast.
        [0xfe80..=0xffff, ..] => Kind::Special,
        _ => Kind::Public,
    }
}

type Found<'a> = Pin<Box<dyn Future<Output = std::io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// Who knows the addresses of names.
pub(super) trait Names: Send + Sync + std::fmt::Debug {
    /// All addresses of a name.
    fn of<'a>(&'a self, name: &'a str) -> Found<'a>;
}

/// The machine's own resolver.
#[derive(Debug)]
pub(super) struct System;

impl Names for System {
    fn of<'a>(&'a self, name: &'a str) -> Found<'a> {
        Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
    }
}

/// Resolves names for the client, under the policy: what it gives is what is dialled.
pub(super) struct Resolver {
    policy: Arc<EgressPolicy>,
    names: Arc<dyn Names>,
    slots: Arc<Semaphore>,
}

impl Resolver {
    pub(super) fn new(policy: Arc<EgressPolicy>, names: Arc<dyn Names>) -> Self {
        Self { policy, names, slots: Arc::new(Semaphore::new(RESOLVE_MAX)) }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, names, slots) = (Arc::clone(&self.policy), Arc::clone(&self.names), Arc::clone(&self.slots));
        Box::pin(async move {
            let work = async {
                let _slot = slots.acquire_owned().await?;
                Ok::<Vec<SocketAddr>, Box<dyn StdError + Send + Sync>>(names.of(name.as_str()).await?)
            };
            let addresses = tokio::time::timeout(RESOLVE_TIMEOUT, work).await.map_err(|_| "no answer within 5 s")??;
            if addresses.is_empty() {
                return Err("it has no address".into());
            }
            if !policy.allows_host(&name.as_str().trim_end_matches('.').to_ascii_lowercase()) {
                for address in &addresses {
                    policy.check_address(address.ip())?;
                }
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// The policy's refusal inside a client error, if that was the cause.
pub(super) fn blocked_in(error: &reqwest::Error) -> Option<Blocked> {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(inner) = cause {
        if let Some(blocked) = inner.downcast_ref::<Blocked>() {
            return Some(blocked.clone());
        }
        cause = inner.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(policy: &EgressPolicy, url: &str, expected: Result<(), &str>) {
        let verdict = policy.check_url(&Url::parse(url).unwrap());
        match (&verdict, expected) {
            (Ok(()), Ok(())) => {}
            (Err(blocked), Err(part)) if blocked.why.contains(part) => {}
            _ => panic!("{url}: {verdict:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn only_the_public_internet_is_called() {
        let policy = EgressPolicy::default();
        for url in ["https://api.sendgrid.com/v3", "http://8.8.8.8:8080/", "https://[2606:4700::1111]/"] {
            check(&policy, url, Ok(()));
        }
        for (url, why) in [
            ("ftp://example.com/", "only http"),
            ("file:///etc/passwd", "only http"),
            ("https://user:pass@example.com/", "user name"),
            ("http://example.com:6379/", "port"),
            ("http://example.com:22/", "port"),
            ("http://localhost/", "belongs to the machine"),
            ("http://LOCALHOST./", "belongs to the machine"),
            ("http://a.localhost/", "belongs to the machine"),
            ("http://metadata.google.internal/", "belongs to the machine"),
            ("http://db.internal/", "belongs to the machine"),
            ("http://127.0.0.1/", "this machine itself"),
            ("http://2130706433/", "this machine itself"),
            ("http://0x7f.1/", "this machine itself"),
            ("http://0177.0.0.1/", "this machine itself"),
            ("http://[::1]/", "this machine itself"),
            ("http://[::ffff:127.0.0.1]/", "this machine itself"),
            ("http://[::127.0.0.1]/", "this machine itself"),
            ("http://[64:ff9b::7f00:1]/", "this machine itself"),
            ("http://[2002:7f00:1::]/", "this machine itself"),
            ("http://[::ffff:0:127.0.0.1]/", "this machine itself"),
            ("http://10.0.0.1/", "private network"),
            ("http://172.31.255.1/", "private network"),
            ("http://192.168.1.1/", "private network"),
            ("http://[fd00::1]/", "private network"),
            ("http://[::ffff:10.0.0.1]/", "private network"),
            ("http://169.254.169.254/latest/meta-data", "special use"),
            ("http://100.64.0.1/", "special use"),
            ("http://0.0.0.0/", "special use"),
            ("http://198.19.0.1/", "special use"),
            ("http://224.0.0.1/", "special use"),
            ("http://255.255.255.255/", "special use"),
            ("http://[::]/", "special use"),
            ("http://[fe80::1]/", "special use"),
            ("http://[fec0::1]/", "special use"),
            ("http://[ff02::1]/", "special use"),
            ("http://[2001::1]/", "special use"),
            ("http://[64:ff9b:1::1]/", "special use"),
            ("http://[2002:a9fe:a9fe::]/", "special use"),
        ] {
            check(&policy, url, Err(why));
        }
        check(&policy, "http://172.32.0.1/", Ok(()));
        check(&policy, "http://11.0.0.1/", Ok(()));
    }

    #[test]
    fn an_operator_opens_what_is_needed_and_no_more() {
        let loopback = EgressPolicy { allow_loopback: true, ..EgressPolicy::default() };
        check(&loopback, "http://127.0.0.1:39999/", Ok(()));
        check(&loopback, "http://localhost:8080/", Ok(()));
        check(&loopback, "http://[::1]:8080/", Ok(()));
        check(&loopback, "http://127.0.0.1:5432/", Err("port"));
        check(&loopback, "http://10.0.0.1/", Err("private network"));
        check(&loopback, "http://169.254.169.254/", Err("special use"));
        let networks = ["10.1.0.0/16", "fd00::/8", "nonsense/7", "1.2.3.4/99"].map(str::to_owned).to_vec();
        let private = EgressPolicy { allow_hosts: networks, ..EgressPolicy::default() };
        check(&private, "http://10.1.200.1/", Ok(()));
        check(&private, "http://[fd12::1]/", Ok(()));
        check(&private, "http://10.2.0.1/", Err("private network"));
        check(&private, "http://10.1.0.1:6379/", Err("port"));
        check(&private, "http://127.0.0.1/", Err("this machine"));
        let hosts =
            EgressPolicy { allow_hosts: vec!["Search.internal".into(), "10.1.2.3".into()], ..EgressPolicy::default() };
        check(&hosts, "http://search.internal:9200/", Ok(()));
        check(&hosts, "http://10.1.2.3/", Ok(()));
        check(&hosts, "http://10.1.2.4/", Err("private network"));
        check(&hosts, "http://x.search.internal/", Err("belongs to the machine"));
    }
}
