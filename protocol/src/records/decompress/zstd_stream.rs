//! A `Read` over zstd data that keeps its decoder for the next batch.
//!
//! Owns: one idle decoding context per thread. Setting one up costs as much as expanding a small
//! batch. Never: keeps one that has grown large. Invariant: a context is reset before each use, so
//! that what it saw before changes nothing.

use std::cell::Cell;
use std::io::{self, Read};

use zstd::zstd_safe::{self, DCtx, InBuffer, OutBuffer, ResetDirective};

/// A context that has seen a large window keeps it; above this it is given back to the system.
const KEPT_BYTES_MAX: usize = 4 << 20;

thread_local! {
    static IDLE: Cell<Option<DCtx<'static>>> = const { Cell::new(None) };
}

pub(super) struct ZstdReader<'a> {
    /// Taken only on drop.
    context: Option<DCtx<'static>>,
    input: InBuffer<'a>,
    /// Whether the input seen so far ends with a whole frame.
    whole: bool,
}

impl<'a> ZstdReader<'a> {
    pub(super) fn new(payload: &'a [u8]) -> io::Result<Self> {
        let idle = IDLE.try_with(Cell::take).ok().flatten();
        let mut context = match idle.or_else(DCtx::try_create) {
            Some(context) => context,
            None => return Err(io::ErrorKind::OutOfMemory.into()),
        };
        context.reset(ResetDirective::SessionOnly).map_err(named)?;
        Ok(Self { context: Some(context), input: InBuffer::around(payload), whole: true })
    }
}

impl Read for ZstdReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(context) = &mut self.context else { return Ok(0) };
        if out.is_empty() {
            return Ok(0);
        }
        let mut out = OutBuffer::around(out);
        loop {
            let before = self.input.pos();
            let at_end = before == self.input.src.len();
            if at_end && self.whole {
                return Ok(0);
            }
            let hint = context.decompress_stream(&mut out, &mut self.input).map_err(named)?;
            self.whole = hint == 0;
            if out.pos() > 0 {
                return Ok(out.pos());
            }
            if self.input.pos() == before {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

impl Drop for ZstdReader<'_> {
    fn drop(&mut self) {
        let context = self.context.take().filter(|context| context.sizeof() <= KEPT_BYTES_MAX);
        // Where the thread is ending, there is no next batch.
        let _ = IDLE.try_with(|idle| idle.set(context));
    }
}

fn named(code: usize) -> io::Error {
    io::Error::other(zstd_safe::get_error_name(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(payload: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        ZstdReader::new(payload)?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn a_context_forgets_what_it_saw() {
        let text = b"the same text again and again, the same text again and again".repeat(50);
        let packed = zstd::encode_all(&text[..], 3).expect("packed");
        for _ in 0..3 {
            assert_eq!(read_all(&packed).expect("sound"), text);
            assert!(read_all(&packed[..packed.len() - 3]).is_err(), "cut off");
            assert!(read_all(&packed[3..]).is_err(), "no magic");
            // Left in the middle.
            let mut some = [0; 10];
            ZstdReader::new(&packed).expect("set up").read_exact(&mut some).expect("sound");
            assert_eq!(some[..], text[..10]);
        }
        let twice = [&packed[..], &packed].concat();
        assert_eq!(read_all(&twice).expect("two frames"), [&text[..], &text].concat());
        assert_eq!(read_all(&[]).expect("nothing"), b"");
    }
}
