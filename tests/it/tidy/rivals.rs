//! `docs/rivals.md`: what it says is shown is shown by tests that exist, and its bugs are in the list of bugs.
//!
//! The one invariant: the page is the only list; `e2e_rivals::bugs` reads it from here.

use std::collections::BTreeSet;

use super::{files, none, read};

/// The rows of the page: those that are about the engine.
const ROWS: &[u32] = &[1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 16, 17, 19, 20, 23, 25];

/// A test that shows an answer.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Row of the page.
    pub row: u32,
    /// `module::name`, as `cargo test -p aura-tests --test it` knows it.
    pub test: String,
    /// The deliberate bug that it finds.
    pub bug: Option<String>,
}

/// What the page's table names: in its last column "`test` finds `Bug`", several separated by `;`.
pub fn shown() -> Vec<Shown> {
    let page = read("docs/rivals.md");
    let mut all = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let Some(Ok(row)) = cells.get(1).map(|cell| cell.parse::<u32>()) else { continue };
        for part in cells[cells.len() - 2].split(';') {
            let mut names = part.split('`').skip(1).step_by(2).map(str::to_owned);
            let test = names.next().unwrap_or_else(|| panic!("row {row} names no test in: {part}"));
            let bugs: Vec<String> = names.collect();
            if bugs.is_empty() {
                all.push(Shown { row, test: test.clone(), bug: None });
            }
            all.extend(bugs.into_iter().map(|bug| Shown { row, test: test.clone(), bug: Some(bug) }));
        }
    }
    all
}

#[test]
fn every_row_names_tests_and_bugs_that_exist() {
    let all = shown();
    let rows: BTreeSet<u32> = all.iter().map(|shown| shown.row).collect();
    assert_eq!(rows, ROWS.iter().copied().collect(), "each row once");
    let list = read("daemon/src/engine/core/bugs.rs");
    let sources: Vec<(String, String)> =
        files("tests/it", &[".rs"]).into_iter().map(|file| (file.clone(), read(file))).collect();
    let mut wrong = Vec::new();
    for Shown { row, test, bug } in &all {
        let (module, name) = test.rsplit_once("::").unwrap_or(("", test));
        let path = format!("tests/it/{}.rs", module.replace("::", "/"));
        let found = sources.iter().any(|(file, text)| {
            (*file == path || *file == path.replace(".rs", "/mod.rs")) && text.contains(&format!("#[test]\nfn {name}("))
        });
        if !found {
            wrong.push(format!("row {row}: there is no test {test}"));
        }
        if let Some(bug) = bug
            && !list.contains(&format!("\n    {bug},\n"))
        {
            wrong.push(format!("row {row}: there is no bug {bug}"));
        }
    }
    for row in ROWS {
        if !all.iter().any(|shown| shown.row == *row && shown.bug.is_some()) {
            wrong.push(format!("row {row}: no deliberate bug"));
        }
    }
    none("docs/rivals.md", &wrong);
}
