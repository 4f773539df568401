//! What replicas hold, read from their disks when all is quiet.
//!
//! Owns: reading batches out of segment files. Never: asks a broker, or judges.

use std::io;
use std::path::{Path, PathBuf};

use ottla_protocol::records::Batch;
use ottla_storage::fs::{FileSystem as _, OpenMode};

use super::brokers::TOPIC;
use crate::disk::HostDisk;
use crate::history::{History, Kind, Op, fold};

/// One batch: where it begins and ends, and a digest of its bytes.
#[derive(Clone, Copy, Debug)]
struct Held {
    base: i64,
    end: i64,
    digest: u64,
}

fn read(disk: &HostDisk, partition: i32) -> io::Result<Vec<Held>> {
    let folder = PathBuf::from(format!("/data/{TOPIC}-{partition}"));
    let mut names: Vec<String> = disk.list(&folder)?.into_iter().map(|entry| entry.name).collect();
    names.retain(|name| Path::new(name).extension().is_some_and(|kind| kind == "log"));
    names.sort();
    let mut held = Vec::new();
    for name in names {
        let file = disk.open(&folder.join(name), OpenMode::Read)?;
        let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
        let bytes = file.read_bytes_at(0, len)?;
        let mut rest = &bytes[..];
        while let Ok(batch) = Batch::parse(rest) {
            let header = batch.header();
            let digest = fold(0xcbf2_9ce4_8422_2325, batch.bytes());
            let (base, end) = (header.base_offset.0, header.next_offset().0);
            held.push(Held { base, end, digest });
            rest = rest.get(batch.bytes().len()..).unwrap_or_default();
        }
    }
    Ok(held)
}

/// The high watermark that the last reader of the partition saw.
fn committed(history: &History, partition: i32) -> Option<i64> {
    history.events().iter().rev().find_map(|event| match &event.op {
        Op::FinalRead(poll) if poll.partition == partition => Some(poll.high_watermark),
        _ => None,
    })
}

/// Says which replica does not hold all that is committed.
pub(super) fn missing(history: &History, disks: &[HostDisk], partition: i32) -> Option<String> {
    let committed = committed(history, partition)?;
    for (node, disk) in (1..).zip(disks) {
        let end = read(disk, partition).map(|held| held.last().map_or(0, |last| last.end));
        match end {
            Ok(end) if end >= committed => {}
            Ok(end) => {
                return Some(format!(
                    "partition {partition} of n{node} ends at {end} of {committed}"
                ));
            }
            Err(error) => return Some(format!("partition {partition} of n{node}: {error}")),
        }
    }
    None
}

/// Writes down what every replica holds.
pub(super) fn record(history: &History, disks: &[HostDisk], partition: i32) {
    let Some(committed) = committed(history, partition) else { return };
    for (node, disk) in (1..).zip(disks) {
        let Ok(held) = read(disk, partition) else { continue };
        let op = Op::Replica {
            topic: TOPIC.to_owned(),
            partition,
            node,
            log_start: held.first().map_or(0, |first| first.base),
            // What it lacks is a matter of progress, not of difference.
            committed: committed.min(held.last().map_or(0, |last| last.end)),
            batches: held.iter().map(|held| (held.base, held.digest)).collect(),
        };
        history.record(&format!("n{node}"), Kind::Ok, op);
    }
}
