//! `ottla dev` and `ottla serve`: a broker in this process until a signal.
//!
//! Owns: arguments, the order configuration - logging - broker - ready line - signals - drain.
//! Never: a rule of the broker. Invariant: nothing that is not needed to listen happens before
//! listening.

mod fleet;
mod lifetime;
mod logging;
mod ready;
pub(crate) mod sources;

use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use futures_util::future::{join_all, select_all, try_join_all};
use ottla_broker::host::Host;
use ottla_broker::{Broker, BrokerOptions, StartError, Storage};
use ottla_replication::replicas::OpenError;
use ottla_storage::log_dir::LogDirError;

use crate::exit::Exit;
use crate::failure::Failure;
use ready::Ready;
use sources::Configured;

/// With `--brokers 3`, as many brokers in this one process, which form a cluster.
#[derive(Args, Debug)]
pub(crate) struct DevArgs {
    /// Keep data in this directory instead of in memory
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The port for Kafka clients; 0 takes a free one, for HTTP, too
    #[arg(long, default_value_t = 9092)]
    port: u16,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// Configuration: TOML, or Kafka's server.properties
    #[arg(long = "config", short = 'c', value_name = "FILE")]
    file: Option<PathBuf>,
    /// Another port for the listener; 0 takes a free one, for HTTP, too
    #[arg(long)]
    port: Option<u16>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Args, Debug)]
pub(crate) struct CommonArgs {
    /// A configuration key, such as num.partitions=3; may be repeated, wins over everything else
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// What to print when ready; text on a terminal, json otherwise
    #[arg(long, value_enum)]
    print: Option<Print>,
    /// End when the process that started this one ends, or closes the pipe on stdin
    #[arg(long)]
    exit_with_parent: bool,
    /// Log levels: error, warn, info, debug, trace, or TARGET=LEVEL,...
    #[arg(long, value_name = "LEVELS", env = "OTTLA_LOG")]
    log: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Print {
    Text,
    /// One line: {"bootstrap":"...","http":"...","pid":...}
    Json,
}

/// Why a server is started, for its defaults and its first screen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Dev,
    Serve,
}

/// Runs `ottla dev` until it is told to stop.
///
/// `brokers` is the value of the common option `--brokers`: there is nobody to ask yet, so it says how many
/// brokers there shall be.
pub(crate) fn dev(
    args: &DevArgs,
    brokers: Option<&str>,
    began: Instant,
) -> Result<Exit, Vec<Failure>> {
    logging::start(args.common.log.as_deref(), "warn").map_err(|failure| vec![failure])?;
    let brokers = brokers.map(fleet::count).transpose().map_err(|failure| vec![failure])?;
    let configured = sources::dev(args, environment())?;
    let all = match brokers {
        None => vec![configured],
        Some(brokers) => fleet::of(&configured, args, brokers)?,
    };
    serve_until_stopped(all, &args.common, Mode::Dev, began)
}

/// Runs `ottla serve` until it is told to stop.
pub(crate) fn serve(args: &ServeArgs, began: Instant) -> Result<Exit, Vec<Failure>> {
    logging::start(args.common.log.as_deref(), "info").map_err(|failure| vec![failure])?;
    let configured = sources::serve(args, environment())?;
    serve_until_stopped(vec![configured], &args.common, Mode::Serve, began)
}

/// The environment as text; what is not text configures nothing.
pub(crate) fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn serve_until_stopped(
    configured: Vec<Configured>,
    common: &CommonArgs,
    mode: Mode,
    began: Instant,
) -> Result<Exit, Vec<Failure>> {
    for note in configured.iter().flat_map(|configured| &configured.notes) {
        tracing::info!("{note}");
    }
    lifetime::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("ottla")
        .enable_all()
        .build()
        .map_err(|error| vec![Failure::new("RUNTIME", error.to_string(), Exit::ItemFailed)])?;
    runtime.block_on(async {
        let parent = common.exit_with_parent.then(lifetime::Parent::current);
        let mut stop = lifetime::Stop::listen(parent)
            .map_err(|error| vec![Failure::new("SIGNALS", error.to_string(), Exit::ItemFailed)])?;
        // All at once: brokers that form a cluster wait for each other, and may be told to stop meanwhile.
        // What one of them says of its failure ends the wait of the others.
        let starting = try_join_all(configured.iter().map(|one| Broker::start(options(one))));
        let started = tokio::select! {
            started = starting => started,
            reason = stop.first() => {
                tracing::info!(%reason, "ended before it was ready");
                return Ok(Exit::Ok);
            }
        };
        let mut brokers = started.map_err(|error| vec![refused(&error)])?;
        let ready = Ready::of(&brokers, &configured, mode, began.elapsed());
        ready.print(common.print);
        let halted = tokio::select! {
            reason = stop.first() => {
                tracing::info!(%reason, "draining");
                None
            }
            (halted, index, _) = select_all(brokers.iter().map(Broker::halted).map(Box::pin)) => {
                Some((halted, index))
            }
        };
        // A broker that halted is not closed: whatever it would write, its disk may not hold.
        let failure = halted.map(|(halted, index)| {
            drop(brokers.remove(index));
            vec![Failure::new("HALTED", halted, Exit::ItemFailed)]
        });
        // A second signal does not wait for connections to drain.
        let exit = tokio::select! {
            _all = join_all(brokers.into_iter().map(Broker::shutdown)) => Exit::Ok,
            _ = stop.next() => Exit::Interrupted,
        };
        failure.map_or(Ok(exit), Err)
    })
}

fn options(configured: &Configured) -> BrokerOptions {
    BrokerOptions {
        config: configured.layers(),
        storage: if configured.in_memory { Storage::Memory } else { Storage::Disk },
        seed: None,
        clock: None,
        host: Host::System,
    }
}

fn refused(error: &StartError) -> Failure {
    let exit = if matches!(error, StartError::Config(_)) { Exit::Usage } else { Exit::ItemFailed };
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        source = cause.source();
    }
    let failure = Failure::new("NOT_STARTED", message, exit);
    match error {
        StartError::Open(
            OpenError::Directory(LogDirError::Io { .. }) | OpenError::NoDirectory(_),
        ) => failure.fix(
            "the folder must be one that this user can make and write: choose it with --data (dev) \
             or log.dirs",
        ),
        _ => failure,
    }
}
