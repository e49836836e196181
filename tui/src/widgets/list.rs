//! Which row of a list is chosen, and which part of the list is seen.
//!
//! Invariant: the selection is anchored to its row's key, not to its place; a row that is gone leaves the cursor
//! where it was on screen.

/// Selection and place.
#[derive(Clone, Debug)]
pub struct List<K> {
    /// `None`: the top row, whatever it is.
    pub selected: Option<K>,
    offset: usize,
    page: usize,
}

impl<K> Default for List<K> {
    fn default() -> Self {
        Self { selected: None, offset: 0, page: 0 }
    }
}

impl<K: Clone + PartialEq> List<K> {
    /// Index of the chosen row.
    #[must_use]
    pub fn index(&self, keys: &[K]) -> usize {
        let Some(selected) = &self.selected else { return 0 };
        keys.iter().position(|key| key == selected).unwrap_or_else(|| self.offset.min(keys.len().saturating_sub(1)))
    }

    /// The chosen row.
    #[must_use]
    pub fn chosen(&self, keys: &[K]) -> Option<K> {
        keys.get(self.index(keys)).cloned()
    }

    /// Moves by a command of [`crate::keymap`]; false if it is none that moves. Tells also whether the end is near.
    pub fn go(&mut self, command: crate::keymap::Command, keys: &[K]) -> bool {
        use crate::keymap::Command as C;
        let (last, at, half) = (keys.len().saturating_sub(1), self.index(keys), self.page.max(2) / 2);
        let to = match command {
            C::Down => at.saturating_add(1),
            C::Up => at.saturating_sub(1),
            C::HalfDown => at.saturating_add(half),
            C::HalfUp => at.saturating_sub(half),
            C::Top => 0,
            C::Bottom => last,
            _ => return false,
        };
        let to = to.min(last);
        self.selected = keys.get(to).filter(|_| to > 0).cloned();
        true
    }

    /// Whether less than a page is left below the chosen row.
    #[must_use]
    pub fn near_end(&self, keys: &[K]) -> bool {
        self.index(keys) + self.page.max(1) >= keys.len()
    }

    /// Fits the seen part to a height; gives its first row and the chosen one.
    pub fn scroll(&mut self, keys: &[K], page: usize) -> (usize, usize) {
        self.page = page;
        let index = self.index(keys);
        let mut offset = self.offset.min(keys.len().saturating_sub(page)).min(index);
        if page > 0 && index >= offset + page {
            offset = index + 1 - page;
        }
        self.offset = offset;
        (offset, index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keymap::Command;

    #[test]
    fn the_selection_stays_with_its_row_and_is_always_seen() {
        let mut list = List::default();
        let keys: Vec<u32> = (0..100).collect();
        assert_eq!(list.scroll(&keys, 10), (0, 0));
        (0..12).for_each(|_| assert!(list.go(Command::Down, &keys)));
        assert_eq!(list.scroll(&keys, 10), (3, 12));
        let newer: Vec<u32> = (1000..1005).chain(0..100).collect();
        assert_eq!(list.chosen(&newer), Some(12));
        assert_eq!(list.scroll(&newer, 10), (8, 17));
        let gone: Vec<u32> = (0..12).collect();
        assert_eq!(list.chosen(&gone), Some(8), "the cursor stays where it was");
        list.go(Command::Top, &newer);
        assert_eq!(list.chosen(&newer), Some(1000), "the top row, whatever it is");
        list.go(Command::Bottom, &newer);
        assert!(list.near_end(&newer) && list.chosen(&newer) == Some(99));
        assert!(!list.go(Command::Filter, &newer) && list.scroll(&[], 10) == (0, 0));
    }
}
