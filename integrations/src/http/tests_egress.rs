//! Every form in which an address can be written that must not be called, against a canary that counts.
//!
//! The canary listens on the loopback, on IPv4 and IPv6. A form that gets through shows as a connection there; the
//! same forms under a policy that allows the loopback show that the canary would have noticed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::AtomicUsize;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::fakes::{Behaviour, FakeHandle, Reply};

/// Counts connections.
struct Canary {
    port: u16,
    calls: Arc<AtomicUsize>,
}

impl Canary {
    async fn start() -> Self {
        let calls = Arc::new(AtomicUsize::new(0));
        let four = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
        let port = four.local_addr().unwrap().port();
        let six = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await;
        for listener in [Some(four), six.ok()].into_iter().flatten() {
            let calls = Arc::clone(&calls);
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    calls.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(async move {
                        let _ = stream.read(&mut [0; 1024]).await;
                        let _ = stream
                            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                            .await;
                    });
                }
            });
        }
        Self { port, calls }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

/// Hosts that mean this machine, whatever they look like.
const LOOPBACK: &[&str] = &[
    "127.0.0.1",
    "127.0.0.2",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "127.127.127.127",
    "2130706433",
    "0x7f000001",
    "0x7F000001",
    "017700000001",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "0x7f.1",
    "0177.1",
    "127.0x0.0x0.0x1",
    "127.00.00.01",
    "0x7f.0x0.0x0.0x1",
    "00000000177.0.0.1",
    "127.0.0.1.",
    "127.1.",
    "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
    "127\u{3002}0\u{3002}0\u{3002}1",
    "127\u{ff0e}0\u{ff0e}0\u{ff0e}1",
    "\u{2460}\u{2461}\u{2466}.0.0.1",
    "%31%32%37.0.0.1",
    "127.0.0.%31",
    "1\u{ad}27.0.0.1",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "LocalHost.",
    "a.localhost",
    "a.b.localhost",
    "127.0.0.1.localhost",
    "l\u{ff4f}calhost",
    "loc%61lhost",
    "\u{24db}ocalhost",
    "localhost.localdomain",
    "localhost6",
    "ip6-localhost",
    "ip6-loopback",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::0001]",
    "[0::1]",
    "[::0:1]",
    "[::ffff:127.0.0.1]",
    "[::FFFF:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::ffff:127.1.2.3]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[::ffff:0:127.0.0.1]",
    "[::ffff:0:7f00:1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:7f00:0001::1]",
    "[2002:7f00:1:ffff::1]",
    "[fe80::5efe:127.0.0.1]",
    "[2001:db8::5efe:7f00:1]",
    "[2600::5efe:127.0.0.1]",
    "[2600::200:5efe:127.0.0.1]",
];

/// Hosts of private and special networks: metadata services, neighbours, nobody.
const ELSEWHERE: &[&str] = &[
    "0.0.0.0",
    "0",
    "0x0",
    "00.00.00.00",
    "0.1.2.3",
    "0.0.0.0.",
    "10.0.0.1",
    "10.255.255.255",
    "0xa.1",
    "167772161",
    "012.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "169.254.169.254",
    "169.254.1",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "2886729729",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "3232235521",
    "0xc0.0xa8.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "4294967295",
    "[::]",
    "[0::0]",
    "[::ffff:0.0.0.0]",
    "[::ffff:10.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[::169.254.169.254]",
    "[64:ff9b::169.254.169.254]",
    "[64:ff9b::a00:1]",
    "[64:ff9b:1::1]",
    "[64:ff9b:1:ffff::7f00:1]",
    "[2002:a9fe:a9fe::1]",
    "[2002:a00:1::]",
    "[2002:c0a8:1::]",
    "[2001::1]",
    "[2001:0:7f00:1::]",
    "[2001:db8::1]",
    "[fc00::1]",
    "[fd00::1]",
    "[fd00:ec2::254]",
    "[fdff:ffff::1]",
    "[fe80::1]",
    "[febf::1]",
    "[fec0::1]",
    "[feff::1]",
    "[ff02::1]",
    "[ff0e::1]",
    "[100::1]",
    "[::ffff:0:10.0.0.1]",
    "[2600::5efe:10.0.0.1]",
    "metadata",
    "metadata.google.internal",
    "METADATA.google.internal.",
    "metadata.azure.com",
    "metadata.a.example",
    "instance-data.ec2.internal",
    "db.internal",
    "printer.local",
    "router.lan",
    "nas.home.arpa",
    "box.localdomain",
];

fn get(url: String) -> HttpRequest {
    let timeout = Duration::from_secs(5);
    HttpRequest { method: "GET".into(), url, timeout, redirects: 5, ..HttpRequest::default() }
}

