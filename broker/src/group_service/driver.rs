//! One shard at work: its steps, its appends, its waiting clients.
//!
//! Owns: the lock around a shard, the tokens, what becomes of a failed append. Never: waits.
//! Invariant: a token is answered once. After a failed append the state is ahead of the log, so the
//! shard is given up and whoever waits is told; the next request loads it anew from the log. With a
//! group an append fails later than it is made: the [`Ledger`] knows of it before anything more is
//! answered.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ottla_coordinator::group::{
    DeletedTopic, Effects, GroupError, GroupRecord, GroupShard, Input, ReplyToken,
};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::{LeaderEpoch, Now, Offset, TopicPartition};
use ottla_protocol::records::{
    BatchBuilder, BatchError, BatchHeader, BuildError, Compression, HEADER, NewRecord,
};
use ottla_replication::partition::{Partition, PartitionError, SubmittedBatch};
use ottla_replication::wait::Countdown;
use ottla_storage::log::{LeaderAppend, LeaderBatch};
use ottla_storage::producer_state::AppendOrigin;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::GroupOffset;
use super::answer::{Answer, Delivered, Delivery, Patience, Pending, Source, Written};
use super::ledger::Ledger;
use super::timers::Deadlines;
use crate::api::error::KafkaError;

/// Records of one step go into batches of about this size, well below any topic's limit.
const BATCH_BYTES: usize = 512 << 10;

#[derive(Debug)]
pub(super) struct Driver {
    index: i32,
    partition: Arc<Partition>,
    deadlines: Arc<Deadlines>,
    patience: Patience,
    /// What was given to the partition's group, where it has one.
    ledger: Arc<Ledger>,
    state: Mutex<State>,
    /// The leader epoch in which the shard was loaded: it is of no use in another.
    epoch: LeaderEpoch,
    /// Whether there is a shard, for those who must not wait for the lock.
    alive: AtomicBool,
}

#[derive(Debug)]
struct State {
    /// `None` before [`Driver::begin`] and after a failure.
    shard: Option<GroupShard>,
    waiting: HashMap<ReplyToken, oneshot::Sender<Delivery>>,
    next_token: u64,
    /// Everything that this shard has written.
    written: Written,
}

impl Driver {
    pub(super) fn new(
        index: i32,
        partition: &Arc<Partition>,
        epoch: LeaderEpoch,
        deadlines: Arc<Deadlines>,
        patience: Patience,
    ) -> Self {
        let state = State {
            shard: None,
            waiting: HashMap::new(),
            next_token: 0,
            written: Written::Upto(Offset::ZERO, None),
        };
        let (partition, alive) = (Arc::clone(partition), AtomicBool::new(false));
        let ledger = Ledger::new(index, Arc::clone(&deadlines));
        let state = Mutex::new(state);
        Self { index, partition, deadlines, patience, ledger, state, epoch, alive }
    }

    /// Takes over a shard that has been replayed.
    pub(super) fn begin(&self, mut shard: GroupShard, now: Now) {
        let mut state = self.state.lock();
        let effects = shard.finish_load(now);
        // What was read need not be committed yet: a shard of this very epoch may have written it.
        let epoch = self.partition.is_replicated().then_some(self.epoch);
        state.written = Written::Upto(self.partition.log_end(), epoch);
        state.shard = Some(shard);
        self.alive.store(true, Ordering::Release);
        self.carry_out(&mut state, now, effects, None);
        self.arm(&state);
    }

    /// Whether requests for this partition belong here.
    pub(super) fn serves(&self, partition: &Arc<Partition>) -> bool {
        Arc::ptr_eq(&self.partition, partition)
            && self.alive.load(Ordering::Acquire)
            && !self.is_deposed()
            && !self.ledger.is_broken()
    }

    /// This broker does not lead the partition any more, or leads it anew.
    pub(super) fn is_deposed(&self) -> bool {
        self.partition.is_replicated() && !self.partition.leads_in(self.epoch)
    }

    /// What this shard has given to the partition's group.
    pub(super) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// The partition's directory has failed.
    pub(super) fn is_offline(&self) -> bool {
        self.partition.is_offline()
    }

