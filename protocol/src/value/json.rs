//! JSON text to `Value`, digit for digit.
//!
//! Own code because every parser at hand turns decimals into `f64` or needs `arbitrary_precision`, which
//! is banned. Duplicate keys: the last one wins, as in JavaScript, except under [`Value::from_json_strict`].
//! Nesting is refused beyond [`DEPTH_MAX`] before anything recurses further. The way back is `json_write`.

use super::{Map, Value};

/// Deepest nesting read; deeper text is refused with its position.
pub const DEPTH_MAX: usize = 64;

/// Why a text is not JSON that we take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at line {line}, column {column}")]
pub struct JsonError {
    /// What is wrong.
    pub message: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Value {
    /// Reads one JSON text; of a key that stands twice in an object the last one counts.
    ///
    /// # Errors
    /// Names what is wrong and where: syntax, invalid UTF-8, depth over [`DEPTH_MAX`], text after the end.
    pub fn from_json(bytes: &[u8]) -> Result<Self, JsonError> {
        parse(bytes, false)
    }

    /// As [`Value::from_json`], but a key that stands twice in one object is refused.
    ///
    /// # Errors
    /// As [`Value::from_json`], and the duplicate key with its position.
    pub fn from_json_strict(bytes: &[u8]) -> Result<Self, JsonError> {
        parse(bytes, true)
    }

    /// The value of a number written as JSON writes numbers: [`Value::Int`] if it has neither fraction nor
    /// exponent and fits, [`Value::Dec`] with the same text otherwise (also `-0`); `None` if it is no number.
    #[must_use]
    pub fn from_number_text(text: &str) -> Option<Self> {
        let (end, whole) = scan_number(text.as_bytes());
        (end == text.len()).then(|| number(text, whole)).filter(|_| !text.is_empty())
    }
}

fn number(text: &str, whole: bool) -> Value {
    if whole
        && text != "-0"
        && let Ok(small) = text.parse::<i128>()
    {
        return Value::Int(small);
    }
    Value::Dec(text.to_owned())
}

/// Length of the number at the start of `bytes` (0 if there is none), and whether it has neither fraction nor exponent.
fn scan_number(bytes: &[u8]) -> (usize, bool) {
    let digits = |from: usize| bytes.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    let first = bytes.get(at);
    let count = digits(at);
    if count == 0 {
        return (0, true);
    }
    // A leading zero stands alone; what follows it is not part of the number.
    at += if first == Some(&b'0') { 1 } else { count };
    let mut whole = true;
    if bytes.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return (0, false);
        }
        at += 1 + fraction;
        whole = false;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at + 1 + sign);
        if exponent == 0 {
            return (0, false);
        }
        at += 1 + sign + exponent;
        whole = false;
    }
    (at, whole)
}

/// What went wrong and the byte offset of it.
struct Fault {
    message: String,
    at: usize,
}

fn parse(bytes: &[u8], strict: bool) -> Result<Value, JsonError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| locate(bytes, error.valid_up_to(), "text is not valid UTF-8".to_owned()))?;
    let mut reader = Reader { text, at: 0, strict };
    let read = reader.value(0).and_then(|value| {
        reader.space();
        match reader.peek() {
            None => Ok(value),
            Some(_) => Err(reader.fault("there is more text after the end of the value")),
        }
    });
    read.map_err(|fault| locate(bytes, fault.at, fault.message))
}

