//! Running the steps of a task and telling how they went.
//!
//! Owns: one line per step on stderr, problems under it, and starting commands.
//! Never: stops at the first failure of a check: all of them are told at once.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

/// Steps that were run so far.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    failed: Vec<String>,
}

impl Steps {
    /// Runs a check that answers a list of problems.
    pub(crate) fn check(&mut self, name: &str, check: impl FnOnce() -> Result<Vec<String>>) {
        let start = Instant::now();
        let problems = check().unwrap_or_else(|error| vec![format!("{error:#}")]);
        self.tell(name, start, &problems);
    }

    /// Runs a command whose output the reader sees.
    pub(crate) fn command(&mut self, name: &str, command: &mut Command) {
        let start = Instant::now();
        say(&format!("--- {name}: {}", shown(command)));
        let problems = run(command).err().map(|error| format!("{error:#}"));
        self.tell(name, start, &Vec::from_iter(problems));
    }

    fn tell(&mut self, name: &str, start: Instant, problems: &[String]) {
        for problem in problems {
            say(&format!("  {problem}"));
        }
        let verdict = if problems.is_empty() { "ok" } else { "FAILED" };
        say(&format!("--- {name}: {verdict} ({:.1} s)", start.elapsed().as_secs_f64()));
        if !problems.is_empty() {
            self.failed.push(name.to_owned());
        }
    }

    /// # Errors
    /// Any step failed.
    pub(crate) fn finish(self) -> Result<()> {
        if self.failed.is_empty() {
            return Ok(());
        }
        bail!("failed: {}", self.failed.join(", "))
    }
}

/// One line for whoever started the task.
#[allow(clippy::print_stderr, reason = "a task talks to the person who started it")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// Cargo, as it runs this task, at the root.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).current_dir(root);
    command
}

/// Runs a command to its end.
///
/// # Errors
/// It does not start, or ends with another status than 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{} does not start", shown(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", shown(command));
    }
    Ok(())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    let name = words.first().map(|path| path.rsplit('/').next().unwrap_or(path).to_owned());
    std::iter::once(name.unwrap_or_default())
        .chain(words.into_iter().skip(1))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_fails_the_task_and_the_rest_still_runs() {
        let mut steps = Steps::default();
        steps.check("first", || Ok(vec!["a problem".to_owned()]));
        let mut ran = false;
        steps.check("second", || {
            ran = true;
            Ok(Vec::new())
        });
        assert!(ran);
        assert_eq!(steps.finish().unwrap_err().to_string(), "failed: first");
    }

    #[test]
    fn a_command_that_fails_fails_its_step() {
        let mut steps = Steps::default();
        steps.command("none", &mut Command::new("/nonexistent/program"));
        assert!(steps.finish().is_err());
        assert_eq!(shown(Command::new("/usr/bin/cargo").arg("fmt")), "cargo fmt");
    }
}
