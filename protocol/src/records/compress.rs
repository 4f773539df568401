//! Compressing the payload of a batch, as Kafka's Java clients lay it out.
//!
//! Owns: one function. Never: chooses a codec. Invariant: every client can expand the result:
//! snappy in snappy-java's framing, lz4 in independent blocks of 64 KiB.

use std::io::{self, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use super::codec::{Codec, Compression};
use super::decompress::framing::XERIAL_MAGIC;

/// The block size of snappy-java.
const SNAPPY_BLOCK: usize = 32 * 1024;

/// The compressed form of `payload`.
///
/// # Errors
/// Where an encoder fails, which none does on sound input.
pub fn compress(compression: Compression, payload: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(payload.len() / 2 + 64);
    compress_into(compression, payload, &mut out)?;
    Ok(out)
}

/// Appends the compressed form of `payload` to `out`.
pub(super) fn compress_into(
    compression: Compression,
    payload: &[u8],
    out: &mut Vec<u8>,
) -> io::Result<()> {
    match compression.codec() {
        Codec::None => out.extend_from_slice(payload),
        Codec::Gzip => {
            let level = flate2::Compression::new(compression.level().unsigned_abs());
            let mut encoder = flate2::write::GzEncoder::new(out, level);
            encoder.write_all(payload)?;
            encoder.finish()?;
        }
        Codec::Snappy => snappy(payload, out)?,
        Codec::Lz4 => {
            let info =
                FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
            let mut encoder = FrameEncoder::with_frame_info(info, out);
            encoder.write_all(payload)?;
            encoder.finish().map_err(io::Error::other)?;
        }
        Codec::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(out, compression.level())?;
            // Lets the encoder shrink its window, and so the reader's memory, to the data.
            encoder.set_pledged_src_size(Some(payload.len() as u64))?;
            encoder.write_all(payload)?;
            encoder.finish()?;
        }
    }
    Ok(())
}

fn snappy(payload: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    out.extend_from_slice(XERIAL_MAGIC);
    // Version 1, readable from version 1 on.
    out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
    let mut encoder = snap::raw::Encoder::new();
    for block in payload.chunks(SNAPPY_BLOCK) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.resize(start + 4 + snap::raw::max_compress_len(block.len()), 0);
        let len = encoder.compress(block, &mut out[start + 4..]).map_err(io::Error::other)?;
        out[start..start + 4].copy_from_slice(&(len as u32).to_be_bytes());
        out.truncate(start + 4 + len);
    }
    Ok(())
}
