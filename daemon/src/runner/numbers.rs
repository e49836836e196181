//! Values on their way into a script: JavaScript knows only doubles, and a digit that it would lose is refused.

use aura_protocol::Value;

/// Integers up to here are exact in JavaScript (`Number.MAX_SAFE_INTEGER`, ECMA-262 §21.1.2.6).
const INTEGER_MAX: i128 = (1 << 53) - 1;

/// The input of a script as JSON.
///
/// # Errors
/// A number in it has more digits than JavaScript keeps: one sentence that names it.
pub fn for_script(input: &Value) -> Result<String, String> {
    exact(input, "input")?;
    Ok(input.to_json())
}

fn exact(value: &Value, path: &str) -> Result<(), String> {
    let refuse = |text: &str| {
        let shown = aura_protocol::text::display(text);
        Err(format!("the number {shown} at `{path}` has more digits than JavaScript keeps; give it as text"))
    };
    match value {
        Value::Int(number) if !(-INTEGER_MAX..=INTEGER_MAX).contains(number) => refuse(&number.to_string()),
        Value::Dec(text) if !is_exact(text) => refuse(text),
        Value::List(items) => {
            items.iter().enumerate().try_for_each(|(index, item)| exact(item, &format!("{path}[{index}]")))
        }
        Value::Map(fields) => fields.iter().try_for_each(|(name, field)| exact(field, &format!("{path}.{name}"))),
        _ => Ok(()),
    }
}

/// Whether a script that returns this number gives the same number back: its shortest text as a double is equal to it.
fn is_exact(text: &str) -> bool {
    let Ok(double) = text.parse::<f64>() else { return false };
    double.is_finite() && digits(text) == digits(&format!("{double:e}"))
}

/// Sign, digits without zeros at the ends, and the power of ten of the last digit.
fn digits(text: &str) -> (bool, String, i64) {
    let (minus, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (number, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all = format!("{whole}{fraction}");
    let led = all.trim_start_matches('0');
    let kept = led.trim_end_matches('0');
    if kept.is_empty() {
        return (false, String::new(), 0);
    }
    let length = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
    let power = power.trim_start_matches('+').parse::<i64>().unwrap_or(i64::MAX / 2);
    (minus, kept.to_owned(), power - length(fraction) + length(led) - length(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_double_would_change_is_refused() {
        let cases = [
            ("9007199254740991", true),
            ("9007199254740992", false),
            ("-9007199254740993", false),
            ("612.10", true),
            ("0.1", true),
            ("-0.0", true),
            ("1e3", true),
            ("1.5e-7", true),
            ("0.12345678901234567890", false),
            ("123456789012345678.5", false),
            ("1e400", false),
            ("{\"a\":[1,{\"b\":12345678901234567890}]}", false),
        ];
        for (text, passes) in cases {
            let value = Value::from_json(text.as_bytes()).unwrap();
            assert_eq!(for_script(&value).is_ok(), passes, "{text}");
        }
        let value = Value::from_json(b"{\"a\":[1,{\"b\":12345678901234567890}]}").unwrap();
        assert!(for_script(&value).unwrap_err().contains("`input.a[1].b`"));
    }
}
