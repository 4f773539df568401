//! What Kafka received, appended to our log: the files are Kafka's, byte for byte.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::model::Uuid;
use ottla_protocol::records::BatchIter;
use ottla_storage::fs::FileSystem;
use ottla_storage::fs::memory::MemoryFileSystem;
use ottla_storage::{LogSettings, OpenContext, PartitionLog};

use super::{DIR, context, now, read};

/// Appends the sample's batches, rolling where Kafka rolled, and closes.
fn replay(sample: &str, index_interval_bytes: u32) -> (Arc<MemoryFileSystem>, Vec<String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/records").join(sample);
    let metadata = std::fs::read_to_string(folder.join("partition.metadata")).unwrap();
    let topic_id = ottla_storage::partition_metadata::parse(&metadata).unwrap();
    assert_ne!(topic_id, Uuid::nil());
    let fs = Arc::new(MemoryFileSystem::new());
    let handle: Arc<dyn FileSystem> = fs.clone();
    let settings = LogSettings { index_interval_bytes, ..LogSettings::default() };
    let ctx = OpenContext { topic_id, ..context() };
    let mut log = PartitionLog::create(handle, DIR.into(), settings, &ctx).unwrap();
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for name in names.iter().filter(|name| name.ends_with(".log")) {
        log.roll(now()).unwrap();
        let bytes = Bytes::from(std::fs::read(folder.join(name)).unwrap());
        // One by one, as they came: indexes have an entry per append at most.
        for batch in BatchIter::new(&bytes) {
            let batch = bytes.slice_ref(batch.unwrap().bytes());
            log.append_as_follower(&batch, now()).unwrap();
        }
    }
    log.close_clean(now()).unwrap();
    names.retain(|name| name != "dump.txt");
    (fs, names)
}

#[test]
fn the_same_batches_make_the_same_files() {
    for (sample, interval) in [
        ("transactions-0", 0),
        ("indexed-0", 256),
        ("codec-none-0", 4096),
        ("codec-zstd-0", 4096),
        ("append-time-0", 4096),
        ("__transaction_state-7", 4096),
    ] {
        let (fs, names) = replay(sample, interval);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/records").join(sample);
        for name in names {
            let mut ours = read(&*fs, &name);
            let mut kafkas = std::fs::read(folder.join(&name)).unwrap();
            if name.ends_with(".snapshot") && ours.len() > kafkas.len() {
                // Ours remembers more batches than the last, behind Kafka's entries.
                ours.truncate(kafkas.len());
                ours[2..6].fill(0);
                kafkas[2..6].fill(0);
            }
            assert!(ours == kafkas, "{sample}/{name}:\n{ours:02x?}\n{kafkas:02x?}");
        }
    }
}
