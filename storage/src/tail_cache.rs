//! The end of a log in memory, so that readers at the tail never touch a file.
//!
//! Owns: which of the last batches are kept, and as what. Never: offsets' meaning, or the files.
//! A large batch is kept as the very buffer that was produced. A small one, or one whose request
//! frame is much larger than itself, is copied into a shared chunk: a slice pins its whole frame,
//! and a reader of a hundred small batches gets one slice instead of two hundred.
//! Invariants: the batches kept are the last ones without a gap; what is charged to the budget is
//! at least what is pinned.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use bytes::{Bytes, BytesMut};
use ottla_protocol::model::Offset;
use ottla_protocol::records::BatchHeader;
use parking_lot::Mutex;

use crate::log::{LogRead, LogSlice, MinOneBatch};

/// Batches below this size are copied.
const COPY_BELOW: usize = 4 * 1024;
/// A batch that has less than this part of its frame is copied, too.
const PINNED_PER_BYTE: usize = 4;
const CHUNK_MIN: usize = 2 * 1024;
const CHUNK_MAX: usize = 64 * 1024;

/// The memory that all logs of a process keep for readers at the tail.
#[derive(Debug)]
pub struct TailBudget {
    total: u64,
    per_log: u64,
    used: AtomicU64,
    /// Caches that hold something, those filled longest ago first.
    holders: Mutex<VecDeque<Weak<Mutex<Tail>>>>,
}

impl TailBudget {
    /// `total` bytes for all logs, at most `per_log` of them for one.
    #[must_use]
    pub fn new(total: u64, per_log: u64) -> Self {
        Self { total, per_log, used: AtomicU64::new(0), holders: Mutex::default() }
    }

    /// Bytes held now.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Empties caches of other logs until there is room.
    fn make_room(&self, own: &Arc<Mutex<Tail>>) {
        // Busy caches are passed over, so a bounded number of tries.
        for _ in 0..8 {
            if self.used() <= self.total {
                return;
            }
            let Some(holder) = self.holders.lock().pop_front() else { return };
            let Some(tail) = holder.upgrade() else { continue };
            if !Arc::ptr_eq(&tail, own)
                && let Some(mut other) = tail.try_lock()
            {
                other.clear(self);
                other.listed = false;
            } else {
                self.holders.lock().push_back(holder);
            }
        }
    }
}

/// One log's share.
#[derive(Debug)]
pub(crate) struct TailCache {
    budget: Arc<TailBudget>,
    tail: Arc<Mutex<Tail>>,
}

#[derive(Debug, Default)]
struct Tail {
    batches: VecDeque<CachedBatch>,
    /// Chunks that are complete, the first one having number `first_chunk`.
    chunks: VecDeque<Bytes>,
    first_chunk: u64,
    /// The chunk being filled; its number follows those of `chunks`.
    open: BytesMut,
    charged: u64,
    listed: bool,
}

#[derive(Debug)]
struct CachedBatch {
    base: Offset,
    last: Offset,
    charge: u32,
    size: u32,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Copied { chunk: u64, start: usize },
    Shared { head: Bytes, payload: Bytes },
}

/// A batch just appended: its header as written, its payload, and how much memory a slice of the
/// payload keeps alive.
#[derive(Debug)]
pub(crate) struct Appended<'a> {
    pub(crate) header: &'a BatchHeader,
    pub(crate) head: &'a [u8],
    pub(crate) payload: &'a Bytes,
    pub(crate) pinned: usize,
}

impl TailCache {
    pub(crate) fn new(budget: Arc<TailBudget>) -> Self {
        Self { budget, tail: Arc::default() }
    }

    /// Keeps a batch that follows all that were kept before it.
    pub(crate) fn push(&self, batch: &Appended<'_>) {
        let mut tail = self.tail.lock();
        let before = tail.charged;
        tail.push(batch);
        let per_log = self.budget.per_log.min(self.budget.total);
        while tail.charged > per_log {
            tail.pop_front();
        }
        self.budget.used.fetch_add(tail.charged.wrapping_sub(before), Ordering::Relaxed);
        let list = !tail.listed && tail.charged > 0;
        tail.listed |= list;
        drop(tail);
        if list {
            self.budget.holders.lock().push_back(Arc::downgrade(&self.tail));
        }
        if self.budget.used() > self.budget.total {
            self.budget.make_room(&self.tail);
        }
    }

    pub(crate) const fn budget(&self) -> &Arc<TailBudget> {
        &self.budget
    }

    pub(crate) fn clear(&self) {
        self.tail.lock().clear(&self.budget);
    }

