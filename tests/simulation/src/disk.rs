//! A host's disk: the storage crate's simulated file system, flushed in simulated time.
//!
//! Owns: when syncs run and how long they take, power cuts in the middle of a call. Never: what a crash
//! keeps (see `ottla_storage::fs::sim`).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ottla_storage::flush::{FlushCoordinator, SyncPolicy};
use ottla_storage::fs::sim::{Fault, FaultRates, LostBlocks, Op, OpMatcher};
use ottla_storage::fs::{
    DirEntry, DiskId, DiskSpace, File, FileSystem, LockGuard, OpenMode, SimFileSystem, SimOptions,
};
use parking_lot::Mutex;

use crate::random::Random;

/// How a disk behaves for now.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// A flush takes at least and at most this long.
    pub sync_millis_min: u64,
    pub sync_millis_max: u64,
}

impl Default for Manner {
    fn default() -> Self {
        Self { sync_millis_min: 0, sync_millis_max: 4 }
    }
}

/// What a power cut leaves of blocks that were not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Survival {
    /// Any of them, torn or whole: later ones may survive where earlier ones do not.
    AnySubset,
    AllOrNothing,
}

#[derive(Debug)]
struct Shared {
    sim: SimFileSystem,
    random: Mutex<Random>,
    manner: Mutex<Manner>,
    shipped: AtomicU64,
    noticing_since: Mutex<Duration>,
}

/// One host's disk; clones are the same.
#[derive(Clone, Debug)]
pub struct HostDisk {
    shared: Arc<Shared>,
}

impl HostDisk {
    #[must_use]
    pub fn new(random: &mut Random, survival: Survival) -> Self {
        let lost_blocks = if random.one_in(2) { LostBlocks::Zeros } else { LostBlocks::Garbage };
        let keeps = match survival {
            // Some disks lose nearly everything, others nearly nothing.
            Survival::AnySubset => [50_000, 500_000, 950_000],
            Survival::AllOrNothing => [0, 0, 1_000_000],
        };
        let keep = keeps[random.below(3) as usize];
        let options = SimOptions {
            block_bytes: if random.one_in(2) { 512 } else { 4096 },
            keep_block_per_million: keep,
            torn_block_per_million: if survival == Survival::AnySubset { 200_000 } else { 0 },
            keep_name_per_million: [50_000, 500_000, 950_000][random.below(3) as usize],
            lost_blocks,
            trace_lines: 0,
            ..SimOptions::default()
        };
        let sim = SimFileSystem::new(random.next(), options);
        let (random, manner) = (Mutex::new(random.split()), Mutex::default());
        let (shipped, noticing_since) = (AtomicU64::new(0), Mutex::default());
        Self { shared: Arc::new(Shared { sim, random, manner, shipped, noticing_since }) }
    }

    /// Looks out for the next write to a file whose path has this in it, which [`Self::has_noticed`] tells.
    pub fn notice_write(&self, part: &str) {
        self.shared.sim.clear_faults();
        *self.shared.noticing_since.lock() = self.shared.sim.elapsed();
        // The one fault that changes nothing but the disk's own clock.
        let fault = Fault::Slow(Duration::from_millis(1));
        self.shared.sim.fault_next(OpMatcher::op(Op::Write).on(part), fault);
    }

    #[must_use]
    pub fn has_noticed(&self) -> bool {
        self.shared.sim.elapsed() > *self.shared.noticing_since.lock()
    }

    /// How many logs took the place of another that they came to replace.
    #[must_use]
    pub fn shipped(&self) -> u64 {
        self.shared.shipped.load(Ordering::Relaxed)
    }

    /// The disk that loses, tears and fails.
    #[must_use]
    pub fn sim(&self) -> &SimFileSystem {
        &self.shared.sim
    }

    pub fn set_manner(&self, manner: Manner) {
        *self.shared.manner.lock() = manner;
    }

    /// The power goes during one of the next calls; [`Self::has_power`] tells when it is gone.
    pub fn cut_power_soon(&self, within_calls: u64) {
        let call = self.shared.sim.calls() + self.shared.random.lock().below(within_calls);
        self.shared.sim.power_off_at(call);
    }

    #[must_use]
    pub fn has_power(&self) -> bool {
        self.shared.sim.exists(Path::new("/")).is_ok()
    }

    /// No more faults but what a crash does.
    pub fn heal(&self) {
        self.shared.sim.power_off_at(u64::MAX);
        self.shared.sim.clear_faults();
        self.shared.sim.set_rates(FaultRates::default());
        self.shared.sim.set_capacity(u64::MAX);
        self.set_manner(Manner::default());
    }

    fn next_sync(&self) -> Duration {
        let manner = *self.shared.manner.lock();
        let span = manner.sync_millis_max.saturating_sub(manner.sync_millis_min);
        let more = self.shared.random.lock().below(span * 1000);
        Duration::from_micros(300 + manner.sync_millis_min * 1000 + more)
    }
}

/// Flushes what waits, each time after as long as a sync takes on this disk. Ends with the host.
async fn flush(disk: HostDisk, coordinator: FlushCoordinator) {
    loop {
        if coordinator.waiting() > 0 {
            tokio::time::sleep(disk.next_sync()).await;
            coordinator.flush_pending();
        } else {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl FileSystem for HostDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.shared.sim.open(path, mode)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.shared.sim.create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.shared.sim.rename(from, to)?;
        if from.to_str().is_some_and(|name| name.ends_with("-future")) {
            self.shared.shipped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.shared.sim.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.shared.sim.remove_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.shared.sim.list(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.shared.sim.exists(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.shared.sim.sync_dir(path)
    }

    fn sync_disk(&self, path: &Path) -> io::Result<()> {
        self.shared.sim.sync_disk(path)
    }

    fn disk_id(&self, path: &Path) -> io::Result<DiskId> {
        self.shared.sim.disk_id(path)
    }

    fn space(&self, path: &Path) -> io::Result<DiskSpace> {
        self.shared.sim.space(path)
    }

    fn flusher(&self, path: &Path) -> Option<FlushCoordinator> {
        let (fs, disk): (Arc<dyn FileSystem>, PathBuf) = (Arc::new(self.clone()), path.to_owned());
        let coordinator = FlushCoordinator::manual(fs, disk, SyncPolicy::default());
        tokio::spawn(flush(self.clone(), coordinator.clone()));
        Some(coordinator)
    }

    fn boot_id(&self) -> Option<String> {
        self.shared.sim.boot_id()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        self.shared.sim.lock(path)
    }
}
