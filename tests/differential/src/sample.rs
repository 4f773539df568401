//! Random requests in the right shape, and a small generator to draw them from.
//!
//! Owns nothing but arithmetic. Never ambient randomness: everything follows from a seed.
//! Invariant: what `sample` makes encodes without an error.

use serde_json::{Map, Value};

use crate::schema::{Field, Kind, Message};

/// SplitMix64: good enough to choose test inputs, and two lines long.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `bound`, which is left out.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next_u64() % bound.max(1) as u64) as usize
    }
}

/// A request with one to three elements in each array and small values.
pub fn sample(message: &Message, version: i16, random: &mut Random) -> Value {
    sample_struct(&message.fields, version, random)
}

fn sample_struct(fields: &[Field], version: i16, random: &mut Random) -> Value {
    let mut object = Map::new();
    for field in fields.iter().filter(|f| f.versions.contains(version)) {
        let null = field.nullable.contains(version) && random.below(4) == 0;
        let value = match (null, field.array) {
            (true, _) => Value::Null,
            (false, true) => {
                (0..=random.below(3)).map(|_| sample_value(field, version, random)).collect()
            }
            (false, false) => sample_value(field, version, random),
        };
        object.insert(field.name.clone(), value);
    }
    Value::Object(object)
}

fn sample_value(field: &Field, version: i16, random: &mut Random) -> Value {
    let small = i64::try_from(random.below(5)).unwrap_or_default() - 1;
    match field.kind {
        Kind::Bool => (random.below(2) == 1).into(),
        Kind::Int8 | Kind::Int16 | Kind::Int32 | Kind::Int64 => small.into(),
        Kind::Uint16 => (small + 1).into(),
        Kind::Float64 => (small as f64).into(),
        Kind::String => ["", "a", "topic-1", "group"][random.below(4)].into(),
        Kind::Uuid => format!("{:032x}", random.below(3)).into(),
        Kind::Bytes => "00ff".repeat(random.below(40)).into(),
        Kind::Struct => sample_struct(&field.fields, version, random),
    }
}
