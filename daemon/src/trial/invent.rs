//! Values for what nobody said: made of what the flow reads of them.
//!
//! A flow that reads `steps.order.output.lines.map(l => l.sku)` is given an order with one line that has a `sku`.
//! Invariant: the same flow gives the same values, and what is made up here is always shown as generated. It only
//! guesses: types come from how a value is used next to where it is read, and from its name.

use std::collections::BTreeMap;

use aura_protocol::flow::{self, Flow};
use aura_protocol::{Map, Value};

/// What is read below a name.
#[derive(Debug, Default)]
struct Shape {
    fields: BTreeMap<String, Self>,
    /// It is a list, and this is read of its items.
    items: Option<Box<Self>>,
    /// How it is used says what it is.
    leaf: Option<Value>,
}

/// Where a chain of names leads: fields, and `None` for an item of a list.
type Way = Vec<Option<String>>;

/// Everything that a flow reads.
#[derive(Debug, Default)]
pub(super) struct Reads(Shape);

/// Chains longer than this are not followed.
const WAY_MAX: usize = 32;
/// Methods that only lists have.
const OF_LISTS: &[&str] = &[
    "map", "filter", "find", "some", "every", "reduce", "forEach", "flatMap", "join", "at", "concat", "sort",
    "reverse", "sum", "average", "first", "last", "unique", "groupBy", "sortBy", "chunk", "indexOf", "slice",
];
/// Keys whose expressions are conditions.
const CONDITIONS: &[&str] = &["if", "when", "while", "until", "break_if", "filter"];

impl Reads {
    /// Of a flow.
    pub(super) fn of(flow: &Flow) -> Self {
        let mut reads = Self::default();
        reads.walk(&flow::canonical(flow), "", &mut Vec::new());
        reads
    }

    /// What is read below names, as a value; none if nothing is.
    pub(super) fn value(&self, names: &[&str]) -> Option<Value> {
        let mut at = &self.0;
        for name in names {
            at = at.fields.get(*name)?;
        }
        Some(at.value(names.last().copied().unwrap_or_default()))
    }

    /// What a step gives, as far as anybody reads it.
    pub(super) fn output(&self, step: &str) -> Option<Value> {
        self.value(&["steps", step, "output"])
    }

    fn walk(&mut self, value: &Value, key: &str, names: &mut Vec<(String, Way)>) {
        match value {
            Value::Str(text) => self.text(text, key, names),
            Value::List(list) => list.iter().for_each(|value| self.walk(value, key, names)),
            Value::Map(map) => {
                let known = names.len();
                let settings = map.get("map").or_else(|| map.get("each"));
                let over = settings.and_then(|settings| settings.get("over").or(Some(settings)));
                if let Some(way) = over.and_then(Value::as_str).and_then(|text| list_in(text, names)) {
                    self.at(&way).items.get_or_insert_default();
                    let item: Way = way.into_iter().chain([None]).collect();
                    let name = settings.and_then(|settings| settings.get("as")).and_then(Value::as_str);
                    names.extend(name.map(|name| (name.to_owned(), item.clone())));
                    names.push(("item".to_owned(), item));
                }
                map.iter().filter(|(key, _)| *key != "note").for_each(|(key, value)| self.walk(value, key, names));
                names.truncate(known);
            }
            _ => {}
        }
    }

    /// The shape at a way.
    fn at(&mut self, way: &[Option<String>]) -> &mut Shape {
        let mut at = &mut self.0;
        for part in way.iter().take(WAY_MAX) {
            at = match part {
                Some(name) => at.fields.entry(name.clone()).or_default(),
                None => at.items.get_or_insert_default(),
            };
        }
        at
    }

