//! 88,000 frames and more that no client sends: the edge neither panics nor allocates beyond what
//! the guard foresaw.
//!
//! Every key and version that kafka-protocol has gets sound bodies that were cut, flipped, spliced
//! and given huge counts, and plain noise. What the guard lets pass is decoded under an allocator
//! that counts. All of it follows from `SEED`; a failure prints key, version and body.

use bytes::Bytes;
use ottla_allocations::{Counting, allocated};
use ottla_protocol::frame;
use ottla_protocol::guard::{self, sample};
use ottla_protocol::messages::*;
use ottla_protocol::model::Timestamp;
use ottla_protocol::records::validate::ValidationRules;
use ottla_protocol::records::{BatchBuilder, BatchHeader, Codec, HEADER, NewRecord, validate};

const SEED: u64 = 0xbad_f00d;
const FRAMES_PER_VERSION: u64 = 340;

/// What an error of kafka-protocol's takes: it may carry a backtrace.
const ERROR_BYTES: usize = 256 << 10;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 8
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Counts and lengths as attackers like them.
const HUGE: &[&[u8]] = &[
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

fn malformed(key: i16, version: i16, random: &mut Random) -> Vec<u8> {
    let mut body = sample::body(key, version, &mut || random.next()).expect("a version");
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
            let huge = HUGE[random.below(HUGE.len())];
            let at = random.below(body.len());
            let end = (at + huge.len()).min(body.len());
            body.splice(at..end, huge.iter().copied());
        }
        5 => {
            let other = sample::body(key, version, &mut || random.next()).expect("a version");
            let (at, from) = (random.below(body.len()), random.below(other.len()));
            body.truncate(at);
            body.extend_from_slice(other.get(from..).unwrap_or_default());
        }
        6 => {
            let len = random.below(200);
            body = (0..len).map(|_| random.next() as u8).collect();
        }
        _ => {
            // Mostly zeros and ones, which reach deeper than noise.
            let len = random.below(200);
            body = (0..len)
                .map(|_| match random.below(6) {
                    0 => random.next() as u8,
                    1 => 1,
                    2 => 2,
                    _ => 0,
                })
                .collect();
        }
    }
    body
}

macro_rules! decode_by_key {
    ($($name:ident($request:ident),)*) => {
        /// Guards and decodes a body; for every key that kafka-protocol has.
        fn decode(key: ApiKey, version: i16, body: Bytes) -> Result<(), DecodeError> {
            match key {
                $(ApiKey::$name => decode_request::<$request>(version, body).map(drop),)*
            }
        }
    };
}

