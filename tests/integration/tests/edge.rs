//! The protocol edge of a running broker: how many may connect, the largest frame, pages of a long
//! description.
//!
//! Owns: what only whole connections show. Never: deadlines and the order of answers on one connection
//! (`broker/src/net/connection/tests.rs`, with a clock that the test moves).

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use ottla_differential::connection::frame;
use ottla_differential::schema::Schemas;
use ottla_harness::blocking::TestCluster;
use ottla_integration::Client;
use serde_json::{Value, json};

const INCREMENTAL_ALTER_CONFIGS: i16 = 44;
const DESCRIBE_TOPIC_PARTITIONS: i16 = 75;

/// Long enough for an answer that comes at once; no answer within it proves nothing by itself.
const MOMENT: Duration = Duration::from_millis(200);

/// Connects from `source` and sends an ApiVersions request.
fn asking(source: Ipv4Addr, target: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&target.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    // The broker may have closed it already.
    let _sent = stream.write_all(&frame(Schemas::get().named("ApiVersions"), 0, 1, &[]));
    stream
}

/// Whether the answer comes, or the end of the connection.
fn is_answered(stream: &mut TcpStream) -> bool {
    let mut length = [0; 4];
    if stream.read_exact(&mut length).is_err() {
        return false;
    }
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).is_ok()
}

/// A connection that was answered; `None` when the broker closed it instead.
fn admitted(source: Ipv4Addr, target: SocketAddr) -> Option<TcpStream> {
    let mut stream = asking(source, target);
    is_answered(&mut stream).then_some(stream)
}

/// Connects until it is admitted: a connection that was closed by its client counts until the broker
/// has seen its end.
fn admitted_in_the_end(source: Ipv4Addr, target: SocketAddr) -> TcpStream {
    loop {
        if let Some(stream) = admitted(source, target) {
            return stream;
        }
    }
}

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const THERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

#[test]
fn connections_beyond_the_limit_wait_until_another_one_ends() {
    let cluster = TestCluster::builder().config("max.connections", "2").start_blocking().unwrap();
    let target = cluster.bootstrap().parse().unwrap();
    let first = admitted(HERE, target).unwrap();
    let _second = admitted(THERE, target).unwrap();
    let mut third = asking(ELSEWHERE, target);
    third.set_read_timeout(Some(MOMENT)).unwrap();
    let early = third.peek(&mut [0]).unwrap_err();
    assert!(matches!(early.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{early}");
    drop(first);
    third.set_read_timeout(None).unwrap();
    assert!(is_answered(&mut third), "it takes the place of the one that ended");
}

#[test]
fn limits_change_while_the_broker_runs() {
    let cluster = TestCluster::builder().config("node.id", "0").start_blocking().unwrap();
    let target = cluster.bootstrap().parse().unwrap();
    let mut client = Client::open(cluster.bootstrap());
    let mut set = |key: &str, value: &str| {
        let configs = json!([{"Name": key, "ConfigOperation": 0, "Value": value}]);
        let resources = json!([{"ResourceType": 4, "ResourceName": "", "Configs": configs}]);
        let body = json!({"Resources": resources, "ValidateOnly": false});
        let answer = client.ask(INCREMENTAL_ALTER_CONFIGS, 1, &body);
        assert_eq!(answer["Responses"][0]["ErrorCode"], 0, "{answer}");
    };
    set("max.connections.per.ip", "1");
    assert!(admitted(HERE, target).is_none(), "the client's own connection is the one");
    let _other = admitted(THERE, target).unwrap();
    set("max.connections.per.ip", "9");
    set("max.connections", "2");
    let mut waiting = asking(HERE, target);
    waiting.set_read_timeout(Some(MOMENT)).unwrap();
    assert!(waiting.peek(&mut [0]).is_err());
    set("max.connections", "3");
    waiting.set_read_timeout(None).unwrap();
    assert!(is_answered(&mut waiting));
}

#[test]
fn connections_of_one_address_are_limited_by_themselves() {
    let cluster = TestCluster::builder()
        .config("max.connections.per.ip", "1")
        .config("max.connections.per.ip.overrides", "127.0.0.3:2")
        .start_blocking()
        .unwrap();
    let target = cluster.bootstrap().parse().unwrap();
    let first = admitted_in_the_end(HERE, target);
    assert!(admitted(HERE, target).is_none());
    let _other = admitted(THERE, target).expect("another address has a limit of its own");
    let _two = [(); 2].map(|()| admitted(ELSEWHERE, target).expect("the override allows two"));
    assert!(admitted(ELSEWHERE, target).is_none());
    drop(first);
    let _again = admitted_in_the_end(HERE, target);
}

#[test]
fn a_request_larger_than_the_cap_ends_the_connection() {
    let cluster =
        TestCluster::builder().config("socket.request.max.bytes", "1024").start_blocking().unwrap();
    let mut stream = TcpStream::connect(cluster.bootstrap()).unwrap();
    stream.write_all(&1025_u32.to_be_bytes()).unwrap();
    let mut rest = Vec::new();
    assert_eq!(stream.read_to_end(&mut rest).unwrap(), 0, "closed without an answer");
}

fn page(client: &mut Client, topics: &[&str], limit: i32, cursor: &Value) -> Value {
    let topics: Vec<Value> = topics.iter().map(|name| json!({"Name": name})).collect();
    let body = json!({"Topics": topics, "ResponsePartitionLimit": limit, "Cursor": cursor});
    client.ask(DESCRIBE_TOPIC_PARTITIONS, 0, &body)
}

/// All pages as `topic-partition` lines, in the order in which they came.
fn pages(client: &mut Client, topics: &[&str], limit: i32) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let answer = page(client, topics, limit, &cursor);
        let mut seen = Vec::new();
        for topic in answer["Topics"].as_array().unwrap() {
            assert_eq!(topic["ErrorCode"], 0, "{answer}");
            for partition in topic["Partitions"].as_array().unwrap() {
                assert_eq!(partition["LeaderId"], 0);
                let index = &partition["PartitionIndex"];
                seen.push(format!("{}-{index}", topic["Name"].as_str().unwrap()));
            }
        }
        pages.push(seen);
        cursor = answer["NextCursor"].clone();
        if cursor.is_null() {
            return pages;
        }
    }
}

