//! The nearest name to a misspelt one.
//!
//! Owns: edit distance with swaps. Never: knows what the names are for.

/// Names further away than this share of their length are no suggestion.
const DISTANCE_MAX_SHARE: usize = 3;

/// Longer input than any key has is never compared: the work is bounded.
const NAME_LENGTH_MAX: usize = 128;

/// The candidate with the smallest edit distance, if it is close enough to be meant.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    if name.len() > NAME_LENGTH_MAX {
        return None;
    }
    let wanted: Vec<char> = name.chars().flat_map(char::to_lowercase).collect();
    let limit = (wanted.len() / DISTANCE_MAX_SHARE).max(1);
    candidates
        // Names are ASCII; a difference in length is a lower bound of the distance.
        .filter(|candidate| candidate.len().abs_diff(wanted.len()) <= limit)
        .map(|candidate| (distance(&wanted, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
pub(crate) fn distance(left: &[char], right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let width = right.len() + 1;
    let mut before_last: Vec<usize> = vec![0; width];
    let mut last: Vec<usize> = (0..width).collect();
    for (row, l) in left.iter().enumerate() {
        let mut current = vec![row + 1; width];
        for (column, r) in right.iter().enumerate() {
            let replaced = last[column] + usize::from(l != r);
            let mut best = replaced.min(last[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && *l == right[column - 1] && left[row - 1] == *r {
                best = best.min(before_last[column - 1] + 1);
            }
            current[column + 1] = best;
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last[width - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_name() {
        let names = ["log.retention.ms", "log.roll.ms", "num.partitions"];
        for (typo, expected) in [
            ("log.retnetion.ms", Some("log.retention.ms")),
            ("num.partition", Some("num.partitions")),
            ("NUM.PARTITIONS", Some("num.partitions")),
            ("something.else.entirely", None),
            ("", None),
        ] {
            assert_eq!(nearest(typo, names.into_iter()), expected, "{typo}");
        }
    }

    #[test]
    fn distance_counts_edits() {
        for (left, right, expected) in
            [("", "abc", 3), ("abc", "abc", 0), ("abc", "acb", 1), ("abc", "abcd", 1)]
        {
            let left: Vec<char> = left.chars().collect();
            assert_eq!(distance(&left, right), expected);
        }
    }
}
