//! The budgets of one evaluation: steps for what loops, bytes for what grows, memory for what stands around it.
//!
//! Everything pays *before* it does so. The three together keep an expression below 8 MiB and a bounded time
//! whatever it says; `protocol/tests/budgets.rs` counts what is really held.

use super::data::{Data, List, Object, Text};
use super::eval::{Fail, Machine, Outcome};

/// Bytes that one evaluation may produce.
pub(super) const BYTES_MAX: usize = 1024 * 1024;
/// Bytes of input that one evaluation may hand through unchanged.
pub(super) const COPY_MAX: usize = 16 * 1024 * 1024;
/// Steps of one evaluation: constructs evaluated, items visited, and a step for each 64 bytes scanned.
pub(super) const STEPS_MAX: u64 = 250_000;
/// What one list item or field costs in bytes.
pub(super) const ITEM_BYTES: usize = 16;
/// What one evaluation may take of memory, with what stands around the data: 8 MiB together with what grows
/// and is copied on the way (`protocol/tests/budgets.rs` counts it).
pub(super) const HEAP_MAX: usize = 5 * 1024 * 1024;
/// What an item of a list or object takes of memory while it is made.
pub(super) const ITEM_HEAP: usize = 96;

impl<'a> Machine<'a> {
    /// What it has cost so far.
    pub(super) fn cost(&self) -> super::Cost {
        super::Cost {
            steps: STEPS_MAX.saturating_sub(self.steps_left),
            bytes: BYTES_MAX.saturating_sub(self.bytes_left),
        }
    }

    /// Pays for work.
    pub(super) fn steps(&mut self, count: usize) -> Result<(), Fail> {
        match self.steps_left.checked_sub(u64::try_from(count).unwrap_or(u64::MAX)) {
            Some(left) => {
                self.steps_left = left;
                Ok(())
            }
            None => Err(Fail::new(format!("the expression needs more than {STEPS_MAX} steps"))
                .hint("work on fewer items, or do this in a code step")),
        }
    }

    /// Pays for reading `bytes` of text.
    pub(super) fn scan(&mut self, bytes: usize) -> Result<(), Fail> {
        self.steps(bytes / 64 + 1)
    }

    /// Pays for `bytes` that are about to be made.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Fail> {
        match self.bytes_left.checked_sub(bytes) {
            Some(left) => {
                self.bytes_left = left;
                self.heap(bytes)
            }
            None => Err(Fail::new("the expression makes more than 1 MiB of data")
                .hint("take only the fields and items that are needed")),
        }
    }

    /// Pays for memory that stands around data: small texts, lists and objects are dear.
    pub(super) fn heap(&mut self, bytes: usize) -> Result<(), Fail> {
        match self.heap_left.checked_sub(bytes) {
            Some(left) => {
                self.heap_left = left;
                Ok(())
            }
            None => {
                Err(Fail::new("the expression makes too many texts, lists and objects (more than 5 MiB with them)")
                    .hint("take only the fields and items that are needed"))
            }
        }
    }

    /// Pays for what stands around a result that was made.
    pub(super) fn around(&mut self, data: &Data<'a>) -> Result<(), Fail> {
        match data {
            Data::Text(Text::Made(_)) | Data::Written(Text::Made(_)) => self.heap(24),
            Data::List(List::Made(_)) => self.heap(48),
            Data::Object(Object::Made(_)) => self.heap(160),
            Data::Date(_) => self.heap(64),
            _ => Ok(()),
        }
    }

    /// Pays for `count` items of a list or object that is about to be made.
    pub(super) fn grow_items(&mut self, count: usize) -> Result<(), Fail> {
        self.steps(count)?;
        self.grow(count.saturating_mul(ITEM_BYTES))?;
        self.heap(count.saturating_mul(ITEM_HEAP - ITEM_BYTES))
    }

    /// Pays for fields of an object that is about to be made; their keys are paid for apart.
    pub(super) fn grow_fields(&mut self, count: usize) -> Result<(), Fail> {
        self.grow_items(count)?;
        self.heap(count.saturating_mul(ITEM_HEAP))
    }

    /// A text that was made, paid for now.
    pub(super) fn made_text(&mut self, text: String) -> Outcome<'a> {
        self.grow(text.len())?;
        Ok(Data::text(text))
    }
}