    /// The expressions of a text.
    fn text(&mut self, text: &str, key: &str, names: &[(String, Way)]) {
        for part in text.split("{{").skip(1) {
            let code = part.split("}}").next().unwrap_or_default();
            let mut names = names.to_vec();
            let mut rest = code;
            let mut before = "";
            while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '\'' || c == '"') {
                let from = rest.get(start..).unwrap_or_default();
                if let Some(quote) = from.chars().next().filter(|c| *c == '\'' || *c == '"') {
                    let end = from.get(1..).and_then(|inner| inner.find(quote)).map_or(from.len(), |end| end + 2);
                    (before, rest) = ("'", from.get(end..).unwrap_or_default());
                    continue;
                }
                let head = rest.get(..start).unwrap_or_default();
                // A name behind a dot or a digit begins nothing.
                let begins = !head.ends_with(['.', '$']) && !head.ends_with(|c: char| c.is_ascii_alphanumeric());
                let before_it = if head.trim().is_empty() { before } else { head.trim_end() };
                let chain = Chain::read(from);
                let after = from.get(chain.length..).unwrap_or_default();
                if begins && let Some(way) = chain.way(&names) {
                    let condition = CONDITIONS.contains(&key);
                    self.used(&chain, &way, (before_it, after), condition, &mut names);
                }
                (before, rest) = ("x", after);
            }
        }
    }

    /// A chain was read: what is around it says what it is.
    fn used(
        &mut self,
        chain: &Chain<'_>,
        way: &Way,
        (before, after): (&str, &str),
        condition: bool,
        names: &mut Vec<(String, Way)>,
    ) {
        let shape = self.at(way);
        if let Some(method) = chain.method {
            let list = OF_LISTS.contains(&method);
            let arrow = after.trim_start_matches('(').trim_start();
            let name: String = arrow.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let named = arrow.get(name.len()..).is_some_and(|rest| rest.trim_start().starts_with("=>"));
            if (list && method != "concat" && method != "slice" && method != "indexOf") || named {
                shape.items.get_or_insert_default();
            }
            if named && !name.is_empty() {
                names.push((name, way.iter().cloned().chain([None]).collect()));
            }
            return;
        }
        if chain.length_of_list {
            shape.items.get_or_insert_default();
            return;
        }
        if shape.leaf.is_none() {
            shape.leaf = literal(after).or_else(|| {
                let alone = |side: &str, marks: &[&str]| side.is_empty() || marks.contains(&side);
                let ends = after.trim_start();
                let asks = ends.starts_with("&&") || ends.starts_with("||");
                let chosen = ends.starts_with('?') && !ends.starts_with("??") && !ends.starts_with("?.");
                let open = alone(before, &["!"]) || before.ends_with("&&") || before.ends_with("||");
                let whole = ends.is_empty() && condition;
                (open && (asks || chosen || whole)).then_some(Value::Bool(true))
            });
        }
    }
}

/// A chain of names as it stands in an expression.
struct Chain<'t> {
    parts: Vec<Option<&'t str>>,
    /// It ends in a call of this method, which is not one of the parts.
    method: Option<&'t str>,
    /// It ends in `.length`.
    length_of_list: bool,
    /// Bytes of it.
    length: usize,
}

impl<'t> Chain<'t> {
    fn read(text: &'t str) -> Self {
        let word = |from: usize| {
            let rest = text.get(from..).unwrap_or_default();
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            rest.get(..end).unwrap_or_default()
        };
        let first = word(0);
        let mut chain = Self { parts: vec![Some(first)], method: None, length_of_list: false, length: first.len() };
        loop {
            let rest = text.get(chain.length..).unwrap_or_default();
            let dot = if rest.starts_with("?.") { 2 } else { usize::from(rest.starts_with('.')) };
            let open = rest.get(dot..).unwrap_or_default();
            if let Some(inner) = open.strip_prefix('[') {
                let Some(end) = inner.find(']') else { return chain };
                let key = inner.get(..end).unwrap_or_default().trim();
                let quoted = key.len() > 1 && key.starts_with(['\'', '"']);
                chain.parts.push(if quoted { Some(key.trim_matches(['\'', '"'])) } else { None });
                chain.length += dot + end + 2;
                continue;
            }
            let name = if dot > 0 { word(chain.length + dot) } else { "" };
            if name.is_empty() {
                return chain;
            }
            chain.length += dot + name.len();
            if text.get(chain.length..).is_some_and(|rest| rest.starts_with('(')) {
                chain.method = Some(name);
                return chain;
            }
            if name == "length" {
                chain.length_of_list = true;
                return chain;
            }
            chain.parts.push(Some(name));
        }
    }

