//! What a scrape reads from the broker's state.
//!
//! Owns: gauges over partitions, connections and roles, computed at the moment of the scrape from
//! local state. Never: a request to another broker, a disk access.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

use super::cluster;
use crate::services::Services;

/// The state of one broker.
#[derive(Debug)]
pub(super) struct BrokerState {
    services: Arc<Services>,
}

/// One series of a family: labels and value.
pub(super) type Series = (Vec<(&'static str, String)>, i64);

impl BrokerState {
    pub(super) fn of(services: &Arc<Services>) -> Self {
        Self { services: Arc::clone(services) }
    }

    fn single_values(&self) -> Vec<(&'static str, &'static str, i64)> {
        let services = &self.services;
        let topics = services.topics.all();
        let here: usize = topics.iter().map(|topic| topic.partitions().count()).sum();
        let count = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        let (sessions, session_partitions) = services.fetch_sessions.counts();
        let mut values = vec![
            ("kafka_server_replicamanager_partitioncount", "Replicas on this broker", count(here)),
            (
                "kafka_log_logmanager_offlinelogdirectorycount",
                "Log directories that failed",
                count(services.replicas.offline_directories().len()),
            ),
            (
                "kafka_server_fetchsessioncache_numincrementalfetchsessions",
                "Incremental fetch sessions",
                count(sessions),
            ),
            (
                "kafka_server_fetchsessioncache_numincrementalfetchpartitionscached",
                "Partitions in incremental fetch sessions",
                count(session_partitions),
            ),
        ];
        values.extend(cluster::single_values(services));
        values
    }

    fn encode_partitions(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut current = Vec::new();
        let mut oldest = Vec::new();
        let mut sizes = Vec::new();
        let mut counts = Vec::new();
        for topic in self.services.topics.all() {
            counts.push((
                vec![("topic", topic.name.to_string())],
                i64::try_from(topic.partition_count()).unwrap_or(i64::MAX),
            ));
            for (_, partition) in topic.partitions() {
                let leads = partition.is_leader() && !partition.is_offline();
                let labels = || {
                    let index = partition.name().partition.to_string();
                    vec![("topic", topic.name.to_string()), ("partition", index)]
                };
                let found = partition.inspect(|log, marks| (log.size_bytes(), marks));
                let Ok((size, marks)) = found else { continue };
                // Offsets are told by the leader alone, lest sums count replicas.
                if leads {
                    current.push((labels(), marks.high_watermark.get()));
                    oldest.push((labels(), marks.log_start.get()));
                }
                sizes.push((labels(), i64::try_from(size).unwrap_or(i64::MAX)));
            }
        }
        family(encoder, "kafka_topic_partitions", "Partitions of a topic", &counts)?;
        let name = "kafka_topic_partition_current_offset";
        family(encoder, name, "High watermark of a partition", &current)?;
        let name = "kafka_topic_partition_oldest_offset";
        family(encoder, name, "Log start offset of a partition", &oldest)?;
        family(encoder, "kafka_log_log_size", "Bytes of a partition's segments", &sizes)
    }

    fn encode_groups(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut offsets = Vec::new();
        let mut lags = Vec::new();
        for committed in self.services.groups.committed_offsets() {
            let labels = || {
                vec![
                    ("consumergroup", committed.group.to_string()),
                    ("topic", committed.partition.topic.to_string()),
                    ("partition", committed.partition.partition.to_string()),
                ]
            };
            offsets.push((labels(), committed.offset.get()));
            let topic = self.services.topics.by_name(&committed.partition.topic);
            let end = topic.and_then(|t| t.partition(committed.partition.partition.get()).ok());
            if let Some(partition) = end {
                let lag = partition.high_watermark().since(committed.offset).max(0);
                lags.push((labels(), lag));
            }
        }
        let name = "kafka_consumergroup_current_offset";
        family(encoder, name, "Committed offset of a group", &offsets)?;
        // A group's coordinator is one broker, the leader of what it reads may be another.
        let help = "Records between a group's committed offset and the end, as this broker's replica of the \
                    partition knows it; not told where this broker has none";
        family(encoder, "kafka_consumergroup_lag", help, &lags)
    }
}

pub(super) fn family(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: &[Series],
) -> fmt::Result {
    let gauge = ConstGauge::new(0i64);
    let mut metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
    for (labels, value) in series {
        let labels: Vec<(&str, &str)> =
            labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let encoder = metric.encode_family(&labels)?;
        ConstGauge::new(*value).encode(encoder)?;
    }
    Ok(())
}

impl Collector for BrokerState {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, value) in self.single_values() {
            let gauge = ConstGauge::new(value);
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        let connections = self.services.connections.open();
        let labels = vec![("listener", "all".to_owned())];
        family(
            &mut encoder,
            "kafka_server_socket_server_metrics_connection_count",
            "Open client connections",
            &[(labels, i64::try_from(connections).unwrap_or(i64::MAX))],
        )?;
        self.encode_partitions(&mut encoder)?;
        cluster::encode(&mut encoder, &self.services)?;
        self.encode_groups(&mut encoder)
    }
}
