//! Text to tokens, one at a time, because a `}}` or a `/` means different things in different places.
//!
//! The parser owns the position; it asks for a regular expression or the next part of a template string
//! where the grammar allows one. Offsets are bytes in the whole text of the template.

/// One token; borrowed where nothing had to be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'s> {
    Name(&'s str),
    Number(&'s str),
    Text(String),
    Mark(&'static str),
    /// The backtick that opens a template string.
    Backtick,
    End,
}

impl Token<'_> {
    /// The token as an error message shows it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Name(text) | Self::Number(text) => format!("`{text}`"),
            Self::Text(_) => "a text".to_owned(),
            Self::Mark(mark) => format!("`{mark}`"),
            Self::Backtick => "a template string".to_owned(),
            Self::End => "the end".to_owned(),
        }
    }
}

/// A fault: sentence, hint, offset.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) hint: Option<String>,
    pub(super) at: usize,
}

impl Fault {
    pub(super) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, at }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Longest first, so that the first match is the token.
const MARKS: &[&str] = &[
    "...", "===", "!==", "==", "!=", "<=", ">=", "=>", "&&", "||", "??", "?.", "{", "}", "(", ")", "[", "]", ",", ":",
    "?", ".", "+", "-", "*", "/", "%", "<", ">", "!",
];

/// What people write that is no part of the language, and what to write instead.
const FOREIGN: &[(&str, &str)] = &[
    ("**", "write `x * x`"),
    ("++", "an expression changes nothing; write `x + 1`"),
    ("--", "an expression changes nothing; write `x - 1`"),
    ("+=", "an expression changes nothing"),
    ("&", "write `&&`"),
    ("|", "write `||`, or call the function as a method: `x.trim()`"),
    ("=", "compare with `==`; an expression assigns nothing"),
    (";", "write one expression"),
];

pub(super) struct Lexer<'s> {
    pub(super) text: &'s str,
    pub(super) at: usize,
}

