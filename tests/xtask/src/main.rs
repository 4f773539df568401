//! The repository's own tasks: `cargo xtask TASK`.
//!
//! Owns: finding the task by name. Never: does a task's work; each has a module.
//! Invariant: a task that fails says why on stderr and exits with 1.

use std::process::ExitCode;

use anyhow::{Result, bail};

mod full_test;
mod layering;
mod licences;
mod metadata;
mod readme;
mod reference;
mod shapes;
mod source;
mod steps;
mod tables;
mod tidy;
mod verify;
mod workspace;

const USAGE: &str = "cargo xtask TASK, where TASK is one of
  test              everything that CI does; installs what it needs
  verify            format, clippy and all checks below; never writes
  tidy              sizes, headers, names, banned calls, the API table
  layering          which crate may use which
  licences          licences, versions and origins of dependencies (deny.toml)
  compat [ARGS]     the clients people use against the broker of this tree
  differential      the same requests to a real Kafka and to the broker of this tree
  readme            what README.md shows, run and compared
  tables            write README.md's tables from tests/evidence; --check compares only
  config-reference  write config/reference.md; --check compares only
  shapes            write protocol/src/guard/shapes.rs; see its module";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            steps::say(&format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<()> {
    let root = workspace::root()?;
    let Some((task, args)) = args.split_first() else { bail!("{USAGE}") };
    let check_only = args.iter().any(|arg| arg == "--check");
    let mut steps = steps::Steps::default();
    match task.as_str() {
        "test" => return full_test::run(&root),
        "verify" => return verify::run(&root),
        "compat" => return full_test::compat(&root, args),
        "differential" => return full_test::differential(&root, args),
        "readme" => steps.check(task, || full_test::readme(&root)),
        "shapes" => return shapes::run(args),
        "tables" if !check_only => return tables::write(&root),
        "tables" => steps.check(task, || tables::check(&root)),
        "config-reference" if !check_only => return reference::write(&root),
        "config-reference" => steps.check(task, || reference::check(&root)),
        "tidy" => steps.check(task, || tidy::check(&root)),
        "layering" => {
            steps.check(task, || Ok(layering::check(&metadata::Metadata::load(&root)?)));
        }
        "licences" => steps.check(task, || {
            Ok(licences::check(&metadata::Metadata::load(&root)?, &licences::Rules::load(&root)?))
        }),
        _ => bail!("there is no task {task}\n{USAGE}"),
    }
    steps.finish()
}
