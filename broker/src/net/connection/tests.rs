//! One connection over a real pair of sockets, with a clock that the test moves.
//!
//! Owns: order and bounds of answers, deadlines. Never: what a request means.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::SupportedFeatureKey;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{ApiVersionsResponse, FetchRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use ottla_config::loader::{self, Sources};
use ottla_protocol::frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;

use super::*;
use crate::clock::ManualClock;
use crate::host::Host;
use crate::metadata_service::MetadataService;
use crate::net::response::{Bulk, ResponseFrame};
use crate::{Broker, BrokerOptions, Storage};

const API_VERSIONS: i16 = 18;
const IDLE_MS: u64 = 600_000;
/// Small, so that little is under way between two sockets.
const SOCKET_BUFFER: u32 = 16 * 1024;

struct Bench {
    broker: Broker,
    clock: Arc<ManualClock>,
    client: TcpStream,
    connection: Connection,
}

impl Bench {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::default());
        let settings = ["listeners=PLAINTEXT://127.0.0.1:0", "ottla.http.listener="];
        let settings = settings.map(str::to_owned).to_vec();
        let config = loader::load(&Sources { settings, ..Sources::default() }).unwrap().layers();
        let broker = Broker::start(BrokerOptions {
            config,
            storage: Storage::Memory,
            seed: Some(1),
            clock: Some(clock.clone()),
            host: Host::System,
        });
        let broker = broker.await.unwrap();

        let listener = TcpSocket::new_v4().unwrap();
        listener.set_send_buffer_size(SOCKET_BUFFER).unwrap();
        listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = listener.listen(1).unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(SOCKET_BUFFER).unwrap();
        let client = socket.connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, peer) = listener.accept().await.unwrap();
        server.writable().await.unwrap();
        let local = server.local_addr().unwrap();
        let info =
            Arc::new(ConnectionInfo { id: 1, peer, local, listener: Arc::from("PLAINTEXT") });
        let connection = Connection::new(
            Stream::Tcp(server),
            Arc::clone(broker.services()),
            info,
            BytesMut::new(),
        );
        Self { broker, clock, client, connection }
    }

    /// A request whose answer is complete when `reply` is.
    fn push_pending(&mut self, reply: impl Future<Output = Outcome> + Send + 'static) {
        let reply = Box::pin(reply);
        self.connection.pending.push_back(Pending { reply, answer_bytes: 0, reservation: None });
    }
}

fn request(key: i16, correlation: i32) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_i32(10);
    frame.put_i16(key);
    frame.put_i16(0);
    frame.put_i32(correlation);
    frame.put_i16(-1);
    frame.freeze()
}

/// A Fetch (v4) of an empty partition, with correlation id 5.
fn fetch(topic: &'static str, wait_ms: i32) -> Bytes {
    let partition = FetchPartition::default().with_partition_max_bytes(1000);
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_static_str(topic)))
        .with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_replica_id((-1).into())
        .with_max_wait_ms(wait_ms)
        .with_min_bytes(1)
        .with_topics(vec![topic]);
    frame::encode_request(4, 5, None, &request).unwrap()
}

fn answer(correlation: i32, bytes: usize) -> Outcome {
    // Any response will do whose length can be chosen.
    let name = StrBytes::from_string("x".repeat(bytes.min(30_000)));
    let feature = SupportedFeatureKey::default().with_name(name);
    let features = vec![feature; bytes.div_ceil(30_000)];
    let response = ApiVersionsResponse::default().with_supported_features(features);
    Outcome::Write(ResponseFrame::encode(&response, 3, correlation, Bulk::default()).unwrap())
}

/// The correlation id of the next answer, or `None` at the end of the stream.
async fn next_answer(client: &mut TcpStream) -> Option<i32> {
    let length = match client.read_u32().await {
        Ok(length) => length as usize,
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            return None;
        }
    };
    let mut frame = vec![0; length];
    client.read_exact(&mut frame).await.unwrap();
    Some(i32::from_be_bytes(frame[..4].try_into().unwrap()))
}

async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// Sends and reads until the connection ends: the answers, and how it ended.
async fn exchange(bench: Bench, bytes: &[&[u8]]) -> (Vec<i32>, End) {
    let Bench { broker: _broker, clock: _clock, mut client, connection } = bench;
    client.write_all(&bytes.concat()).await.unwrap();
    let read = async {
        let mut answers = Vec::new();
        while let Some(id) = next_answer(&mut client).await {
            answers.push(id);
        }
        answers
    };
    let run = async { connection.run(std::future::pending()).await };
    tokio::join!(read, run)
}

