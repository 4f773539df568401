//! What a simulated crash keeps, what faults do, and that a seed is the whole history.

use super::*;
use crate::fs::conformance;

fn disk(seed: u64, change: impl FnOnce(&mut SimOptions)) -> (SimFileSystem, PathBuf) {
    let mut options = SimOptions::default();
    change(&mut options);
    let fs = SimFileSystem::new(seed, options);
    let root = PathBuf::from("/data");
    fs.create_dir_all(&root).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    (fs, root)
}

fn write(file: &dyn File, bytes: &[u8], position: u64) -> io::Result<()> {
    file.write_all_at(&[IoSlice::new(bytes)], position)
}

fn read(fs: &SimFileSystem, path: &Path) -> Vec<u8> {
    let file = fs.open(path, OpenMode::Read).unwrap();
    file.read_bytes_at(0, usize::MAX).unwrap().to_vec()
}

#[test]
fn the_simulated_disk_conforms() {
    for short_read in [0, 300_000] {
        let (fs, root) = disk(1, |options| options.rates.short_read = short_read);
        conformance::run(&fs, &root);
    }
}

#[test]
fn synced_data_survives_and_the_rest_is_a_random_part() {
    let (mut lost, mut kept, mut torn) = (0, 0, 0);
    for seed in 0..200 {
        let (fs, root) = disk(seed, |_| {});
        let path = root.join("log");
        let file = fs.open(&path, OpenMode::CreateNew).unwrap();
        write(&*file, &[1; 3000], 0).unwrap();
        file.sync_data().unwrap();
        fs.sync_dir(&root).unwrap();
        write(&*file, &[2; 4000], 3000).unwrap();
        fs.crash();
        assert!(file.len().is_err(), "handles die in a crash");
        let found = read(&fs, &path);
        assert!((3000..=7000).contains(&found.len()), "seed {seed}: {}", found.len());
        assert!(found[..3000].iter().all(|byte| *byte == 1), "seed {seed}");
        assert!(found[3000..].iter().all(|byte| *byte == 2 || *byte == 0), "seed {seed}");
        match found[3000..].iter().filter(|byte| **byte == 2).count() {
            0 => lost += 1,
            4000 => kept += 1,
            _ => torn += 1,
        }
    }
    assert!(lost > 10 && kept > 0 && torn > 10, "lost {lost}, kept {kept}, torn {torn}");
}

#[test]
fn names_are_durable_only_after_a_sync_of_their_folder() {
    let (mut there, mut gone) = (0, 0);
    for seed in 0..100 {
        let (fs, root) = disk(seed, |_| {});
        let file = fs.open(&root.join("unsynced"), OpenMode::CreateNew).unwrap();
        write(&*file, b"data", 0).unwrap();
        file.sync_data().unwrap();
        fs.crash();
        if fs.exists(&root.join("unsynced")).unwrap() {
            assert_eq!(read(&fs, &root.join("unsynced")), b"data", "seed {seed}");
            there += 1;
        } else {
            gone += 1;
        }
    }
    assert!(there > 20 && gone > 20, "there {there}, gone {gone}");
}

#[test]
fn a_rename_is_atomic_and_an_unsynced_removal_may_come_back() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..200 {
        let (fs, root) = disk(seed, |_| {});
        for (name, bytes) in [("target", b"old"), ("source", b"new")] {
            let file = fs.open(&root.join(name), OpenMode::CreateNew).unwrap();
            write(&*file, bytes, 0).unwrap();
            file.sync_data().unwrap();
        }
        fs.sync_dir(&root).unwrap();
        fs.rename(&root.join("source"), &root.join("target")).unwrap();
        fs.remove_file(&root.join("target")).unwrap();
        fs.crash();
        let names: Vec<String> =
            fs.list(&root).unwrap().into_iter().map(|entry| entry.name).collect();
        let target = fs.exists(&root.join("target")).unwrap();
        outcomes.insert((names.join(" "), target.then(|| read(&fs, &root.join("target")))));
    }
    let expected = BTreeSet::from([
        ("source target".to_owned(), Some(b"old".to_vec())),
        ("target".to_owned(), Some(b"new".to_vec())),
        (String::new(), None),
    ]);
    assert_eq!(outcomes, expected);
}

