//! What people typed into a form, judged by its fields: values for the flow, or a sentence beside each field.
//!
//! Invariant: what was typed is kept as it was, so that nobody types it twice; a field that the form does not have is
//! never taken.

use super::{Field, Form, Kind};
use crate::expr::order;
use crate::value::{Map, Value};

/// Longest e-mail address (RFC 5321).
const EMAIL_MAX: usize = 254;

/// What was typed into one field, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// As it was typed; several of a choice.
    pub typed: Vec<String>,
    /// One sentence, in the language of the form.
    pub wrong: Option<String>,
}

impl Answer {
    /// What stands in a field of one line.
    #[must_use]
    pub fn text(&self) -> &str {
        self.typed.first().map_or("", String::as_str)
    }
}

/// A submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// For each field of the form, in its order.
    pub answers: Vec<Answer>,
}

impl Judged {
    /// Nothing typed yet.
    #[must_use]
    pub fn empty(form: &Form) -> Self {
        Self { answers: vec![Answer::default(); form.fields.len()] }
    }

    /// Whether every field fits.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.answers.iter().all(|answer| answer.wrong.is_none())
    }
}

impl Form {
    /// Judges the pairs of a submission; the values are what the flow gets if all of them fit.
    #[must_use]
    pub fn judge(&self, pairs: &[(String, String)]) -> (Judged, Value) {
        let mut values = Map::new();
        let mut answers = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            let given = pairs.iter().filter(|(name, _)| name.strip_prefix("f.") == Some(&field.name));
            let typed: Vec<String> = given.map(|(_, value)| value.clone()).take(super::OPTIONS_MAX).collect();
            let (value, wrong) = match self.value(field, &typed) {
                Ok(value) => (value, None),
                Err(sentence) => (Value::Null, Some(sentence)),
            };
            values.insert(field.name.clone(), value);
            answers.push(Answer { typed, wrong });
        }
        (Judged { answers }, Value::Map(values))
    }

    fn value(&self, field: &Field, typed: &[String]) -> Result<Value, String> {
        let words = self.lang;
        let said = |sentence: &str| Err(sentence.to_owned());
        let text = typed.first().map_or("", String::as_str).trim();
        match &field.kind {
            Kind::Boolean => {
                let ticked = text == "true";
                return if field.required && !ticked { said(words.tick) } else { Ok(Value::Bool(ticked)) };
            }
            Kind::Choice { options, many } => {
                let chosen: Vec<&str> = typed.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).collect();
                if chosen.iter().any(|text| options.iter().all(|(value, _)| value != text)) {
                    return said(words.option);
                }
                return match (chosen.first(), many) {
                    (None, _) if field.required => said(words.option),
                    (_, true) => {
                        // In the order of the form, each once.
                        let wanted = options.iter().filter(|(value, _)| chosen.contains(&value.as_str()));
                        Ok(Value::List(wanted.map(|(value, _)| Value::from(value.as_str())).collect()))
                    }
                    (Some(first), false) => Ok(Value::from(*first)),
                    (None, false) => Ok(Value::Null),
                };
            }
            _ => {}
        }
        if text.is_empty() {
            return if field.required { said(words.missing) } else { Ok(Value::Null) };
        }
        match &field.kind {
            Kind::Text { lines, max } => {
                // Browsers end lines with CR LF and count them as one.
                let text = text.replace("\r\n", "\n");
                if text.chars().count() > *max {
                    return Err(words.too_long.replace("{}", &max.to_string()));
                }
                let text = if *lines > 1 { text } else { text.replace(['\n', '\r'], " ") };
                Ok(Value::from(text))
            }
            Kind::Email => {
                if is_email(text) {
                    Ok(Value::from(text))
                } else {
                    said(words.email)
                }
            }
            Kind::Number { min, max } => {
                let number = |text: &str| Value::from_number_text(text);
                let Some(value) = number(text).or_else(|| number(&text.replacen(',', ".", 1))) else {
                    return said(words.number);
                };
                let beyond = |limit: &Option<String>, wrong: std::cmp::Ordering| {
                    let limit = limit.as_deref().and_then(|text| Some((text.to_owned(), number(text)?)));
                    limit.filter(|(_, limit)| order(&value, limit).is_none_or(|found| found == wrong))
                };
                if let Some((least, _)) = beyond(min, std::cmp::Ordering::Less) {
                    return Err(words.at_least.replace("{}", &least));
                }
                if let Some((most, _)) = beyond(max, std::cmp::Ordering::Greater) {
                    return Err(words.at_most.replace("{}", &most));
                }
                Ok(value)
            }
            Kind::Date => match text.parse::<jiff::civil::Date>() {
                Ok(day) if text.len() == 10 => Ok(Value::from(day.to_string())),
                _ => said(words.date),
            },
            Kind::Boolean | Kind::Choice { .. } => Ok(Value::Null),
        }
    }
}

/// Whether a text looks like an address that mail can be sent to. Only its owner can say whether it is one.
fn is_email(text: &str) -> bool {
    let Some((name, host)) = text.rsplit_once('@') else { return false };
    let plain =
        |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '<' | '>' | '(' | ')' | ',' | ';' | '"');
    text.len() <= EMAIL_MAX
        && !name.is_empty()
        && name.chars().all(|c| plain(c) && c != '@')
        && host.contains('.')
        && host.split('.').all(|part| {
            !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '-') && !part.starts_with('-')
        })
}
