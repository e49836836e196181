//! The client against real sockets of loopback: what left and what did not is judged from the server's side.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::*;
use crate::fakes::{Behaviour, FakeHandle, Reply};

const PATIENT: Duration = Duration::from_secs(20);

fn http() -> Http {
    Http::new(EgressPolicy { allow_loopback: true, ..EgressPolicy::default() }).unwrap()
}

fn post(url: &str) -> HttpRequest {
    HttpRequest {
        method: "POST".into(),
        url: url.into(),
        headers: vec![("x-one".into(), "1".into())],
        body: b"hello".to_vec(),
        timeout: PATIENT,
        redirects: 0,
    }
}

async fn echo() -> FakeHandle {
    FakeHandle::serve(|seen| Reply::json(200, String::from_utf8_lossy(&seen.body).into_owned())).await.unwrap()
}

#[tokio::test]
async fn a_request_arrives_as_it_was_given() {
    let server = echo().await;
    let sent = AtomicBool::new(false);
    let response = http().send(post(&format!("{}/a?b=1", server.base_url)), &sent).await.unwrap();
    assert_eq!((response.status, response.body.as_slice()), (200, b"hello".as_slice()));
    assert_eq!(response.header("content-type"), Some("application/json; charset=utf-8"));
    assert!(sent.load(Ordering::Acquire));
    let seen = server.requests().remove(0);
    assert_eq!((seen.method.as_str(), seen.path.as_str(), seen.header("x-one")), ("POST", "/a?b=1", Some("1")));
    assert_eq!(seen.header("content-length"), Some("5"), "the length is known, so nothing is chunked");
    assert!(seen.header("user-agent").is_some_and(|agent| agent.starts_with("aura/")));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let server = echo().await;
    let elsewhere = echo().await;
    server.next(Behaviour::Answer(Reply::json(307, "").header("location", elsewhere.base_url.clone())));
    let response = http().send(post(&server.base_url), &AtomicBool::new(false)).await.unwrap();
    assert_eq!(response.status, 307);
    assert_eq!(elsewhere.count(), 0);
}

#[tokio::test]
async fn what_never_left_is_told_from_what_may_have_arrived() {
    let server = echo().await;
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let closed = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let check = async |request: HttpRequest, class: ErrorClass, reach: Reach, words: &str| {
        let sent = AtomicBool::new(false);
        let url = request.url.clone();
        let (error, got) = http().send(request, &sent).await.unwrap_err();
        assert!(error.message.contains(words), "{url}: {}", error.message);
        assert_eq!((error.class, got), (class, reach), "{url}: {}", error.message);
        assert_eq!(sent.load(Ordering::Acquire), reach != Reach::Unsent, "{url}");
    };
    use ErrorClass::{Invalid, Timeout, Transient};
    use Reach::{Unknown, Unsent};
    check(post("not an address"), Invalid, Unsent, "is not an address").await;
    check(post("http://10.0.0.1/"), Invalid, Unsent, "blocked by egress policy").await;
    // A label of 64 letters is refused by the resolver itself, so this asks nobody.
    let nowhere = format!("http://{}.invalid/", "n".repeat(64));
    check(post(&nowhere), Transient, Unsent, "nnn.invalid cannot be resolved").await;
    check(post(&closed), Transient, Unsent, "no connection to 127.0.0.1").await;
    check(HttpRequest { body: vec![], ..post(&closed) }, Transient, Unsent, "no connection").await;
    check(HttpRequest { method: "G T".into(), ..post(&closed) }, Invalid, Unsent, "is not an HTTP method").await;
    for (name, value, words) in [
        ("host", "evil.example", "is set by the client"),
        ("Transfer-Encoding", "chunked", "is set by the client"),
        ("bad name", "x", "is not a header name"),
        ("x-secret", "a\r\nx-b: c", "characters that a header cannot hold"),
    ] {
        let request = HttpRequest { headers: vec![(name.into(), value.into())], ..post(&server.base_url) };
        check(request, Invalid, Unsent, words).await;
    }
    assert_eq!(server.count(), 0, "nothing of all that arrived");
    server.next(Behaviour::Drop);
    check(post(&server.base_url), Transient, Unknown, "broke off").await;
    assert_eq!(server.count(), 1, "it arrived once and was not repeated by the client");
    server.next(Behaviour::Hang);
    let hurried = HttpRequest { timeout: Duration::from_millis(300), ..post(&server.base_url) };
    check(hurried, Timeout, Unknown, "no complete answer of 127.0.0.1 within 300ms").await;
    server.next(Behaviour::Answer(Reply { status: 200, headers: vec![], body: "x".repeat(BODY_MAX + 1) }));
    check(post(&server.base_url), Invalid, Unknown, "larger than 10 MiB").await;
}