#[test]
fn a_sync_of_the_disk_covers_data_and_names() {
    for seed in 0..50 {
        let (fs, root) = disk(seed, |_| {});
        fs.create_dir_all(&root.join("a").join("b")).unwrap();
        let path = root.join("a").join("b").join("log");
        write(&*fs.open(&path, OpenMode::CreateNew).unwrap(), &[5; 10_000], 0).unwrap();
        fs.sync_disk(&root).unwrap();
        fs.crash();
        assert_eq!(read(&fs, &path), [5; 10_000], "seed {seed}");
    }
}

#[test]
fn a_failed_sync_loses_the_data_though_the_next_one_succeeds() {
    for reads in [FailedSyncReads::AsWritten, FailedSyncReads::AsOnDisk] {
        let (fs, root) = disk(3, |options| options.failed_sync_reads = reads);
        let path = root.join("log");
        let file = fs.open(&path, OpenMode::CreateNew).unwrap();
        fs.sync_dir(&root).unwrap();
        write(&*file, b"lost", 0).unwrap();
        fs.fail_next(OpMatcher::op(Op::SyncData).on("log"), DiskError::Io);
        assert!(file.sync_data().is_err());
        let expected: &[u8] =
            if reads == FailedSyncReads::AsWritten { b"lost" } else { b"\0\0\0\0" };
        assert_eq!(read(&fs, &path), expected);
        file.sync_data().unwrap();
        fs.crash();
        assert!(read(&fs, &path).iter().all(|byte| *byte == 0));
    }
}

#[test]
fn faults_hit_the_call_they_were_ordered_for() {
    let (fs, root) = disk(4, |_| {});
    let file = fs.open(&root.join("one.log"), OpenMode::CreateNew).unwrap();
    let other = fs.open(&root.join("two.log"), OpenMode::CreateNew).unwrap();
    fs.fail_next(OpMatcher::op(Op::Write).on("one").after(1), DiskError::NoSpace);
    write(&*other, b"fine", 0).unwrap();
    write(&*file, b"first", 0).unwrap();
    let error = write(&*file, b"second", 5).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(file.len().unwrap() <= 11, "part of it may have been written");
    write(&*file, b"second", 5).unwrap();
    fs.fail_always(OpMatcher::op(Op::Read), DiskError::Io);
    for _ in 0..3 {
        assert!(file.read_at(&mut [0], 0).is_err());
    }
    fs.clear_faults();
    assert_eq!(read(&fs, &root.join("one.log")), b"firstsecond");
    fs.fault_next(OpMatcher::op(Op::Read), Fault::FlipRead);
    assert_ne!(read(&fs, &root.join("one.log")), b"firstsecond");
    assert_eq!(read(&fs, &root.join("one.log")), b"firstsecond");
    fs.flip_bit(&root.join("one.log"), 8).unwrap();
    assert_eq!(read(&fs, &root.join("one.log")), b"fhrstsecond");
    assert!(fs.flip_bit(&root.join("one.log"), 88).is_err());
}

#[test]
fn a_full_disk_takes_what_fits_and_recovers() {
    let (fs, root) = disk(5, |options| options.capacity = 1000);
    let path = root.join("log");
    let file = fs.open(&path, OpenMode::CreateNew).unwrap();
    write(&*file, &[1; 900], 0).unwrap();
    assert_eq!(fs.space(&root).unwrap().available, 100);
    let error = write(&*file, &[2; 200], 900).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 1000);
    write(&*file, &[3; 10], 0).unwrap();
    fs.set_capacity(2000);
    write(&*file, &[2; 200], 900).unwrap();
    fs.remove_file(&path).unwrap();
    assert_eq!(fs.space(&root).unwrap().available, 2000);
}

#[test]
fn a_misdirected_write_shows_after_the_crash() {
    let (fs, root) = disk(6, |options| options.block_bytes = 100);
    let path = root.join("log");
    let file = fs.open(&path, OpenMode::CreateNew).unwrap();
    write(&*file, &[1; 1000], 0).unwrap();
    fs.sync_disk(&root).unwrap();
    fs.fault_next(OpMatcher::op(Op::Write), Fault::Misdirect);
    write(&*file, &[2; 100], 300).unwrap();
    file.sync_data().unwrap();
    assert_eq!(read(&fs, &path)[300..400], [2; 100]);
    fs.crash();
    let found = read(&fs, &path);
    assert_eq!(found[300..400], [1; 100]);
    assert_eq!(found.iter().filter(|byte| **byte == 2).count(), 100);
}

