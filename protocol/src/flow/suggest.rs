//! "Did you mean": the known word nearest to one that is not known.

/// Nothing known is longer, and comparing costs the product of both lengths.
const WORD_MAX: usize = 64;

/// The nearest of the known words, if it is near enough to be a slip.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let letters = word.chars().count();
    if letters > WORD_MAX {
        return None;
    }
    let far = letters.div_ceil(3).min(letters.saturating_sub(1));
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= far && *distance > 0)
        .min()
        .map(|(_, candidate)| candidate)
}

/// A hint: the nearest word, else all of them.
pub(crate) fn did_you_mean<'k>(word: &str, known: impl IntoIterator<Item = &'k str> + Clone) -> String {
    match nearest(word, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => one_of(known),
    }
}

/// A hint that lists what is known.
pub(crate) fn one_of<'k>(known: impl IntoIterator<Item = &'k str>) -> String {
    let all: Vec<&str> = known.into_iter().take(40).collect();
    if all.is_empty() { String::new() } else { format!("known are: {}", all.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        assert_eq!(nearest("tirggers", ["triggers", "title"]), Some("triggers"));
        assert_eq!(nearest("colour", ["concurrency", "title"]), None);
        assert_eq!(did_you_mean("zzz", ["a", "b"]), "known are: a, b");
    }
}
