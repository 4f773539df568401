//! Closing, crashing and opening again, without faults of the disk.

use super::*;

#[test]
fn a_clean_restart_reads_next_to_nothing() {
    let fixture = Fixture::small_segments();
    let mut log = fixture.create();
    fill(&mut log, 100);
    log.assign_epoch(LeaderEpoch(5), Offset(100));
    fill(&mut log, 1);
    log.close_clean(now(0)).unwrap();
    let (epochs, producers) = (log.epochs().clone(), log.producers().clone());
    drop(log);
    let ctx = OpenContext {
        shutdown: Shutdown::Clean,
        recovery_point: Offset(101),
        log_start: Some(Offset(12)),
        ..fixture.context()
    };
    let (mut log, report) = fixture.open(&ctx);
    assert_eq!(report.scanned_bytes, 0);
    assert_eq!((report.damage, report.torn), (None, None));
    assert_eq!((log.log_start(), log.log_end()), (Offset(12), Offset(101)));
    assert_eq!(log.flushed(), Offset(101));
    assert_eq!(log.producers(), &producers);
    assert_eq!(log.epochs().entries()[1], epochs.entries()[1]);
    fill(&mut log, 10);
    assert_eq!(read_all(&log, 12), expected(12, 111));
}

#[test]
fn a_crash_loses_nothing_that_was_written() {
    let fixture = Fixture::small_segments();
    let mut log = fixture.create();
    fill(&mut log, 77);
    let point = log.recovery_point();
    drop(log);
    let (mut log, report) = fixture.open(&fixture.context());
    assert_eq!(point, Offset(0));
    assert!(report.scanned_bytes > 0);
    assert_eq!(log.flushed(), Offset(0));
    assert!(log.needs_flush());
    log.flush_now().unwrap();
    assert_eq!(log.recovery_point(), Offset(77));
    fill(&mut log, 5);
    drop(log);
    let ctx = OpenContext { recovery_point: Offset(77), ..fixture.context() };
    let (log, report) = fixture.open(&ctx);
    assert!(report.scanned_bytes < 1_000, "only past the recovery point");
    assert_eq!(read_all(&log, 0), expected(0, 82));
}

#[test]
fn a_torn_end_is_cut_and_what_was_synced_is_not() {
    let fixture = Fixture::new(LogSettings::default());
    let mut log = fixture.create();
    fill(&mut log, 5);
    let whole = log.size_bytes();
    fill(&mut log, 1);
    drop(log);
    let name = "00000000000000000000.log";
    let original = super::lookups::contents_of(&fixture, name);
    for cut in whole as usize..original.len() {
        super::lookups::write(&fixture, name, &original[..cut]);
        let ctx = OpenContext { recovery_point: Offset(5), ..fixture.context() };
        let (log, report) = fixture.open(&ctx);
        assert_eq!(report.damage, None, "cut at {cut}");
        assert_eq!(report.torn.is_some(), cut as u64 > whole);
        assert_eq!(log.log_end(), Offset(5));
        drop(log);
        assert_eq!(super::lookups::contents_of(&fixture, name).len() as u64, whole);
        // Had it been synced, its loss is damage. (The cut just made is forgotten.)
        let _ = fixture.fs.remove_file(&Fixture::path(crate::file_name::SEGMENT_SEALS));
        super::lookups::write(&fixture, name, &original[..cut]);
        let ctx = OpenContext { recovery_point: Offset(6), ..fixture.context() };
        let (log, report) = fixture.open(&ctx);
        assert!(report.damage.is_some(), "cut at {cut}");
        assert_eq!(log.log_end(), Offset(5));
        assert!(!log.is_writable());
        assert_eq!(read_all(&log, 0), expected(0, 5));
        drop(log);
        assert_eq!(super::lookups::contents_of(&fixture, name).len(), cut, "nothing is cut");
    }
}

#[test]
fn a_flip_anywhere_is_reported_or_was_never_synced() {
    let fixture = Fixture::new(LogSettings::default());
    let mut log = fixture.create();
    fill(&mut log, 4);
    drop(log);
    let name = "00000000000000000000.log";
    let original = super::lookups::contents_of(&fixture, name);
    let last = original.len() / 4 * 3;
    for at in 0..original.len() {
        // The leader epoch is the one thing in a batch that nothing covers.
        let in_batch = at % (original.len() / 4);
        if (12..16).contains(&in_batch) {
            continue;
        }
        for recovery_point in [0, 4] {
            let mut damaged = original.clone();
            damaged[at] ^= 1 << (at % 8);
            super::lookups::write(&fixture, name, &damaged);
            let ctx = OpenContext { recovery_point: Offset(recovery_point), ..fixture.context() };
            let (log, report) = fixture.open(&ctx);
            let end = log.log_end().get();
            assert_eq!(read_all(&log, 0), expected(0, end));
            assert!(end < 4 || report.damage.is_some() || recovery_point == 4);
            if report.damage.is_none() && recovery_point == 0 {
                assert!(at >= last, "flipped at {at}: good batches follow");
                assert_eq!(end, 3);
            }
        }
    }
}

