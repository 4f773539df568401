//! `cargo xtask test`: everything that CI does, on a fresh machine as well.
//!
//! Owns: the order (checks, cargo's tests, real clients) and installing Debian packages that are
//! missing. Never: decides what a client must do; `tests/compat` does, and installs its own PyPI,
//! npm and Maven packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::steps::{self, Steps, cargo, say};
use crate::verify;

/// The scripted clients, and the program that runs them.
const COMPAT: &str = "tests/compat/run";

pub(crate) fn run(root: &Path) -> Result<()> {
    let mut outcome = Steps::default();
    outcome.check("verify", || {
        Ok(verify::run(root).err().map(|error| format!("{error:#}")).into_iter().collect())
    });
    // One invocation for the whole workspace, so that features are unified once.
    outcome.command(
        "cargo test",
        &mut cargo(root, &["test", "--locked", "--workspace", "--no-fail-fast"]),
    );
    outcome.check("clients", || {
        Ok(compat(root, &[]).err().map(|error| format!("{error:#}")).into_iter().collect())
    });
    outcome.finish()
}

/// Runs the clients people use against the broker of this tree; `arguments` go to the runner.
pub(crate) fn compat(root: &Path, arguments: &[String]) -> Result<()> {
    if !root.join(COMPAT).exists() {
        bail!("{COMPAT} is not there");
    }
    ensure_program("python3", "python3")?;
    steps::run(&mut cargo(root, &["build", "--locked", "--package", "ottla", "--bin", "ottla"]))?;
    let broker = target_folder(root)?.join("debug/ottla");
    let start = format!("{} dev --data {{dir}} --port {{port}}", broker.display());
    let mut command = Command::new("python3");
    command.arg(COMPAT).current_dir(root);
    if !arguments.iter().any(|a| a == "--kafka" || a == "--bootstrap" || a == "--start-cmd") {
        command.args(["--start-cmd", &start]);
    }
    steps::run(command.args(arguments))
}

/// Where cargo builds.
fn target_folder(root: &Path) -> Result<PathBuf> {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => std::path::absolute(folder).context("CARGO_TARGET_DIR"),
        None => Ok(root.join("target")),
    }
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
