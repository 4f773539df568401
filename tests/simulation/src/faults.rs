//! What goes wrong with hosts, disks, clocks and links, by the seed.
//!
//! Owns: when a fault begins and ends, and that all are over when the run asks. Never: judges.
//!
//! Invariants: power goes off on the disk before the host's tasks are dropped, so that nothing is
//! written by destructors; a disk whose sync failed gets its host restarted, as an operator would.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ottla_protocol::records::Batch;
use ottla_storage::fs::sim::{DiskError, Fault, FaultRates, Op, OpMatcher};
use ottla_storage::fs::{FileSystem as _, OpenMode};
use turmoil::Sim;

use crate::disk::{HostDisk, Manner, Survival};
use crate::history::History;
use crate::random::Random;
use crate::world::WallSkew;

/// How often and how long, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Density {
    /// About one fault in this time.
    pub every: u64,
    /// A crashed host is down for up to this long.
    pub down_max: u64,
    /// A link is cut for up to this long.
    pub cut_max: u64,
}

impl Density {
    /// Most seeds are dense, with restarts faster than an election; some leave time to work.
    #[must_use]
    pub fn of(random: &mut Random) -> Self {
        match random.below(4) {
            0 => Self { every: 2_000, down_max: 2_000, cut_max: 3_000 },
            1 => Self { every: 800, down_max: 1_200, cut_max: 1_500 },
            _ => Self { every: 350, down_max: 500, cut_max: 900 },
        }
    }
}

/// A host that brokers run on.
#[derive(Debug)]
pub struct Node {
    pub name: String,
    pub disk: HostDisk,
    pub skew: WallSkew,
    /// Set by a broker that cannot go on: it is restarted, as a supervisor would.
    pub halted: Arc<AtomicBool>,
    /// Down until then.
    down_until: Option<u64>,
    /// Something of its disk is to be put right then.
    disk_until: Option<u64>,
    /// It has to be restarted then, because its disk failed.
    restart_at: Option<u64>,
}

impl Node {
    #[must_use]
    pub fn new(id: i32, random: &mut Random, survival: Survival) -> Self {
        Self {
            name: format!("n{id}"),
            disk: HostDisk::new(random, survival),
            skew: WallSkew::default(),
            halted: Arc::default(),
            down_until: None,
            disk_until: None,
            restart_at: None,
        }
    }
}

/// Which faults a run has.
#[derive(Clone, Debug)]
pub struct Menu {
    /// Faults of disks that are no crash: slow, full, failing.
    pub disks: bool,
    pub clocks: bool,
    /// Clients are cut off, too.
    pub clients: Vec<String>,
    /// One bit of a log rots while its host is down: the topic whose log it is.
    pub rot: Option<String>,
    pub rhythm: Rhythm,
}

/// What faults are mostly like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Rhythm {
    #[default]
    Mixed,
    /// Power goes and is back before anyone is suspected, while disks are slow and one node is often cut
    /// off: what a leader sent and had not synced is lost where it matters most.
    Restarts,
    /// Everybody starts anew on slow disks; when a voter has voted, it loses its power before that is on
    /// its disk, is back at once, and reaches only the candidate that it had not voted for, who has not
    /// heard of the other.
    Elections,
    /// One host is away for long, and crashes as soon as it is back.
    Absences,
}

/// Something that is going to happen to hosts, by their places.
#[derive(Clone, Copy, Debug)]
enum Act {
    Everybody {
        down: u64,
    },
    Power {
        of: usize,
        down: u64,
    },
    Cut {
        between: (usize, usize),
        span: u64,
    },
    Disks(Manner),
    /// The voter crashes after its next vote, and cannot reach one of the candidates then.
    Watch {
        voter: usize,
        candidates: (usize, usize),
    },
}

