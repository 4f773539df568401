//! The `ottla` binary: arguments in, one report out.
//!
//! Owns: the way from the command line to stdout, stderr and the exit code. Never: knows a
//! command's work. Invariant: in json format stdout carries exactly one document, whatever happens;
//! streams (`consume`, `--watch`) carry one per line.

mod args;
mod bench;
mod bounds;
mod broker;
mod client;
mod cluster;
mod config;
mod consume;
mod context;
mod doctor;
mod exit;
mod failure;
mod glob;
mod group;
mod help;
mod log;
mod output;
mod partition;
mod position;
#[cfg(target_os = "linux")]
mod powers;
mod produce;
mod progress;
mod record;
mod rows;
mod select;
mod server;
mod settings;
mod suggest;
mod topic;
mod units;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use args::{Cli, Color, Command, Global, ServerCommand};
use context::{Context, warn};
use exit::Exit;
use failure::Failure;
use output::{Format, Report, TableStyle};
use settings::{Given, Settings};

fn main() -> ExitCode {
    let began = std::time::Instant::now();
    let cli = match Cli::of_process() {
        Ok(cli) => cli,
        Err(error) => return refuse_arguments(&error).into(),
    };
    let style = style(&cli.global);
    let format = cli.global.format.unwrap_or_default();
    let served = match &cli.command {
        Command::Help(args) => help::run(args).map(|text| print(&text)).map_err(|f| vec![f]),
        Command::Server(ServerCommand::Dev(args)) => {
            server::dev(args, cli.global.bootstrap_server.as_deref(), began)
        }
        Command::Server(ServerCommand::Serve(args)) => server::serve(args, began),
        _ => return client_command(&cli, format, style).into(),
    };
    let exit = served.unwrap_or_else(|failures| {
        let report = Report { command: cli.command.name(), ..Report::default() };
        show(&report.with_errors(failures), format, style)
    });
    exit.into()
}

fn client_command(cli: &Cli, format: Format, style: TableStyle) -> Exit {
    if cli.global.columns {
        let headers = cli.command.columns().iter().map(|column| column.header);
        return print(&format!("{}\n", headers.collect::<Vec<_>>().join("\t")));
    }
    match context(&cli.global, format, style) {
        Ok(context) => run(cli, &context),
        Err(failure) => show(&Report::failed(cli.command.name(), failure), format, style),
    }
}

fn context(global: &Global, format: Format, style: TableStyle) -> Result<Context, Failure> {
    let given = Given {
        bootstrap: global.bootstrap_server.as_deref(),
        options: &global.options,
        file: global.command_config.as_deref(),
        timeout: global.timeout,
    };
    let environment = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    let settings = Settings::resolve(&given, environment)?;
    for warning in &settings.warnings {
        warn(warning);
    }
    if global.verbose > 0 {
        for (name, value, origin) in settings.all() {
            writeln!(std::io::stderr(), "{name} = {value} ({})", origin.text()).ok();
        }
    }
    Ok(Context { settings, format, style })
}

fn run(cli: &Cli, context: &Context) -> Exit {
    let name = cli.command.name();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = Failure::new("RUNTIME", error.to_string(), Exit::ItemFailed);
            return show(&Report::failed(name, failure), context.format, context.style);
        }
    };
    if let Some(period) = cli.global.watch {
        if !cli.command.reads() {
            let failure = Failure::usage(format!("--watch repeats reading commands, not {name}"));
            return show(&Report::failed(name, failure), context.format, context.style);
        }
        return runtime.block_on(watch(cli, context, period));
    }
    let report = runtime.block_on(once(cli, context));
    // Threads that still wait for stdin must not hold up the end.
    runtime.shutdown_background();
    show(&report, context.format, context.style)
}

async fn once(cli: &Cli, context: &Context) -> Report {
    let name = cli.command.name();
    let result = if matches!(cli.command, Command::Consume(_)) {
        // It commits and leaves its group when it is interrupted.
        cli.command.run(context).await
    } else {
        tokio::select! {
            result = cli.command.run(context) => result,
            _ = tokio::signal::ctrl_c() => {
                Err(Failure::new("INTERRUPTED", "interrupted", Exit::Interrupted))
            }
        }
    };
    result.unwrap_or_else(|failure| Report::failed(name, failure))
}

async fn watch(cli: &Cli, context: &Context, period: std::time::Duration) -> Exit {
    let mut ticks = tokio::time::interval(period);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = tokio::signal::ctrl_c() => return Exit::Interrupted,
        }
        let report = once(cli, context).await;
        let exit = if context.format == Format::Json {
            print(&format!("{}\n", report.document()));
            report.exit()
        } else {
            if context.style.colour {
                print("\x1b[H\x1b[2J");
            }
            show(&report, context.format, context.style)
        };
        if matches!(exit, Exit::Usage | Exit::Interrupted) {
            return exit;
        }
    }
}

/// Writes a report to stdout and stderr.
fn show(report: &Report, format: Format, style: TableStyle) -> Exit {
    let stream = matches!(report.command, "consume" | "log dump" | "log find" | "log export");
    let text = match (stream, format) {
        (true, Format::Json) if report.errors.is_empty() => String::new(),
        (true, Format::Json) => format!("{}\n", report.document()),
        _ => report.render(format, style),
    };
    let mut exit = report.exit();
    if print(&text) != Exit::Ok && exit == Exit::Ok {
        exit = Exit::ItemFailed;
    }
    let mut err = std::io::stderr().lock();
    // In json and yaml the document says it all.
    if !matches!(format, Format::Json | Format::Yaml) {
        for note in &report.notes {
            writeln!(err, "{note}").ok();
        }
        for failure in report.errors.iter().filter(|failure| failure.exit != Exit::Interrupted) {
            writeln!(err, "{}", failure.text()).ok();
        }
    }
    exit
}

fn print(text: &str) -> Exit {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Exit::Ok,
        // The reader has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Ok,
        Err(_) => Exit::ItemFailed,
    }
}

/// Help and version go to stdout; mistakes to stderr, and in json format also into a document.
fn refuse_arguments(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        return print(&error.render().to_string());
    }
    let text = error.render().to_string();
    if asks_for_json() {
        let message = text.lines().next().unwrap_or_default();
        let message = message.strip_prefix("error: ").unwrap_or(message);
        let report = Report::failed("", Failure::usage(message));
        return show(&report, Format::Json, TableStyle::default());
    }
    std::io::stderr().write_all(text.as_bytes()).ok();
    Exit::Usage
}

fn asks_for_json() -> bool {
    let arguments: Vec<String> =
        std::env::args_os().filter_map(|argument| argument.into_string().ok()).collect();
    arguments.iter().any(|argument| argument == "--format=json")
        || arguments.windows(2).any(|pair| pair[0] == "--format" && pair[1] == "json")
        || std::env::var_os("OTTLA_FORMAT").is_some_and(|format| format == "json")
}

fn style(global: &Global) -> TableStyle {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let colour = match global.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto if set("NO_COLOR") => false,
        Color::Auto if set("CLICOLOR_FORCE") => true,
        Color::Auto => std::io::stdout().is_terminal(),
    };
    TableStyle { raw: global.raw, colour }
}
