//! Random histories of a compacted log: append, roll, flush, clean, faults, kills and power cuts.
//!
//! Owns: what may be missing after each. `OTTLA_CLEAN_SEED=17` replays one history,
//! `OTTLA_CLEAN_SEEDS=1000000` runs as many as there is time for.

use ottla_protocol::model::{Offset, ProducerEpoch, ProducerId};
use ottla_storage::checkpoint::CheckpointKind;
use ottla_storage::fs::sim::{
    DiskError, FailedSyncReads, FaultRates, LostBlocks, Op, OpMatcher, SimOptions, SimRandom,
};
use ottla_storage::{CleanupPolicy, LogHealth, LogSettings, PartitionLog, Shutdown};

use super::model::{Model, Record};
use super::world::{World, plain};

const PRODUCERS: usize = 3;

struct History {
    world: World,
    random: SimRandom,
    log: PartitionLog,
    model: Model,
    /// What each producer sends next.
    sequences: [i32; PRODUCERS],
}

/// Says how to replay a history that fails, and what its disk did last.
struct Replay(u64, ottla_storage::fs::SimFileSystem);

impl Drop for Replay {
    #[allow(clippy::print_stderr, reason = "a failing test says how to replay it")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in self.1.trace() {
                eprintln!("{line}");
            }
            let seed = self.0;
            eprintln!("OTTLA_CLEAN_SEED={seed} cargo test -p ottla-storage --test simulated");
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn what_is_current_and_synced_survives_any_history() {
    if let Some(seed) = number("OTTLA_CLEAN_SEED") {
        return run(seed);
    }
    for seed in 0..number("OTTLA_CLEAN_SEEDS").unwrap_or(60) {
        run(seed);
    }
}

fn run(seed: u64) {
    let mut random = SimRandom::new(seed);
    let options = SimOptions {
        block_bytes: [512, 4096][random.below(2) as usize],
        keep_block_per_million: [0, 300_000, 700_000][random.below(3) as usize],
        keep_name_per_million: [0, 500_000, 900_000][random.below(3) as usize],
        lost_blocks: [LostBlocks::Zeros, LostBlocks::Garbage][random.below(2) as usize],
        failed_sync_reads: [FailedSyncReads::AsWritten, FailedSyncReads::AsOnDisk]
            [random.below(2) as usize],
        rates: FaultRates {
            short_read: [0, 100_000][random.below(2) as usize],
            ..FaultRates::default()
        },
        trace_lines: 120,
        ..SimOptions::default()
    };
    let settings = LogSettings {
        segment_bytes: 400 + random.below(2000) as u32,
        index_interval_bytes: 50 + random.below(400) as u32,
        cleanup: CleanupPolicy::Compact,
        ..LogSettings::default()
    };
    let world = World::new(seed, options, settings);
    let _replay = Replay(seed, world.sim.clone());
    let log = world.create();
    let model = Model::default();
    let mut history = History { world, random, log, model, sequences: [0; PRODUCERS] };
    for _ in 0..100 {
        history.step();
    }
}

impl History {
    fn step(&mut self) {
        self.world.millis += self.random.below(60) as i64;
        match self.random.below(32) {
            0..15 => self.append(),
            15..19 => self.flush(),
            19 => drop(self.log.roll(self.world.now())),
            20..24 => self.clean(),
            24 => self.checkpoint(),
            25 => self.order_fault(),
            26 => self.close_and_open(),
            27 => self.kill(),
            28 => self.crash(),
            29..31 => self.power_off_soon(),
            _ => {
                self.world.sim.clear_faults();
                self.model.check(&self.log);
            }
        }
        if self.log.health() != &LogHealth::Healthy {
            self.world.sim.clear_faults();
            // After a failed sync the page cache holds what the disk may not, and calls it clean: a
            // new process must not believe it.
            if self.random.chance(500_000) {
                self.world.sim.kill_process();
            } else {
                self.world.sim.crash();
            }
            self.recover();
        }
    }

    fn append(&mut self) {
        let count = 1 + self.random.below(4);
        let records: Vec<Record> = (0..count)
            .map(|_| Record {
                timestamp: self.world.millis - self.random.below(50) as i64,
                key: format!("key-{}", self.random.below(9)).into_bytes(),
                value: (self.random.below(5) > 0)
                    .then(|| vec![self.random.next() as u8; self.random.below(120) as usize]),
            })
            .collect();
        let producer = self.random.below(PRODUCERS as u64 + 1) as usize;
        let builder = match self.sequences.get(producer) {
            Some(sequence) => plain().with_producer(id(producer), ProducerEpoch(0), *sequence),
            None => plain(),
        };
        if let Ok(info) = self.world.append(&mut self.log, builder, &records) {
            assert!(!info.duplicate);
            if let Some(sequence) = self.sequences.get_mut(producer) {
                *sequence += records.len() as i32;
            }
            self.model.append(info.first_offset.0, records);
        }
        assert_eq!(self.log.log_end().0, self.model.end, "a failed append appends nothing");
    }

