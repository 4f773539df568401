//! 88,000 malformed frames over sockets to a running broker.
//!
//! Owns: every key and version of Kafka 4.3 with sound bodies that were cut, flipped, spliced, given
//! absurd counts, or replaced by noise; behind each goes a sound ApiVersions request, so that either
//! its answer or the end of the connection must follow. Never: what a decoder does with them by itself
//! (`protocol/tests/malformed.rs`). Invariants: no task of the broker panics, no single allocation is
//! absurd, memory stays within a bound, and the broker serves as before. All follows from `SEED`.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::sync::Mutex;
use std::time::Duration;

use ottla_allocations::{Counting, Usage, watch};
use ottla_differential::codec;
use ottla_differential::connection::{Connection, Reply, frame};
use ottla_differential::sample::{Random, sample};
use ottla_differential::schema::{Message, Schemas};
use ottla_harness::blocking::TestCluster;

const SEED: u64 = 0x0ddba11;
const FRAMES: usize = 88_000;
const THREADS: usize = 4;
/// What one request may make the broker allocate at once, although its frame has a few hundred bytes.
const SINGLE_BYTES_MAX: usize = 8 << 20;
/// What all of them together may add: some of them are sound by chance and make topics and groups.
const LIVE_BYTES_MAX: usize = 512 << 20;
/// A request may wait for up to as long as its own body says; those are left behind.
const PATIENCE: Duration = Duration::from_millis(300);
const MARKER: i32 = 0x5eed;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Counts and lengths as attackers like them, plain and as varints.
const ABSURD: [&[u8]; 10] = [
    &[0x7f, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xfe],
    &[0x80, 0, 0, 0],
    &[0x7f, 0xff],
    &[0x80, 0],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0x80, 0x80, 0x80, 0x80, 0x08],
    &[0xff, 0xff, 0x03],
    &[0, 0, 0x10, 0],
];

fn malformed(message: &Message, version: i16, random: &mut Random) -> Vec<u8> {
    let mut sound =
        || codec::encode(message, version, &sample(message, version, random)).expect("a sample");
    let (mut body, other) = (sound(), sound());
    match random.below(8) {
        0 => body.truncate(random.below(body.len())),
        1 | 2 => {
            for _ in 0..=random.below(3) {
                let at = random.below(body.len());
                if let Some(byte) = body.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
        3 | 4 => {
            let absurd = ABSURD[random.below(ABSURD.len())];
            let at = random.below(body.len());
            let end = (at + absurd.len()).min(body.len());
            body.splice(at..end, absurd.iter().copied());
        }
        5 => {
            body.truncate(random.below(body.len()));
            body.extend(&other[random.below(other.len())..]);
        }
        6 => body = (0..random.below(200)).map(|_| random.next_u64() as u8).collect(),
        _ => body = (0..random.below(200)).map(|_| [0, 0, 0, 1, 2, 255][random.below(6)]).collect(),
    }
    body
}

#[derive(Debug, Default, Clone, Copy)]
struct Outcome {
    sent: usize,
    answered: usize,
    closed: usize,
    waiting: usize,
}

/// Sends one malformed request and a sound one behind it; says how that ended.
fn provoke(line: &mut Option<Connection>, address: &str, bytes: &[u8], outcome: &mut Outcome) {
    let api_versions = Schemas::get().named("ApiVersions");
    let marker = frame(api_versions, 0, MARKER, &[]);
    let mut connection =
        line.take().unwrap_or_else(|| Connection::open(address).expect("the broker accepts"));
    connection.send_raw(&[bytes, &marker].concat());
    outcome.sent += 1;
    loop {
        match connection.receive(PATIENCE).expect("a frame, an end or silence") {
            Reply::Answer(answer) if answer.starts_with(&MARKER.to_be_bytes()) => {
                outcome.answered += 1;
                *line = Some(connection);
                return;
            }
            Reply::Answer(_) => {}
            Reply::Closed => {
                outcome.closed += 1;
                return;
            }
            Reply::Silent => {
                outcome.waiting += 1;
                return;
            }
        }
    }
}

fn provoke_all(address: &str, thread: usize) -> Outcome {
    let versions: Vec<(&Message, i16)> = Schemas::get()
        .requests()
        .flat_map(|message| message.versions.iter().map(move |version| (message, version)))
        .collect();
    let rounds = FRAMES.div_ceil(versions.len() * THREADS);
    let mut random = Random::new(SEED + thread as u64);
    let (mut outcome, mut line) = (Outcome::default(), None);
    for _ in 0..rounds {
        for (message, version) in &versions {
            let body = malformed(message, *version, &mut random);
            let bytes = frame(message, *version, 1, &body);
            provoke(&mut line, address, &bytes, &mut outcome);
        }
    }
    outcome
}

#[test]
fn malformed_frames_do_no_harm() {
    std::panic::set_hook(Box::new(|info| PANICS.lock().unwrap().push(info.to_string())));
    let cluster = TestCluster::builder()
        .topic("topic-1", 1)
        .config("auto.create.topics.enable", "false")
        // A flipped bit may leave a sound request to delete the topic that is used at the end.
        .config("delete.topic.enable", "false")
        .start_blocking()
        .unwrap();
    let (outcomes, usage) = watch(|| {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| (thread, cluster.bootstrap()))
                .map(|(thread, address)| scope.spawn(move || provoke_all(address, thread)))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<Outcome>>()
        })
    });
    let Usage { grown, largest } = usage;
    let sum = |part: fn(&Outcome) -> usize| outcomes.iter().map(part).sum::<usize>();
    let panics = PANICS.lock().unwrap().clone();
    let _own_hook = std::panic::take_hook();

    println!(
        "{} frames: {} answered, {} closed, {} left waiting; largest allocation {largest}, \
         memory grew by {grown} bytes",
        sum(|o| o.sent),
        sum(|o| o.answered),
        sum(|o| o.closed),
        sum(|o| o.waiting)
    );
    assert!(panics.is_empty(), "seed {SEED}: {} panics, the first: {}", panics.len(), panics[0]);
    assert!(sum(|o| o.sent) >= FRAMES);
    assert!(largest <= SINGLE_BYTES_MAX, "seed {SEED}: an allocation of {largest} bytes");
    assert!(grown <= LIVE_BYTES_MAX, "seed {SEED}: memory grew by {grown} bytes");
    let offset = cluster.produce("topic-1", 0, &[(b"k", b"still there")]).unwrap();
    assert!(offset >= 0);
}
