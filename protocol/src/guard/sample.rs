//! Sound bodies of any request, made from the table.
//!
//! Owns: bytes for tests and fuzzing, here and in other crates, that reach every field of every
//! version. Never: runs in a broker. Invariant: what it makes passes the guard, and nothing in it
//! depends on anything but the numbers drawn from `random`.

use super::shape::{Field, Kind, Struct};

/// How often an array is empty or a nullable field null: once in this many.
const RARELY: u64 = 4;

/// A sound body; `None` for a key or version that does not exist.
#[must_use]
pub fn body(api_key: i16, version: i16, random: &mut dyn FnMut() -> u64) -> Option<Vec<u8>> {
    let request = super::shape(api_key)?;
    if version < request.from || version > request.to {
        return None;
    }
    let flexible = request.is_flexible(version);
    let mut sampler = Sampler { out: Vec::new(), version, flexible, random };
    sampler.structure(request.body);
    Some(sampler.out)
}

struct Sampler<'r> {
    out: Vec<u8>,
    version: i16,
    flexible: bool,
    random: &'r mut dyn FnMut() -> u64,
}

impl Sampler<'_> {
    fn one_in(&mut self, n: u64) -> bool {
        (self.random)().is_multiple_of(n)
    }

    fn structure(&mut self, shape: &Struct) {
        for field in shape.fields {
            if field.tag < 0 && field.has(self.version) {
                self.field(field);
            }
        }
        if self.flexible {
            self.tags(shape);
        }
    }

    fn field(&mut self, field: &Field) {
        let null = field.nullable(self.version) && self.one_in(RARELY);
        match &field.kind {
            Kind::Struct(shape) if field.nullable(self.version) => {
                self.out.push(if null { 0xff } else { 1 });
                if !null {
                    self.structure(shape);
                }
            }
            kind if null => self.null(kind),
            kind => self.value(kind),
        }
    }

    fn null(&mut self, kind: &Kind) {
        match kind {
            _ if self.flexible => self.out.push(0),
            Kind::Text => self.out.extend_from_slice(&[0xff; 2]),
            _ => self.out.extend_from_slice(&[0xff; 4]),
        }
    }

    fn value(&mut self, kind: &Kind) {
        match kind {
            Kind::Fixed(len) => {
                for _ in 0..*len {
                    let byte = (self.random)() as u8;
                    self.out.push(byte);
                }
            }
            Kind::Text | Kind::Bytes => {
                let len = ((self.random)() % 6) as u8;
                match kind {
                    Kind::Text if !self.flexible => self.out.extend_from_slice(&[0, len]),
                    _ => self.len(len),
                }
                // ASCII, so that it is text wherever text is asked for.
                self.out.extend((0..len).map(|index| b'a' + index));
            }
            Kind::Array(element) => {
                let count = if self.one_in(RARELY) { 0 } else { 1 + ((self.random)() % 2) as u8 };
                self.len(count);
                for _ in 0..count {
                    self.value(element);
                }
            }
            Kind::Struct(shape) => self.structure(shape),
        }
    }

    fn len(&mut self, len: u8) {
        if self.flexible {
            self.out.push(len + 1);
        } else {
            self.out.extend_from_slice(&u32::from(len).to_be_bytes());
        }
    }

    /// Half of the tagged fields of the version, and now and then one that nobody knows.
    fn tags(&mut self, shape: &Struct) {
        let at = self.out.len();
        self.out.push(0);
        let mut count = 0;
        for field in shape.fields {
            if field.tag >= 0 && field.has(self.version) && self.one_in(2) {
                count += 1;
                self.tag(field.tag as u8, |sampler| sampler.field(field));
            }
        }
        if self.one_in(8) {
            count += 1;
            self.tag(99, |sampler| sampler.out.extend_from_slice(b"unknown"));
        }
        self.out[at] = count;
    }

    fn tag(&mut self, tag: u8, value: impl FnOnce(&mut Self)) {
        self.out.push(tag);
        let at = self.out.len();
        value(self);
        let value = self.out.split_off(at);
        let mut len = value.len();
        while len >= 0x80 {
            self.out.push(len as u8 | 0x80);
            len >>= 7;
        }
        self.out.push(len as u8);
        self.out.extend_from_slice(&value);
    }
}
