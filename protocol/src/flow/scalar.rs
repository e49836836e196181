//! What an unquoted text means: the core schema of YAML 1.2, with exact numbers.
//!
//! Only plain texts are typed. What would silently lose something (leading zeros) or has no JSON form
//! (`.inf`, `.nan`) is refused with what to write instead.

use crate::value::Value;

/// The value of a plain text.
///
/// # Errors
/// A sentence and a hint for texts that look like numbers and have no exact JSON form.
pub(crate) fn typed(text: &str) -> Result<Value, (String, String)> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Err((format!("`{text}` is no number that JSON knows"), format!("if it is text, write \"{text}\"")));
    }
    let radix = |digits: &str, radix: u32| {
        let digits_ok = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
        digits_ok.then(|| {
            i128::from_str_radix(digits, radix)
                .map(Value::Int)
                .map_err(|_| (format!("`{text}` does not fit 128 bits"), format!("if it is text, write \"{text}\"")))
        })
    };
    if let Some(value) = text.strip_prefix("0x").and_then(|digits| radix(digits, 16)) {
        return value;
    }
    if let Some(value) = text.strip_prefix("0o").and_then(|digits| radix(digits, 8)) {
        return value;
    }
    number(text, unsigned).unwrap_or_else(|| Ok(Value::Str(text.to_owned())))
}

fn number(text: &str, unsigned: &str) -> Option<Result<Value, (String, String)>> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, rest) = unsigned.split_at(digits(unsigned));
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(after) => {
            let (fraction, rest) = after.split_at(digits(after));
            (Some(fraction), rest)
        }
        None => (None, rest),
    };
    if whole.is_empty() && fraction.unwrap_or_default().is_empty() {
        return None;
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let power = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if power.is_empty() || digits(power) != power.len() {
            return None;
        }
    } else if !rest.is_empty() {
        return None;
    }
    if whole.len() > 1 && whole.starts_with('0') {
        let message = format!("`{text}` would lose its leading zeros as a number");
        return Some(Err((message, format!("if it is text, write \"{text}\"; as a number write it without them"))));
    }
    let sign = if text.starts_with('-') { "-" } else { "" };
    if fraction.is_none() && rest.is_empty() {
        return Value::from_number_text(&format!("{sign}{whole}")).map(Ok);
    }
    let or_zero = |digits: &str| if digits.is_empty() { "0".to_owned() } else { digits.to_owned() };
    let fraction = fraction.map(|digits| format!(".{}", or_zero(digits))).unwrap_or_default();
    Value::from_number_text(&format!("{sign}{}{fraction}{rest}", or_zero(whole))).map(Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Value) {
        assert_eq!(typed(text), Ok(expected), "{text}");
    }

    #[test]
    fn the_core_schema_types_plain_texts() {
        check("null", Value::Null);
        check("~", Value::Null);
        check("True", Value::Bool(true));
        check("yes", Value::from("yes"));
        check("on", Value::from("on"));
        check("12", Value::Int(12));
        check("+12", Value::Int(12));
        check("-0x1F", Value::from("-0x1F"));
        check("0x1F", Value::Int(31));
        check("0o17", Value::Int(15));
        check("1_000", Value::from("1_000"));
        check("1e", Value::from("1e"));
        check("1.2.3", Value::from("1.2.3"));
        check("12:30", Value::from("12:30"));
        check(".", Value::from("."));
        check("-", Value::from("-"));
    }

    #[test]
    fn numbers_keep_every_digit() {
        check("612.10", Value::Dec("612.10".into()));
        check(".5", Value::Dec("0.5".into()));
        check("-1.", Value::Dec("-1.0".into()));
        check("1e400", Value::Dec("1e400".into()));
        check("170141183460469231731687303715884105727", Value::Int(i128::MAX));
        check("170141183460469231731687303715884105728", Value::Dec("170141183460469231731687303715884105728".into()));
    }

    #[test]
    fn what_would_be_lost_is_refused() {
        for text in ["007", "-01.5", ".inf", "-.Inf", ".nan", "0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"] {
            let (message, hint) = typed(text).unwrap_err();
            assert!(message.contains(text) && hint.contains(&format!("\"{text}\"")), "{message} / {hint}");
        }
        check("0", Value::Int(0));
        check("0.50", Value::Dec("0.50".into()));
    }
}
