//! Incremental fetch sessions (KIP-227).
//!
//! Owns: which partitions a client asked for last, what it was last told of each, session ids and
//! epochs, eviction. Never: reads a log. Source of the rules: Kafka's `FetchSession` classes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::{LeaderEpoch, MonoTime, Offset, Uuid};
use parking_lot::Mutex;

/// The epoch of a request that wants no session, or ends one.
const FINAL_EPOCH: i32 = -1;
/// The epoch of a request that starts a session.
const INITIAL_EPOCH: i32 = 0;

/// A partition as a fetch names it: by id from version 13 on, by name before.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct PartitionKey {
    pub topic_id: Uuid,
    /// Empty where the request has ids.
    pub topic: Arc<str>,
    pub partition: i32,
}

/// What a client wants of one partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    pub key: PartitionKey,
    pub offset: Offset,
    pub bytes_max: u32,
    pub leader_epoch: LeaderEpoch,
    pub last_fetched_epoch: LeaderEpoch,
}

/// What the client was last told of one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Told {
    high_watermark: Offset,
    log_start: Offset,
}

const NOT_TOLD: Told = Told { high_watermark: Offset::NONE, log_start: Offset::NONE };

/// What one answer says of a partition, as far as sessions care.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Telling {
    pub high_watermark: Offset,
    pub log_start: Offset,
    pub bytes: u64,
    /// An error or a diverging epoch: always sent.
    pub remarkable: bool,
}

#[derive(Debug)]
pub(crate) struct Session {
    id: i32,
    epoch: i32,
    uses_ids: bool,
    partitions: IndexMap<PartitionKey, (Wanted, Told)>,
    /// Where the next fetch starts, so that a busy partition does not starve those behind it.
    start: usize,
}

/// How a request is answered with regard to sessions.
#[derive(Debug)]
pub(crate) enum Mode {
    /// All partitions, no session.
    Sessionless,
    /// All partitions, and a session from here on.
    Opened(Arc<Mutex<Session>>),
    /// Only what changed.
    Incremental(Arc<Mutex<Session>>),
}

#[derive(Debug)]
struct Slot {
    session: Arc<Mutex<Session>>,
    last_used: MonoTime,
    created: MonoTime,
    partitions: usize,
}

/// All sessions of a broker, at most `slots`.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    slots_max: usize,
    evict_after: Duration,
    slots: Mutex<HashMap<i32, Slot>>,
}

/// The session part of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionRequest {
    pub id: i32,
    pub epoch: i32,
    pub uses_ids: bool,
}

impl FetchSessions {
    pub(crate) fn new(slots_max: usize, evict_after: Duration) -> Self {
        Self { slots_max, evict_after, slots: Mutex::new(HashMap::new()) }
    }

