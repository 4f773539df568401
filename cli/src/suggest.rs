//! "Did you mean": the nearest of the names that exist.
//!
//! Owns: the distance and the sentence. Never: fetches names. Invariant: a suggestion differs from
//! what was typed by at most a third of its letters, and keeps at least one of them.

const LONGEST: usize = 200;

/// The candidate closest to `typed`, when it is close enough to be meant.
pub(crate) fn nearest<'a>(
    typed: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if typed.len() > LONGEST {
        return None;
    }
    let letters = typed.chars().count();
    let limit = (letters / 3).max(1).min(letters.saturating_sub(1));
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| (distance(typed, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `did you mean "orders"?`, when there is something to suggest.
pub(crate) fn sentence<'a>(
    typed: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(typed, candidates).map(|name| format!("did you mean \"{name}\"?"))
}

fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().flat_map(char::to_lowercase).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, l) in left.chars().flat_map(char::to_lowercase).enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, r) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(l != *r);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_names_are_suggested() {
        let names = ["orders", "payments", "order-items"];
        assert_eq!(nearest("order", names), Some("orders"));
        assert_eq!(nearest("Payment", names), Some("payments"));
        assert_eq!(nearest("clicks", names), None);
        assert_eq!(nearest("a", ["b"]), None, "nothing of it would be kept");
        assert_eq!(sentence("ordrs", names).as_deref(), Some("did you mean \"orders\"?"));
    }
}
