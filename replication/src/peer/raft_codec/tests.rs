//! Every message comes back; nothing that is cut, changed or made up gets further than an error.

use openraft::impls::leader_id_std::LeaderId;
use ottla_protocol::model::{NodeId, Uuid};
use proptest::prelude::*;

use super::*;

fn replica() -> impl Strategy<Value = ReplicaId> {
    (any::<i32>(), 0..4_u128)
        .prop_map(|(node, id)| ReplicaId { node: NodeId(node), directory: Uuid::from_u128(id) })
}

fn vote_of_any() -> impl Strategy<Value = Vote> {
    (any::<u64>(), replica(), any::<bool>()).prop_map(|(term, voted_for, committed)| Vote {
        leader_id: LeaderId { term, voted_for },
        committed,
    })
}

fn log_id_of_any() -> impl Strategy<Value = LogId> {
    (any::<u64>(), any::<u64>()).prop_map(|(term, index)| LogId::new(Committed::new(term), index))
}

fn membership_of_any() -> impl Strategy<Value = Membership> {
    let voters = || prop::collection::btree_set(replica(), 1..5);
    (prop::collection::vec(voters(), 0..3), prop::collection::vec(replica(), 0..3))
        .prop_map(|(configs, learners)| Membership::new_with_defaults(configs, learners))
}

/// What an entry of a request is made of; a batch by its length.
#[derive(Clone, Debug)]
enum Kind {
    Blank,
    Members(Membership),
    Stored(u8),
    Received(Vec<u8>),
    LogStart(i64),
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Blank),
        membership_of_any().prop_map(Kind::Members),
        any::<u8>().prop_map(Kind::Stored),
        prop::collection::vec(any::<u8>(), 0..30).prop_map(Kind::Received),
        any::<i64>().prop_map(Kind::LogStart),
    ]
}

/// A batch of `len` bytes, as far as the codec looks into it.
fn batch(base: i64, term: u64, len: usize) -> Bytes {
    let mut bytes = vec![base as u8; len];
    bytes[..8].copy_from_slice(&base.to_be_bytes());
    bytes[8..12].copy_from_slice(&(len as i32 - 12).to_be_bytes());
    bytes[12..16].copy_from_slice(&(term as i32).to_be_bytes());
    bytes.into()
}

/// A request, and the request that the follower should see.
fn request(
    (vote, prev, commit): (Vote, Option<LogId>, Option<LogId>),
    first: u64,
    kinds: Vec<Kind>,
) -> (AppendEntriesRequest<TypeConfig>, Vec<String>) {
    let mut offset = 0;
    let mut expected = Vec::new();
    let mut entries = Vec::new();
    for (index, kind) in (first..).zip(kinds) {
        let term = index % 5;
        let (payload, text) = match kind {
            Kind::Blank => (Payload::Blank, "blank".to_owned()),
            Kind::Members(members) => {
                (Payload::Membership(members.clone()), format!("{members:?}"))
            }
            Kind::Stored(len) => {
                // Every batch has its offset and its length as contents; some leave a gap behind.
                let (base, end) = (Offset(offset), Offset(offset + 1));
                offset += if len % 3 == 0 { 5 } else { 1 };
                let bytes = 16 + u32::from(len);
                let text = format!("{:?}", batch(base.get(), term, bytes as usize));
                (Payload::Batch(Batch::Stored { base, end, bytes }), text)
            }
            Kind::Received(bytes) => {
                let bytes = Bytes::from(bytes);
                (Payload::Batch(Batch::Received(bytes.clone())), format!("{bytes:?}"))
            }
            Kind::LogStart(offset) => {
                (Payload::Batch(Batch::LogStart(Offset(offset))), format!("start {offset}"))
            }
        };
        let term = Committed::new(term);
        expected.push(format!("{term} {index} {text}"));
        entries.push(Entry { term, index, payload });
    }
    (AppendEntriesRequest { vote, prev_log_id: prev, entries, leader_commit: commit }, expected)
}

/// The log that [`request`] refers to.
fn log(
    request: &AppendEntriesRequest<TypeConfig>,
) -> impl Fn(Offset, Offset) -> io::Result<Vec<Bytes>> {
    let stored: Vec<_> = request
        .entries
        .iter()
        .filter_map(|entry| match entry.payload {
            Payload::Batch(Batch::Stored { base, end, bytes }) => {
                Some((base, end, batch(base.get(), entry.term.term, bytes as usize)))
            }
            _ => None,
        })
        .collect();
    move |base, end| {
        let within = stored.iter().filter(|(from, upto, _)| *from >= base && *upto <= end);
        // In two pieces, as a batch in the tail cache is.
        Ok(within.flat_map(|(_, _, bytes)| [bytes.slice(..10), bytes.slice(10..)]).collect())
    }
}

