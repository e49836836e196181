//! The 1 KiB order that every workload sends, and its id, by which effects are matched.
//!
//! The one invariant: a payload is exactly [`SIZE`] bytes and depends on nothing but its tag and number.

use std::fmt::Write as _;

/// Bytes of one payload.
pub const SIZE: usize = 1024;
/// Digits of the number in an id.
const DIGITS: usize = 12;

/// The payload with this number. Its amount is the number modulo 200, so that half of the runs take each arm.
#[must_use]
pub fn payload(tag: &str, number: u64) -> String {
    let mut out = String::with_capacity(SIZE);
    let (customer, tier) = (number % 1000, if number.is_multiple_of(3) { "gold" } else { "basic" });
    let _ = write!(
        out,
        r#"{{"id":"{}","event":"order.created","amount":{},"currency":"EUR","customer":{{"email":"c{customer}@example.test","name":"Customer {customer}","tier":"{tier}"}},"items":[{{"sku":"SKU-{}","qty":{},"price":{}}},{{"sku":"SKU-{}","qty":1,"price":5}}],"pad":""#,
        id(tag, number),
        amount(number),
        number % 50,
        1 + number % 4,
        10 + number % 90,
        number % 70
    );
    let pad = (SIZE - 2).saturating_sub(out.len());
    out.extend(std::iter::repeat_n('x', pad));
    out.push_str("\"}");
    out
}

/// The id of the payload with this number.
#[must_use]
pub fn id(tag: &str, number: u64) -> String {
    format!("{tag}-{number:0DIGITS$}")
}

/// Its amount.
#[must_use]
pub fn amount(number: u64) -> u64 {
    number % 200
}

/// The number behind the first `TAG-` in a body.
#[must_use]
pub fn number(tag: &str, body: &[u8]) -> Option<u64> {
    let mut from = body;
    loop {
        let at = find(from, tag.as_bytes())?;
        let rest = from.get(at + tag.len()..)?;
        if let Some(digits) = rest.strip_prefix(b"-").and_then(|rest| rest.get(..DIGITS))
            && let Some(number) = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok())
        {
            return Some(number);
        }
        from = rest;
    }
}

/// Where a piece begins.
#[must_use]
pub fn find(whole: &[u8], piece: &[u8]) -> Option<usize> {
    whole.windows(piece.len()).position(|window| window == piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_has_its_size_and_its_number() {
        for number in [0, 1, 99, 100, 199, 200, 12_345_678, 999_999_999_999] {
            let text = payload("t1a2b", number);
            assert_eq!(text.len(), SIZE, "{text}");
            assert_eq!(super::number("t1a2b", text.as_bytes()), Some(number));
            assert_eq!(super::number("other", text.as_bytes()), None);
            let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(value["amount"], amount(number));
        }
    }

    #[test]
    fn a_tag_without_digits_behind_it_is_no_id() {
        let check = |body: &str, expected: Option<u64>| {
            assert_eq!(number("t1", body.as_bytes()), expected, "{body}");
        };
        check("t1", None);
        check("t1-00000000001", None);
        check("t1-x t1-000000000007", Some(7));
        check("\"order-t1-000000000009\"", Some(9));
    }
}