impl<'s> Lexer<'s> {
    pub(super) fn rest(&self) -> &'s str {
        self.text.get(self.at..).unwrap_or("")
    }

    pub(super) fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// The next token; its start is the position after [`Self::space`].
    pub(super) fn next(&mut self) -> Result<Token<'s>, Fault> {
        self.space();
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Token::End) };
        if first.is_alphabetic() || first == '_' || first == '$' {
            let length =
                rest.find(|next: char| !(next.is_alphanumeric() || next == '_' || next == '$')).unwrap_or(rest.len());
            self.at += length;
            return Ok(Token::Name(rest.get(..length).unwrap_or("")));
        }
        if first.is_ascii_digit() {
            return self.number();
        }
        match first {
            '"' | '\'' => return self.quoted(first),
            '`' => {
                self.at += 1;
                return Ok(Token::Backtick);
            }
            _ => {}
        }
        for (foreign, hint) in FOREIGN {
            let longer = MARKS.iter().any(|mark| mark.len() > foreign.len() && rest.starts_with(mark));
            // `- -1` and `a - -b` are fine with a space; `--` together is JavaScript's decrement.
            if rest.starts_with(foreign) && !longer {
                return Err(Fault::new(self.at, format!("`{foreign}` is not part of expressions")).hint(*hint));
            }
        }
        let optional_digit = rest.starts_with("?.") && rest.as_bytes().get(2).is_some_and(u8::is_ascii_digit);
        let mark = if optional_digit { Some(&"?") } else { MARKS.iter().find(|mark| rest.starts_with(**mark)) };
        match mark {
            Some(mark) => {
                self.at += mark.len();
                Ok(Token::Mark(mark))
            }
            None if first.is_control() => Err(Fault::new(
                self.at,
                format!("the control character U+{:04X} is not part of expressions", u32::from(first)),
            )),
            None => Err(Fault::new(self.at, format!("`{first}` is not part of expressions"))),
        }
    }

    fn number(&mut self) -> Result<Token<'s>, Fault> {
        let rest = self.rest();
        let digits = |from: usize| rest.bytes().skip(from).take_while(u8::is_ascii_digit).count();
        let mut length = digits(0);
        if rest.as_bytes().get(length) == Some(&b'.') && digits(length + 1) > 0 {
            length += 1 + digits(length + 1);
        }
        if matches!(rest.as_bytes().get(length), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(rest.as_bytes().get(length + 1), Some(b'+' | b'-')));
            let power = digits(length + 1 + sign);
            if power > 0 {
                length += 1 + sign + power;
            }
        }
        let text = rest.get(..length).unwrap_or("");
        let next = rest.get(length..).and_then(|after| after.chars().next());
        if next.is_some_and(|next| next.is_alphanumeric() || next == '_')
            || (text.len() > 1 && text.starts_with('0') && !text.starts_with("0.") && !text.starts_with("0e"))
        {
            let message = "this is no number that expressions know";
            return Err(Fault::new(self.at, message).hint("write digits such as 1000 or 0.25"));
        }
        self.at += length;
        Ok(Token::Number(text))
    }

    fn quoted(&mut self, quote: char) -> Result<Token<'s>, Fault> {
        let open = self.at;
        self.at += 1;
        let mut out = String::new();
        loop {
            let Some(next) = self.rest().chars().next() else {
                return Err(Fault::new(open, "a text is not closed").hint(format!("end it with {quote}")));
            };
            match next {
                _ if next == quote => {
                    self.at += 1;
                    return Ok(Token::Text(out));
                }
                '\\' => out.extend(self.escape()?),
                _ => {
                    out.push(next);
                    self.at += next.len_utf8();
                }
            }
        }
    }

    /// The next piece of a template string: its text, and whether `${` follows (else it was closed).
    pub(super) fn template_piece(&mut self, open: usize) -> Result<(String, bool), Fault> {
        let mut out = String::new();
        loop {
            let rest = self.rest();
            if rest.starts_with("${") {
                self.at += 2;
                return Ok((out, true));
            }
            match rest.chars().next() {
                None => return Err(Fault::new(open, "a template string is not closed").hint("end it with `")),
                Some('`') => {
                    self.at += 1;
                    return Ok((out, false));
                }
                Some('\\') => out.extend(self.escape()?),
                Some(next) => {
                    out.push(next);
                    self.at += next.len_utf8();
                }
            }
        }
    }

    /// Reads an escape from its backslash; `None` for an escaped line break, which stands for nothing.
    fn escape(&mut self) -> Result<Option<char>, Fault> {
        let start = self.at;
        let rest = self.rest();
        let Some(letter) = rest.chars().nth(1) else {
            return Err(Fault::new(start, "a text ends within an escape"));
        };
        self.at += 1 + letter.len_utf8();
        let found = match letter {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'v' => '\u{b}',
            '0' => '\0',
            '\n' => return Ok(None),
            'x' => self.hex(2, start)?,
            'u' if self.rest().starts_with('{') => {
                let digits =
                    self.rest().get(1..).and_then(|after| after.split_once('}')).map_or("", |(digits, _)| digits);
                let number = u32::from_str_radix(digits, 16).ok().filter(|_| digits.len() <= 6);
                self.at += digits.len() + 2;
                number.and_then(char::from_u32).ok_or_else(|| bad_escape(start))?
            }
            'u' => {
                let high = self.hex_number(4, start)?;
                if (0xD800..0xDC00).contains(&high) && self.rest().starts_with("\\u") {
                    self.at += 2;
                    let low = self.hex_number(4, start)?;
                    let pair = low.checked_sub(0xDC00).filter(|low| *low < 0x400);
                    pair.and_then(|low| char::from_u32(0x1_0000 + ((high - 0xD800) << 10) + low))
                        .ok_or_else(|| bad_escape(start))?
                } else {
                    char::from_u32(high).ok_or_else(|| bad_escape(start))?
                }
            }
            other if other.is_alphanumeric() => {
                return Err(Fault::new(start, format!("`\\{other}` is no escape")).hint("write `\\\\` for a backslash"));
            }
            other => other,
        };
        Ok(Some(found))
    }

    fn hex_number(&mut self, count: usize, start: usize) -> Result<u32, Fault> {
        let digits = self.rest().get(..count).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        self.at += count;
        digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).ok_or_else(|| bad_escape(start))
    }

    fn hex(&mut self, count: usize, start: usize) -> Result<char, Fault> {
        self.hex_number(count, start).and_then(|number| char::from_u32(number).ok_or_else(|| bad_escape(start)))
    }

    /// Reads a regular expression whose opening slash has just been taken: its source and flags.
    pub(super) fn regex(&mut self) -> Result<(&'s str, &'s str), Fault> {
        let open = self.at.saturating_sub(1);
        let start = self.at;
        let (mut class, mut escaped) = (false, false);
        for (offset, next) in self.rest().char_indices() {
            match next {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '[' => class = true,
                ']' => class = false,
                '/' if !class => {
                    let source = self.text.get(start..start + offset).unwrap_or("");
                    self.at = start + offset + 1;
                    let rest = self.rest();
                    let length = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
                    self.at += length;
                    return Ok((source, rest.get(..length).unwrap_or("")));
                }
                _ => {}
            }
        }
        Err(Fault::new(open, "a regular expression is not closed").hint("end it with / and its flags"))
    }
}

fn bad_escape(at: usize) -> Fault {
    Fault::new(at, "an escape names no character").hint("write \\u00e9 or \\u{1f600}")
}
