//! Counters of one broker and their exposition.
//!
//! Owns: the registry (one per broker, never global), the handles that the request path counts with,
//! and the names, which are those of Strimzi's dashboards and of kafka_exporter. Never: computes on the
//! hot path what a scrape can compute; offsets, sizes and lags are read at scrape time.

mod cluster;
mod scrape;

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::services::Services;

/// `{topic="..."}`
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub(crate) struct TopicLabel {
    pub topic: String,
}

/// `{request="Fetch"}`, Kafka's API names.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub(crate) struct ApiLabel {
    pub request: String,
}

/// The handles of one topic, looked up once.
#[derive(Clone, Debug)]
pub(crate) struct TopicMetrics {
    pub messages_in: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    pub produce_requests: Counter,
    pub fetch_requests: Counter,
    pub produce_failures: Counter,
    pub fetch_failures: Counter,
}

/// Everything that is counted as it happens.
pub(crate) struct Metrics {
    registry: Registry,
    messages_in: Family<TopicLabel, Counter>,
    bytes_in: Family<TopicLabel, Counter>,
    bytes_out: Family<TopicLabel, Counter>,
    produce_requests: Family<TopicLabel, Counter>,
    fetch_requests: Family<TopicLabel, Counter>,
    produce_failures: Family<TopicLabel, Counter>,
    fetch_failures: Family<TopicLabel, Counter>,
    /// One per row of the API table, in its order.
    requests: Vec<Counter>,
    pub refused: Counter,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// # Panics
    /// Never: names are constants.
    #[must_use]
    pub(crate) fn new(apis: &[&'static str]) -> Self {
        let mut registry = Registry::default();
        let mut topic = |name: &str, help: &str| {
            let family = Family::<TopicLabel, Counter>::default();
            let name = format!("kafka_server_brokertopicmetrics_{name}");
            registry.register(name, help, family.clone());
            family
        };
        let messages_in = topic("messagesin", "Records that were appended");
        let bytes_in = topic("bytesin", "Bytes of record batches that were appended");
        let bytes_out = topic("bytesout", "Bytes of record batches that were fetched");
        let produce_requests = topic("totalproducerequests", "Produce requests");
        let fetch_requests = topic("totalfetchrequests", "Fetch requests");
        let produce_failures = topic("failedproducerequests", "Produce requests refused");
        let fetch_failures = topic("failedfetchrequests", "Fetch requests refused");
        let by_api = Family::<ApiLabel, Counter>::default();
        registry.register(
            "kafka_network_requestmetrics_requests",
            "Requests by API",
            by_api.clone(),
        );
        let requests = apis
            .iter()
            .map(|name| by_api.get_or_create(&ApiLabel { request: (*name).to_owned() }).clone())
            .collect();
        let refused = Counter::default();
        registry.register(
            "ottla_connections_refused",
            "Connections closed because of what they sent",
            refused.clone(),
        );
        Self {
            registry,
            messages_in,
            bytes_in,
            bytes_out,
            produce_requests,
            fetch_requests,
            produce_failures,
            fetch_failures,
            requests,
            refused,
        }
    }

    /// The handles of a topic.
    #[must_use]
    pub(crate) fn topic(&self, name: &str) -> TopicMetrics {
        let label = TopicLabel { topic: name.to_owned() };
        let of = |family: &Family<TopicLabel, Counter>| family.get_or_create(&label).clone();
        TopicMetrics {
            messages_in: of(&self.messages_in),
            bytes_in: of(&self.bytes_in),
            bytes_out: of(&self.bytes_out),
            produce_requests: of(&self.produce_requests),
            fetch_requests: of(&self.fetch_requests),
            produce_failures: of(&self.produce_failures),
            fetch_failures: of(&self.fetch_failures),
        }
    }

    /// Ends the series of a deleted topic.
    pub(crate) fn forget_topic(&self, name: &str) {
        let label = TopicLabel { topic: name.to_owned() };
        for family in [
            &self.messages_in,
            &self.bytes_in,
            &self.bytes_out,
            &self.produce_requests,
            &self.fetch_requests,
            &self.produce_failures,
            &self.fetch_failures,
        ] {
            family.remove(&label);
        }
    }

    /// Counts a request of the API in this row of the table.
    pub(crate) fn count_request(&self, row: usize) {
        if let Some(counter) = self.requests.get(row) {
            counter.inc();
        }
    }

    /// Everything in OpenMetrics text: what was counted, and what the broker's state says now.
    ///
    /// # Errors
    /// Never in practice: writing to a string does not fail.
    pub(crate) fn render(&self, services: &Arc<Services>) -> Result<String, fmt::Error> {
        let mut body = String::new();
        prometheus_client::encoding::text::encode_registry(&mut body, &self.registry)?;
        let mut registry = Registry::default();
        registry.register_collector(Box::new(scrape::BrokerState::of(services)));
        prometheus_client::encoding::text::encode(&mut body, &registry)?;
        Ok(body)
    }
}