#[tokio::test]
async fn answers_before_a_refused_request_leave_before_the_connection_closes() {
    let sound = [request(API_VERSIONS, 1), request(API_VERSIONS, 2)].concat();
    let behind = request(API_VERSIONS, 3);
    for refused in [request(9_999, 9), Bytes::from_static(&[0xff; 4])] {
        let bench = Bench::new().await;
        let (answers, end) = exchange(bench, &[&sound, &refused, &behind]).await;
        assert_eq!(answers, [1, 2]);
        assert!(matches!(end, End::Refused(_)), "{end:?}");
    }
}

#[tokio::test]
async fn a_refusal_waits_for_a_slow_answer_and_ends_what_came_behind() {
    let mut bench = Bench::new().await;
    let (tell, told) = oneshot::channel();
    bench.push_pending(async { told.await.unwrap() });
    bench.client.write_all(&request(9_999, 9)).await.unwrap();
    bench.connection.stream.socket().unwrap().readable().await.unwrap();
    let Bench { broker: _broker, mut client, connection, .. } = bench;
    let mut run = Box::pin(connection.run(std::future::pending()));
    assert!(poll_once(&mut run).await.is_pending(), "it waits for the answer");
    tell.send(answer(1, 10)).unwrap();
    let (end, first) = tokio::join!(run, next_answer(&mut client));
    assert!(matches!(end, End::Refused(_)), "{end:?}");
    assert_eq!(first, Some(1));
    assert_eq!(next_answer(&mut client).await, None);
}

#[tokio::test]
async fn a_late_refusal_drops_the_answers_behind_it_and_keeps_those_before() {
    let mut bench = Bench::new().await;
    bench.push_pending(async { answer(1, 10) });
    bench.push_pending(async { Outcome::Disconnect("the test says so".to_owned()) });
    bench.push_pending(async { answer(2, 10) });
    let (answers, end) = exchange(bench, &[]).await;
    assert_eq!(answers, [1]);
    assert!(matches!(end, End::Refused(reason) if reason == "the test says so"));
}

#[tokio::test]
async fn complete_answers_wait_until_the_client_takes_those_before() {
    const ANSWERS: usize = 64;
    const BYTES: usize = 120_000;
    let mut bench = Bench::new().await;
    let taken = Arc::new(AtomicUsize::new(0));
    for id in 0..ANSWERS {
        let taken = Arc::clone(&taken);
        bench.push_pending(async move {
            taken.fetch_add(1, Ordering::Relaxed);
            answer(id as i32, BYTES)
        });
    }
    let Bench { broker: _broker, mut client, connection, .. } = bench;
    let mut run = Box::pin(connection.run(std::future::pending()));
    assert!(poll_once(&mut run).await.is_pending());
    let taken = taken.load(Ordering::Relaxed);
    assert!(taken < ANSWERS / 2, "{taken} answers of {BYTES} bytes are in memory");
    // And none is forgotten once the client reads.
    let read = async move {
        for id in 0..ANSWERS {
            assert_eq!(next_answer(&mut client).await, Some(id as i32));
        }
    };
    let (end, ()) = tokio::join!(run, read);
    assert!(matches!(end, End::PeerClosed), "{end:?}");
}

#[tokio::test]
async fn complete_answers_behind_a_waiting_one_stop_the_reading() {
    let mut bench = Bench::new().await;
    bench.push_pending(std::future::pending());
    bench.connection.answered_bytes = OUTBOUND_MAX;
    bench.client.write_all(&request(API_VERSIONS, 1)).await.unwrap();
    bench.connection.stream.socket().unwrap().readable().await.unwrap();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(bench.connection.poll(&mut cx, false).is_continue());
    assert_eq!(bench.connection.pending.len(), 1);
    bench.connection.answered_bytes = OUTBOUND_MAX - 1;
    assert!(bench.connection.poll(&mut cx, false).is_continue());
    assert_eq!(bench.connection.pending.len(), 2);
}

#[tokio::test]
async fn a_connection_without_a_first_frame_is_closed() {
    let Bench { broker: _broker, clock, mut client, connection } = Bench::new().await;
    // Half a frame is none.
    client.write_all(&request(API_VERSIONS, 1)[..6]).await.unwrap();
    connection.stream.socket().unwrap().readable().await.unwrap();
    let mut run = Box::pin(connection.run(std::future::pending()));
    assert!(poll_once(&mut run).await.is_pending());
    clock.advance(FIRST_FRAME - Duration::from_millis(1));
    assert!(poll_once(&mut run).await.is_pending());
    clock.advance(Duration::from_millis(1));
    assert!(matches!(poll_once(&mut run).await, Poll::Ready(End::Idle)));
    assert_eq!(next_answer(&mut client).await, None);
}

