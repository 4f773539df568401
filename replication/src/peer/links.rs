//! All links of this node.
//!
//! Owns: which links there are, and their tasks. Never: what is sent on them.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::model::NodeId;
use parking_lot::Mutex;

use super::hello::Lane;
use super::link::Link;
use super::network::BulkPace;
use super::pace::Pace;
use super::shared::Shared;

/// The links.
pub(crate) struct Links {
    pub(crate) shared: Arc<Shared>,
    links: Mutex<BTreeMap<(NodeId, Lane), Arc<Link>>>,
    paces: Mutex<BTreeMap<NodeId, Arc<BulkPace>>>,
    runtime: tokio::runtime::Handle,
}

impl Links {
    pub(crate) fn new(shared: Arc<Shared>, runtime: tokio::runtime::Handle) -> Self {
        Self { shared, links: Mutex::default(), paces: Mutex::default(), runtime }
    }

    /// The link to a node, which begins to connect when it is first asked for.
    pub(crate) fn link(&self, node: NodeId, lane: Lane) -> Arc<Link> {
        let mut links = self.links.lock();
        if let Some(link) = links.get(&(node, lane)) {
            return Arc::clone(link);
        }
        let link = Arc::new(Link::new(node, lane));
        if !self.shared.is_stopping() {
            links.insert((node, lane), Arc::clone(&link));
            self.runtime.spawn(Arc::clone(&link).run(Arc::clone(&self.shared)));
        }
        link
    }

    /// Keeps a link to each of `nodes`, and none to others.
    pub(crate) fn keep(&self, nodes: &[NodeId]) {
        for node in nodes.iter().filter(|node| **node != self.shared.me) {
            self.link(*node, Lane::Requests).wake();
        }
        let mut links = self.links.lock();
        links.retain(|(node, _), link| {
            let stays = nodes.contains(node);
            if !stays {
                link.end();
                self.shared.forget(*node);
            }
            stays
        });
    }

    /// A peer has shown itself: if it is not connected, it can be now.
    pub(crate) fn met(&self, node: NodeId) {
        let link = self.links.lock().get(&(node, Lane::Requests)).cloned();
        if let Some(link) = link.filter(|link| !link.is_connected()) {
            link.wake();
        }
    }

    pub(crate) fn is_connected(&self, node: NodeId) -> bool {
        let links = self.links.lock();
        links.get(&(node, Lane::Requests)).is_some_and(|link| link.is_connected())
    }

    /// Waits until `bytes` more may be sent to `node` in bulk.
    pub(crate) async fn pace_bulk(&self, node: NodeId, bytes: usize) {
        let now = self.shared.now();
        let pace = {
            let mut paces = self.paces.lock();
            Arc::clone(paces.entry(node).or_insert_with(|| {
                let rate = self.shared.settings.bulk_bytes_per_second;
                Arc::new(BulkPace::new(Pace::new(rate, rate / 8, now)))
            }))
        };
        pace.wait(bytes, now).await;
    }
}
