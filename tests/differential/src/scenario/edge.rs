//! The edge: version negotiation and frames that are wrong.
//!
//! Owns the cases below the APIs. Never asks for data.

use anyhow::Result;
use serde_json::json;

use super::{Scenario, latest, versions};
use crate::codec;
use crate::connection::frame;
use crate::schema::Schemas;
use crate::session::Session;

pub(super) const SCENARIOS: &[Scenario] = &[
    ("api-versions", api_versions),
    ("unsupported-versions", unsupported_versions),
    ("broken-frames", broken_frames),
    ("truncated-bodies", truncated_bodies),
];

fn api_versions(s: &mut Session) -> Result<()> {
    for v in versions("ApiVersions").iter() {
        let body = match v {
            3.. => json!({"ClientSoftwareName": "differential", "ClientSoftwareVersion": "1.0"}),
            _ => json!({}),
        };
        s.ask("plain", "ApiVersions", v, &body)?;
    }
    for (label, name, version) in [
        ("empty name", "", "1"),
        ("empty version", "x", ""),
        ("space in the name", "a b", "1"),
        ("dash at the end", "a-", "1"),
        ("dots and dashes", "a.b-c", "1.0-rc.1"),
    ] {
        let body = json!({"ClientSoftwareName": name, "ClientSoftwareVersion": version});
        s.ask(label, "ApiVersions", latest("ApiVersions"), &body)?;
    }
    Ok(())
}

/// One above and one below what Kafka has, for every API that this issue serves.
fn unsupported_versions(s: &mut Session) -> Result<()> {
    for message in Schemas::get().requests() {
        for (label, version) in [("above", message.versions.last + 1), ("negative", -1)] {
            let encoded_as = version.clamp(message.versions.first, message.versions.last);
            let value =
                crate::sample::sample(message, encoded_as, &mut crate::sample::Random::new(1));
            let body = codec::encode(message, encoded_as, &value)?;
            s.raw(
                label,
                &message.name,
                &with_version(&frame(message, encoded_as, 7, &body), version),
            )?;
        }
    }
    Ok(())
}

fn with_version(frame: &[u8], version: i16) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[6..8].copy_from_slice(&version.to_be_bytes());
    frame
}

fn broken_frames(s: &mut Session) -> Result<()> {
    let metadata = Schemas::get().named("Metadata");
    let good = frame(metadata, 4, 7, &codec::encode(metadata, 4, &json!({"Topics": []}))?);
    let patched = |at: usize, bytes: &[u8]| {
        let mut frame = good.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let resized = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = good.clone();
        change(&mut frame);
        let length = (frame.len() - 4) as i32;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        frame
    };
    let cases: [(&str, Vec<u8>); 13] = [
        ("good", good.clone()),
        ("unknown key", patched(4, &[0x7f, 0x00])),
        ("negative key", patched(4, &[0xff, 0xff])),
        ("negative length", (-1_i32).to_be_bytes().to_vec()),
        ("length of zero", vec![0; 4]),
        ("length above the limit", [&0x7fff_ffff_i32.to_be_bytes()[..], &[0; 8]].concat()),
        ("only a key", vec![0, 0, 0, 2, 0, 3]),
        (
            "header cut in the client id",
            vec![0, 0, 0, 12, 0, 3, 0, 4, 0, 0, 0, 7, 0, 9, b'x', b'y'],
        ),
        ("client id of length -2", patched(12, &[0xff, 0xfe])),
        ("null client id", vec![0, 0, 0, 15, 0, 3, 0, 4, 0, 0, 0, 7, 0xff, 0xff, 0, 0, 0, 0, 1]),
        ("no body", resized(&|f| f.truncate(26))),
        ("trailing bytes", resized(&|f| f.extend([1, 2, 3]))),
        ("absurd count", patched(26, &[0x7f, 0xff, 0xff, 0xff])),
    ];
    for (label, bytes) in cases {
        s.raw(label, "Metadata", &bytes)?;
    }
    Ok(())
}

/// Every served request at its newest version, cut in the middle.
fn truncated_bodies(s: &mut Session) -> Result<()> {
    for name in SERVED {
        let message = Schemas::get().named(name);
        let version = message.versions.last;
        let value = crate::sample::sample(message, version, &mut crate::sample::Random::new(3));
        let body = codec::encode(message, version, &value)?;
        if body.len() > 1 {
            s.raw("cut", name, &frame(message, version, 7, &body[..body.len() / 2]))?;
        }
    }
    Ok(())
}

/// What the single-node broker serves.
pub(super) const SERVED: &[&str] = &[
    "Produce",
    "Fetch",
    "ListOffsets",
    "Metadata",
    "OffsetCommit",
    "OffsetFetch",
    "FindCoordinator",
    "JoinGroup",
    "Heartbeat",
    "LeaveGroup",
    "SyncGroup",
    "DescribeGroups",
    "ListGroups",
    "ApiVersions",
    "CreateTopics",
    "DeleteTopics",
    "DeleteRecords",
    "InitProducerId",
    "OffsetForLeaderEpoch",
    "DescribeAcls",
    "DescribeConfigs",
    "AlterConfigs",
    "DescribeLogDirs",
    "CreatePartitions",
    "DeleteGroups",
    "ElectLeaders",
    "IncrementalAlterConfigs",
    "AlterPartitionReassignments",
    "ListPartitionReassignments",
    "OffsetDelete",
    "DescribeQuorum",
    "DescribeCluster",
    "DescribeProducers",
    "ListConfigResources",
    "DescribeTopicPartitions",
];
