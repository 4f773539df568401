//! What a scrape reads of the cluster: leaders, replicas, the controller and the peers.
//!
//! Owns: gauges and counters under the names of Kafka's JMX beans and of kafka_exporter. Never: a request
//! to another broker: a partition is told of by its leader, the cluster by the active controller.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_protocol::model::PartitionId;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::scrape::{Series, family};
use crate::cluster::{PartitionView, view};
use crate::services::Services;

/// A partition that is led here, as it is now.
struct Led {
    topic: String,
    partition: PartitionId,
    replicas: usize,
    min_in_sync: usize,
    is_preferred: bool,
    view: PartitionView,
}

impl Led {
    fn is_behind(&self) -> bool {
        self.view.isr.len() < self.replicas
    }
}

fn led(services: &Services) -> Vec<Led> {
    let image = services.metadata.image();
    let mut all = Vec::new();
    for topic in services.topics.all() {
        let Some(assigned) = image.topic_by_id(topic.id) else { continue };
        let min_in_sync = usize::try_from(topic.config.min_insync_replicas).unwrap_or(usize::MAX);
        for (index, partition) in topic.partitions() {
            let index = PartitionId(index);
            let Some(state) = assigned.partition(index) else { continue };
            if !partition.is_leader() || partition.is_offline() {
                continue;
            }
            all.push(Led {
                topic: topic.name.to_string(),
                partition: index,
                replicas: state.replicas.len(),
                min_in_sync,
                is_preferred: state.preferred_leader() == Some(services.node_id),
                view: view(services, topic.id, index, state),
            });
        }
    }
    all
}

fn is_active_controller(services: &Services) -> bool {
    services.cluster().is_none_or(|cluster| cluster.controller().here)
}

/// Partitions of the whole cluster that nobody leads; told by the active controller, as Kafka does.
fn offline(services: &Services) -> usize {
    if !is_active_controller(services) {
        return 0;
    }
    let image = services.metadata.image();
    let leaderless = |topic: &Arc<ottla_coordinator::metadata::TopicImage>| {
        let of = topic.iter().filter(|(id, state)| {
            let view = view(services, topic.id, *id, state);
            view.leader.is_none_or(|leader| image.broker(leader).is_none_or(|of| of.fenced))
        });
        of.count()
    };
    let unserved = |topic: &Arc<crate::topics::TopicEntry>| {
        topic.partitions().filter(|(_, it)| it.is_offline()).count()
    };
    match services.cluster() {
        Some(_) => image.topics().map(leaderless).sum(),
        // One broker's partitions are led by it, or lie in a directory that failed.
        None => services
            .topics
            .all()
            .iter()
            .map(|topic| unserved(topic) + topic.partition_count() - topic.partitions().count())
            .sum(),
    }
}

/// Gauges without labels.
pub(super) fn single_values(services: &Services) -> Vec<(&'static str, &'static str, i64)> {
    let led = led(services);
    let count = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
    let mut values = vec![
        (
            "kafka_server_replicamanager_leadercount",
            "Partitions that this broker leads",
            count(led.len()),
        ),
        (
            "kafka_server_replicamanager_underreplicatedpartitions",
            "Led partitions with replicas that are not in sync",
            count(led.iter().filter(|of| of.is_behind()).count()),
        ),
        (
            "kafka_server_replicamanager_underminisrpartitioncount",
            "Led partitions below min.insync.replicas",
            count(led.iter().filter(|of| of.view.isr.len() < of.min_in_sync).count()),
        ),
        (
            "kafka_controller_kafkacontroller_activecontrollercount",
            "1 on the active controller",
            i64::from(is_active_controller(services)),
        ),
        (
            "kafka_controller_kafkacontroller_offlinepartitionscount",
            "Partitions that nobody leads, on the active controller",
            count(offline(services)),
        ),
    ];
    if let Some(cluster) = services.cluster() {
        let controller = cluster.controller();
        let marks = cluster.metadata.partition().watermarks();
        values.extend([
            (
                "kafka_server_raftmetrics_current_leader",
                "The active controller, -1 where none is known",
                i64::from(controller.node.map_or(-1, |node| node.0)),
            ),
            (
                "kafka_server_raftmetrics_current_epoch",
                "The epoch of the active controller",
                i64::from(controller.epoch.0),
            ),
            (
                "kafka_server_raftmetrics_high_watermark",
                "What is committed of the metadata log",
                marks.high_watermark.get(),
            ),
            (
                "kafka_server_raftmetrics_log_end_offset",
                "The end of the metadata log here",
                marks.log_end.get(),
            ),
        ]);
    }
    values
}

