//! Reading of a form trigger's `with`: closed, bounded, every mistake with its place.

use super::{AUTOCOMPLETE, FIELD_KEYS, FIELDS_MAX, Field, Form, KEYS, Kind, LINE_MAX, OPTIONS_MAX, TEXT_MAX, Words};
use crate::expr::order;
use crate::schedule::Wrong;
use crate::text::display;
use crate::value::{Map, Value};

/// Longest title, label and option in characters.
const LABEL_MAX: usize = 200;
/// Longest note and thanks in characters.
const NOTE_MAX: usize = 4_000;

struct Reading {
    wrong: Vec<Wrong>,
}

impl Reading {
    fn fail(&mut self, key: &str, message: impl Into<String>, hint: &str) {
        self.wrong.push(Wrong::new(key, message, hint));
    }

    fn text(&mut self, map: &Map, at: &str, key: &str, max: usize) -> Option<String> {
        let place = if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
        match map.get(key)? {
            Value::Str(text) if text.contains("{{") => {
                self.fail(&place, format!("`{key}` of a form is a plain text"), "a page knows nothing yet");
            }
            Value::Str(text) if !text.trim().is_empty() && text.chars().count() <= max => {
                return Some(text.trim().to_owned());
            }
            _ => self.fail(&place, format!("`{key}` is a text of at most {max} characters"), ""),
        }
        None
    }

    fn flag(&mut self, map: &Map, at: &str, key: &str) -> bool {
        match map.get(key) {
            None => false,
            Some(Value::Bool(yes)) => *yes,
            Some(_) => {
                self.fail(&format!("{at}.{key}"), format!("`{key}` is true or false"), "");
                false
            }
        }
    }

    fn count(&mut self, map: &Map, at: &str, key: &str, most: usize) -> Option<usize> {
        let number = map.get(key)?.as_int().and_then(|number| usize::try_from(number).ok());
        let fits = number.filter(|number| (1..=most).contains(number));
        if fits.is_none() {
            self.fail(&format!("{at}.{key}"), format!("`{key}` is a number from 1 to {most}"), "");
        }
        fits
    }

    fn limit(&mut self, map: &Map, at: &str, key: &str) -> Option<String> {
        match map.get(key)? {
            Value::Int(number) => return Some(number.to_string()),
            Value::Dec(text) => return Some(text.clone()),
            _ => self.fail(&format!("{at}.{key}"), format!("`{key}` is a number"), ""),
        }
        None
    }

    fn option(&mut self, value: &Value, at: &str) -> Option<(String, String)> {
        let plain = |value: &Value| match value {
            Value::Str(text) => Some(text.trim().to_owned()),
            Value::Int(number) => Some(number.to_string()),
            Value::Dec(text) => Some(text.clone()),
            _ => None,
        };
        let fits = |text: &String| !text.is_empty() && text.chars().count() <= LABEL_MAX;
        let pair = match value {
            Value::Map(map) if map.keys().all(|key| key == "value" || key == "label") => {
                map.get("value").and_then(plain).zip(map.get("label").and_then(plain))
            }
            other => plain(other).map(|text| (text.clone(), text)),
        };
        let pair = pair.filter(|(value, label)| fits(value) && fits(label));
        if pair.is_none() {
            self.fail(at, "an option is a text, or has `value` and `label`", "write `- { value: s, label: Small }`");
        }
        pair
    }

    fn options(&mut self, map: &Map, at: &str) -> Vec<(String, String)> {
        let place = format!("{at}.options");
        let list = map.get("options").and_then(Value::as_list).unwrap_or_default();
        if list.is_empty() || list.len() > OPTIONS_MAX {
            let message = format!("a choice has 1 to {OPTIONS_MAX} `options`");
            let place = if map.contains_key("options") { place } else { at.to_owned() };
            self.fail(&place, message, "write `options: [Small, Large]`");
            return Vec::new();
        }
        let mut options: Vec<(String, String)> = Vec::new();
        for (number, value) in list.iter().enumerate() {
            let place = format!("{place}.{number}");
            let Some(pair) = self.option(value, &place) else { continue };
            if options.iter().any(|(known, _)| *known == pair.0) {
                self.fail(&place, format!("the option `{}` is there twice", display(&pair.0)), "");
            }
            options.push(pair);
        }
        options
    }

