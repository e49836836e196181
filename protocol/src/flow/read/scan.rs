//! Small readers: objects with closed keys, texts, numbers, durations, words, expressions, values.
//!
//! Each answers `None` after it has recorded why; callers go on with a default so that one look shows all.

use super::super::path::Path;
use super::super::suggest::{did_you_mean, one_of};
use super::super::tree::{Entry, Mark, Shape, Style, Tree};
use super::super::{Span, keys, scalar, shown};
use super::Reader;
use crate::value::{Map, Value};

/// The entries of an object whose keys are known.
pub(super) struct Fields<'t> {
    pub path: Path,
    pub mark: Mark,
    entries: &'t [Entry],
}

impl<'t> Fields<'t> {
    pub fn get(&self, key: &str) -> Option<(&'t Tree, Path)> {
        self.entry(key).map(|entry| (&entry.tree, self.path.field(key)))
    }

    pub fn entry(&self, key: &str) -> Option<&'t Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    pub fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Those of the given keys that are written, in written order.
    pub fn written(&self, among: &[&'static str]) -> Vec<&'t Entry> {
        self.entries.iter().filter(|entry| among.contains(&entry.key.as_str())).collect()
    }
}

/// How a tree is called in a sentence.
fn kind_of(tree: &Tree) -> &'static str {
    match &tree.shape {
        Shape::List(_) => "a list",
        Shape::Map(_) => "an object",
        Shape::Scalar { text, style: Style::Plain } => match scalar::typed(text) {
            Ok(Value::Null) => "empty",
            Ok(Value::Bool(_)) => "true or false",
            Ok(Value::Int(_) | Value::Dec(_)) | Err(_) => "a number",
            Ok(_) => "a text",
        },
        Shape::Scalar { .. } => "a text",
    }
}

/// The end of a path as people call it: `key` of `triggers[0].dedupe.key`.
fn name_of(path: &Path) -> String {
    let text = path.as_str();
    let name = text.rsplit('.').next().unwrap_or(text);
    if name.is_empty() { "the file".to_owned() } else { format!("`{name}`") }
}

impl Reader {
    /// The entries of an object, whatever its keys.
    pub(super) fn entries<'t>(&mut self, tree: &'t Tree, path: &Path, what: &str) -> Option<&'t [Entry]> {
        if let Shape::Map(entries) = &tree.shape {
            return Some(entries);
        }
        let hint = if path.as_str().is_empty() { "begin the file with `aura: 1`" } else { "" };
        self.fail(
            tree.mark,
            path,
            format!("{what} must be an object of keys and values, this is {}", kind_of(tree)),
            hint,
        );
        None
    }

    /// An object whose keys are known; others are refused.
    pub(super) fn fields<'t>(
        &mut self,
        tree: &'t Tree,
        path: &Path,
        what: &str,
        known: &[&'static str],
    ) -> Option<Fields<'t>> {
        let entries = self.entries(tree, path, what)?;
        for entry in entries {
            if !known.contains(&entry.key.as_str()) {
                let message = if keys::KINDS_LATER.contains(&entry.key.as_str()) && known.contains(&"uses") {
                    format!("steps of kind `{}` come with a later format", entry.key)
                } else {
                    format!("the key `{}` is not known in {what}", entry.key)
                };
                self.fail(
                    entry.mark,
                    &path.field(&entry.key),
                    message,
                    did_you_mean(&entry.key, known.iter().copied()),
                );
            }
        }
        Some(Fields { path: path.clone(), mark: tree.mark, entries })
    }

    /// The value of a key, if it is written and right.
    pub(super) fn given<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        read: impl FnOnce(&mut Self, &Tree, &Path) -> Option<T>,
    ) -> Option<T> {
        let (tree, path) = fields.get(key)?;
        read(self, tree, &path)
    }

    /// The value of a key that must be written.
    pub(super) fn needed<T: Default>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        read: impl FnOnce(&mut Self, &Tree, &Path) -> Option<T>,
    ) -> T {
        if !fields.has(key) {
            self.fail(fields.mark, &fields.path, format!("the key `{key}` is missing"), "");
        }
        self.given(fields, key, read).unwrap_or_default()
    }

    /// The items of a list.
    pub(super) fn items<'t>(&mut self, tree: &'t Tree, path: &Path) -> Option<&'t [Tree]> {
        if let Shape::List(items) = &tree.shape {
            return Some(items);
        }
        let message = format!("{} must be a list, this is {}", name_of(path), kind_of(tree));
        self.fail(tree.mark, path, message, "write each item on its own line after `- `");
        None
    }

    /// The items of a list under a key, each read; an absent key is an empty list.
    pub(super) fn list_of<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        read: impl Fn(&mut Self, &Tree, &Path) -> Option<T>,
    ) -> Vec<T> {
        let Some((tree, path)) = fields.get(key) else { return Vec::new() };
        let Some(items) = self.items(tree, &path) else { return Vec::new() };
        items.iter().enumerate().filter_map(|(index, item)| read(self, item, &path.item(index))).collect()
    }

    /// A text; numbers and booleans want quotes.
    pub(super) fn text(&mut self, tree: &Tree, path: &Path) -> Option<String> {
        let hint = match &tree.shape {
            Shape::Scalar { text, style } if *style != Style::Plain => return Some(text.clone()),
            Shape::Scalar { text, .. } => match scalar::typed(text) {
                Ok(Value::Str(text)) => return Some(text),
                Ok(Value::Null) => "write a value or leave the key out".to_owned(),
                _ => format!("put it in quotes: \"{text}\""),
            },
            Shape::List(_) | Shape::Map(_) => braces_hint(tree),
        };
        self.fail(tree.mark, path, format!("{} must be a text, this is {}", name_of(path), kind_of(tree)), hint);
        None
    }

    /// A text with at least one expression in it.
    pub(super) fn expression(&mut self, tree: &Tree, path: &Path) -> Option<String> {
        let text = self.text(tree, path)?;
        if text.contains("{{") {
            return Some(text);
        }
        let message = format!("{} must be an expression, this is the text `{}`", name_of(path), shorten(&text));
        self.fail(
            tree.mark,
            path,
            message,
            format!("an expression stands in braces: \"{{{{ {} }}}}\"", shorten(&text)),
        );
        None
    }

    /// One expression and nothing around it, or `true` or `false`.
    pub(super) fn condition(&mut self, tree: &Tree, path: &Path) -> Option<String> {
        if let Shape::Scalar { text, style: Style::Plain } = &tree.shape
            && let Ok(Value::Bool(yes)) = scalar::typed(text)
        {
            return Some(format!("{{{{ {yes} }}}}"));
        }
        let text = self.expression(tree, path)?;
        let trimmed = text.trim();
        let two = trimmed.find("}}").is_some_and(|end| trimmed.get(end..).is_some_and(|rest| rest.contains("{{")));
        if trimmed.starts_with("{{") && trimmed.ends_with("}}") && !two {
            return Some(trimmed.to_owned());
        }
        let message = format!("{} must be one expression, there is text around it", name_of(path));
        self.fail(tree.mark, path, message, "a condition is true or false: \"{{ a == b && c }}\"");
        None
    }

    /// A duration.
    pub(super) fn span(&mut self, tree: &Tree, path: &Path) -> Option<Span> {
        const HINT: &str = "write an integer and a unit, like 500ms, 30s, 5m, 23h, 7d or 2w";
        let Shape::Scalar { text, .. } = &tree.shape else {
            self.fail(
                tree.mark,
                path,
                format!("{} must be a duration, this is {}", name_of(path), kind_of(tree)),
                HINT,
            );
            return None;
        };
        match text.parse::<Span>() {
            Ok(span) => Some(span),
            Err(message) => {
                let (message, hint) = match message.split_once("; ") {
                    Some((message, hint)) => (message.to_owned(), hint.to_owned()),
                    None => (message, String::new()),
                };
                self.fail(tree.mark, path, message, hint);
                None
            }
        }
    }

    /// An integer from 0 that fits 32 bits.
    pub(super) fn count(&mut self, tree: &Tree, path: &Path) -> Option<u32> {
        if let Shape::Scalar { text, style: Style::Plain } = &tree.shape
            && let Ok(Value::Int(number)) = scalar::typed(text)
            && let Ok(number) = u32::try_from(number)
        {
            return Some(number);
        }
        let message = format!("{} must be an integer from 0 to {}, this is {}", name_of(path), u32::MAX, kind_of(tree));
        self.fail(tree.mark, path, message, "");
        None
    }

    /// True or false.
    pub(super) fn yes_or_no(&mut self, tree: &Tree, path: &Path) -> Option<bool> {
        if let Shape::Scalar { text, style: Style::Plain } = &tree.shape
            && let Ok(Value::Bool(yes)) = scalar::typed(text)
        {
            return Some(yes);
        }
        self.fail(tree.mark, path, format!("{} must be true or false, this is {}", name_of(path), kind_of(tree)), "");
        None
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, tree: &Tree, path: &Path, words: &[(&'static str, T)]) -> Option<T> {
        let text = match &tree.shape {
            Shape::Scalar { text, .. } => text.as_str(),
            _ => "",
        };
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let known = words.iter().map(|(word, _)| *word);
        let (message, hint) = if text.is_empty() {
            (format!("{} must be a word, this is {}", name_of(path), kind_of(tree)), one_of(known))
        } else {
            (format!("{} cannot be `{}`", name_of(path), shorten(text)), did_you_mean(text, known))
        };
        self.fail(tree.mark, path, message, hint);
        None
    }

    /// Any value; plain numbers that have no exact form are refused.
    pub(super) fn value(&mut self, tree: &Tree, path: &Path) -> Value {
        match &tree.shape {
            Shape::Scalar { text, style: Style::Plain } => scalar::typed(text).unwrap_or_else(|(message, hint)| {
                self.fail(tree.mark, path, message, hint);
                Value::Null
            }),
            Shape::Scalar { text, .. } => Value::Str(text.clone()),
            Shape::List(items) => {
                Value::List(items.iter().enumerate().map(|(index, item)| self.value(item, &path.item(index))).collect())
            }
            Shape::Map(entries) => Value::Map(self.map_of(entries, path)),
        }
    }

    /// As [`Reader::value`], in the shape of the other readers.
    #[expect(clippy::unnecessary_wraps, reason = "all readers have one shape, so that `given` takes any of them")]
    pub(super) fn any(&mut self, tree: &Tree, path: &Path) -> Option<Value> {
        Some(self.value(tree, path))
    }

    /// An object of any values.
    pub(super) fn map(&mut self, tree: &Tree, path: &Path) -> Option<Map> {
        let entries = self.entries(tree, path, &name_of(path))?;
        Some(self.map_of(entries, path))
    }

    fn map_of(&mut self, entries: &[Entry], path: &Path) -> Map {
        entries
            .iter()
            .map(|entry| {
                let path = path.field(&entry.key);
                if entry.key.contains("{{") {
                    let hint = "a key is always plain text; build the object with an expression as the whole value";
                    self.fail(entry.mark, &path, "a key cannot hold an expression", hint);
                }
                (entry.key.clone(), self.value(&entry.tree, &path))
            })
            .collect()
    }
}

/// `{ { x } }` without quotes is an object in an object, and nearly always meant as an expression.
fn braces_hint(tree: &Tree) -> String {
    match &tree.shape {
        Shape::Map(entries) if entries.iter().any(|entry| entry.key.starts_with('{')) => {
            "an expression needs quotes around it: \"{{ … }}\"".to_owned()
        }
        _ => String::new(),
    }
}

fn shorten(text: &str) -> String {
    let mut short = shown(&Value::from(text));
    if short.starts_with('"') && short.ends_with('"') && short.len() >= 2 {
        short = short.get(1..short.len() - 1).unwrap_or_default().to_owned();
    }
    short
}
