//! Tests of the typed broker configuration.

use super::*;

fn check(pairs: &[(&str, &str)]) -> Result<BrokerConfig, String> {
    let values: Values = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    BrokerConfig::from_layers(&ConfigLayers::from_static(values)).map_err(|error| error.to_string())
}

#[test]
fn defaults_start_a_node() {
    let config = BrokerConfig::default();
    assert_eq!(config.node.node_id, 1);
    assert!(config.node.quorum.is_broker && config.node.quorum.is_controller);
    assert_eq!(config.log.dirs, [PathBuf::from("./data")]);
    assert_eq!(config.http, Some(HttpListener { host: "127.0.0.1".to_owned(), port: 9644 }));
    assert_eq!(config.connections.request_bytes_max, ByteSize(104_857_600));
    assert_eq!(config.connections.queued_bytes_max, None);
    assert_eq!(config.connections.idle_max, Some(Duration::from_secs(600)));
    assert_eq!(config.offsets.retention, Duration::from_secs(7 * 24 * 3600));
    assert_eq!(config.log.cleaner.io_bytes_per_second_max, f64::MAX);
}

#[test]
fn log_dirs_win_over_log_dir() {
    let dirs = |pairs| check(pairs).unwrap().log.dirs;
    assert_eq!(dirs(&[("log.dir", "/a")]), [PathBuf::from("/a")]);
    let both = dirs(&[("log.dir", "/a"), ("log.dirs", "/b,/c")]);
    assert_eq!(both, [PathBuf::from("/b"), PathBuf::from("/c")]);
}

#[test]
fn the_http_port_is_an_address_or_off() {
    let http = |text| check(&[("ottla.http.listener", text)]).map(|config| config.http);
    assert_eq!(http(""), Ok(None));
    let six = HttpListener { host: "::1".to_owned(), port: 0 };
    assert_eq!(http("[::1]:0"), Ok(Some(six)));
    assert!(http("9644").unwrap_err().contains("write it as host:port"));
    assert!(http("a:b").unwrap_err().contains("from 0 to 65535"));
}

#[test]
fn limits_per_address_have_exceptions() {
    let config = check(&[
        ("max.connections.per.ip", "0"),
        ("max.connections.per.ip.overrides", "127.0.0.1:200, [::1]:5"),
    ])
    .unwrap();
    let expected = BTreeMap::from([("127.0.0.1".to_owned(), 200), ("::1".to_owned(), 5)]);
    assert_eq!(config.connections.connections_per_ip_overrides, expected);
    assert!(
        check(&[("max.connections.per.ip.overrides", "x")]).unwrap_err().contains("host:count")
    );
}
