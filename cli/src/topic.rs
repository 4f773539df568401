//! `ottla topic`: the verbs on topics.
//!
//! Owns: the sub-command's arguments and dispatch. Never: does the work (one file per verb).

mod create;
mod delete;
mod describe;
mod grow;
mod list;
mod offsets;
mod set;
mod trim;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Column, Report};

#[derive(Subcommand, Debug)]
pub(crate) enum TopicCommand {
    /// List topics
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    /// Show a topic's partitions, offsets, sizes and settings
    #[command(visible_alias = "desc")]
    Describe(describe::DescribeArgs),
    /// Create topics
    Create(create::CreateArgs),
    /// Delete topics with their records
    #[command(visible_alias = "rm")]
    Delete(delete::DeleteArgs),
    /// Change settings of topics
    Set(set::SetArgs),
    /// Return settings of topics to their defaults
    Unset(set::UnsetArgs),
    /// Give a topic more partitions
    Grow(grow::GrowArgs),
    /// Delete the records before an offset or a time
    Trim(trim::TrimArgs),
    /// Show the offsets of partitions, now or at a time
    Offsets(offsets::OffsetsArgs),
}

impl TopicCommand {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::List(_) => "topic list",
            Self::Describe(_) => "topic describe",
            Self::Create(_) => "topic create",
            Self::Delete(_) => "topic delete",
            Self::Set(_) => "topic set",
            Self::Unset(_) => "topic unset",
            Self::Grow(_) => "topic grow",
            Self::Trim(_) => "topic trim",
            Self::Offsets(_) => "topic offsets",
        }
    }

    pub(crate) const fn columns(&self) -> &'static [Column] {
        match self {
            Self::List(_) => list::COLUMNS,
            Self::Describe(_) => describe::SUMMARY,
            Self::Create(_) => create::COLUMNS,
            Self::Delete(_) => delete::COLUMNS,
            Self::Set(_) | Self::Unset(_) => crate::config::CHANGE_COLUMNS,
            Self::Grow(_) => grow::COLUMNS,
            Self::Trim(_) => trim::COLUMNS,
            Self::Offsets(_) => offsets::COLUMNS,
        }
    }

    pub(crate) async fn run(&self, context: &Context) -> Result<Report, Failure> {
        match self {
            Self::List(args) => list::run(context, args).await,
            Self::Describe(args) => describe::run(context, args).await,
            Self::Create(args) => create::run(context, args).await,
            Self::Delete(args) => delete::run(context, args).await,
            Self::Set(args) => set::run(context, args).await,
            Self::Unset(args) => set::run_unset(context, args).await,
            Self::Grow(args) => grow::run(context, args).await,
            Self::Trim(args) => trim::run(context, args).await,
            Self::Offsets(args) => offsets::run(context, args).await,
        }
    }
}
