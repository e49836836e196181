//! Medians, spreads and ratios of rounds.
//!
//! The one invariant: a ratio is taken within a round, between neighbours, and is a number only if its spread
//! over the rounds is at most [`SPREAD_MAX`]; otherwise it is *not measured* (design §11).

use std::fmt;

/// Largest spread of a ratio that still is one.
pub const SPREAD_MAX: f64 = 0.25;

/// A figure over rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figure {
    /// Middle value.
    pub median: f64,
    /// Smallest.
    pub least: f64,
    /// Largest.
    pub most: f64,
}

impl Figure {
    /// Of the values of all rounds; `None` without any.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let upper = *sorted.get(sorted.len() / 2)?;
        let lower = *sorted.get((sorted.len() - 1) / 2)?;
        Some(Self { median: f64::midpoint(lower, upper), least, most })
    }

    /// Distance of largest and smallest by the median.
    #[must_use]
    pub fn spread(&self) -> f64 {
        if self.median > 0.0 { (self.most - self.least) / self.median } else { 0.0 }
    }
}

/// A ratio of two programs, round by round.
#[derive(Clone, Copy, Debug)]
pub struct Ratio(pub Figure);

impl Ratio {
    /// Of values that belong together round by round.
    #[must_use]
    pub fn of(above: &[f64], below: &[f64]) -> Option<Self> {
        let each: Vec<f64> = above.iter().zip(below).filter(|(_, below)| **below > 0.0).map(|(a, b)| a / b).collect();
        Figure::of(&each).map(Self)
    }

    /// Whether it may be called a number.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        self.0.spread() <= SPREAD_MAX
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figure { median, least, most } = self.0;
        if self.is_measured() {
            write!(out, "{median:.2} [{least:.2}-{most:.2}]")
        } else {
            write!(
                out,
                "not measured (median {median:.2}, {least:.2}-{most:.2}, spread {:.0} %)",
                100.0 * self.0.spread()
            )
        }
    }
}

/// A table for people: the first line is its head; columns as wide as needed, numbers to the right.
#[must_use]
pub fn table(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for line in lines {
        for (at, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
            let cell = if at == 0 { format!("{cell}{gap}") } else { format!("  {gap}{cell}") };
            out.push_str(&cell);
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_spreads() {
        let check = |values: &[f64], expected: Option<(f64, f64, f64)>| {
            assert_eq!(Figure::of(values).map(|f| (f.median, f.least, f.most)), expected, "{values:?}");
        };
        check(&[], None);
        check(&[3.0], Some((3.0, 3.0, 3.0)));
        check(&[3.0, 1.0], Some((2.0, 1.0, 3.0)));
        check(&[5.0, 1.0, 2.0], Some((2.0, 1.0, 5.0)));
        check(&[f64::NAN, 4.0], Some((4.0, 4.0, 4.0)));
    }

    #[test]
    fn a_ratio_that_scatters_is_not_measured() {
        let ratio = |above: &[f64], below: &[f64]| Ratio::of(above, below).expect("a ratio").to_string();
        assert_eq!(ratio(&[5.0, 5.5, 5.0], &[10.0, 10.0, 10.0]), "0.50 [0.50-0.55]");
        assert_eq!(ratio(&[5.0, 8.0, 5.0], &[10.0, 10.0, 10.0]), "not measured (median 0.50, 0.50-0.80, spread 60 %)");
        assert!(Ratio::of(&[1.0], &[0.0]).is_none());
    }

    #[test]
    fn tables_line_up() {
        let lines = [vec!["a".to_owned(), "figure".to_owned()], vec!["long".to_owned(), "1".to_owned()]];
        assert_eq!(table(&lines), "a     figure\nlong       1\n");
    }
}
