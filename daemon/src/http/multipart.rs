//! Deliveries as `multipart/form-data`: mails that a provider parsed, and forms with files. They become JSON.
//!
//! Invariant: bounded in parts, names and bytes, also in those that it becomes, and read only after the proof. A text part is text of the character
//! set that its sender names; a file keeps its bytes, as base64. Nothing of a body that breaks off is taken.

use aura_protocol::{Map, Value};
use axum::body::Bytes;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use encoding_rs::{Encoding, UTF_8};
use futures::FutureExt as _;
use sha2::{Digest as _, Sha256};

use super::answer::Refused;
use super::limits::Place;
use super::meet::ID_MAX;

/// Most parts of one delivery.
const PARTS_MAX: usize = 512;
/// Longest name of a part, in bytes.
const NAME_MAX: usize = 256;
/// Bodies of so many bytes are read without leaving others' turn: a millisecond's worth.
const AT_ONCE: usize = 256 * 1024;

/// One part as it came.
struct Part {
    name: String,
    filename: Option<String>,
    kind: Option<String>,
    body: Bytes,
}

fn malformed(why: impl std::fmt::Display) -> Refused {
    let why = aura_protocol::text::display(&why.to_string());
    Refused::Malformed(format!("the body is no multipart/form-data: {why}"))
}

/// Whether a content type says so.
pub(super) fn is_multipart(content_type: &str) -> bool {
    content_type.trim_start().to_ascii_lowercase().starts_with("multipart/form-data")
}

/// A body that was read.
#[derive(Debug)]
pub(super) struct Read {
    /// Texts by their names, and `files` with name, type, size and content.
    pub value: Value,
    /// The same as JSON.
    pub json: Vec<u8>,
    /// What tells repeats of a mail: its Message-ID and whom it was brought for.
    pub id: Option<String>,
    /// Its memory, what became of it included.
    pub place: Place,
}

/// Bytes of JSON that a body of at most `body_max` bytes may become: base64 takes a third more.
pub(crate) fn json_max(body_max: usize) -> usize {
    body_max.saturating_add(body_max / 3).saturating_add(64 * 1024)
}

/// The parts of a body as one object.
///
/// # Errors
/// It is none, has too many parts, becomes too much, or there is no memory for that.
pub(super) async fn read(content_type: &str, body: Bytes, body_max: usize, place: Place) -> Result<Read, Refused> {
    let boundary = multer::parse_boundary(content_type).map_err(malformed)?;
    let most = json_max(body_max);
    if body.len() <= AT_ONCE {
        return converted(boundary, body, most, place);
    }
    let task = tokio::task::spawn_blocking(move || converted(boundary, body, most, place));
    task.await.unwrap_or(Err(Refused::Ending))
}

fn converted(boundary: String, body: Bytes, most: usize, place: Place) -> Result<Read, Refused> {
    let came = body.len();
    let stream = futures::stream::iter([Ok::<_, std::convert::Infallible>(body)]);
    // All of it is there, so nothing of it is waited for.
    let parts = parts(multer::Multipart::new(stream, boundary)).now_or_never();
    let parts = parts.unwrap_or_else(|| Err(malformed("it breaks off")))?;
    let mut bounds = Bounds { came, held: 0, most, place };
    let (value, id) = object(parts, &mut bounds)?;
    let json = value.to_json().into_bytes();
    bounds.held = 0;
    bounds.add(json.len())?;
    Ok(Read { value, json, id, place: bounds.place })
}

async fn parts(mut multipart: multer::Multipart<'_>) -> Result<Vec<Part>, Refused> {
    let mut parts = Vec::new();
    while let Some(field) = multipart.next_field().await.map_err(malformed)? {
        let name = field.name().unwrap_or_default().to_owned();
        if parts.len() >= PARTS_MAX || name.is_empty() || name.len() > NAME_MAX {
            return Err(malformed(format!("a part has no name or a long one, or there are more than {PARTS_MAX}")));
        }
        let filename = field.file_name().map(str::to_owned);
        let kind = field.content_type().map(ToString::to_string);
        let body = field.bytes().await.map_err(malformed)?;
        parts.push(Part { name, filename, kind, body });
    }
    Ok(parts)
}

/// What a body may become, and what it is already.
struct Bounds {
    came: usize,
    held: usize,
    most: usize,
    place: Place,
}

impl Bounds {
    /// Counts so many more bytes of JSON.
    fn add(&mut self, bytes: usize) -> Result<(), Refused> {
        self.held = self.held.saturating_add(bytes);
        if self.held > self.most {
            return Err(Refused::TooLarge(self.most));
        }
        if self.place.grow(self.came.saturating_add(self.held)) { Ok(()) } else { Err(Refused::Busy(1)) }
    }
}

/// What SendGrid says of the character sets of its fields.
fn charsets(parts: &[Part]) -> Value {
    let said = parts.iter().find(|part| part.name == "charsets" && part.filename.is_none());
    said.and_then(|part| Value::from_json(&part.body).ok()).unwrap_or_default()
}

