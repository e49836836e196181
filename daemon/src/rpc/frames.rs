//! Frames to clients: whatever is in one, no secret of the vault is.
//!
//! The invariant: a reply, an item of the tail or an error leaves only through [`Clean`], which looks at the encoded
//! frame once. One in which nothing is found leaves as it is; in the other texts and bytes are replaced one by one
//! (numbers, lengths of lists and our own names of fields stay), so that it decodes as before.

use std::borrow::Cow;
use std::pin::Pin;

use aura_integrations::redact::Sink;
use aura_protocol::rpc::Codec;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::bytes::{Bytes, BytesMut};

/// The codec of the socket behind the sink.
#[derive(Clone, Debug)]
pub struct Clean(pub Sink);

impl<T: Serialize> tokio_serde::Serializer<T> for Clean {
    type Error = std::io::Error;
    fn serialize(self: Pin<&mut Self>, item: &T) -> Result<Bytes, Self::Error> {
        let frame = Pin::new(&mut Codec).serialize(item)?;
        if !self.0.finds(&frame) {
            return Ok(frame);
        }
        // Cannot fail: it was encoded just now. If it did, a frame that is not clean must not leave.
        clean(&self.0, &frame).map(Bytes::from).ok_or_else(|| std::io::Error::other("a frame that cannot be read"))
    }
}

impl<T: DeserializeOwned> tokio_serde::Deserializer<T> for Clean {
    type Error = std::io::Error;
    fn deserialize(self: Pin<&mut Self>, bytes: &BytesMut) -> Result<T, Self::Error> {
        Pin::new(&mut Codec).deserialize(bytes)
    }
}

/// How one token of MessagePack goes on.
enum Token {
    /// Its header says it all.
    Plain,
    /// So many bytes of text or binary follow.
    Data { text: bool, length: usize },
    /// So many values follow, or pairs of them.
    Group { values: usize, pairs: bool },
}

/// A frame without secrets; `None` if it is no MessagePack.
fn clean(sink: &Sink, frame: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(frame.len());
    // What is still to come in the groups around: values, and whether every other one is a name.
    let mut around: Vec<(usize, bool)> = Vec::new();
    let mut at = 0;
    while at < frame.len() {
        let (token, header) = token(frame.get(at..)?)?;
        let name = match around.last_mut() {
            Some((left, pairs)) => {
                *left -= 1;
                // Two values are left of a pair at its name.
                *pairs && *left % 2 == 1
            }
            None => false,
        };
        let head = frame.get(at..at + header)?;
        at += header;
        match token {
            Token::Plain => out.extend_from_slice(head),
            Token::Data { text, length } => {
                let data = frame.get(at..at.checked_add(length)?)?;
                at += length;
                let cleaned = if name && is_ours(data) { Cow::Borrowed(data) } else { sink.bytes(data) };
                match cleaned {
                    Cow::Borrowed(_) => {
                        out.extend_from_slice(head);
                        out.extend_from_slice(data);
                    }
                    Cow::Owned(cleaned) => write(&mut out, text, &cleaned)?,
                }
            }
            Token::Group { values, pairs } => {
                out.extend_from_slice(head);
                let values = if pairs { values.checked_mul(2)? } else { values };
                // Each value is a byte at least.
                if values > frame.len() {
                    return None;
                }
                around.push((values, pairs));
            }
        }
        while around.last().is_some_and(|(left, _)| *left == 0) {
            around.pop();
        }
    }
    around.is_empty().then_some(out)
}

/// Names of our own fields and variants are letters and `_`.
fn is_ours(name: &[u8]) -> bool {
    name.len() <= 32 && name.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
}

/// The first token and the length of its header.
fn token(bytes: &[u8]) -> Option<(Token, usize)> {
    let number = |width: usize| {
        let digits = bytes.get(1..=width)?;
        digits.iter().try_fold(0_usize, |number, byte| Some(number.checked_mul(256)? | usize::from(*byte)))
    };
    let first = *bytes.first()?;
    let low = |mask: u8| usize::from(first & mask);
    let data = |text: bool, width: usize| Some((Token::Data { text, length: number(width)? }, 1 + width));
    let group = |pairs: bool, width: usize| Some((Token::Group { values: number(width)?, pairs }, 1 + width));
    match first {
        0x00..=0x7f | 0xc0..=0xc3 | 0xe0..=0xff => Some((Token::Plain, 1)),
        0x80..=0x8f => Some((Token::Group { values: low(15), pairs: true }, 1)),
        0x90..=0x9f => Some((Token::Group { values: low(15), pairs: false }, 1)),
        0xa0..=0xbf => Some((Token::Data { text: true, length: low(31) }, 1)),
        0xc4 => data(false, 1),
        0xc5 => data(false, 2),
        0xc6 => data(false, 4),
        0xcc | 0xd0 => Some((Token::Plain, 2)),
        0xcd | 0xd1 => Some((Token::Plain, 3)),
        0xca | 0xce | 0xd2 => Some((Token::Plain, 5)),
        0xcb | 0xcf | 0xd3 => Some((Token::Plain, 9)),
        0xd9 => data(true, 1),
        0xda => data(true, 2),
        0xdb => data(true, 4),
        0xdc => group(false, 2),
        0xdd => group(false, 4),
        0xde => group(true, 2),
        0xdf => group(true, 4),
        // Our codec writes no extension types.
        0xc7..=0xc9 | 0xd4..=0xd8 => None,
    }
}