async fn refused(http: &Http, url: &str) {
    let sent = AtomicBool::new(false);
    match http.send(get(url.to_owned()), &sent).await {
        Ok(response) => panic!("{url} was called and answered {}", response.status),
        Err((error, reach)) => {
            assert_eq!((error.class, reach), (ErrorClass::Invalid, Reach::Unsent), "{url}: {}", error.message);
            // The forms that are no address at all are refused sooner.
            let blocked =
                error.message.contains("blocked by egress policy") || error.message.contains("is not an address");
            assert!(blocked && !sent.load(Ordering::Acquire), "{url}: {}", error.message);
        }
    }
}

#[tokio::test]
async fn no_form_of_an_address_reaches_this_machine_or_its_network() {
    let canary = Canary::start().await;
    let strict = Http::new(EgressPolicy::default()).unwrap();
    let mut forms = 0;
    for host in LOOPBACK.iter().chain(ELSEWHERE) {
        refused(&strict, &format!("http://{host}:{}/", canary.port)).await;
        forms += 1;
    }
    let port = canary.port;
    for url in [
        format!("http:127.0.0.1:{port}/"),
        format!("http:/127.0.0.1:{port}/"),
        format!("http:\\\\127.0.0.1:{port}/"),
        format!("http://\t127.0.0.1:{port}/"),
        format!("ht\ntp://127.0.0.1:{port}/"),
        format!("  http://127.0.0.1:{port}/  "),
        format!("http://8.8.8.8@127.0.0.1:{port}/"),
        format!("http://user:pw@127.0.0.1:{port}/"),
        format!("http://127.0.0.1:{port}@8.8.8.8/"),
        format!("http://127.0.0.1:{port}\\@8.8.8.8/"),
        format!("http://127.0.0.1:{port}#@8.8.8.8/"),
        format!("http://127.0.0.1:{port}?@8.8.8.8/"),
        format!("HTTP://127.0.0.1:{port}/"),
        format!("https://127.0.0.1:{port}/"),
        format!("ftp://127.0.0.1:{port}/"),
        format!("gopher://127.0.0.1:{port}/_GET"),
        format!("ws://127.0.0.1:{port}/"),
        format!("unix:///run/x.sock:{port}"),
        format!("file://127.0.0.1:{port}/etc/passwd"),
        format!("http://[::1%25lo]:{port}/"),
        format!("http://[::1]:00{port}/"),
        "http://8.8.8.8:22/".to_owned(),
        "http://8.8.8.8:6379/".to_owned(),
        "http://example.com:25/".to_owned(),
        "http:///".to_owned(),
        "//127.0.0.1/".to_owned(),
        "127.0.0.1".to_owned(),
        "javascript:alert(1)".to_owned(),
        "data:text/plain,x".to_owned(),
    ] {
        refused(&strict, &url).await;
        forms += 1;
    }
    assert!(forms >= 120, "{forms} forms");
    assert_eq!(canary.calls(), 0, "of {forms} forms none reached the canary");

    // The same forms of this machine reach it as soon as it is allowed: the canary would have noticed.
    let open = Http::new(EgressPolicy { allow_loopback: true, ..EgressPolicy::default() }).unwrap();
    for host in LOOPBACK.iter().take(20).chain(["localhost", "[::ffff:127.0.0.1]"].iter()) {
        let url = format!("http://{host}:{}/", canary.port);
        let before = canary.calls();
        let answer = open.send(get(url.clone()), &AtomicBool::new(false)).await;
        assert!(answer.is_ok() && canary.calls() > before, "{url}: {answer:?}");
    }
}

/// A resolver whose answers a test writes: each question gets the next one.
#[derive(Debug)]
struct Written {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl policy::Names for Written {
    fn of<'a>(&'a self, _: &'a str) -> Pin<Box<dyn Future<Output = std::io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        let at = self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = self.answers.get(at % self.answers.len()).cloned().unwrap_or_default();
        Box::pin(async move { Ok(answer.into_iter().map(|address| SocketAddr::new(address, 0)).collect()) })
    }
}

fn written(policy: EgressPolicy, answers: &[&[&str]]) -> (Http, Arc<Written>) {
    let answers = answers.iter().map(|list| list.iter().map(|text| text.parse().unwrap()).collect()).collect();
    let names = Arc::new(Written { answers, asked: AtomicUsize::new(0) });
    (Http::with(policy, Sink::default(), Arc::clone(&names) as Arc<dyn policy::Names>), names)
}

