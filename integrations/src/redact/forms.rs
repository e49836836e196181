//! The forms in which a secret comes back: as it is, encoded, escaped.
//!
//! The invariant: what is made here is wiped when it is dropped; only [`super::marks`] keeps something of it. Forms
//! that an escape makes (percent, `\u00e4`, `&quot;`) are undone in the text instead ([`super::views`]), in part and
//! mixed as peers do; here they stand only for secrets that look like an escape themselves.

use zeroize::Zeroizing;

/// A secret of fewer bytes is not looked for: it would match by chance.
pub(super) const SHORTEST: usize = 6;
/// A secret of fewer bytes that is made of letters only, or of digits only, may be a word or a number that means
/// nothing: it is not looked for as it is, only encoded.
pub(super) const WORD: usize = 12;
/// Secrets up to this many bytes are looked for as lists of byte numbers too, as programs print them.
const LISTED: usize = 256;

/// Whether the value could be a word or a number of everyday texts.
pub(super) fn is_plain(secret: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-');
    secret.len() < WORD && (secret.bytes().all(word) || secret.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Everything to look for; empty if the secret is too short.
pub(super) fn forms(secret: &str) -> Vec<Zeroizing<Vec<u8>>> {
    let bytes = secret.as_bytes();
    if bytes.len() < SHORTEST {
        return Vec::new();
    }
    let mut out: Vec<Zeroizing<Vec<u8>>> = Vec::with_capacity(24);
    if !is_plain(secret) {
        out.push(Zeroizing::new(bytes.to_vec()));
        out.push(escaped(bytes, |byte| match byte {
            b'"' => Some(br#"\""#),
            b'\\' => Some(br"\\"),
            b'\t' => Some(br"\t"),
            _ => None,
        }));
        out.push(escaped(bytes, |byte| match byte {
            b'"' => Some(b"&quot;"),
            b'\'' => Some(b"&#39;"),
            b'&' => Some(b"&amp;"),
            b'<' => Some(b"&lt;"),
            b'>' => Some(b"&gt;"),
            _ => None,
        }));
    }
    for shift in 0..3 {
        for table in [STANDARD, URL_SAFE] {
            out.extend(base64_forms(bytes, shift, table));
        }
    }
    for digits in [b"0123456789abcdef", b"0123456789ABCDEF"] {
        out.push(hex(bytes, digits));
    }
    if bytes.len() <= LISTED {
        out.extend([b",".as_slice(), b", "].map(|between| list(bytes, between)));
    }
    out.sort_by(|a, b| a.as_slice().cmp(b.as_slice()));
    out.dedup_by(|a, b| a.as_slice() == b.as_slice());
    out.retain(|form| form.len() >= SHORTEST);
    out
}

fn escaped(secret: &[u8], escape: impl Fn(u8) -> Option<&'static [u8]>) -> Zeroizing<Vec<u8>> {
    // Nothing moves while it grows, or a copy would be left behind.
    let mut out = Zeroizing::new(Vec::with_capacity(secret.len() * 6));
    for byte in secret {
        match escape(*byte) {
            Some(instead) => out.extend_from_slice(instead),
            None => out.push(*byte),
        }
    }
    out
}

fn hex(secret: &[u8], digits: &[u8; 16]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(secret.len() * 2));
    for byte in secret {
        out.extend([byte >> 4, byte & 15].iter().filter_map(|half| digits.get(usize::from(*half))));
    }
    out
}

/// `115,101,99`, as a list of bytes is printed.
fn list(secret: &[u8], between: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(secret.len() * 5));
    for (place, byte) in secret.iter().enumerate() {
        if place > 0 {
            out.extend_from_slice(between);
        }
        let digits = [byte / 100, byte / 10 % 10, byte % 10];
        let skipped = if *byte >= 100 { 0 } else { 1 + usize::from(*byte < 10) };
        out.extend(digits.iter().skip(skipped).map(|digit| b'0' + digit));
    }
    out
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The characters of a base64 text that the secret alone decides, when it begins `shift` bytes after a border: with
/// more behind it, and at the end of the text.
fn base64_forms(secret: &[u8], shift: usize, table: &[u8; 64]) -> [Zeroizing<Vec<u8>>; 2] {
    let mut out = Zeroizing::new(Vec::with_capacity(secret.len() * 4 / 3 + 4));
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
    let before = (shift * 8).div_ceil(6).min(out.len());
    let mut whole = Zeroizing::new(Vec::with_capacity(out.len() + 1));
    whole.extend_from_slice(out.get(before..).unwrap_or_default());
    let mut ended = Zeroizing::new(Vec::with_capacity(out.len() + 1));
    ended.extend_from_slice(&whole);
    if count > 0 {
        ended.extend(letter(bits << (6 - count)));
    }
    [whole, ended]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_agree_with_other_tools() {
        let has = |secret: &str, form: &str| {
            let all = forms(secret);
            assert!(all.iter().any(|have| have.as_slice() == form.as_bytes()), "{secret}: {form}");
        };
        // Made with base64, xxd, JSON.stringify and Python's list(bytes).
        for form in [
            "hunter2-key",
            "aHVudGVyMi1rZXk",
            "68756e746572322d6b6579",
            "68756E746572322D6B6579",
            "104,117,110,116,101,114,50,45,107,101,121",
            "104, 117, 110, 116, 101, 114, 50, 45, 107, 101, 121",
        ] {
            has("hunter2-key", form);
        }
        has("a\"b\\c%41", "a\\\"b\\\\c%41");
        has("a&b<c>'%41", "a&amp;b&lt;c&gt;&#39;%41");
        has("\t\u{1}bcdef9", "9,1,98,99,100,101,102,57");
    }

    #[test]
    fn what_could_be_a_word_is_looked_for_encoded_only_and_what_is_short_not_at_all() {
        for (secret, found, raw) in [
            ("short", false, false),
            ("orders", true, false),
            ("rate_limit", true, false),
            ("482913", true, false),
            ("orders1", true, true),
            ("482913-1", true, true),
            ("abcdefghijkl", true, true),
            ("ördersü", true, true),
        ] {
            let all = forms(secret);
            assert_eq!(!all.is_empty(), found, "{secret}");
            assert_eq!(all.iter().any(|form| form.as_slice() == secret.as_bytes()), raw, "{secret}");
        }
    }
}
