//! Faults from a seed, and what must be true whatever they were: what was acknowledged is there exactly
//! once and in order, and replicas hold the same bytes up to what is committed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use ottla_protocol::model::Offset;

use super::cluster::{Cluster, batch, simulate, submit};
use super::network::Dice;
use crate::partition::{Outcome, Until};
use crate::raft::defects::Defect;

/// What producers were told.
#[derive(Default)]
struct Told {
    /// Values with the offsets that were acknowledged.
    acked: BTreeMap<String, Offset>,
    sent: u64,
}

const PRODUCERS: i64 = 3;

/// One run; `Err` says what was not true.
async fn run(seed: u64) -> Result<String, String> {
    let told = Rc::new(RefCell::new(Told::default()));
    let cluster = Cluster::formed(seed).await;
    let cluster = Rc::new(RefCell::new(cluster));
    let stop = Rc::new(std::cell::Cell::new(false));
    let mut producers = Vec::new();
    for id in 0..PRODUCERS {
        let (cluster, told, stop) = (Rc::clone(&cluster), Rc::clone(&told), Rc::clone(&stop));
        let dice = Dice::new(seed ^ (id as u64 + 1) << 40);
        producers.push(tokio::task::spawn_local(produce(cluster, told, stop, id, dice)));
    }
    let mut dice = Dice::new(seed ^ 0xfa17);
    for _ in 0..40 {
        disturb(&cluster, &mut dice).await;
        tokio::time::sleep(Duration::from_millis(20 + dice.below(400))).await;
    }
    recover(&cluster).await?;
    stop.set(true);
    for producer in producers {
        producer.await.map_err(|error| error.to_string())?;
    }
    let Ok(cluster) = Rc::try_unwrap(cluster) else { return Err("a producer goes on".to_owned()) };
    let told = told.take();
    check(&cluster.into_inner(), &told).await
}

async fn produce(
    cluster: Rc<RefCell<Cluster>>,
    told: Rc<RefCell<Told>>,
    stop: Rc<std::cell::Cell<bool>>,
    id: i64,
    mut dice: Dice,
) {
    let mut sequence = 0;
    let mut target = 0;
    while !stop.get() {
        let value = format!("p{id}-{sequence:06}");
        let ready = {
            let cluster = cluster.borrow();
            let up = cluster.is_up(target).then(|| cluster.partition(target).clone());
            up.map(|partition| (partition, cluster.now()))
        };
        let outcome = match ready {
            Some((partition, now)) => {
                told.borrow_mut().sent += 1;
                submit(&partition, now, batch(Some((id, sequence)), &value), Until::Committed).await
            }
            None => Outcome::NotLeader,
        };
        match outcome {
            Outcome::Committed(info) => {
                told.borrow_mut().acked.insert(value, info.first_offset);
                sequence += 1;
            }
            Outcome::Refused(error) => {
                // A duplicate is answered as committed; whatever else may pass with time.
                tracing::debug!(%error, "refused");
                target = dice.below(3) as usize;
            }
            _ => target = dice.below(3) as usize,
        }
        tokio::time::sleep(Duration::from_millis(dice.below(12))).await;
    }
}

/// One fault.
async fn disturb(cluster: &RefCell<Cluster>, dice: &mut Dice) {
    restart_failed(cluster).await;
    let node = dice.below(3) as usize;
    let other = (node + 1 + dice.below(2) as usize) % 3;
    let up = cluster.borrow().is_up(node);
    match dice.below(16) {
        0..=2 if up => cluster.borrow_mut().crash(node),
        // Back before anyone noticed.
        3..=4 if up => {
            cluster.borrow_mut().crash(node);
            start(cluster, node).await;
        }
        // Power fails in the middle of what it does.
        5 if up => {
            let fs = cluster.borrow().nodes[node].fs.clone();
            fs.power_off_at(fs.calls() + dice.below(40));
            tokio::time::sleep(Duration::from_millis(dice.below(60))).await;
            cluster.borrow_mut().crash(node);
        }
        // All at once.
        6 => {
            for node in 0..3 {
                cluster.borrow_mut().crash(node);
            }
            for node in 0..3 {
                start(cluster, node).await;
            }
        }
        7 => {
            let cluster = cluster.borrow();
            cluster.net.cut(cluster.nodes[node].id, cluster.nodes[other].id);
        }
        8 => {
            let cluster = cluster.borrow();
            for other in [(node + 1) % 3, (node + 2) % 3] {
                cluster.net.cut(cluster.nodes[node].id, cluster.nodes[other].id);
                cluster.net.cut(cluster.nodes[other].id, cluster.nodes[node].id);
            }
        }
        9 => cluster.borrow().net.heal(),
        10 => cluster.borrow().net.with(|links| {
            links.loss_percent = dice.below(20);
            links.repeat_percent = dice.below(20);
            links.delay_max_ms = dice.below(60);
        }),
        11 if up => {
            let group = cluster.borrow().group(node).clone();
            let to = cluster.borrow().nodes[other].id;
            tokio::task::spawn_local(async move { group.transfer(to).await });
        }
        // Rot on one copy, never on two.
        13..=14 => {
            if up {
                tokio::time::sleep(Duration::from_millis(1200)).await;
                if !cluster.borrow().is_up(0) {
                    return;
                }
                cluster.borrow_mut().crash(0);
                cluster.borrow_mut().rot(0);
                start(cluster, 0).await;
            }
        }
        12 if up => {
            let group = cluster.borrow().group(node).clone();
            tokio::task::spawn_local(async move { group.elect().await });
        }
        _ => {
            for node in 0..3 {
                start(cluster, node).await;
            }
        }
    }
}

