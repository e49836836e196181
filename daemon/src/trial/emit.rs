//! A value as the YAML that people write: blocks, short things in one line, texts in quotes only where they need them.
//!
//! Invariant: what is written reads back as the same value.

use aura_protocol::Value;

/// What fits one line is written in one.
const LINE_MAX: usize = 100;

/// A value as YAML.
pub(super) fn yaml(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

fn block(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Map(map) if !map.is_empty() => {
            for (name, value) in map {
                out.push_str(&" ".repeat(indent));
                out.push_str(&text(name));
                out.push(':');
                entry(value, indent, out);
            }
        }
        Value::List(list) if !list.is_empty() => {
            for value in list {
                out.push_str(&" ".repeat(indent));
                out.push('-');
                match value {
                    // The first key stands beside the dash.
                    Value::Map(map) if !map.is_empty() && inline(value).len() > LINE_MAX - indent.min(60) => {
                        let mut inner = String::new();
                        block(value, indent + 2, &mut inner);
                        out.push(' ');
                        out.push_str(inner.trim_start());
                    }
                    value => entry(value, indent, out),
                }
            }
        }
        other => {
            out.push_str(&" ".repeat(indent));
            out.push_str(&inline(other));
            out.push('\n');
        }
    }
}

/// What stands behind a key or a dash.
fn entry(value: &Value, indent: usize, out: &mut String) {
    let line = inline(value);
    let nested =
        matches!(value, Value::Map(map) if !map.is_empty()) || matches!(value, Value::List(list) if !list.is_empty());
    if nested && (line.len() > LINE_MAX - indent.min(60) || indent == 0) {
        out.push('\n');
        block(value, indent + 2, out);
    } else {
        out.push(' ');
        out.push_str(&line);
        out.push('\n');
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::Str(content) => text(content),
        Value::List(list) => format!("[{}]", list.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Map(map) if map.is_empty() => "{}".to_owned(),
        Value::Map(map) => {
            let each = map.iter().map(|(name, value)| format!("{}: {}", text(name), inline(value)));
            format!("{{ {} }}", each.collect::<Vec<_>>().join(", "))
        }
        other => other.to_json(),
    }
}

/// A text, in quotes unless nobody could take it for something else.
fn text(content: &str) -> String {
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let plain = content.len() <= 80
        && content.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && content.chars().all(|c| c.is_ascii_alphanumeric() || "_-./@".contains(c))
        && !words.contains(&content.to_ascii_lowercase().as_str());
    if plain { content.to_owned() } else { Value::from(content).to_json() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let check = |json: &str| {
            let value = Value::from_json(json.as_bytes()).unwrap();
            let case = Value::object([("name", Value::from("a")), ("vars", Value::object([("v", value.clone())]))]);
            let file = Value::object([("aura", Value::from(1_i64)), ("cases", Value::List(vec![case]))]);
            let text = yaml(&file);
            let read =
                aura_protocol::flow::cases::read_cases(&text).unwrap_or_else(|found| panic!("{found:?}\n{text}"));
            assert_eq!(read.cases[0].vars.get("v"), Some(&value), "{text}");
        };
        check(
            r##"{"a": 1, "b": [1.50, null, true, "true", "1", "", " x", "a: b", "#c", "é\n\"q\"", "-", "{{ x }}"]}"##,
        );
        check(r#"[[], {}, [[1, [2]], {"a b": {"c": []}}], {"d": {"e": {"f": [{"g": 1, "h": "yes"}]}}}]"#);
        check(&format!(
            r#"[{{"long": "{}", "list": [{{"a": [1, 2]}}, "x"]}}, "😀 \u0007 \u2028"]"#,
            "word ".repeat(40)
        ));
        check(r#"{"null": "null", "1": 1e3, "0x1f": "0x1f", "2026-01-01": "2026-01-01", "a/b@c.d": "12e4"}"#);
    }
}
