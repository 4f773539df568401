//! Calls between brokers that are not Raft's: forwarded requests, forming, registration.
//!
//! Owns: their form. Never: what they mean; the broker defines the kinds and handles them.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use ottla_protocol::model::NodeId;

/// What a control call asks for; the numbers are the broker's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ControlKind(pub u16);

/// Why a control call was not carried out.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message} (code {code})")]
pub struct ControlError {
    /// The broker's, as the kinds are.
    pub code: u16,
    pub message: String,
}

/// Answers control calls.
pub trait ControlService: Send + Sync {
    /// Words about this node for whoever connects or is connected to. Asked anew for each connection.
    fn card(&self) -> Bytes;

    /// Carries a call out, in a task of its own. The caller may be gone before it ends.
    fn handle(
        &self,
        from: NodeId,
        kind: ControlKind,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, ControlError>>;
}
