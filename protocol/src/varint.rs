//! Variable-length integers: unsigned and zigzag, of 32 and of 64 bits.
//!
//! Owns: the zigzag mapping, and appending them to a buffer. Never: reads; readers bound their own
//! input. Invariant: `len_*` says exactly what `put_*` writes.

#[inline]
pub(crate) const fn unzigzag32(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

#[inline]
pub(crate) const fn unzigzag64(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[inline]
const fn zigzag32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

#[inline]
const fn zigzag64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn put_unsigned(out: &mut Vec<u8>, value: u32) {
    put_unsigned64(out, u64::from(value));
}

fn put_unsigned64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_signed(out: &mut Vec<u8>, value: i32) {
    put_unsigned(out, zigzag32(value));
}

pub(crate) fn put_signed64(out: &mut Vec<u8>, value: i64) {
    put_unsigned64(out, zigzag64(value));
}

const fn len_unsigned64(value: u64) -> usize {
    // Seven bits a byte; zero takes one.
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// How many bytes [`put_signed`] writes.
pub(crate) const fn len_signed(value: i32) -> usize {
    len_unsigned64(zigzag32(value) as u64)
}

/// How many bytes [`put_signed64`] writes.
pub(crate) const fn len_signed64(value: i64) -> usize {
    len_unsigned64(zigzag64(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_lengths_are_right() {
        for value in [0, -1, 1, 63, 64, -64, -65, i32::MIN, i32::MAX] {
            let mut out = Vec::new();
            put_signed(&mut out, value);
            assert_eq!(out.len(), len_signed(value));
            assert_eq!(unzigzag32(zigzag32(value)), value);
        }
        for value in [0, -1, i64::MIN, i64::MAX, 1 << 40] {
            let mut out = Vec::new();
            put_signed64(&mut out, value);
            assert_eq!(out.len(), len_signed64(value));
            assert_eq!(unzigzag64(zigzag64(value)), value);
        }
    }
}