#[tokio::test]
async fn a_name_that_changes_its_address_gains_nothing() {
    let canary = Canary::start().await;
    for answers in [
        &["127.0.0.1"][..],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["10.0.0.1"],
        &["169.254.169.254"],
        &["8.8.8.8", "127.0.0.1"],
        &["127.0.0.1", "8.8.8.8"],
        &["2606:4700::1111", "fd00::1"],
    ] {
        let (http, names) = written(EgressPolicy::default(), &[answers]);
        for _ in 0..3 {
            refused(&http, &format!("http://rebind.example:{}/", canary.port)).await;
        }
        assert!(names.asked.load(Ordering::SeqCst) >= 3, "every request asks anew, nothing old is trusted");
    }
    assert_eq!(canary.calls(), 0);
    // Allowed at first and not afterwards: each connection is judged by the very answer that it dials.
    let policy = EgressPolicy { allow_hosts: vec!["127.0.0.2/32".to_owned()], ..EgressPolicy::default() };
    let (http, _) = written(policy, &[&["127.0.0.2"], &["127.0.0.1"]]);
    for turn in 0..6 {
        let request = get(format!("http://rebind.example:{}/", canary.port));
        match http.send(request, &AtomicBool::new(false)).await {
            Ok(response) => assert_eq!((response.status, turn % 2), (200, 0), "{turn}"),
            Err((error, _)) => assert!(turn % 2 == 1 && error.message.contains("blocked by egress"), "{turn}: {error}"),
        }
    }
    assert_eq!(canary.calls(), 3, "those that were allowed");
}

#[tokio::test]
async fn every_hop_of_a_redirect_is_judged_and_five_are_followed() {
    let canary = Canary::start().await;
    let server = FakeHandle::serve(|seen| Reply::json(200, seen.path.clone())).await.unwrap();
    // Only the first server is allowed: by its host, so that the canary on the same address is not.
    let origin = server.base_url.replace("127.0.0.1", "shop.example");
    let policy = EgressPolicy { allow_hosts: vec!["shop.example".to_owned()], ..EgressPolicy::default() };
    let (http, _) = written(policy, &[&["127.0.0.1"]]);
    let to = |status: u16, place: &str| Behaviour::Answer(Reply::json(status, "").header("location", place.to_owned()));
    for place in [
        format!("http://127.0.0.1:{}/", canary.port),
        format!("http://localhost:{}/", canary.port),
        format!("//[::1]:{}/", canary.port),
        format!("http://other.example:{}/", canary.port),
        format!("http://2130706433:{}/", canary.port),
        format!("ftp://127.0.0.1:{}/", canary.port),
        "file:///etc/passwd".to_owned(),
        "http://169.254.169.254/latest/meta-data".to_owned(),
    ] {
        for status in [301, 302, 303, 307, 308] {
            server.next(to(status, &place));
            let (error, reach) = http.send(get(format!("{origin}/a")), &AtomicBool::new(false)).await.unwrap_err();
            assert!(error.message.contains("blocked by egress policy"), "{status} {place}: {}", error.message);
            assert_eq!(error.class, ErrorClass::Invalid, "{status} {place}");
            assert_ne!(reach, Reach::Unknown, "{status} {place}");
        }
    }
    assert_eq!(canary.calls(), 0);

    for hop in 0..5 {
        server.next(to(302, &format!("/hop{hop}")));
    }
    let mut request = get(format!("{origin}/start"));
    request.headers = vec![("authorization".to_owned(), "Bearer hush".to_owned())];
    let answer = http.send(request.clone(), &AtomicBool::new(false)).await.unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"/hop4".as_slice()));
    assert!(server.requests().iter().rev().take(6).all(|seen| seen.header("authorization") == Some("Bearer hush")));
    for hop in 0..6 {
        server.next(to(302, &format!("/hop{hop}")));
    }
    let (error, _) = http.send(request.clone(), &AtomicBool::new(false)).await.unwrap_err();
    assert!(error.message.contains("more than 5 redirects"), "{}", error.message);

    let elsewhere = FakeHandle::serve(|_| Reply::json(200, "")).await.unwrap();
    let other = elsewhere.base_url.replace("127.0.0.1", "shop.example");
    server.next(to(302, &format!("{other}/there")));
    http.send(request.clone(), &AtomicBool::new(false)).await.unwrap();
    let seen = elsewhere.requests().remove(0);
    assert_eq!((seen.path.as_str(), seen.header("authorization")), ("/there", None), "another port, another origin");

    // What acts is never sent again by itself.
    let before = server.count();
    server.next(to(307, "/again"));
    let post = HttpRequest { method: "POST".into(), body: b"x".to_vec(), ..request };
    assert_eq!(http.send(post, &AtomicBool::new(false)).await.unwrap().status, 307);
    assert_eq!(server.count(), before + 1);
}
