//! The one place where text from outside is made safe to show: [`display`] and [`display_lines`].
//!
//! What leaves here moves no cursor, hides nothing and reorders nothing: control characters (C0, DEL, C1),
//! bidirectional controls, zero-width, tag and other invisible characters become visible escapes such as
//! `␛` or `\u{202e}`, runs of variation selectors too; more than eight combining marks on one base are
//! dropped. Applying it twice changes nothing more. Names, log lines, payloads and errors all pass here.

use std::fmt::Write as _;

use unicode_segmentation::UnicodeSegmentation;

/// Combining marks kept on one base character.
const MARKS_MAX: usize = 8;
/// What a tab becomes.
const TAB: &str = "    ";

/// Text that is safe on a terminal: one line, nothing that moves the cursor or hides.
#[must_use]
pub fn display(text: &str) -> String {
    sanitize(text, false)
}

/// As [`display`], but line breaks (`\n` and `\r\n`, given out as `\n`) stay, for payload views that show lines.
#[must_use]
pub fn display_lines(text: &str) -> String {
    sanitize(text, true)
}

fn sanitize(text: &str, lines: bool) -> String {
    let harmless = |byte: u8| (b' '..=b'~').contains(&byte) || (lines && byte == b'\n');
    if text.bytes().all(harmless) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut marks = None; // how many marks the last base carries; None: there is no base yet
    let mut rest = text.chars().peekable();
    while let Some(found) = rest.next() {
        if is_selector(found) {
            let mut run = 1;
            while rest.next_if(|next| is_selector(*next)).is_some() {
                run += 1;
            }
            match (run, marks) {
                (1, Some(MARKS_MAX..)) => {}
                (1, Some(count)) => {
                    out.push(found);
                    marks = Some(count + 1);
                }
                _ => {
                    escape(found, &mut out);
                    if run > 1 {
                        let _ = write!(out, "×{run}");
                    }
                    marks = Some(0);
                }
            }
            continue;
        }
        if is_mark(found) {
            let count = marks.unwrap_or(0);
            if count < MARKS_MAX {
                out.push(found);
            }
            marks = Some(count + 1);
            continue;
        }
        marks = Some(0);
        match found {
            '\n' if lines => {
                out.push('\n');
                marks = None;
            }
            '\r' if lines && rest.peek() == Some(&'\n') => marks = None,
            '\t' => out.push_str(TAB),
            '\0'..='\u{1f}' => out.extend(char::from_u32(0x2400 + u32::from(found))),
            '\u{7f}' => out.push('␡'),
            _ if is_hidden(found) => escape(found, &mut out),
            _ => out.push(found),
        }
    }
    out
}

fn escape(found: char, out: &mut String) {
    let _ = write!(out, "\\u{{{:x}}}", u32::from(found));
}

fn is_selector(found: char) -> bool {
    matches!(found, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' | '\u{180b}'..='\u{180d}' | '\u{180f}')
}

/// C1 controls and everything that is invisible, breaks a line or changes the direction of what follows.
fn is_hidden(found: char) -> bool {
    matches!(found,
        '\u{80}'..='\u{9f}'                                     // C1
        | '\u{61c}' | '\u{200e}' | '\u{200f}'                   // bidi marks
        | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'     // bidi embeddings, overrides, isolates
        | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}'     // zero width
        | '\u{2028}' | '\u{2029}'                               // line and paragraph separator
        | '\u{180e}' | '\u{2061}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}' // invisible
        | '\u{e0000}'..='\u{e007f}') // tags
}