fn encode(request: &AppendEntriesRequest<TypeConfig>) -> (Vec<u8>, Vec<u8>) {
    let part = AppendPart { request, prev: request.prev_log_id, entries: &request.entries };
    let (mut head, mut payload) = (Vec::new(), Vec::new());
    put_append(&mut head, &mut payload, &part, log(request)).unwrap();
    (head, payload.concat())
}

fn reader(bytes: &[u8]) -> WireReader {
    WireReader::new(Bytes::copy_from_slice(bytes))
}

fn comes_back<T: std::fmt::Debug + PartialEq>(
    value: &T,
    put: impl Fn(&mut Vec<u8>, &T),
    read: impl Fn(&mut WireReader) -> Decoded<T>,
) -> Result<(), TestCaseError> {
    let mut out = Vec::new();
    put(&mut out, value);
    let mut whole = reader(&out);
    let came = read(&mut whole);
    prop_assert_eq!(came.as_ref(), Ok(value));
    prop_assert_eq!(whole.finish(), Ok(()));
    for len in 0..out.len() {
        prop_assert!(read(&mut reader(&out[..len])).is_err(), "cut at {}", len);
    }
    Ok(())
}

proptest! {
    #[test]
    fn appends_come_back(
        words in (vote_of_any(), prop::option::of(log_id_of_any()), prop::option::of(log_id_of_any())),
        first in 0..u64::MAX - 100,
        kinds in prop::collection::vec(kind(), 0..12),
    ) {
        let (request, expected) = request(words, first, kinds);
        let (head, payload) = encode(&request);
        let mut read = reader(&head);
        let came = append(&mut read, payload.clone().into()).unwrap();
        prop_assert_eq!(read.finish(), Ok(()));
        prop_assert_eq!(came.vote, request.vote);
        prop_assert_eq!(came.prev_log_id, request.prev_log_id);
        prop_assert_eq!(came.leader_commit, request.leader_commit);
        let seen: Vec<_> = came.entries.iter().map(|entry| {
            let text = match &entry.payload {
                Payload::Blank => "blank".to_owned(),
                Payload::Membership(members) => format!("{members:?}"),
                Payload::Batch(Batch::Received(bytes)) => format!("{bytes:?}"),
                Payload::Batch(Batch::LogStart(offset)) => format!("start {offset}"),
                Payload::Batch(other) => format!("{other}"),
            };
            format!("{} {} {text}", entry.term, entry.index)
        }).collect();
        prop_assert_eq!(seen, expected);
        // Cut short, or with too much of it, it is refused.
        for len in 0..head.len() {
            prop_assert!(append(&mut reader(&head[..len]), payload.clone().into()).is_err());
        }
        let longer: Bytes = [&payload[..], b"x"].concat().into();
        prop_assert!(append(&mut reader(&head), longer).is_err());
    }

    #[test]
    fn votes_come_back(
        vote in vote_of_any(), last in prop::option::of(log_id_of_any()), flag: bool,
    ) {
        let mut request = VoteRequest::new(vote, last);
        request.leadership_transfer = flag;
        comes_back(&request, put_vote_request, vote_request)?;
        let answer = VoteResponse { vote, vote_granted: flag, last_log_id: last };
        comes_back(&answer, put_vote_answer, vote_answer)?;
    }

    #[test]
    fn answers_to_appends_come_back(vote in vote_of_any(), upto in prop::option::of(log_id_of_any())) {
        for answer in [
            AppendEntriesResponse::Success,
            AppendEntriesResponse::PartialSuccess(upto),
            AppendEntriesResponse::Conflict,
            AppendEntriesResponse::HigherVote(vote),
        ] {
            comes_back(&answer, put_append_answer, append_answer)?;
        }
    }

    #[test]
    fn transfers_come_back(
        (from, actual) in (vote_of_any(), vote_of_any()), to in replica(),
        (expected_log, actual_log) in
            (prop::option::of(log_id_of_any()), prop::option::of(log_id_of_any())),
    ) {
        let request = TransferLeaderRequest::new(from, to, expected_log);
        comes_back(&request, put_transfer, transfer)?;
        for answer in [
            Ok(()),
            Err(TransferLeaderError::VoteChanged { expected: from, actual }),
            Err(TransferLeaderError::LogNotFlushed { expected: expected_log, actual: actual_log }),
        ] {
            comes_back(&answer, put_transfer_answer, transfer_answer)?;
        }
    }

    #[test]
    fn snapshots_come_back(
        last_log_id in prop::option::of(log_id_of_any()),
        at in prop::option::of(log_id_of_any()),
        members in membership_of_any(),
        vote in vote_of_any(),
    ) {
        let last_membership = StoredMembership::new(at, members);
        comes_back(&SnapshotMeta { last_log_id, last_membership }, put_snapshot_meta, snapshot_meta)?;
        comes_back(&SnapshotResponse::new(vote), put_snapshot_answer, snapshot_answer)?;
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(
        head in prop::collection::vec(any::<u8>(), 0..300),
        payload in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let _append = append(&mut reader(&head), payload.into());
        let _vote = vote_request(&mut reader(&head));
        let _answer = vote_answer(&mut reader(&head));
        let _appended = append_answer(&mut reader(&head));
        let _transfer = transfer(&mut reader(&head));
        let _transferred = transfer_answer(&mut reader(&head));
        let _snapshot = snapshot_meta(&mut reader(&head));
    }

    #[test]
    fn changed_bytes_of_an_append_never_panic(
        words in (vote_of_any(), prop::option::of(log_id_of_any()), prop::option::of(log_id_of_any())),
        kinds in prop::collection::vec(kind(), 1..6),
        at: prop::sample::Index,
        to: u8,
    ) {
        let (request, _) = request(words, 1, kinds);
        let (mut head, payload) = encode(&request);
        let at = at.index(head.len());
        head[at] = to;
        if let Ok(read) = append(&mut reader(&head), payload.clone().into()) {
            let batches: usize = read.entries.iter().map(|entry| match &entry.payload {
                Payload::Batch(Batch::Received(bytes)) => bytes.len(),
                _ => 0,
            }).sum();
            prop_assert_eq!(batches, payload.len());
        }
    }
}

fn blank(index: u64) -> Entry {
    Entry { term: Committed::new(1), index, payload: Payload::Blank }
}

fn plain(entries: Vec<Entry>) -> AppendEntriesRequest<TypeConfig> {
    let leader_id = LeaderId { term: 1, voted_for: ReplicaId::default() };
    let vote = Vote { leader_id, committed: true };
    AppendEntriesRequest { vote, prev_log_id: None, entries, leader_commit: None }
}

#[test]
fn batches_that_follow_one_another_are_fetched_at_once() {
    let stored = |index, base, end| Entry {
        payload: Payload::Batch(Batch::Stored { base: Offset(base), end: Offset(end), bytes: 20 }),
        ..blank(index)
    };
    // A blank entry takes no offset and so does not part its neighbours; a gap in the offsets does.
    let entries =
        vec![stored(1, 0, 4), stored(2, 4, 5), blank(3), stored(4, 5, 9), stored(5, 20, 21)];
    let request = plain(entries);
    let part = AppendPart { request: &request, prev: None, entries: &request.entries };
    let (mut head, mut payload, mut fetched) = (Vec::new(), Vec::new(), Vec::new());
    put_append(&mut head, &mut payload, &part, |base, end| {
        fetched.push((base.get(), end.get()));
        let starts: &[i64] = if base == Offset(0) { &[0, 4, 5] } else { &[20] };
        Ok(starts.iter().map(|start| batch(*start, 1, 20)).collect())
    })
    .unwrap();
    assert_eq!(fetched, [(0, 9), (20, 21)]);
}

#[test]
fn what_cannot_be_sent_is_refused_by_the_sender() {
    let encode = |entries, log: fn(Offset, Offset) -> io::Result<Vec<Bytes>>| {
        let request = plain(entries);
        let part = AppendPart { request: &request, prev: None, entries: &request.entries };
        put_append(&mut Vec::new(), &mut Vec::new(), &part, log).unwrap_err()
    };
    let gap = encode(vec![blank(1), blank(3)], |_, _| Ok(vec![]));
    assert!(matches!(gap, EncodeError::Codec(CodecError::Unsendable(_))));
    let stored = || Entry {
        payload: Payload::Batch(Batch::Stored { base: Offset(0), end: Offset(1), bytes: 20 }),
        ..blank(1)
    };
    let short = encode(vec![stored()], |_, _| Ok(vec![Bytes::from_static(b"123")]));
    assert!(matches!(short, EncodeError::Size { expected: 20, got: 3, .. }));
    let failed = encode(vec![stored()], |_, _| Err(io::ErrorKind::Other.into()));
    assert!(matches!(failed, EncodeError::Read { .. }));
    // Cut and written anew since the entry was read: another term, another batch.
    let newer = encode(vec![stored()], |_, _| Ok(vec![batch(0, 2, 20)]));
    assert!(matches!(newer, EncodeError::Replaced { base: Offset(0), term: 1 }));
    let other = encode(vec![stored()], |_, _| Ok(vec![batch(1, 1, 20)]));
    assert!(matches!(other, EncodeError::Replaced { .. }));
}

#[test]
fn a_small_frame_cannot_make_a_million_entries() {
    let entries = (0..=APPEND_ENTRIES_MAX as u64).map(blank).collect();
    let (head, payload) = encode(&plain(entries));
    let refused = append(&mut reader(&head), payload.into());
    assert!(matches!(refused, Err(CodecError::Count { what: "entries", .. })));
}
