//! Stdin as chunks of lines, read by a thread of its own.
//!
//! Owns: the blocking reads. Never: looks into lines. Invariant: the lines of all chunks, in order,
//! are stdin's lines, the last one with or without a line break.

use std::io::{self, BufRead};

use tokio::sync::mpsc;

const BUFFER: usize = 256 << 10;

/// Whole lines, each ending in a line break except perhaps the last of the input.
#[derive(Debug, Default)]
pub(super) struct Chunk(Vec<u8>);

impl Chunk {
    /// The lines, without their breaks.
    pub(super) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.0
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\n").unwrap_or(line))
    }
}

/// Starts reading; the channel closes at the end of the input.
pub(super) fn start() -> mpsc::Receiver<io::Result<Chunk>> {
    let (sender, receiver) = mpsc::channel(8);
    std::thread::spawn(move || {
        let mut input = io::BufReader::with_capacity(BUFFER, io::stdin().lock());
        loop {
            let chunk = next(&mut input).transpose();
            let Some(chunk) = chunk else { return };
            let failed = chunk.is_err();
            if sender.blocking_send(chunk).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

/// What is there, up to the last whole line; blocks only until there is one.
fn next(input: &mut impl BufRead) -> io::Result<Option<Chunk>> {
    let mut bytes = Vec::new();
    loop {
        let available = match input.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if available.is_empty() {
            return Ok((!bytes.is_empty()).then_some(Chunk(bytes)));
        }
        if let Some(last) = available.iter().rposition(|byte| *byte == b'\n') {
            bytes.extend_from_slice(&available[..=last]);
            input.consume(last + 1);
            return Ok(Some(Chunk(bytes)));
        }
        let count = available.len();
        bytes.extend_from_slice(available);
        input.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_survive_any_cut() {
        let text = b"one\n\ntwo words\nlonger than the buffer\nend";
        for capacity in 1..20 {
            let mut input = io::BufReader::with_capacity(capacity, &text[..]);
            let mut lines: Vec<Vec<u8>> = Vec::new();
            while let Some(chunk) = next(&mut input).expect("memory") {
                lines.extend(chunk.lines().map(<[u8]>::to_vec));
            }
            let expected: Vec<&[u8]> =
                vec![b"one", b"", b"two words", b"longer than the buffer", b"end"];
            assert_eq!(lines, expected, "capacity {capacity}");
        }
    }
}
