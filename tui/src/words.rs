//! A typed command line as words: blanks divide, quotes and backslashes keep together. No shell is involved.

/// Splits a line.
///
/// # Errors
/// A sentence about a quote that is not closed.
pub fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' => words.extend(word.take()),
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next() {
                        Some(end) if end == letter => break,
                        Some('\\') if letter == '"' => word.extend(letters.next()),
                        Some(inner) => word.push(inner),
                        None => return Err(format!("the quote {letter} is not closed")),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(letters.next()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_as_a_shell_would_without_its_powers() {
        let check = |line: &str, expected: &[&str]| assert_eq!(split(line).unwrap(), expected, "{line}");
        check("", &[]);
        check("flow list  --json ", &["flow", "list", "--json"]);
        check(r#"run cancel X --reason 'wrong list'"#, &["run", "cancel", "X", "--reason", "wrong list"]);
        check(r#"a "b \" c"d '' e\ f"#, &["a", "b \" cd", "", "e f"]);
        check("a; b $(c) | d", &["a;", "b", "$(c)", "|", "d"]);
        check(&crate::target::quoted("it's {\"a\": 1}"), &["it's {\"a\": 1}"]);
        assert!(split("a 'b").is_err());
    }
}