fn write(out: &mut Vec<u8>, text: bool, data: &[u8]) -> Option<()> {
    let length = u32::try_from(data.len()).ok()?.to_be_bytes();
    // The widest header is as good as the shortest.
    out.push(if text { 0xdb } else { 0xc6 });
    out.extend_from_slice(&length);
    out.extend_from_slice(data);
    Some(())
}

#[cfg(test)]
mod tests {
    use aura_protocol::event::Delivery;
    use aura_protocol::run::{ErrorClass, Record, StepError, Transition};
    use aura_protocol::{EventId, Value, WireError, wire};
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "sk_live_9aB\"c/d";

    fn sink() -> Sink {
        let sink = Sink::default();
        sink.replace([SECRET].into_iter());
        sink
    }

    fn left<T: Serialize + DeserializeOwned>(item: &T) -> T {
        let mut codec = Clean(sink());
        let frame: Bytes = tokio_serde::Serializer::serialize(Pin::new(&mut codec), item).unwrap();
        assert!(!sink().finds(&frame));
        wire::decode(&frame).unwrap()
    }

    #[test]
    fn a_frame_decodes_as_before_but_for_its_secrets() {
        let value = Value::from_json(
            format!(
                r#"{{"a": 1, "b": -5, "c": 1.50, "d": 123456789012345678901234567890, "list": [true, null, "{}"],
                    "long": "{}", "{}": {{"x": "y"}}}}"#,
                SECRET.replace('"', "\\\""),
                "z".repeat(70_000),
                SECRET.replace('"', "\\u0022"),
            )
            .as_bytes(),
        )
        .unwrap();
        let mut error = StepError::new(ErrorClass::Auth, format!("said {SECRET}"));
        error.detail = Some(value.clone());
        let records = vec![
            Record::Completed { path: "a".to_owned(), attempt: 1, output: value },
            Record::Failed { path: "a".to_owned(), attempt: 1, error, retry_at_ms: None },
        ];
        let transition = Transition { number: 3, at_ms: 1_790_000_000_000, records };
        let got = left(&transition);
        let Some(Record::Completed { output, .. }) = got.records.first() else { panic!("{got:?}") };
        let shown = output.to_json();
        assert!(shown.starts_with(
            r#"{"a":1,"b":-5,"c":1.50,"d":123456789012345678901234567890,"list":[true,null,"[secret]"],"long":"zz"#
        ));
        assert!(shown.ends_with(r#"z","[secret]":{"x":"y"}}"#), "{}", shown.len());
        let Some(Record::Failed { error, .. }) = got.records.get(1) else { panic!("{got:?}") };
        assert_eq!(error.message, "said [secret]");
    }

    #[test]
    fn bodies_and_errors_are_cleaned_and_what_has_none_is_the_same() {
        let delivery = |body: &str| Delivery {
            event: EventId::now(),
            trigger: "in".to_owned(),
            method: "POST".to_owned(),
            query: String::new(),
            headers: vec![("x-a".to_owned(), body.to_owned())],
            body: body.as_bytes().to_vec(),
            blob: None,
            came: None,
            received_ms: 7,
        };
        let got = left(&delivery(&format!("it is {SECRET}, really")));
        assert_eq!(
            (got.body.as_slice(), got.headers[0].1.as_str()),
            (&b"it is [secret], really"[..], "it is [secret], really")
        );
        let clean = delivery("nothing");
        assert_eq!(left(&clean), clean);
        let error = WireError::not_found(format!("no {SECRET}")).hint(SECRET);
        assert_eq!(left(&error), WireError::not_found("no [secret]").hint("[secret]"));
    }

    proptest! {
        /// Bytes that are no frame are refused, never a fault.
        #[test]
        fn bytes_that_are_no_frame_are_no_fault(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = clean(&sink(), &bytes);
        }
    }
}
