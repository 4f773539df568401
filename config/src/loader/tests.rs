//! Tests of loading.

use proptest::prelude::*;

use super::*;
use crate::broker::BrokerConfig;

fn sources(path: &str, text: &str) -> Sources {
    let file = SourceFile { path: PathBuf::from(path), bytes: text.as_bytes().to_vec() };
    Sources { file: Some(file), ..Sources::default() }
}

fn refused(path: &str, text: &str) -> String {
    load(&sources(path, text)).unwrap_err().to_string()
}

#[test]
fn toml_and_properties_say_the_same() {
    let toml = load(&sources(
        "a.toml",
        "num.partitions = 3\nlog.dirs = [\"/a\", \"/b\"]\n[log.retention]\nms = \"7d\"\n\
         [ottla]\ndurability = 'page-cache'\n",
    ))
    .unwrap();
    let properties = load(&sources(
        "a.properties",
        "num.partitions=3\nlog.dirs=/a,/b\nlog.retention.ms=7d\nottla.durability=page-cache\n",
    ))
    .unwrap();
    assert_eq!(toml.values, properties.values);
    assert_eq!(toml.values["log.retention.ms"], "604800000");
    let origin = Origin::File { path: PathBuf::from("a.toml"), line: 4 };
    assert_eq!(toml.origins["log.retention.ms"], origin);
    assert!(BrokerConfig::from_layers(&toml.layers()).is_ok());
}

#[test]
fn later_sources_win_and_origins_name_the_winner() {
    let mut sources = sources("s.properties", "num.partitions=1\nbroker.rack=a\nnode.id=5\n");
    sources.environment = vec![
        ("KAFKA_NUM_PARTITIONS".to_owned(), "2".to_owned()),
        ("KAFKA_BROKER_RACK".to_owned(), "b".to_owned()),
    ];
    sources.settings = vec!["num.partitions=3".to_owned(), "num.partitions = 4".to_owned()];
    let loaded = load(&sources).unwrap();
    assert_eq!(loaded.values["broker.rack"], "b");
    assert_eq!(loaded.origins["num.partitions"].to_string(), "--set");
    assert_eq!(loaded.origins["broker.rack"].to_string(), "environment KAFKA_BROKER_RACK");
    assert_eq!(loaded.origins["node.id"].to_string(), "s.properties:3");
    let broker = BrokerConfig::from_layers(&loaded.layers()).unwrap();
    assert_eq!(broker.topics.partitions_default, 4);
}

#[test]
fn unknown_names_are_refused_with_place_and_nearest_name() {
    assert_eq!(
        refused("x/s.properties", "\nnum.partition=1\n"),
        "x/s.properties:2: no key is named num.partition; did you mean num.partitions?"
    );
    assert_eq!(
        refused("s.toml", "[log]\nretnetion.ms = 1\n"),
        "s.toml:2: no key is named log.retnetion.ms; did you mean log.retention.ms?"
    );
    assert_eq!(
        refused("s.properties", "retention.ms=1\n"),
        "s.properties:1: retention.ms is a key of topics; its default for all topics is the \
         broker key log.retention.ms"
    );
    assert!(refused("s.properties", "zzz=1\n").contains("`ottla config list` shows"));
}

#[test]
fn all_problems_are_told_at_once() {
    let sentence = refused("s.properties", "num.partitions=x\nlog.roll.ms=1y\n");
    assert_eq!(
        sentence,
        "s.properties:1: Invalid value x for configuration num.partitions: Not a number of type \
         INT\ns.properties:2: `y` is not a unit of log.roll.ms; use ms, s, m, h, d or w"
    );
}

#[test]
fn toml_that_is_none_names_its_line_and_the_way_out() {
    assert!(refused("s.toml", "a = 1\nb = = 2\n").starts_with("s.toml:2: "));
    let sentence = refused("s.toml", "max.connections = 1\nmax.connections.per.ip = 2\n");
    assert!(sentence.contains("must be quoted"), "{sentence}");
    let quoted = "\"max.connections\" = 1\n\"max.connections.per.ip\" = 2\n";
    assert_eq!(load(&sources("s.toml", quoted)).unwrap().values.len(), 2);
    assert!(refused("s.toml", "log.dirs = [[1]]").contains("may only hold strings and numbers"));
    assert!(refused("s.toml", "log.dirs = 2020-01-01").contains("is a date"));
}

#[test]
fn set_needs_a_value() {
    let sources = Sources { settings: vec!["num.partitions".to_owned()], ..Sources::default() };
    assert_eq!(
        load(&sources).unwrap_err().to_string(),
        "--set: `num.partitions` has no value; write --set key=value"
    );
}

