//! Bugs that a simulation puts back, to show that it finds them.
//!
//! Owns: their names and whether one is back. Never: back without the feature `known-bugs`, which only
//! `tests/simulation` asks for: without it every question is a constant `false`.

/// A bug that systems like this one had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum KnownBug {
    /// What was appended counts as durable at once.
    AckBeforeFsync = 1,
    /// A batch that is sent again is appended again.
    NoDedup = 2,
    /// Damage within what was synced is cut off, as if it were an unfinished end.
    TruncateOnBadChecksum = 3,
}

impl KnownBug {
    /// Every one of them, with its name on a command line.
    pub const ALL: [(&'static str, Self); 3] = [
        ("ack-before-fsync", Self::AckBeforeFsync),
        ("no-dedup", Self::NoDedup),
        ("truncate-on-bad-checksum", Self::TruncateOnBadChecksum),
    ];

    /// Whether the bug is back in this process.
    #[must_use]
    #[inline]
    pub fn is_back(self) -> bool {
        #[cfg(feature = "known-bugs")]
        return switch::PUT_BACK.load(std::sync::atomic::Ordering::Relaxed) == self as u8;
        #[cfg(not(feature = "known-bugs"))]
        false
    }
}

#[cfg(feature = "known-bugs")]
mod switch {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::KnownBug;

    pub(super) static PUT_BACK: AtomicU8 = AtomicU8::new(0);

    impl KnownBug {
        /// The bug of this name.
        #[must_use]
        pub fn by_name(name: &str) -> Option<Self> {
            Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, bug)| *bug)
        }

        /// Puts it back, for the whole process.
        pub fn put_back(self) {
            PUT_BACK.store(self as u8, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(feature = "known-bugs")))]
mod tests {
    use super::KnownBug;

    #[test]
    fn no_bug_is_back_in_the_product() {
        assert!(KnownBug::ALL.iter().all(|(_, bug)| !bug.is_back()));
    }
}
