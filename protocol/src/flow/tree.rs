//! YAML text to a small tree with positions, or the first thing that is wrong with it.
//!
//! The parser hands us events; this file refuses what the format leaves out (anchors, aliases, tags, merge
//! keys, duplicate keys, several documents) and keeps the limits. Nothing here recurses over input, so a
//! text nested ten thousand deep is a finding, not a crash. Typed reading is in [`super::read`].

use std::collections::HashSet;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};

use super::path::Path;
use super::{Finding, Severity};
use crate::text::display;

/// A flow file may have this many bytes.
pub const TEXT_MAX: usize = 1024 * 1024;
/// Lists and objects may nest this deep.
pub const DEPTH_MAX: usize = 64;
/// A flow file may have this many texts, lists and objects.
pub const ENTRIES_MAX: usize = 20_000;

/// A key may have this many characters; paths repeat keys.
pub const KEY_MAX: usize = 256;

/// Where something starts in the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

impl From<&Marker> for Mark {
    fn from(marker: &Marker) -> Self {
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { line: small(marker.line()), column: small(marker.col()).saturating_add(1) }
    }
}

/// A piece of the file and where it starts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tree {
    pub mark: Mark,
    pub shape: Shape,
}

/// What a piece is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    /// A text and how it was written.
    Scalar { text: String, style: Style },
    /// A list.
    List(Vec<Tree>),
    /// An object in written order; its keys are different.
    Map(Vec<Entry>),
}

/// How a text was written; decides whether an offset in it is a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Without quotes.
    Plain,
    /// In quotes.
    Quoted,
    /// As a block after `|` or `>`.
    Block,
}

/// A key, where it stands, and what it holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub key: String,
    pub mark: Mark,
    pub tree: Tree,
}

fn refuse(mark: Mark, path: &Path, message: impl Into<String>, hint: &str) -> Finding {
    Finding {
        severity: Severity::Error,
        line: mark.line,
        column: mark.column,
        path: display(path.as_str()),
        message: display(&message.into()),
        hint: Some(hint.to_owned()).filter(|hint| !hint.is_empty()),
    }
}

/// A list or object that is not finished.
struct Open {
    mark: Mark,
    path: Path,
    shape: OpenShape,
}

enum OpenShape {
    List(Vec<Tree>),
    Map { entries: Vec<Entry>, seen: HashSet<String>, key: Option<(String, Mark)> },
}

struct Builder {
    stack: Vec<Open>,
    root: Option<Tree>,
    entries: usize,
}

/// Reads the text into a tree.
///
/// # Errors
/// The first thing that is wrong: size, syntax, depth, or a part of YAML that the format leaves out.
pub(crate) fn parse(text: &str) -> Result<Tree, Finding> {
    if text.len() > TEXT_MAX {
        let message = format!("the file has {} bytes, a flow file may have {TEXT_MAX}", text.len());
        return Err(refuse(Mark::default(), &Path::root(), message, "split the flow, or keep data out of it"));
    }
    let joined = join_surrogates(text);
    let mut parser = Parser::new_from_str(&joined);
    let mut builder = Builder { stack: Vec::new(), root: None, entries: 0 };
    let mut documents = 0_usize;
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|error| broken(&error, text, &builder.path()))?;
        let mark = Mark::from(&span.start);
        match event {
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Nothing => {}
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    return Err(refuse(
                        mark,
                        &Path::root(),
                        "the file holds more than one document",
                        "one file is one flow: remove `---` and what follows it",
                    ));
                }
            }
            Event::Alias(_) => return Err(alias(mark, &builder.path())),
            Event::Scalar(content, style, anchor, tag) => {
                builder.plainly(mark, anchor, tag.as_deref())?;
                builder.scalar(mark, content.into_owned(), style)?;
            }
            Event::SequenceStart(anchor, tag) => {
                builder.plainly(mark, anchor, tag.as_deref())?;
                builder.open(mark, OpenShape::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                builder.plainly(mark, anchor, tag.as_deref())?;
                let shape = OpenShape::Map { entries: Vec::new(), seen: HashSet::new(), key: None };
                builder.open(mark, shape)?;
            }
            Event::SequenceEnd | Event::MappingEnd => builder.close()?,
        }
    }
    builder.root.ok_or_else(|| {
        refuse(Mark { line: 1, column: 1 }, &Path::root(), "the file is empty", "`aura flow new` writes a first flow")
    })
}

impl Builder {
    /// Where the next piece stands.
    fn path(&self) -> Path {
        match self.stack.last() {
            None => Path::root(),
            Some(open) => match &open.shape {
                OpenShape::List(items) => open.path.item(items.len()),
                OpenShape::Map { key: Some((key, _)), .. } => open.path.field(key),
                OpenShape::Map { key: None, .. } => open.path.clone(),
            },
        }
    }