decode_by_key! {
    Produce(ProduceRequest),
    Fetch(FetchRequest),
    ListOffsets(ListOffsetsRequest),
    Metadata(MetadataRequest),
    OffsetCommit(OffsetCommitRequest),
    OffsetFetch(OffsetFetchRequest),
    FindCoordinator(FindCoordinatorRequest),
    JoinGroup(JoinGroupRequest),
    Heartbeat(HeartbeatRequest),
    LeaveGroup(LeaveGroupRequest),
    SyncGroup(SyncGroupRequest),
    DescribeGroups(DescribeGroupsRequest),
    ListGroups(ListGroupsRequest),
    SaslHandshake(SaslHandshakeRequest),
    ApiVersions(ApiVersionsRequest),
    CreateTopics(CreateTopicsRequest),
    DeleteTopics(DeleteTopicsRequest),
    DeleteRecords(DeleteRecordsRequest),
    InitProducerId(InitProducerIdRequest),
    OffsetForLeaderEpoch(OffsetForLeaderEpochRequest),
    AddPartitionsToTxn(AddPartitionsToTxnRequest),
    AddOffsetsToTxn(AddOffsetsToTxnRequest),
    EndTxn(EndTxnRequest),
    WriteTxnMarkers(WriteTxnMarkersRequest),
    TxnOffsetCommit(TxnOffsetCommitRequest),
    DescribeAcls(DescribeAclsRequest),
    CreateAcls(CreateAclsRequest),
    DeleteAcls(DeleteAclsRequest),
    DescribeConfigs(DescribeConfigsRequest),
    AlterConfigs(AlterConfigsRequest),
    AlterReplicaLogDirs(AlterReplicaLogDirsRequest),
    DescribeLogDirs(DescribeLogDirsRequest),
    SaslAuthenticate(SaslAuthenticateRequest),
    CreatePartitions(CreatePartitionsRequest),
    CreateDelegationToken(CreateDelegationTokenRequest),
    RenewDelegationToken(RenewDelegationTokenRequest),
    ExpireDelegationToken(ExpireDelegationTokenRequest),
    DescribeDelegationToken(DescribeDelegationTokenRequest),
    DeleteGroups(DeleteGroupsRequest),
    ElectLeaders(ElectLeadersRequest),
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest),
    AlterPartitionReassignments(AlterPartitionReassignmentsRequest),
    ListPartitionReassignments(ListPartitionReassignmentsRequest),
    OffsetDelete(OffsetDeleteRequest),
    DescribeClientQuotas(DescribeClientQuotasRequest),
    AlterClientQuotas(AlterClientQuotasRequest),
    DescribeUserScramCredentials(DescribeUserScramCredentialsRequest),
    AlterUserScramCredentials(AlterUserScramCredentialsRequest),
    Vote(VoteRequest),
    BeginQuorumEpoch(BeginQuorumEpochRequest),
    EndQuorumEpoch(EndQuorumEpochRequest),
    DescribeQuorum(DescribeQuorumRequest),
    AlterPartition(AlterPartitionRequest),
    UpdateFeatures(UpdateFeaturesRequest),
    Envelope(EnvelopeRequest),
    FetchSnapshot(FetchSnapshotRequest),
    DescribeCluster(DescribeClusterRequest),
    DescribeProducers(DescribeProducersRequest),
    BrokerRegistration(BrokerRegistrationRequest),
    BrokerHeartbeat(BrokerHeartbeatRequest),
    UnregisterBroker(UnregisterBrokerRequest),
    DescribeTransactions(DescribeTransactionsRequest),
    ListTransactions(ListTransactionsRequest),
    AllocateProducerIds(AllocateProducerIdsRequest),
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatRequest),
    ConsumerGroupDescribe(ConsumerGroupDescribeRequest),
    ControllerRegistration(ControllerRegistrationRequest),
    GetTelemetrySubscriptions(GetTelemetrySubscriptionsRequest),
    PushTelemetry(PushTelemetryRequest),
    AssignReplicasToDirs(AssignReplicasToDirsRequest),
    ListConfigResources(ListConfigResourcesRequest),
    DescribeTopicPartitions(DescribeTopicPartitionsRequest),
    ShareGroupHeartbeat(ShareGroupHeartbeatRequest),
    ShareGroupDescribe(ShareGroupDescribeRequest),
    ShareFetch(ShareFetchRequest),
    ShareAcknowledge(ShareAcknowledgeRequest),
    AddRaftVoter(AddRaftVoterRequest),
    RemoveRaftVoter(RemoveRaftVoterRequest),
    UpdateRaftVoter(UpdateRaftVoterRequest),
    InitializeShareGroupState(InitializeShareGroupStateRequest),
    ReadShareGroupState(ReadShareGroupStateRequest),
    WriteShareGroupState(WriteShareGroupStateRequest),
    DeleteShareGroupState(DeleteShareGroupStateRequest),
    ReadShareGroupStateSummary(ReadShareGroupStateSummaryRequest),
    DescribeShareGroupOffsets(DescribeShareGroupOffsetsRequest),
    AlterShareGroupOffsets(AlterShareGroupOffsetsRequest),
    DeleteShareGroupOffsets(DeleteShareGroupOffsetsRequest),
}

#[test]
fn malformed_bodies_neither_panic_nor_allocate() {
    let (mut frames, mut admitted_frames, mut decoded_frames, mut worst) = (0, 0, 0, 0.0);
    for key in ApiKey::iter() {
        let versions = key.valid_versions();
        for version in versions.min..=versions.max {
            for n in 0..FRAMES_PER_VERSION {
                let seed = SEED ^ (key as u64) << 40 ^ (version as u64) << 32 ^ n;
                let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
                let body = Bytes::from(malformed(key as i16, version, &mut random));
                frames += 1;
                let context = || format!("{key:?} v{version}: {:02x?}", &body[..]);
                let (cost, bytes) = allocated(|| guard::check(key as i16, version, &body));
                assert_eq!(bytes, 0, "the guard allocates: {}", context());
                let Ok(cost) = cost else { continue };
                admitted_frames += 1;
                let ratio = cost.decoded_bytes as f64 / (body.len() + 256) as f64;
                worst = f64::max(worst, ratio);
                let (decoded, bytes) = allocated(|| decode(key, version, body.clone()));
                let allowed = match decoded {
                    Ok(()) => {
                        decoded_frames += 1;
                        cost.decoded_bytes
                    }
                    Err(DecodeError::Message(_)) => cost.decoded_bytes + ERROR_BYTES,
                    Err(error) => panic!("{error}: {}", context()),
                };
                assert!(
                    bytes <= allowed,
                    "{bytes} bytes allocated, {} foreseen: {}",
                    cost.decoded_bytes,
                    context()
                );
            }
        }
    }
    println!("{frames} frames, {admitted_frames} admitted, {decoded_frames} decoded");
    println!("decoded bytes foreseen per byte of a frame, at most: {worst:.1}");
    assert!(frames >= 88_000, "{frames} frames");
    assert!(decoded_frames > 1_000 && admitted_frames < frames / 2, "the frames are malformed");
    // A structure whose fields are nearly all empty takes this much more than its bytes.
    assert!(worst < 64.0, "{worst}");
}

