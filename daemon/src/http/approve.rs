//! `/a/{token}`: whoever has the link that a flow made for an account sees what is asked, and decides once.
//!
//! Looking never decides: programs that look at links in mails must not. The link is its own proof; what is sent back
//! carries the hash of what was shown, and success is said only after the commit.

use aura_protocol::Value;
use aura_protocol::approval::{Field, FieldKind, Question, Vote};
use aura_protocol::event::timestamp;
use aura_protocol::text::display;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::engine::{Opened, VotedBy};
use crate::http::Door;
use crate::http::answer::{self, Refused};
use crate::http::intake::{Route, check_body, check_coding, check_single, read};

/// A decision has at most so many bytes.
const BODY_MAX: usize = 64 * 1024;

/// Takes one request.
pub async fn approve(State(door): State<Door>, path: Route<String>, request: Request) -> Response {
    let wanted = Wanted::of(request.headers());
    let outcome = match (path, request.method()) {
        (Ok(token), &Method::GET | &Method::HEAD) => look(&door, token.0, wanted).await,
        (Ok(token), &Method::POST) => decide(&door, token.0, request, wanted).await,
        _ => Err(Refused::NotFound),
    };
    let response = outcome.unwrap_or_else(|refused| match wanted {
        Wanted::Page => {
            let said = refused.to_string();
            let mut response = refused.into_response();
            *response.body_mut() = Body::from(page("AURA", &paragraph(&said)));
            response.headers_mut().insert(CONTENT_TYPE, HTML);
            response
        }
        _ => refused.into_response(),
    });
    answer::clean(door.catalog.sink(), private(response)).await
}

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What the other side reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Page,
    Text,
    Json,
}

impl Wanted {
    fn of(headers: &HeaderMap) -> Self {
        let accepts = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if accepts.contains("text/html") {
            Self::Page
        } else if accepts.contains("application/json") {
            Self::Json
        } else {
            Self::Text
        }
    }
}