    pub(super) fn submit(
        &self,
        now: Now,
        input: impl FnOnce(ReplyToken) -> Input,
    ) -> Result<Answer, GroupError> {
        let mut state = self.state.lock();
        self.give_up_if_useless(&mut state);
        state.next_token += 1;
        let token = ReplyToken(state.next_token);
        let shard = state.shard.as_mut().ok_or(GroupError::NotCoordinator)?;
        let input = input(token);
        // A coordinator that was replaced, and does not know it, must not show offsets of old.
        let reads = matches!(input, Input::FetchOffsets(..));
        let confirm = if reads { self.partition.group() } else { None };
        let effects = shard.step(now, input);
        let own = self.carry_out(&mut state, now, effects, Some(token));
        let source = match own {
            Some(Ok(delivered)) => {
                if confirm.is_none() && delivered.written.is_committed(&self.partition) {
                    self.arm(&state);
                    return Ok(Answer::Ready(delivered.reply));
                }
                Source::Uncommitted(delivered)
            }
            Some(Err(error)) => return Err(error),
            None => {
                let (sender, receiver) = oneshot::channel();
                state.waiting.insert(token, sender);
                Source::Deferred(receiver)
            }
        };
        self.arm(&state);
        let (partition, patience) = (Arc::clone(&self.partition), self.patience.clone());
        Ok(Answer::Later(Pending { partition, source, patience, confirm }))
    }

    pub(super) fn tick(&self, now: Now) {
        self.step(now, Input::Tick);
    }

    pub(super) fn forget_topics(&self, topics: Vec<DeletedTopic>, now: Now) {
        self.step(now, Input::TopicsDeleted(topics));
    }

    /// Ends service; whoever waits is told `error`.
    pub(super) fn close(&self, error: GroupError) {
        self.give_up(&mut self.state.lock(), error);
    }

    pub(super) fn committed_offsets(&self) -> Vec<GroupOffset> {
        let state = self.state.lock();
        let offsets = state.shard.iter().flat_map(|shard| shard.committed());
        offsets
            .map(|(group, topic, partition, committed)| GroupOffset {
                group: group.into(),
                partition: TopicPartition::new(topic, partition),
                offset: Offset(committed.value.offset),
            })
            .collect()
    }

    fn step(&self, now: Now, input: Input) {
        let mut state = self.state.lock();
        self.give_up_if_useless(&mut state);
        let Some(shard) = state.shard.as_mut() else { return };
        let effects = shard.step(now, input);
        self.carry_out(&mut state, now, effects, None);
        self.arm(&state);
    }

    /// Appends the records and passes the replies on; gives the one for `own`, if it is there.
    fn carry_out(
        &self,
        state: &mut State,
        now: Now,
        effects: Effects,
        own: Option<ReplyToken>,
    ) -> Option<Delivery> {
        if !effects.records.is_empty() {
            match self.append(&effects.records, now) {
                Ok(written) => state.written = written,
                Err(error) => {
                    tracing::error!(partition = %self.partition.name(), %error,
                        "consumer groups could not be written; they are read again from the log");
                    let answer = error.answer();
                    for (token, _) in effects.replies {
                        if let Some(sender) = state.waiting.remove(&token) {
                            // The client may be gone, which is its right.
                            let _gone = sender.send(Err(answer));
                        }
                    }
                    self.give_up(state, answer);
                    return own.map(|_| Err(answer));
                }
            }
        }
        let mut mine = None;
        for (token, reply) in effects.replies {
            let written = state.written.clone();
            deliver(state, token, Delivered { reply, written }, own, &mut mine);
        }
        mine
    }

    /// Appends the records, all or none. Gives what commits them.
    fn append(&self, records: &[GroupRecord], now: Now) -> Result<Written, AppendFailure> {
        let batches = chunks(records)
            .map(|chunk| batch(chunk, now))
            .collect::<Result<Vec<LeaderBatch>, AppendFailure>>()?;
        if self.partition.is_replicated() {
            return self.propose(batches, now);
        }
        let append = LeaderAppend {
            frame_bytes: batches.iter().map(|batch| batch.payload.len()).sum(),
            batches: &batches,
            origin: AppendOrigin::Coordinator,
        };
        Ok(Written::Upto(self.partition.append(&append, now, None)?.committed_at, None))
    }