/// As the broker's driver does.
async fn restart_failed(cluster: &RefCell<Cluster>) {
    for node in 0..3 {
        let up = cluster.borrow().is_up(node);
        if up && cluster.borrow().group(node).failure().is_some() {
            cluster.borrow_mut().crash(node);
            start(cluster, node).await;
        }
    }
}

async fn start(cluster: &RefCell<Cluster>, node: usize) {
    if cluster.borrow().is_up(node) {
        return;
    }
    let id = cluster.borrow().nodes[node].id;
    let prepared = cluster.borrow_mut().prepare(node);
    let running = match prepared {
        Ok(prepared) => prepared.run().await,
        Err(error) => Err(error),
    };
    match running {
        Ok(running) => cluster.borrow_mut().nodes[node].running = Some(running),
        Err(error) => panic!("{id} did not start: {error}"),
    }
}

/// The end of all faults: everything is up, and goes on.
async fn recover(cluster: &RefCell<Cluster>) -> Result<(), String> {
    cluster.borrow().net.heal();
    // Rot that nobody has read yet is looked for.
    start(cluster, 0).await;
    let rotten = cluster.borrow().group(0).clone();
    rotten.verify_at_next_start().await.map_err(|error| error.to_string())?;
    for node in 0..3 {
        // An instance that met a disk fault has ended: it is started again, as the broker's driver does.
        cluster.borrow_mut().crash(node);
        start(cluster, node).await;
    }
    // Damage shows when what is damaged is sent.
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        restart_failed(cluster).await;
    }
    Ok(())
}

async fn check(cluster: &Cluster, told: &Told) -> Result<String, String> {
    let leader = cluster.leader().await;
    cluster.produce(leader, "last").await;
    cluster.converge().await;
    let bytes = cluster.committed_bytes(0);
    for node in 1..3 {
        if cluster.committed_bytes(node) != bytes {
            return Err(format!("replicas differ: {:?}", cluster.state()));
        }
    }
    let values = cluster.values(0);
    let mut seen: BTreeMap<&str, Offset> = BTreeMap::new();
    let mut last: BTreeMap<&str, &str> = BTreeMap::new();
    let mut expected = Offset::ZERO;
    for (offset, value) in &values {
        if *offset != expected {
            return Err(format!("{value} has offset {offset}, not {expected}"));
        }
        expected = expected.next();
        if seen.insert(value, *offset).is_some() {
            return Err(format!("{value} is there twice"));
        }
        if let Some((producer, _)) = value.split_once('-')
            && let Some(before) = last.insert(producer, value)
            && before >= value.as_str()
        {
            return Err(format!("{value} comes after {before}"));
        }
    }
    for (value, offset) in &told.acked {
        if seen.get(value.as_str()) != Some(offset) {
            let found = seen.get(value.as_str());
            return Err(format!("{value} was acknowledged at {offset} and is at {found:?}"));
        }
    }
    let appends = cluster.net.with(|links| links.appends);
    Ok(format!(
        "{} acked, {} sent, {} values, {appends} appends",
        told.acked.len(),
        told.sent,
        values.len()
    ))
}

fn run_seed(seed: u64) -> Result<String, String> {
    let local = tokio::task::LocalSet::new();
    let run = local.run_until(async move {
        let limit = Duration::from_secs(600);
        match tokio::time::timeout(limit, run(seed)).await {
            Ok(result) => result,
            Err(_) => Err("nothing happens any more".to_owned()),
        }
    });
    simulate(run)
}

fn seeds(count: u64) -> std::ops::Range<u64> {
    let first = std::env::var("OTTLA_SEED").ok().and_then(|seed| seed.parse().ok());
    let count = std::env::var("OTTLA_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(count);
    first.map_or(0..count, |first| first..first + std::env::var("OTTLA_SEEDS").map_or(1, |_| count))
}

#[test]
fn nothing_acknowledged_is_lost() {
    let mut acked = 0;
    for seed in seeds(4) {
        match run_seed(seed) {
            Ok(report) => {
                acked += 1;
                if std::env::var_os("OTTLA_SEED").is_some() {
                    eprintln!("seed {seed}: {report}");
                }
            }
            Err(error) => panic!(
                "seed {seed}: {error}; replay with OTTLA_SEED={seed} cargo test -p ottla-replication \
                 nothing_acknowledged_is_lost"
            ),
        }
    }
    assert!(acked > 0, "some seeds ran");
}

/// Runs seeds with a bug until one is found out.
fn finds(defect: Defect, seeds: u64) {
    let mut found = BTreeSet::new();
    for seed in 0..seeds {
        Defect::activate(Some(defect));
        let result = std::panic::catch_unwind(|| run_seed(seed));
        Defect::activate(None);
        match result {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                found.insert(error);
                break;
            }
            Err(_) => {
                found.insert("a panic".to_owned());
                break;
            }
        }
    }
    assert!(!found.is_empty(), "{defect:?} was not found in {seeds} seeds");
}

#[test]
fn a_missing_dedup_is_found() {
    finds(Defect::NoDedup, 200);
}
