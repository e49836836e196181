//! Stand-ins for what is about people: names, addresses, numbers, links with a key in them.
//!
//! Invariant: the same original always gets the same stand-in within a file, so what was equal stays equal; an original
//! that was replaced in one place stands nowhere else in the file.

use std::collections::BTreeMap;

use aura_protocol::flow::redact::HIDDEN;
use aura_protocol::{Map, Value};

use crate::engine::links::LINK;

/// What a field's name says about its value. Names are compared in lower case without `_` and `-`.
const FIELDS: &[(&str, &str)] = &[
    ("email", "email"),
    ("mail", "email"),
    ("phone", "phone"),
    ("mobile", "phone"),
    ("telephone", "phone"),
    ("tel", "phone"),
    ("fax", "phone"),
    ("firstname", "name"),
    ("lastname", "name"),
    ("surname", "name"),
    ("givenname", "name"),
    ("familyname", "name"),
    ("fullname", "name"),
    ("displayname", "name"),
    ("realname", "name"),
    ("username", "name"),
    ("company", "company"),
    ("street", "street"),
    ("address", "street"),
    ("address1", "street"),
    ("address2", "street"),
    ("city", "city"),
    ("zip", "zip"),
    ("zipcode", "zip"),
    ("postcode", "zip"),
    ("postalcode", "zip"),
    ("latitude", "place"),
    ("longitude", "place"),
    ("iban", "account"),
    ("bic", "account"),
    ("cardnumber", "account"),
    ("birthday", "birthday"),
    ("birthdate", "birthday"),
    ("dateofbirth", "birthday"),
    ("ssn", "number"),
    ("taxid", "number"),
    ("vatid", "number"),
    ("ip", "ip"),
    ("ipaddress", "ip"),
    ("clientip", "ip"),
    ("browserip", "ip"),
    ("useragent", "agent"),
    ("password", "secret"),
    ("token", "secret"),
    ("accesstoken", "secret"),
    ("refreshtoken", "secret"),
    ("carttoken", "secret"),
    ("secret", "secret"),
    ("apikey", "secret"),
    ("authorization", "secret"),
    ("cookie", "secret"),
];
/// A plain `name` is a person's within these.
const PEOPLE: &[&str] = &[
    "customer",
    "user",
    "person",
    "contact",
    "recipient",
    "sender",
    "shippingaddress",
    "billingaddress",
    "defaultaddress",
    "author",
    "owner",
    "profile",
];
/// Names under which every payload stands; that a flow redacts one of them says nothing about the others.
const USUAL: &[&str] = &["", "input", "output", "body", "form", "headers", "query", "error", "data", "items"];
/// A shorter value that the flow redacts is not looked for elsewhere: it may be anything.
const HIDDEN_MIN: usize = 4;
/// What the flow redacts, with all that is in it.
const REDACTED: &str = "redacted";
/// A shorter original is replaced only where it is the whole text.
const PIECE_MIN: usize = 2;
/// A shorter original is replaced only where it is a word of its own.
const WORD_MAX: usize = 5;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct StandIns {
    known: BTreeMap<String, String>,
    counts: BTreeMap<String, u32>,
    /// More field names: what flows list under `redact`.
    more: Vec<String>,
    /// How many of the known ones stand for nothing: what was there is hidden.
    hidden: usize,
}

impl StandIns {
    pub(super) fn new(more: impl Iterator<Item = String>) -> Self {
        let more = more.map(|path| plain(path.rsplit(['.', ']', '[']).find(|part| !part.is_empty()).unwrap_or(&path)));
        Self { more: more.filter(|name| !USUAL.contains(&name.as_str())).collect(), ..Self::default() }
    }

    /// How many originals there are.
    pub(super) fn len(&self) -> usize {
        self.known.len() - self.hidden
    }

