//! The outside world of a test: a small HTTP server that answers as told and forgets nothing.
//!
//! The one invariant: a request is in the log as soon as its head was read, before its answer is chosen,
//! so what a killed daemon sent is never missing from the log. It lives in the test process and outlives
//! every daemon. Threads and blocking sockets only: its order is the order of the kernel.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::{LIMIT, now_ms, wait_for};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// Position in the log, from 0.
    pub number: usize,
    /// When its head was read, Unix milliseconds.
    pub at_ms: i64,
    /// Method.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body; `None` while it has not come completely.
    pub body: Option<Vec<u8>>,
}

impl Request {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
    /// Whether it came to a path, said with its query or without.
    pub fn is_on(&self, path: &str) -> bool {
        self.path == path || self.path.split('?').next() == Some(path)
    }
    /// The idempotency key.
    pub fn key(&self) -> &str {
        self.header("idempotency-key").unwrap_or_default()
    }
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(self.body.as_deref().expect("a complete body")).expect("a JSON body")
    }
}

/// What the receiver does with a request.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Bytes of one chunk; `None`: the body goes whole, with its length.
    chunk: Option<usize>,
    delay: Duration,
    then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Send,
    Close,
    Hold,
}

impl Answer {
    /// A status with a JSON body.
    pub fn status(status: u16) -> Self {
        let body = format!("{{\"status\":{status}}}");
        Self {
            status,
            headers: Vec::new(),
            body: body.into_bytes(),
            chunk: None,
            delay: Duration::ZERO,
            then: Then::Send,
        }
    }
    /// 200.
    pub fn ok() -> Self {
        Self::status(200)
    }
    /// With another body.
    pub fn body(self, body: &str) -> Self {
        self.bytes(body.as_bytes())
    }
    /// With another body that is no text.
    pub fn bytes(mut self, body: &[u8]) -> Self {
        body.clone_into(&mut self.body);
        self
    }
    /// In chunks of so many bytes, each in a packet of its own.
    pub fn in_chunks(mut self, bytes: usize) -> Self {
        self.chunk = Some(bytes);
        self
    }
    /// With a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
    /// After a while.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
    /// Reads the request, then closes the connection without an answer.
    pub fn close() -> Self {
        Self { then: Then::Close, ..Self::ok() }
    }
    /// Answers only after [`Receiver::release`] for this path.
    pub fn hold() -> Self {
        Self { then: Then::Hold, ..Self::ok() }
    }
}

type Rule = Arc<dyn Fn(&Request, usize) -> Answer + Send + Sync>;

#[derive(Default)]
struct State {
    log: Vec<Request>,
    rules: HashMap<String, Rule>,
    released: HashMap<String, bool>,
    seen: HashMap<String, usize>,
    open: usize,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test thread panicked with the receiver's state")
    }
}

/// The server.
#[derive(Clone)]
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Receiver {
    /// Starts it on a free port; every path answers 200 until told otherwise.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let inner = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let inner = Arc::clone(&inner);
                // A connection that breaks is the daemon's death; the log has what came.
                std::thread::spawn(move || drop(inner.serve(&stream)));
            }
        });
        Self { address, shared }
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What requests for a path get; the rule is given the request and how many came before on this path.
    pub fn on(&self, path: &str, rule: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static) {
        self.shared.state().rules.insert(path.to_owned(), Arc::new(rule));
    }

    /// Every held request of a path, now and later, is answered.
    pub fn release(&self, path: &str) {
        self.shared.state().released.insert(path.to_owned(), true);
        self.shared.changed.notify_all();
    }

    /// Everything that came.
    pub fn log(&self) -> Vec<Request> {
        self.shared.state().log.clone()
    }

    /// What came on a path.
    pub fn on_path(&self, path: &str) -> Vec<Request> {
        self.shared.state().log.iter().filter(|request| request.is_on(path)).cloned().collect()
    }

    /// How many came to a path.
    pub fn count(&self, path: &str) -> usize {
        self.shared.state().log.iter().filter(|request| request.is_on(path)).count()
    }

    /// Requests that were read and not yet answered.
    pub fn open(&self) -> usize {
        self.shared.state().open
    }

    /// Waits until a path was asked so many times, and gives those requests.
    pub fn wait(&self, path: &str, times: usize) -> Vec<Request> {
        wait_for(&format!("{times} requests for {path}"), LIMIT, || {
            Some(self.on_path(path))
                .filter(|requests| requests.iter().filter(|request| request.body.is_some()).count() >= times)
        })
    }
}

impl Shared {
    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        while let Some((mut request, length)) = read_head(&mut reader)? {
            let (rule, before) = {
                let mut state = self.state();
                request.number = state.log.len();
                request.at_ms = now_ms();
                let seen = state.seen.entry(request.path.clone()).or_default();
                let before = std::mem::replace(seen, *seen + 1);
                state.log.push(request.clone());
                state.open += 1;
                let bare = request.path.split('?').next().unwrap_or_default();
                let rule = state.rules.get(&request.path).or_else(|| state.rules.get(bare));
                (rule.cloned(), before)
            };
            let result = self.answer(&mut reader, &mut request, length, rule, before, stream);
            self.state().open -= 1;
            if !result? {
                return stream.shutdown(Shutdown::Both);
            }
        }
        Ok(())
    }

    /// Gives whether the connection stays open.
    fn answer(
        &self,
        reader: &mut impl Read,
        request: &mut Request,
        length: usize,
        rule: Option<Rule>,
        before: usize,
        mut stream: &TcpStream,
    ) -> io::Result<bool> {
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        request.body = Some(body);
        self.state().log[request.number].body.clone_from(&request.body);
        let answer = rule.map_or_else(Answer::ok, |rule| rule(request, before));
        match answer.then {
            Then::Close => return Ok(false),
            Then::Hold => {
                let free = |state: &mut State| !state.released.get(&request.path).copied().unwrap_or(false);
                let (state, timeout) = self.changed.wait_timeout_while(self.state(), LIMIT * 4, free).expect("state");
                drop(state);
                if timeout.timed_out() {
                    return Ok(false);
                }
            }
            Then::Send => self.delay(answer.delay),
        }
        let mut text = format!("HTTP/1.1 {} Said\r\n", answer.status);
        if !answer.headers.iter().any(|(name, _)| name == "content-type") {
            text.push_str("content-type: application/json\r\n");
        }
        for (name, value) in &answer.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        match answer.chunk {
            None => text.push_str(&format!("content-length: {}\r\n\r\n", answer.body.len())),
            Some(_) => text.push_str("transfer-encoding: chunked\r\n\r\n"),
        }
        let whole: &[u8] = if answer.chunk.is_none() { &answer.body } else { &[] };
        stream.write_all(&[text.as_bytes(), whole].concat())?;
        if let Some(bytes) = answer.chunk {
            for chunk in answer.body.chunks(bytes) {
                stream.write_all(&[format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())?;
            }
            stream.write_all(b"0\r\n\r\n")?;
        }
        Ok(true)
    }

    /// Holds an answer back for a while without a busy thread.
    fn delay(&self, span: Duration) {
        if !span.is_zero() {
            let until = std::time::Instant::now() + span;
            let early = |_: &mut State| std::time::Instant::now() < until;
            drop(self.changed.wait_timeout_while(self.state(), span, early).expect("state"));
        }
    }
}

fn read_head(reader: &mut impl BufRead) -> io::Result<Option<(Request, usize)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None => break,
        }
    }
    let request = Request { number: 0, at_ms: 0, method, path, headers, body: None };
    let length = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    Ok(Some((request, length)))
}