fn text(part: &Part, charsets: &Value, bounds: &mut Bounds) -> Result<String, Refused> {
    let of_part =
        part.kind.as_deref().and_then(|kind| kind.split_once("charset=")).map(|(_, label)| label.trim_matches('"'));
    let label = charsets.get(&part.name).and_then(Value::as_str).or(of_part);
    let encoding = label.and_then(|label| Encoding::for_label(label.trim().as_bytes())).unwrap_or(UTF_8);
    let (mut decoder, mut out) = (encoding.new_decoder(), String::new());
    let mut pieces = part.body.chunks(16 * 1024).peekable();
    // One byte may become three, and a control character six of JSON: it is counted while it grows.
    while let Some(piece) = pieces.next() {
        let from = out.len();
        out.reserve(decoder.max_utf8_buffer_length(piece.len()).unwrap_or(0));
        let _ = decoder.decode_to_string(piece, &mut out, pieces.peek().is_none());
        bounds.add(out.get(from..).map_or(0, json_len))?;
    }
    // A zero byte is no text for anybody behind us.
    Ok(if out.contains('\0') { out.replace('\0', "\u{fffd}") } else { out })
}

/// Bytes of a text in JSON, without its quotes.
fn json_len(text: &str) -> usize {
    let more = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 1,
        0..0x20 => 5,
        _ => 0,
    };
    text.bytes().map(|byte| 1 + more(byte)).sum()
}

fn object(parts: Vec<Part>, bounds: &mut Bounds) -> Result<(Value, Option<String>), Refused> {
    let charsets = charsets(&parts);
    let (mut fields, mut files) = (Map::new(), Vec::new());
    for part in parts {
        bounds.add(part.name.len() + 8)?;
        if let Some(filename) = &part.filename {
            bounds.add(64 + json_len(filename) + part.body.len().div_ceil(3) * 4)?;
            files.push(Value::object([
                ("field", Value::from(part.name.as_str())),
                ("filename", Value::from(filename.as_str())),
                ("type", Value::from(part.kind.as_deref().unwrap_or("application/octet-stream"))),
                ("size", Value::Int(i128::try_from(part.body.len()).unwrap_or(0))),
                ("content", Value::from(BASE64.encode(&part.body))),
            ]));
            continue;
        }
        let text = text(&part, &charsets, bounds)?;
        // What is JSON by its name is read here, so that no flow has to.
        let value = match part.name.as_str() {
            "envelope" | "charsets" | "attachment-info" => {
                Value::from_json(text.as_bytes()).unwrap_or(Value::Str(text))
            }
            _ => Value::Str(text),
        };
        match fields.get_mut(&part.name) {
            None => {
                fields.insert(part.name, value);
            }
            Some(Value::List(list)) => list.push(value),
            Some(one) => *one = Value::List(vec![std::mem::take(one), value]),
        }
    }
    let id = fields.get("headers").and_then(Value::as_str).and_then(message_id);
    let repeat = id.as_ref().map(|id| repeat(id, fields.get("envelope").and_then(|envelope| envelope.get("to"))));
    if let Some(id) = id {
        fields.insert("message_id".to_owned(), Value::from(id));
    }
    fields.insert("files".to_owned(), Value::List(files));
    Ok((Value::Map(fields), repeat))
}

/// What tells repeats: one mail is brought once for each of its addresses here.
fn repeat(message_id: &str, to: Option<&Value>) -> String {
    let id = format!("{message_id} {}", to.map(Value::to_json).unwrap_or_default());
    if id.len() <= ID_MAX { id } else { BASE64.encode(Sha256::digest(id)) }
}

