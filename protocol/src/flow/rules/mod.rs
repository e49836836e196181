//! Rule tables: decisions as data, beside a `set` or a `branch` step (`rules: {inputs, hit, domain, rows, else}`).
//!
//! Inputs are expressions, cells are constants (`cell`), `then` may be any value. A decision is pure: the
//! same inputs give the same rows, and whatever is not of a column's type is an error, never a row that does
//! not match. `sweep` finds gaps, overlaps and rows that are never taken; `aura flow check` tells them.

mod cell;
mod compiled;
mod sweep;
#[cfg(test)]
mod tests;

use crate::text::display;
use crate::value::{Map, Value};
use cell::{Cell, ColumnKind, Literal, given};
pub use compiled::{Decided, Rules, RulesError, WithDecision};
pub use sweep::{Overlap, Region, Sweep};

/// A table has at most this many rows.
pub const ROWS_MAX: usize = 1000;
/// A table has at most this many columns.
pub const COLUMNS_MAX: usize = 32;
/// What the expressions of its step call the decision, and the rows that it comes from.
pub const NAMES: [&str; 2] = ["decision", "matched"];

/// Which of the rows that match count, and what becomes of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hit {
    /// One row matches; two are an error.
    #[default]
    Unique,
    /// The first one in written order.
    First,
    /// Several may match if they say the same.
    Any,
    /// The list of all, in written order.
    Collect,
    /// The sum of all.
    Sum,
    /// The least of all.
    Min,
    /// The greatest of all.
    Max,
    /// How many match.
    Count,
}

/// The words for it in the file.
pub const HITS: &[(&str, Hit)] = &[
    ("unique", Hit::Unique),
    ("first", Hit::First),
    ("any", Hit::Any),
    ("collect", Hit::Collect),
    ("sum", Hit::Sum),
    ("min", Hit::Min),
    ("max", Hit::Max),
    ("count", Hit::Count),
];

impl Hit {
    /// The word in the file.
    #[must_use]
    pub fn word(self) -> &'static str {
        HITS.iter().find(|(_, hit)| *hit == self).map_or("", |(word, _)| word)
    }

    /// Whether it needs a row that matches.
    #[must_use]
    pub fn needs_a_row(self) -> bool {
        matches!(self, Self::Unique | Self::Any)
    }
}

/// A place within the table, for messages: keys and positions from `rules` on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// A key.
    Field(String),
    /// A position of a list, from 0.
    Item(usize),
}

/// Why a table is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// Where.
    pub at: Vec<At>,
    /// One sentence.
    pub message: String,
    /// What to write; may be empty.
    pub hint: String,
}

/// A column: the name of an input and the type of its cells.
#[derive(Clone, Debug)]
struct Column {
    name: String,
    kind: Option<ColumnKind>,
    domain: Option<Cell>,
}

/// One row.
#[derive(Clone, Debug)]
struct Row {
    /// Its `id`, or its number from 1.
    name: String,
    /// A cell for each column.
    cells: Vec<Cell>,
}

/// A rule table: which rows match which inputs.
#[derive(Clone, Debug)]
pub struct Table {
    /// Which of the rows that match count.
    pub hit: Hit,
    columns: Vec<Column>,
    rows: Vec<Row>,
}

/// Why a table gave no decision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecided {
    /// No row matches, and there is no `else`.
    #[error("no row of the rules matches {0}; add a row, or `else`")]
    NoMatch(String),
    /// `unique`, and several match.
    #[error("the rows {rows} of the rules all match {inputs}; `unique` takes one")]
    Several {
        /// Their names.
        rows: String,
        /// For which inputs.
        inputs: String,
    },
    /// `any`, and they do not say the same.
    #[error("the rows {0} of the rules match and do not say the same; `any` needs that")]
    Differ(String),
    /// An input is of another type than its column.
    #[error("the input `{column}` is {found}, the cells of its column are {wanted}")]
    Type {
        /// The input.
        column: String,
        /// Its type.
        found: String,
        /// The type of the cells.
        wanted: &'static str,
    },
    /// An input lies outside what the table says is possible.
    #[error("the input `{column}` is {shown}, which its `domain` does not have")]
    Domain {
        /// The input.
        column: String,
        /// Its value.
        shown: String,
    },
    /// `sum`, `min` or `max` of something that is no number.
    #[error("row {row} of the rules gives {found}, `{hit}` needs numbers")]
    NoNumber {
        /// Its name.
        row: String,
        /// Its type.
        found: String,
        /// The policy.
        hit: &'static str,
    },
}

