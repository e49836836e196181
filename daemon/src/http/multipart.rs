//! Deliveries as `multipart/form-data`: mails that a provider parsed, and forms with files. They become JSON.
//!
//! Invariant: bounded in parts, names and bytes, and read only after the proof. A text part is text of the character
//! set that its sender names; a file keeps its bytes, as base64. Nothing of a body that breaks off is taken.

use aura_protocol::{Map, Value};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use encoding_rs::{Encoding, UTF_8};

use super::answer::Refused;

/// Most parts of one delivery.
const PARTS_MAX: usize = 512;
/// Longest name of a part, in bytes.
const NAME_MAX: usize = 256;

/// One part as it came.
struct Part {
    name: String,
    filename: Option<String>,
    kind: Option<String>,
    body: Vec<u8>,
}

fn malformed(why: impl std::fmt::Display) -> Refused {
    let why = aura_protocol::text::display(&why.to_string());
    Refused::Malformed(format!("the body is no multipart/form-data: {why}"))
}

/// Whether a content type says so.
pub(super) fn is_multipart(content_type: &str) -> bool {
    content_type.trim_start().to_ascii_lowercase().starts_with("multipart/form-data")
}

/// The parts of a body as one object: texts by their names, and `files` with name, type, size and content.
///
/// # Errors
/// It is none, or has too many parts.
pub(super) async fn read(content_type: &str, body: Vec<u8>) -> Result<Value, Refused> {
    let boundary = multer::parse_boundary(content_type).map_err(malformed)?;
    let stream = futures::stream::iter([Ok::<_, std::convert::Infallible>(bytes::Bytes::from(body))]);
    let mut multipart = multer::Multipart::new(stream, boundary);
    let mut parts = Vec::new();
    while let Some(field) = multipart.next_field().await.map_err(malformed)? {
        let name = field.name().unwrap_or_default().to_owned();
        if parts.len() >= PARTS_MAX || name.is_empty() || name.len() > NAME_MAX {
            return Err(malformed(format!("a part has no name or a long one, or there are more than {PARTS_MAX}")));
        }
        let filename = field.file_name().map(str::to_owned);
        let kind = field.content_type().map(ToString::to_string);
        let body = field.bytes().await.map_err(malformed)?.to_vec();
        parts.push(Part { name, filename, kind, body });
    }
    Ok(object(parts))
}

/// What SendGrid says of the character sets of its fields.
fn charsets(parts: &[Part]) -> Value {
    let said = parts.iter().find(|part| part.name == "charsets" && part.filename.is_none());
    said.and_then(|part| Value::from_json(&part.body).ok()).unwrap_or_default()
}

fn text(part: &Part, charsets: &Value) -> String {
    let of_part =
        part.kind.as_deref().and_then(|kind| kind.split_once("charset=")).map(|(_, label)| label.trim_matches('"'));
    let label = charsets.get(&part.name).and_then(Value::as_str).or(of_part);
    let encoding = label.and_then(|label| Encoding::for_label(label.trim().as_bytes())).unwrap_or(UTF_8);
    let (text, ..) = encoding.decode(&part.body);
    // A zero byte is no text for anybody behind us.
    text.replace('\0', "\u{fffd}")
}

fn object(parts: Vec<Part>) -> Value {
    let charsets = charsets(&parts);
    let (mut fields, mut files) = (Map::new(), Vec::new());
    for part in parts {
        if let Some(filename) = &part.filename {
            files.push(Value::object([
                ("field", Value::from(part.name.as_str())),
                ("filename", Value::from(filename.as_str())),
                ("type", Value::from(part.kind.as_deref().unwrap_or("application/octet-stream"))),
                ("size", Value::Int(i128::try_from(part.body.len()).unwrap_or(0))),
                ("content", Value::from(BASE64.encode(&part.body))),
            ]));
            continue;
        }
        let text = text(&part, &charsets);
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
            Some(one) => *one = Value::List(vec![one.clone(), value]),
        }
    }
    if let Some(id) = fields.get("headers").and_then(Value::as_str).and_then(message_id) {
        fields.insert("message_id".to_owned(), Value::from(id));
    }
    fields.insert("files".to_owned(), Value::List(files));
    Value::Map(fields)
}

/// The Message-ID among a mail's headers: what tells a repeated delivery of one mail.
fn message_id(headers: &str) -> Option<String> {
    let lines = headers.lines().filter_map(|line| line.split_once(':'));
    let mut found = lines.filter(|(name, _)| name.trim().eq_ignore_ascii_case("message-id"));
    let id = found.next()?.1.trim().to_owned();
    (!id.is_empty() && id.len() <= 512).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

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

    async fn read_it(body: Vec<u8>) -> Result<Value, Refused> {
        read("multipart/form-data; boundary=xx", body).await
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
    async fn what_breaks_off_or_is_none_is_refused() {
        let whole = body(&[("name=\"a\"", b"1"), ("name=\"a\"", b"2")]);
        assert_eq!(read_it(whole.clone()).await.unwrap().to_json(), r#"{"a":["1","2"],"files":[]}"#);
        for cut in [0, 10, 40, whole.len() - 8] {
            let cut = whole.get(..cut).unwrap().to_vec();
            assert!(matches!(read_it(cut).await, Err(Refused::Malformed(_))));
        }
        let many: Vec<(&str, &[u8])> = vec![("name=\"a\"", b"1"); PARTS_MAX + 1];
        assert!(matches!(read_it(body(&many)).await, Err(Refused::Malformed(_))));
        assert!(matches!(read_it(body(&[("name=\"\"", b"1")])).await, Err(Refused::Malformed(_))));
        assert!(read("multipart/form-data", whole).await.is_err(), "without a boundary");
        assert!(is_multipart("Multipart/Form-Data; boundary=x") && !is_multipart("multipart/mixed"));
    }
}