#[tokio::test]
async fn a_name_is_judged_by_every_address_it_resolves_to() {
    let server = echo().await;
    let url = server.base_url.replace("127.0.0.1", "localhost");
    let response = http().send(post(&url), &AtomicBool::new(false)).await.unwrap();
    assert_eq!(response.status, 200);
    // The name passes as a host of its own choice; its address does not.
    let strict = policy::Resolver::new(Arc::new(EgressPolicy::default()), Arc::new(policy::System));
    let name: reqwest::dns::Name = "localhost".parse().unwrap();
    let error = reqwest::dns::Resolve::resolve(&strict, name).await.err().unwrap();
    assert!(error.downcast_ref::<Blocked>().is_some(), "{error}");
}

#[tokio::test]
async fn a_call_that_is_dropped_says_whether_it_left() {
    let server = echo().await;
    let mut arrivals = server.subscribe();
    server.usually(Behaviour::Hang);
    let client = http();
    let sent = AtomicBool::new(false);
    tokio::select! {
        _ = client.send(post(&server.base_url), &sent) => panic!("a hanging server answered"),
        seen = arrivals.recv() => assert_eq!(seen.unwrap().body, b"hello"),
    }
    assert!(sent.load(Ordering::Acquire), "the server has it");
    // Dropped before the first poll could do anything: nothing left.
    let sent = AtomicBool::new(false);
    drop(client.send(post(&server.base_url), &sent));
    assert!(!sent.load(Ordering::Acquire));
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn time_that_runs_out_before_the_handshake_means_unsent() {
    // TLS to a peer that never answers the hello: a connection stands, but no byte of the request left.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (said, hello) = oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut first = [0; 1];
        stream.read_exact(&mut first).await.unwrap();
        said.send(first[0]).unwrap();
        std::future::pending::<()>().await;
    });
    let sent = AtomicBool::new(false);
    let request = HttpRequest { timeout: Duration::from_millis(500), ..post(&format!("https://127.0.0.1:{port}/")) };
    let (error, reach) = http().send(request, &sent).await.unwrap_err();
    if error.class == ErrorClass::Internal {
        assert!(error.message.contains("HTTP client cannot start"), "no certificates on this machine: {error}");
        return;
    }
    assert_eq!((error.class, reach), (ErrorClass::Timeout, Reach::Unsent), "{error}");
    assert!(!sent.load(Ordering::Acquire));
    assert_eq!(hello.await.unwrap(), 0x16, "a TLS handshake and nothing else");
}

#[test]
fn a_shut_gate_lets_nothing_through() {
    let state = Arc::new(AtomicU8::new(CLOSED));
    let sent = AtomicBool::new(false);
    let mut body = Watched { bytes: Some(Bytes::from_static(b"x")), state: Arc::clone(&state) };
    drop(Gate { state: Arc::clone(&state), sent: &sent });
    let mut context = Context::from_waker(std::task::Waker::noop());
    assert!(matches!(Pin::new(&mut body).poll_frame(&mut context), Poll::Ready(Some(Err(_)))));
    assert!(!sent.load(Ordering::Acquire));

    let state = Arc::new(AtomicU8::new(CLOSED));
    let mut body = Watched { bytes: Some(Bytes::from_static(b"x")), state: Arc::clone(&state) };
    assert!(matches!(Pin::new(&mut body).poll_frame(&mut context), Poll::Ready(Some(Ok(_)))));
    assert!(!Gate { state, sent: &sent }.shut());
    assert!(sent.load(Ordering::Acquire));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_unknown() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = vec![0; 4096];
        let mut read = Vec::new();
        while !read.ends_with(b"hello") {
            let count = stream.read(&mut buffer).await.unwrap();
            read.extend_from_slice(&buffer[..count]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await.unwrap();
    });
    let (error, reach) = http().send(post(&url), &AtomicBool::new(false)).await.unwrap_err();
    assert_eq!((error.class, reach), (ErrorClass::Transient, Reach::Unknown), "{error}");
}
