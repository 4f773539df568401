//! Histories that end with rot: one place of one file is flipped, cut, zeroed or swapped.

use std::path::{Path, PathBuf};

use ottla_storage::fs::FileSystem;
use ottla_storage::{AfterRecoveryPoint, MinOneBatch, Shutdown};

use crate::driver::History;

/// A log with a history, then rot, then one opening: what it answers is right, or it says that
/// something is wrong.
pub(crate) fn history(mut history: History) {
    for _ in 0..20 + history.random.below(40) {
        history.step();
    }
    history.power_stays();
    let now = history.now();
    let clean = history.random.chance(300_000);
    let flushed = match history.log.as_mut().unwrap() {
        log if clean => log.close_clean(now),
        log => log.flush_now(),
    };
    if flushed.is_err() || history.fs.exists(Path::new("/data")).is_err() {
        return;
    }
    let log = history.log.take().unwrap();
    history.recovery_point = log.recovery_point();
    if history.compacts() {
        // What it hid was cleaned unseen, and the model does not know how.
        history.log_start = log.log_start();
    }
    drop(log);
    let dir = PathBuf::from("/data/topic-0");
    let sound = history.fs.clone();
    let model = history.model.clone();
    for _ in 0..5 {
        // One fault at a time: each begins with the sound disk.
        history.fs = sound.fork(history.random.next());
        history.model = model.clone();
        let files: Vec<_> =
            history.fs.list(&dir).unwrap().into_iter().filter(|entry| entry.len > 0).collect();
        if files.is_empty() {
            return;
        }
        let file = &files[history.random.below(files.len() as u64) as usize];
        let was = rot(&mut history, &dir.join(&file.name), file.len);
        let what = format!("{was} of {}", file.name);
        let shutdown = if clean { Shutdown::Clean } else { Shutdown::Unclean };
        check(&mut history, shutdown, &file.name, &what);
        history.log = None;
    }
}

fn rot(history: &mut History, path: &Path, len: u64) -> String {
    let at = history.random.below(len) as usize;
    let kind = history.random.below(4);
    let bit = history.random.below(8);
    let mut said = String::new();
    history
        .fs
        .damage(path, |bytes| {
            let at = at.min(bytes.len().saturating_sub(1));
            if bytes.is_empty() {
                return;
            }
            match kind {
                0 => bytes[at] ^= 1 << bit,
                1 => bytes.truncate(at),
                2 => {
                    let end = (at + 64).min(bytes.len());
                    bytes[at..end].fill(0);
                }
                _ => {
                    let other = at / 2;
                    bytes.swap(at, other);
                }
            }
            said = format!("{} at {at}", ["a flip", "a cut", "zeros", "a swap"][kind as usize]);
        })
        .unwrap();
    said
}

fn check(history: &mut History, shutdown: Shutdown, name: &str, what: &str) {
    let (log, report) = history.open(shutdown, AfterRecoveryPoint::Report);
    let end = log.log_end();
    log.validate().unwrap();
    if report.damage.is_some() || name.ends_with(".log") {
        // Up to the damage all is right; where only headers were trusted, a reader's CRC says so.
        let mut at = log.log_start();
        while at < end {
            let Ok(read) = log.read(at, 700, end, MinOneBatch::Yes) else { break };
            let Ok(bytes) = read.to_bytes() else { break };
            let mut wrong = false;
            for batch in ottla_protocol::records::BatchIter::new(&bytes) {
                let Ok(batch) = batch else {
                    wrong = true;
                    break;
                };
                let known = history
                    .model
                    .batches
                    .iter()
                    .find(|known| known.base() == batch.header().base_offset);
                let same = known.is_some_and(|known| known.bytes == batch.bytes());
                wrong |= !same;
                let noticed = batch.check_crc().is_err() || outside_crc(history, &batch);
                assert!(same || noticed || report.damage.is_some(), "{what}: not noticed");
            }
            if wrong || read.next_offset <= at {
                break;
            }
            at = read.next_offset;
        }
        history.log = None;
        return;
    }
    assert_eq!(end, history.model.end, "{what}: {report:?}");
    history.model.start = log.log_start();
    history.log = Some(log);
    if let Err(difference) = history.difference() {
        panic!("{what}: {difference}");
    }
}

/// Base offset and leader epoch are outside the CRC. Where the log is trusted because it was synced,
/// nothing reads them again before a consumer does; `ottla log verify` finds them.
fn outside_crc(history: &History, batch: &ottla_protocol::records::Batch<'_>) -> bool {
    let bytes = batch.bytes();
    history.model.batches.iter().any(|known| known.bytes[16..] == bytes[16..])
}
