//! Tests of listeners.

use super::*;
use crate::key::Scope;
use crate::layers::Values;

fn check(pairs: &[(&str, &str)]) -> Result<Listeners, String> {
    let values: Values = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Listeners::from_typed(Typed::new(Scope::Broker, &values)).map_err(|error| error.to_string())
}

fn advertised(pairs: &[(&str, &str)]) -> Vec<(String, Option<String>, u16)> {
    match check(pairs).unwrap().advertised {
        AdvertisedListeners::Fixed(fixed) => {
            fixed.into_iter().map(|l| (l.name, l.host, l.port)).collect()
        }
        AdvertisedListeners::Auto => Vec::new(),
    }
}

#[test]
fn the_default_is_every_interface_at_9092() {
    let listeners = check(&[]).unwrap();
    let expected = Listener {
        name: "PLAINTEXT".to_owned(),
        protocol: SecurityProtocol::Plaintext,
        host: None,
        port: 9092,
        role: ListenerRole::Broker,
    };
    assert_eq!(listeners.listeners, [expected]);
    assert_eq!(listeners.inter_broker, "PLAINTEXT");
    assert_eq!(advertised(&[]), [("PLAINTEXT".to_owned(), None, 9092)]);
}

#[test]
fn names_hosts_and_ports_are_taken_apart() {
    let listeners = check(&[
        ("listeners", "PLAINTEXT://127.0.0.1:0, ext://[::1]:9093 ,CONTROLLER://h-1.x:0"),
        (
            "listener.security.protocol.map",
            "PLAINTEXT:PLAINTEXT,EXT:PLAINTEXT,CONTROLLER:plaintext",
        ),
        ("controller.listener.names", "CONTROLLER"),
    ])
    .unwrap();
    let seen: Vec<_> = listeners
        .listeners
        .iter()
        .map(|l| (l.name.as_str(), l.host.as_deref().unwrap(), l.port, l.role))
        .collect();
    let expected = [
        ("PLAINTEXT", "127.0.0.1", 0, ListenerRole::Broker),
        ("EXT", "::1", 9093, ListenerRole::Broker),
        ("CONTROLLER", "h-1.x", 0, ListenerRole::Controller),
    ];
    assert_eq!(seen, expected);
    assert_eq!(listeners.of_brokers().count(), 2);
}

#[test]
fn controllers_are_plain_text_without_a_map_and_never_advertised() {
    let pairs =
        [("listeners", "PLAINTEXT://a:1,CTRL://a:2"), ("controller.listener.names", "CTRL")];
    assert_eq!(advertised(&pairs), [("PLAINTEXT".to_owned(), Some("a".to_owned()), 1)]);
    let mut pairs = pairs.to_vec();
    pairs.push(("advertised.listeners", "PLAINTEXT://a:1,CTRL://a:2"));
    assert_eq!(advertised(&pairs), [("PLAINTEXT".to_owned(), Some("a".to_owned()), 1)]);
}

#[test]
fn advertised_ports_may_repeat_and_auto_is_a_word() {
    let pairs = [
        ("listeners", "PLAINTEXT://:1,B://:2"),
        ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,B:PLAINTEXT"),
        ("advertised.listeners", "PLAINTEXT://x:7,B://y:7"),
    ];
    assert_eq!(advertised(&pairs).len(), 2);
    let auto = check(&[("advertised.listeners", "auto")]).unwrap();
    assert_eq!(auto.advertised, AdvertisedListeners::Auto);
    assert_eq!(auto.published_port, None);
    let published = check(&[("ottla.published.port", "19092")]).unwrap();
    assert_eq!(published.published_port, Some(19_092));
    assert!(check(&[("ottla.published.port", "65536")]).is_err());
}

#[test]
fn one_port_serves_one_ipv4_and_one_ipv6_address() {
    let map = ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,B:PLAINTEXT,C:PLAINTEXT");
    let with = |listeners| check(&[("listeners", listeners), map]);
    assert!(with("PLAINTEXT://1.2.3.4:9,B://[::1]:9").is_ok());
    for bad in [
        "PLAINTEXT://1.2.3.4:9,B://1.2.3.5:9",
        "PLAINTEXT://:9,B://:9",
        "PLAINTEXT://1.2.3.4:9,B://[::1]:9,C://x:9",
    ] {
        assert!(with(bad).unwrap_err().contains("must have a different port"), "{bad}");
    }
}

#[test]
fn what_kafka_refuses_is_refused_with_a_cure() {
    for (pairs, part) in [
        (&[("listeners", "127.0.0.1:9092")][..], "the listener has no name; write it as"),
        (&[("listeners", "PLAINTEXT://h")], "the port is missing"),
        (&[("listeners", "PLAINTEXT://h:70000")], "not from 0 to 65535"),
        (&[("listeners", "PLAINTEXT://[::1:9")], "bracket"),
        (&[("listeners", "PLAINTEXT://a b:9")], "a character that no host name has"),
        (&[("listeners", "X://h:9")], "No security protocol defined for listener X"),
        (&[("listeners", "PLAINTEXT://h:9,PLAINTEXT://h:10")], "different name"),
        (&[("listeners", "PLAINTEXT://0.0.0.0:9")], "nonroutable meta-address 0.0.0.0"),
        (&[("advertised.listeners", "PLAINTEXT://0.0.0.0:9")], "nonroutable meta-address"),
        (&[("advertised.listeners", "SSL://h:9")], "which is not one of listeners"),
        (
            &[("listener.security.protocol.map", "PLAINTEXT:WHAT")],
            "Invalid security protocol `WHAT`",
        ),
        (&[("listener.security.protocol.map", "PLAINTEXT")], "NAME:PROTOCOL"),
        (
            &[
                ("inter.broker.listener.name", "PLAINTEXT"),
                ("security.inter.broker.protocol", "PLAINTEXT"),
            ],
            "Only one of inter.broker.listener.name and security.inter.broker.protocol",
        ),
        (&[("inter.broker.listener.name", "X")], "not found in listener.security.protocol.map"),
        (
            &[("inter.broker.listener.name", "SSL")],
            "inter.broker.listener.name must be a listener name defined in advertised.listeners",
        ),
    ] {
        let sentence = check(pairs).unwrap_err();
        assert!(sentence.contains(part), "{pairs:?}: {sentence}");
    }
}