    fn flush(&mut self) {
        if self.log.flush_now().is_ok() {
            self.model.durable = self.model.end;
        }
    }

    fn clean(&mut self) {
        let from = Offset(self.random.below(self.model.cleaned as u64 + 1) as i64);
        match self.world.clean(&mut self.log, from) {
            Ok(Some(cleaned)) => self.model.cleaned = self.model.cleaned.max(cleaned.0),
            Ok(None) => {}
            // Groups may have been swapped in before it failed.
            Err(_) => self.model.cleaned = self.model.end,
        }
    }

    fn checkpoint(&mut self) {
        let point = self.log.recovery_point();
        let _ = self.world.checkpoint(CheckpointKind::RecoveryPoint, point);
    }

    fn order_fault(&mut self) {
        let error = [DiskError::Io, DiskError::NoSpace][self.random.below(2) as usize];
        let op = [Op::Write, Op::SyncData, Op::SyncDir, Op::Rename, Op::Open, Op::SetLen]
            [self.random.below(6) as usize];
        let matcher = OpMatcher::op(op).on("topic-0").after(self.random.below(4));
        self.world.sim.fail_next(matcher, error);
    }

    fn power_off_soon(&mut self) {
        self.world.sim.power_off_at(self.world.sim.calls() + self.random.below(60));
        for _ in 0..6 {
            match self.random.below(8) {
                0..2 => self.append(),
                2..4 => self.flush(),
                4 => drop(self.log.roll(self.world.now())),
                _ => self.clean(),
            }
        }
        self.crash();
    }

    fn close_and_open(&mut self) {
        self.world.sim.clear_faults();
        if self.log.close_clean(self.world.now()).is_err() {
            return self.crash();
        }
        self.model.durable = self.model.end;
        self.checkpoint();
        self.world.sim.kill_process();
        let (log, report) = self.world.open(Shutdown::Clean).expect("open");
        assert_eq!(report.damage, None);
        self.log = log;
        self.check_producers();
        self.model.check(&self.log);
    }

    /// The process dies: everything that was written is in the page cache.
    fn kill(&mut self) {
        self.world.sim.clear_faults();
        self.world.sim.kill_process();
        let (log, report) = self.world.open(Shutdown::Unclean).expect("open");
        assert_eq!((report.damage, report.torn), (None, None));
        self.log = log;
        self.check_producers();
        self.model.check(&self.log);
    }

    fn crash(&mut self) {
        self.world.sim.clear_faults();
        self.world.sim.crash();
        self.recover();
    }

    /// Opens after a loss and accepts what may be lost, and nothing more.
    fn recover(&mut self) {
        let (log, report) = self.world.open(Shutdown::Unclean).expect("open");
        self.log = log;
        let end = self.log.log_end().0;
        let (durable, appended) = (self.model.durable, self.model.end);
        assert!(
            (durable..=appended).contains(&end),
            "{durable} was synced, {appended} appended, the log ends at {end}: {report:?}"
        );
        assert_eq!(self.log.health(), &LogHealth::Healthy, "{report:?}");
        // The name of a first segment that was never synced may be gone and the second's there.
        if end == appended && self.log.log_start() == Offset::ZERO {
            self.check_producers();
        }
        // A cleaning that was under way may have got anywhere.
        self.model.cleaned = self.model.end;
        self.model.truncate(end);
        self.model.durable = durable;
        self.model.check(&self.log);
        for (index, sequence) in self.sequences.iter_mut().enumerate() {
            let entry = self.log.producers().get(id(index));
            *sequence = entry.map_or(0, |entry| entry.last_sequence() + 1);
        }
        // What recovery found is made durable before it is served.
        self.flush();
    }

    /// Every producer can go on where it was: compaction kept its last batch.
    fn check_producers(&self) {
        for (index, sequence) in self.sequences.iter().enumerate() {
            let entry = self.log.producers().get(id(index));
            let next = entry.map_or(0, |entry| entry.last_sequence() + 1);
            assert_eq!(next, *sequence, "producer {index}");
        }
    }
}

fn id(index: usize) -> ProducerId {
    ProducerId(index as i64 + 100)
}
