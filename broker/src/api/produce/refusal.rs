//! Why records are not taken, and how that is answered.
//!
//! Owns: the fields of a refused partition's answer, and when Kafka tells the log's start in it. Never:
//! decides that records are refused.

use kafka_protocol::messages::ProduceResponse;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse,
};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::Offset;
use ottla_protocol::records::ValidationError;
use ottla_replication::partition::PartitionError;

use super::TopicOutcome;
use crate::api::error::KafkaError;
use crate::api::handler::{Answer, Reply};
use crate::api::wire;

/// Why a partition's records were not taken.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) code: ErrorCode,
    message: Option<String>,
    /// Index in the batch and reason of each record that is at fault.
    records: Vec<(i32, String)>,
    log_start: Option<Offset>,
}

impl Refusal {
    pub(super) fn of(code: ErrorCode, message: String) -> Self {
        Self { message: Some(message), ..Self::from(code) }
    }

    /// Kafka knows no log yet where it looks at a request before its topics, and forgets the log's
    /// start for damaged and oversized batches (`ReplicaManager.appendToLocalLog`).
    pub(super) fn of_batch(error: &ValidationError, log_start: Offset) -> Self {
        let before_the_log = matches!(
            error,
            ValidationError::NoBatch
                | ValidationError::SeveralBatches
                | ValidationError::OldMagic(_)
                | ValidationError::ZstdTooEarly { .. }
        );
        let records = match error {
            ValidationError::Records { issues, .. } => {
                issues.iter().map(|issue| (issue.index, issue.kind.to_string())).collect()
            }
            _ => Vec::new(),
        };
        let refusal = Self { records, ..Self::of(error.code(), error.to_string()) };
        if before_the_log { refusal } else { refusal.with_log_start(log_start) }
    }

    pub(super) fn of_log(error: &PartitionError, log_start: Offset) -> Self {
        Self::of(error.code(), error.to_string()).with_log_start(log_start)
    }

    fn with_log_start(mut self, log_start: Offset) -> Self {
        let forgotten = matches!(
            self.code,
            ErrorCode::CorruptMessage
                | ErrorCode::MessageTooLarge
                | ErrorCode::RecordListTooLarge
                | ErrorCode::KafkaStorageError
                | ErrorCode::NotLeaderOrFollower
                | ErrorCode::UnknownTopicOrPartition
        );
        self.log_start = (!forgotten).then_some(log_start);
        self
    }

    pub(super) fn fill(self, response: PartitionProduceResponse) -> PartitionProduceResponse {
        let records = self
            .records
            .into_iter()
            .map(|(index, message)| {
                BatchIndexAndErrorMessage::default()
                    .with_batch_index(index)
                    .with_batch_index_error_message(Some(wire::text(&message)))
            })
            .collect();
        response
            .with_error_code(self.code.code())
            .with_log_start_offset(self.log_start.map_or(-1, |offset| offset.0))
            .with_record_errors(records)
            .with_error_message(self.message.map(|message| wire::text(&message)))
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, records: Vec::new(), log_start: None }
    }
}

/// With acks=0 the only way to tell a client of an error is to close the connection.
pub(super) fn silent(topics: &[TopicOutcome]) -> Reply<ProduceResponse> {
    let failed = topics.iter().flat_map(|topic| &topic.partitions).find_map(|outcome| {
        let refusal = outcome.result.as_ref().err()?;
        Some(format!("acks=0 produce to partition {}: {}", outcome.index, refusal.code.name()))
    });
    Reply::Done(failed.map_or(Answer::Silent, Answer::Disconnect))
}