#[test]
fn damage_is_repaired_by_truncating_below_it() {
    let fixture = Fixture::small_segments();
    let mut log = fixture.create();
    fill(&mut log, 50);
    log.flush_now().unwrap();
    drop(log);
    let name = "00000000000000000012.log";
    assert!(fixture.names().iter().any(|known| known == name), "{:?}", fixture.names());
    let mut bytes = super::lookups::contents_of(&fixture, name);
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    super::lookups::write(&fixture, name, &bytes);
    let (mut log, report) = fixture.open(&fixture.context());
    let damage = report.damage.unwrap();
    assert!(damage.file.ends_with(name));
    assert!(damage.from >= Offset(12) && damage.to == Some(damage.from.next()));
    assert_eq!(log.log_end(), damage.from);
    assert!(matches!(
        try_append(&mut log, batch(0, &[b"x"]), AppendOrigin::Client),
        Err(AppendError::Log(LogError::Damaged(_)))
    ));
    let files = fixture.names();
    assert!(files.contains(&"00000000000000000036.log".to_owned()), "nothing is removed");
    let end = log.truncate_to(damage.from, now(0)).unwrap();
    assert_eq!(end, damage.from);
    fill(&mut log, 5);
    assert_eq!(read_all(&log, 0), expected(0, end.get() + 5));
}

#[test]
fn a_recovery_point_from_before_a_truncation_says_nothing() {
    let fixture = Fixture::small_segments();
    let mut log = fixture.create();
    fill(&mut log, 50);
    log.flush_now().unwrap();
    log.truncate_to(Offset(20), now(0)).unwrap();
    fill(&mut log, 5);
    drop(log);
    // The driver's checkpoint is older than the truncation.
    let ctx = OpenContext { recovery_point: Offset(50), ..fixture.context() };
    let (mut log, report) = fixture.open(&ctx);
    assert_eq!(report.damage, None);
    assert_eq!(log.flushed(), Offset(20));
    assert_eq!(read_all(&log, 0), expected(0, 25));
    log.flush_now().unwrap();
    assert!(log.close_clean(now(0)).is_ok());
    drop(log);
    let (log, report) = fixture.open(&ctx);
    assert_eq!(report.damage, None, "a clean close does not change that");
    assert_eq!(log.log_end(), Offset(25));
    drop(log);
    let (mut log, _) = fixture.open(&ctx);
    fill(&mut log, 30);
    log.flush_now().unwrap();
    drop(log);
    let (log, report) = fixture.open(&ctx);
    assert_eq!(report.damage, None);
    assert_eq!(log.flushed(), Offset(50), "grown again, it is to be believed again");
}

#[test]
fn whoever_knows_better_may_have_a_hole_cut() {
    let fixture = Fixture::small_segments();
    let mut log = fixture.create();
    fill(&mut log, 30);
    drop(log);
    let name = "00000000000000000012.log";
    let mut bytes = super::lookups::contents_of(&fixture, name);
    bytes[100] ^= 1;
    super::lookups::write(&fixture, name, &bytes);
    let ctx = OpenContext { after_recovery_point: AfterRecoveryPoint::Cut, ..fixture.context() };
    let (log, report) = fixture.open(&ctx);
    assert_eq!(report.damage, None);
    let torn = report.torn.unwrap();
    assert_eq!(torn.end, log.log_end());
    assert_eq!(read_all(&log, 0), expected(0, log.log_end().get()));
    assert!(log.is_writable());
    let position = usize::try_from(torn.position).unwrap();
    let aside = super::lookups::contents_of(&fixture, &format!("{:020}.aside", torn.end.get()));
    assert_eq!(aside[..bytes.len() - position], bytes[position..], "what was cut is kept");
    assert!(aside.len() > bytes.len() - position, "and the segments behind it");
}

