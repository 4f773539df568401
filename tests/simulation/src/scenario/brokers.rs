//! Whole brokers, one or more, with idempotent producers, readers and groups.
//!
//! Owns: the brokers' settings and their clients. Never: how it is judged.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ottla_broker::host::Host;
use ottla_broker::{Broker, BrokerOptions, Storage};
use ottla_config::loader::{self, Sources};
use turmoil::{Builder, Sim};

use super::{Outcome, Plan, Tally, replicas};
use crate::check::Violation;
use crate::churn::{Churn, ChurnTask};
use crate::client::{Connection, PORT};
use crate::disk::{HostDisk, Survival};
use crate::faults::{Menu, Nemesis, Node, Rhythm};
use crate::groups::MemberTask;
use crate::history::{History, Kind, Op};
use crate::network::Turmoil;
use crate::random::Random;
use crate::workload::{Desk, Keeps, ProducerTask, ReaderTask, Repeats, final_read};
use crate::world::{self, HostClock, WallSkew};

const TOPIC: &str = "log";
/// Beside it where old records go: one that is compacted.
const TABLE: &str = "table";
const PARTITIONS: i32 = 2;
const CONTROLLER_PORT: u16 = 9093;
/// After the faults everything must be done within this time.
const HEALED_WITHIN: u64 = 20_000;
/// And replicas must be equal this much later.
const EQUAL_WITHIN: u64 = 6_000;

/// What runs.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    pub brokers: i32,
    /// A consumer group commits offsets.
    pub groups: bool,
    /// A bit of partition 0 rots. Where there is one replica its clients may wait for ever, but no offset
    /// may become another record's.
    pub rot: bool,
    pub survival: Survival,
    pub churn: Churn,
    pub rhythm: Rhythm,
    pub repeats: Repeats,
    /// Topics lose old records, so that a replica that was away gets the log, not its entries.
    pub shrinks: bool,
}

impl Layout {
    /// Brokers with groups, whose disks keep all or nothing of what was not synced.
    #[must_use]
    pub const fn of(brokers: i32) -> Self {
        Self {
            brokers,
            groups: true,
            rot: false,
            survival: Survival::AllOrNothing,
            churn: Churn::Nothing,
            rhythm: Rhythm::Mixed,
            repeats: Repeats::Never,
            shrinks: false,
        }
    }

    /// The first three may vote on the metadata from the beginning.
    const fn voters(self) -> i32 {
        if self.brokers < 3 { self.brokers } else { 3 }
    }
}

/// What a broker's host is made of; a restart gets the same.
#[derive(Clone, Debug)]
struct Machine {
    id: i32,
    layout: Layout,
    disk: HostDisk,
    skew: WallSkew,
    halted: Arc<AtomicBool>,
    history: History,
    seed: u64,
}

/// Runs one seed.
#[must_use]
pub fn run(plan: &Plan, layout: Layout) -> Outcome {
    let mut random = Random::new(plan.seed);
    let mut sim = network(plan);
    let mut nodes = Vec::new();
    for id in 1..=layout.brokers {
        let node = Node::new(id, &mut random, layout.survival);
        let machine = Machine {
            id,
            layout,
            disk: node.disk.clone(),
            skew: node.skew.clone(),
            halted: Arc::clone(&node.halted),
            history: plan.history.clone(),
            seed: random.next(),
        };
        sim.host(node.name.clone(), move || serve(machine.clone()));
        nodes.push(node);
    }
    let disks: Vec<HostDisk> = nodes.iter().map(|node| node.disk.clone()).collect();
    let ids = (1..=layout.brokers).collect();
    let mut desk = Desk::new(plan.history.clone(), ids, TOPIC, PARTITIONS);
    desk.repeats = layout.repeats;
    let mut desks = vec![desk.clone()];
    if layout.shrinks {
        desks = shrinking(&desk);
    }
    let done = Rc::new(Cell::new(0));
    let clients = clients(&mut sim, &desks, &mut random, (layout, &done));
    let total = clients.len();
    let rot = layout.rot.then(|| TOPIC.to_owned());
    let rhythm = layout.rhythm;
    let menu = Menu { disks: true, clocks: true, clients, rot, rhythm };
    if layout.rot && layout.brokers == 1 {
        plan.history.rotten(TOPIC, 0);
    }
    let mut nemesis = Nemesis::new(nodes, random.split(), menu, plan.history.clone());
    let mut extra = drive(&mut sim, plan, &desk, &mut nemesis, || done.get() == total);
    if layout.rot && layout.brokers == 1 {
        extra.retain(|violation| violation.check != "liveness");
    }
    if extra.is_empty() && layout.brokers > 1 {
        extra = equal(&mut sim, &desks, &disks);
    }
    extra.extend(world::panics());
    let shipped = disks.iter().map(HostDisk::shipped).sum();
    let disks = disks.iter().map(|disk| disk.sim().trace_hash()).collect();
    let (crashes, faults) = (nemesis.crashes, nemesis.faults);
    Outcome::of(plan, Tally { crashes, faults, shipped, disks, extra })
}

