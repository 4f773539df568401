//! The topics in a consumer's subscription.
//!
//! Owns: as much of `ConsumerProtocolSubscription` as offset expiry needs; the fields it reads are
//! the same in every version. Never: trusts a length: members send what they like.

use std::sync::Arc;

use bytes::Buf;

/// The topics a member subscribes to; `None` when the bytes are not a subscription.
pub(crate) fn subscribed_topics(metadata: &[u8]) -> Option<Vec<Arc<str>>> {
    let mut rest = metadata;
    let version = rest.try_get_i16().ok()?;
    if version < 0 {
        return None;
    }
    let count = usize::try_from(rest.try_get_i32().ok()?).ok()?;
    // Each topic takes its length at least, which bounds the allocation.
    if count > rest.len() / 2 {
        return None;
    }
    let mut topics = Vec::with_capacity(count);
    for _ in 0..count {
        let length = usize::try_from(rest.try_get_i16().ok()?).ok()?;
        let (name, after) = rest.split_at_checked(length)?;
        topics.push(std::str::from_utf8(name).ok()?.into());
        rest = after;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_and_nonsense_is_not() {
        let wire = [0, 1, 0, 0, 0, 2, 0, 1, b'a', 0, 2, b'b', b'c', 255, 255, 255, 255];
        assert_eq!(subscribed_topics(&wire), Some(vec!["a".into(), "bc".into()]));
        for length in 0..13 {
            assert_eq!(subscribed_topics(&wire[..length]), None, "cut at {length}");
        }
        assert_eq!(subscribed_topics(&[255, 255, 0, 0, 0, 0]), None, "negative version");
        assert_eq!(subscribed_topics(&[0, 0, 127, 255, 255, 255]), None, "count beyond the bytes");
    }
}
