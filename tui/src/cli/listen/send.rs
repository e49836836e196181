//! One copy to the program of this machine: bounded in time, its answer read as far as people need it.
//!
//! Invariant: nothing of the answer is trusted or kept; redirects are not followed, proxies of the environment not used.

use std::io::Read;
use std::time::{Duration, Instant};

use aura_protocol::flow::Span;
use ureq::http::Request;
use ureq::{Agent, Error};

use super::copy::Copy;

/// Bytes of an answer that is an error that are shown.
const SHOWN: u64 = 300;
/// Pause before the first repeat.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest pause before a repeat.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// How the program answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Its status.
    pub status: u16,
    /// The beginning of its answer, if that is an error.
    pub said: String,
}

/// Hands copies on.
#[derive(Clone)]
pub struct Sender {
    agent: Agent,
    timeout: Span,
    retries: u32,
}

/// What became of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The answer, or why there is none.
    pub answer: Result<Answered, String>,
    /// How long the last attempt took.
    pub took: Duration,
    /// Attempts.
    pub attempts: u32,
}

impl Sent {
    /// Whether the program took it.
    #[must_use]
    pub fn taken(&self) -> bool {
        self.answer.as_ref().is_ok_and(|answer| (200..300).contains(&answer.status))
    }

    /// Whether trying again can help.
    fn may_pass(&self) -> bool {
        self.answer.as_ref().map_or(true, |answer| answer.status >= 500 || answer.status == 429)
    }
}

impl Sender {
    /// With a limit for each attempt, and so many repeats.
    #[must_use]
    pub fn new(timeout: Span, retries: u32) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(Duration::from_millis(timeout.ms.max(1))))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            // A program that was started again left its old connections.
            .max_idle_connections(0)
            .user_agent(ureq::config::AutoHeaderValue::None)
            .accept(ureq::config::AutoHeaderValue::None)
            .accept_encoding(ureq::config::AutoHeaderValue::None)
            .allow_non_standard_methods(true)
            .build();
        Self { agent: config.new_agent(), timeout, retries }
    }

    /// Sends, and again while that can help.
    pub async fn send(&self, copy: Copy) -> Sent {
        let mut pause = PAUSE;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (sender, one) = (self.clone(), copy.clone());
            let began = Instant::now();
            let answer = tokio::task::spawn_blocking(move || sender.once(one)).await;
            let answer = answer.unwrap_or_else(|_| Err("the client failed".to_owned()));
            let sent = Sent { answer, took: began.elapsed(), attempts };
            if sent.taken() || !sent.may_pass() || attempts > self.retries {
                return sent;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn once(&self, copy: Copy) -> Result<Answered, String> {
        let mut request = Request::new(copy.body);
        (*request.method_mut(), *request.uri_mut()) = (copy.method, copy.uri);
        for (name, value) in copy.headers {
            request.headers_mut().append(name, value);
        }
        let bare = request.body().is_empty() && matches!(request.method().as_str(), "GET" | "HEAD");
        let answer = match bare {
            true => self.agent.run(request.map(|_| ())),
            false => self.agent.run(request),
        };
        let mut answer = answer.map_err(|error| self.why(&error))?;
        let status = answer.status().as_u16();
        let mut said = Vec::new();
        if !(200..300).contains(&status) {
            // What cannot be read is not shown.
            let _ = answer.body_mut().as_reader().take(SHOWN).read_to_end(&mut said);
        }
        Ok(Answered { status, said: String::from_utf8_lossy(&said).into_owned() })
    }

    fn why(&self, error: &Error) -> String {
        match error {
            Error::Timeout(_) => format!("no answer within {}", self.timeout),
            Error::ConnectionFailed => "nobody listens there".to_owned(),
            Error::HostNotFound => "there is no such host".to_owned(),
            Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                "nobody listens there".to_owned()
            }
            Error::Io(error) => format!("the connection broke: {error}"),
            other => other.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use aura_protocol::rpc::{DeliveryRow, RawDelivery};

    use super::super::copy::Place;
    use super::*;

    /// Answers each connection with the next of these, and gives the requests.
    fn answering(answers: Vec<&'static str>) -> (u16, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = std::thread::spawn(move || {
            let one = |answer: &str| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
                }
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                let mut body = vec![0; length.unwrap_or(0)];
                reader.read_exact(&mut body).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                head + &String::from_utf8_lossy(&body)
            };
            answers.into_iter().map(one).collect()
        });
        (port, served)
    }

    fn within(text: &str) -> Span {
        text.parse().unwrap()
    }

    fn copy(port: u16, method: &str, body: &str) -> Copy {
        let raw = RawDelivery { method: method.to_owned(), body: body.into(), ..RawDelivery::default() };
        let place = Place::read(&format!("http://127.0.0.1:{port}/hook"), false).unwrap();
        Copy::of(&place, &DeliveryRow::default(), raw).unwrap()
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_what_may_pass_is_tried_again() {
        let (port, served) = answering(vec![
            "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 4\r\nconnection: close\r\n\r\naway",
        ]);
        let sent = Sender::new(within("5s"), 3).send(copy(port, "POST", "{\"a\":1}")).await;
        assert_eq!(sent.answer, Ok(Answered { status: 302, said: "away".to_owned() }));
        assert_eq!((sent.attempts, sent.taken()), (2, false));
        let seen = served.join().unwrap();
        assert_eq!(seen.len(), 2);
        for request in seen {
            assert!(
                request.starts_with("POST /hook HTTP/1.1\r\n") && request.ends_with("\r\n\r\n{\"a\":1}"),
                "{request}"
            );
            assert!(!request.contains("user-agent") && !request.contains("accept"), "{request}");
        }
    }

    #[tokio::test]
    async fn who_does_not_answer_is_not_waited_for() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let sent = Sender::new(within("200ms"), 0).send(copy(port, "POST", "x")).await;
        assert_eq!(sent.answer, Err("no answer within 200ms".to_owned()));
        assert!(sent.took < Duration::from_secs(5));
        drop(silent);
        let sent = Sender::new(within("5s"), 0).send(copy(port, "GET", "")).await;
        assert_eq!(sent.answer, Err("nobody listens there".to_owned()));
    }
}