#[test]
fn values_that_do_not_go_together_say_where_they_were_set() {
    let text = "log.cleaner.threads=200\nlog.cleaner.dedupe.buffer.size=1MiB\nnode.id=1\n";
    let refused = load(&sources("s.properties", text)).unwrap().broker_config().unwrap_err();
    assert_eq!(
        refused.to_string(),
        "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.\n  \
         log.cleaner.dedupe.buffer.size is set at s.properties:2"
    );
    let text = "listeners=SSL://:1\nsecurity.inter.broker.protocol=SSL\n";
    let refused = load(&sources("s.properties", text)).unwrap().broker_config().unwrap_err();
    let set_at: Vec<&str> = refused.set_at.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(set_at, ["listeners"], "{refused}");
}

#[test]
fn keys_without_effect_are_noted() {
    let loaded = load(&sources("s.properties", "num.io.threads=8\nnum.partitions=1\n")).unwrap();
    let expected = "s.properties:1: num.io.threads has no effect in Ottla: the work is spread over all cores \
         by itself.";
    assert_eq!(loaded.notes, [expected]);
}

#[test]
fn keys_of_plugins_and_single_listeners_are_taken() {
    let text = "listener.name.client.ssl.keystore.location=/x\nrsm.config.a=b\n";
    assert_eq!(load(&sources("s.properties", text)).unwrap().notes.len(), 2);
}

/// What the file that comes with Apache Kafka sets.
const KAFKAS_OWN_FILE: &str = "\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
log.dirs=/tmp/kraft-combined-logs
offsets.topic.replication.factor=1
log.retention.hours=168
log.segment.bytes=1073741824
";

#[test]
fn the_file_that_comes_with_kafka_starts_a_broker() {
    let loaded = load(&sources("server.properties", KAFKAS_OWN_FILE)).unwrap();
    let config = loaded.broker_config().unwrap();
    assert_eq!(config.listeners.of_brokers().count(), 1);
    assert_eq!(loaded.notes.len(), 2, "{:?}", loaded.notes);
}

/// What Testcontainers' Java module sets for Apache's image.
const TESTCONTAINERS: &[(&str, &str)] = &[
    ("CLUSTER_ID", "4L6g3nShT-eMCtK--X86sw"),
    ("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://localhost:32768,BROKER://c0ffee:9093"),
    ("KAFKA_BROKER_ID", "1"),
    ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
    ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9094"),
    ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
    ("KAFKA_INTER_BROKER_LISTENER_NAME", "BROKER"),
    ("KAFKA_LISTENERS", "PLAINTEXT://0.0.0.0:9092,BROKER://0.0.0.0:9093,CONTROLLER://0.0.0.0:9094"),
    (
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
        "BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    ),
    ("KAFKA_LOG_FLUSH_INTERVAL_MESSAGES", "9223372036854775807"),
    ("KAFKA_NODE_ID", "1"),
    ("KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS", "1"),
    ("KAFKA_PROCESS_ROLES", "broker,controller"),
    ("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1"),
    ("KAFKA_HEAP_OPTS", "-Xmx1g"),
];

#[test]
fn the_environment_of_testcontainers_starts_a_broker() {
    let environment =
        TESTCONTAINERS.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let loaded = load(&Sources { environment, ..Sources::default() }).unwrap();
    let config = loaded.broker_config().unwrap();
    assert_eq!(config.listeners.inter_broker, "BROKER");
    assert_eq!(config.offsets.topic_partitions, 1);
}

proptest! {
    // Each case compares names with hundreds of others, in a debug build.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_make_the_loader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for path in ["a.toml", "a.properties"] {
            let file = SourceFile { path: PathBuf::from(path), bytes: bytes.clone() };
            let _ = load(&Sources { file: Some(file), ..Sources::default() });
        }
    }

    #[test]
    fn no_text_makes_the_loader_panic(
        lines in proptest::collection::vec("[a-z.=\\[\\]\"#:{},0-9\\\\u \t]{0,40}", 0..12),
        name in "(KAFKA_|OTTLA_|KAFKA_CFG_)[A-Z_]{0,30}",
        value in "\\PC{0,20}",
    ) {
        let text = lines.join("\n");
        for path in ["a.toml", "a.properties"] {
            let mut sources = sources(path, &text);
            sources.environment = vec![(name.clone(), value.clone())];
            sources.settings = vec![value.clone()];
            let _ = load(&sources);
        }
    }

    #[test]
    fn any_value_of_any_key_is_taken_or_refused(index in 0usize..362, value in "\\PC{0,24}") {
        let key = catalog::keys(Scope::Broker).nth(index).unwrap();
        let settings = vec![format!("{}={value}", key.name)];
        if let Ok(loaded) = load(&Sources { settings, ..Sources::default() }) {
            let _ = BrokerConfig::from_layers(&loaded.layers());
        }
    }
}
