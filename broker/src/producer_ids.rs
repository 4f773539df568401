//! Producer ids of this broker, from blocks of the cluster.
//!
//! Owns: what is left of the current block. Never: gives an id twice; a block is durable in the
//! metadata log before its first id is used.

use std::sync::Arc;

use ottla_protocol::error_code::ErrorCode;
use parking_lot::Mutex;

use crate::metadata_service::MetadataService;
use crate::services::Services;

#[derive(Debug, Default)]
pub(crate) struct ProducerIds {
    /// The next id and the first one beyond the block.
    block: Mutex<(i64, i64)>,
}

impl ProducerIds {
    /// An id, if the block has one left.
    #[must_use]
    pub(crate) fn try_next(&self) -> Option<i64> {
        let mut block = self.block.lock();
        let id = block.0;
        (id < block.1).then(|| {
            block.0 += 1;
            id
        })
    }

    /// An id, from a new block if need be.
    ///
    /// # Errors
    /// What the controller answers when it gives no block.
    pub(crate) async fn next(&self, services: &Arc<Services>) -> Result<i64, ErrorCode> {
        loop {
            if let Some(id) = self.try_next() {
                return Ok(id);
            }
            let (first, count) = MetadataService::allocate_producer_ids(services).await?;
            let mut block = self.block.lock();
            // Two callers may have asked at once: the later block waits behind the earlier one only
            // if that is used up, else its ids are left unused.
            if block.0 >= block.1 {
                *block = (first, first + count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_ends() {
        let ids = ProducerIds { block: Mutex::new((5, 7)) };
        assert_eq!((ids.try_next(), ids.try_next(), ids.try_next()), (Some(5), Some(6), None));
    }
}
