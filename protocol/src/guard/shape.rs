//! What a request's shape is made of.
//!
//! Owns: the types of the generated table and its short constructors. Never: walks bytes.
//! Invariant: everything is `const`, so the table costs no start-up and no heap.

/// Stands for a version range without an end.
pub(super) const M: i16 = i16::MAX;

/// A request: key, name, the versions that its definition has, its body.
#[derive(Debug)]
pub struct Request {
    pub(super) key: i16,
    pub(super) name: &'static str,
    pub(super) from: i16,
    pub(super) to: i16,
    /// From this version on it has compact lengths and tags.
    pub(super) flexible: i16,
    pub(super) body: &'static Struct,
}

#[derive(Debug)]
pub(super) struct Struct {
    /// About what it takes in memory once decoded, with what is inline in it.
    pub(super) memory: usize,
    pub(super) fields: &'static [Field],
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) from: i16,
    pub(super) to: i16,
    /// Versions in which it may be null; none when `null_to` is below `null_from`.
    pub(super) null_from: i16,
    pub(super) null_to: i16,
    /// -1 for a field that always stands in its place.
    pub(super) tag: i16,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// This many bytes.
    Fixed(u8),
    Text,
    Bytes,
    Array(&'static Kind),
    Struct(&'static Struct),
}

pub(super) use Kind::{Array as A, Struct as S};

pub(super) const B1: Kind = Kind::Fixed(1);
pub(super) const B2: Kind = Kind::Fixed(2);
pub(super) const B4: Kind = Kind::Fixed(4);
pub(super) const B8: Kind = Kind::Fixed(8);
pub(super) const B16: Kind = Kind::Fixed(16);
pub(super) const STR: Kind = Kind::Text;
pub(super) const BYTES: Kind = Kind::Bytes;

/// A plain field.
pub(super) const fn f(from: i16, to: i16, kind: Kind) -> Field {
    Field { from, to, null_from: 0, null_to: -1, tag: -1, kind }
}

/// A field that may be null in some versions.
pub(super) const fn n(from: i16, to: i16, null_from: i16, null_to: i16, kind: Kind) -> Field {
    Field { from, to, null_from, null_to, tag: -1, kind }
}

/// A tagged field.
pub(super) const fn t(tag: i16, from: i16, to: i16, kind: Kind) -> Field {
    Field { from, to, null_from: 0, null_to: -1, tag, kind }
}

/// A tagged field that may be null in some versions.
pub(super) const fn u(tag: i16, from: i16, to: i16, a: i16, b: i16, kind: Kind) -> Field {
    Field { from, to, null_from: a, null_to: b, tag, kind }
}

pub(super) const fn s(memory: usize, fields: &'static [Field]) -> Struct {
    Struct { memory, fields }
}

pub(super) const fn r(
    key: i16,
    name: &'static str,
    from: i16,
    to: i16,
    flexible: i16,
    body: &'static Struct,
) -> Request {
    Request { key, name, from, to, flexible, body }
}

impl Field {
    pub(super) const fn has(&self, version: i16) -> bool {
        self.from <= version && version <= self.to
    }

    pub(super) const fn nullable(&self, version: i16) -> bool {
        self.null_from <= version && version <= self.null_to
    }
}

impl Request {
    #[must_use]
    pub const fn key(&self) -> i16 {
        self.key
    }

    /// Kafka's name, without `Request`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The lowest and highest version that the definition has. What the broker serves is the
    /// business of its API table.
    #[must_use]
    pub const fn versions(&self) -> (i16, i16) {
        (self.from, self.to)
    }

    #[must_use]
    pub const fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible
    }
}