#[test]
fn partitions_are_described_a_page_at_a_time() {
    let cluster = TestCluster::builder()
        .config("node.id", "0")
        .topic("b", 3)
        .topic("a", 2)
        .topic("c", 1)
        .start_blocking()
        .unwrap();
    let mut client = Client::open(cluster.bootstrap());
    let all = ["a-0", "a-1", "b-0", "b-1", "b-2", "c-0"];
    for limit in 1..=7 {
        let pages = pages(&mut client, &[], limit);
        assert!(pages.iter().all(|page| page.len() <= limit as usize), "{limit}: {pages:?}");
        assert_eq!(pages.len(), all.len().div_ceil(limit as usize), "{limit}: {pages:?}");
        assert_eq!(pages.concat(), all, "{limit}");
    }
    assert_eq!(pages(&mut client, &["c", "a"], 2), [vec!["a-0", "a-1"], vec!["c-0"]]);

    // A cursor may name what is gone: it goes on behind it.
    let answer = page(&mut client, &[], 9, &json!({"TopicName": "ab", "PartitionIndex": 5}));
    assert_eq!(answer["Topics"][0]["Name"], "b");
    assert_eq!(answer["Topics"][0]["Partitions"].as_array().unwrap().len(), 3);
    let answer = page(&mut client, &["a"], 9, &json!({"TopicName": "a", "PartitionIndex": -1}));
    assert_eq!(answer["Topics"][0]["ErrorCode"], 42, "INVALID_REQUEST: {answer}");
}

#[test]
fn the_broker_limits_a_page_as_well() {
    let cluster = TestCluster::builder()
        .config("max.request.partition.size.limit", "2")
        .topic("a", 5)
        .start_blocking()
        .unwrap();
    let mut client = Client::open(cluster.bootstrap());
    let answer = page(&mut client, &["a"], 2000, &Value::Null);
    assert_eq!(answer["Topics"][0]["Partitions"].as_array().unwrap().len(), 2);
    assert_eq!(answer["NextCursor"], json!({"TopicName": "a", "PartitionIndex": 2}));
}
