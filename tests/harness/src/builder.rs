//! What a cluster is made of: topics, settings, where data lives, the seed.
//!
//! Owns: the defaults that suit tests, on top of the broker's own. Never: changes a rule of the
//! broker; every default here is a setting that anyone may set.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ottla_broker::clock::{Clock, Sleep, SystemClock, TimeSource};
use ottla_broker::host::Host;
use ottla_broker::{BrokerOptions, Storage};
use ottla_config::loader::{self, Sources};
use ottla_protocol::model::{MonoTime, Now, Timestamp};
use ottla_storage::fs::FileSystem;
use ottla_storage::fs::memory::MemoryFileSystem;
use ottla_storage::fs::os::OsFileSystem;
use tempfile::TempDir;

use crate::cluster::TestCluster;
use crate::error::HarnessError;

/// Settings that differ from production, each because tests would wait or idle otherwise.
const DEFAULTS: [(&str, &str); 6] = [
    ("listeners", "PLAINTEXT://127.0.0.1:0"),
    // No HTTP port unless it is asked for.
    ("ottla.http.listener", ""),
    // Kafka waits three seconds for more members; every wrapper of every language sets this.
    ("group.initial.rebalance.delay.ms", "0"),
    ("group.min.session.timeout.ms", "100"),
    ("offsets.topic.num.partitions", "1"),
    ("offsets.topic.replication.factor", "1"),
];

/// Where the broker's files are.
#[derive(Debug)]
enum Place {
    Memory,
    Temporary,
    Directory(PathBuf),
    Custom(Arc<dyn FileSystem>, Vec<PathBuf>),
}

/// A topic to be made before the cluster is handed out.
#[derive(Debug, Clone)]
pub struct TopicBuilder {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    pub(crate) replicas: i16,
    pub(crate) configs: Vec<(String, String)>,
}

impl TopicBuilder {
    /// How many partitions; one where nobody says so.
    #[must_use]
    pub fn partitions(mut self, partitions: i32) -> Self {
        self.partitions = partitions;
        self
    }

    /// How many replicas; one where nobody says so.
    #[must_use]
    pub fn replicas(mut self, replicas: i16) -> Self {
        self.replicas = replicas;
        self
    }

    /// A topic setting under Kafka's name.
    #[must_use]
    pub fn config(mut self, key: &str, value: &str) -> Self {
        self.configs.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Keeps the newest record of each key (`cleanup.policy=compact`).
    #[must_use]
    pub fn compacted(self) -> Self {
        self.config("cleanup.policy", "compact")
    }
}

/// Makes a [`TestCluster`]; in memory and without topics unless told otherwise.
#[derive(Debug)]
pub struct Builder {
    topics: Vec<TopicBuilder>,
    settings: Vec<String>,
    /// By broker, after those of all.
    own_settings: Vec<(u16, String)>,
    place: Place,
    seed: Option<u64>,
    brokers: u16,
    /// A broker whose clock is ahead.
    ahead: Option<(u16, Duration)>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        let place = Place::Memory;
        Self {
            topics: Vec::new(),
            settings: Vec::new(),
            own_settings: Vec::new(),
            place,
            seed: None,
            brokers: 1,
            ahead: None,
        }
    }

    /// How many brokers, which form one cluster: node ids 1 and up, each with data of its own.
    #[must_use]
    pub fn brokers(mut self, brokers: u16) -> Self {
        self.brokers = brokers.max(1);
        self
    }

    /// A topic that exists, with leaders, when the cluster is ready.
    #[must_use]
    pub fn topic(self, name: &str, partitions: i32) -> Self {
        self.topic_with(name, |topic| topic.partitions(partitions))
    }

    /// A topic with settings of its own.
    #[must_use]
    pub fn topic_with(
        mut self,
        name: &str,
        make: impl FnOnce(TopicBuilder) -> TopicBuilder,
    ) -> Self {
        let topic =
            TopicBuilder { name: name.to_owned(), partitions: 1, replicas: 1, configs: Vec::new() };
        self.topics.push(make(topic));
        self
    }

    /// A broker setting under Kafka's name, as on `ottla serve --set`. A later one wins.
    #[must_use]
    pub fn config(mut self, key: &str, value: &str) -> Self {
        self.settings.push(format!("{key}={value}"));
        self
    }

    /// A setting of one broker, by its node id.
    #[must_use]
    pub fn config_of(mut self, node: u16, key: &str, value: &str) -> Self {
        self.own_settings.push((node, format!("{key}={value}")));
        self
    }

    /// Keeps logs in memory; the default.
    #[must_use]
    pub fn memory(mut self) -> Self {
        self.place = Place::Memory;
        self
    }

    /// Keeps logs in a temporary directory, which goes with the cluster. After a panic it stays, and
    /// its path is printed.
    #[must_use]
    pub fn disk(mut self) -> Self {
        self.place = Place::Temporary;
        self
    }

    /// Keeps logs in a directory of the caller's, which stays.
    #[must_use]
    pub fn data_dir(mut self, directory: &Path) -> Self {
        self.place = Place::Directory(directory.to_owned());
        self
    }

