//! The journal through crashes.
