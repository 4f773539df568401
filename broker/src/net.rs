//! The protocol edge: listeners, connections, frames in, responses out.
//!
//! Owns: sockets, buffers, byte budgets, the order of responses. Never: what a request means.

pub(crate) mod budget;
pub(crate) mod connection;
pub(crate) mod inbound;
pub(crate) mod limits;
pub(crate) mod listener;
pub(crate) mod outbound;
pub(crate) mod response;
pub(crate) mod stream;
