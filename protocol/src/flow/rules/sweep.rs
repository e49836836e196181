//! Gaps, overlaps and rows that are never taken: a sweep over the table, column by column.
//!
//! Each column is cut where its cells begin and end, so within a piece every value meets the same rows: numbers
//! and dates in points and what lies between them, texts in those that are named and all others. Numbers
//! are taken to have digits behind the point. Null is looked at only in columns that name it. A table that falls
//! into too many pieces is not swept to its end, and the sweep says so.

use super::cell::{Cell, ColumnKind, Literal, Point};
use super::{Column, Hit, Table};
use crate::text::display;

/// Pieces that one sweep looks at.
const PIECES_MAX: usize = 20_000;
/// Gaps and overlaps that are told.
const TOLD_MAX: usize = 10;

/// A part of what the inputs can be, in words for people: `total [150..160), country DE or FR`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region(pub String);

/// Rows that match in one region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// Positions of the rows, in written order.
    pub rows: Vec<usize>,
    /// Where.
    pub region: Region,
}

/// What a sweep found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// Where no row matches; at most ten.
    pub gaps: Vec<Region>,
    /// Where several match; at most ten. Not looked for with `first`.
    pub overlaps: Vec<Overlap>,
    /// Rows that are never taken.
    pub idle: Vec<usize>,
    /// Whether the whole table was looked at.
    pub whole: bool,
}

/// A piece of a column.
#[derive(Clone, Debug)]
enum Piece {
    All,
    Null,
    /// Named values of a finite column.
    Named(Vec<String>),
    /// All texts that no cell names.
    Others,
    /// From here to there on an axis; an end that belongs to it is `true`.
    Span(Option<(Point, bool)>, Option<(Point, bool)>),
}

impl Piece {
    fn told(&self) -> String {
        match self {
            Self::All => "any".to_owned(),
            Self::Null => "null".to_owned(),
            Self::Named(names) => names.join(" or "),
            Self::Others => "any other".to_owned(),
            Self::Span(None, None) => "any".to_owned(),
            Self::Span(None, Some((high, closed))) => format!("{} {}", if *closed { "<=" } else { "<" }, high.text()),
            Self::Span(Some((low, closed)), None) => format!("{} {}", if *closed { ">=" } else { ">" }, low.text()),
            Self::Span(Some((low, from)), Some((high, to))) if low.order(high).is_eq() && *from && *to => low.text(),
            Self::Span(Some((low, from)), Some((high, to))) => {
                let (open, close) = (if *from { '[' } else { '(' }, if *to { ']' } else { ')' });
                format!("{open}{}..{}{close}", low.text(), high.text())
            }
        }
    }

    /// Both as one, if they are neighbours.
    fn with(&self, next: &Self) -> Option<Self> {
        match (self, next) {
            (Self::Span(low, Some((end, to))), Self::Span(Some((begin, from)), high)) => {
                let touch = end.order(begin).is_eq() && (*to || *from);
                touch.then(|| Self::Span(low.clone(), high.clone()))
            }
            (Self::Named(one), Self::Named(two)) => Some(Self::Named([one.as_slice(), two].concat())),
            _ => None,
        }
    }
}

impl Table {
    /// Looks for gaps, overlaps and rows that are never taken.
    #[must_use]
    pub fn sweep(&self) -> Sweep {
        let mut walk = Walk {
            table: self,
            taken: vec![false; self.rows.len()],
            left: PIECES_MAX,
            found: Sweep { gaps: Vec::new(), overlaps: Vec::new(), idle: Vec::new(), whole: true },
        };
        let all: Vec<usize> = (0..self.rows.len()).collect();
        walk.column(0, &all, &mut Vec::new());
        let Walk { taken, mut found, .. } = walk;
        if found.whole {
            found.idle = taken.iter().enumerate().filter(|(_, taken)| !**taken).map(|(row, _)| row).collect();
        }
        found
    }
}

struct Walk<'t> {
    table: &'t Table,
    taken: Vec<bool>,
    left: usize,
    found: Sweep,
}

