//! A Kafka of today writes under its own clients, is killed, and our log opens what it left.

use std::path::{Path, PathBuf};
use std::process::Command;

use ottla_protocol::model::Offset;
use ottla_storage::{OpenContext, Shutdown};

use super::dump::kit;
use super::{batches, context, copy, dumped_batches, open};

/// A Kafka that is killed when the test ends, however it ends.
struct Kafka {
    kit: PathBuf,
    dir: PathBuf,
    bootstrap: String,
}

impl Kafka {
    fn start(kit: &Path, dir: &Path) -> Self {
        let settings = [
            "num.partitions=1",
            "log.segment.bytes=1048576",
            "log.index.interval.bytes=512",
            "offsets.topic.num.partitions=1",
            "transaction.state.log.num.partitions=1",
        ];
        let dir = dir.to_path_buf();
        let mut kafka = Self { kit: kit.to_path_buf(), dir, bootstrap: String::new() };
        let folder = kafka.dir.to_str().unwrap().to_owned();
        let mut args = vec!["start", "--dir", &folder, "--heap", "384m"];
        args.extend(settings.iter().flat_map(|setting| ["--set", *setting]));
        let text = kafka.run(&args);
        let (_, rest) = text.split_once("\"bootstrap\": \"").unwrap();
        kafka.bootstrap = rest.split('"').next().unwrap().to_owned();
        kafka
    }

    fn run(&self, args: &[&str]) -> String {
        let output = Command::new("python3").arg(&self.kit).args(args).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {text}\n{errors}");
        text
    }

    fn produce(&self, topic: &str, properties: &[&str], more: &[&str]) {
        let mut args = vec!["tool", "kafka-producer-perf-test", "--topic", topic];
        args.extend(["--num-records", "3000", "--record-size", "1000", "--throughput", "-1"]);
        args.extend(more);
        let bootstrap = format!("bootstrap.servers={}", self.bootstrap);
        args.extend(["--producer-props", &bootstrap]);
        args.extend(properties);
        self.run(&args);
    }

    fn kill(&self) {
        for pid in self.run(&["pids", self.dir.to_str().unwrap()]).split_whitespace() {
            Command::new("kill").args(["-9", pid]).status().unwrap();
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let dir = self.dir.as_os_str();
        let _ = Command::new("python3").arg(&self.kit).arg("stop").arg(dir).output();
    }
}

/// The partition folders of a data directory.
fn folders(data: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> =
        entries.filter(|path| path.join("partition.metadata").exists()).collect();
    folders.sort();
    folders
}

/// What Kafka's dump says of a folder's segments.
fn kafkas_batches(kafka: &Kafka, folder: &Path) -> Vec<(i64, i64, i64)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<String> = entries
        .filter(|path| path.extension().is_some_and(|of| of == "log"))
        .map(|path| path.to_str().unwrap().to_owned())
        .collect();
    logs.sort();
    dumped_batches(&kafka.run(&["tool", "kafka-dump-log", "--files", &logs.join(",")]))
}

#[test]
fn what_a_killed_kafka_left_opens() {
    let Some(kit) = kit() else {
        eprintln!("no Kafka kit here (OTTLA_KAFKA_KIT): no Kafka was killed");
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let kafka = Kafka::start(&kit, root.path());
    kafka.produce("plain", &["acks=all"], &[]);
    kafka.produce("packed", &["compression.type=zstd", "enable.idempotence=false"], &[]);
    kafka.produce("decided", &["transactional.id=x"], &["--transaction-duration-ms", "20"]);
    kafka.kill();

    let mut segments = 0;
    let mut topics = Vec::new();
    for folder in folders(&root.path().join("node-0/data")) {
        let wanted = kafkas_batches(&kafka, &folder);
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        for shutdown in [Shutdown::Unclean, Shutdown::Clean] {
            let fs = copy(&folder);
            let log = open(&fs, &OpenContext { shutdown, ..context() });
            assert_eq!(batches(&log), wanted, "{name}, {shutdown:?}");
            let end = wanted.last().map_or(Offset::ZERO, |last| Offset(last.1 + 1));
            assert_eq!(log.log_end(), end, "{name}, {shutdown:?}");
            log.validate().unwrap();
            segments += log.segment_count();
        }
        topics.push(name);
    }
    for topic in ["plain-0", "packed-0", "decided-0", "__transaction_state-0"] {
        assert!(topics.iter().any(|name| name == topic), "{topic} in {topics:?}");
    }
    assert!(segments > 2 * topics.len(), "{segments} of {topics:?}: none was rolled");
}