    /// Answers a read that begins in what is kept; `None` when it begins before.
    pub(crate) fn read(
        &self,
        from: Offset,
        max_bytes: u32,
        bound: Offset,
        min_one: MinOneBatch,
    ) -> Option<LogRead> {
        let mut tail = self.tail.lock();
        let index = tail.batches.partition_point(|batch| batch.last < from);
        let first = tail.batches.get(index)?;
        if first.base > from {
            return None;
        }
        let mut read = LogRead::empty(first.base);
        let mut count = 0;
        for batch in tail.batches.iter().skip(index) {
            let fits = read.bytes.saturating_add(batch.size) <= max_bytes
                || (count == 0 && min_one == MinOneBatch::Yes);
            if !fits || batch.last >= bound {
                break;
            }
            read.bytes += batch.size;
            read.next_offset = batch.last.next();
            count += 1;
        }
        read.slices = tail.slices(index, count);
        Some(read)
    }
}

impl Drop for TailCache {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Tail {
    fn push(&mut self, batch: &Appended<'_>) {
        let size = batch.head.len() + batch.payload.len();
        let copied = size < COPY_BELOW || size.saturating_mul(PINNED_PER_BYTE) < batch.pinned;
        let (charge, body) = if copied {
            (size, self.copy(batch, size))
        } else {
            let head = Bytes::copy_from_slice(batch.head);
            (batch.pinned.max(size), Body::Shared { head, payload: batch.payload.clone() })
        };
        let charge = u32::try_from(charge).unwrap_or(u32::MAX);
        self.charged += u64::from(charge);
        self.batches.push_back(CachedBatch {
            base: batch.header.base_offset,
            last: batch.header.last_offset(),
            charge,
            size: size as u32,
            body,
        });
    }

    fn copy(&mut self, batch: &Appended<'_>, size: usize) -> Body {
        if self.open.capacity() - self.open.len() < size {
            self.freeze();
            // Chunks grow with the log's activity: a quiet one costs little.
            let grown = (self.charged as usize).clamp(CHUNK_MIN, CHUNK_MAX);
            self.open = BytesMut::with_capacity(grown.max(size));
        }
        let start = self.open.len();
        self.open.extend_from_slice(batch.head);
        self.open.extend_from_slice(batch.payload);
        Body::Copied { chunk: self.first_chunk + self.chunks.len() as u64, start }
    }

    /// Makes what was copied so far readable.
    fn freeze(&mut self) {
        if !self.open.is_empty() {
            self.chunks.push_back(self.open.split().freeze());
        }
    }

    fn pop_front(&mut self) {
        let Some(batch) = self.batches.pop_front() else { return };
        self.charged -= u64::from(batch.charge);
        let needed = self.batches.iter().find_map(|batch| match batch.body {
            Body::Copied { chunk, .. } => Some(chunk),
            Body::Shared { .. } => None,
        });
        if matches!(batch.body, Body::Copied { .. }) {
            let needed = needed.unwrap_or(self.first_chunk + self.chunks.len() as u64);
            while self.first_chunk < needed && self.chunks.pop_front().is_some() {
                self.first_chunk += 1;
            }
        }
        if self.batches.is_empty() {
            self.open = BytesMut::new();
        }
    }

    fn clear(&mut self, budget: &TailBudget) {
        budget.used.fetch_sub(self.charged, Ordering::Relaxed);
        // Chunk numbers are never used again: one that is missing is simply not there.
        let next_chunk = self.first_chunk + self.chunks.len() as u64 + 1;
        let listed = self.listed;
        *self = Self { first_chunk: next_chunk, listed, ..Self::default() };
    }

    /// The bytes of `count` batches from `index` on; neighbours in a chunk are one slice.
    fn slices(&mut self, index: usize, count: usize) -> Vec<LogSlice> {
        let open = self.first_chunk + self.chunks.len() as u64;
        let wanted = || self.batches.iter().skip(index).take(count);
        if wanted().any(|batch| matches!(batch.body, Body::Copied { chunk, .. } if chunk == open)) {
            self.freeze();
        }
        let mut slices = Vec::new();
        let mut run: Option<(u64, usize, usize)> = None;
        let chunks = &self.chunks;
        let first_chunk = self.first_chunk;
        let finish = |slices: &mut Vec<LogSlice>, run: &mut Option<(u64, usize, usize)>| {
            if let Some((chunk, start, end)) = run.take()
                && let Some(bytes) = chunks.get((chunk - first_chunk) as usize)
            {
                slices.push(LogSlice::Memory(bytes.slice(start..end)));
            }
        };
        for batch in self.batches.iter().skip(index).take(count) {
            match (&batch.body, &mut run) {
                (Body::Copied { chunk, start }, Some((same, _, end)))
                    if chunk == same && start == end =>
                {
                    *end += batch.size as usize;
                }
                (Body::Copied { chunk, start }, _) => {
                    finish(&mut slices, &mut run);
                    run = Some((*chunk, *start, start + batch.size as usize));
                }
                (Body::Shared { head, payload }, _) => {
                    finish(&mut slices, &mut run);
                    slices.push(LogSlice::Memory(head.clone()));
                    slices.push(LogSlice::Memory(payload.clone()));
                }
            }
        }
        finish(&mut slices, &mut run);
        slices
    }
}
