//! Opening, refusing, marking and failing of log directories.

use super::*;
use crate::fs::OpenMode;
use crate::fs::sim::{SimFileSystem, SimOptions};
use ottla_protocol::model::Offset;

fn identity(cluster: Option<&str>, node: i32) -> DirIdentity {
    DirIdentity {
        cluster_id: cluster.map(str::to_owned),
        node_id: NodeId(node),
        new_directory_id: Uuid::from_u128(99),
        new_cluster_id: "fresh".to_owned(),
    }
}

fn simulated(seed: u64) -> (SimFileSystem, Arc<dyn FileSystem>) {
    let sim = SimFileSystem::new(seed, SimOptions::default());
    (sim.clone(), Arc::new(sim))
}

fn open(fs: &Arc<dyn FileSystem>, identity: &DirIdentity) -> Result<LogDir, LogDirError> {
    LogDir::open(Arc::clone(fs), "/var/ottla".into(), identity)
}

#[test]
fn an_empty_directory_is_marked_and_survives_a_crash() {
    for seed in 0..20 {
        let (sim, fs) = simulated(seed);
        let dir = open(&fs, &identity(None, 3)).unwrap();
        assert_eq!(dir.meta().cluster_id, "fresh");
        assert_eq!(dir.was_clean(), None);
        sim.crash();
        let again = DirIdentity { new_directory_id: Uuid::from_u128(7), ..identity(None, 3) };
        let dir = open(&fs, &again).unwrap();
        assert_eq!(dir.directory_id(), Uuid::from_u128(99), "seed {seed}: its id stays");
    }
}

#[test]
fn another_clusters_or_nodes_directory_is_refused_by_name() {
    let (_, fs) = simulated(1);
    drop(open(&fs, &identity(Some("ours"), 3)).unwrap());
    let error = open(&fs, &identity(Some("theirs"), 3)).unwrap_err().to_string();
    assert!(error.contains("ours") && error.contains("theirs"), "{error}");
    let error = open(&fs, &identity(Some("ours"), 4)).unwrap_err();
    assert!(matches!(error, LogDirError::OtherNode { found: NodeId(3), wanted: NodeId(4), .. }));
    drop(open(&fs, &identity(Some("ours"), 3)).unwrap());
}

#[test]
fn a_directory_is_used_by_one_process() {
    let (_, fs) = simulated(2);
    let held = open(&fs, &identity(None, 0)).unwrap();
    assert!(matches!(open(&fs, &identity(None, 0)), Err(LogDirError::InUse { .. })));
    drop(held);
    open(&fs, &identity(None, 0)).unwrap();
}

#[test]
fn partitions_without_an_identity_are_refused() {
    let (_, fs) = simulated(3);
    fs.create_dir_all(Path::new("/var/ottla/orders-0")).unwrap();
    let error = open(&fs, &identity(None, 0)).unwrap_err();
    assert!(matches!(error, LogDirError::NoIdentity { .. }), "{error}");
    assert!(!fs.exists(Path::new("/var/ottla/meta.properties")).unwrap());
}

#[test]
fn a_clean_shutdown_is_believed_once() {
    for seed in 0..20 {
        let (sim, fs) = simulated(seed);
        let dir = open(&fs, &identity(None, 0)).unwrap();
        dir.mark_clean_shutdown(41).unwrap();
        sim.crash();
        let dir = open(&fs, &identity(None, 0)).unwrap();
        assert_eq!(dir.was_clean(), Some(CleanShutdown { broker_epoch: Some(41) }));
        sim.crash();
        assert_eq!(open(&fs, &identity(None, 0)).unwrap().was_clean(), None, "seed {seed}");
    }
}