#[test]
fn a_power_off_stops_everything_at_its_call() {
    let (fs, root) = disk(7, |_| {});
    let path = root.join("log");
    let file = fs.open(&path, OpenMode::CreateNew).unwrap();
    fs.sync_dir(&root).unwrap();
    fs.power_off_at(fs.calls() + 1);
    write(&*file, &[1; 100], 0).unwrap();
    assert!(file.sync_data().is_err());
    assert!(write(&*file, &[1; 100], 100).is_err());
    assert!(fs.exists(&path).is_err());
    fs.crash();
    assert!(read(&fs, &path).len() <= 100);
}

#[test]
fn locks_die_with_the_process_and_stale_guards_free_nothing() {
    let (fs, root) = disk(8, |_| {});
    let stale = fs.lock(&root.join(".lock")).unwrap();
    fs.kill_process();
    let _held = fs.lock(&root.join(".lock")).unwrap();
    drop(stale);
    assert!(fs.lock(&root.join(".lock")).is_err());
}

#[test]
fn slow_calls_take_virtual_time() {
    let sync = Duration::from_millis(2);
    let (fs, root) = disk(9, |options| options.latency.sync = sync);
    let before = fs.elapsed();
    let file = fs.open(&root.join("log"), OpenMode::CreateNew).unwrap();
    file.sync_data().unwrap();
    assert_eq!(fs.elapsed() - before, sync);
    fs.fault_next(OpMatcher::op(Op::SyncData), Fault::Slow(Duration::from_secs(30)));
    file.sync_data().unwrap();
    assert_eq!(fs.elapsed() - before, sync * 2 + Duration::from_secs(30));
}

/// A history with every kind of call and fault; returns its trace and what the disk holds at last.
fn history(seed: u64) -> (Vec<String>, u64, Vec<Vec<u8>>) {
    let (fs, root) = disk(seed, |options| {
        options.block_bytes = 512;
        options.trace_lines = usize::MAX;
        options.lost_blocks = LostBlocks::Garbage;
        options.rates = FaultRates {
            read_error: 50_000,
            write_error: 50_000,
            sync_error: 50_000,
            name_error: 20_000,
            read_flip: 50_000,
            short_read: 100_000,
            misdirect: 50_000,
        };
    });
    let mut random = SimRandom::new(seed ^ 1);
    for _ in 0..300 {
        let path = root.join(format!("file-{}", random.below(4)));
        let position = random.below(5000);
        // Whatever fails is part of the history.
        let _ = match random.below(7) {
            0 => fs.remove_file(&path),
            1 => fs.rename(&path, &root.join(format!("file-{}", random.below(4)))),
            2 => fs.sync_dir(&root),
            3 => fs.sync_disk(&root),
            4 => {
                fs.crash();
                Ok(())
            }
            _ => fs.open(&path, OpenMode::Create).and_then(|file| {
                write(&*file, &vec![random.next() as u8; 1000], position)?;
                file.read_at(&mut [0; 100], position)?;
                file.set_len(position + 500)?;
                file.sync_data()
            }),
        };
    }
    fs.clear_faults();
    fs.crash();
    let names = fs.list(&root).unwrap();
    let contents = names.iter().map(|entry| read(&fs, &root.join(&entry.name))).collect();
    (fs.trace(), fs.trace_hash(), contents)
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in 0..5 {
        let (first, second) = (history(seed), history(seed));
        assert_eq!(first.0, second.0, "seed {seed}");
        assert!(first == second, "seed {seed}: equal traces but different contents");
    }
    assert_ne!(history(1).1, history(2).1, "seeds matter");
}

#[test]
fn a_fork_goes_its_own_way() {
    let (fs, root) = disk(10, |_| {});
    let path = root.join("log");
    write(&*fs.open(&path, OpenMode::CreateNew).unwrap(), b"one", 0).unwrap();
    fs.sync_disk(&root).unwrap();
    let fork = fs.fork(11);
    write(&*fork.open(&path, OpenMode::ReadWrite).unwrap(), b"two", 0).unwrap();
    assert_eq!(read(&fs, &path), b"one");
    assert_eq!(read(&fork, &path), b"two");
}
