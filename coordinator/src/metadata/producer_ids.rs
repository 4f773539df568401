//! Blocks of producer ids (KIP-730).
//!
//! Owns: [`AllocateProducerIds`]. Never: gives out single ids; a broker does, from its block.
//! Invariant: no id is in two blocks, across restarts: the log says what was given before the block
//! is used.

use ottla_protocol::model::ProducerId;

use super::decide::{Command, DecideContext, Decision};
use super::image::MetadataImage;
use super::record::MetadataRecord;

/// Ids in one block, as Kafka's `ProducerIdsBlock`.
pub const PRODUCER_ID_BLOCK_SIZE: i64 = 1_000;

/// Takes the next block for a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct AllocateProducerIds;

/// Ids from `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    pub first: ProducerId,
    pub size: i64,
}

impl Command for AllocateProducerIds {
    /// `None` when all ids were given, after nine quintillions of them.
    type Reply = Option<ProducerIdBlock>;

    fn decide(
        self,
        image: &MetadataImage,
        _context: &mut DecideContext<'_>,
    ) -> Decision<Self::Reply> {
        let first = image.next_producer_id();
        match first.0.checked_add(PRODUCER_ID_BLOCK_SIZE) {
            None => Decision::answer(None),
            Some(next) => Decision {
                records: vec![MetadataRecord::ProducerIds { next: ProducerId(next) }],
                reply: Some(ProducerIdBlock { first, size: PRODUCER_ID_BLOCK_SIZE }),
            },
        }
    }
}
