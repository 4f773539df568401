//! A long run of entries in little memory: old ones packed, new ones plain.
//!
//! Owns: where each entry of the run begins and ends, by its place in the run. Never: indexes, or what the
//! entries are.
//!
//! A packed entry takes about four bytes, so that a log of millions of batches costs megabytes. To look
//! one up its whole pack is decoded, which takes a few microseconds; the newest entries, which nearly
//! every look is for, are not packed.

use std::collections::VecDeque;

use ottla_protocol::model::Offset;

use super::Slot;

/// Entries in one pack. Up to twice as many stay unpacked, 24 bytes each: memory of every replica that was
/// ever busy.
const PACK: usize = 128;

/// [`PACK`] entries.
#[derive(Clone, Debug)]
struct Pack {
    first: Slot,
    /// The differences of the others to the ones before them.
    rest: Box<[u8]>,
}

/// A run of entries; places count from its current beginning.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    packs: VecDeque<Pack>,
    /// Entries of the first pack that are no more.
    skipped: usize,
    tail: VecDeque<Slot>,
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.packed() + self.tail.len()
    }

    fn packed(&self) -> usize {
        self.packs.len() * PACK - self.skipped
    }

    pub(super) fn get(&self, place: usize) -> Option<Slot> {
        let packed = self.packed();
        if place >= packed {
            return self.tail.get(place - packed).copied();
        }
        let place = place + self.skipped;
        self.packs.get(place / PACK)?.slots().nth(place % PACK)
    }

    pub(super) fn back(&self) -> Option<Slot> {
        self.len().checked_sub(1).and_then(|last| self.get(last))
    }

    pub(super) fn push_back(&mut self, slot: Slot) {
        self.tail.push_back(slot);
        if self.tail.len() >= 2 * PACK {
            let slots: Vec<Slot> = self.tail.drain(..PACK).collect();
            self.packs.push_back(Pack::of(&slots));
        }
    }

    /// Keeps the first `len` entries.
    pub(super) fn truncate(&mut self, len: usize) {
        while self.packed() > len {
            let Some(pack) = self.packs.pop_back() else { return };
            let mut slots: VecDeque<Slot> = pack.slots().collect();
            if self.packs.is_empty() {
                slots.drain(..std::mem::take(&mut self.skipped));
            }
            slots.append(&mut self.tail);
            self.tail = slots;
        }
        self.tail.truncate(len - self.packed());
    }

    /// Takes off the first `count` entries.
    pub(super) fn drop_first(&mut self, count: usize) {
        let count = count.min(self.len());
        let packed = self.packed();
        if count >= packed {
            self.packs.clear();
            self.skipped = 0;
            self.tail.drain(..count - packed);
            self.tail.shrink_to(PACK);
            return;
        }
        let skipped = self.skipped + count;
        self.packs.drain(..skipped / PACK);
        self.skipped = skipped % PACK;
    }

    /// How many entries from the beginning on end at or below `offset`.
    pub(super) fn ending_by(&self, offset: Offset) -> usize {
        let in_tail = self.tail.partition_point(|slot| slot.end <= offset);
        if in_tail > 0 {
            return self.packed() + in_tail;
        }
        // In the last pack that begins with an entry that ends by then, if there is one.
        let after = self.packs.partition_point(|pack| pack.first.end <= offset);
        let Some(pack) = after.checked_sub(1) else { return 0 };
        let inside = self.packs[pack].slots().take_while(|slot| slot.end <= offset).count();
        (pack * PACK + inside).saturating_sub(self.skipped)
    }
}

const GAP: u8 = 1;
const TERM: u8 = 2;

impl Pack {
    fn of(slots: &[Slot]) -> Self {
        let mut rest = Vec::with_capacity(slots.len() * 4);
        for pair in slots.windows(2) {
            let (before, slot) = (&pair[0], &pair[1]);
            let gap = slot.base.since(before.end).unsigned_abs();
            let terms = slot.term - before.term;
            let flags = (u8::from(gap > 0) * GAP) | (u8::from(terms > 0) * TERM);
            // The flags share their number with the count of offsets.
            put(&mut rest, (slot.end.since(slot.base).unsigned_abs() << 2) | u64::from(flags));
            put(&mut rest, slot.bytes.into());
            if gap > 0 {
                put(&mut rest, gap);
            }
            if terms > 0 {
                put(&mut rest, terms.into());
            }
        }
        Self { first: slots[0], rest: rest.into() }
    }

    fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        let mut rest = &*self.rest;
        std::iter::successors(Some(self.first), move |before| {
            let head = take(&mut rest)?;
            let bytes = take(&mut rest)? as u32;
            let gap = if head as u8 & GAP > 0 { take(&mut rest)? } else { 0 };
            let terms = if head as u8 & TERM > 0 { take(&mut rest)? as u32 } else { 0 };
            let base = before.end.plus(gap as i64);
            Some(Slot {
                term: before.term + terms,
                bytes,
                base,
                end: base.plus((head >> 2) as i64),
            })
        })
    }
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push { count: usize, records: i64, bytes: u32, gap: i64, terms: u32 },
        Truncate(prop::sample::Index),
        DropFirst(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        let push = (1..700_usize, 0..2000_i64, 0..2_000_000_u32, 0..3_i64, 0..2_u32);
        prop_oneof![
            4 => push.prop_map(|(count, records, bytes, gap, terms)| Step::Push { count, records, bytes, gap, terms }),
            1 => any::<prop::sample::Index>().prop_map(Step::Truncate),
            1 => any::<prop::sample::Index>().prop_map(Step::DropFirst),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn packed_or_not_a_run_says_the_same(steps in prop::collection::vec(step(), 1..14)) {
            let mut slots = Slots::default();
            let mut model: Vec<Slot> = Vec::new();
            let mut last = Slot { term: 1, bytes: 0, base: Offset(5), end: Offset(5) };
            for step in steps {
                match step {
                    Step::Push { count, records, bytes, gap, terms } => {
                        for _ in 0..count {
                            let base = last.end.plus(gap);
                            let term = last.term + terms;
                            last = Slot { term, bytes, base, end: base.plus(records) };
                            slots.push_back(last);
                            model.push(last);
                        }
                    }
                    Step::Truncate(at) => {
                        let len = at.index(model.len() + 1);
                        slots.truncate(len);
                        model.truncate(len);
                        last = model.last().copied().unwrap_or(last);
                    }
                    Step::DropFirst(at) => {
                        let count = at.index(model.len() + 1);
                        slots.drop_first(count);
                        model.drain(..count);
                    }
                }
                prop_assert_eq!(slots.len(), model.len());
                prop_assert_eq!(slots.back(), model.last().copied());
                for place in (0..model.len()).step_by(97).chain([model.len()]) {
                    prop_assert_eq!(slots.get(place), model.get(place).copied());
                    if let Some(slot) = model.get(place) {
                        for offset in [slot.base, slot.end, slot.end.plus(-1)] {
                            let expected = model.partition_point(|slot| slot.end <= offset);
                            prop_assert_eq!(slots.ending_by(offset), expected);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_million_entries_take_a_few_megabytes() {
        let mut slots = Slots::default();
        for index in 0..1_000_000_i64 {
            let (base, end) = (Offset(index * 10), Offset(index * 10 + 10));
            slots.push_back(Slot { term: 7, bytes: 16_000, base, end });
        }
        let bytes: usize = slots.packs.iter().map(|pack| size_of::<Pack>() + pack.rest.len()).sum();
        assert!(bytes < 5_000_000, "{bytes}");
        assert_eq!(slots.get(123_456).map(|slot| slot.base), Some(Offset(1_234_560)));
    }
}