/// Keys of a table in the file.
pub const KEYS: &[&str] = &["inputs", "hit", "domain", "rows", "else"];
/// Keys of a row.
pub const ROW_KEYS: &[&str] = &["id", "when", "then", "note"];

impl Table {
    /// Reads a table as it stands in the file, with every problem at its place.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(value: &Value) -> Result<Self, Vec<Problem>> {
        let mut reading = Reading { problems: Vec::new() };
        let table = reading.table(value);
        match table {
            Some(table) if reading.problems.is_empty() => Ok(table),
            _ => Err(reading.problems),
        }
    }

    /// How many rows it has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The `id` of a row, or its number from 1.
    #[must_use]
    pub fn row_name(&self, row: usize) -> &str {
        self.rows.get(row).map_or("", |row| &row.name)
    }

    /// The rows that match, in written order.
    ///
    /// # Errors
    /// An input has another type than its column, or lies outside its domain.
    pub fn matching(&self, inputs: &Map) -> Result<Vec<usize>, Undecided> {
        let mut values: Vec<Literal> = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let value = inputs.get(&column.name).unwrap_or(&Value::Null);
            let literal = given(value, column.kind).ok_or_else(|| Undecided::Type {
                column: column.name.clone(),
                found: crate::expr::a_kind(value),
                wanted: column.kind.map_or("", ColumnKind::word),
            })?;
            if column.domain.as_ref().is_some_and(|domain| !domain.fits(&literal)) {
                return Err(Undecided::Domain { column: column.name.clone(), shown: super::shown(value) });
            }
            values.push(literal);
        }
        let fits = |row: &Row| row.cells.iter().zip(&values).all(|(cell, value)| cell.fits(value));
        Ok(self.rows.iter().enumerate().filter(|(_, row)| fits(row)).map(|(number, _)| number).collect())
    }

    /// The rows of those that match whose `then` is wanted; `None` stands for "no row matches".
    ///
    /// # Errors
    /// `unique`, and several match.
    pub fn taken(&self, matching: &[usize], inputs: &Map) -> Result<Option<Vec<usize>>, Undecided> {
        match (self.hit, matching) {
            (_, []) => Ok(None),
            (Hit::Unique, [_, _, ..]) => {
                Err(Undecided::Several { rows: self.names(matching), inputs: self.told(inputs) })
            }
            (Hit::First, [first, ..]) => Ok(Some(vec![*first])),
            _ => Ok(Some(matching.to_vec())),
        }
    }

    /// One value out of what the taken rows say.
    ///
    /// # Errors
    /// They do not say the same (`any`), or no numbers (`sum`, `min`, `max`).
    pub fn joined(&self, taken: &[usize], mut values: Vec<Value>) -> Result<Value, Undecided> {
        match self.hit {
            Hit::Unique | Hit::First => Ok(values.pop().unwrap_or(Value::Null)),
            Hit::Any => match values.split_first() {
                Some((first, rest)) if rest.iter().all(|other| crate::expr::same(first, other)) => Ok(first.clone()),
                _ => Err(Undecided::Differ(self.names(taken))),
            },
            Hit::Collect => Ok(Value::List(values)),
            Hit::Count => Ok(Value::from(i64::try_from(values.len()).unwrap_or(i64::MAX))),
            Hit::Sum | Hit::Min | Hit::Max => {
                let mut so_far: Option<Value> = None;
                for (row, value) in taken.iter().zip(values) {
                    let refused = |found: String| Undecided::NoNumber {
                        row: self.row_name(*row).to_owned(),
                        found,
                        hit: self.hit.word(),
                    };
                    if !matches!(value, Value::Int(_) | Value::Dec(_)) {
                        return Err(refused(crate::expr::a_kind(&value)));
                    }
                    so_far = Some(match so_far {
                        None => value,
                        Some(before) if self.hit == Hit::Sum => crate::expr::add(&before, &value).map_err(refused)?,
                        Some(before) => {
                            let later_wins = crate::expr::order(&value, &before)
                                .is_some_and(|order| if self.hit == Hit::Min { order.is_lt() } else { order.is_gt() });
                            if later_wins { value } else { before }
                        }
                    });
                }
                Ok(so_far.unwrap_or(Value::Null))
            }
        }
    }

    /// What the decision is if no row matches and there is no `else`.
    ///
    /// # Errors
    /// The policy needs a row.
    pub fn nothing(&self, inputs: &Map) -> Result<Value, Undecided> {
        match self.hit {
            Hit::Unique | Hit::Any => Err(Undecided::NoMatch(self.told(inputs))),
            Hit::First | Hit::Min | Hit::Max => Ok(Value::Null),
            Hit::Collect => Ok(Value::List(Vec::new())),
            Hit::Sum | Hit::Count => Ok(Value::from(0_i64)),
        }
    }

    fn names(&self, rows: &[usize]) -> String {
        let names: Vec<&str> = rows.iter().take(10).map(|row| self.row_name(*row)).collect();
        names.join(", ")
    }

    /// The inputs in a sentence.
    fn told(&self, inputs: &Map) -> String {
        let value = |column: &Column| super::shown(inputs.get(&column.name).unwrap_or(&Value::Null));
        let told: Vec<String> =
            self.columns.iter().map(|column| format!("{} = {}", display(&column.name), value(column))).collect();
        told.join(", ")
    }
}

