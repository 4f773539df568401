//! One case for each relation.

use crate::broker::BrokerConfig;
use crate::layers::{ConfigLayers, Values};

fn refused(pairs: &[(&str, &str)]) -> String {
    let values: Values = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    BrokerConfig::from_layers(&ConfigLayers::from_static(values)).unwrap_err().to_string()
}

#[test]
fn each_relation_says_its_sentence() {
    for (pairs, part) in [
        (&[("process.roles", "controller")][..], "take PLAINTEXT out of listeners"),
        (&[("listeners", "SSL://:1"), ("security.inter.broker.protocol", "SSL")], "asks for SSL"),
        (&[("max.connections.per.ip", "0")], "can be set to zero only if"),
        (&[("log.roll.hours", "1"), ("log.roll.ms", "0")], "Value must be at least 1"),
        (&[("log.retention.ms", "0")], "log.retention.ms must be unlimited (-1) or"),
        (&[("log.cleaner.threads", "200")], "at least 1MB per cleaner thread"),
        (
            &[("group.consumer.min.session.timeout.ms", "60001")],
            "group.consumer.max.session.timeout.ms must be greater than or equal to",
        ),
        (&[("replica.fetch.wait.max.ms", "30001")], "replica.socket.timeout.ms must be"),
        (&[("sasl.login.refresh.window.factor", "x")], "Not a number of type DOUBLE"),
        (
            &[
                ("listeners", "CONTROLLER://:1"),
                ("controller.listener.names", "CONTROLLER"),
                ("advertised.listeners", "auto"),
            ],
            "listeners has no address for clients",
        ),
    ] {
        let sentence = refused(pairs);
        assert!(sentence.contains(part), "{pairs:?}: {sentence}");
    }
}