    /// Values that the flow redacts: nothing in them is found anywhere in the file.
    pub(super) fn hide(&mut self, value: &Value) {
        match value {
            Value::Str(text) if text.len() >= HIDDEN_MIN && text != LINK => self.hide_text(text.clone()),
            Value::Int(_) | Value::Dec(_) => {
                let text = value.to_json();
                if text.len() >= HIDDEN_MIN {
                    self.hide_text(text);
                }
            }
            Value::List(list) => list.iter().for_each(|value| self.hide(value)),
            Value::Map(map) => map.values().for_each(|value| self.hide(value)),
            _ => {}
        }
    }

    fn hide_text(&mut self, text: String) {
        if self.known.insert(text, HIDDEN.to_owned()).is_none() {
            self.hidden += 1;
        }
    }

    /// Looks for originals.
    pub(super) fn look(&mut self, value: &Value) {
        self.find(value, None, "");
    }

    fn find(&mut self, value: &Value, field: Option<&'static str>, around: &str) {
        match value {
            // What stands for something that is out already.
            Value::Str(text) if text == HIDDEN || text == LINK => {}
            Value::Str(text) => {
                let kind = match field {
                    Some(kind) => Some(kind),
                    None if is_mail(text) => Some("email"),
                    None if text.starts_with("http") && text.contains('?') => Some("link"),
                    None => None,
                };
                if let Some(kind) = kind.filter(|_| !text.is_empty()) {
                    self.replace(text, kind);
                }
            }
            Value::List(list) => list.iter().for_each(|value| self.find(value, field, around)),
            Value::Map(map) => {
                for (name, value) in map {
                    let name = plain(name);
                    let kind = self.kind(&name, around);
                    let within = field.filter(|kind| *kind == REDACTED);
                    // An object under `address` says in its own fields what they are.
                    let plain = matches!(value, Value::Map(_)) && kind != Some(REDACTED);
                    let kind = within.or(kind.filter(|_| !plain));
                    self.find(value, kind, &name);
                }
            }
            _ => {}
        }
    }

    fn kind(&self, name: &str, around: &str) -> Option<&'static str> {
        if name == "name" && PEOPLE.contains(&around) {
            return Some("name");
        }
        if self.more.iter().any(|more| more == name) {
            return Some(REDACTED);
        }
        FIELDS.iter().find(|(field, _)| *field == name).map(|(_, kind)| *kind)
    }

    fn replace(&mut self, original: &str, kind: &str) {
        if self.known.contains_key(original) {
            return;
        }
        let count = self.counts.entry(kind.to_owned()).or_default();
        *count += 1;
        let stand_in = match kind {
            "email" => format!("person-{count}@example.com"),
            "phone" => format!("+1555{count:07}"),
            "link" => format!("https://example.com/link-{count}"),
            kind => format!("{kind}-{count}"),
        };
        self.known.insert(original.to_owned(), stand_in);
    }

    /// A value with stand-ins.
    pub(super) fn with(&self, value: &Value) -> Value {
        self.put(value, false, "")
    }

    /// An object with stand-ins.
    pub(super) fn within(&self, map: &Map) -> Map {
        match self.with(&Value::Map(map.clone())) {
            Value::Map(map) => map,
            _ => Map::new(),
        }
    }

    fn put(&self, value: &Value, personal: bool, around: &str) -> Value {
        match value {
            Value::Str(text) => Value::from(self.text(text)),
            Value::Int(_) | Value::Dec(_) if self.known.get(&value.to_json()).is_some_and(|to| to == HIDDEN) => {
                Value::from(HIDDEN)
            }
            // A number of a person says nothing any more.
            Value::Int(_) | Value::Dec(_) if personal => Value::Int(0),
            Value::List(list) => Value::List(list.iter().map(|value| self.put(value, personal, around)).collect()),
            Value::Map(map) => {
                let each = map.iter().map(|(name, value)| {
                    let field = plain(name);
                    let kind = self.kind(&field, around);
                    let own = kind.is_some() && !matches!(value, Value::Map(_));
                    // All that is in what is redacted.
                    let within = kind == Some(REDACTED) || (personal && around == REDACTED);
                    let around = if within { REDACTED } else { field.as_str() };
                    (self.text(name), self.put(value, own || within, around))
                });
                Value::Map(each.collect())
            }
            other => other.clone(),
        }
    }

    /// A text with stand-ins, the longest originals first.
    pub(super) fn text(&self, text: &str) -> String {
        if let Some(stand_in) = self.known.get(text) {
            return stand_in.clone();
        }
        let mut originals: Vec<(&String, &String)> =
            self.known.iter().filter(|(original, _)| original.len() >= PIECE_MIN && text.contains(*original)).collect();
        originals.sort_by_key(|(original, _)| std::cmp::Reverse(original.len()));
        let mut out = text.to_owned();
        for (original, stand_in) in originals {
            out = if original.len() < WORD_MAX {
                words(&out, original, stand_in)
            } else {
                out.replace(original.as_str(), stand_in)
            };
        }
        out
    }
}

