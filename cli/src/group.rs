//! `ottla group`: consumer groups.
//!
//! Owns: the sub-command's arguments and dispatch, and the offsets of a group with their lag.
//! Never: joins a group. Invariant: lag counts to the end that a reader of all records sees.

mod delete;
mod describe;
mod lag;
mod list;
mod seek;

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Subcommand;

use crate::client::Client;
use crate::client::error::ClientError;
use crate::client::groups::{self, Committed, GroupView};
use crate::client::offsets::{self, Isolation, LATEST, Partition};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Column, Report};
use crate::select;

#[derive(Subcommand, Debug)]
pub(crate) enum GroupCommand {
    /// List groups
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    /// Show a group's members, partitions, offsets and lag
    #[command(visible_alias = "desc")]
    Describe(describe::DescribeArgs),
    /// Show how far groups are behind; with --max, exit code 3 when they are too far
    Lag(lag::LagArgs),
    /// Move a group's offsets; the group must have no members
    Seek(seek::SeekArgs),
    /// Delete groups with their offsets
    #[command(visible_alias = "rm")]
    Delete(delete::DeleteArgs),
    /// Delete a group's offsets of some partitions
    DeleteOffsets(delete::DeleteOffsetsArgs),
}

impl GroupCommand {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::List(_) => "group list",
            Self::Describe(_) => "group describe",
            Self::Lag(_) => "group lag",
            Self::Seek(_) => "group seek",
            Self::Delete(_) => "group delete",
            Self::DeleteOffsets(_) => "group delete-offsets",
        }
    }

    pub(crate) const fn columns(&self) -> &'static [Column] {
        match self {
            Self::List(_) => list::COLUMNS,
            Self::Describe(_) => describe::SUMMARY,
            Self::Lag(args) => lag::columns(args),
            Self::Seek(_) => seek::COLUMNS,
            Self::Delete(_) => delete::COLUMNS,
            Self::DeleteOffsets(_) => delete::OFFSET_COLUMNS,
        }
    }

    pub(crate) async fn run(&self, context: &Context) -> Result<Report, Failure> {
        match self {
            Self::List(args) => list::run(context, args).await,
            Self::Describe(args) => describe::run(context, args).await,
            Self::Lag(args) => lag::run(context, args).await,
            Self::Seek(args) => seek::run(context, args).await,
            Self::Delete(args) => delete::run(context, args).await,
            Self::DeleteOffsets(args) => delete::run_offsets(context, args).await,
        }
    }
}

/// A group with what it committed and where its partitions end.
#[derive(Clone, Debug)]
struct GroupOffsets {
    view: GroupView,
    committed: BTreeMap<Partition, Committed>,
    /// Ends of committed and assigned partitions; partitions that are gone have none.
    ends: BTreeMap<Partition, i64>,
}

impl GroupOffsets {
    /// Every partition that was committed or is assigned, in order.
    fn partitions(&self) -> Vec<Partition> {
        let mut partitions: Vec<Partition> = self.committed.keys().cloned().collect();
        partitions.extend(self.view.members.iter().flat_map(|m| m.partitions.iter().cloned()));
        partitions.sort();
        partitions.dedup();
        partitions
    }

    /// Records between the commit and the end; `None` without either.
    fn lag(&self, partition: &Partition) -> Option<i64> {
        let committed = self.committed.get(partition)?;
        self.ends.get(partition).map(|end| (end - committed.offset).max(0))
    }
}

/// Reads a group, its commits and the ends of their partitions.
async fn with_offsets(client: &Arc<Client>, group: &str) -> Result<GroupOffsets, Failure> {
    let view = existing(client, group).await?;
    let committed = groups::committed(client, group, view.coordinator).await?;
    let mut offsets = GroupOffsets { view, committed, ends: BTreeMap::new() };
    let questions = offsets.partitions().into_iter().map(|partition| (partition, LATEST));
    let answers = offsets::list(client, &questions.collect(), Isolation::ReadUncommitted).await?;
    offsets.ends = answers
        .into_iter()
        .filter_map(|(partition, answer)| Some((partition, answer.ok()?.offset)))
        .collect();
    Ok(offsets)
}

/// The group, or a failure with the nearest name.
async fn existing(client: &Client, group: &str) -> Result<GroupView, Failure> {
    match groups::describe(client, group).await {
        Ok(view) => Ok(view),
        Err(ClientError::Refused {
            code: ottla_protocol::error_code::ErrorCode::GroupIdNotFound,
            ..
        }) => {
            let known = groups::list(client).await?;
            Err(select::no_such_group(group, known.iter().map(|known| known.id.as_str())))
        }
        Err(error) => Err(select::item_failure(group, error)),
    }
}
