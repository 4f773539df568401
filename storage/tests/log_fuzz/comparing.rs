//! Comparing a log with the model: all of it, or a part now and then.

use std::path::Path;

use ottla_protocol::model::{Offset, ProducerId, Timestamp};
use ottla_protocol::records::BatchIter;
use ottla_storage::MinOneBatch;
use ottla_storage::fs::FileSystem;

use crate::driver::{DIR, History, PRODUCERS};

impl History {
    pub(crate) fn spot_check(&mut self) {
        let log = self.log.as_ref().unwrap();
        log.validate().unwrap();
        assert_eq!(log.log_end(), self.model.end);
        assert_eq!(log.log_start(), self.model.start);
        let ids = (0..PRODUCERS).map(ProducerId);
        if self.model.start == Offset::ZERO {
            assert_eq!(log.last_stable(log.log_end()), self.model.last_stable(ids));
        }
        if self.fs.calls().is_multiple_of(3) {
            self.read_some();
        }
    }

    pub(crate) fn read_some(&mut self) {
        let span = self.model.end.since(self.model.start) as u64;
        let from = self.model.start.plus(self.random.below(span + 1) as i64);
        let bound = from.plus(self.random.below(40) as i64).min(self.model.end);
        let max = self.random.below(3_000) as u32;
        let log = self.log.as_ref().unwrap();
        let Ok(read) = log.read(from, max, bound, MinOneBatch::Yes) else {
            return self.failed(&"a read");
        };
        let Ok(bytes) = read.to_bytes() else { return self.failed(&"a read") };
        let mut wanted = Vec::new();
        for batch in self.model.batches.iter().filter(|batch| batch.next() > from) {
            let fits = wanted.len() + batch.bytes.len() <= max as usize || wanted.is_empty();
            if !fits || batch.next() > bound {
                break;
            }
            wanted.extend_from_slice(&batch.bytes);
        }
        assert!(wanted.starts_with(&bytes), "a read from {from} answers other bytes");
        assert_eq!(wanted.is_empty(), bytes.is_empty(), "from {from} below {bound}");
    }

    /// Compares everything.
    pub(crate) fn compare(&mut self) {
        if let Err(difference) = self.difference() {
            if self.fs.exists(Path::new(DIR)).is_err() {
                return self.failed(&difference);
            }
            panic!("{difference}\n{:?}", self.log);
        }
        let log = self.log.as_ref().unwrap();
        let known: Vec<_> = log.producers().iter().map(|(id, entry)| (id, entry.clone())).collect();
        assert_eq!(known, self.model.producers());
    }

    pub(crate) fn difference(&self) -> Result<(), String> {
        let log = self.log.as_ref().unwrap();
        log.validate()?;
        let differ = |what: &str, ours: &dyn std::fmt::Debug, wanted: &dyn std::fmt::Debug| {
            let (ours, wanted) = (format!("{ours:?}"), format!("{wanted:?}"));
            if ours == wanted { Ok(()) } else { Err(format!("{what}: {ours} and not {wanted}")) }
        };
        differ("log end", &log.log_end(), &self.model.end)?;
        differ("log start", &log.log_start(), &self.model.start)?;
        let mut at = log.log_start();
        let mut bytes = Vec::new();
        while at < log.log_end() {
            let read = log
                .read(at, 700, log.log_end(), MinOneBatch::Yes)
                .map_err(|error| error.to_string())?;
            if read.next_offset <= at {
                return Err(format!("nothing to read at {at}"));
            }
            bytes.extend_from_slice(&read.to_bytes().map_err(|error| error.to_string())?);
            at = read.next_offset;
        }
        let bases = |bytes: &[u8]| -> Vec<i64> {
            BatchIter::new(bytes).map(|b| b.unwrap().header().base_offset.get()).collect()
        };
        let wanted: Vec<u8> = self.model.readable().flat_map(|b| b.bytes.to_vec()).collect();
        if bytes != wanted {
            return Err(format!("read {:?} and not {:?}", bases(&bytes), bases(&wanted)));
        }
        for batch in self.model.readable() {
            let epoch = log.epochs().epoch_at(batch.base().max(self.model.start));
            differ("epoch", &epoch, &self.model.epoch_at(batch.base()))?;
        }
        let latest = self.clock - 400;
        for timestamp in (latest..self.clock + 50).step_by(37) {
            let found = log
                .offset_for_timestamp(Timestamp(timestamp))
                .map_err(|error| error.to_string())?
                .map(|found| (found.offset, found.timestamp));
            differ("timestamp", &found, &self.model.find_time(Timestamp(timestamp)))?;
        }
        let found = log
            .aborted_transactions(self.model.start, self.model.end)
            .map_err(|error| error.to_string())?;
        let mut wanted: Vec<_> =
            self.model.aborted().into_iter().filter(|t| t.2 >= self.model.start).collect();
        for txn in &found {
            let known = wanted
                .iter()
                .position(|wanted| (wanted.0, wanted.2) == (txn.producer_id, txn.last_offset));
            let Some(known) = known else { return Err(format!("{txn:?} was not aborted")) };
            let (id, first, last) = wanted.remove(known);
            // Its first batches may be gone, and with them all that told of them. So may the end of
            // the transaction before it, together with all its records: rebuilt, the two are one.
            let data = self.model.first_data(id, first.max(self.model.start), last);
            let other = self.model.transactional_data(id, txn.first_offset, first);
            if other || data.is_some_and(|data| data < txn.first_offset) {
                return Err(format!("{txn:?} began at {first}"));
            }
        }
        let missing = wanted.into_iter().find(|(id, first, last)| {
            self.model.first_data(*id, (*first).max(self.model.start), *last).is_some()
        });
        missing.map_or(Ok(()), |txn| Err(format!("{txn:?} is not listed as aborted")))
    }
}