#[test]
fn malformed_headers_neither_panic_nor_allocate() {
    let mut random = Random(SEED);
    let (mut sound, mut unsound) = (0, 0);
    for _ in 0..50_000 {
        let len = random.below(40);
        let mut frame: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        if random.below(2) == 0
            && let Some(head) = frame.first_chunk_mut::<10>()
        {
            // A key and a version that may exist, and a client id that may fit.
            head[..4].copy_from_slice(&[0, random.below(96) as u8, 0, random.below(14) as u8]);
            head[8..].copy_from_slice(&[0, random.below(12) as u8]);
        }
        let frame = Bytes::from(frame);
        let (parsed, bytes) = allocated(|| frame::parse_request(&frame));
        // `Bytes` becomes shared when it is first sliced.
        assert!(bytes <= 64, "{bytes} bytes for {:02x?}", &frame[..]);
        match parsed {
            Ok(request) => {
                sound += 1;
                assert!(request.body.len() <= frame.len() - 10);
            }
            Err(_) => unsound += 1,
        }
    }
    assert!(sound > 1_000 && unsound > 1_000, "{sound} sound, {unsound} unsound");
}

fn batch(codec: Codec, records: u8) -> Bytes {
    let mut builder = BatchBuilder::new(codec.into());
    for n in 0..records {
        let record = NewRecord { key: Some(&[n]), value: Some(&[n; 50]), ..NewRecord::at(NOW) };
        builder.push(record).expect("it fits");
    }
    builder.build().expect("it builds")
}

const NOW: Timestamp = Timestamp(1_700_000_000_000);

#[test]
fn sound_batches_are_validated_without_allocating() {
    let rules = ValidationRules::default();
    for records in [1, 250] {
        let bytes = batch(Codec::None, records);
        // The first slice of `Bytes` makes it shared, once.
        let bytes = bytes.slice(..);
        let (valid, allocated) = allocated(|| validate(&bytes, &rules, NOW));
        assert!(valid.is_ok());
        assert_eq!(allocated, 0, "{records} records");
    }
    for codec in Codec::ALL {
        let (few, many) = (batch(codec, 10), batch(codec, 250));
        let (few, many) = (few.slice(..), many.slice(..));
        let cost = |bytes: &Bytes| allocated(|| validate(bytes, &rules, NOW).expect("valid")).1;
        let (few, many) = (cost(&few), cost(&many));
        // snappy's block is as large as the batch; nothing else depends on the records.
        let block = if codec == Codec::Snappy { 250 * 70 } else { 0 };
        assert!(many <= few + block, "{codec}: {few} for 10 records, {many} for 250");
    }
}

#[test]
fn malformed_batches_neither_panic_nor_allocate() {
    let rules = ValidationRules { expanded_bytes_max: 1 << 20, ..ValidationRules::default() };
    let mut worst = 0;
    for codec in Codec::ALL {
        for n in 0..4_000u64 {
            let mut random = Random((SEED ^ n << 8 ^ codec as u64).wrapping_mul(0x9e37_79b9) | 1);
            let mut bytes = batch(codec, 1 + random.below(4) as u8).to_vec();
            for _ in 0..=random.below(4) {
                let at = HEADER + random.below(bytes.len() - HEADER);
                bytes[at] = random.next() as u8;
            }
            let mut header = BatchHeader::parse(&bytes).expect("a header");
            header.crc = header.compute_crc(&bytes[HEADER..]);
            bytes[..HEADER].copy_from_slice(&header.encode());
            let bytes = Bytes::from(bytes);
            let (_, allocated) = allocated(|| validate(&bytes, &rules, NOW));
            worst = worst.max(allocated);
            // A decoder's state, which does not depend on the data. That of lz4 is what the frame
            // says its blocks may have, untouched until a block has it.
            let state = if codec == Codec::Lz4 { 13 << 20 } else { 128 << 10 };
            let allowed = state + 64 * bytes.len();
            assert!(allocated <= allowed, "{codec}: {allocated} bytes for {:02x?}", &bytes[..]);
        }
    }
    println!("bytes allocated for a batch, at most: {worst}");
}
