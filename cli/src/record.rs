//! Records as text: the `-f` format, JSON Lines both ways, and filters.
//!
//! Owns: the three sub-modules. Never: produces or consumes.

pub(crate) mod base64;
pub(crate) mod filter;
pub(crate) mod format;
pub(crate) mod json;