/// Series of partitions and peers.
pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>, services: &Services) -> fmt::Result {
    let led = led(services);
    let series = |value: &dyn Fn(&Led) -> i64| -> Vec<Series> {
        let labels =
            |of: &Led| vec![("topic", of.topic.clone()), ("partition", of.partition.to_string())];
        led.iter().map(|of| (labels(of), value(of))).collect()
    };
    let count = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
    let name = |of: &str| format!("kafka_topic_partition_{of}");
    let me = i64::from(services.node_id.0);
    family(encoder, &name("leader"), "The broker that leads", &series(&|_| me))?;
    family(encoder, &name("replicas"), "Replicas", &series(&|of| count(of.replicas)))?;
    let in_sync = series(&|of| count(of.view.isr.len()));
    family(encoder, &name("in_sync_replica"), "Replicas in sync", &in_sync)?;
    let preferred = series(&|of| i64::from(of.is_preferred));
    family(
        encoder,
        &name("leader_is_preferred"),
        "1 where the preferred replica leads",
        &preferred,
    )?;
    let behind = series(&|of| i64::from(of.is_behind()));
    let help = "1 where a replica is not in sync";
    family(encoder, &name("under_replicated_partition"), help, &behind)?;
    let below = series(&|of| i64::from(of.view.isr.len() < of.min_in_sync));
    let help = "1 below min.insync.replicas";
    family(encoder, "kafka_cluster_partition_underminisr", help, &below)?;
    let at = series(&|of| i64::from(of.view.isr.len() == of.min_in_sync));
    let help = "1 where no replica may be lost any more";
    family(encoder, "kafka_cluster_partition_atminisr", help, &at)?;
    encode_counts(encoder, services)?;
    encode_peers(encoder, services)
}

fn encode_counts(encoder: &mut DescriptorEncoder<'_>, services: &Services) -> fmt::Result {
    let Some(cluster) = services.cluster() else { return Ok(()) };
    let counts = cluster.peers.leaderships().counts();
    let all: [(&str, &str, &AtomicU64); 3] = [
        (
            "kafka_server_replicamanager_isrshrinks",
            "In-sync sets of led partitions that lost a replica",
            &counts.shrunk,
        ),
        (
            "kafka_server_replicamanager_isrexpands",
            "In-sync sets of led partitions that got a replica back",
            &counts.expanded,
        ),
        ("ottla_elections_won", "Elections of partitions that this broker won", &counts.elected),
    ];
    for (name, help, counter) in all {
        let counter = ConstCounter::new(counter.load(Ordering::Relaxed));
        let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
        counter.encode(metric)?;
    }
    Ok(())
}

fn encode_peers(encoder: &mut DescriptorEncoder<'_>, services: &Services) -> fmt::Result {
    let Some(cluster) = services.cluster() else { return Ok(()) };
    let gauge = ConstGauge::new(0.0f64);
    let help = "From a heartbeat to its answer, the last one";
    let name = "ottla_peer_round_trip_seconds";
    let mut metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
    for (node, took) in cluster.peers.round_trips() {
        let id = node.to_string();
        let labels = [("node", id.as_str())];
        let encoder = metric.encode_family(&labels)?;
        ConstGauge::new(took.as_secs_f64()).encode(encoder)?;
    }
    Ok(())
}