/// Makes trouble.
#[derive(Debug)]
pub struct Nemesis {
    pub nodes: Vec<Node>,
    random: Random,
    density: Density,
    menu: Menu,
    history: History,
    /// Cut links, each with its end.
    cuts: Vec<(u64, String, String)>,
    /// What comes when, the next one last.
    script: Vec<(u64, Act)>,
    /// A voter whose next vote is looked out for, and who may want it.
    watched: Option<(usize, (usize, usize))>,
    pub crashes: u64,
    pub faults: u64,
}

/// How a host goes down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// The machine: what was not synced goes.
    Power,
    /// The process: the page cache stays.
    Process,
}

impl Nemesis {
    #[must_use]
    pub fn new(nodes: Vec<Node>, mut random: Random, menu: Menu, history: History) -> Self {
        let mut density = Density::of(&mut random);
        let slow = match menu.rhythm {
            Rhythm::Mixed | Rhythm::Elections => None,
            Rhythm::Restarts => Some(5..60),
            Rhythm::Absences => Some(1..20),
        };
        match menu.rhythm {
            Rhythm::Mixed => {}
            Rhythm::Restarts | Rhythm::Elections => {
                density = Density { every: 250, down_max: 60, cut_max: 700 };
            }
            Rhythm::Absences => density = Density { every: 400, down_max: 150, cut_max: 500 },
        }
        for (node, span) in nodes.iter().zip(slow.into_iter().cycle()) {
            node.disk
                .set_manner(Manner { sync_millis_min: 0, sync_millis_max: random.between(span) });
        }
        Self {
            nodes,
            random,
            density,
            menu,
            history,
            cuts: Vec::new(),
            script: Vec::new(),
            watched: None,
            crashes: 0,
            faults: 0,
        }
    }

    /// One millisecond of trouble.
    pub fn step(&mut self, sim: &mut Sim<'_>, now: u64) {
        self.end_what_is_due(sim, now);
        if self.menu.rhythm == Rhythm::Elections {
            return self.play(sim, now);
        }
        if now > 500 && self.random.one_in(self.density.every) {
            self.faults += 1;
            match self.menu.rhythm {
                Rhythm::Absences => self.begin_absence(sim, now),
                _ => self.begin(sim, now),
            }
        }
    }

    /// Does what the script says, and writes the next one.
    fn play(&mut self, sim: &mut Sim<'_>, now: u64) {
        while let Some((_, act)) = self.script.pop_if(|(at, _)| *at <= now) {
            self.faults += 1;
            match act {
                Act::Everybody { down } => {
                    for index in 0..self.nodes.len() {
                        self.down_for(sim, index, (now, down), Way::Power);
                    }
                }
                Act::Power { of, down } => self.down_for(sim, of, (now, down), Way::Power),
                Act::Watch { voter, candidates } => {
                    self.nodes[voter].disk.notice_write("replica-journal");
                    self.watched = Some((voter, candidates));
                }
                Act::Disks(manner) => {
                    self.nodes.iter().for_each(|node| node.disk.set_manner(manner));
                }
                Act::Cut { between: (a, b), span } => {
                    let (a, b) = (self.nodes[a].name.clone(), self.nodes[b].name.clone());
                    self.history.note(format!("{a} and {b} are cut off for {span} ms"));
                    sim.partition(a.clone(), b.clone());
                    self.cuts.push((now + span, a, b));
                }
            }
        }
        let voted = self.watched.filter(|(voter, _)| self.nodes[*voter].disk.has_noticed());
        if let Some((voter, (one, other))) = voted {
            self.watched = None;
            // Time for the candidate to be told, and for its first words as the leader.
            let at = now + self.random.between(25..115);
            let candidate = if self.random.one_in(2) { one } else { other };
            let down = self.random.between(5..30);
            let span = self.random.between(1_000..1_800);
            self.script.push((at, Act::Cut { between: (candidate, voter), span }));
            self.script.push((at, Act::Power { of: voter, down }));
            self.script.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        }
        if self.script.is_empty() && now > 1_000 {
            self.script = self.next_script(now);
        }
    }