    /// Gives the batches to the partition's group, which may still refuse them.
    fn propose(&self, batches: Vec<LeaderBatch>, now: Now) -> Result<Written, AppendFailure> {
        let deposed = || PartitionError::NotLeader(self.partition.name().clone());
        if self.is_deposed() {
            return Err(deposed().into());
        }
        let mut last = None;
        for batch in batches {
            let frame_bytes = batch.payload.len();
            let batch = SubmittedBatch { batch, origin: AppendOrigin::Coordinator, frame_bytes };
            let told = Countdown::held();
            let submission = self.partition.submit_in(self.epoch, batch, now, &told);
            told.done();
            last = Some(self.ledger.add(submission, told));
        }
        let number = last.ok_or_else(deposed)?;
        Ok(Written::Batch { ledger: Arc::clone(&self.ledger), number })
    }

    /// A shard whose log is out of use, led by another or behind it must not answer.
    fn give_up_if_useless(&self, state: &mut State) {
        if self.partition.is_offline() || self.is_deposed() || self.ledger.is_broken() {
            self.give_up(state, GroupError::NotCoordinator);
        }
    }

    fn give_up(&self, state: &mut State, error: GroupError) {
        let Some(shard) = state.shard.take() else { return };
        self.alive.store(false, Ordering::Release);
        for (token, reply) in shard.unload().replies {
            let written = Written::Upto(Offset::ZERO, None);
            deliver(state, token, Delivered { reply, written }, None, &mut None);
        }
        for (_, sender) in state.waiting.drain() {
            let _gone = sender.send(Err(error));
        }
    }

    fn arm(&self, state: &State) {
        if let Some(at) = state.shard.as_ref().and_then(GroupShard::deadline) {
            self.deadlines.arm(self.index, at);
        }
    }
}

fn deliver(
    state: &mut State,
    token: ReplyToken,
    delivered: Delivered,
    own: Option<ReplyToken>,
    mine: &mut Option<Delivery>,
) {
    if own == Some(token) {
        *mine = Some(Ok(delivered));
    } else if let Some(sender) = state.waiting.remove(&token) {
        let _gone = sender.send(Ok(delivered));
    }
}

fn batch(records: &[GroupRecord], now: Now) -> Result<LeaderBatch, AppendFailure> {
    let mut builder = BatchBuilder::new(Compression::NONE);
    for record in records {
        builder.push(NewRecord {
            key: Some(&record.key),
            value: record.value.as_deref(),
            ..NewRecord::at(now.wall)
        })?;
    }
    let bytes = builder.build()?;
    Ok(LeaderBatch { header: BatchHeader::parse(&bytes)?, payload: bytes.slice(HEADER..) })
}

#[derive(Debug, thiserror::Error)]
enum AppendFailure {
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Header(#[from] BatchError),
    #[error(transparent)]
    Partition(#[from] PartitionError),
}

impl AppendFailure {
    fn answer(&self) -> GroupError {
        match self {
            Self::Build(_) | Self::Header(_) => GroupError::RecordTooLarge,
            Self::Partition(error) => answer_to(error.code()),
        }
    }
}

/// `CoordinatorOperationExceptionHelper` of Kafka: what a client can do something about.
pub(super) fn answer_to(code: ErrorCode) -> GroupError {
    match code {
        ErrorCode::MessageTooLarge
        | ErrorCode::RecordListTooLarge
        | ErrorCode::InvalidFetchSize => GroupError::RecordTooLarge,
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::RequestTimedOut => GroupError::CoordinatorNotAvailable,
        _ => GroupError::NotCoordinator,
    }
}

/// Cuts the records of a step where a batch has enough.
fn chunks(records: &[GroupRecord]) -> impl Iterator<Item = &[GroupRecord]> {
    let mut rest = records;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let full = rest.iter().position(|record| {
            let before = bytes;
            bytes += record.size();
            before > 0 && bytes > BATCH_BYTES
        });
        let (chunk, after) = rest.split_at(full.unwrap_or(rest.len()));
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    })
}

#[cfg(test)]
pub(super) mod tests;
