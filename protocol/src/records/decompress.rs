//! Expanding the payload of a compressed batch, never beyond a bound.
//!
//! Owns: one stream over all codecs, and expansion into memory. Never: trusts a length that the
//! data names. Invariant: what is produced and kept stays below the
//! caller's bound, however small the input that asks for more.

pub(super) mod framing;
mod zstd_stream;

use std::io::{self, Read as _};

use lz4_flex::frame::FrameDecoder;

use self::framing::{GzipReader, SnappyReader, check_lz4_frame};
use self::zstd_stream::ZstdReader;
use super::codec::Codec;

/// Why a payload could not be expanded.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecompressError {
    #[error("the batch names a compression codec that does not exist")]
    UnknownCodec,
    #[error("the {codec} data is damaged: {reason}")]
    Damaged { codec: Codec, reason: String },
    #[error("the batch expands to more than {bytes_max} bytes")]
    TooLarge { bytes_max: usize },
}

/// The records of one payload as a stream.
#[allow(missing_debug_implementations, reason = "the decoders have none")]
pub struct Decompressor<'a> {
    codec: Codec,
    inner: Inner<'a>,
    bytes_left: usize,
    bytes_max: usize,
}

enum Inner<'a> {
    None(&'a [u8]),
    Gzip(GzipReader<'a>),
    Snappy(SnappyReader<'a>),
    Lz4(Box<FrameDecoder<&'a [u8]>>),
    Zstd(ZstdReader<'a>),
}

impl<'a> Decompressor<'a> {
    /// A stream of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// Where the codec's state cannot be set up.
    pub fn new(codec: Codec, payload: &'a [u8], bytes_max: usize) -> Result<Self, DecompressError> {
        let inner = match codec {
            Codec::None => Inner::None(payload),
            Codec::Gzip => Inner::Gzip(GzipReader::new(payload)),
            Codec::Snappy => Inner::Snappy(SnappyReader::new(payload, bytes_max)),
            Codec::Lz4 => {
                check_lz4_frame(payload).map_err(|error| damaged(codec, &error))?;
                Inner::Lz4(Box::new(FrameDecoder::new(payload)))
            }
            Codec::Zstd => {
                Inner::Zstd(ZstdReader::new(payload).map_err(|error| damaged(codec, &error))?)
            }
        };
        Ok(Self { codec, inner, bytes_left: bytes_max, bytes_max })
    }

    /// Fills as much of `out` as one step of the decoder gives; 0 at the end.
    ///
    /// # Errors
    /// Damaged data, or the first byte beyond the bound.
    pub fn step(&mut self, out: &mut [u8]) -> Result<usize, DecompressError> {
        let read = loop {
            let read = match &mut self.inner {
                Inner::None(rest) => rest.read(out),
                Inner::Gzip(decoder) => decoder.read(out),
                Inner::Snappy(decoder) => decoder.read(out),
                Inner::Lz4(decoder) => decoder.read(out),
                Inner::Zstd(decoder) => decoder.read(out),
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                    return Err(DecompressError::TooLarge { bytes_max: self.bytes_max });
                }
                Err(error) => return Err(damaged(self.codec, &error)),
                Ok(read) => break read,
            }
        };
        match self.bytes_left.checked_sub(read) {
            Some(left) => self.bytes_left = left,
            None => return Err(DecompressError::TooLarge { bytes_max: self.bytes_max }),
        }
        Ok(read)
    }
}

fn damaged(codec: Codec, error: &io::Error) -> DecompressError {
    DecompressError::Damaged { codec, reason: error.to_string() }
}

/// Expands a whole payload into memory, at most `bytes_max` bytes of it.
///
/// # Errors
/// As [`Decompressor::step`].
pub fn decompress(
    codec: Codec,
    payload: &[u8],
    bytes_max: usize,
) -> Result<Vec<u8>, DecompressError> {
    const STEP: usize = 16 * 1024;
    let mut decompressor = Decompressor::new(codec, payload, bytes_max)?;
    let mut out = Vec::new();
    let mut filled = 0;
    loop {
        // Doubling, so that the vector is never more than twice what the data really gave.
        out.resize((filled * 2).max(filled + STEP), 0);
        while filled < out.len() {
            let read = decompressor.step(out.get_mut(filled..).unwrap_or_default())?;
            if read == 0 {
                out.truncate(filled);
                return Ok(out);
            }
            filled += read;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::codec::Compression;
    use crate::records::compress::compress;

    fn sample() -> Vec<u8> {
        (0..200_000u32).map(|n| (n % 251) as u8 ^ (n / 1_000) as u8).collect()
    }

    #[test]
    fn every_codec_round_trips_at_several_levels() {
        for codec in Codec::ALL {
            for level in [None, Some(1), Some(9)] {
                let packed = compress(Compression::new(codec, level), &sample()).expect("packed");
                assert_eq!(decompress(codec, &packed, 1 << 20).as_ref(), Ok(&sample()));
                assert_eq!(decompress(codec, &packed, 200_000).map(|out| out.len()), Ok(200_000));
            }
        }
    }

    #[test]
    fn a_bomb_stops_at_the_bound() {
        let zeros = vec![0; 50 << 20];
        for codec in Codec::ALL.into_iter().filter(|codec| *codec != Codec::None) {
            let packed = compress(codec.into(), &zeros).expect("packed");
            let error = decompress(codec, &packed, 1 << 20);
            assert_eq!(error, Err(DecompressError::TooLarge { bytes_max: 1 << 20 }), "{codec}");
        }
    }

    #[test]
    fn plain_snappy_is_read_too() {
        let packed = snap::raw::Encoder::new().compress_vec(&sample()).expect("packed");
        assert_eq!(decompress(Codec::Snappy, &packed, 1 << 20), Ok(sample()));
        // A claim of 256 MiB from nine bytes allocates nothing.
        let liar = [0x80, 0x80, 0x80, 0x80, 0x01, 0, 0, 0, 0];
        assert!(matches!(
            decompress(Codec::Snappy, &liar, usize::MAX),
            Err(DecompressError::Damaged { .. })
        ));
    }

    #[test]
    fn what_follows_gzip_data_is_left_alone() {
        let packed = compress(Codec::Gzip.into(), &sample()).expect("packed");
        let twice = [&packed[..], &packed].concat();
        assert_eq!(decompress(Codec::Gzip, &twice, 1 << 20), Ok([sample(), sample()].concat()));
        let garbage = [&packed[..], b"garbage after the end of the data"].concat();
        assert_eq!(decompress(Codec::Gzip, &garbage, 1 << 20), Ok(sample()));
    }

    #[test]
    fn damaged_data_is_an_error() {
        for codec in Codec::ALL.into_iter().filter(|codec| *codec != Codec::None) {
            let packed = compress(codec.into(), &sample()).expect("packed");
            for cut in [1, packed.len() / 2, packed.len() - 1] {
                let result = decompress(codec, &packed[..cut], 1 << 20);
                assert!(result.is_err(), "{codec} cut at {cut}");
            }
            assert!(decompress(codec, b"no such format", 1 << 20).is_err(), "{codec}");
        }
    }
}