    /// An election in which two candidates ask the same voter, which forgets in between.
    fn next_script(&mut self, now: u64) -> Vec<(u64, Act)> {
        let count = self.nodes.len();
        let first = usize::try_from(self.random.below(count as u64)).unwrap_or(0);
        let step = 1 + usize::try_from(self.random.below(2)).unwrap_or(0);
        let [one, other, voter] = [0, step, 2 * step].map(|by| (first + by) % count);
        let begin = now + self.random.between(500..1_000);
        let slow = Manner { sync_millis_min: 120, sync_millis_max: self.random.between(121..200) };
        let watch = begin + self.random.between(700..1_060);
        let mut script = vec![
            (begin, Act::Everybody { down: self.random.between(10..60) }),
            (begin, Act::Cut { between: (one, other), span: 3_200 }),
            (begin + 400, Act::Disks(slow)),
            (watch, Act::Watch { voter, candidates: (one, other) }),
            (begin + 3_000, Act::Disks(Manner::default())),
        ];
        script.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        script
    }

    /// One of the hosts is away for long; while nobody is, something short happens.
    fn begin_absence(&mut self, sim: &mut Sim<'_>, now: u64) {
        let count = u64::try_from(self.nodes.len()).unwrap_or(1);
        let index = usize::try_from(self.random.below(count)).unwrap_or(0);
        let away = self.nodes.iter().any(|node| node.down_until.is_some());
        match self.random.below(6) {
            0..=2 if !away => {
                let span = self.random.between(1_000..2_500);
                self.down_for(sim, index, (now, span), Way::Power);
            }
            3 | 4 => self.down(sim, index, now, Way::Power),
            5 if self.menu.disks => self.harm_disk(index, now),
            _ => self.isolate(sim, index, now),
        }
    }

    /// Ends everything; hosts come up again.
    pub fn heal(&mut self, sim: &mut Sim<'_>) {
        self.history.note("heal");
        self.script.clear();
        for (_, a, b) in std::mem::take(&mut self.cuts) {
            sim.repair(a, b);
        }
        for index in 0..self.nodes.len() {
            self.nodes[index].disk.heal();
            let halted = self.nodes[index].halted.swap(false, Ordering::Relaxed);
            let failed = self.nodes[index].restart_at.take().is_some() || halted;
            let off = !self.nodes[index].disk.has_power();
            if failed || off {
                self.down(sim, index, 0, Way::Power);
            }
            let node = &mut self.nodes[index];
            node.disk_until = None;
            if node.down_until.take().is_some() {
                sim.bounce(node.name.clone());
            }
        }
    }

    /// Without faults of its own: starts again what ends by itself.
    pub fn supervise(&mut self, sim: &mut Sim<'_>, now: u64) {
        self.end_what_is_due(sim, now);
    }