/// Nothing of it is kept by others, runs a script, stands in a frame or tells where it was.
fn private(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex"));
    let policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

fn say(status: StatusCode, kind: HeaderValue, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

async fn look(door: &Door, token: String, wanted: Wanted) -> Result<Response, Refused> {
    match door.engine.opened(token).await? {
        Opened::Asks(account, question) => Ok(match wanted {
            Wanted::Page => say(StatusCode::OK, HTML, asked_page(&account, &question)),
            Wanted::Text => say(StatusCode::OK, TEXT, asked_text(&account, &question)),
            Wanted::Json => say(StatusCode::OK, JSON, asked_json(&account, &question)),
        }),
        Opened::NotYet => Err(Refused::NotYet),
        Opened::Over => Err(Refused::Decided),
        Opened::MayNot(why) => Err(Refused::MayNot(why)),
        Opened::Unknown => Err(Refused::NotFound),
    }
}

async fn decide(door: &Door, token: String, request: Request, wanted: Wanted) -> Result<Response, Refused> {
    let (head, body) = request.into_parts();
    check_single(&head.headers, std::iter::empty())?;
    check_coding(&head.headers, false)?;
    let (_of_client, _place, body) = read(door, &head, body, BODY_MAX.min(door.limits.in_flight_bytes)).await?;
    let decision = match check_body(&head.headers, &body)? {
        Some(json) => of_json(&json)?,
        None => {
            // What a field must be is told by the question.
            let Opened::Asks(_, question) = door.engine.opened(token.clone()).await? else {
                return taken(door, token, of_form(&body, &[])?, wanted).await;
            };
            of_form(&body, &question.ask.fields)?
        }
    };
    taken(door, token, decision, wanted).await
}

async fn taken(door: &Door, token: String, vote: Vote, wanted: Wanted) -> Result<Response, Refused> {
    let word = if vote.approve { "approved" } else { "rejected" };
    match door.engine.voted(token, vote).await? {
        VotedBy::Taken => Ok(match wanted {
            Wanted::Page => say(StatusCode::OK, HTML, page("AURA", &paragraph(&format!("Taken down: {word}.")))),
            Wanted::Text => say(StatusCode::OK, TEXT, format!("recorded: {word}\n")),
            Wanted::Json => say(StatusCode::OK, JSON, format!("{}\n", json!({ "state": "taken", "decision": word }))),
        }),
        VotedBy::NotYet => Err(Refused::NotYet),
        VotedBy::Over => Err(Refused::Decided),
        VotedBy::MayNot(why) => Err(Refused::MayNot(why)),
        VotedBy::Changed => Err(Refused::Changed),
        VotedBy::Unfit(why) => Err(Refused::Malformed(why)),
        VotedBy::Unknown => Err(Refused::NotFound),
    }
}

fn vote(decision: &str, hash: &str, form: Value, comment: &str) -> Result<Vote, Refused> {
    let approve = match decision {
        "approve" => true,
        "reject" => false,
        _ => return Err(Refused::Malformed("`decision` is approve or reject".to_owned())),
    };
    if hash.is_empty() {
        return Err(Refused::Malformed("`hash` of what was seen is missing".to_owned()));
    }
    let (hash, comment) = (hash.to_owned(), comment.to_owned());
    // Whose it is and when is said by the engine.
    Ok(Vote { by: String::new(), approve, hash, form, comment, via: String::new(), at_ms: 0 })
}

fn of_json(body: &Value) -> Result<Vote, Refused> {
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    vote(text("decision"), text("hash"), body.get("form").cloned().unwrap_or_default(), text("comment"))
}

fn of_form(body: &[u8], fields: &[Field]) -> Result<Vote, Refused> {
    let pairs: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
    let text = |name: &str| pairs.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    let mut form = aura_protocol::Map::new();
    for field in fields {
        let given = pairs.iter().find(|(key, _)| key.strip_prefix("field.") == Some(&field.name));
        match (given, field.kind) {
            (Some((_, value)), kind) => {
                form.insert(field.name.clone(), kind.typed(value));
            }
            // A box that is not ticked is not sent.
            (None, FieldKind::Boolean) => {
                form.insert(field.name.clone(), Value::Bool(false));
            }
            (None, _) => {}
        }
    }
    let decision = text("decision");
    // Whoever refuses need not have filled in anything.
    let form = if decision == "reject" { Value::Null } else { Value::Map(form) };
    vote(decision, text("hash"), form, text("comment"))
}

/// What people see of a form: name and value as text, all of it; a form has at most 64 KiB.
fn seen(question: &Question) -> Vec<(String, String)> {
    let shown = |value: &Value| {
        let text = value.as_str().map_or_else(|| value.to_json(), str::to_owned);
        display(&text)
    };
    let form = question.ask.form.as_map().into_iter().flatten();
    form.map(|(name, value)| (display(name), shown(value))).collect()
}

fn title(account: &str, question: &Question) -> String {
    display(&format!("{account}: {} asks in {}", question.flow, question.path))
}

fn standing(question: &Question) -> String {
    let until = question.until_ms.map(|until| format!(", until {}", timestamp(until))).unwrap_or_default();
    display(&format!("Run {}; waits for {}{until}", question.run, question.ask.who(&question.standing)))
}

fn asked_text(account: &str, question: &Question) -> String {
    let mut text = format!("{}\n{}\n\n", title(account, question), standing(question));
    for (name, value) in seen(question) {
        text.push_str(&format!("{name}: {value}\n"));
    }
    for field in &question.ask.fields {
        text.push_str(&format!("to fill in: {} ({})\n", display(&field.name), field.kind.word()));
    }
    text.push_str("\nDecide by POST to this address, as a form or JSON: decision=approve or reject, comment,\n");
    text.push_str(&format!("form (as a form: field.NAME=…), hash={}\n", question.ask.hash));
    text
}

fn asked_json(account: &str, question: &Question) -> String {
    let field = |field: &Field| {
        Value::object([("name", Value::from(field.name.as_str())), ("kind", Value::from(field.kind.word()))])
    };
    // By our own hand: numbers keep their text.
    let asked = Value::object([
        ("account", Value::from(account)),
        ("run", Value::from(question.run.to_string())),
        ("flow", Value::from(question.flow.as_str())),
        ("step", Value::from(question.path.as_str())),
        ("form", question.ask.form.clone()),
        ("fields", Value::List(question.ask.fields.iter().map(field).collect())),
        ("hash", Value::from(question.ask.hash.as_str())),
    ]);
    format!("{}\n", asked.to_json())
}

fn asked_page(account: &str, question: &Question) -> String {
    let mut text = paragraph(&standing(question));
    text.push_str("<form method=\"post\"><table>");
    for (name, value) in seen(question) {
        text.push_str(&format!("<tr><th>{}</th><td>{}</td></tr>", escaped(&name), escaped(&value)));
    }
    for field in &question.ask.fields {
        let name = escaped(&field.name);
        let input = match field.kind {
            FieldKind::Text => format!("<input name=\"field.{name}\">"),
            FieldKind::Number => format!("<input name=\"field.{name}\" inputmode=\"decimal\">"),
            FieldKind::Boolean => format!("<input type=\"checkbox\" value=\"true\" name=\"field.{name}\">"),
        };
        text.push_str(&format!("<tr><th>{}</th><td>{input}</td></tr>", escaped(&display(&field.name))));
    }
    text.push_str("<tr><th>Comment</th><td><input name=\"comment\"></td></tr></table>");
    text.push_str(&format!("<input type=\"hidden\" name=\"hash\" value=\"{}\">", escaped(&question.ask.hash)));
    text.push_str("<p><button name=\"decision\" value=\"approve\">Approve</button> ");
    text.push_str("<button name=\"decision\" value=\"reject\">Reject</button></p></form>");
    page(&title(account, question), &text)
}

fn paragraph(text: &str) -> String {
    format!("<p>{}</p>", escaped(text))
}

fn page(title: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>body{{font:1rem/1.5 sans-serif;max-width:40rem;margin:2rem auto;padding:0 1rem}}\
         th{{text-align:left;vertical-align:top;padding-right:1rem}}td{{white-space:pre-wrap;overflow-wrap:anywhere}}\
         button{{font:inherit;padding:.3rem 1rem}}</style><h1>{title}</h1>{body}</html>\n"
    )
}

/// Text as a page shows it: nothing of it is markup.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_a_payload_is_markup() {
        assert_eq!(escaped(r#"<a href="x">&'"#), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
    }

    #[test]
    fn whoever_decides_sees_the_whole() {
        let form = Value::object([("note", format!("{}and the end", "a long story, ".repeat(4_000)))]);
        let ask = serde_json::json!({ "hash": "h", "form": form, "fields": [], "approvers": ["anna"], "quorum": 1 });
        let question = serde_json::json!({
            "run": aura_protocol::RunId::now(), "flow": "pay", "path": "check", "ask": ask, "standing": {}
        });
        let question: Question = serde_json::from_value(question).unwrap();
        for shown in [asked_page("anna", &question), asked_text("anna", &question), asked_json("anna", &question)] {
            assert!(shown.contains("a long story, and the end"), "{} bytes", shown.len());
        }
    }

    #[test]
    fn a_decision_is_read_from_a_form_and_from_json() {
        let fields = [("limit", FieldKind::Number), ("fast", FieldKind::Boolean), ("why", FieldKind::Text)]
            .map(|(name, kind)| Field { name: name.to_owned(), kind });
        let check = |body: &str, approve: bool, form: &str, comment: &str| {
            let vote = of_form(body.as_bytes(), &fields).unwrap();
            assert_eq!((vote.approve, vote.form.to_json().as_str(), vote.comment.as_str()), (approve, form, comment));
            assert_eq!(vote.hash, "h");
        };
        let whole = r#"{"limit":1.50,"fast":true,"why":"a b"}"#;
        check("decision=approve&hash=h&field.limit=1.50&field.fast=true&field.why=a+b", true, whole, "");
        check("decision=approve&hash=h&field.limit=x", true, r#"{"limit":"x","fast":false}"#, "");
        check("decision=reject&hash=h&comment=no&field.limit=", false, "null", "no");
        let refused = |body: &str| of_form(body.as_bytes(), &fields).unwrap_err().to_string();
        assert_eq!(refused("hash=h"), "`decision` is approve or reject");
        assert_eq!(refused("decision=approve"), "`hash` of what was seen is missing");
        let json = Value::from_json(br#"{"decision":"approve","hash":"h","form":{"a":1}}"#).unwrap();
        assert_eq!(of_json(&json).unwrap().form.to_json(), r#"{"a":1}"#);
    }
}