/// Whether a character attaches to the one before it (Unicode grapheme rules).
fn is_mark(found: char) -> bool {
    if matches!(found, '\0'..='\u{2ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}') || is_hidden(found) {
        return false;
    }
    let mut pair = [b'a', 0, 0, 0, 0];
    let length = match pair.get_mut(1..) {
        Some(place) => found.encode_utf8(place).len(),
        None => return false,
    };
    let pair = pair.get(..=length).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("");
    pair.graphemes(true).nth(1).is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dangerous_text_becomes_visible() {
        let check = |text: &str, expected: &str| {
            assert_eq!(display(text), expected, "{text:?}");
        };
        check("plain text, 100 %", "plain text, 100 %");
        check("Grüße aus 東京 한국 😀", "Grüße aus 東京 한국 😀");
        check("\u{1b}]52;c;AAAA\u{7}", "␛]52;c;AAAA␇");
        check("\u{1b}[2J", "␛[2J");
        check("a\tb\rc\nd\0\u{7f}", "a    b␍c␊d␀␡");
        check("\u{9b}31m\u{85}", "\\u{9b}31m\\u{85}");
        check("exe\u{202e}fdp", "exe\\u{202e}fdp");
        check("\u{2066}a\u{2069}\u{200e}\u{200f}\u{61c}", "\\u{2066}a\\u{2069}\\u{200e}\\u{200f}\\u{61c}");
        check("pay\u{200b}pal\u{feff}\u{2060}", "pay\\u{200b}pal\\u{feff}\\u{2060}");
        check("a\u{e0041}\u{e007f}", "a\\u{e0041}\\u{e007f}");
        check("a\u{2028}b", "a\\u{2028}b");
        check("❤\u{fe0f}", "❤\u{fe0f}");
        check("\u{fe0f}a", "\\u{fe0f}a");
        check("a\u{fe0f}\u{e0101}\u{fe00}b", "a\\u{fe0f}×3b");
        check("e\u{301}", "e\u{301}");
    }

    #[test]
    fn marks_are_capped() {
        let zalgo = format!("a{}b{}", "\u{301}".repeat(5_000), "\u{302}".repeat(3));
        assert_eq!(display(&zalgo), format!("a{}b{}", "\u{301}".repeat(8), "\u{302}".repeat(3)));
        let mixed = format!("a{}", "\u{301}\u{fe0f}".repeat(100));
        assert_eq!(display(&mixed).chars().count(), 9);
    }

    #[test]
    fn lines_stay_only_where_asked() {
        assert_eq!(display_lines("a\r\nb\n\rc\u{1b}"), "a\nb\n␍c␛");
        assert_eq!(display("a\r\nb"), "a␍␊b");
    }

    fn nasty() -> impl Strategy<Value = String> {
        let char = prop_oneof![
            any::<char>(),
            prop::char::range('\0', '\u{a0}'),
            prop::char::range('\u{300}', '\u{310}'),
            prop::char::range('\u{2000}', '\u{2070}'),
            prop::char::range('\u{fe00}', '\u{fe0f}'),
            prop::char::range('\u{e0000}', '\u{e01ef}'),
            Just('\u{61c}'),
            Just('\u{feff}'),
            Just('a'),
        ];
        prop::collection::vec(char, 0..40).prop_map(|chars| chars.into_iter().collect())
    }

    fn assert_safe(out: &str, lines: bool) {
        for found in out.chars() {
            let number = u32::from(found);
            let forbidden = (number < 0x20 && !(lines && found == '\n'))
                || (0x7f..=0x9f).contains(&number)
                || (0x202a..=0x202e).contains(&number)
                || (0x2066..=0x2069).contains(&number)
                || (0x200b..=0x200f).contains(&number)
                || [0x61c, 0x2060, 0xfeff].contains(&number)
                || (0xe0000..=0xe007f).contains(&number);
            assert!(!forbidden, "{found:?} in {out:?}");
        }
        let selectors: Vec<bool> = out.chars().map(is_selector).collect();
        assert!(!selectors.windows(2).any(|pair| pair[0] && pair[1]), "selector run in {out:?}");
        let mut marks = 0;
        for found in out.chars() {
            marks = if is_mark(found) || is_selector(found) { marks + 1 } else { 0 };
            assert!(marks <= MARKS_MAX, "{out:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]
        #[test]
        fn nothing_dangerous_is_left(text in nasty()) {
            let one = display(&text);
            assert_safe(&one, false);
            prop_assert_eq!(display(&one), one.clone());
            let many = display_lines(&text);
            assert_safe(&many, true);
            prop_assert_eq!(display_lines(&many), many.clone());
        }
    }
}
