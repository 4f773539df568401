//! What replicas hold, read from their disks when all is quiet.
//!
//! Owns: reading batches out of segment files. Never: asks a broker, or judges.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use ottla_protocol::records::Batch;
use ottla_storage::fs::{FileSystem as _, OpenMode};

use crate::client::value_of;
use crate::disk::HostDisk;
use crate::history::{Kind, Op, fold, key_of};
use crate::workload::{Desk, Keeps};

/// One batch: where it begins and ends, and a digest of its bytes.
#[derive(Clone, Copy, Debug)]
struct Held {
    base: i64,
    end: i64,
    /// None where it is rotten and nobody has read it since: its checksum will say so.
    digest: Option<u64>,
}

/// Every batch that a replica holds; of a compacted log the last record of each key, as where that has
/// gone how far is each replica's own matter.
fn read(desk: &Desk, disk: &HostDisk, partition: i32, committed: i64) -> io::Result<Vec<Held>> {
    let folder = PathBuf::from(format!("/data/{}-{partition}", desk.topic));
    let mut names: Vec<String> = disk.list(&folder)?.into_iter().map(|entry| entry.name).collect();
    names.retain(|name| Path::new(name).extension().is_some_and(|kind| kind == "log"));
    names.sort();
    let mut held = Vec::new();
    let mut last = BTreeMap::new();
    for name in names {
        let file = disk.open(&folder.join(name), OpenMode::Read)?;
        let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
        let bytes = file.read_bytes_at(0, len)?;
        let mut rest = &bytes[..];
        while let Ok(batch) = Batch::parse(rest) {
            let header = batch.header();
            let sound = batch.check_crc().is_ok();
            let digest = sound.then(|| fold(0xcbf2_9ce4_8422_2325, batch.bytes()));
            let (base, end) = (header.base_offset.0, header.next_offset().0);
            held.push(Held { base, end, digest });
            if desk.keeps == Keeps::Latest && base < committed {
                latest(&batch, &mut last)?;
            }
            rest = rest.get(batch.bytes().len()..).unwrap_or_default();
        }
    }
    if desk.keeps == Keeps::Latest {
        let end = held.last().map_or(0, |last| last.end);
        held = last.into_values().collect();
        held.sort_by_key(|held| held.base);
        // How far the log goes, whatever its end has lost.
        held.extend((end > 0).then_some(Held { base: end, end, digest: None }));
    }
    Ok(held)
}

/// Notes a batch's records as the last ones of their keys.
fn latest(batch: &Batch<'_>, last: &mut BTreeMap<u64, Held>) -> io::Result<()> {
    const BYTES_MAX: usize = 1 << 20;
    let records = batch.records(BYTES_MAX).map_err(io::Error::other)?;
    for record in &records {
        let record = record.map_err(io::Error::other)?;
        let value = value_of(record.value.unwrap_or_default()).unwrap_or(u64::MAX);
        let base = record.offset.0;
        last.insert(key_of(value), Held { base, end: base + 1, digest: Some(value) });
    }
    Ok(())
}

/// The high watermark that the last reader of the partition saw.
fn committed(desk: &Desk, partition: i32) -> Option<i64> {
    desk.history.events().iter().rev().find_map(|event| match &event.op {
        Op::FinalRead(poll) if poll.partition == partition && *poll.topic == *desk.topic => {
            Some(poll.high_watermark)
        }
        _ => None,
    })
}

/// Says which replica does not hold all that is committed.
pub(super) fn missing(desk: &Desk, disks: &[HostDisk], partition: i32) -> Option<String> {
    let committed = committed(desk, partition)?;
    for (node, disk) in (1..).zip(disks) {
        let end = read(desk, disk, partition, committed)
            .map(|held| held.last().map_or(0, |last| last.end));
        match end {
            Ok(end) if end >= committed => {}
            Ok(end) => {
                return Some(format!(
                    "{}-{partition} of n{node} ends at {end} of {committed}",
                    desk.topic
                ));
            }
            Err(error) => {
                return Some(format!("{}-{partition} of n{node}: {error}", desk.topic));
            }
        }
    }
    None
}

/// Writes down what every replica holds, but for batches that are rotten somewhere.
pub(super) fn record(desk: &Desk, disks: &[HostDisk], partition: i32) {
    let Some(committed) = committed(desk, partition) else { return };
    let held = disks.iter().map(|disk| read(desk, disk, partition, committed).unwrap_or_default());
    let held: Vec<Vec<Held>> = held.collect();
    let rotten = held.iter().flatten().filter(|held| held.digest.is_none());
    let rotten: BTreeSet<i64> = rotten.map(|held| held.base).collect();
    for (node, held) in (1..).zip(held) {
        let batches = held.iter().filter(|held| !rotten.contains(&held.base));
        let op = Op::Replica {
            topic: desk.topic.to_string(),
            partition,
            node,
            log_start: match desk.keeps {
                Keeps::Latest => 0,
                Keeps::All | Keeps::Newest => held.first().map_or(0, |first| first.base),
            },
            // What it lacks is a matter of progress, not of difference.
            committed: committed.min(held.last().map_or(0, |last| last.end)),
            batches: batches.filter_map(|held| Some((held.base, held.digest?))).collect(),
        };
        desk.history.record(&format!("n{node}"), Kind::Ok, op);
    }
}