#[test]
fn a_lost_sealed_segment_is_reported() {
    let fixture = Fixture::small_segments();
    let mut log = fixture.create();
    fill(&mut log, 50);
    log.close_clean(now(0)).unwrap();
    drop(log);
    let name = "00000000000000000012.log";
    let bytes = super::lookups::contents_of(&fixture, name);
    super::lookups::write(&fixture, name, &bytes[..bytes.len() / 2]);
    for shutdown in [Shutdown::Clean, Shutdown::Unclean] {
        let ctx = OpenContext { shutdown, recovery_point: Offset(50), ..fixture.context() };
        let (log, report) = fixture.open(&ctx);
        assert!(report.damage.unwrap().file.ends_with(name));
        assert_eq!(read_all(&log, 0), expected(0, log.log_end().get()));
    }
    fixture.fs.remove_file(&Fixture::path(name)).unwrap();
    let ctx = OpenContext { recovery_point: Offset(50), ..fixture.context() };
    let (log, report) = fixture.open(&ctx);
    assert!(report.damage.is_some());
    assert_eq!(log.log_end(), Offset(12));
}

#[test]
fn epochs_are_found_again_in_the_batches() {
    let fixture = Fixture::small_segments();
    let mut log = fixture.create();
    for epoch in [0, 3, 4] {
        log.assign_epoch(LeaderEpoch(epoch), log.log_end());
        fill(&mut log, 20);
    }
    let epochs = log.epochs().clone();
    log.close_clean(now(0)).unwrap();
    drop(log);
    for text in [None, Some("0\n1\n0 "), Some("garbage")] {
        let name = crate::file_name::LEADER_EPOCH_CHECKPOINT;
        match text {
            Some(text) => super::lookups::write(&fixture, name, text.as_bytes()),
            None => fixture.fs.remove_file(&Fixture::path(name)).unwrap(),
        }
        let mut log = fixture.open_clean();
        assert_eq!(log.epochs(), &epochs);
        log.flush_now().unwrap();
        let saved = super::lookups::contents_of(&fixture, name);
        assert_eq!(String::from_utf8(saved).unwrap(), epochs.to_text());
    }
}

#[test]
fn leftovers_of_deletion_and_compaction_are_tidied() {
    let fixture = Fixture::small_segments();
    let mut log = fixture.create();
    fill(&mut log, 50);
    log.close_clean(now(0)).unwrap();
    let kept = super::lookups::contents_of(&fixture, "00000000000000000012.log");
    drop(log);
    for name in [
        "00000000000000000900.log.deleted",
        "00000000000000000900.index.deleted",
        "00000000000000000033.log.cleaned",
        "00000000000000000033.log.swap",
        "00000000000000000777.timeindex",
        "unknown.file",
    ] {
        super::lookups::write(&fixture, name, b"rubbish");
    }
    // A swap below the unfinished one is complete: it replaces what it covers.
    super::lookups::write(&fixture, "00000000000000000012.log.swap", &kept);
    let (log, report) = fixture.open(&fixture.context());
    assert_eq!(report.swapped, ["00000000000000000012.log"]);
    assert_eq!(report.removed.len(), 5 + 3);
    assert_eq!(read_all(&log, 0), expected(0, 50));
    assert!(fixture.names().contains(&"unknown.file".to_owned()));
    let stages = [".deleted", ".cleaned", ".swap"];
    assert!(!fixture.names().iter().any(|name| stages.iter().any(|s| name.ends_with(s))));
}

/// Open files are the cache's, not the partitions': also right after a start that examined them.
#[cfg(target_os = "linux")]
#[test]
fn an_unclean_start_leaves_no_more_files_open_than_the_cache_holds() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let fs: Arc<dyn FileSystem> = Arc::new(crate::fs::os::OsFileSystem::new());
    let open_here = || {
        let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        all.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.starts_with(&root))).count()
    };
    const CACHED: usize = 8;
    let resources = LogResources::new(CACHED, 1 << 20);
    let ctx = OpenContext::new(now(1_000), resources);
    let settings = LogSettings { segment_bytes: 1_000, ..LogSettings::default() };
    let mut logs = Vec::new();
    for number in 0..16 {
        let dir = root.join(format!("topic-{number}"));
        let mut log = PartitionLog::create(Arc::clone(&fs), dir, settings.clone(), &ctx).unwrap();
        fill(&mut log, 20);
        log.flush_now().unwrap();
        logs.push(log);
    }
    assert!(open_here() <= CACHED, "{} files are open", open_here());
    drop(logs);
    let mut logs = Vec::new();
    for number in 0..16 {
        let dir = root.join(format!("topic-{number}"));
        let (mut log, report) =
            PartitionLog::open(Arc::clone(&fs), dir, settings.clone(), &ctx).unwrap();
        assert!(report.scanned_bytes > 0);
        log.flush_now().unwrap();
        logs.push(log);
    }
    assert!(open_here() <= CACHED, "{} files are open after an unclean start", open_here());
    assert!(open_here() > 0);
}
