//! The one source of chance of a simulated disk: SplitMix64, so that a seed is the whole history.
//!
//! Owns: the generator. Never: entropy from outside.

/// A generator whose every value follows from its seed.
#[derive(Clone, Debug)]
pub struct SimRandom(u64);

impl SimRandom {
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A value in `0..bound`; 0 when `bound` is 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product: no bias that a test of this size could see.
        ((self.next() as u128 * bound as u128) >> 64) as u64
    }

    /// True `per_million` times in a million.
    pub const fn chance(&mut self, per_million: u32) -> bool {
        // Always draws, so that changing a rate moves no later decision.
        self.below(1_000_000) < per_million as u64
    }
}