#[tokio::test]
async fn an_idle_connection_is_closed_so_long_after_its_last_request() {
    let Bench { broker: _broker, clock, mut client, connection } = Bench::new().await;
    let mut run = Box::pin(connection.run(std::future::pending()));
    for id in 0..3 {
        client.write_all(&request(API_VERSIONS, id)).await.unwrap();
        tokio::select! {
            end = &mut run => panic!("{end:?}"),
            answer = next_answer(&mut client) => assert_eq!(answer, Some(id)),
        }
        clock.advance(Duration::from_millis(IDLE_MS - 1));
        assert!(poll_once(&mut run).await.is_pending());
    }
    clock.advance(Duration::from_millis(1));
    assert!(matches!(poll_once(&mut run).await, Poll::Ready(End::Idle)));
}

#[tokio::test]
async fn a_client_that_waits_for_an_answer_is_not_idle() {
    let mut bench = Bench::new().await;
    let (tell, told) = oneshot::channel();
    bench.push_pending(async { told.await.unwrap() });
    bench.connection.frames_seen = true;
    let Bench { broker: _broker, clock, mut client, connection } = bench;
    let mut run = Box::pin(connection.run(std::future::pending()));
    for _ in 0..5 {
        clock.advance(Duration::from_millis(IDLE_MS));
        assert!(poll_once(&mut run).await.is_pending());
    }
    tell.send(answer(7, 10)).unwrap();
    tokio::select! {
        end = &mut run => panic!("{end:?}"),
        answer = next_answer(&mut client) => assert_eq!(answer, Some(7)),
    }
    clock.advance(Duration::from_millis(IDLE_MS - 1));
    assert!(poll_once(&mut run).await.is_pending(), "the answer counts as activity");
    clock.advance(Duration::from_millis(1));
    assert!(poll_once(&mut run).await.is_ready());
}

#[tokio::test]
async fn a_fetch_that_waits_is_answered_when_the_broker_stops() {
    let mut bench = Bench::new().await;
    let services = Arc::clone(bench.broker.services());
    assert!(MetadataService::create_missing(&services, vec!["t".to_owned()]).await.is_empty());
    bench.client.write_all(&fetch("t", 600_000)).await.unwrap();
    bench.connection.stream.socket().unwrap().readable().await.unwrap();
    let Bench { broker, mut client, connection, .. } = bench;
    let mut run = Box::pin(connection.run(std::future::pending()));
    assert!(poll_once(&mut run).await.is_pending());
    broker.shutdown().await;
    tokio::select! {
        end = &mut run => panic!("{end:?}"),
        answer = next_answer(&mut client) => assert_eq!(answer, Some(5)),
    }
}

#[tokio::test]
async fn a_client_that_never_takes_its_answers_is_closed() {
    let mut bench = Bench::new().await;
    bench.connection.frames_seen = true;
    for id in 0..8 {
        bench.push_pending(async move { answer(id, 240_000) });
    }
    let Bench { broker: _broker, clock, client: _client, connection } = bench;
    let mut run = Box::pin(connection.run(std::future::pending()));
    assert!(poll_once(&mut run).await.is_pending());
    clock.advance(Duration::from_millis(IDLE_MS));
    assert!(matches!(poll_once(&mut run).await, Poll::Ready(End::Idle)));
}

#[tokio::test]
async fn a_client_that_stops_within_a_large_frame_does_not_keep_the_budget() {
    let mut bench = Bench::new().await;
    bench.connection.frames_seen = true;
    let services = Arc::clone(bench.broker.services());
    let all_is_free = || services.edge.budget.try_take(usize::MAX).is_some();
    assert!(all_is_free());
    let Bench { broker: _broker, clock, mut client, connection } = bench;
    client.write_all(&[0, 1, 0, 0, 7]).await.unwrap();
    connection.stream.socket().unwrap().readable().await.unwrap();
    let mut run = Box::pin(connection.run(std::future::pending()));
    assert!(poll_once(&mut run).await.is_pending());
    assert!(!all_is_free(), "the frame's 64 KiB are reserved");
    clock.advance(STALLED_MAX - Duration::from_millis(1));
    assert!(poll_once(&mut run).await.is_pending());
    clock.advance(Duration::from_millis(1));
    assert!(matches!(poll_once(&mut run).await, Poll::Ready(End::Idle)));
    drop(run);
    assert!(all_is_free());
}

#[tokio::test]
async fn a_client_that_has_closed_does_not_wait_for_ever() {
    let mut bench = Bench::new().await;
    bench.push_pending(std::future::pending());
    bench.connection.frames_seen = true;
    let Bench { broker: _broker, clock, mut client, connection } = bench;
    client.shutdown().await.unwrap();
    connection.stream.socket().unwrap().readable().await.unwrap();
    let mut run = Box::pin(connection.run(std::future::pending()));
    assert!(poll_once(&mut run).await.is_pending(), "its last answer is still owed");
    clock.advance(Duration::from_millis(IDLE_MS));
    assert!(matches!(poll_once(&mut run).await, Poll::Ready(End::Idle)));
}
