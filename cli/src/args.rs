//! The command line: global options and the tree of commands.
//!
//! Owns: names, aliases, help texts and dispatch. Never: does work. Invariant: nouns are singular,
//! plurals work, too; `ls`, `rm` and `desc` stand for list, delete and describe.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

use crate::bench::BenchCommand;
use crate::broker::BrokerCommand;
use crate::cluster::ClusterCommand;
use crate::config::ConfigCommand;
use crate::consume::ConsumeArgs;
use crate::context::Context;
use crate::doctor::DoctorArgs;
use crate::failure::Failure;
use crate::group::GroupCommand;
use crate::log::LogCommand;
use crate::output::{Column, Format, Report};
use crate::partition::PartitionCommand;
use crate::produce::ProduceArgs;
use crate::server::{DevArgs, ServeArgs};
use crate::topic::TopicCommand;
use crate::{bench, consume, doctor, produce, units};

#[derive(Parser, Debug)]
#[command(
    name = "ottla",
    version,
    about = "A Kafka-compatible log broker and its tools",
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Global {
    /// Brokers to ask first, HOST:PORT,... [default: localhost:9092]
    #[arg(
        short,
        long,
        global = true,
        value_name = "HOST:PORT",
        visible_alias = "brokers",
        alias = "bootstrap-servers"
    )]
    pub(crate) bootstrap_server: Option<String>,
    /// A client setting by its Java or librdkafka name; `ottla help settings` lists them
    #[arg(short = 'X', global = true, value_name = "KEY=VALUE")]
    pub(crate) options: Vec<String>,
    /// Client settings in a Java .properties file
    #[arg(long, global = true, value_name = "FILE", env = "OTTLA_COMMAND_CONFIG")]
    pub(crate) command_config: Option<PathBuf>,
    /// How long an operation may take, such as 30s
    #[arg(long, global = true, value_name = "SPAN", value_parser = span)]
    pub(crate) timeout: Option<Duration>,
    /// How to write the result
    #[arg(long, global = true, value_enum, env = "OTTLA_FORMAT")]
    pub(crate) format: Option<Format>,
    /// Plain numbers instead of units
    #[arg(long, global = true)]
    pub(crate) raw: bool,
    #[arg(long, global = true, value_enum, default_value_t, hide_possible_values = true)]
    /// auto, always or never
    pub(crate) color: Color,
    /// Print the columns of tsv, in order, without connecting
    #[arg(long, global = true)]
    pub(crate) columns: bool,
    /// Repeat a reading command
    #[arg(
        long,
        global = true,
        value_name = "SPAN",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2s",
        value_parser = span
    )]
    pub(crate) watch: Option<Duration>,
    /// Say where each setting came from
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

/// [`Cli`] with nothing but the commands that start a broker: the tree of all commands is half a
/// megabyte of code and as much heap, which a broker would carry as long as it lives.
#[derive(Parser, Debug)]
#[command(name = "ottla", version, disable_help_subcommand = true, max_term_width = 100)]
struct ServerCli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: ServerCommand,
}

impl Cli {
    /// The command line that this process was started with.
    ///
    /// # Errors
    /// What clap says of words that are not understood; help that was asked for is one of them.
    pub(crate) fn of_process() -> Result<Self, clap::Error> {
        let first = std::env::args_os().nth(1);
        match first.as_ref().and_then(|word| word.to_str()) {
            Some("dev" | "serve" | "start") => {
                ServerCli::try_parse().map(|ServerCli { global, command }| Self {
                    global,
                    command: Command::Server(command),
                })
            }
            _ => Self::try_parse(),
        }
    }
}

#[derive(Subcommand, Debug)]
pub(crate) enum ServerCommand {
    /// Run a broker for development: nothing to set up, in memory unless --data
    Dev(DevArgs),
    /// Run a broker with a configuration
    #[command(alias = "start")]
    Serve(ServeArgs),
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    #[command(flatten)]
    Server(ServerCommand),
    /// Topics: list, describe, create, delete, set, unset, grow, trim, offsets
    #[command(subcommand, alias = "topics")]
    Topic(TopicCommand),
    /// Write lines of stdin to a topic
    Produce(ProduceArgs),
    /// Read records of topics
    Consume(ConsumeArgs),
    /// Put a load on a cluster and measure it: produce, consume, e2e
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Consumer groups: list, describe, lag, seek, delete, delete-offsets
    #[command(subcommand, alias = "groups")]
    Group(GroupCommand),
    /// Settings of topics, brokers and groups: get, set, unset, list, explain
    #[command(subcommand, alias = "configs")]
    Config(ConfigCommand),
    /// The cluster: info, health
    #[command(subcommand, alias = "clusters")]
    Cluster(ClusterCommand),
    /// Partitions: list, move, rebalance, elect, moves, cancel
    #[command(subcommand, alias = "partitions")]
    Partition(PartitionCommand),
    /// Brokers: apis, drain, remove
    #[command(subcommand, alias = "brokers")]
    Broker(BrokerCommand),
    /// Logs on disk, without a broker: dump, stat, verify, find, export
    #[command(subcommand, alias = "logs")]
    Log(LogCommand),
    /// Follow a client's path to the cluster and say where it breaks
    Doctor(DoctorArgs),
    /// Help on a command; --json dumps the whole tree
    Help(HelpArgs),
}

