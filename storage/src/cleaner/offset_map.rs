//! The newest offset of every key, in bounded memory (Kafka's `SkimpyOffsetMap`).
//!
//! Owns: key hashing and the table. Never: keeps a key: two keys of equal 128-bit hash would count
//! as one, which no workload and, with a random seed, no adversary brings about.
//!
//! Invariant: at most `entries_max` entries, and the table is never more than nine tenths full.

use std::hash::{DefaultHasher, Hasher};

use ottla_protocol::model::Offset;

/// Bytes of one slot: what a bound on memory is divided by.
pub const SLOT_BYTES: usize = size_of::<Slot>();

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: [u64; 2],
    /// Negative where the slot is free.
    offset: i64,
}

const FREE: Slot = Slot { hash: [0; 2], offset: -1 };

/// Hash of a key to the last offset it was seen at.
#[derive(Debug)]
pub struct OffsetMap {
    slots: Vec<Slot>,
    seeds: [u64; 2],
    entries: usize,
    entries_max: usize,
    latest: Offset,
}

/// The map has no room for another key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapFull;

impl OffsetMap {
    /// A map of at most `bytes`, and no larger than `records` need.
    #[must_use]
    pub fn new(bytes: usize, records: u64, seeds: [u64; 2]) -> Self {
        let needed = usize::try_from(records).unwrap_or(usize::MAX).saturating_mul(10) / 9;
        // Two at least: one entry and the free slot that ends a search.
        let slots = (bytes / SLOT_BYTES).min(needed.saturating_add(2)).max(2);
        let entries_max = (slots / 10 * 9 + slots % 10 * 9 / 10).clamp(1, slots - 1);
        Self { slots: vec![FREE; slots], seeds, entries: 0, entries_max, latest: Offset::NONE }
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        self.seeds.map(|seed| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(seed);
            hasher.write(key);
            hasher.finish()
        })
    }

    /// The slot of this hash, or the free one where it belongs.
    fn find(&self, hash: [u64; 2]) -> usize {
        // The high half of a product spreads over a table of any size.
        let mut at = ((u128::from(hash[0]) * self.slots.len() as u128) >> 64) as usize;
        loop {
            let slot = &self.slots[at];
            if slot.offset < 0 || slot.hash == hash {
                return at;
            }
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
    }

    /// Notes that the key stands at `offset`; offsets come in ascending order.
    ///
    /// # Errors
    /// `MapFull`, with nothing changed.
    pub fn put(&mut self, key: &[u8], offset: Offset) -> Result<(), MapFull> {
        let hash = self.hash(key);
        let at = self.find(hash);
        if self.slots[at].offset < 0 {
            if self.entries == self.entries_max {
                return Err(MapFull);
            }
            self.entries += 1;
        }
        self.slots[at] = Slot { hash, offset: offset.0 };
        Ok(())
    }

    /// The last offset of the key; `None` when it is not in the part that was mapped.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Offset> {
        let slot = &self.slots[self.find(self.hash(key))];
        (slot.offset >= 0).then_some(Offset(slot.offset))
    }

    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The last offset that the map speaks for; records after it stay.
    #[must_use]
    pub const fn latest(&self) -> Offset {
        self.latest
    }

    pub(super) fn cover(&mut self, offset: Offset) {
        self.latest = self.latest.max(offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn remembers_the_last_offset_of_each_key_until_it_is_full() {
        let mut map = OffsetMap::new(100 * SLOT_BYTES, u64::MAX, [1, 2]);
        let mut model = BTreeMap::new();
        let mut refused = false;
        for offset in 0..1000 {
            let key = format!("key-{}", offset * 7919 % 130);
            match map.put(key.as_bytes(), Offset(offset)) {
                Ok(()) => {
                    model.insert(key, Offset(offset));
                }
                Err(MapFull) => {
                    refused = true;
                    assert_eq!(map.len(), 90);
                    assert!(!model.contains_key(&key), "a known key always has room");
                }
            }
        }
        assert!(refused);
        for key in (0..130).map(|n| format!("key-{n}")) {
            assert_eq!(map.get(key.as_bytes()), model.get(&key).copied());
        }
    }

    #[test]
    fn small_maps_take_what_they_were_made_for() {
        for records in 0..50u64 {
            let mut map = OffsetMap::new(1 << 20, records, [0, 0]);
            for offset in 0..records.max(1) {
                map.put(&offset.to_be_bytes(), Offset(offset as i64)).unwrap();
            }
            assert_eq!(map.get(b"absent"), None);
        }
        assert!(OffsetMap::new(0, 10, [0, 0]).put(b"one", Offset(0)).is_ok());
    }
}
