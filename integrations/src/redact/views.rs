//! A text with its escapes undone, and the way back: where a piece of it stood in the text.
//!
//! The invariant: a place in a view leads to the place in its source from which it came, so what is found in a view is
//! cut out of the source with all of its escapes. Known are percent escapes, `+` as space, those of JSON, of Rust's
//! `Debug` and of HTML.

use std::ops::Range;

/// A text with its escapes undone.
pub(super) struct View {
    /// The text.
    pub bytes: Vec<u8>,
    /// Where the distance between view and source changes: place here, place there.
    steps: Vec<(usize, usize)>,
}

impl View {
    /// The view of a text; `None` if it has no escapes. With `plus`, `+` is a space.
    pub fn of(text: &[u8], plus: bool) -> Option<Self> {
        let begins = |byte: &u8| matches!(byte, b'%' | b'\\' | b'&') || (plus && *byte == b'+');
        let mut at = text.iter().position(begins)?;
        let (mut bytes, mut steps, mut copied) = (Vec::new(), vec![(0, 0)], 0);
        let mut buffer = [0; 4];
        loop {
            let rest = text.get(at..).unwrap_or_default();
            let undone = match rest.first() {
                Some(b'+') => Some((b" ".as_slice(), 1)),
                _ => escape(rest, &mut buffer),
            };
            let read = match undone {
                Some((piece, read)) => {
                    if bytes.capacity() == 0 {
                        bytes.reserve_exact(text.len());
                    }
                    bytes.extend_from_slice(text.get(copied..at).unwrap_or_default());
                    bytes.extend_from_slice(piece);
                    copied = at + read;
                    steps.push((bytes.len(), copied));
                    read
                }
                None => 1,
            };
            at += read;
            match text.get(at..).and_then(|rest| rest.iter().position(begins)) {
                Some(next) => at += next,
                None => break,
            }
        }
        if copied == 0 {
            return None;
        }
        bytes.extend_from_slice(text.get(copied..).unwrap_or_default());
        Some(Self { bytes, steps })
    }

    /// Where a piece of the view stands in the source.
    pub fn source(&self, range: &Range<usize>) -> Range<usize> {
        self.place(range.start)..self.place(range.end)
    }

    fn place(&self, at: usize) -> usize {
        let behind = self.steps.partition_point(|(here, _)| *here <= at);
        let (here, there) = self.steps.get(behind.saturating_sub(1)).copied().unwrap_or_default();
        there + at.saturating_sub(here)
    }
}

/// The bytes that an escape at the beginning of a text stands for, and its length.
fn escape<'a>(text: &[u8], buffer: &'a mut [u8; 4]) -> Option<(&'a [u8], usize)> {
    let number = |digits: &[u8], radix: u32| -> Option<u32> {
        let fold =
            |number: u32, digit: &u8| number.checked_mul(radix)?.checked_add(char::from(*digit).to_digit(radix)?);
        if digits.is_empty() { None } else { digits.iter().try_fold(0, fold) }
    };
    let hex = |from: usize, to: usize| number(text.get(from..to)?, 16);
    let mut put = |code: u32, read: usize| {
        let length = char::from_u32(code)?.encode_utf8(buffer).len();
        Some((length, read))
    };
    let (length, read) = match (text.first()?, text.get(1)) {
        (b'%', _) => {
            let byte = u8::try_from(hex(1, 3)?).ok()?;
            buffer[0] = byte;
            (1, 3)
        }
        (b'\\', Some(b'u')) if text.get(2) == Some(&b'{') => {
            let end = text.iter().take(11).position(|byte| *byte == b'}')?;
            put(hex(3, end)?, end + 1)?
        }
        (b'\\', Some(b'u')) => {
            let high = hex(2, 6)?;
            let low = || -> Option<u32> { text.get(6..8).filter(|mark| mark == b"\\u").and_then(|_| hex(8, 12)) };
            match high {
                0xd800..=0xdbff => put(0x10000 + ((high - 0xd800) << 10) + low()?.checked_sub(0xdc00)?, 12)?,
                _ => put(high, 6)?,
            }
        }
        (b'\\', Some(b'x')) => {
            let byte = u8::try_from(hex(2, 4)?).ok()?;
            buffer[0] = byte;
            (1, 4)
        }
        (b'\\', Some(letter)) => {
            buffer[0] = match letter {
                b'b' => 0x08,
                b'f' => 0x0c,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'"' | b'\'' | b'\\' | b'/' => *letter,
                _ => return None,
            };
            (1, 2)
        }
        (b'&', Some(b'#')) => {
            let end = text.iter().take(11).position(|byte| *byte == b';')?;
            let code = match text.get(2) {
                Some(b'x' | b'X') => hex(3, end),
                _ => number(text.get(2..end)?, 10),
            };
            put(code?, end + 1)?
        }
        (b'&', Some(_)) => {
            let end = text.iter().take(7).position(|byte| *byte == b';')?;
            buffer[0] = match text.get(1..end)? {
                b"amp" => b'&',
                b"lt" => b'<',
                b"gt" => b'>',
                b"quot" => b'"',
                b"apos" => b'\'',
                _ => return None,
            };
            (1, end + 1)
        }
        _ => return None,
    };
    Some((buffer.get(..length)?, read))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_and_lead_back() {
        let check = |text: &str, plus: bool, expected: Option<&str>| {
            let view = View::of(text.as_bytes(), plus);
            let got = view.as_ref().map(|view| String::from_utf8_lossy(&view.bytes).into_owned());
            assert_eq!(got.as_deref(), expected, "{text}");
        };
        check("plain", false, None);
        check("100 % \\ & more", false, None);
        check("a%2Fb%zz", false, Some("a/b%zz"));
        check("a+b", false, None);
        check("a+b%2b", true, Some("a b+"));
        check(r#"\"\\\/\n\u00e4\ud83d\ude00\ud83d!"#, false, Some("\"\\/\nä😀\\ud83d!"));
        check(r"\u{1f600}\x41\u{}\x4", false, Some("😀A\\u{}\\x4"));
        check("&quot;&amp;&#39;&#x27;&lt;&gt;&apos;&nbsp;&;", false, Some("\"&''<>'&nbsp;&;"));
        for cut in ["%", "%4", "\\", "\\u", "\\ud83d\\u", "\\u{", "&", "&#", "&#x", "&quot", "&#99999999999;"] {
            check(cut, false, None);
        }
        let view = View::of(b"..%41%42c\\n!", false).unwrap();
        assert_eq!(view.bytes, b"..ABc\n!");
        assert_eq!(view.source(&(2..5)), 2..9);
        assert_eq!(view.source(&(3..4)), 5..8);
        assert_eq!(view.source(&(5..6)), 9..11);
        assert_eq!(view.source(&(0..7)), 0..12);
    }
}
