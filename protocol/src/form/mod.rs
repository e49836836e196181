//! Forms: the page of a `form` trigger as its `with` declares it. Pure: settings go in, fields come out.
//!
//! Invariant: what a page shows and what a submission is judged by are one and the same [`Form`], so nobody is asked
//! for what is refused afterwards. [`judge`] reads what people typed, [`words`] holds the sentences they see.

pub mod judge;
mod read;
#[cfg(test)]
mod tests;
pub mod words;

pub use judge::{Answer, Judged};
pub use words::Words;

/// The method of deliveries that a form made.
pub const FORM: &str = "FORM";
/// Keys of `with` on a form trigger.
pub const KEYS: &[&str] = &["title", "note", "fields", "button", "thanks", "lang"];
/// Keys of a field.
pub const FIELD_KEYS: &[&str] =
    &["name", "label", "note", "type", "required", "options", "many", "lines", "min", "max", "autocomplete"];
/// Most fields of a form.
pub const FIELDS_MAX: usize = 50;
/// Most options of a choice.
pub const OPTIONS_MAX: usize = 200;
/// Longest answer in characters, and what a text has without `max`.
pub const TEXT_MAX: usize = 10_000;
/// The usual longest answer in one line.
pub const LINE_MAX: usize = 500;
/// What `autocomplete` may say (WHATWG HTML, autofill): programs then fill in what people wrote elsewhere before.
pub const AUTOCOMPLETE: &[&str] = &[
    "name",
    "given-name",
    "family-name",
    "organization",
    "email",
    "tel",
    "url",
    "street-address",
    "address-line1",
    "address-line2",
    "address-level1",
    "address-level2",
    "postal-code",
    "country",
    "country-name",
    "bday",
    "off",
];

/// A page that people fill in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// Heading of the page.
    pub title: String,
    /// A text below it; empty lines part its paragraphs.
    pub note: String,
    /// What the button says; none: the language's own word.
    pub button: Option<String>,
    /// What is said once it is taken; none: the language's own sentence.
    pub thanks: Option<String>,
    /// The language of the page and of our sentences on it.
    pub lang: &'static Words,
    /// What is asked, in order.
    pub fields: Vec<Field>,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in `trigger.body`.
    pub name: String,
    /// What people read.
    pub label: String,
    /// A line below the label.
    pub note: String,
    /// Must be answered.
    pub required: bool,
    /// What fits.
    pub kind: Kind,
    /// What programs may fill in, one of [`AUTOCOMPLETE`].
    pub autocomplete: Option<String>,
}

/// What fits a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Words.
    Text {
        /// Height of the field; 1 is a line that cannot be broken.
        lines: u32,
        /// Longest answer in characters.
        max: usize,
    },
    /// An e-mail address.
    Email,
    /// A number; it keeps its digits.
    Number {
        /// The least, as text.
        min: Option<String>,
        /// The greatest, as text.
        max: Option<String>,
    },
    /// A day.
    Date,
    /// A box to tick.
    Boolean,
    /// One of a list, or several.
    Choice {
        /// What may be chosen: value and label.
        options: Vec<(String, String)>,
        /// Several.
        many: bool,
    },
}

impl Kind {
    /// The words of `type`.
    pub const WORDS: &'static [&'static str] = &["text", "email", "number", "date", "boolean", "choice"];

    /// The word that the flow file has for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Email => "email",
            Self::Number { .. } => "number",
            Self::Date => "date",
            Self::Boolean => "boolean",
            Self::Choice { .. } => "choice",
        }
    }
}
