//! ListOffsets and OffsetForLeaderEpoch.
//!
//! Owns the special timestamps: -1 latest, -2 earliest, -3 max timestamp, -4 earliest local, -5
//! latest tiered,
//! -6 earliest pending upload.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Scenario, append, topic, versions};
use crate::batch::{Batch, time};
use crate::session::Session;

pub(super) const SCENARIOS: &[Scenario] =
    &[("list-offsets", list_offsets), ("offset-for-leader-epoch", leader_epochs)];

fn list_offsets(s: &mut Session) -> Result<()> {
    topic(s, "lo", 2)?;
    for n in 0..4 {
        let batch = Batch::of(5).with(|b| {
            b.base_timestamp = time() + [0, 3000, 1000, 4000][n];
            b.attributes = n as i16;
        });
        append(s, "lo", 0, &batch.hex())?;
    }
    for v in versions("ListOffsets").iter() {
        let ask = |name: &str, partition: i32, time: i64, epoch: i32| {
            json!({"ReplicaId": -1, "TimeoutMs": 1000, "Topics": [{"Name": name, "Partitions": [
                {"PartitionIndex": partition, "Timestamp": time, "CurrentLeaderEpoch": epoch}]}]})
        };
        for time in -8..=0 {
            s.ask(&format!("time {time}"), "ListOffsets", v, &ask("lo", 0, time, -1))?;
            s.ask(&format!("time {time}, empty"), "ListOffsets", v, &ask("lo", 1, time, -1))?;
        }
        for delta in [-1, 0, 2, 4, 5, 1001, 3000, 3004, 3005, 4004, 4005] {
            s.ask(
                &format!("first batch + {delta}"),
                "ListOffsets",
                v,
                &ask("lo", 0, time() + delta, -1),
            )?;
        }
        for (label, request) in [
            ("unknown topic", ask("lo-nowhere", 0, -1, -1)),
            ("unknown partition", ask("lo", 9, -1, -1)),
            ("bad name", ask("a/b", 0, -1, -1)),
            ("current epoch", ask("lo", 0, -1, 0)),
            ("future epoch", ask("lo", 0, -1, 4)),
            ("none", json!({"ReplicaId": -1, "Topics": []})),
        ] {
            s.ask(label, "ListOffsets", v, &request)?;
        }
        let part = |time: i64| json!({"PartitionIndex": 0, "Timestamp": time});
        let twice = json!({"ReplicaId": -1, "Topics": [{"Name": "lo", "Partitions": [part(-1), part(-2)]}]});
        s.ask("partition twice", "ListOffsets", v, &twice)?;
        if v >= 2 {
            let mut committed = ask("lo", 0, -1, -1);
            committed["IsolationLevel"] = 1.into();
            s.ask("read committed", "ListOffsets", v, &committed)?;
        }
    }
    let mut replica = json!({"ReplicaId": -2, "Topics": [{"Name": "lo", "Partitions": [{"PartitionIndex": 0, "Timestamp": -1}]}]});
    s.ask("debugging consumer", "ListOffsets", 7, &replica)?;
    replica["ReplicaId"] = 5.into();
    s.ask("as a replica", "ListOffsets", 7, &replica)?;
    replica["IsolationLevel"] = 7.into();
    s.ask("isolation level 7", "ListOffsets", 7, &replica)?;
    Ok(())
}

fn leader_epochs(s: &mut Session) -> Result<()> {
    topic(s, "ole", 2)?;
    append(s, "ole", 0, &Batch::of(5).hex())?;
    for v in versions("OffsetForLeaderEpoch").iter() {
        let ask = |topic: &str, partition: i32, current: i32, epoch: i32| -> Value {
            json!({"ReplicaId": -1, "Topics": [{"Topic": topic, "Partitions": [
                {"Partition": partition, "CurrentLeaderEpoch": current, "LeaderEpoch": epoch}]}]})
        };
        for (label, request) in [
            ("epoch 0", ask("ole", 0, -1, 0)),
            ("epoch 0, empty", ask("ole", 1, -1, 0)),
            ("epoch 3", ask("ole", 0, -1, 3)),
            ("epoch -1", ask("ole", 0, -1, -1)),
            ("current epoch", ask("ole", 0, 0, 0)),
            ("future current epoch", ask("ole", 0, 3, 0)),
            ("unknown partition", ask("ole", 9, -1, 0)),
            ("unknown topic", ask("ole-nowhere", 0, -1, 0)),
            ("none", json!({"ReplicaId": -1, "Topics": []})),
        ] {
            s.ask(label, "OffsetForLeaderEpoch", v, &request)?;
        }
    }
    Ok(())
}
