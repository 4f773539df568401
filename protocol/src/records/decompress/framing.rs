//! What stands around the compressed blocks: gzip's members, snappy's chunks, lz4's frame.
//!
//! Owns: where these begin and end, as the JVM's decoders see it, since Kafka's consumers use
//! them. Never: expands by itself. Invariant: no length is believed that the bytes cannot hold.

use std::io::{self, Read};

use flate2::bufread::GzDecoder;

/// gzip, member after member. As `java.util.zip`, whatever follows the last one is not read.
pub(super) struct GzipReader<'a> {
    /// Taken only to begin the next member.
    decoder: Option<Box<GzDecoder<&'a [u8]>>>,
}

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

impl<'a> GzipReader<'a> {
    pub(super) fn new(payload: &'a [u8]) -> Self {
        Self { decoder: Some(Box::new(GzDecoder::new(payload))) }
    }
}

impl Read for GzipReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(decoder) = &mut self.decoder else { return Ok(0) };
            let read = decoder.read(out)?;
            if read > 0 || out.is_empty() {
                return Ok(read);
            }
            let rest = self.decoder.take().map(|decoder| decoder.into_inner()).unwrap_or_default();
            if rest.starts_with(GZIP_MAGIC) {
                self.decoder = Some(Box::new(GzDecoder::new(rest)));
            }
        }
    }
}

/// Checks that an lz4 frame ends with its end mark. The decoder does without one, the clients on
/// the JVM do not, and would fail on what the broker has stored.
pub(super) fn check_lz4_frame(payload: &[u8]) -> io::Result<()> {
    const CONTENT_SIZE: u8 = 0x08;
    const DICTIONARY: u8 = 0x01;
    const BLOCK_CHECKSUM: u8 = 0x10;
    let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
    // Magic, flags, block descriptor, optional fields, checksum of the header.
    let flags = *payload.get(4).ok_or_else(cut)?;
    let optional =
        if flags & CONTENT_SIZE == 0 { 0 } else { 8 } + if flags & DICTIONARY == 0 { 0 } else { 4 };
    let mut blocks = payload.get(7 + optional..).ok_or_else(cut)?;
    let checksum = if flags & BLOCK_CHECKSUM == 0 { 0 } else { 4 };
    loop {
        let (len, rest) = blocks.split_first_chunk::<4>().ok_or_else(cut)?;
        // The highest bit says that the block is not compressed.
        let len = (u32::from_le_bytes(*len) & 0x7fff_ffff) as usize;
        if len == 0 {
            return Ok(());
        }
        blocks = rest.get(len.saturating_add(checksum)..).ok_or_else(cut)?;
    }
}

/// What snappy-java (and so every Kafka client on the JVM) writes before its blocks.
pub(in crate::records) const XERIAL_MAGIC: &[u8; 8] = b"\x82SNAPPY\0";

/// Magic, version, lowest compatible version.
const XERIAL_HEADER: usize = 16;

/// A copy element of three bytes yields 64 at most; nothing in snappy expands more than that.
const SNAPPY_EXPANSION: usize = 32;

/// Snappy in snappy-java's framing, or as one plain block, told apart by the magic.
pub(super) struct SnappyReader<'a> {
    rest: &'a [u8],
    framed: bool,
    /// Nothing at all is no snappy data, though nothing after a block is.
    empty: bool,
    block: Vec<u8>,
    position: usize,
    bytes_max: usize,
}

impl<'a> SnappyReader<'a> {
    pub(super) fn new(payload: &'a [u8], bytes_max: usize) -> Self {
        let framed = payload.len() >= XERIAL_HEADER && payload.starts_with(XERIAL_MAGIC);
        let rest = if framed { &payload[XERIAL_HEADER..] } else { payload };
        let empty = payload.is_empty();
        Self { rest, framed, empty, block: Vec::new(), position: 0, bytes_max }
    }

    /// Expands the next block; `false` when there is none.
    fn advance(&mut self) -> io::Result<bool> {
        if self.empty {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.rest.is_empty() {
            return Ok(false);
        }
        let chunk = if self.framed {
            // Streams may be glued together; a header in the middle starts over.
            if self.rest.starts_with(XERIAL_MAGIC) {
                self.rest = self.rest.get(XERIAL_HEADER..).ok_or(io::ErrorKind::UnexpectedEof)?;
                return Ok(true);
            }
            let (len, rest) =
                self.rest.split_first_chunk::<4>().ok_or(io::ErrorKind::UnexpectedEof)?;
            let len = usize::try_from(i32::from_be_bytes(*len))
                .map_err(|_| io::Error::other("a block has a negative length"))?;
            let (chunk, rest) = rest.split_at_checked(len).ok_or(io::ErrorKind::UnexpectedEof)?;
            self.rest = rest;
            chunk
        } else {
            std::mem::take(&mut self.rest)
        };
        let len = snap::raw::decompress_len(chunk).map_err(io::Error::other)?;
        if len > self.bytes_max {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        if len > chunk.len().saturating_mul(SNAPPY_EXPANSION) {
            return Err(io::Error::other("a block claims more than its bytes can give"));
        }
        self.block.clear();
        self.block.resize(len, 0);
        self.position = 0;
        snap::raw::Decoder::new().decompress(chunk, &mut self.block).map_err(io::Error::other)?;
        Ok(true)
    }
}

impl Read for SnappyReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.position == self.block.len() {
            if !self.advance()? {
                return Ok(0);
            }
        }
        let available = self.block.get(self.position..).unwrap_or_default();
        let len = available.len().min(out.len());
        out[..len].copy_from_slice(&available[..len]);
        self.position += len;
        Ok(len)
    }
}
