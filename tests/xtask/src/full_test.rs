//! `cargo xtask test`: everything that CI does, on a fresh machine as well.
//!
//! Owns: the order (checks, cargo's tests, the simulation, budgets, real clients), installing Debian packages that are
//! missing. Never: decides what a client must do; `tests/compat` does, and installs its own PyPI,
//! npm and Maven packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::steps::{self, Steps, cargo, say};
use crate::{readme, verify};

/// The scripted clients, and the program that runs them.
const COMPAT: &str = "tests/compat/run";
/// What the command line prints, on a real Kafka.
const SNAPSHOTS: &str = "tests/compat/snapshots";
/// A text corpus through one client and out of others, across a restart and a kill.
const CORPUS: &str = "tests/compat/corpus";
/// Kills under load, each followed by a count of what was acknowledged.
const CRASH: &str = "tests/compat/crash";
/// Consumers that read from the replica in their rack.
const RACKS: &str = "tests/compat/racks";
/// The same requests to a real Kafka, compared field by field.
const DIFFERENTIAL: &str = "tests/differential/run";
/// How much memory the release build needs when idle, and how large it is.
const BUDGETS: &str = "tests/budgets/run";
/// Whole brokers in simulated time, with faults from seeds.
const SIMULATION: &[&str] =
    &["test", "--release", "--locked", "--manifest-path", "tests/simulation/Cargo.toml"];
/// Ports of its own for the broker, so that nothing else on the machine is in the way.
const START: &str = "dev --data {dir} --port {port} --set ottla.http.listener=127.0.0.1:0";

pub(crate) fn run(root: &Path) -> Result<()> {
    let mut outcome = Steps::default();
    outcome.check("toolchain", || {
        for component in ["rustfmt", "clippy"] {
            ensure_component(component)?;
        }
        Ok(Vec::new())
    });
    outcome.check("verify", || {
        Ok(verify::run(root).err().map(|error| format!("{error:#}")).into_iter().collect())
    });
    // One invocation for the whole workspace, so that features are unified once.
    outcome.command(
        "cargo test",
        &mut cargo(root, &["test", "--locked", "--workspace", "--no-fail-fast"]),
    );
    // A workspace of its own: it must not share features with the product.
    outcome.command("simulation", &mut cargo(root, SIMULATION));
    outcome.check("readme", || readme(root));
    outcome.check("budgets", || {
        Ok(budgets(root).err().map(|error| format!("{error:#}")).into_iter().collect())
    });
    outcome.check("clients", || {
        Ok(compat(root, &[]).err().map(|error| format!("{error:#}")).into_iter().collect())
    });
    for (name, program) in
        [("text corpus", CORPUS), ("kill -9", CRASH), ("differential", DIFFERENTIAL)]
    {
        outcome.check(name, || {
            let error = script(root, program, &[]).err();
            Ok(error.map(|error| format!("{error:#}")).into_iter().collect())
        });
    }
    outcome.check("racks", || {
        Ok(racks(root).err().map(|error| format!("{error:#}")).into_iter().collect())
    });
    outcome.finish()
}

/// Has real clients read from a follower of three brokers.
fn racks(root: &Path) -> Result<()> {
    for program in ["python3", "kcat"] {
        ensure_program(program, program)?;
    }
    let broker = build_broker(root)?;
    steps::run(Command::new("python3").arg(RACKS).arg(broker).current_dir(root))
}

/// Runs the clients people use against the broker of this tree, and our own command line against a
/// real Kafka; with `arguments` only the clients, whose runner gets them.
pub(crate) fn compat(root: &Path, arguments: &[String]) -> Result<()> {
    script(root, COMPAT, arguments)?;
    if !arguments.is_empty() {
        return Ok(());
    }
    steps::run(Command::new("python3").arg(SNAPSHOTS).current_dir(root))
}

/// Builds what a user builds, and holds it to the budgets that do not depend on the machine's speed.
fn budgets(root: &Path) -> Result<()> {
    steps::run(&mut cargo(root, &["build", "--locked", "--release"]))?;
    let binary = target_folder(root)?.join("release/ottla");
    let mut command = Command::new("python3");
    command.arg(BUDGETS).args(["--sizes", "--check", "--binary"]).arg(binary);
    steps::run(command.current_dir(root))
}

/// Compares the broker of this tree with a real Kafka; `arguments` go to the program.
pub(crate) fn differential(root: &Path, arguments: &[String]) -> Result<()> {
    script(root, DIFFERENTIAL, arguments)
}

/// Runs one of the programs that start the broker themselves.
fn script(root: &Path, program: &str, arguments: &[String]) -> Result<()> {
    if !root.join(program).exists() {
        bail!("{program} is not there");
    }
    ensure_program("python3", "python3")?;
    let broker = build_broker(root)?;
    let mut command = Command::new("python3");
    command.arg(program).current_dir(root);
    let own = ["--kafka", "--bootstrap", "--start-cmd", "--self", "--b"];
    if !arguments.iter().any(|argument| own.contains(&argument.as_str())) {
        command.args(["--start-cmd", &format!("{} {START}", broker.display())]);
    }
    steps::run(command.args(arguments))
}

/// Runs what the README shows.
pub(crate) fn readme(root: &Path) -> Result<Vec<String>> {
    for program in ["curl", "kcat"] {
        ensure_program(program, program)?;
    }
    readme::check(root, &build_broker(root)?)
}

/// The broker of this tree, as the tests have built it.
fn build_broker(root: &Path) -> Result<PathBuf> {
    // The whole workspace, as for the tests, so that dependencies keep their features.
    steps::run(&mut cargo(root, &["build", "--locked", "--workspace", "--bin", "ottla"]))?;
    Ok(target_folder(root)?.join("debug/ottla"))
}

/// Where cargo builds.
fn target_folder(root: &Path) -> Result<PathBuf> {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => std::path::absolute(folder).context("CARGO_TARGET_DIR"),
        None => Ok(root.join("target")),
    }
}

/// Adds a component of the toolchain when it is missing.
fn ensure_component(component: &str) -> Result<()> {
    let subcommand = if component == "rustfmt" { "fmt" } else { component };
    let is_there = Command::new(env!("CARGO")).args([subcommand, "--version"]).output();
    if is_there.is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    say(&format!("--- {component} is missing: rustup component add {component}"));
    steps::run(Command::new("rustup").args(["component", "add", component]))
}

/// Installs a Debian package when its program is missing.
fn ensure_program(program: &str, package: &str) -> Result<()> {
    if is_installed(program) {
        return Ok(());
    }
    say(&format!("--- {program} is missing: apt-get install {package}"));
    let prefix: &[&str] = if is_installed("sudo") { &["sudo"] } else { &[] };
    let apt = |arguments: &[&str]| {
        let words: Vec<&str> =
            prefix.iter().chain(&["apt-get"]).chain(arguments).copied().collect();
        let (first, rest) = words.split_first().context("no command")?;
        steps::run(Command::new(first).args(rest).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    apt(&["update", "-qq"])?;
    apt(&["install", "-qq", "-y", "--no-install-recommends", package])
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_for_on_the_path() {
        assert!(is_installed("sh"));
        assert!(!is_installed("no-such-program-at-all"));
    }

    #[test]
    fn a_tree_without_clients_fails() {
        let sentence = compat(Path::new("/nonexistent"), &[]).unwrap_err().to_string();
        assert_eq!(sentence, "tests/compat/run is not there");
    }
}