/// The Message-ID among a mail's headers: what tells a repeated delivery of one mail.
fn message_id(headers: &str) -> Option<String> {
    let lines = headers.lines().filter_map(|line| line.split_once(':'));
    let mut found = lines.filter(|(name, _)| name.trim().eq_ignore_ascii_case("message-id"));
    let id = found.next()?.1.trim().to_owned();
    (!id.is_empty() && id.len() <= ID_MAX).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::limits::InFlight;

    fn body(parts: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (head, content) in parts {
            out.extend_from_slice(format!("--xx\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes());
            out.extend_from_slice(content);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"--xx--\r\n");
        out
    }

    async fn whole(body: Vec<u8>) -> Result<Read, Refused> {
        let place = InFlight::new(4, 16 << 20).enter().unwrap();
        read("multipart/form-data; boundary=xx", body.into(), 1 << 20, place).await
    }

    async fn read_it(body: Vec<u8>) -> Result<Value, Refused> {
        whole(body).await.map(|read| read.value)
    }

    #[tokio::test]
    async fn a_parsed_mail_becomes_fields_and_files() {
        let mail = body(&[
            ("name=\"headers\"", b"Received: by x\r\nMessage-ID: <a@b>\r\nSubject: hi\r\n"),
            ("name=\"subject\"", b"Gr\xfc\xdfe"),
            ("name=\"charsets\"", br#"{"subject":"iso-8859-1","text":"UTF-8"}"#),
            ("name=\"text\"", "ünïcode".as_bytes()),
            ("name=\"envelope\"", br#"{"to":["in@acme.example"],"from":"jo@example.com"}"#),
            ("name=\"attachment1\"; filename=\"a.bin\"\r\nContent-Type: image/png", b"\x00\xff\r\n--x\r\n"),
        ]);
        let value = read_it(mail).await.unwrap();
        assert_eq!(value.get("subject").and_then(Value::as_str), Some("Grüße"));
        assert_eq!(value.get("text").and_then(Value::as_str), Some("ünïcode"));
        assert_eq!(value.get("message_id").and_then(Value::as_str), Some("<a@b>"));
        let from = value.get("envelope").and_then(|envelope| envelope.get("from"));
        assert_eq!(from.and_then(Value::as_str), Some("jo@example.com"));
        let files = value.get("files").and_then(Value::as_list).unwrap();
        let expected =
            r#"[{"field":"attachment1","filename":"a.bin","type":"image/png","size":9,"content":"AP8NCi0teA0K"}]"#;
        assert_eq!(Value::List(files.to_vec()).to_json(), expected);
    }

    #[tokio::test]
    async fn what_a_body_becomes_counts_as_its_memory_and_is_bounded() {
        let at_work = InFlight::new(4, 2 << 20);
        let of = async |content: &[u8], head: &str| {
            let place = at_work.enter().unwrap();
            let body = body(&[(head, content)]);
            let read = read("multipart/form-data; boundary=xx", body.into(), 512 << 10, place).await;
            read.map(|read| (read.json.len(), at_work.used().1))
        };
        let controls = vec![1; 400 << 10];
        assert_eq!(of(&controls, "name=\"text\"").await.unwrap_err(), Refused::TooLarge(json_max(512 << 10)));
        let marks = vec![0xff; 400 << 10];
        assert_eq!(of(&marks, "name=\"text\"").await.unwrap_err(), Refused::TooLarge(json_max(512 << 10)));
        let (json, held) = of(&vec![0; 500 << 10], "name=\"a\"; filename=\"b\"").await.unwrap();
        assert!(json > 666 << 10 && held >= json + (500 << 10), "{json} {held}");
        let (_json, held) = of(b"short", "name=\"a\"").await.unwrap();
        assert!(held < 8 << 10, "{held}");
        let tight = InFlight::new(1, 600 << 10).enter().unwrap();
        let file = body(&[("name=\"a\"; filename=\"b\"", &vec![0; 500 << 10])]);
        let refused = read("multipart/form-data; boundary=xx", file.into(), 512 << 10, tight).await.unwrap_err();
        assert_eq!(refused, Refused::Busy(1));
    }

    #[tokio::test]
    async fn a_mail_is_told_by_its_headers_and_whom_it_was_brought_for() {
        let id = async |parts: &[(&str, &[u8])]| whole(body(parts)).await.unwrap().id;
        let headers = ("name=\"headers\"", &b"Subject: hi\r\nmessage-id: <a@b>\r\n"[..]);
        let to = |to: &'static str| ("name=\"envelope\"", to.as_bytes());
        let one = id(&[headers, to(r#"{"to":["in@a.example"]}"#)]).await.unwrap();
        assert_eq!(one, r#"<a@b> ["in@a.example"]"#);
        assert_ne!(id(&[headers, to(r#"{"to":["other@a.example"]}"#)]).await.unwrap(), one);
        assert_eq!(id(&[("name=\"message_id\"", b"<a@b>"), to(r#"{"to":["in@a.example"]}"#)]).await, None);
        let long = format!("{{\"to\":[\"{}@a.example\"]}}", "x".repeat(2000));
        assert_eq!(id(&[headers, ("name=\"envelope\"", long.as_bytes())]).await.unwrap().len(), 44);
        let long = format!("Message-ID: {}\r\n", "x".repeat(600));
        assert_eq!(id(&[("name=\"headers\"", long.as_bytes())]).await, None);
    }

    #[tokio::test]
    async fn what_breaks_off_or_is_none_is_refused() {
        let all = body(&[("name=\"a\"", b"1"), ("name=\"a\"", b"2")]);
        assert_eq!(read_it(all.clone()).await.unwrap().to_json(), r#"{"a":["1","2"],"files":[]}"#);
        for cut in [0, 10, 40, all.len() - 8] {
            let cut = all.get(..cut).unwrap().to_vec();
            assert!(matches!(read_it(cut).await, Err(Refused::Malformed(_))));
        }
        let many: Vec<(&str, &[u8])> = vec![("name=\"a\"", b"1"); PARTS_MAX + 1];
        assert!(matches!(read_it(body(&many)).await, Err(Refused::Malformed(_))));
        assert!(matches!(read_it(body(&[("name=\"\"", b"1")])).await, Err(Refused::Malformed(_))));
        let place = InFlight::new(4, 16 << 20).enter().unwrap();
        assert!(read("multipart/form-data", all.into(), 1 << 20, place).await.is_err(), "without a boundary");
        assert!(is_multipart("Multipart/Form-Data; boundary=x") && !is_multipart("multipart/mixed"));
    }
}