    /// How many sessions there are, and how many partitions they hold.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let slots = self.slots.lock();
        (slots.len(), slots.values().map(|slot| slot.partitions).sum())
    }

    /// Brings the session up to date with a request and says what is to be fetched.
    ///
    /// # Errors
    /// 70, 71 or 106 for the whole response.
    pub(crate) fn begin(
        &self,
        request: SessionRequest,
        wanted: Vec<Wanted>,
        forgotten: &[PartitionKey],
        now: MonoTime,
        new_id: i32,
    ) -> Result<(Mode, Vec<Wanted>), ErrorCode> {
        if matches!(request.epoch, FINAL_EPOCH | INITIAL_EPOCH) {
            if request.id != 0 {
                self.slots.lock().remove(&request.id);
            }
            if request.epoch == FINAL_EPOCH || wanted.is_empty() {
                return Ok((Mode::Sessionless, wanted));
            }
            return Ok(match self.open(request.uses_ids, &wanted, now, new_id) {
                Some(session) => (Mode::Opened(session), wanted),
                None => (Mode::Sessionless, wanted),
            });
        }
        let session = {
            let mut slots = self.slots.lock();
            let slot = slots.get_mut(&request.id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
            slot.last_used = now;
            Arc::clone(&slot.session)
        };
        let all = {
            let mut state = session.lock();
            state.advance(request)?;
            state.update(wanted, forgotten);
            let all = state.in_turn();
            if let Some(slot) = self.slots.lock().get_mut(&request.id) {
                slot.partitions = all.len();
            }
            all
        };
        if all.is_empty() {
            self.slots.lock().remove(&request.id);
            return Ok((Mode::Sessionless, all));
        }
        Ok((Mode::Incremental(session), all))
    }

    fn open(
        &self,
        uses_ids: bool,
        wanted: &[Wanted],
        now: MonoTime,
        new_id: i32,
    ) -> Option<Arc<Mutex<Session>>> {
        let mut slots = self.slots.lock();
        if slots.len() >= self.slots_max {
            let idle = slots
                .iter()
                .filter(|(_, slot)| {
                    now.since(slot.last_used) > self.evict_after
                        || (now.since(slot.created) > self.evict_after
                            && slot.partitions < wanted.len())
                })
                .min_by_key(|(id, slot)| (slot.last_used, **id))
                .map(|(id, _)| *id)?;
            slots.remove(&idle);
        }
        let mut id = new_id.checked_abs().unwrap_or(1).max(1);
        while slots.contains_key(&id) {
            id = if id == i32::MAX { 1 } else { id + 1 };
        }
        let partitions =
            wanted.iter().map(|wanted| (wanted.key.clone(), (wanted.clone(), NOT_TOLD))).collect();
        let session = Session { id, epoch: 1, uses_ids, partitions, start: 0 };
        let session = Arc::new(Mutex::new(session));
        let slot = Slot {
            session: Arc::clone(&session),
            last_used: now,
            created: now,
            partitions: wanted.len(),
        };
        slots.insert(id, slot);
        Some(session)
    }
}

impl Session {
    pub(crate) fn id(&self) -> i32 {
        self.id
    }