struct Reading {
    problems: Vec<Problem>,
}

impl Reading {
    fn refuse(&mut self, at: &[At], message: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(Problem { at: at.to_vec(), message: message.into(), hint: hint.into() });
    }

    fn closed(&mut self, map: &Map, at: &[At], what: &str, known: &[&str]) {
        for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
            let place = [at, &[At::Field(key.clone())]].concat();
            self.refuse(&place, format!("{what} has no `{}`", display(key)), format!("it has: {}", known.join(", ")));
        }
    }

    fn table(&mut self, value: &Value) -> Option<Table> {
        let example = "write `inputs` (name and expression) and `rows` (each with `when` and `then`)";
        let Some(map) = value.as_map() else {
            self.refuse(&[], format!("`rules` must be an object, this is {}", crate::expr::a_kind(value)), example);
            return None;
        };
        self.closed(map, &[], "`rules`", KEYS);
        let hit = match map.get("hit").map(|hit| hit.as_str().unwrap_or_default()) {
            None => Hit::default(),
            Some(word) => HITS.iter().find(|(name, _)| *name == word).map_or_else(
                || {
                    let words: Vec<&str> = HITS.iter().map(|(word, _)| *word).collect();
                    let message = format!("`{}` is no hit policy", display(word));
                    self.refuse(&[At::Field("hit".into())], message, format!("write one of {}", words.join(", ")));
                    Hit::default()
                },
                |(_, hit)| *hit,
            ),
        };
        let inputs = map.get("inputs").and_then(Value::as_map).filter(|inputs| !inputs.is_empty());
        let Some(inputs) = inputs else {
            self.refuse(&[At::Field("inputs".into())], "`inputs` must name at least one value", example);
            return None;
        };
        if inputs.len() > COLUMNS_MAX {
            let message = format!("a table has at most {COLUMNS_MAX} columns, this has {}", inputs.len());
            self.refuse(&[At::Field("inputs".into())], message, "make it two tables");
        }
        let mut columns: Vec<Column> =
            inputs.keys().map(|name| Column { name: name.clone(), kind: None, domain: None }).collect();
        let names: Vec<&str> = inputs.keys().map(String::as_str).collect();
        self.domain(map.get("domain"), &mut columns, &names);
        let written = map.get("rows").and_then(Value::as_list).unwrap_or_default();
        if written.is_empty() || written.len() > ROWS_MAX {
            let message = format!("`rows` must be a list of 1 to {ROWS_MAX} rows");
            self.refuse(&[At::Field("rows".into())], message, example);
        }
        let mut rows: Vec<Row> = Vec::with_capacity(written.len());
        for (number, row) in written.iter().enumerate().take(ROWS_MAX) {
            let at = [At::Field("rows".into()), At::Item(number)];
            if let Some(row) = self.row(row, number, &at, &names) {
                if let Some(other) = rows.iter().position(|other| other.name == row.name) {
                    let message = format!("the rows {} and {} have the same id", other + 1, number + 1);
                    self.refuse(&[at.as_slice(), &[At::Field("id".into())]].concat(), message, "");
                }
                rows.push(row);
            }
        }
        self.kinds(&mut columns, &rows);
        Some(Table { hit, columns, rows })
    }

    fn domain(&mut self, domain: Option<&Value>, columns: &mut [Column], names: &[&str]) {
        let Some(domain) = domain else { return };
        let at = At::Field("domain".into());
        let Some(map) = domain.as_map() else {
            self.refuse(&[at], "`domain` must be an object: input and what it can be", "");
            return;
        };
        self.closed(map, std::slice::from_ref(&at), "`domain`", names);
        for column in columns {
            match map.get(&column.name).map(Cell::read) {
                Some(Ok(cell)) => column.domain = Some(cell),
                Some(Err((message, hint))) => {
                    self.refuse(&[at.clone(), At::Field(column.name.clone())], message, hint);
                }
                None => {}
            }
        }
    }

    fn row(&mut self, row: &Value, number: usize, at: &[At], names: &[&str]) -> Option<Row> {
        let Some(map) = row.as_map() else {
            self.refuse(at, "a row must be an object with `when` and `then`", "");
            return None;
        };
        self.closed(map, at, "a row", ROW_KEYS);
        if !map.contains_key("then") {
            self.refuse(at, "the key `then` is missing", "say what the row decides");
        }
        let name = match map.get("id") {
            None => (number + 1).to_string(),
            Some(Value::Str(id)) if !id.is_empty() && id.len() <= 64 => display(id),
            Some(_) => {
                let place = [at, &[At::Field("id".into())]].concat();
                self.refuse(&place, "the id of a row is a text of at most 64 bytes", "");
                (number + 1).to_string()
            }
        };
        let place = [at, &[At::Field("when".into())]].concat();
        let Some(when) = map.get("when").and_then(Value::as_map) else {
            self.refuse(&place, "`when` must be an object: input and cell", "a row that always matches has `when: {}`");
            return None;
        };
        self.closed(when, &place, "`when`", names);
        let mut cells = Vec::with_capacity(names.len());
        for name in names {
            cells.push(match when.get(*name).map(Cell::read) {
                None => Cell::Any,
                Some(Ok(cell)) => cell,
                Some(Err((message, hint))) => {
                    self.refuse(&[place.as_slice(), &[At::Field((*name).to_owned())]].concat(), message, hint);
                    Cell::Any
                }
            });
        }
        Some(Row { name, cells })
    }

    /// Gives each column the one type of its cells.
    fn kinds(&mut self, columns: &mut [Column], rows: &[Row]) {
        for (number, column) in columns.iter_mut().enumerate() {
            let mut kinds = Vec::new();
            if let Some(domain) = &column.domain {
                domain.kinds(&mut kinds);
            }
            for row in rows {
                if let Some(cell) = row.cells.get(number) {
                    cell.kinds(&mut kinds);
                }
            }
            column.kind = kinds.first().copied();
            if let [one, two, ..] = kinds.as_slice() {
                let message = format!("the column `{}` mixes {} and {}", display(&column.name), one.word(), two.word());
                let hint = "a number in quotes is a text, and a text that looks like a date is a date: write \
                    100 without quotes, or a text as `\"'2026'\"`";
                self.refuse(&[At::Field("rows".into())], message, hint);
            }
        }
    }
}
