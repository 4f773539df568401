//! A replica's log and journal after a crash: what they say together, and what becomes of damage.
//!
//! Owns: what is cut, and what is noted before it is. Never: decides when, or keeps anything itself.
//!
//! Invariant: what this replica may have acknowledged is cut only once the journal holds that it may.

use std::io;
use std::ops::ControlFlow;

use ottla_protocol::model::Offset;
use ottla_storage::{LogError, LogHealth, PartitionLog};

use super::{RecoverError, Seat};
use crate::raft::defects::Defect;
use crate::raft::entry_map::{EntryMap, Rebuild};
use crate::raft::journal::{GroupRecords, Record};

/// A replica that comes back, with what its journal says of it.
pub(super) struct Returning<'a> {
    pub(super) seat: &'a Seat,
    pub(super) records: GroupRecords,
}

/// What log and journal say together, or where they stop making sense.
enum Rebuilt {
    Whole(EntryMap, Option<u64>),
    Broken { at: Offset, why: String },
}

impl Returning<'_> {
    /// Makes log and journal agree, both durable; the entries that are left, and what is noted of them.
    pub(super) async fn agree(mut self) -> Result<(EntryMap, GroupRecords), RecoverError> {
        if self.records.away {
            self.empty_of_old().await?;
        }
        self.cut_damage().await?;
        self.empty_if_short().await?;
        let mut rebuilt = self.rebuild()?;
        if let Rebuilt::Broken { at, why } = rebuilt {
            self.cut_misfit(at, &why).await?;
            rebuilt = self.rebuild()?;
        }
        let (map, lost) = match rebuilt {
            Rebuilt::Whole(map, lost) => (map, lost),
            Rebuilt::Broken { why, .. } => return Err(RecoverError::Broken(why)),
        };
        let short = self.records.synced > map.end();
        if short && !self.was_cut()? {
            self.distrust("entries that were durable are not there").await?;
        }
        let last_anchor = self.records.anchors.last_key_value();
        if short || lost.is_some() || last_anchor.is_some_and(|(index, _)| *index >= map.next()) {
            let synced = Record::Synced(self.seat.id, self.records.synced.min(map.end()));
            self.note(&[Record::Truncate(self.seat.id, map.next()), synced]).await?;
        }
        Ok((map, self.records))
    }

    /// Whether the log ends where it does because it was cut there, of which the journal may not have heard.
    fn was_cut(&self) -> Result<bool, RecoverError> {
        let look = |log: &PartitionLog| log.cut_at().is_some_and(|cut| cut <= log.log_end());
        Ok(self.seat.partition.inspect(|log, _| look(log))?)
    }

    /// It was removed from here, and comes back with what its leader sends.
    async fn empty_of_old(&mut self) -> Result<(), RecoverError> {
        let Seat { id, partition, journal, clock, .. } = self.seat;
        partition.restart_log(Offset::ZERO, clock())?;
        journal.commit(&[Record::Truncate(*id, 0)]).await?;
        self.records.away = false;
        Ok(())
    }

    /// Cuts a log that is damaged where it was durable, and notes that this replica forgot what it had
    /// promised: it votes for nobody before its peers have given it all that again.
    async fn cut_damage(&mut self) -> Result<(), RecoverError> {
        let Seat { partition, clock, .. } = self.seat;
        let verify = self.records.verify;
        let damage = partition.inspect(|log, _| match log.health() {
            LogHealth::Damaged(damage) => Ok(Some(damage.from)),
            _ if verify => {
                log.first_damage(log.segments().next().map_or(Offset::ZERO, |(base, _)| base))
            }
            _ => Ok(None),
        })??;
        let Some(damage) = damage else { return Ok(()) };
        self.distrust(&format!("damage from offset {damage} on")).await?;
        partition.cut_damage(damage, clock())?;
        Ok(())
    }

    /// A log that ends before the entries that peers may send is emptied: a snapshot has to bring all.
    async fn empty_if_short(&mut self) -> Result<(), RecoverError> {
        let Seat { id, partition, clock, .. } = self.seat;
        if partition.log_end() >= self.purged() {
            return Ok(());
        }
        let voted = self.records.vote.map_or(u64::MAX, |vote| vote.leader_id.term);
        if self.records.suspect.is_none_or(|suspect| suspect < voted) {
            self.distrust("the log ends before its purge point").await?;
        }
        partition.restart_log(Offset::ZERO, clock())?;
        self.note(&[Record::Emptied(*id)]).await
    }

    /// Cuts what the journal does not know how to read, from `at` on. It may follow from a batch before
    /// it that is not as it was written.
    async fn cut_misfit(&mut self, at: Offset, why: &str) -> Result<(), RecoverError> {
        let Seat { partition, clock, .. } = self.seat;
        self.distrust(why).await?;
        let from = self.purged();
        let bad = partition.inspect(|log, _| log.first_damage(from))??;
        let at = bad.map_or(at, |bad| bad.min(at)).max(from);
        partition.cut_damage(at, clock())?;
        // Nothing of the journal that stands behind the cut is of use.
        self.records.recordless.retain(|_, entry| entry.follows <= at);
        Ok(())
    }

    /// Notes that what this replica acknowledged may be lost here, before it is cut.
    async fn distrust(&mut self, why: &str) -> io::Result<()> {
        let Seat { id, journal, .. } = self.seat;
        tracing::error!(group = %id, why,
            "cutting a damaged log; its peers have to give back what was lost");
        if Defect::CutDamage.is_active() {
            return Ok(());
        }
        let term = self.records.vote.map_or(u64::MAX, |vote| vote.leader_id.term);
        journal.commit(&[Record::Suspect(*id, term)]).await?;
        self.records.suspect = Some(term);
        Ok(())
    }

    /// Writes to the journal and takes over what it says then.
    async fn note(&mut self, records: &[Record]) -> Result<(), RecoverError> {
        let Seat { id, journal, .. } = self.seat;
        journal.commit(records).await?;
        self.records = journal.group(*id).unwrap_or_default();
        Ok(())
    }

    /// Below it everything came with a snapshot, or is gone.
    fn purged(&self) -> Offset {
        self.records.purged.as_ref().map_or(Offset::ZERO, |(point, _)| point.end)
    }

    fn rebuild(&self) -> Result<Rebuilt, RecoverError> {
        let from = self.purged();
        self.seat.partition.inspect(|log, _| {
            let start = log.segments().next().map_or(Offset::ZERO, |(base, _)| base);
            if start > from {
                return Err(RecoverError::StartsLate { start, purged: from });
            }
            let mut rebuild = Rebuild::new(&self.records);
            let mut fault = None;
            let walked = log.headers(from, |header| {
                fault = rebuild.batch(header).err().map(|error| error.to_string());
                match fault {
                    None => ControlFlow::Continue(()),
                    Some(_) => ControlFlow::Break(()),
                }
            });
            match walked {
                Ok(()) => {}
                Err(LogError::Damaged(damage)) => fault = Some(damage.to_string()),
                Err(error) => return Err(error.into()),
            }
            let at = rebuild.end();
            Ok(match fault {
                Some(why) => Rebuilt::Broken { at, why },
                None => match rebuild.finish() {
                    Ok((map, lost)) => Rebuilt::Whole(map, lost),
                    Err(error) => Rebuilt::Broken { at, why: error.to_string() },
                },
            })
        })?
    }
}