    fn plainly(&mut self, mark: Mark, anchor: usize, tag: Option<&Tag>) -> Result<(), Finding> {
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            let message = format!("the file has more than {ENTRIES_MAX} values");
            return Err(refuse(mark, &self.path(), message, "split the flow, or keep data out of it"));
        }
        if anchor > 0 {
            return Err(refuse(
                mark,
                &self.path(),
                "anchors (`&name`) are not part of a flow file",
                "write the value where it is used; put quotes around a text that begins with `&`",
            ));
        }
        if let Some(tag) = tag {
            let shown = if tag.is_yaml_core_schema() { format!("!!{}", tag.suffix) } else { tag.to_string() };
            return Err(refuse(
                mark,
                &self.path(),
                format!("tags (`{shown}`) are not part of a flow file"),
                "put quotes around a value that is text; write numbers without quotes",
            ));
        }
        Ok(())
    }

    fn open(&mut self, mark: Mark, shape: OpenShape) -> Result<(), Finding> {
        if let Some(Open { shape: OpenShape::Map { key: None, .. }, .. }) = self.stack.last() {
            return Err(refuse(
                mark,
                &self.path(),
                "a key must be a text, this is a list or an object",
                "an expression needs quotes around it: \"{{ … }}\"",
            ));
        }
        if self.stack.len() >= DEPTH_MAX {
            let message = format!("lists and objects nest deeper than {DEPTH_MAX}");
            return Err(refuse(mark, &self.path(), message, "move the inner part to a flow of its own"));
        }
        let path = self.path();
        self.stack.push(Open { mark, path, shape });
        Ok(())
    }

    fn scalar(&mut self, mark: Mark, text: String, style: ScalarStyle) -> Result<(), Finding> {
        if let Some(Open { path, shape: OpenShape::Map { seen, key: key @ None, .. }, .. }) = self.stack.last_mut() {
            if text.chars().count() > KEY_MAX {
                let message = format!("a key is longer than {KEY_MAX} characters");
                return Err(refuse(mark, path, message, "a key is a short name; put long text into a value"));
            }
            if text == "<<" && style == ScalarStyle::Plain {
                return Err(refuse(
                    mark,
                    path,
                    "merge keys (`<<`) are not part of a flow file",
                    "write the keys where they are used",
                ));
            }
            if !seen.insert(text.clone()) {
                return Err(refuse(
                    mark,
                    &path.field(&text),
                    format!("the key `{text}` is written twice"),
                    "keep one of the two",
                ));
            }
            *key = Some((text, mark));
            return Ok(());
        }
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
            ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
        };
        self.place(Tree { mark, shape: Shape::Scalar { text, style } });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Finding> {
        let Some(open) = self.stack.pop() else {
            return Err(refuse(Mark::default(), &Path::root(), "the YAML closes what it never opened", ""));
        };
        let shape = match open.shape {
            OpenShape::List(items) => Shape::List(items),
            OpenShape::Map { entries, .. } => Shape::Map(entries),
        };
        self.place(Tree { mark: open.mark, shape });
        Ok(())
    }

    fn place(&mut self, tree: Tree) {
        match self.stack.last_mut().map(|open| &mut open.shape) {
            None => self.root = Some(tree),
            Some(OpenShape::List(items)) => items.push(tree),
            Some(OpenShape::Map { entries, key, .. }) => {
                if let Some((key, mark)) = key.take() {
                    entries.push(Entry { key, mark, tree });
                }
            }
        }
    }
}

fn alias(mark: Mark, path: &Path) -> Finding {
    refuse(
        mark,
        path,
        "aliases (`*name`) are not part of a flow file",
        "write the value where it is used; put quotes around a text that begins with `*`",
    )
}

/// A syntax error in our words: what, where, and the usual cause.
fn broken(error: &ScanError, text: &str, path: &Path) -> Finding {
    let mark = Mark::from(error.marker());
    let info = error.info();
    if info.contains("unknown anchor") {
        return alias(mark, path);
    }
    if info.contains("recursion limit") {
        let message = format!("lists and objects nest deeper than {DEPTH_MAX}");
        return refuse(mark, path, message, "move the inner part to a flow of its own");
    }
    let line = usize::try_from(mark.line).ok().and_then(|n| text.lines().nth(n.saturating_sub(1))).unwrap_or_default();
    let before = line.trim_start_matches(' ');
    let hint = if before.starts_with('\t') || info.contains("found a tab") {
        "indent with spaces; YAML takes no tabs there"
    } else if line.contains("{{") && !line.contains("\"{{") && !line.contains("'{{") {
        "an expression needs quotes around it: \"{{ … }}\""
    } else if info.contains("mapping values are not allowed") {
        "put quotes around a text that contains `: `"
    } else if info.contains("quoted scalar") {
        "a quote is opened and not closed, or followed by more text"
    } else {
        "look at the indentation and the quotes of this line and the one before"
    };
    refuse(mark, path, format!("the YAML is broken: {info}"), hint)
}

/// JSON writes letters beyond 16 bits as two escapes, which YAML does not know: joins them.
fn join_surrogates(text: &str) -> std::borrow::Cow<'_, str> {
    let is_json = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).starts_with('{');
    if !is_json || !text.contains("\\u") {
        return text.into();
    }
    let unit = |at: usize| -> Option<u32> {
        let hex = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u32::from_str_radix(hex, 16).ok()
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text.char_indices();
    while let Some((at, letter)) = rest.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        match (unit(at), unit(at + 6)) {
            (Some(high @ 0xD800..=0xDBFF), Some(low @ 0xDC00..=0xDFFF)) => {
                let joined = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                out.push_str(&format!("\\U{joined:08X}"));
                rest.nth(10);
            }
            _ => {
                out.push(letter);
                out.extend(rest.next().map(|(_, next)| next));
            }
        }
    }
    out.into()
}