/// Topics that lose old records: one by size, one that is compacted.
fn shrinking(desk: &Desk) -> Vec<Desk> {
    for partition in 0..PARTITIONS {
        // Retention may delete anything.
        let (topic, before) = (TOPIC.to_owned(), i64::MAX);
        let op = Op::DeleteRecords { topic, partition, before };
        desk.history.record("retention", Kind::Invoke, op);
    }
    desk.history.record("cleaner", Kind::Info, Op::Compacted { topic: TABLE.to_owned() });
    vec![desk.beside(TOPIC, PARTITIONS, Keeps::Newest), desk.beside(TABLE, 1, Keeps::Latest)]
}

/// A network with the seed's latencies.
fn network<'a>(plan: &Plan) -> Sim<'a> {
    let mut builder = Builder::new();
    builder
        .simulation_duration(Duration::from_secs(100_000))
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(6))
        .tcp_capacity(65_536)
        .rng_seed(plan.seed)
        .enable_random_order();
    builder.build()
}

/// Faults for the plan's time, then none until all clients are done, which must not take long.
fn drive(
    sim: &mut Sim<'_>,
    plan: &Plan,
    desk: &Desk,
    nemesis: &mut Nemesis,
    done: impl Fn() -> bool,
) -> Vec<Violation> {
    for now in 0..plan.millis + HEALED_WITHIN {
        if now < plan.millis {
            nemesis.step(sim, now);
        } else if now == plan.millis {
            nemesis.heal(sim);
            desk.finish();
        } else if done() {
            return Vec::new();
        } else {
            nemesis.supervise(sim, now);
        }
        if let Err(stopped) = step(sim) {
            return vec![stopped];
        }
    }
    let what = format!("not everything was done {HEALED_WITHIN} ms after the last fault");
    vec![Violation { check: "liveness", what }]
}

fn step(sim: &mut Sim<'_>) -> Result<(), Violation> {
    world::set_elapsed(sim.elapsed());
    match sim.step() {
        Ok(_) => Ok(()),
        Err(error) => Err(Violation { check: "run", what: error.to_string() }),
    }
}

fn partitions(desks: &[Desk]) -> impl Iterator<Item = (&Desk, i32)> {
    desks.iter().flat_map(|desk| (0..desk.partitions).map(move |partition| (desk, partition)))
}

/// Goes on until every replica holds all that is committed; writes down what each of them holds.
fn equal(sim: &mut Sim<'_>, desks: &[Desk], disks: &[HostDisk]) -> Vec<Violation> {
    let mut missing = Vec::new();
    for _ in 0..EQUAL_WITHIN / 200 {
        for _ in 0..200 {
            if let Err(stopped) = step(sim) {
                return vec![stopped];
            }
        }
        missing =
            partitions(desks).filter_map(|(desk, p)| replicas::missing(desk, disks, p)).collect();
        if missing.is_empty() {
            break;
        }
    }
    for (desk, partition) in partitions(desks) {
        replicas::record(desk, disks, partition);
    }
    missing.into_iter().map(|what| Violation { check: "liveness", what }).collect()
}