#[test]
fn a_power_cut_is_told_from_a_kill() {
    for seed in 0..20 {
        let (sim, fs) = simulated(seed);
        assert!(!open(&fs, &identity(None, 0)).unwrap().machine_restarted(), "it is new");
        sim.kill_process();
        assert!(!open(&fs, &identity(None, 0)).unwrap().machine_restarted(), "seed {seed}");
        sim.crash();
        assert!(open(&fs, &identity(None, 0)).unwrap().machine_restarted(), "seed {seed}");
        sim.kill_process();
        let dir = open(&fs, &identity(None, 0)).unwrap();
        assert!(dir.machine_restarted(), "seed {seed}: nobody recovered the logs");
        dir.note_recovered().unwrap();
        sim.kill_process();
        assert!(!open(&fs, &identity(None, 0)).unwrap().machine_restarted(), "seed {seed}");
        sim.crash();
        assert!(open(&fs, &identity(None, 0)).unwrap().machine_restarted(), "seed {seed}");
    }
}

#[test]
fn contents_are_told_apart() {
    let (_, fs) = simulated(4);
    let dir = open(&fs, &identity(None, 0)).unwrap();
    let gone = FolderName::in_stage(
        TopicPartition::new("old", 1),
        FolderStage::Deleting,
        Uuid::from_u128(1),
    );
    for name in ["orders-0", "orders-10", "lost+found", &gone.text()] {
        fs.create_dir_all(&dir.path().join(name)).unwrap();
    }
    fs.open(&dir.path().join("a-file-0"), OpenMode::Create).unwrap();
    let found = dir.scan().unwrap();
    let names: Vec<FolderName> = found.folders.iter().map(|folder| folder.name.clone()).collect();
    let orders = |partition| FolderName::live(TopicPartition::new("orders", partition));
    assert_eq!(names, [gone, orders(0), orders(10)]);
    assert_eq!(found.folders[1].path, dir.partition_path(&orders(0).partition));
    assert_eq!(found.unknown, ["lost+found"]);
}

#[test]
fn an_offline_directory_promises_nothing() {
    let (_, fs) = simulated(5);
    let dir = open(&fs, &identity(None, 0)).unwrap();
    let offsets: PartitionOffsets = [(TopicPartition::new("t", 0), Offset(5))].into();
    dir.write_checkpoint(CheckpointKind::RecoveryPoint, &offsets).unwrap();
    assert!(dir.health().go_offline("fsync failed"));
    assert!(!dir.health().go_offline("later"));
    assert_eq!(dir.health().reason(), Some("fsync failed"));
    assert!(dir.mark_clean_shutdown(0).is_err());
    assert!(dir.write_checkpoint(CheckpointKind::RecoveryPoint, &offsets).is_err());
    assert_eq!(dir.read_checkpoint(CheckpointKind::RecoveryPoint).unwrap(), offsets);
}

#[test]
fn a_directory_that_kafka_wrote_opens() {
    let folder = tempfile::tempdir().unwrap();
    let source = crate::oracle_records().join("data-directory");
    for entry in std::fs::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let fs: Arc<dyn FileSystem> = Arc::new(crate::fs::OsFileSystem::new());
    let ours = identity(Some("7y5emp0fRoqbzX9AJLtOUw"), 0);
    let dir = LogDir::open(Arc::clone(&fs), folder.path().to_owned(), &ours).unwrap();
    assert_eq!(dir.read_checkpoint(CheckpointKind::RecoveryPoint).unwrap().len(), 33);
    assert!(dir.space().unwrap().available > 0);
}

#[test]
fn a_failed_sync_is_told_to_the_next_start() {
    let (_sim, fs) = simulated(1);
    let dir = open(&fs, &identity(None, 0)).unwrap();
    assert!(dir.health().sync_failed("EIO"), "it goes offline");
    drop(dir);
    let dir = open(&fs, &identity(None, 0)).unwrap();
    assert!(dir.machine_restarted(), "the machine was not, but blocks may be missing as if it was");
    dir.note_recovered().unwrap();
    drop(dir);
    assert!(!open(&fs, &identity(None, 0)).unwrap().machine_restarted());

    let dir = open(&fs, &identity(None, 0)).unwrap();
    assert!(dir.health().go_offline("EIO of a read"));
    drop(dir);
    assert!(!open(&fs, &identity(None, 0)).unwrap().machine_restarted(), "nothing was dropped");
}