    fn kind(&mut self, map: &Map, at: &str) -> Option<Kind> {
        let word = match map.get("type") {
            None => "text",
            Some(Value::Str(word)) => word.as_str(),
            Some(_) => "",
        };
        let kind = match word {
            "text" => {
                let lines = self.count(map, at, "lines", 50).unwrap_or(1);
                let usual = if lines > 1 { TEXT_MAX } else { LINE_MAX };
                let max = self.count(map, at, "max", TEXT_MAX).unwrap_or(usual);
                Kind::Text { lines: u32::try_from(lines).unwrap_or(1), max }
            }
            "email" => Kind::Email,
            "number" => {
                let (min, max) = (self.limit(map, at, "min"), self.limit(map, at, "max"));
                let number = |text: &Option<String>| text.as_deref().and_then(Value::from_number_text);
                if let (Some(low), Some(high)) = (number(&min), number(&max))
                    && order(&low, &high).is_none_or(std::cmp::Ordering::is_gt)
                {
                    self.fail(&format!("{at}.max"), "`max` is less than `min`", "");
                }
                Kind::Number { min, max }
            }
            "date" => Kind::Date,
            "boolean" => Kind::Boolean,
            "choice" => Kind::Choice { options: self.options(map, at), many: self.flag(map, at, "many") },
            other => {
                let message = format!("`{}` is no type of a field", display(other));
                self.fail(&format!("{at}.type"), message, &format!("write one of: {}", Kind::WORDS.join(", ")));
                return None;
            }
        };
        let own: &[&str] = match kind {
            Kind::Text { .. } => &["lines", "max"],
            Kind::Number { .. } => &["min", "max"],
            Kind::Choice { .. } => &["options", "many"],
            _ => &[],
        };
        for key in ["lines", "min", "max", "options", "many"] {
            if map.contains_key(key) && !own.contains(&key) {
                self.fail(&format!("{at}.{key}"), format!("`{key}` does not go with the type `{}`", kind.word()), "");
            }
        }
        Some(kind)
    }

    fn field(&mut self, value: &Value, at: &str) -> Option<Field> {
        let Value::Map(map) = value else {
            self.fail(at, "a field is an object", "write `- { name: email, label: Your e-mail, type: email }`");
            return None;
        };
        for key in map.keys().filter(|key| !FIELD_KEYS.contains(&key.as_str())) {
            let message = format!("a field has no setting `{}`", display(key));
            self.fail(&format!("{at}.{key}"), message, &format!("known are: {}", FIELD_KEYS.join(", ")));
        }
        let name = match map.get("name") {
            Some(Value::Str(name)) if is_field_name(name) => name.clone(),
            Some(_) => {
                let hint = "use a letter first, then letters, digits and `_`, at most 64";
                self.fail(&format!("{at}.name"), "this cannot name a field", hint);
                return None;
            }
            None => {
                self.fail(at, "the field has no `name`", "write `name: email`; it is read as `trigger.body.email`");
                return None;
            }
        };
        let label = self.text(map, at, "label", LABEL_MAX).unwrap_or_else(|| name.clone());
        let note = self.text(map, at, "note", NOTE_MAX).unwrap_or_default();
        let kind = self.kind(map, at)?;
        let autocomplete = self.text(map, at, "autocomplete", LABEL_MAX);
        if let Some(word) = &autocomplete
            && !AUTOCOMPLETE.contains(&word.as_str())
        {
            let message = format!("`{}` is no word of `autocomplete`", display(word));
            self.fail(&format!("{at}.autocomplete"), message, &format!("write one of: {}", AUTOCOMPLETE.join(", ")));
        }
        let required = self.flag(map, at, "required");
        Some(Field { name, label, note, required, kind, autocomplete })
    }
}

fn is_field_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl Form {
    /// Reads the `with` of a form trigger.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place as in `fields.2.type`.
    pub fn read(with: &Map) -> Result<Self, Vec<Wrong>> {
        let mut reading = Reading { wrong: Vec::new() };
        for key in with.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            let message = format!("a form has no setting `{}`", display(key));
            reading.fail(key, message, &format!("known are: {}", KEYS.join(", ")));
        }
        let title = reading.text(with, "", "title", LABEL_MAX);
        if title.is_none() && !with.contains_key("title") {
            reading.fail("", "the form has no `title`", "write `with: { title: Return an order, fields: […] }`");
        }
        let note = reading.text(with, "", "note", NOTE_MAX).unwrap_or_default();
        let button = reading.text(with, "", "button", LABEL_MAX);
        let thanks = reading.text(with, "", "thanks", NOTE_MAX);
        let lang = reading.text(with, "", "lang", LABEL_MAX).unwrap_or_else(|| "en".to_owned());
        let words = Words::of(&lang);
        if words.is_none() {
            let known: Vec<&str> = Words::ALL.iter().map(|words| words.lang).collect();
            let message = format!("this build has no sentences in `{}`", display(&lang));
            reading.fail("lang", message, &format!("write one of: {}", known.join(", ")));
        }
        let mut fields: Vec<Field> = Vec::new();
        let list = with.get("fields").and_then(Value::as_list).unwrap_or_default();
        if list.is_empty() || list.len() > FIELDS_MAX {
            let place = if with.contains_key("fields") { "fields" } else { "" };
            let hint = "write `fields: [{ name: email, label: Your e-mail, type: email, required: true }]`";
            reading.fail(place, format!("a form has 1 to {FIELDS_MAX} `fields`"), hint);
        }
        for (number, value) in list.iter().enumerate().take(FIELDS_MAX) {
            let at = format!("fields.{number}");
            let Some(field) = reading.field(value, &at) else { continue };
            if fields.iter().any(|known| known.name == field.name) {
                reading.fail(&format!("{at}.name"), format!("the field `{}` is there twice", field.name), "");
            }
            fields.push(field);
        }
        match (words, title) {
            (Some(lang), Some(title)) if reading.wrong.is_empty() => {
                Ok(Self { title, note, button, thanks, lang, fields })
            }
            _ => Err(reading.wrong),
        }
    }
}