/// Producers, readers, group members and the last reads, each a host of its own.
fn clients(
    sim: &mut Sim<'_>,
    desks: &[Desk],
    random: &mut Random,
    (layout, done): (Layout, &Rc<Cell<usize>>),
) -> Vec<String> {
    let mut names = Vec::new();
    let deletes = random.one_in(2) && !layout.shrinks;
    for (desk, partition) in partitions(desks) {
        for number in 0..2 {
            names.push(producer(sim, (desk, partition, number), random, (layout, done)));
        }
        let name = format!("r{}", place(desk, partition));
        let reader = ReaderTask {
            desk: desk.clone(),
            name: name.clone(),
            partition,
            random: random.split(),
            anywhere: layout.brokers > 1,
            deletes,
        };
        names.push(client(sim, name, done, reader.run()));
    }
    let Some(desk) = desks.first() else { return names };
    if layout.churn != Churn::Nothing {
        let (desk, random, churn) = (desk.clone(), random.split(), layout.churn);
        let operator = ChurnTask { desk, random, churn };
        names.push(client(sim, "operator".to_owned(), done, operator.run()));
    }
    for number in 0..if layout.groups { 2 } else { 0 } {
        let name = format!("g{number}");
        let member = MemberTask {
            desk: desk.clone(),
            group: Arc::from("group"),
            name: name.clone(),
            random: random.split(),
        };
        names.push(client(sim, name, done, member.run()));
    }
    names
}

/// A partition as part of a host's name.
fn place(desk: &Desk, partition: i32) -> String {
    let of = if &*desk.topic == TOPIC { "" } else { "t" };
    format!("{of}{partition}")
}

/// One producer; the first of a partition also reads it in the end.
fn producer(
    sim: &mut Sim<'_>,
    (desk, partition, number): (&Desk, i32, i32),
    random: &mut Random,
    (layout, done): (Layout, &Rc<Cell<usize>>),
) -> String {
    let name = format!("w{number}p{}", place(desk, partition));
    let pause_millis = random.between(1..120);
    let producer = ProducerTask {
        desk: desk.clone(),
        name: name.clone(),
        partition,
        random: random.split(),
        pause_millis,
    };
    desk.producer_begins();
    let copies = i16::try_from(layout.voters()).unwrap_or(1);
    let (desk, mut random) = (desk.clone(), random.split());
    client(sim, name, done, async move {
        set_up(&desk, copies, &mut random).await;
        producer.run().await;
        if number == 0 {
            final_read(&desk, partition, random).await;
        }
    })
}

fn client(
    sim: &mut Sim<'_>,
    name: String,
    done: &Rc<Cell<usize>>,
    work: impl Future<Output = ()> + 'static,
) -> String {
    let done = Rc::clone(done);
    sim.client(name.clone(), async move {
        work.await;
        done.set(done.get() + 1);
        Ok(())
    });
    name
}

