//! The journal's frames on disk: framing, checksums, and what a bad place means.
//!
//! Owns: the bytes of a frame and the walk over a file of them. Never: what a record says, or changes
//! a file.
//!
//! ```text
//!   magic u32 | length u32 | crc32c u32 | version u32 | synced u64 | body, to a multiple of 8
//! ```
//! The checksum covers all but itself and the magic, and the frame's position, so that no frame is
//! taken for another. `synced` says up to which position the file was durable when the frame was
//! written: a bad place below any later frame's `synced` is damage; any other is the torn end of what
//! nobody was promised.

/// "OJR1", little-endian.
const MAGIC: u32 = u32::from_le_bytes(*b"OJR1");
const VERSION: u32 = 1;
pub(super) const HEAD: usize = 24;
/// A membership of a few hundred replicas is far below it.
pub(super) const BODY_MAX: usize = 1 << 20;

/// One frame of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Frame<'a> {
    pub(super) synced: u64,
    pub(super) body: &'a [u8],
    /// Where the next frame begins.
    pub(super) end: usize,
}

/// What a file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tail {
    Whole,
    /// From here on there is nothing that was promised.
    Torn(usize),
    /// Something that was durable at this position is not there.
    Damaged(usize),
}

/// Appends a frame to `out`, whose first byte goes to position `start` of the file.
pub(super) fn push(out: &mut Vec<u8>, start: u64, synced: u64, body: &[u8]) {
    debug_assert!(body.len() <= BODY_MAX, "records are small");
    let position = start + out.len() as u64;
    let len = body.len() as u32;
    let crc = checksum(position, len, synced, body);
    for word in [MAGIC, len, crc, VERSION] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&synced.to_le_bytes());
    out.extend_from_slice(body);
    out.resize(out.len() + padding(body.len()), 0);
}

const fn padding(len: usize) -> usize {
    len.wrapping_neg() & 7
}

fn checksum(position: u64, len: u32, synced: u64, body: &[u8]) -> u32 {
    let mut head = [0; 24];
    head[..8].copy_from_slice(&position.to_le_bytes());
    head[8..12].copy_from_slice(&len.to_le_bytes());
    head[12..16].copy_from_slice(&VERSION.to_le_bytes());
    head[16..].copy_from_slice(&synced.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&head), body)
}

/// The frame at `position`, if a good one is there.
pub(super) fn parse(file: &[u8], position: usize) -> Option<Frame<'_>> {
    let head = file.get(position..position.checked_add(HEAD)?)?;
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    if word(0) != MAGIC || word(12) != VERSION {
        return None;
    }
    let (len, crc) = (word(4), word(8));
    let synced = u64::from(word(16)) | u64::from(word(20)) << 32;
    if len as usize > BODY_MAX {
        return None;
    }
    let start = position + HEAD;
    let body = file.get(start..start.checked_add(len as usize)?)?;
    let end = start + body.len() + padding(body.len());
    let good = checksum(position as u64, len, synced, body) == crc;
    (good && end <= file.len()).then_some(Frame { synced, body, end })
}

/// Shows every good frame up to the first bad place, and says what that place means.
pub(super) fn walk<E>(
    file: &[u8],
    mut see: impl FnMut(&Frame<'_>) -> Result<(), E>,
) -> Result<Tail, E> {
    let mut position = 0;
    while position < file.len() {
        let Some(frame) = parse(file, position) else {
            return Ok(judge(file, position));
        };
        see(&frame)?;
        position = frame.end;
    }
    Ok(Tail::Whole)
}

/// Looks behind a bad place for a frame that vouches for it.
fn judge(file: &[u8], bad: usize) -> Tail {
    let mut position = bad + 8;
    while position + HEAD <= file.len() {
        if let Some(frame) = parse(file, position) {
            if frame.synced > bad as u64 {
                return Tail::Damaged(bad);
            }
            position = frame.end;
        } else {
            position += 8;
        }
    }
    Tail::Torn(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(frames: &[(u64, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (synced, body) in frames {
            push(&mut out, 0, *synced, body);
        }
        out
    }

    fn bodies(file: &[u8]) -> (Vec<Vec<u8>>, Tail) {
        let mut seen = Vec::new();
        let tail = walk(file, |frame| {
            seen.push(frame.body.to_vec());
            Ok::<_, std::convert::Infallible>(())
        });
        (seen, tail.expect("nothing fails"))
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = file(&[(0, b"a"), (32, b""), (56, b"eight by")]);
        assert_eq!(bytes.len() % 8, 0);
        let (seen, tail) = bodies(&bytes);
        assert_eq!(seen, [&b"a"[..], b"", b"eight by"]);
        assert_eq!(tail, Tail::Whole);
    }

    #[test]
    fn every_cut_is_a_torn_end() {
        let bytes = file(&[(0, b"first"), (32, b"second")]);
        for cut in 0..bytes.len() {
            let (seen, tail) = bodies(&bytes[..cut]);
            let whole = cut / 32;
            assert_eq!(seen.len(), whole, "cut at {cut}");
            let expected = if cut % 32 == 0 { Tail::Whole } else { Tail::Torn(whole * 32) };
            assert_eq!(tail, expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_is_damage_only_where_a_later_frame_vouches() {
        // Padding is not covered: it says nothing.
        let promised = file(&[(0, b"12345678"), (32, b"87654321")]);
        let open = file(&[(0, b"12345678"), (0, b"87654321")]);
        for bit in 0..32 * 8 {
            let flip = |bytes: &[u8]| {
                let mut bytes = bytes.to_vec();
                bytes[bit / 8] ^= 1 << (bit % 8);
                bodies(&bytes).1
            };
            assert_eq!(flip(&promised), Tail::Damaged(0), "bit {bit}");
            assert_eq!(flip(&open), Tail::Torn(0), "bit {bit}");
        }
    }

    #[test]
    fn a_frame_at_another_place_is_none() {
        let mut moved = file(&[(0, b"12345678"), (32, b"87654321")]);
        moved.copy_within(32..64, 0);
        assert_eq!(bodies(&moved).0, Vec::<Vec<u8>>::new());
    }
}
