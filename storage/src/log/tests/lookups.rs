//! Timestamps and their indexes.

use super::*;
use crate::fs::sim::{SimFileSystem, SimOptions};

fn found(log: &PartitionLog, timestamp: i64) -> Option<(i64, i64)> {
    let found = log.offset_for_timestamp(Timestamp(timestamp)).unwrap();
    found.map(|found| (found.offset.get(), found.timestamp.get()))
}

/// Batches whose times go up and down.
fn wavy(log: &mut PartitionLog) -> Vec<(i64, i64)> {
    let mut all = Vec::new();
    for step in 0..60_i64 {
        let time = step * 10 + (step * 7919) % 97;
        let info = append(log, batch(time, &[b"abc", b"def"]));
        all.push((info.first_offset.get(), time));
        all.push((info.last_offset.get(), time + 1));
    }
    all
}

fn by_scan(all: &[(i64, i64)], timestamp: i64, start: i64) -> Option<(i64, i64)> {
    all.iter().copied().find(|(offset, time)| *time >= timestamp && *offset >= start)
}

#[test]
fn timestamps_are_found_as_by_reading_everything() {
    let fixture = Fixture::small_segments();
    let mut log = fixture.create();
    assert_eq!(found(&log, 0), None);
    assert_eq!(log.offset_of_max_timestamp().unwrap(), None);
    let all = wavy(&mut log);
    let check = |log: &PartitionLog| {
        let start = log.log_start().get();
        for timestamp in 0..800 {
            let wanted = by_scan(&all, timestamp, start);
            assert_eq!(found(log, timestamp), wanted, "timestamp {timestamp}");
        }
        let max = all.iter().map(|(_, time)| *time).max().unwrap();
        let wanted = all.iter().find(|(_, time)| *time == max).unwrap();
        let latest = log.offset_of_max_timestamp().unwrap().unwrap();
        assert_eq!((latest.offset.get(), latest.timestamp.get()), *wanted);
    };
    check(&log);
    log.close_clean(now(0)).unwrap();
    drop(log);
    let mut log = fixture.open_clean();
    check(&log);
    log.advance_log_start(Offset(31)).unwrap();
    check(&log);
}

#[test]
fn damaged_and_missing_indexes_change_no_answer() {
    let fixture = Fixture::small_segments();
    let mut log = fixture.create();
    let all = wavy(&mut log);
    log.close_clean(now(0)).unwrap();
    drop(log);
    let indexes: Vec<String> =
        fixture.names().into_iter().filter(|name| name.ends_with("index")).collect();
    assert!(indexes.len() >= 8, "{indexes:?}");
    let originals: Vec<Vec<u8>> = indexes.iter().map(|name| contents_of(&fixture, name)).collect();
    let check = |what: &str| {
        let log = fixture.open_clean();
        for timestamp in (0..800).step_by(41) {
            assert_eq!(found(&log, timestamp), by_scan(&all, timestamp, 0), "{what}");
        }
        for offset in (0..120).step_by(13) {
            let read = log.read(Offset(offset), 1, log.log_end(), MinOneBatch::Yes).unwrap();
            assert_eq!(read.first_offset, Offset(offset / 2 * 2), "{what}");
        }
    };
    for (name, original) in indexes.iter().zip(&originals).take(6) {
        for at in 0..original.len() {
            let mut damaged = original.clone();
            damaged[at] ^= 1 << (at % 8);
            write(&fixture, name, &damaged);
            check(&format!("{name} flipped at {at}"));
        }
        for cut in [0, original.len() / 2, original.len().saturating_sub(1)] {
            write(&fixture, name, &original[..cut]);
            check(&format!("{name} cut at {cut}"));
        }
        let mut longer = original.clone();
        longer.extend_from_slice(&[0; 240]);
        write(&fixture, name, &longer);
        check(&format!("{name} with zeros behind it, as Kafka's are while open"));
        fixture.fs.remove_file(&Fixture::path(name)).unwrap();
        check(&format!("{name} removed"));
        write(&fixture, name, original);
    }
    fixture.fs.remove_file(&Fixture::path(crate::file_name::SEGMENT_SEALS)).unwrap();
    check("no seals");
    for name in &indexes {
        write(&fixture, name, &[0xff; 96]);
    }
    check("nothing but rubbish");
}

pub(super) fn contents_of(fixture: &Fixture, name: &str) -> Vec<u8> {
    let file = fixture.fs.open(&Fixture::path(name), crate::fs::OpenMode::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

pub(super) fn write(fixture: &Fixture, name: &str, bytes: &[u8]) {
    let file = fixture.fs.open(&Fixture::path(name), crate::fs::OpenMode::Create).unwrap();
    file.set_len(0).unwrap();
    file.write_all_at(&[std::io::IoSlice::new(bytes)], 0).unwrap();
}

/// The tail is read from memory, however many read it; files are not even looked at.
#[test]
fn a_thousand_consumers_at_the_tail_read_no_file() {
    let sim = SimFileSystem::new(1, SimOptions::default());
    let fs: Arc<dyn FileSystem> = Arc::new(sim.clone());
    let resources = LogResources::new(64, 8 << 20);
    let ctx = OpenContext::new(now(1_000), resources);
    let mut log = PartitionLog::create(fs, DIR.into(), LogSettings::default(), &ctx).unwrap();
    fill(&mut log, 50);
    log.flush_now().unwrap();
    let mut positions = vec![log.log_end(); 1_000];
    for _ in 0..20 {
        append(&mut log, batch(2_000, &[b"to everybody"]));
        let calls = sim.calls();
        for (index, at) in positions.iter_mut().enumerate() {
            // Some are a few batches behind.
            if index % 7 == 0 && log.log_end().since(*at) < 5 {
                continue;
            }
            let read = log.read(*at, 1 << 20, log.log_end(), MinOneBatch::Yes).unwrap();
            assert!(!read.is_empty());
            assert!(read.slices.iter().all(|slice| matches!(slice, LogSlice::Memory(_))));
            *at = read.next_offset;
        }
        assert_eq!(sim.calls(), calls, "a file was read");
    }
    // The counter counts: without the memory there are reads.
    log.shed_tail();
    let calls = sim.calls();
    log.read(Offset(55), 100, log.log_end(), MinOneBatch::Yes).unwrap().to_bytes().unwrap();
    assert!(sim.calls() > calls);
}
