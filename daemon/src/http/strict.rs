//! A second look at every head, byte by byte, before the parser: what two parsers might read differently is refused.
//!
//! Refused are line ends without CR, a CR or NUL inside of a line, folded headers, a length that is no plain number
//! or stands there twice, and a length beside a transfer-encoding. The one invariant: bytes are followed exactly as
//! they are framed, so a body is never taken for a head nor the other way round. A wrong byte is replaced by one
//! that no parser takes, so that the sender hears 400 and the connection ends.

use super::accept::HEAD_MAX;

/// What no head may hold: the parser answers it with 400.
const POISON: u8 = 0;

/// Where in the stream of one connection we are.
#[derive(Debug, Default)]
pub struct Strict {
    state: State,
    /// The beginning of a line whose end has not come yet.
    carry: Vec<u8>,
    /// Bytes of this head so far.
    head: usize,
    /// Whether the request line was seen.
    begun: bool,
    length: Option<u64>,
    chunked: bool,
}

#[derive(Debug, Default)]
enum State {
    /// In a head.
    #[default]
    Head,
    /// In a body of which so many bytes are left.
    Body(u64),
    /// Behind this request nothing is served any more: it was refused, or its body is chunked.
    Through,
}

impl Strict {
    /// Follows bytes that came in, and spoils the first one that is wrong.
    pub fn look(&mut self, mut bytes: &mut [u8]) {
        loop {
            match self.state {
                State::Through => return,
                State::Body(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let rest = left - u64::try_from(here).unwrap_or(left);
                    self.state = if rest == 0 { State::Head } else { State::Body(rest) };
                    bytes = bytes.split_at_mut(here).1;
                    if bytes.is_empty() {
                        return;
                    }
                }
                State::Head => {
                    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                        self.gather(bytes);
                        return;
                    };
                    let (line, rest) = bytes.split_at_mut(end + 1);
                    self.head += line.len();
                    if !self.take(line) {
                        if let Some(last) = line.last_mut() {
                            *last = POISON;
                        }
                        self.state = State::Through;
                        return;
                    }
                    bytes = rest;
                    if bytes.is_empty() {
                        return;
                    }
                }
            }
        }
    }

    /// Keeps the beginning of a line; what is longer than any head is refused by the parser.
    fn gather(&mut self, bytes: &[u8]) {
        self.head += bytes.len();
        if self.head > 2 * HEAD_MAX {
            self.state = State::Through;
            self.carry = Vec::new();
        } else {
            self.carry.extend_from_slice(bytes);
        }
    }

    /// One whole line with its end; false if it is wrong.
    fn take(&mut self, end: &[u8]) -> bool {
        let carried = std::mem::take(&mut self.carry);
        let fine = if carried.is_empty() { self.line(end) } else { self.line(&[&carried, end].concat()) };
        if self.head > 2 * HEAD_MAX {
            self.state = State::Through;
        }
        fine
    }

    fn line(&mut self, line: &[u8]) -> bool {
        let Some(text) = line.strip_suffix(b"\r\n") else { return false };
        if text.iter().any(|byte| matches!(byte, b'\r' | 0)) {
            return false;
        }
        if text.is_empty() {
            // Empty lines before a request are taken, as the parser does.
            return !self.begun || self.end();
        }
        if !self.begun {
            self.begun = true;
            return true;
        }
        if matches!(text.first(), Some(b' ' | b'\t')) {
            return false;
        }
        let Some(colon) = text.iter().position(|byte| *byte == b':') else { return true };
        let (name, value) = text.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = !value.is_empty() && value.len() <= 19 && value.iter().all(u8::is_ascii_digit);
            let number = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
            let first = self.length.is_none() && !self.chunked;
            self.length = number;
            return first && number.is_some();
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let first = self.length.is_none() && !self.chunked;
            self.chunked = true;
            return first && value.eq_ignore_ascii_case(b"chunked");
        }
        true
    }

    /// The empty line that ends a head.
    fn end(&mut self) -> bool {
        self.state = match (self.chunked, self.length) {
            (true, _) => State::Through,
            (false, Some(length)) if length > 0 => State::Body(length),
            _ => State::Head,
        };
        (self.head, self.begun, self.length, self.chunked) = (0, false, None, false);
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Follows a stream in pieces and says where it was spoiled.
    fn spoiled(stream: &[u8], piece: usize) -> Option<usize> {
        let mut strict = Strict::default();
        let mut bytes = stream.to_vec();
        for chunk in bytes.chunks_mut(piece.max(1)) {
            strict.look(chunk);
        }
        bytes.iter().zip(stream).position(|(now, before)| now != before)
    }

    #[test]
    fn wrong_heads_are_spoiled_and_right_ones_are_not() {
        let fine: &[&str] = &[
            "GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\na\nb\0GET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length:0\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nx-content-length: 1\r\nx-content-length: 2\r\n\r\n",
        ];
        let wrong: &[&str] = &[
            "GET / HTTP/1.1\nhost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\n\n",
            "GET / HTTP/1.1\r\nhost: a\rb\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\0b\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\n b\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\n\tb: c\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nCONTENT-LENGTH: 1\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: +1\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 1, 1\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 0x1\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length:\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}GET / HTTP/1.1\nhost: a\r\n\r\n",
        ];
        for piece in [1, 2, 7, 1000] {
            for stream in fine {
                assert_eq!(spoiled(stream.as_bytes(), piece), None, "{stream:?} in pieces of {piece}");
            }
            for stream in wrong {
                assert!(spoiled(stream.as_bytes(), piece).is_some(), "{stream:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn an_endless_line_is_not_kept() {
        let mut strict = Strict::default();
        for _ in 0..100 {
            strict.look(&mut [b'a'; 4096]);
            assert!(strict.carry.len() <= 2 * HEAD_MAX);
        }
        assert!(matches!(strict.state, State::Through));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn pieces_do_not_change_what_is_seen(
            stream in proptest::collection::vec(prop_oneof![
                Just(b"GET / HTTP/1.1\r\n".to_vec()), Just(b"\r\n".to_vec()), Just(b"\n".to_vec()),
                Just(b"content-length: 3\r\n".to_vec()), Just(b"abc".to_vec()), Just(b"host: a\r\n".to_vec()),
                Just(b"transfer-encoding: chunked\r\n".to_vec()), proptest::collection::vec(any::<u8>(), 0..5),
            ], 0..12).prop_map(|parts| parts.concat()),
            piece in 1_usize..20,
        ) {
            prop_assert_eq!(spoiled(&stream, piece), spoiled(&stream, stream.len().max(1)));
        }
    }
}