    fn advance(&mut self, request: SessionRequest) -> Result<(), ErrorCode> {
        if request.epoch != self.epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if request.uses_ids != self.uses_ids {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        self.epoch = if self.epoch == i32::MAX { 1 } else { self.epoch + 1 };
        Ok(())
    }

    fn update(&mut self, wanted: Vec<Wanted>, forgotten: &[PartitionKey]) {
        for wanted in wanted {
            match self.partitions.get_mut(&wanted.key) {
                Some((known, _)) => *known = wanted,
                None => {
                    self.partitions.insert(wanted.key.clone(), (wanted, NOT_TOLD));
                }
            }
        }
        for key in forgotten {
            self.partitions.swap_remove(key);
        }
    }

    fn in_turn(&self) -> Vec<Wanted> {
        let count = self.partitions.len();
        let start = if count == 0 { 0 } else { self.start % count };
        let (head, tail) = (self.partitions.iter().take(start), self.partitions.iter().skip(start));
        tail.chain(head).map(|(_, (wanted, _))| wanted.clone()).collect()
    }

    /// Whether an incremental answer must name this partition; remembers what it is told.
    pub(crate) fn tell(&mut self, key: &PartitionKey, news: Telling) -> bool {
        let Some((index, _, (_, told))) = self.partitions.get_full_mut(key) else { return true };
        let fresh = Told { high_watermark: news.high_watermark, log_start: news.log_start };
        let changed = *told != fresh || news.bytes > 0 || news.remarkable;
        // After an error the client is told everything again.
        *told = if news.remarkable { NOT_TOLD } else { fresh };
        if news.bytes > 0 {
            self.start = index + 1;
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(partition: i32, offset: i64) -> Wanted {
        Wanted {
            key: PartitionKey { topic_id: Uuid::from_u128(7), topic: Arc::from(""), partition },
            offset: Offset(offset),
            bytes_max: 100,
            leader_epoch: LeaderEpoch::NONE,
            last_fetched_epoch: LeaderEpoch::NONE,
        }
    }

    fn request(id: i32, epoch: i32) -> SessionRequest {
        SessionRequest { id, epoch, uses_ids: true }
    }

    fn at(seconds: u64) -> MonoTime {
        MonoTime::from_start(Duration::from_secs(seconds))
    }

    fn news(high_watermark: i64, bytes: u64) -> Telling {
        Telling {
            high_watermark: Offset(high_watermark),
            log_start: Offset(0),
            bytes,
            remarkable: false,
        }
    }

    fn opened(sessions: &FetchSessions, partitions: i32, now: MonoTime, id: i32) -> Option<i32> {
        let all = (0..partitions).map(|partition| wanted(partition, 0)).collect();
        match sessions.begin(request(0, 0), all, &[], now, id).expect("no error").0 {
            Mode::Opened(session) => Some(session.lock().id()),
            _ => None,
        }
    }

    #[test]
    fn an_incremental_request_names_only_what_it_changes() {
        let sessions = FetchSessions::new(10, Duration::from_secs(120));
        let id = opened(&sessions, 3, at(0), 42).expect("a session");
        let (mode, all) = sessions
            .begin(request(id, 1), vec![wanted(1, 9)], &[wanted(0, 0).key], at(1), 0)
            .expect("epoch 1 is next");
        assert!(matches!(mode, Mode::Incremental(_)));
        let mut offsets: Vec<_> = all.iter().map(|w| (w.key.partition, w.offset.0)).collect();
        offsets.sort_unstable();
        assert_eq!(offsets, [(1, 9), (2, 0)]);
    }

    #[test]
    fn wrong_epochs_and_ids_are_refused() {
        let sessions = FetchSessions::new(10, Duration::from_secs(120));
        let id = opened(&sessions, 1, at(0), 42).expect("a session");
        let error = |request| sessions.begin(request, vec![], &[], at(1), 0).map(|_| ());
        assert_eq!(error(request(id, 2)), Err(ErrorCode::InvalidFetchSessionEpoch));
        assert_eq!(error(request(id + 1, 1)), Err(ErrorCode::FetchSessionIdNotFound));
        let by_name = SessionRequest { uses_ids: false, ..request(id, 1) };
        assert_eq!(error(by_name), Err(ErrorCode::FetchSessionTopicIdError));
        assert_eq!(error(request(id, -1)), Ok(()), "the final epoch ends it");
        assert_eq!(error(request(id, 1)), Err(ErrorCode::FetchSessionIdNotFound));
    }

    #[test]
    fn only_news_is_told() {
        let sessions = FetchSessions::new(10, Duration::from_secs(120));
        let id = opened(&sessions, 2, at(0), 42).expect("a session");
        let session = Arc::clone(&sessions.slots.lock()[&id].session);
        let mut session = session.lock();
        let key = wanted(0, 0).key;
        assert!(session.tell(&key, news(5, 0)), "the first answer");
        assert!(!session.tell(&key, news(5, 0)), "nothing new");
        assert!(session.tell(&key, news(6, 0)), "the high watermark moved");
        assert!(session.tell(&key, Telling { remarkable: true, ..news(6, 0) }), "an error");
        assert!(session.tell(&key, news(6, 0)), "all again after an error");
    }

    #[test]
    fn a_partition_that_had_data_goes_to_the_end() {
        let sessions = FetchSessions::new(10, Duration::from_secs(120));
        let id = opened(&sessions, 3, at(0), 42).expect("a session");
        let session = Arc::clone(&sessions.slots.lock()[&id].session);
        session.lock().tell(&wanted(0, 0).key, news(5, 10));
        let order: Vec<_> = session.lock().in_turn().iter().map(|w| w.key.partition).collect();
        assert_eq!(order, [1, 2, 0]);
    }

    #[test]
    fn full_slots_refuse_until_one_is_idle() {
        let sessions = FetchSessions::new(1, Duration::from_secs(120));
        let first = opened(&sessions, 1, at(0), 1).expect("a session");
        assert_eq!(opened(&sessions, 1, at(60), 2), None, "the slot is in use");
        let second = opened(&sessions, 1, at(121), 2).expect("the first is idle by now");
        assert_ne!(first, second);
        assert_eq!(sessions.counts(), (1, 1));
    }
}