fn locate(bytes: &[u8], at: usize, message: String) -> JsonError {
    let before = bytes.get(..at).unwrap_or(bytes);
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    JsonError {
        message,
        line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
        // Every byte that is not a continuation byte begins a character.
        column: before.iter().skip(line_start).filter(|byte| (**byte & 0xC0) != 0x80).count() + 1,
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    strict: bool,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn fault(&self, message: impl Into<String>) -> Fault {
        Fault { message: message.into(), at: self.at }
    }

    /// The fault "expected X, found what stands here".
    fn expected(&self, what: &str) -> Fault {
        match self.rest().chars().next() {
            None => self.fault(format!("the text ends where {what} was expected")),
            Some(found) if found.is_control() => {
                self.fault(format!("expected {what}, found the control character U+{:04X}", u32::from(found)))
            }
            Some(found) => self.fault(format!("expected {what}, found `{found}`")),
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        self.at += usize::from(here);
        here
    }

    /// Reads one value; `depth` containers are open around it.
    fn value(&mut self, depth: usize) -> Result<Value, Fault> {
        self.space();
        match self.peek() {
            Some(b'{' | b'[') if depth >= DEPTH_MAX => {
                Err(self.fault(format!("lists and objects are nested deeper than {DEPTH_MAX}")))
            }
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.list(depth + 1),
            Some(b'"') => self.string().map(Value::Str),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => Err(self.expected("a value")),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, Fault> {
        if self.rest().starts_with(word) {
            self.at += word.len();
            return Ok(value);
        }
        Err(self.fault(format!("expected `{word}`")))
    }

    fn number(&mut self) -> Result<Value, Fault> {
        let (length, whole) = scan_number(self.rest().as_bytes());
        let Some(text) = self.rest().get(..length).filter(|text| !text.is_empty()) else {
            return Err(self.fault("a number is not complete"));
        };
        self.at += length;
        if matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.fault("a number does not begin with 0"));
        }
        Ok(number(text, whole))
    }

    fn list(&mut self, depth: usize) -> Result<Value, Fault> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.eat(b']') {
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.space();
            if self.eat(b']') {
                return Ok(Value::List(items));
            }
            if !self.eat(b',') {
                return Err(self.expected("`,` or `]`"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, Fault> {
        self.at += 1;
        let mut map = Map::new();
        self.space();
        if self.eat(b'}') {
            return Ok(Value::Map(map));
        }
        loop {
            self.space();
            let key_at = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.expected("a key in quotes"));
            }
            let key = self.string()?;
            if self.strict && map.contains_key(&key) {
                let message = format!("the key `{}` stands twice in one object", crate::text::display(&key));
                return Err(Fault { message, at: key_at });
            }
            self.space();
            if !self.eat(b':') {
                return Err(self.expected("`:`"));
            }
            let value = self.value(depth)?;
            map.insert(key, value);
            self.space();
            if self.eat(b'}') {
                return Ok(Value::Map(map));
            }
            if !self.eat(b',') {
                return Err(self.expected("`,` or `}`"));
            }
        }
    }

    /// Reads a text from its opening quote.
    fn string(&mut self) -> Result<String, Fault> {
        let open = self.at;
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = self.rest();
            let plain = rest.bytes().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1F)).count();
            out.push_str(rest.get(..plain).unwrap_or(""));
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => out.push(self.escape()?),
                Some(control) => {
                    return Err(self.fault(format!("a text holds the control character U+{control:04X} unescaped")));
                }
                None => return Err(Fault { message: "a text is not closed".to_owned(), at: open }),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let start = self.at;
        let plain = match self.text.as_bytes().get(start + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.hex(start)?;
                self.at += 6;
                if !(0xD800..0xE000).contains(&first) {
                    return char::from_u32(first).ok_or_else(|| lone(start));
                }
                let second = if self.rest().starts_with("\\u") { self.hex(self.at)? } else { 0 };
                if first >= 0xDC00 || !(0xDC00..0xE000).contains(&second) {
                    return Err(lone(start));
                }
                self.at += 6;
                return char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00))
                    .ok_or_else(|| lone(start));
            }
            _ => return Err(self.fault("a backslash is followed by no known escape")),
        };
        self.at += 2;
        Ok(plain)
    }

    /// The four hexadecimal digits of the `\u` escape that begins at `start`.
    fn hex(&self, start: usize) -> Result<u32, Fault> {
        self.text
            .get(start + 2..start + 6)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .ok_or_else(|| Fault { message: "`\\u` needs four hexadecimal digits".to_owned(), at: start })
    }
}

fn lone(at: usize) -> Fault {
    Fault { message: "half of a surrogate pair stands alone".to_owned(), at }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
