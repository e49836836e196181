//! Keeps the secrets of a connection out of what a peer said, in every form in which peers repeat them.
//!
//! The invariant: whoever cuts a peer's words cuts them after this, so that no part of a secret is left over at
//! the cut. Looked for are each secret itself, its base64 (also within a longer base64, as in basic
//! authentication), and both of these percent-encoded, form-encoded or escaped as in JSON, also in part.

use std::borrow::Cow;

use aura_protocol::value::Value;

/// Secrets shorter than this are not looked for in answers: they would match by chance.
const SECRET_MIN: usize = 6;
/// What stands for a secret that an answer repeated.
pub(crate) const HIDDEN: &str = "[secret]";

/// The secrets of one call, ready to be looked for.
pub(crate) struct Secrets {
    needles: Vec<Vec<u8>>,
    /// Bytes at which one of them, or an escape, can begin.
    begins: [bool; 256],
}

impl Secrets {
    /// The values of the secret fields of a connection.
    pub fn of(fields: &[(String, String)]) -> Self {
        let mut needles: Vec<Vec<u8>> = Vec::new();
        for (_, secret) in fields.iter().filter(|(_, secret)| secret.len() >= SECRET_MIN) {
            needles.push(secret.as_bytes().to_vec());
            for shift in 0..3 {
                for table in [STANDARD, URL_SAFE] {
                    needles.extend(base64_forms(secret.as_bytes(), shift, table));
                }
            }
        }
        // Of two that begin at one place the longer is hidden.
        needles.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        needles.dedup();
        let mut begins = [false; 256];
        let firsts = needles.iter().filter_map(|needle| needle.first());
        for byte in firsts.chain(if needles.is_empty() { b"" } else { b"%\\+".as_slice() }) {
            if let Some(begin) = begins.get_mut(usize::from(*byte)) {
                *begin = true;
            }
        }
        Self { needles, begins }
    }

    /// A text without them.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let bytes = text.as_bytes();
        let (mut out, mut copied, mut at) = (Vec::new(), 0, 0);
        while let Some(byte) = bytes.get(at) {
            if !self.begins.get(usize::from(*byte)).is_some_and(|begin| *begin) {
                at += 1;
                continue;
            }
            let rest = bytes.get(at..).unwrap_or_default();
            match self.needles.iter().find_map(|needle| begins_with(rest, needle)) {
                Some(length) => {
                    out.extend_from_slice(bytes.get(copied..at).unwrap_or_default());
                    out.extend_from_slice(HIDDEN.as_bytes());
                    at += length.max(1);
                    copied = at;
                }
                None => at += 1,
            }
        }
        if copied == 0 {
            return Cow::Borrowed(text);
        }
        out.extend_from_slice(bytes.get(copied..).unwrap_or_default());
        Cow::Owned(String::from_utf8_lossy(&out).into_owned())
    }

    /// Takes them out of a text.
    pub fn hide_text(&self, text: &mut String) {
        if let Cow::Owned(clean) = self.text(text) {
            *text = clean;
        }
    }

    /// Takes them out of every text and key of a value.
    pub fn hide(&self, value: &mut Value) {
        match value {
            Value::Str(text) => self.hide_text(text),
            Value::List(items) => items.iter_mut().for_each(|item| self.hide(item)),
            Value::Map(map) => {
                if map.keys().any(|key| matches!(self.text(key), Cow::Owned(_))) {
                    *map = std::mem::take(map)
                        .into_iter()
                        .map(|(key, value)| (self.text(&key).into_owned(), value))
                        .collect();
                }
                map.values_mut().for_each(|item| self.hide(item));
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Dec(_) | Value::Blob(_) => {}
        }
    }
}

/// The length of `needle` at the beginning of a text, as it is or with any of its bytes escaped.
fn begins_with(text: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *text.first()?;
    if first != *needle.first()? && !matches!(first, b'%' | b'\\' | b'+') {
        return None;
    }
    if text.starts_with(needle) {
        return Some(needle.len());
    }
    let (mut at, mut found) = (0, 0);
    while found < needle.len() {
        let (rest, wanted) = (text.get(at..)?, needle.get(found..)?);
        let mut buffer = [0; 4];
        let escaped = escape(rest, &mut buffer).filter(|(piece, _)| wanted.starts_with(piece));
        let (decoded, read) = match escaped {
            Some((piece, read)) => (piece.len(), read),
            None if rest.first() == wanted.first() => (1, 1),
            None if rest.first() == Some(&b'+') && wanted.first() == Some(&b' ') => (1, 1),
            None => return None,
        };
        found += decoded;
        at += read;
    }
    Some(at)
}