    /// Keeps logs in these directories of a file system of the caller's, such as a simulated disk; of
    /// several brokers each has a folder in every one.
    #[must_use]
    pub fn file_system(mut self, fs: Arc<dyn FileSystem>, log_dirs: &[&str]) -> Self {
        self.place = Place::Custom(fs, log_dirs.iter().map(PathBuf::from).collect());
        self
    }

    /// Decides what the broker would draw at random: topic ids, member ids, the cluster id.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets the wall clock of one broker ahead of the others'.
    #[must_use]
    pub fn clock_ahead(mut self, node: u16, by: Duration) -> Self {
        self.ahead = Some((node, by));
        self
    }

    /// Starts the cluster and waits until it is ready.
    ///
    /// # Errors
    /// A refused setting or topic, or whatever keeps the broker from starting.
    pub async fn start(self) -> Result<TestCluster, HarnessError> {
        TestCluster::launch(self.plan()?).await
    }

    /// As [`Builder::start`], for code without an async runtime.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub fn start_blocking(self) -> Result<crate::blocking::TestCluster, HarnessError> {
        crate::blocking::TestCluster::launch(self.plan()?)
    }

    fn plan(self) -> Result<Plan, HarnessError> {
        let (temporary, directories) = match &self.place {
            Place::Memory => (None, vec![PathBuf::from("/ottla")]),
            Place::Directory(path) => (None, vec![path.clone()]),
            Place::Custom(_, directories) => (None, directories.clone()),
            Place::Temporary => {
                let temporary = tempfile::Builder::new().prefix("ottla-test-").tempdir()?;
                let path = temporary.path().to_owned();
                (Some(temporary), vec![path])
            }
        };
        let controllers = if self.brokers > 1 { free_addresses(self.brokers)? } else { Vec::new() };
        let options = (1..=self.brokers)
            .map(|node| self.options(node, &directories, &controllers))
            .collect::<Result<_, _>>()?;
        Ok(Plan { options, topics: self.topics, temporary })
    }

    fn options(
        &self,
        node: u16,
        directories: &[PathBuf],
        controllers: &[SocketAddr],
    ) -> Result<BrokerOptions, HarnessError> {
        let fs: Arc<dyn FileSystem> = match &self.place {
            Place::Custom(fs, _) => Arc::clone(fs),
            Place::Memory => Arc::new(MemoryFileSystem::new()),
            Place::Directory(_) | Place::Temporary => Arc::new(OsFileSystem::new()),
        };
        let mut settings: Vec<String> =
            DEFAULTS.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut directories = directories.to_vec();
        if let Some(own) = controllers.get(usize::from(node) - 1) {
            directories.iter_mut().for_each(|path| path.push(node.to_string()));
            let voters: Vec<String> =
                (1..).zip(controllers).map(|(id, at): (u16, _)| format!("{id}@{at}")).collect();
            settings.extend([
                format!("node.id={node}"),
                format!("listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://{own}"),
                "controller.listener.names=CONTROLLER".to_owned(),
                format!("controller.quorum.voters={}", voters.join(",")),
                "offsets.topic.replication.factor=3".to_owned(),
            ]);
        }
        let directories: Vec<_> =
            directories.iter().map(|path| path.display().to_string()).collect();
        settings.push(format!("log.dirs={}", directories.join(",")));
        settings.extend(self.settings.clone());
        let own = self.own_settings.iter().filter(|(of, _)| *of == node);
        settings.extend(own.map(|(_, setting)| setting.clone()));
        let loaded = loader::load(&Sources { settings, ..Sources::default() })?;
        Ok(BrokerOptions {
            config: loaded.layers(),
            storage: Storage::Custom(fs),
            seed: self.seed.map(|seed| seed.wrapping_add(u64::from(node) << 32)),
            clock: self.ahead.filter(|(of, _)| *of == node).map(|(_, by)| Ahead::clock(by)),
            host: Host::System,
        })
    }
}

/// The machine's clocks, the wall clock ahead.
#[derive(Debug)]
struct Ahead(Clock, i64);

impl Ahead {
    fn clock(by: Duration) -> Clock {
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        Arc::new(Self(SystemClock::shared(), millis))
    }
}

impl TimeSource for Ahead {
    fn now(&self) -> Now {
        let now = self.0.now();
        Now { wall: Timestamp(now.wall.0.saturating_add(self.1)), ..now }
    }

    fn sleep_until(&self, deadline: MonoTime) -> Sleep {
        self.0.sleep_until(deadline)
    }
}

/// Addresses that nobody uses now, for listeners that others must know beforehand.
fn free_addresses(count: u16) -> std::io::Result<Vec<SocketAddr>> {
    let bound = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<std::io::Result<Vec<TcpListener>>>()?;
    bound.iter().map(TcpListener::local_addr).collect()
}

/// Everything that a start needs, and a restart again.
#[derive(Debug)]
pub(crate) struct Plan {
    /// By broker.
    pub(crate) options: Vec<BrokerOptions>,
    pub(crate) topics: Vec<TopicBuilder>,
    pub(crate) temporary: Option<TempDir>,
}
