//! Bodies of requests through the guard and the decoder.
//!
//! Owns: the target. Never: holds the property, which is in `entry.rs`. Invariant: no panic.

#![no_main]

#[path = "../entry.rs"]
#[allow(dead_code, reason = "each target uses its own half")]
mod entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entry::guard(data));
