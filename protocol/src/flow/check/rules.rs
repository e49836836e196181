//! Rule tables: their shape, and what a sweep over their cells finds: gaps, overlaps, rows that are never taken.
//!
//! What a policy forbids is an error, what may be meant a warning. Null is looked at only in columns that name
//! it, and what expressions in `then` give is known only when they run.

use super::super::path::Path;
use super::super::rules::{At, Hit, Overlap, Table};
use super::super::{Kind, Step};
use super::Checks;
use crate::value::Value;

impl Checks<'_> {
    /// The `rules` of a step.
    pub(super) fn ruled(&mut self, step: &Step, path: &Path) {
        let Some(written) = &step.rules else { return };
        let path = path.field("rules");
        let table = match Table::read(written) {
            Ok(table) => table,
            Err(problems) => {
                for problem in problems {
                    let place = problem.at.iter().fold(path.clone(), |path, at| match at {
                        At::Field(name) => path.field(name),
                        At::Item(number) => path.item(*number),
                    });
                    self.error(&place, problem.message, problem.hint);
                }
                return;
            }
        };
        let rows = path.field("rows");
        let otherwise = written.get("else").is_some();
        let found = table.sweep();
        for overlap in &found.overlaps {
            self.overlap(&table, overlap, written, &rows);
        }
        if !otherwise && matches!(table.hit, Hit::Unique | Hit::Any | Hit::First) {
            for gap in &found.gaps {
                let end = if table.hit.needs_a_row() { "the step fails then" } else { "the decision is null then" };
                self.warn(&rows, format!("no row matches {}: {end}", gap.0), "add a row, or `else`");
            }
        }
        for row in &found.idle {
            let message = match table.hit {
                Hit::First => "this row is never taken: rows before it take all that it matches",
                _ => "this row never matches anything that `domain` has",
            };
            self.warn(&rows.item(*row), message, "put it before them, or leave it out");
        }
        if !found.whole {
            let message = "the table falls into too many pieces: not all of it was looked at for gaps and overlaps";
            self.note(&rows, message);
        }
        let reads = |text: &str| text.contains("decision") || text.contains("matched");
        let read = match &step.kind {
            Kind::Set(values) => reads(&Value::Map(values.clone()).to_json()),
            Kind::Branch(arms) => arms.iter().filter_map(|arm| arm.when.as_deref()).any(reads),
            _ => true,
        };
        if !read {
            let hint = "write `\"{{ decision }}\"`";
            self.warn(&path, "nothing reads what these rules decide", hint);
        }
    }

    fn overlap(&mut self, table: &Table, overlap: &Overlap, written: &Value, rows: &Path) {
        let (Some(first), Some(last)) = (overlap.rows.first(), overlap.rows.last()) else { return };
        let names: Vec<&str> = overlap.rows.iter().map(|row| table.row_name(*row)).collect();
        let (names, path) = (names.join(" and "), rows.item(*last));
        let then =
            |row: usize| written.get("rows").and_then(Value::as_list).and_then(|rows| rows.get(row)?.get("then"));
        match table.hit {
            Hit::Unique => {
                let message = format!("the rows {names} both match {}; `unique` takes one", overlap.region.0);
                let hint = "narrow one of them, or write `hit: first`";
                self.error(&path, message.replace("both", if overlap.rows.len() > 2 { "all" } else { "both" }), hint);
            }
            Hit::Any => {
                let differs = |row: &usize| match (then(*first), then(*row)) {
                    (Some(one), Some(two)) => !is_open(one) && !is_open(two) && !crate::expr::same(one, two),
                    _ => false,
                };
                if overlap.rows.iter().any(differs) {
                    let message = format!("the rows {names} match {} and do not say the same", overlap.region.0);
                    self.error(&path, message, "`any` needs that they do; narrow one of them");
                }
            }
            _ => {}
        }
    }
}

/// Whether an expression stands in a value.
fn is_open(value: &Value) -> bool {
    match value {
        Value::Str(text) => text.contains("{{"),
        Value::List(items) => items.iter().any(is_open),
        Value::Map(map) => map.values().any(is_open),
        _ => false,
    }
}