    fn end_what_is_due(&mut self, sim: &mut Sim<'_>, now: u64) {
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.cuts).into_iter().partition(|(end, _, _)| *end <= now);
        self.cuts = later;
        for (_, a, b) in due {
            sim.repair(a, b);
        }
        for index in 0..self.nodes.len() {
            if self.nodes[index].down_until.is_none() && !self.nodes[index].disk.has_power() {
                self.crash(sim, index, now, Way::Power);
            }
            if self.nodes[index].halted.swap(false, Ordering::Relaxed) {
                self.down(sim, index, now, Way::Process);
            }
            let node = &mut self.nodes[index];
            if node.down_until.is_some_and(|end| end <= now) {
                node.down_until = None;
                self.history.note(format!("start {}", node.name));
                sim.bounce(node.name.clone());
                if self.menu.rhythm == Rhythm::Absences && self.random.one_in(2) {
                    node.disk.cut_power_soon(600);
                }
            }
            if node.disk_until.is_some_and(|end| end <= now) {
                node.disk_until = None;
                node.disk.heal();
            }
            if node.restart_at.is_some_and(|at| at <= now) && node.down_until.is_none() {
                let way = if self.random.one_in(2) { Way::Power } else { Way::Process };
                self.crash(sim, index, now, way);
            }
        }
    }

    fn begin(&mut self, sim: &mut Sim<'_>, now: u64) {
        let count = u64::try_from(self.nodes.len()).unwrap_or(1);
        let index = usize::try_from(self.random.below(count)).unwrap_or(0);
        if self.menu.rhythm == Rhythm::Restarts {
            match self.random.below(5) {
                0 => self.isolate(sim, index, now),
                1 => self.nodes[index].disk.cut_power_soon(30),
                _ => self.crash(sim, index, now, Way::Power),
            }
            return;
        }
        match self.random.below(10) {
            0 | 1 => self.crash(sim, index, now, Way::Power),
            2 => self.crash(sim, index, now, Way::Process),
            3 => {
                let node = &self.nodes[index];
                node.disk.cut_power_soon(30);
                self.history.note(format!("power of {} goes soon", node.name));
            }
            4 | 5 if self.nodes.len() > 1 => self.isolate(sim, index, now),
            4..=6 => self.cut_client(sim, index, now),
            7 | 8 if self.menu.disks => self.harm_disk(index, now),
            9 if self.menu.clocks => {
                let node = &self.nodes[index];
                let hours = i64::try_from(self.random.below(5)).unwrap_or(0) - 2;
                node.skew.jump(hours * 3_600_000 + 17);
                self.history.note(format!("clock of {} jumps by {hours} h", node.name));
            }
            _ => {}
        }
    }

    /// Crashes one host, or now and then all at once.
    fn crash(&mut self, sim: &mut Sim<'_>, index: usize, now: u64, way: Way) {
        if self.nodes.len() > 1 && self.random.one_in(12) {
            for every in 0..self.nodes.len() {
                self.down(sim, every, now, way);
            }
        } else {
            self.down(sim, index, now, way);
        }
    }

    fn down(&mut self, sim: &mut Sim<'_>, index: usize, now: u64, way: Way) {
        let span = 20 + self.random.below(self.density.down_max);
        self.down_for(sim, index, (now, span), way);
    }

    fn down_for(&mut self, sim: &mut Sim<'_>, index: usize, (now, span): (u64, u64), way: Way) {
        let copies = self.nodes.len();
        let node = &mut self.nodes[index];
        if node.down_until.is_some() {
            return;
        }
        self.history.note(format!("{way:?} of {} fails for {span} ms", node.name));
        match way {
            Way::Power => node.disk.sim().crash(),
            Way::Process => node.disk.sim().kill_process(),
        }
        sim.crash(node.name.clone());
        if now > 2_000 {
            self.menu.rot =
                self.menu.rot.take().filter(|topic| !rot(node, topic, copies, &mut self.random));
        }
        node.restart_at = None;
        node.down_until = Some(now + span);
        self.crashes += 1;
    }

    /// Cuts a host off from the others, both ways or one.
    fn isolate(&mut self, sim: &mut Sim<'_>, index: usize, now: u64) {
        let name = self.nodes[index].name.clone();
        let mut others: BTreeSet<String> =
            self.nodes.iter().map(|node| node.name.clone()).collect();
        others.remove(&name);
        // One link only: the three see different clusters.
        if self.random.one_in(3) {
            others.pop_first();
        }
        if self.random.one_in(3) {
            others.extend(self.menu.clients.iter().cloned());
        }
        let direction = self.random.below(3);
        self.history.note(format!("{name} is cut off from {others:?} ({direction})"));
        for other in others {
            self.cut(sim, (&name, &other), now, direction);
        }
    }

    fn cut_client(&mut self, sim: &mut Sim<'_>, index: usize, now: u64) {
        let Some(client) = self.random.pick(&self.menu.clients).cloned() else { return };
        let name = self.nodes[index].name.clone();
        let direction = self.random.below(3);
        self.history.note(format!("{client} is cut off from {name} ({direction})"));
        self.cut(sim, (&name, &client), now, direction);
    }

    fn cut(&mut self, sim: &mut Sim<'_>, link: (&str, &str), now: u64, direction: u64) {
        let (a, b) = link;
        match direction {
            0 => sim.partition_oneway(a, b),
            1 => sim.partition_oneway(b, a),
            _ => sim.partition(a, b),
        }
        let end = now + 50 + self.random.below(self.density.cut_max);
        self.cuts.push((end, a.to_owned(), b.to_owned()));
    }

    fn harm_disk(&mut self, index: usize, now: u64) {
        let (kind, span) = (self.random.below(5), self.random.between(100..1_500));
        let node = &mut self.nodes[index];
        let sim = node.disk.sim();
        let what = match kind {
            0 => {
                sim.set_capacity(1);
                "is full"
            }
            1 => {
                sim.fail_next(OpMatcher::op(Op::SyncData), DiskError::Io);
                sim.fail_next(OpMatcher::op(Op::SyncDisk), DiskError::Io);
                node.restart_at = Some(now + span);
                "fails a sync"
            }
            2 => {
                let part = if self.random.one_in(2) { ".log" } else { "" };
                sim.fail_next(OpMatcher::op(Op::Write).on(part), DiskError::Io);
                node.restart_at = Some(now + span);
                "fails a write"
            }
            3 => {
                sim.set_rates(FaultRates { short_read: 200_000, ..FaultRates::default() });
                sim.fault_next(OpMatcher::op(Op::Read), Fault::Slow(Duration::from_millis(1)));
                "reads in pieces"
            }
            _ => {
                node.disk.set_manner(Manner { sync_millis_min: 0, sync_millis_max: 1 + span });
                "is slow"
            }
        };
        node.disk_until = Some(now + span);
        self.history.note(format!("disk of {} {what} for {span} ms", node.name));
    }
}

