//! The vendors' own SDKs as a process: `tests/peers/vendors/vendors.mjs` or `.py`, one request and one answer a line.
//!
//! The one invariant: an SDK that is not there, dies or stays silent ends the test, so nothing passes that was not asked.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Loading a dozen SDKs takes seconds, an answer none.
const LIMIT: Duration = Duration::from_secs(120);

/// What an SDK has to say of one scheme.
#[derive(Clone, Debug)]
pub struct Sdk {
    /// Its package.
    pub package: String,
    /// Which version is installed.
    pub version: String,
    /// The scheme's name here; `shopify_query` for addresses.
    pub scheme: String,
    /// Whether it signs; a word that says so.
    pub signs: String,
}

impl Sdk {
    /// Whether it signs deliveries, itself or by the library with which it verifies.
    pub fn can_sign(&self) -> bool {
        self.signs != "not offered"
    }
    /// Its row in `docs/webhooks.md`.
    pub fn row(&self, registry: &str) -> String {
        format!("| {registry} | `{}` {} | `{}` | verifies | {} |", self.package, self.version, self.scheme, self.signs)
    }
}

/// A delivery as it goes over the wire.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The whole address.
    pub url: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// One running process that holds the SDKs of a registry.
#[derive(Debug)]
pub struct Sdks {
    child: Child,
    /// Closed at the end: then it ends by itself.
    input: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl Sdks {
    /// Starts the program with these arguments in a folder.
    pub fn start(program: &str, arguments: &[&str], folder: &str) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in output.lines() {
                if line.is_ok_and(|line| sender.send(line).is_ok()) {
                    continue;
                }
                return;
            }
        });
        Self { child, input, answers }
    }

    fn ask(&mut self, request: &Value) -> Value {
        writeln!(self.input.as_ref().expect("a pipe"), "{request}").expect("the SDKs listen");
        let line = self.answers.recv_timeout(LIMIT);
        let line = line.unwrap_or_else(|error| panic!("no answer of the SDKs ({error}) to {request}"));
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"))
    }

    /// What there is.
    pub fn list(&mut self) -> Vec<Sdk> {
        let answer = self.ask(&json!({"op": "sdks"}));
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let sdks = answer["sdks"].as_array().expect("a list").iter();
        sdks.map(|sdk| Sdk {
            package: text(&sdk["package"]),
            version: text(&sdk["version"]),
            scheme: text(&sdk["scheme"]),
            signs: text(&sdk["signs"]),
        })
        .collect()
    }

    /// The headers with which the SDK signs a body now.
    pub fn sign(&mut self, sdk: &Sdk, secret: &Value, url: &str, body: &str, id: &str) -> Sent {
        let answer = self.ask(&json!({
            "op": "sign", "package": sdk.package, "scheme": sdk.scheme, "secret": secret, "url": url, "body": body,
            "id": id, "now_s": crate::support::now_ms() / 1000,
        }));
        let headers = answer["headers"].as_object().unwrap_or_else(|| panic!("{sdk:?} does not sign: {answer}"));
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned()));
        Sent { url: url.to_owned(), headers: headers.collect(), body: body.to_owned() }
    }

    /// What the SDK says of a delivery: an error says why not.
    pub fn verify(&mut self, sdk: &Sdk, secret: &Value, sent: &Sent) -> Result<(), String> {
        let headers: serde_json::Map<String, Value> =
            sent.headers.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        let query = sent.url.split_once('?').map_or("", |(_, query)| query);
        let answer = self.ask(&json!({
            "op": "verify", "package": sdk.package, "scheme": sdk.scheme, "secret": secret, "url": sent.url,
            "query": query, "headers": headers, "body": sent.body,
        }));
        if answer["valid"].as_bool().expect("a verdict") {
            return Ok(());
        }
        Err(answer["why"].as_str().expect("a text").to_owned())
    }
}

impl Drop for Sdks {
    fn drop(&mut self) {
        drop(self.input.take());
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(5) && matches!(self.child.try_wait(), Ok(None)) {
            crate::support::tick();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