impl Walk<'_> {
    fn column(&mut self, number: usize, rows: &[usize], way: &mut Vec<Piece>) {
        let Some(left) = self.left.checked_sub(1) else {
            self.found.whole = false;
            return;
        };
        self.left = left;
        let Some(column) = self.table.columns.get(number).filter(|_| !rows.is_empty()) else {
            self.end(rows, way);
            return;
        };
        if let (Hit::First, [first, ..]) = (self.table.hit, rows)
            && self
                .table
                .rows
                .get(*first)
                .is_some_and(|row| row.cells.iter().skip(number).all(|cell| matches!(cell, Cell::Any)))
        {
            return self.end(rows, way); // whatever comes, this row is taken
        }
        let cells: Vec<(usize, &Cell)> =
            rows.iter().filter_map(|row| Some((*row, self.table.rows.get(*row)?.cells.get(number)?))).collect();
        let mut merged: Vec<(Piece, Vec<usize>)> = Vec::new();
        for (piece, within) in pieces(column, &cells) {
            match merged.last_mut() {
                Some((last, rows)) if *rows == within => match last.with(&piece) {
                    Some(both) => *last = both,
                    None => merged.push((piece, within)),
                },
                _ => merged.push((piece, within)),
            }
        }
        for (piece, within) in merged {
            way.push(piece);
            self.column(number + 1, &within, way);
            way.pop();
        }
    }

    fn end(&mut self, rows: &[usize], way: &[Piece]) {
        let region = || {
            let told = way.iter().zip(&self.table.columns).filter_map(|(piece, column)| match piece {
                Piece::All | Piece::Span(None, None) => None,
                piece => Some(format!("{} {}", display(&column.name), piece.told())),
            });
            let told: Vec<String> = told.collect();
            Region(if told.is_empty() { "any input".to_owned() } else { told.join(", ") })
        };
        let region = region();
        match (self.table.hit, rows) {
            (_, []) => {
                if self.found.gaps.len() < TOLD_MAX {
                    self.found.gaps.push(region);
                }
            }
            (Hit::First, [first, ..]) => {
                if let Some(taken) = self.taken.get_mut(*first) {
                    *taken = true;
                }
            }
            _ => {
                for row in rows {
                    if let Some(taken) = self.taken.get_mut(*row) {
                        *taken = true;
                    }
                }
                if rows.len() > 1 && self.found.overlaps.len() < TOLD_MAX {
                    self.found.overlaps.push(Overlap { rows: rows.to_vec(), region });
                }
            }
        }
    }
}

/// The pieces of a column with the rows that match in each, in order; those outside the domain are left out.
fn pieces(column: &Column, cells: &[(usize, &Cell)]) -> Vec<(Piece, Vec<usize>)> {
    let mut literals: Vec<Literal> = Vec::new();
    let mut named_null = false;
    let mut collect = |cell: &Cell| {
        cell.literals(&mut |literal| match literal {
            Literal::Null => named_null = true,
            other => literals.push(other),
        });
    };
    cells.iter().for_each(|(_, cell)| collect(cell));
    if let Some(domain) = &column.domain {
        collect(domain);
    }
    let within = |fits: &dyn Fn(&Cell) -> bool| -> Option<Vec<usize>> {
        let possible = column.domain.as_ref().is_none_or(fits);
        possible.then(|| cells.iter().filter(|(_, cell)| fits(cell)).map(|(row, _)| *row).collect())
    };
    let mut out: Vec<(Piece, Vec<usize>)> = Vec::new();
    let mut add = |piece: Piece, rows: Option<Vec<usize>>| out.extend(rows.map(|rows| (piece, rows)));
    match column.kind {
        None => add(Piece::All, within(&|cell| cell.takes_others())),
        Some(ColumnKind::Bool) => {
            for yes in [true, false] {
                add(Piece::Named(vec![yes.to_string()]), within(&|cell| cell.fits(&Literal::Bool(yes))));
            }
        }
        Some(ColumnKind::Text) => {
            let mut texts: Vec<Literal> = Vec::new();
            for literal in literals {
                if !texts.iter().any(|known| known.is(&literal)) {
                    texts.push(literal);
                }
            }
            for text in &texts {
                add(Piece::Named(vec![text.text()]), within(&|cell| cell.fits(text)));
            }
            let others = if texts.is_empty() { Piece::All } else { Piece::Others };
            add(others, within(&|cell| cell.takes_others()));
        }
        Some(ColumnKind::Number | ColumnKind::Time) => {
            let mut points: Vec<Point> = literals
                .into_iter()
                .filter_map(|literal| if let Literal::Point(point) = literal { Some(point) } else { None })
                .collect();
            points.sort_by(Point::order);
            points.dedup_by(|one, two| one.order(two).is_eq());
            let mut before: Option<Point> = None;
            for point in points {
                let (low, high) = (before.as_ref(), Some(&point));
                let span = Piece::Span(before.clone().map(|low| (low, false)), Some((point.clone(), false)));
                add(span, within(&|cell| cell.spans(low, high)));
                let given = Literal::Point(point.clone());
                let here = Piece::Span(Some((point.clone(), true)), Some((point.clone(), true)));
                add(here, within(&|cell| cell.fits(&given)));
                before = Some(point);
            }
            let last = before.as_ref();
            let span = Piece::Span(before.clone().map(|low| (low, false)), None);
            add(span, within(&|cell| cell.spans(last, None)));
        }
    }
    if named_null {
        add(Piece::Null, within(&|cell| cell.fits(&Literal::Null)));
    }
    out
}
