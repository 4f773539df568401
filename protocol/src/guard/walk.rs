//! The walk over a body, guided by a shape.
//!
//! Owns: reading lengths and skipping what they measure. Never: allocates; recursion is as deep as
//! the shape. Invariant: the position never passes the end.

use super::GuardError;
use super::shape::{Field, Kind, Struct};

/// Unknown tagged fields in one body. Each makes a node of a map, which is the one thing that
/// costs hundreds of times its bytes; no client sends a dozen.
const UNKNOWN_TAGS_MAX: usize = 1_024;

/// What a map's first node takes, rounded up.
const TAG_MEMORY: usize = 512;

/// A vector's allocation beyond its elements.
const VECTOR_MEMORY: usize = 16;

pub(super) struct Walk<'a> {
    bytes: &'a [u8],
    position: usize,
    version: i16,
    flexible: bool,
    unknown_tags: usize,
    memory: usize,
}

/// A length as it stands on the wire.
#[derive(Clone, Copy)]
enum Length {
    Null,
    Of(usize),
}

impl<'a> Walk<'a> {
    pub(super) const fn new(bytes: &'a [u8], version: i16, flexible: bool) -> Self {
        Self { bytes, position: 0, version, flexible, unknown_tags: 0, memory: 0 }
    }

    pub(super) const fn position(&self) -> usize {
        self.position
    }

    pub(super) const fn decoded_bytes(&self) -> usize {
        self.memory.saturating_add(self.unknown_tags * TAG_MEMORY)
    }

    pub(super) fn structure(&mut self, shape: &Struct) -> Result<(), GuardError> {
        for field in shape.fields {
            if field.tag < 0 && field.has(self.version) {
                self.field(field)?;
            }
        }
        if self.flexible { self.tags(shape) } else { Ok(()) }
    }

    pub(super) fn tags(&mut self, shape: &Struct) -> Result<(), GuardError> {
        let count = self.varint()?;
        // A tagged field takes two bytes at least.
        if count as usize > self.left() / 2 {
            return Err(self.too_long(count));
        }
        for _ in 0..count {
            let at = self.position;
            let tag = self.varint()?;
            let size = self.varint()?;
            if size as usize > self.left() {
                return Err(self.too_long(size));
            }
            let known = shape.fields.iter().find(|f| f.tag >= 0 && f.tag as u32 == tag);
            match known {
                // As Kafka and kafka-protocol: the field says how long it is, not its size.
                Some(field) if field.has(self.version) => self.field(field)?,
                Some(_) => return Err(GuardError::Tag { at, tag }),
                None => {
                    self.skip(size as usize)?;
                    self.unknown_tags += 1;
                    if self.unknown_tags > UNKNOWN_TAGS_MAX {
                        return Err(GuardError::Tags { max: UNKNOWN_TAGS_MAX });
                    }
                }
            }
        }
        Ok(())
    }

    fn field(&mut self, field: &Field) -> Result<(), GuardError> {
        let nullable = field.nullable(self.version);
        match &field.kind {
            Kind::Struct(shape) if nullable => {
                let at = self.position;
                match self.byte()? as i8 {
                    1 => self.structure(shape),
                    present if present < 0 => Ok(()),
                    present => Err(GuardError::Negative { at, len: i32::from(present) }),
                }
            }
            kind => self.value(kind, nullable),
        }
    }

    fn value(&mut self, kind: &Kind, nullable: bool) -> Result<(), GuardError> {
        match kind {
            Kind::Fixed(len) => self.skip(usize::from(*len)),
            Kind::Struct(shape) => self.structure(shape),
            Kind::Text | Kind::Bytes => {
                let at = self.position;
                let length = match kind {
                    Kind::Text if !self.flexible => self.short_length()?,
                    _ => self.length()?,
                };
                match length {
                    Length::Of(len) => self.skip(len),
                    Length::Null if nullable => Ok(()),
                    Length::Null => Err(GuardError::Null { at }),
                }
            }
            Kind::Array(element) => self.array(element, nullable),
        }
    }

    fn array(&mut self, element: &Kind, nullable: bool) -> Result<(), GuardError> {
        let at = self.position;
        let count = match self.length()? {
            Length::Of(count) => count,
            Length::Null if nullable => return Ok(()),
            Length::Null => return Err(GuardError::Null { at }),
        };
        let left = self.left();
        let too_long =
            GuardError::TooLong { at, len: u32::try_from(count).unwrap_or(u32::MAX), left };
        let memory = match element {
            Kind::Fixed(len) => {
                let bytes = count.checked_mul(usize::from(*len)).ok_or(too_long)?;
                if bytes > left {
                    return Err(too_long);
                }
                self.skip(bytes)?;
                usize::from(*len)
            }
            // No element is empty, which a test makes sure of for every struct and version.
            _ if count > left => return Err(too_long),
            Kind::Struct(shape) => {
                for _ in 0..count {
                    self.structure(shape)?;
                }
                shape.memory
            }
            Kind::Text | Kind::Bytes | Kind::Array(_) => {
                for _ in 0..count {
                    self.value(element, false)?;
                }
                32
            }
        };
        if count > 0 {
            let elements = count.saturating_mul(memory);
            self.memory = self.memory.saturating_add(elements).saturating_add(VECTOR_MEMORY);
        }
        Ok(())
    }

    /// The length of an array or of bytes, and of strings in flexible versions.
    fn length(&mut self) -> Result<Length, GuardError> {
        let at = self.position;
        if self.flexible {
            return Ok(match self.varint()? {
                0 => Length::Null,
                len => Length::Of(len as usize - 1),
            });
        }
        let len = i32::from_be_bytes(self.take()?);
        match usize::try_from(len) {
            Ok(len) => Ok(Length::Of(len)),
            Err(_) if len == -1 => Ok(Length::Null),
            Err(_) => Err(GuardError::Negative { at, len }),
        }
    }

    /// The length of a string in versions that are not flexible.
    fn short_length(&mut self) -> Result<Length, GuardError> {
        let at = self.position;
        let len = i16::from_be_bytes(self.take()?);
        match usize::try_from(len) {
            Ok(len) => Ok(Length::Of(len)),
            Err(_) if len == -1 => Ok(Length::Null),
            Err(_) => Err(GuardError::Negative { at, len: i32::from(len) }),
        }
    }

    fn varint(&mut self) -> Result<u32, GuardError> {
        let at = self.position;
        let mut value = 0u32;
        for index in 0..5 {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(GuardError::Overlong { at })
    }

    fn byte(&mut self) -> Result<u8, GuardError> {
        let [byte] = self.take()?;
        Ok(byte)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], GuardError> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let taken = rest.first_chunk().ok_or(GuardError::Truncated { at: self.position })?;
        self.position += N;
        Ok(*taken)
    }

    fn skip(&mut self, len: usize) -> Result<(), GuardError> {
        if len > self.left() {
            return Err(if len <= 16 {
                GuardError::Truncated { at: self.position }
            } else {
                self.too_long(u32::try_from(len).unwrap_or(u32::MAX))
            });
        }
        self.position += len;
        Ok(())
    }

    const fn left(&self) -> usize {
        self.bytes.len() - self.position
    }

    const fn too_long(&self, len: u32) -> GuardError {
        GuardError::TooLong { at: self.position, len, left: self.left() }
    }
}
