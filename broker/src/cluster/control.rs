//! Calls from other brokers.
//!
//! Owns: the card that says who this node is, and which call goes where. Never: what a call does.

use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use ottla_coordinator::forming::Answer;
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::NodeId;
use ottla_replication::peer::{ControlError, ControlKind, ControlService};
use parking_lot::RwLock;

use super::{FORWARD, MOVE, ORDER, STANDING, controller, groups, unclean};
use crate::forwarding;
use crate::services::Services;

/// The broker as its peers call it.
#[derive(Debug)]
pub(crate) struct Control {
    card: RwLock<Answer>,
    /// Set once the broker can carry out calls.
    services: OnceLock<Weak<Services>>,
}

impl Control {
    pub(crate) fn new(card: Answer) -> Arc<Self> {
        Arc::new(Self { card: RwLock::new(card), services: OnceLock::new() })
    }

    /// Changes what the node says of itself.
    pub(crate) fn say(&self, change: impl FnOnce(&mut Answer)) {
        change(&mut self.card.write());
    }

    pub(crate) fn serve(&self, services: &Arc<Services>) {
        // Only the first counts, and there is one.
        let _first = self.services.set(Arc::downgrade(services));
    }
}

/// A code of Kafka's as a control error.
pub(crate) fn refused(code: ErrorCode, message: impl Into<String>) -> ControlError {
    ControlError { code: code.code().unsigned_abs(), message: message.into() }
}

impl ControlService for Control {
    fn card(&self) -> Bytes {
        serde_json::to_vec(&*self.card.read()).unwrap_or_default().into()
    }

    fn handle(
        &self,
        from: NodeId,
        kind: ControlKind,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, ControlError>> {
        let services = self.services.get().and_then(Weak::upgrade);
        Box::pin(async move {
            let Some(services) = services else {
                return Err(refused(ErrorCode::NotController, "this broker still starts"));
            };
            match kind {
                FORWARD => forwarding::serve(&services, body).await,
                ORDER => controller::serve(&services, from, &body).await,
                MOVE => groups::serve_move(&services, &body).await,
                STANDING => unclean::serve(&services, &body),
                ControlKind(other) => {
                    let text = format!("a call of kind {other} is not known to this version");
                    Err(refused(ErrorCode::UnsupportedVersion, text))
                }
            }
        })
    }
}
