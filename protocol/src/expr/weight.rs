//! What a regular expression can cost, told from its shape before it runs.
//!
//! The engine is linear, but with a factor: where its states cannot be kept as a table (`[ab]*a[ab]{200}`), each byte
//! of text costs as many steps as places of the pattern are at work. Literals that stand once are found by
//! faster means and count nothing.

use regex_syntax::hir::{Hir, HirKind};

/// The places that can be at work at once, and whether the pattern can look far beyond its match.
pub(super) fn of(source: &str) -> (usize, bool) {
    match regex_syntax::Parser::new().parse(source) {
        Ok(pattern) => (weight(&pattern, false), far(&pattern, false, true)),
        Err(_) => (source.len(), true),
    }
}

fn weight(pattern: &Hir, repeated: bool) -> usize {
    match pattern.kind() {
        HirKind::Empty | HirKind::Look(_) => 0,
        HirKind::Literal(literal) => {
            if repeated {
                literal.0.len()
            } else {
                0
            }
        }
        HirKind::Class(_) => 1,
        HirKind::Repetition(again) => {
            let times = again.max.unwrap_or(again.min.saturating_add(1)).max(1);
            let inner = weight(&again.sub, repeated || again.max != Some(1));
            inner.saturating_mul(usize::try_from(times).unwrap_or(usize::MAX))
        }
        HirKind::Capture(group) => weight(&group.sub, repeated),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().fold(0, |sum, part| sum.saturating_add(weight(part, repeated)))
        }
    }
}

/// Whether something without end stands before something else where another way could be taken instead: then a
/// match is found, and the text behind it looked through for a better one.
fn far(pattern: &Hir, choice: bool, last: bool) -> bool {
    match pattern.kind() {
        HirKind::Empty | HirKind::Look(_) | HirKind::Literal(_) | HirKind::Class(_) => false,
        HirKind::Repetition(again) => {
            let endless = again.max.is_none() && !last && choice;
            endless || far(&again.sub, choice || again.max != Some(again.min), last && again.max == Some(1))
        }
        HirKind::Capture(group) => far(&group.sub, choice, last),
        HirKind::Concat(parts) => {
            let count = parts.len();
            parts.iter().enumerate().any(|(place, part)| far(part, choice, last && place + 1 == count))
        }
        HirKind::Alternation(parts) => parts.iter().any(|part| far(part, true, last)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_light() {
        let check = |source: &str, expected: (usize, bool)| assert_eq!(of(source), expected, "{source}");
        check("abc", (0, false));
        check(r"\d+", (2, false));
        check(r"(\w+)@(\w+)\.\w+", (6, false));
        check(r"\s*,\s*", (2, false));
        check("(?i)germany|austria|switzerland", (25, false));
        check(r"https?://[^\s]+", (2, false));
        check(r"<[^>]*>|&nbsp;", (1, true));
        check("w.*zzz|.", (2, true));
        check("a(.*zzz)?", (1, true));
        check("[ab]*a[ab]{200}", (201, false));
        check("(?:[ab]*a[ab]{40}){5}x", (210, false));
        check("(a|b|ab)*c", (4, false));
    }
}