/// Inverts a bit of a batch that good ones follow; false when there is none yet.
fn rot(node: &Node, topic: &str, copies: usize, random: &mut Random) -> bool {
    let folder = PathBuf::from(format!("/data/{topic}-0"));
    let Ok(entries) = node.disk.list(&folder) else { return false };
    let mut logs: Vec<_> =
        entries.iter().filter(|entry| entry.name.ends_with(".log") && entry.len > 2_000).collect();
    if copies > 1 {
        // What is older than a second or so: rot at the moment of a power cut passes for the cut's own.
        logs.sort_by(|a, b| a.name.cmp(&b.name));
        logs.truncate(logs.len().div_ceil(2));
    }
    let Some(entry) = random.pick(&logs) else { return false };
    let path = folder.join(&entry.name);
    let Some(place) = batch_in_first_half(&node.disk, &path, random) else { return false };
    node.disk.sim().flip_bit(&path, place * 8 + random.below(8)).is_ok()
}

/// A byte of a batch in the first half of a file, so that good ones follow; one that the CRC covers, or
/// of the CRC.
fn batch_in_first_half(disk: &HostDisk, path: &Path, random: &mut Random) -> Option<u64> {
    const CRC_AT: u64 = 17;
    let file = disk.open(path, OpenMode::Read).ok()?;
    let len = usize::try_from(file.len().ok()?).ok()?;
    let bytes = file.read_bytes_at(0, len).ok()?;
    let mut places = Vec::new();
    let mut at = 0;
    while let Ok(batch) = Batch::parse(bytes.get(at..)?) {
        let size = batch.bytes().len();
        if at < len / 2 {
            places.push(u64::try_from(at).ok()? + random.between(CRC_AT..size as u64));
        }
        at += size;
    }
    random.pick(&places).copied()
}