/// A text with a word replaced where it stands alone.
fn words(text: &str, word: &str, stand_in: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (at, _) in text.match_indices(word) {
        let end = at + word.len();
        let inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let before = inside(text.get(..at).and_then(|text| text.chars().next_back()));
        let after = inside(text.get(end..).and_then(|text| text.chars().next()));
        if !before && !after {
            out.push_str(text.get(from..at).unwrap_or_default());
            out.push_str(stand_in);
            from = end;
        }
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// Whether a whole text is an address of mail.
fn is_mail(text: &str) -> bool {
    let Some((name, host)) = text.split_once('@') else { return false };
    !name.is_empty()
        && host.contains('.')
        && !text.contains(char::is_whitespace)
        && !host.contains('@')
        && text.len() < 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_replaced_and_what_was_equal_stays_equal() {
        let body = Value::from_json(
            br#"{"id": 7, "email": "ada@lovelace.org", "customer": {"name": "Ada", "first_name": "Ada", "phone": 4915112345678},
                 "shipping_address": {"city": "London", "address1": "12 St James's Square", "zip": "SW1Y"},
                 "items": [{"name": "Engine", "sku": "A-1"}], "note": "call ada@lovelace.org in London",
                 "url": "https://shop.example/c?key=abc", "badge": "x-17"}"#,
        )
        .unwrap();
        let mut stand_ins = StandIns::new(["steps.a.output.badge".to_owned()].into_iter());
        stand_ins.look(&body);
        let met = stand_ins.with(&body).to_json();
        for original in ["ada@", "Ada", "London", "James", "SW1Y", "4915112345678", "key=abc", "x-17"] {
            assert!(!met.contains(original), "{original} is in {met}");
        }
        for kept in ["\"id\":7", "Engine", "A-1", "call person-1@example.com in city-1"] {
            assert!(met.contains(kept), "{kept} is not in {met}");
        }
        assert_eq!(stand_ins.text("Dear Ada, hello to Canada and Adam"), "Dear name-1, hello to Canada and Adam");
        assert_eq!(stand_ins.text("Ada"), "name-1");
    }

    #[test]
    fn what_is_redacted_stands_nowhere_also_in_objects_and_numbers() {
        let value = |text: &str| Value::from_json(text.as_bytes()).unwrap();
        let mut stand_ins = StandIns::new(["input.body.card".to_owned(), "output.body".to_owned()].into_iter());
        stand_ins.hide(&value(r#"{"number":"4242-4242","pin":9911,"cvc":"12","of":["Ada Lovelace"]}"#));
        let body = value(
            r#"{"body":{"card":{"owner":{"first":"Charles"},"cvc":12,"until":"12/30"},"note":"4242-4242 of Ada Lovelace","pin":9911,"id":7},"gone":"[redacted]"}"#,
        );
        stand_ins.look(&body);
        let met = stand_ins.with(&body).to_json();
        let expected = r#"{"body":{"card":{"owner":{"first":"redacted-1"},"cvc":0,"until":"redacted-2"},"note":"[redacted] of [redacted]","pin":"[redacted]","id":7},"gone":"[redacted]"}"#;
        assert_eq!(met, expected);
        assert_eq!(stand_ins.len(), 2, "the others are no stand-ins");
    }
}