/// The bytes that an escape at the beginning of a text stands for, and its length.
fn escape<'a>(text: &[u8], buffer: &'a mut [u8; 4]) -> Option<(&'a [u8], usize)> {
    let hex = |from: usize, to: usize| -> Option<u32> {
        let digits = text.get(from..to)?;
        digits.iter().try_fold(0, |number, digit| Some(number * 16 + char::from(*digit).to_digit(16)?))
    };
    match (text.first()?, text.get(1)) {
        (b'%', _) => {
            let byte = u8::try_from(hex(1, 3)?).ok()?;
            buffer[0] = byte;
            Some((buffer.get(..1)?, 3))
        }
        (b'\\', Some(b'u')) => {
            let high = hex(2, 6)?;
            let low = || -> Option<u32> { text.get(6..8).filter(|mark| mark == b"\\u").and_then(|_| hex(8, 12)) };
            let (code, read) = match high {
                0xd800..=0xdbff => (0x10000 + ((high - 0xd800) << 10) + low()?.checked_sub(0xdc00)?, 12),
                _ => (high, 6),
            };
            let length = char::from_u32(code)?.encode_utf8(buffer).len();
            Some((buffer.get(..length)?, read))
        }
        (b'\\', Some(letter)) => {
            buffer[0] = match letter {
                b'b' => 0x08,
                b'f' => 0x0c,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'"' | b'\\' | b'/' => *letter,
                _ => return None,
            };
            Some((buffer.get(..1)?, 2))
        }
        _ => None,
    }
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The characters of a base64 text that the secret alone decides, when it begins `shift` bytes after a border: with
/// more behind it, and at the end of the text.
fn base64_forms(secret: &[u8], shift: usize, table: &[u8; 64]) -> [Vec<u8>; 2] {
    let mut out = Vec::with_capacity(secret.len() * 4 / 3 + 2);
    let letter = |bits: u32| usize::try_from(bits & 63).ok().and_then(|place| table.get(place));
    let (mut bits, mut count) = (0_u32, 0);
    // Zeros stand for the bytes before: their characters are left out below.
    for byte in std::iter::repeat_n(&0, shift).chain(secret) {
        bits = (bits << 8) | u32::from(*byte);
        count += 8;
        while count >= 6 {
            count -= 6;
            out.extend(letter(bits >> count));
        }
        bits &= (1 << count) - 1;
    }
    out.drain(..(shift * 8).div_ceil(6).min(out.len()));
    let mut ended = out.clone();
    if count > 0 {
        ended.extend(letter(bits << (6 - count)));
    }
    [out, ended]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(list: &[&str]) -> Secrets {
        let fields: Vec<(String, String)> = list.iter().map(|value| ("f".to_owned(), (*value).to_owned())).collect();
        Secrets::of(&fields)
    }

    #[test]
    fn a_secret_is_found_in_every_form_and_nothing_else_is() {
        let secret = "p\"w/ü +é\\x%4";
        let known = secrets(&[secret, "short"]);
        let check = |text: &str, expected: &str| assert_eq!(known.text(text), expected, "{text}");
        check(&format!("a {secret} b {secret}"), "a [secret] b [secret]");
        check(r#"a p\"w\/ü +é\\x%4 b"#, "a [secret] b");
        check(r#"a p\"w/\u00fc +\u00E9\\x%4 b"#, "a [secret] b");
        check("a=p%22w%2F%C3%BC%20%2B%C3%A9%5Cx%254&b", "a=[secret]&b");
        check("a=p%22w%2f%c3%bc+%2b%c3%a9%5cx%254&b", "a=[secret]&b");
        check("a=%70%22%77%2F%C3%BC%20%2B%C3%A9%5C%78%25%34&b", "a=[secret]&b");
        for text in ["short", "p\"w/ü +é\\x%5", "p%22w%2F", "%", "%7", "\\", "\\u", "\\ud83d", "+", "", "p\"w/ü"] {
            check(text, text);
        }
        assert_eq!(secrets(&["emoji\u{1f600}!"]).text(r"x emoji\ud83d\ude00! y"), "x [secret] y");
        assert_eq!(secrets(&["abcdef", "abcdefgh"]).text("abcdefgh"), "[secret]", "the longer one");
    }

    #[test]
    fn base64_of_a_secret_is_found_wherever_it_begins() {
        // Made with another tool: base64 of "hunter2-key", "x:hunter2-key", "xy:hunter2-key", "xyz:hunter2-key!".
        let known = secrets(&["hunter2-key"]);
        for (text, expected) in [
            ("aHVudGVyMi1rZXk=", "[secret]="),
            ("Basic eDpodW50ZXIyLWtleQ==", "Basic eDp[secret]=="),
            ("Basic eHk6aHVudGVyMi1rZXk=", "Basic eHk6[secret]="),
            ("Basic eHl6Omh1bnRlcjIta2V5IQ==", "Basic eHl6Om[secret]IQ=="),
        ] {
            assert_eq!(known.text(text), expected, "{text}");
        }
        let odd = secrets(&["\u{3ff}\u{3ff}\u{3ff}>>>???"]);
        for text in ["z7/Pv8+/Pj4+Pz8/", "z7_Pv8-_Pj4-Pz8_", "z7%2FPv8%2B%2FPj4%2BPz8%2F"] {
            assert_eq!(odd.text(text), HIDDEN, "{text}");
        }
    }
}