    /// Where it leads; none if it begins with no name that data has.
    fn way(&self, names: &[(String, Way)]) -> Option<Way> {
        let (first, rest) = self.parts.split_first()?;
        let first = (*first)?;
        let mut way = match names.iter().rev().find(|(name, _)| name == first) {
            Some((_, way)) => way.clone(),
            None if matches!(first, "steps" | "trigger" | "input" | "vars") => vec![Some(first.to_owned())],
            None => return None,
        };
        way.extend(rest.iter().map(|part| part.map(str::to_owned)));
        Some(way)
    }
}

/// The list that a map goes through, if its expression begins with a chain.
fn list_in(text: &str, names: &[(String, Way)]) -> Option<Way> {
    let code = text.trim().strip_prefix("{{")?.trim_start();
    Chain::read(code).way(names)
}

/// What a value must be so that the comparison behind it is true, or the arithmetic works.
fn literal(after: &str) -> Option<Value> {
    let rest = after.trim_start();
    let (operator, rest) = ["===", "==", "!==", "!=", ">=", "<=", ">", "<", "*", "/", "%", "-"]
        .iter()
        .find_map(|operator| Some((*operator, rest.strip_prefix(operator)?.trim_start())))?;
    let quoted = rest.chars().next().filter(|c| *c == '\'' || *c == '"');
    let number: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.' || *c == '-').collect();
    let number = Value::from_number_text(&number);
    let moved = |by: i128| match &number {
        Some(Value::Int(number)) => Some(Value::Int(number.saturating_add(by))),
        Some(Value::Dec(text)) => {
            let whole: i128 = text.split('.').next().unwrap_or_default().parse().unwrap_or(0);
            Some(Value::Int(whole.saturating_add(by)))
        }
        _ => Some(Value::Int(1)),
    };
    match operator {
        "==" | "===" => match quoted {
            Some(quote) => rest.get(1..)?.split(quote).next().map(Value::from),
            None if rest.starts_with("true") => Some(Value::Bool(true)),
            None if rest.starts_with("false") => Some(Value::Bool(false)),
            None if rest.starts_with("null") => Some(Value::Null),
            None => number,
        },
        "!=" | "!==" => None,
        ">" => moved(1),
        ">=" | "<=" => moved(0),
        "<" => moved(-1),
        _ => Some(Value::Int(1)),
    }
}

impl Shape {
    fn value(&self, name: &str) -> Value {
        if let Some(items) = &self.items {
            return Value::List(vec![items.value(name.trim_end_matches('s'))]);
        }
        if !self.fields.is_empty() {
            let field = |(name, shape): (&String, &Self)| (name.clone(), shape.value(name));
            return Value::Map(self.fields.iter().map(field).collect::<Map>());
        }
        self.leaf.clone().unwrap_or_else(|| by_name(name))
    }
}

/// What a name says of its value.
fn by_name(name: &str) -> Value {
    let lower = name.to_ascii_lowercase();
    let ends = |words: &[&str]| words.iter().any(|word| lower == *word || lower.ends_with(&format!("_{word}")));
    let camel = |word: &str| name.ends_with(word);
    if lower.contains("email") {
        return Value::from("ada@example.com");
    }
    if ends(&["url", "link", "href"]) || camel("Url") {
        return Value::from("https://example.com/");
    }
    if ends(&["at", "date", "time"]) || camel("At") {
        return Value::from("2026-01-01T00:00:00Z");
    }
    if ends(&["amount", "total", "count", "price", "qty", "quantity", "number", "size", "status"]) || camel("Count") {
        return Value::Int(1);
    }
    Value::from(format!("generated {name}"))
}

