//! Topics that exist before the test begins.
//!
//! Owns: one CreateTopics exchange. Never: a back door into the broker.

use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::{CreateTopicsRequest, TopicName};
use ottla_protocol::ErrorCode;

use crate::builder::TopicBuilder;
use crate::client::{exchange, text};
use crate::error::HarnessError;

const VERSION: i16 = 7;
const TIMEOUT_MS: i32 = 30_000;

/// Makes the topics; when this returns each has leaders.
pub(crate) async fn create(bootstrap: &str, topics: &[TopicBuilder]) -> Result<(), HarnessError> {
    if topics.is_empty() {
        return Ok(());
    }
    let request = CreateTopicsRequest::default()
        .with_topics(topics.iter().map(creatable).collect())
        .with_timeout_ms(TIMEOUT_MS);
    let response = exchange(bootstrap, VERSION, &request).await?;
    for result in response.topics {
        let code = ErrorCode::from_code(result.error_code);
        if code != ErrorCode::None {
            let message = result.error_message.map(|text| text.to_string()).unwrap_or_default();
            return Err(HarnessError::Topic { name: result.name.to_string(), code, message });
        }
    }
    Ok(())
}

fn creatable(topic: &TopicBuilder) -> CreatableTopic {
    let config = |(key, value): &(String, String)| {
        CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
    };
    CreatableTopic::default()
        .with_name(TopicName(text(&topic.name)))
        .with_num_partitions(topic.partitions)
        .with_replication_factor(topic.replicas)
        .with_configs(topic.configs.iter().map(config).collect())
}
