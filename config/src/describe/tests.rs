//! Describe against what a real Kafka 4.3 answered in the kit's suite profile
//! (`catalog/kafka-4.3.tsv`).

use super::*;

/// What the profile set in its file.
const PROFILE: &[(&str, &str)] = &[
    ("advertised.listeners", "PLAINTEXT://127.0.0.1:9092"),
    ("allow.everyone.if.no.acl.found", "true"),
    ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
    ("broker.rack", "rack-0"),
    ("controller.listener.names", "CONTROLLER"),
    ("controller.quorum.bootstrap.servers", "127.0.0.1:9093"),
    ("default.replication.factor", "1"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("group.min.session.timeout.ms", "1000"),
    ("group.share.min.record.lock.duration.ms", "1000"),
    ("group.share.record.lock.duration.ms", "1000"),
    ("inter.broker.listener.name", "PLAINTEXT"),
    ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"),
    ("listeners", "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"),
    ("log.dirs", "DATA/node-0/data"),
    ("node.id", "0"),
    ("num.partitions", "4"),
    ("offsets.topic.num.partitions", "8"),
    ("offsets.topic.replication.factor", "1"),
    ("process.roles", "broker,controller"),
    ("share.coordinator.state.topic.min.isr", "1"),
    ("share.coordinator.state.topic.num.partitions", "8"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("super.users", "User:ANONYMOUS"),
    ("transaction.state.log.min.isr", "1"),
    ("transaction.state.log.num.partitions", "8"),
    ("transaction.state.log.replication.factor", "1"),
];

/// Keys with a default of our own: Kafka's synonyms end before it.
const OWN_DEFAULTS: &[&str] = &["log.dir", "node.id", "process.roles"];

fn values(pairs: &[(&str, &str)]) -> Values {
    pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

fn profile() -> ConfigLayers {
    let mut layers = ConfigLayers::from_static(values(PROFILE));
    layers.dynamic_default = values(crate::layers::INITIAL_DYNAMIC_DEFAULTS);
    layers
}

/// An entry as the extract writes it: source, value, sensitivity, mode, synonyms.
fn line(entry: &DescribedConfig) -> String {
    let null = || "\\N".to_owned();
    let synonyms: Vec<String> = entry
        .synonyms
        .iter()
        .map(|s| {
            let value = s.value.clone().unwrap_or_else(null);
            format!("{}={value}@{}", s.name, s.source.name())
        })
        .collect();
    [
        entry.source.name().to_owned(),
        entry.value.clone().unwrap_or_else(null),
        if entry.sensitive { "sensitive" } else { "plain" }.to_owned(),
        if entry.read_only { "read-only" } else { "dynamic" }.to_owned(),
        synonyms.join(" "),
    ]
    .join("\t")
}

/// Compares with the extract's lines of one scope; returns how many were compared.
fn compare(scope: &str, entries: &[DescribedConfig]) -> usize {
    let mut compared = 0;
    for fact in include_str!("../catalog/kafka-4.3.tsv").lines() {
        let columns: Vec<&str> = fact.split('\t').collect();
        let name = columns[1];
        if columns[0] != scope || OWN_DEFAULTS.contains(&name) {
            continue;
        }
        let here = entries.iter().find(|entry| entry.name == name).map(line);
        let expected = (columns[10] != "hidden").then(|| columns[8..].join("\t"));
        assert_eq!(here, expected, "{name}");
        compared += 1;
    }
    compared
}

#[test]
fn brokers_are_described_as_kafka_does() {
    assert_eq!(compare("broker", &broker(&profile()).unwrap()), 359);
}

#[test]
fn topics_are_described_as_kafka_does() {
    assert_eq!(compare("topic", &topic(&profile(), &Values::new()).unwrap()), 34);
}

#[test]
fn groups_and_subscriptions_are_described_as_kafka_does() {
    assert_eq!(compare("group", &group(&profile(), &Values::new()).unwrap()), 17);
    let subscription = values(&[("metrics", "*")]);
    assert_eq!(compare("client-metrics", &client_metrics(&subscription).unwrap()), 3);
}

fn find(entries: Vec<DescribedConfig>, name: &str) -> DescribedConfig {
    entries.into_iter().find(|entry| entry.name == name).unwrap()
}

#[test]
fn a_topic_override_comes_first_and_the_brokers_values_follow() {
    let mut layers = ConfigLayers::from_static(values(&[("log.retention.ms", "5")]));
    layers.dynamic_broker = values(&[("log.retention.ms", "6")]);
    let entries = topic(&layers, &values(&[("retention.ms", "7")])).unwrap();
    assert_eq!(
        line(&find(entries, "retention.ms")),
        "DYNAMIC_TOPIC_CONFIG\t7\tplain\tdynamic\tretention.ms=7@DYNAMIC_TOPIC_CONFIG \
         log.retention.ms=6@DYNAMIC_BROKER_CONFIG log.retention.ms=5@STATIC_BROKER_CONFIG \
         log.retention.hours=168@DEFAULT_CONFIG"
    );
}

#[test]
fn hours_alone_give_the_value_but_no_synonym() {
    let layers = ConfigLayers::from_static(values(&[("log.retention.hours", "1")]));
    let entry = find(topic(&layers, &Values::new()).unwrap(), "retention.ms");
    assert_eq!(line(&entry), "DEFAULT_CONFIG\t3600000\tplain\tdynamic\t");
}

#[test]
fn passwords_never_show() {
    let layers = ConfigLayers::from_static(values(&[("ssl.key.password", "secret")]));
    let entry = find(broker(&layers).unwrap(), "ssl.key.password");
    assert!(entry.sensitive);
    assert!(!format!("{entry:?}").contains("secret"));
}

#[test]
fn dynamic_defaults_show_only_themselves() {
    let mut layers = ConfigLayers::from_static(values(&[("min.insync.replicas", "2")]));
    layers.dynamic_default = values(&[("min.insync.replicas", "1")]);
    let entries = broker_defaults(&layers);
    assert_eq!(entries.len(), 1);
    assert_eq!(
        line(&entries[0]),
        "DYNAMIC_DEFAULT_BROKER_CONFIG\t1\tplain\tdynamic\t\
         min.insync.replicas=1@DYNAMIC_DEFAULT_BROKER_CONFIG"
    );
}
