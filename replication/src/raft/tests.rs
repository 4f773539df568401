//! Tests of groups over an in-process network.
