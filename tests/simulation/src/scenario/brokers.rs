//! Whole brokers, one or three, with idempotent producers, readers and groups.
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
use crate::churn::ChurnTask;
use crate::client::{Connection, PORT};
use crate::disk::{HostDisk, Survival};
use crate::faults::{Menu, Nemesis, Node, Rhythm};
use crate::groups::MemberTask;
use crate::history::History;
use crate::network::Turmoil;
use crate::random::Random;
use crate::workload::{Desk, ProducerTask, ReaderTask, final_read};
use crate::world::{self, HostClock, WallSkew};

pub(super) const TOPIC: &str = "log";
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
    /// An operator moves replicas about.
    pub churn: bool,
    pub rhythm: Rhythm,
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
            churn: false,
            rhythm: Rhythm::Mixed,
        }
    }
}

/// What a broker's host is made of; a restart gets the same.
#[derive(Clone, Debug)]
struct Machine {
    id: i32,
    brokers: i32,
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
            brokers: layout.brokers,
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
    let desk = Desk::new(plan.history.clone(), ids, TOPIC, PARTITIONS);
    let done = Rc::new(Cell::new(0));
    let clients = clients(&mut sim, &desk, &mut random, (layout, &done));
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
        extra = equal(&mut sim, &plan.history, &disks);
    }
    extra.extend(world::panics());
    let disks = disks.iter().map(|disk| disk.sim().trace_hash()).collect();
    Outcome::of(plan, Tally { crashes: nemesis.crashes, faults: nemesis.faults, disks, extra })
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

/// Goes on until every replica holds all that is committed; writes down what each of them holds.
fn equal(sim: &mut Sim<'_>, history: &History, disks: &[HostDisk]) -> Vec<Violation> {
    let mut missing = Vec::new();
    for _ in 0..EQUAL_WITHIN / 200 {
        for _ in 0..200 {
            if let Err(stopped) = step(sim) {
                return vec![stopped];
            }
        }
        missing = (0..PARTITIONS).filter_map(|p| replicas::missing(history, disks, p)).collect();
        if missing.is_empty() {
            break;
        }
    }
    for partition in 0..PARTITIONS {
        replicas::record(history, disks, partition);
    }
    missing.into_iter().map(|what| Violation { check: "liveness", what }).collect()
}

/// Producers, readers, group members and the last reads, each a host of its own.
fn clients(
    sim: &mut Sim<'_>,
    desk: &Desk,
    random: &mut Random,
    (layout, done): (Layout, &Rc<Cell<usize>>),
) -> Vec<String> {
    let mut names = Vec::new();
    let deletes = random.one_in(2);
    let copies = i16::try_from(layout.brokers).unwrap_or(1);
    for partition in 0..PARTITIONS {
        for number in 0..2 {
            let name = format!("w{number}p{partition}");
            let pause_millis = random.between(1..120);
            let producer = ProducerTask {
                desk: desk.clone(),
                name: name.clone(),
                partition,
                random: random.split(),
                pause_millis,
            };
            desk.producer_begins();
            let (desk, done, mut random) = (desk.clone(), Rc::clone(done), random.split());
            sim.client(name.clone(), async move {
                set_up(&desk, copies, &mut random).await;
                producer.run().await;
                if number == 0 {
                    final_read(&desk, partition, random).await;
                }
                done.set(done.get() + 1);
                Ok(())
            });
            names.push(name);
        }
        let name = format!("r{partition}");
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
    if layout.churn {
        let operator = ChurnTask { desk: desk.clone(), random: random.split() };
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
    let configs = [
        ("internal.segment.bytes", "6000".to_owned()),
        ("index.interval.bytes", "512".to_owned()),
        // Clocks jump by hours.
        ("message.timestamp.after.max.ms", i64::MAX.to_string()),
    ];
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
    let id = machine.id;
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
        format!("offsets.topic.replication.factor={}", machine.brokers),
    ];
    if machine.brokers == 1 {
        settings.push(format!("listeners=PLAINTEXT://0.0.0.0:{PORT}"));
    } else {
        let listeners =
            format!("PLAINTEXT://0.0.0.0:{PORT},CONTROLLER://0.0.0.0:{CONTROLLER_PORT}");
        settings.push(format!("listeners={listeners}"));
        settings.push("process.roles=broker,controller".to_owned());
        settings.push("controller.listener.names=CONTROLLER".to_owned());
        let voters: Vec<String> =
            (1..=machine.brokers).map(|id| format!("{id}@n{id}:{CONTROLLER_PORT}")).collect();
        settings.push(format!("controller.quorum.voters={}", voters.join(",")));
    }
    let loaded = loader::load(&Sources { settings, ..Sources::default() })?;
    let elapsed = turmoil::sim_elapsed().unwrap_or_default();
    let life = u64::try_from(elapsed.as_nanos()).unwrap_or_default();
    Ok(BrokerOptions {
        config: loaded.layers(),
        storage: Storage::Custom(Arc::new(machine.disk.clone())),
        seed: Some(machine.seed ^ life),
        clock: Some(Arc::new(HostClock::new(machine.skew.clone()))),
        host: Host::Simulated(Arc::new(Turmoil)),
    })
}