/// Makes the topic, whoever comes first.
async fn set_up(desk: &Desk, copies: i16, random: &mut Random) {
    let mut configs = vec![
        ("internal.segment.bytes", "6000".to_owned()),
        ("index.interval.bytes", "512".to_owned()),
        // Clocks jump by hours.
        ("message.timestamp.after.max.ms", i64::MAX.to_string()),
    ];
    match desk.keeps {
        Keeps::All => {}
        Keeps::Newest => configs.push(("retention.bytes", "12000".to_owned())),
        Keeps::Latest => {
            configs.push(("cleanup.policy", "compact".to_owned()));
            configs.push(("min.cleanable.dirty.ratio", "0.01".to_owned()));
        }
    }
    loop {
        let node = random.pick(&desk.nodes).copied().unwrap_or(1);
        let made = async {
            let mut connection =
                Connection::open(&Desk::host(node), Duration::from_secs(2)).await?;
            connection.create_topic(&desk.topic, (desk.partitions, copies), &configs).await
        };
        match made.await {
            Ok(code) if matches!(code.code(), 0 | 36) => return,
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// The broker, for as long as its host is up. A start that fails is tried again, as a supervisor does.
async fn serve(machine: Machine) -> turmoil::Result {
    loop {
        match Broker::start(options(&machine)?).await {
            Ok(broker) => {
                let reason = broker.halted().await;
                machine.history.note(format!("n{} halts: {reason}", machine.id));
                machine.halted.store(true, Ordering::Relaxed);
                std::future::pending::<()>().await;
            }
            Err(error) => {
                machine.history.note(format!("n{} does not start: {error}", machine.id));
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn options(machine: &Machine) -> Result<BrokerOptions, Box<dyn std::error::Error>> {
    let (id, layout) = (machine.id, machine.layout);
    let mut settings = vec![
        format!("node.id={id}"),
        format!("advertised.listeners=PLAINTEXT://n{id}:{PORT}"),
        "log.dirs=/data".to_owned(),
        "ottla.http.listener=".to_owned(),
        "log.flush.offset.checkpoint.interval.ms=700".to_owned(),
        "log.flush.start.offset.checkpoint.interval.ms=900".to_owned(),
        "log.retention.check.interval.ms=1100".to_owned(),
        "log.retention.ms=-1".to_owned(),
        "log.initial.task.delay.ms=500".to_owned(),
        "offsets.topic.num.partitions=2".to_owned(),
        "group.min.session.timeout.ms=100".to_owned(),
        "group.initial.rebalance.delay.ms=100".to_owned(),
        format!("offsets.topic.replication.factor={}", layout.voters()),
    ];
    if layout.shrinks {
        settings.push("log.retention.check.interval.ms=300".to_owned());
        settings.push("log.cleaner.backoff.ms=300".to_owned());
        settings.push("log.cleaner.dedupe.buffer.size=2097152".to_owned());
        settings.push("replica.lag.time.max.ms=1000".to_owned());
    }
    if layout.brokers == 1 {
        settings.push(format!("listeners=PLAINTEXT://0.0.0.0:{PORT}"));
    } else {
        let listeners =
            format!("PLAINTEXT://0.0.0.0:{PORT},CONTROLLER://0.0.0.0:{CONTROLLER_PORT}");
        settings.push(format!("listeners={listeners}"));
        settings.push("process.roles=broker,controller".to_owned());
        settings.push("controller.listener.names=CONTROLLER".to_owned());
        settings.extend(quorum(layout, id));
    }
    let loaded = loader::load(&Sources { settings, ..Sources::default() })?;
    let elapsed = turmoil::sim_elapsed().unwrap_or_default();
    let life = u64::try_from(elapsed.as_nanos()).unwrap_or_default();
    let network = match layout.repeats {
        Repeats::Never => Turmoil::default(),
        Repeats::Sometimes => Turmoil::repeating(Random::new(machine.seed ^ life)),
    };
    Ok(BrokerOptions {
        config: loaded.layers(),
        storage: Storage::Custom(Arc::new(machine.disk.clone())),
        seed: Some(machine.seed ^ life),
        clock: Some(Arc::new(HostClock::new(machine.skew.clone()))),
        host: Host::Simulated(Arc::new(network)),
    })
}

/// Who is to vote on the metadata: for good, or at first.
fn quorum(layout: Layout, id: i32) -> Vec<String> {
    let voters = 1..=layout.voters();
    if layout.churn == Churn::ReplicasAndVoters {
        let all: Vec<String> = voters.map(|id| format!("n{id}:{CONTROLLER_PORT}")).collect();
        let here = format!("PLAINTEXT://n{id}:{PORT},CONTROLLER://n{id}:{CONTROLLER_PORT}");
        vec![
            format!("controller.quorum.bootstrap.servers={}", all.join(",")),
            format!("advertised.listeners={here}"),
        ]
    } else {
        let all: Vec<String> = voters.map(|id| format!("{id}@n{id}:{CONTROLLER_PORT}")).collect();
        vec![format!("controller.quorum.voters={}", all.join(","))]
    }
}
