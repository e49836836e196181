//! "Did you mean": the known name nearest to one that is not known.

/// The nearest of the known names if it is near enough to be meant; names that differ in case only win.
pub(super) fn closest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    if name.chars().count() > 40 {
        return None;
    }
    let most = (name.chars().count() / 3).clamp(1, 3);
    let distances = known.map(|candidate| {
        let same = candidate.eq_ignore_ascii_case(name);
        (if same { 0 } else { distance(name, candidate) }, candidate)
    });
    distances.filter(|(distance, _)| *distance <= most).min().map(|(_, candidate)| candidate)
}

/// Insertions, deletions and replacements between two short texts.
fn distance(one: &str, two: &str) -> usize {
    let two: Vec<char> = two.chars().collect();
    let mut row: Vec<usize> = (0..=two.len()).collect();
    for (line, left) in one.chars().enumerate() {
        let mut diagonal = line;
        let mut before = line + 1;
        let mut next = vec![before];
        for (right, above) in two.iter().zip(row.iter().skip(1)) {
            let replaced = diagonal + usize::from(left != *right);
            before = replaced.min(before + 1).min(above + 1);
            next.push(before);
            diagonal = *above;
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found() {
        let check = |name: &str, expected: Option<&str>| {
            let known = ["trim", "trimEnd", "toLowerCase", "filter", "steps"];
            assert_eq!(closest(name, known.into_iter()), expected, "{name}");
        };
        check("tirm", Some("trim").filter(|_| distance("tirm", "trim") <= 1));
        check("trm", Some("trim"));
        check("tolowercase", Some("toLowerCase"));
        check("fliter", Some("filter"));
        check("step", Some("steps"));
        check("somethingElse", None);
    }

    #[test]
    fn distances() {
        for (one, two, expected) in [("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3), ("ab", "ba", 2)] {
            assert_eq!(distance(one, two), expected, "{one} {two}");
        }
    }
}
