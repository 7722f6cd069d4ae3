//! "Did you mean": the known name nearest to a wrong one.
//!
//! Invariant: the suggestion is one of the names it was given, never the wrong word itself.

/// The nearest of `known` to `word`, if one is near enough to be a slip: about a quarter of the
/// letters differ at the most, or one name holds the other.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|name| {
            let holds = word.len() >= 4 && (name.contains(&word) || word.contains(name));
            let far = distance(&word, name);
            // A word that was shortened or lengthened is nearer than one with other letters.
            (if holds { far.min(2) } else { far }, name)
        })
        .filter(|(far, name)| *far <= 1 + name.len().max(word.len()) / 4)
        .min()
        .map(|(_, name)| name)
}

/// Edits (insert, delete, replace, swap of neighbours) between two words, over bytes.
fn distance(left: &str, right: &str) -> usize {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let replace = above[j] + usize::from(a != b);
            let mut best = replace.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["default_pool_size", "listen_port", "max_client_conn", "emf"];

    #[test]
    fn a_slip_finds_its_word() {
        assert_eq!(nearest("defualt_pool_size", KNOWN), Some("default_pool_size"));
        assert_eq!(nearest("listenport", KNOWN), Some("listen_port"));
        assert_eq!(nearest("max-client-conns", KNOWN), Some("max_client_conn"));
        assert_eq!(nearest("pool_size", KNOWN), Some("default_pool_size"));
    }

    #[test]
    fn an_unrelated_word_finds_none() {
        assert_eq!(nearest("colour", KNOWN), None);
        assert_eq!(nearest("x", KNOWN), None);
    }
}