#[derive(clap::Args, Debug)]
pub(crate) struct HelpArgs {
    /// The command, or `settings`
    pub(crate) command: Vec<String>,
    /// Every command with its options, as one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

impl Command {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Server(ServerCommand::Dev(_)) => "dev",
            Self::Server(ServerCommand::Serve(_)) => "serve",
            Self::Topic(command) => command.name(),
            Self::Produce(_) => "produce",
            Self::Consume(_) => "consume",
            Self::Bench(command) => command.name(),
            Self::Group(command) => command.name(),
            Self::Config(command) => command.name(),
            Self::Cluster(command) => command.name(),
            Self::Partition(command) => command.name(),
            Self::Broker(command) => command.name(),
            Self::Log(command) => command.name(),
            Self::Doctor(_) => "doctor",
            Self::Help(_) => "help",
        }
    }

    /// The columns of the command's TSV.
    pub(crate) const fn columns(&self) -> &'static [Column] {
        match self {
            Self::Topic(command) => command.columns(),
            Self::Produce(_) => produce::COLUMNS,
            Self::Consume(_) => consume::COLUMNS,
            Self::Bench(_) => bench::COLUMNS,
            Self::Group(command) => command.columns(),
            Self::Config(command) => command.columns(),
            Self::Cluster(command) => command.columns(),
            Self::Partition(command) => command.columns(),
            Self::Broker(command) => command.columns(),
            Self::Log(command) => command.columns(),
            Self::Doctor(_) => doctor::COLUMNS,
            Self::Help(_) | Self::Server(_) => &[],
        }
    }

    /// Whether the command only looks, so that it can be repeated.
    pub(crate) fn reads(&self) -> bool {
        let verb = self.name().rsplit(' ').next().unwrap_or_default();
        ["list", "describe", "offsets", "lag", "get", "info", "health", "quorum", "moves", "apis"]
            .contains(&verb)
    }

    pub(crate) async fn run(&self, context: &Context) -> Result<Report, Failure> {
        match self {
            Self::Topic(command) => command.run(context).await,
            Self::Produce(args) => produce::run(context, args).await,
            Self::Consume(args) => consume::run(context, args).await,
            Self::Bench(command) => command.run(context).await,
            Self::Group(command) => command.run(context).await,
            Self::Config(command) => command.run(context).await,
            Self::Cluster(command) => command.run(context).await,
            Self::Partition(command) => command.run(context).await,
            Self::Broker(command) => command.run(context).await,
            Self::Log(command) => command.run(context),
            Self::Doctor(args) => doctor::run(context, args).await,
            // Not commands of a client: `main` runs them.
            Self::Help(_) | Self::Server(_) => Ok(Report::default()),
        }
    }
}

/// A span of time in an option.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    units::parse_duration(text).ok_or_else(|| "write a span such as 500ms, 30s or 2m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_tree_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_server_is_understood_as_in_the_whole_tree() {
        ServerCli::command().debug_assert();
        let mut whole = Cli::command();
        for mut small in ServerCli::command().get_subcommands().cloned() {
            let large = whole.find_subcommand_mut(small.get_name()).expect("the same command");
            assert_eq!(small.render_long_help().to_string(), large.render_long_help().to_string());
        }
        for line in
            ["ottla dev --port 0 --print json", "ottla start --set a=b", "ottla serve --hlep"]
        {
            let small = ServerCli::try_parse_from(line.split(' '))
                .map(|it| format!("{:?} {:?}", it.global, it.command));
            let large = Cli::try_parse_from(line.split(' ')).map(|it| match it.command {
                Command::Server(command) => format!("{:?} {command:?}", it.global),
                other => panic!("{line}: {other:?}"),
            });
            assert_eq!(
                small.map_err(|e| e.to_string()),
                large.map_err(|e| e.to_string()),
                "{line}"
            );
        }
    }

    #[test]
    fn plurals_and_short_verbs_work() {
        for line in [
            "ottla topics ls --format json",
            "ottla topic rm a b --yes",
            "ottla -b h:1 topic desc a",
            "ottla topic describe a --brokers h:1",
            "ottla consume t -o -5 -f %v",
            "ottla topic trim t:0 --before -5",
            "ottla topic list --watch",
        ] {
            let parsed = Cli::try_parse_from(line.split(' '));
            assert!(parsed.is_ok(), "{line}: {parsed:?}");
        }
    }
}
