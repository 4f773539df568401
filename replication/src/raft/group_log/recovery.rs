//! A replica's log and journal after a crash: what they say together, and what becomes of damage.
//!
//! Owns: what is cut, and what is noted before it is. Never: decides when, or keeps anything itself.
//!
//! Invariant: what this replica may have acknowledged is cut only once the journal holds that it may.

use std::io;
use std::sync::Arc;

use ottla_protocol::model::{Now, Offset};

use super::RecoverError;
use crate::partition::Partition;
use crate::raft::GroupId;
use crate::raft::defects::Defect;
use crate::raft::entry_map::{EntryMap, Rebuild};
use crate::raft::journal::{GroupRecords, Journal, Record};

/// Cuts a log that is damaged where it was durable, and notes that this replica forgot what it had
/// promised: it votes for nobody before its peers have given it all that again.
pub(super) async fn cut_damage(
    id: GroupId,
    partition: &Partition,
    journal: &Arc<Journal>,
    records: &mut GroupRecords,
    now: Now,
) -> Result<(), RecoverError> {
    let verify = records.verify;
    let damage = partition.inspect(|log, _| match log.health() {
        ottla_storage::LogHealth::Damaged(damage) => Ok(Some(damage.from)),
        _ if verify => {
            log.first_damage(log.segments().next().map_or(Offset::ZERO, |(base, _)| base))
        }
        _ => Ok(None),
    })??;
    let Some(damage) = damage else { return Ok(()) };
    distrust(id, journal, records, &format!("damage from offset {damage} on")).await?;
    partition.cut_damage(damage, now)?;
    Ok(())
}

/// A log that ends before the entries that peers may send is emptied: a snapshot has to bring all.
pub(super) async fn empty_if_short(
    id: GroupId,
    partition: &Partition,
    journal: &Arc<Journal>,
    records: &mut GroupRecords,
    now: Now,
) -> Result<(), RecoverError> {
    let purged = records.purged.as_ref().map_or(Offset::ZERO, |(point, _)| point.end);
    if partition.log_end() >= purged {
        return Ok(());
    }
    let voted = records.vote.map_or(u64::MAX, |vote| vote.leader_id.term);
    if records.suspect.is_none_or(|suspect| suspect < voted) {
        distrust(id, journal, records, "the log ends before its purge point").await?;
    }
    partition.restart_log(Offset::ZERO, now)?;
    journal.commit(&[Record::Emptied(id)]).await?;
    *records = journal.group(id).unwrap_or_default();
    Ok(())
}

/// Notes that what this replica acknowledged may be lost here, before it is cut.
pub(super) async fn distrust(
    id: GroupId,
    journal: &Arc<Journal>,
    records: &mut GroupRecords,
    why: &str,
) -> io::Result<()> {
    tracing::error!(group = %id, why,
        "cutting a damaged log; its peers have to give back what was lost");
    if Defect::CutDamage.is_active() {
        return Ok(());
    }
    let term = records.vote.map_or(u64::MAX, |vote| vote.leader_id.term);
    journal.commit(&[Record::Suspect(id, term)]).await?;
    records.suspect = Some(term);
    Ok(())
}

/// What log and journal say together, or where they stop making sense.
pub(super) enum Rebuilt {
    Whole(EntryMap, Option<u64>),
    Broken { at: Offset, why: String },
}

pub(super) fn rebuild(
    partition: &Partition,
    records: &GroupRecords,
) -> Result<Rebuilt, RecoverError> {
    let from = records.purged.as_ref().map_or(Offset::ZERO, |(point, _)| point.end);
    partition.inspect(|log, _| {
        let start = log.segments().next().map_or(Offset::ZERO, |(base, _)| base);
        if start > from {
            return Err(RecoverError::StartsLate { start, purged: from });
        }
        let mut rebuild = Rebuild::new(records);
        let mut fault = None;
        let walked = log.headers(from, |header| {
            fault = rebuild.batch(header).err().map(|error| error.to_string());
            match fault {
                None => std::ops::ControlFlow::Continue(()),
                Some(_) => std::ops::ControlFlow::Break(()),
            }
        });
        match walked {
            Ok(()) => {}
            Err(ottla_storage::LogError::Damaged(damage)) => fault = Some(damage.to_string()),
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
