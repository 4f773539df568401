//! Frames come back, whole or in pieces, and damaged ones end the connection.

use proptest::prelude::*;

use super::*;

fn bytes_of(frame: OutFrame, sequence: u32) -> Vec<u8> {
    frame.into_pieces(sequence).flat_map(|piece| piece.to_vec()).collect()
}

fn sample(correlation: u64, head: &[u8], payload: &[u8]) -> OutFrame {
    let mut buffer = OutFrame::buffer();
    buffer.extend_from_slice(head);
    let payload = vec![Bytes::copy_from_slice(payload)];
    OutFrame::new(FrameKind::Append, correlation, buffer, payload)
}

fn feed(reader: &mut FrameReader, bytes: &[u8]) {
    reader.buffer.extend_from_slice(bytes);
}

proptest! {
    #[test]
    fn frames_come_back_however_they_are_cut(
        frames in prop::collection::vec(
            (any::<u64>(), prop::collection::vec(any::<u8>(), 0..40), prop::collection::vec(any::<u8>(), 0..40)),
            1..6,
        ),
        step in 1_usize..50,
    ) {
        let mut wire = Vec::new();
        for (sequence, (correlation, head, payload)) in frames.iter().enumerate() {
            let frame = sample(*correlation, head, payload);
            let len = frame.len();
            let bytes = bytes_of(frame, sequence as u32);
            prop_assert_eq!(bytes.len(), len);
            wire.extend(bytes);
        }
        let mut reader = FrameReader::new(1_000);
        let mut seen = Vec::new();
        for piece in wire.chunks(step) {
            feed(&mut reader, piece);
            while let Some(frame) = reader.cut().unwrap() {
                seen.push((frame.correlation, frame.head.to_vec(), frame.payload.to_vec()));
            }
        }
        prop_assert_eq!(seen, frames);
    }

    #[test]
    fn any_bytes_are_frames_or_errors(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut reader = FrameReader::new(1_000);
        feed(&mut reader, &bytes);
        while let Ok(Some(_)) = reader.cut() {}
    }

    #[test]
    fn a_changed_bit_before_the_payload_is_noticed(
        head in prop::collection::vec(any::<u8>(), 0..40),
        at in 0_usize..1_000,
        bit in 0_u8..8,
    ) {
        let mut bytes = bytes_of(sample(7, &head, b"payload"), 0);
        let covered = FRAME_HEAD + head.len();
        bytes[at % covered] ^= 1 << bit;
        let mut reader = FrameReader::new(1_000);
        feed(&mut reader, &bytes);
        // A longer length waits for more, which then does not fit.
        prop_assert!(!matches!(reader.cut(), Ok(Some(_))));
    }
}

#[test]
fn a_lost_or_repeated_frame_is_noticed() {
    for second in [0, 2] {
        let mut reader = FrameReader::new(1_000);
        feed(&mut reader, &bytes_of(sample(1, b"", b""), 0));
        feed(&mut reader, &bytes_of(sample(2, b"", b""), second));
        assert!(reader.cut().unwrap().is_some());
        let error = reader.cut().unwrap_err();
        assert!(matches!(error, LinkError::Sequence { expected: 1, got } if got == second));
    }
}

#[test]
fn an_announced_length_takes_no_memory_before_the_bytes_come() {
    let mut reader = FrameReader::new(1 << 30);
    feed(&mut reader, &(900_u32 << 20).to_be_bytes());
    reader.make_room().unwrap();
    assert!(reader.buffer.capacity() <= 2 * TRUSTED_LEN, "{}", reader.buffer.capacity());

    let mut small = FrameReader::new(1_000);
    feed(&mut small, &1_001_u32.to_be_bytes());
    assert!(matches!(small.cut(), Err(LinkError::FrameSize { bytes: 1_001, max: 1_000 })));
}