/// What people would fill into a form.
pub(super) fn filled(fields: &[aura_protocol::approval::Field]) -> Value {
    use aura_protocol::approval::FieldKind;
    let each = fields.iter().map(|field| {
        let value = match field.kind {
            FieldKind::Text => by_name(&field.name),
            FieldKind::Number => Value::Int(1),
            FieldKind::Boolean => Value::Bool(true),
        };
        let value = if field.kind == FieldKind::Text && value.as_str().is_none() {
            Value::from(format!("generated {}", field.name))
        } else {
            value
        };
        (field.name.clone(), value)
    });
    Value::Map(each.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(steps: &str) -> Reads {
        let text = format!("aura: 1\nflow: f\ntriggers: [{{ id: t, on: webhook, auth: none }}]\nsteps:\n{steps}");
        Reads::of(&flow::read(&text).unwrap().flow)
    }

    #[test]
    fn a_value_has_what_is_read_of_it() {
        let check = |steps: &str, names: &[&str], expected: Option<&str>| {
            let met = reads(steps).value(names).map(|value| value.to_json());
            assert_eq!(met.as_deref(), expected, "{steps}");
        };
        let set = |text: &str| format!("  - {{ id: s, set: {{ v: \"{text}\" }} }}\n");
        let out = ["steps", "a", "output"];
        check(&set("{{ steps.a.output.name }}"), &out, Some(r#"{"name":"generated name"}"#));
        check(
            &set("{{ steps.a?.output?.body['x-y'].email }}"),
            &out,
            Some(r#"{"body":{"x-y":{"email":"ada@example.com"}}}"#),
        );
        check(&set("{{ steps.a.output.total > 100 ? 1 : 2 }}"), &out, Some(r#"{"total":101}"#));
        check(&set("{{ steps.a.output.state == 'paid' }}"), &out, Some(r#"{"state":"paid"}"#));
        check(&set("{{ steps.a.output.ok ? 1 : 2 }}"), &out, Some(r#"{"ok":true}"#));
        check(&set("{{ steps.a.output.x ?? 2 }}"), &out, Some(r#"{"x":"generated x"}"#));
        check(
            &set("{{ steps.a.output.rows.filter(r => r.cents > 5).length }}"),
            &out,
            Some(r#"{"rows":[{"cents":6}]}"#),
        );
        check(&set("{{ steps.a.output.rows.length }}"), &out, Some(r#"{"rows":["generated row"]}"#));
        check(&set("{{ steps.a.output.rows[0].id }}"), &out, Some(r#"{"rows":[{"id":"generated id"}]}"#));
        check(&set("{{ steps.a.output.name.trim() }}"), &out, Some(r#"{"name":"generated name"}"#));
        check(&set("{{ 'steps.a.output.no' + x.steps.a.output }}"), &out, None);
        check(
            &set("Hello {{ trigger.body.first_name }}!"),
            &["trigger", "body"],
            Some(r#"{"first_name":"generated first_name"}"#),
        );
        let map = "  - id: m\n    map:\n      over: \"{{ trigger.body.lines }}\"\n      as: line\n      steps:\n        - { id: s, set: { a: \"{{ line.sku }}\", b: \"{{ item.qty * 2 }}\" } }\n";
        check(map, &["trigger", "body"], Some(r#"{"lines":[{"qty":1,"sku":"generated sku"}]}"#));
        check("  - { id: s, if: \"{{ input.go }}\", set: { a: 1 } }\n", &["input"], Some(r#"{"go":true}"#));
        check(&set("{{ 1 }}"), &["trigger"], None);
    }
}
