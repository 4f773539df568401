//! `cargo xtask readme`: runs what README.md shows and compares what it shows of the answers.
//!
//! Owns: the commands of its `console` blocks, in order, against the broker of this tree.
//! Never: runs what builds or tests the tree (`cargo build`, `cargo xtask`, `git`, `cd`): that happened.
//! Invariant: every process that was started has ended when the task returns.
//!
//! In a block, `$ ` begins a command and `> ` continues it; the lines below are its output, where `…`
//! stands for any text and a line `…` for any lines. `ottla dev` and `ottla serve` stay until the end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::steps::say;

/// How long a server may take to say what the README shows, and to stop.
const SERVER_PATIENCE: Duration = Duration::from_secs(30);

/// One command and the output that the README shows for it.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    /// Line of the README, from one.
    line: usize,
    command: String,
    output: Vec<String>,
}

/// What is to be done with a command.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    Run(String),
    Serve(String),
    Skip,
}

/// Runs README.md with this binary as `ottla`.
pub(crate) fn check(root: &Path, ottla: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(root.join("README.md")).context("README.md")?;
    let folder = root.join("target/readme");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let tools = ottla.parent().map(PathBuf::from);
    let mut run = Run { folder, tools, servers: Vec::new(), started: 0 };
    let mut problems = Vec::new();
    for shown in parse(&text) {
        if let Err(error) = run.step(&shown) {
            problems.push(format!("README.md:{}: {}: {error:#}", shown.line, shown.command));
        }
    }
    problems.extend(run.stop());
    Ok(problems)
}

fn parse(text: &str) -> Vec<Shown> {
    let mut commands: Vec<Shown> = Vec::new();
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        if let Some(info) = line.trim_start().strip_prefix("```") {
            inside = !inside && info.trim() == "console";
            continue;
        }
        if !inside {
            continue;
        }
        if let Some(command) = line.strip_prefix("$ ") {
            let command = command.to_owned();
            commands.push(Shown { line: index + 1, command, output: Vec::new() });
        } else if let Some(last) = commands.last_mut() {
            match line.strip_prefix("> ").filter(|_| last.output.is_empty()) {
                Some(rest) => last.command = format!("{}\n{rest}", last.command),
                None => last.output.push(line.trim_end().to_owned()),
            }
        }
    }
    for shown in &mut commands {
        while shown.output.last().is_some_and(String::is_empty) {
            shown.output.pop();
        }
    }
    commands
}

fn plan(command: &str) -> Plan {
    let first = command.split_whitespace().next().unwrap_or_default();
    let command = if command.starts_with("cargo run") {
        let arguments = command.split_once(" -- ").map(|(_, rest)| rest).unwrap_or_default();
        format!("ottla {arguments}")
    } else if ["cargo", "git", "cd"].contains(&first) {
        return Plan::Skip;
    } else {
        command.replace("./target/release/ottla", "ottla").replace("target/release/ottla", "ottla")
    };
    let command = command.trim().trim_end_matches('&').trim().to_owned();
    if command.starts_with("ottla dev") || command.starts_with("ottla serve") {
        Plan::Serve(command)
    } else {
        Plan::Run(command)
    }
}

/// A server says to a terminal what the README shows, and JSON to everything else.
fn as_on_a_terminal(command: &str) -> String {
    if command.contains("--print") { command.to_owned() } else { format!("{command} --print text") }
}

/// Whether the lines are what is shown.
fn is_shown(shown: &[String], lines: &[&str]) -> bool {
    match shown.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first.trim() == "…" => {
            (0..=lines.len()).any(|skipped| is_shown(rest, &lines[skipped..]))
        }
        Some((first, rest)) => lines
            .split_first()
            .is_some_and(|(line, after)| fits(first, line.trim_end()) && is_shown(rest, after)),
    }
}

/// Whether the parts between `…` stand in the line, in order, from its beginning to its end.
fn fits(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

struct Run {
    folder: PathBuf,
    /// Where `ottla` is.
    tools: Option<PathBuf>,
    servers: Vec<Server>,
    /// How many servers were started so far, for the names of their files.
    started: usize,
}

struct Server {
    command: String,
    child: Child,
}

impl Run {
    fn step(&mut self, shown: &Shown) -> Result<()> {
        match plan(&shown.command) {
            Plan::Skip => say(&format!("--- not run again: {}", shown.command)),
            Plan::Serve(command) => self.serve(&command, &shown.output)?,
            Plan::Run(command) => {
                say(&format!("--- $ {command}"));
                let output = self.shell(&command)?.stdin(Stdio::null()).output()?;
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let complaint = String::from_utf8_lossy(&output.stderr);
                ensure!(output.status.success(), "{}\n{text}{complaint}", output.status);
                let lines: Vec<&str> = text.lines().collect();
                if !shown.output.is_empty() && !is_shown(&shown.output, &lines) {
                    bail!("prints something else:\n{text}");
                }
            }
        }
        Ok(())
    }

    fn serve(&mut self, command: &str, output: &[String]) -> Result<()> {
        say(&format!("--- $ {command} &"));
        // The same command again is the same server: it has its port for itself.
        if let Some(at) = self.servers.iter().position(|server| server.command == command) {
            stop(self.servers.remove(at))?;
        }
        self.started += 1;
        let path = self.folder.join(format!("server-{}.txt", self.started));
        let file = File::create(&path)?;
        let child = self
            .shell(&format!("exec {}", as_on_a_terminal(command)))?
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        self.servers.push(Server { command: command.to_owned(), child });
        let deadline = Instant::now() + SERVER_PATIENCE;
        loop {
            let text = std::fs::read_to_string(&path)?;
            let lines: Vec<&str> = text.lines().collect();
            let as_shown = output.is_empty() || is_shown(output, &lines);
            if !lines.is_empty() && as_shown {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "does not print what is shown, but:\n{text}");
            // Paces a poll of the server's output.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn shell(&self, command: &str) -> Result<Command> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = self.tools.iter().cloned().chain(std::env::split_paths(&path));
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", command]).current_dir(&self.folder);
        shell.env("PATH", std::env::join_paths(folders)?);
        Ok(shell)
    }

    /// Ends every server as a user would, with SIGTERM; each must drain and answer 0.
    fn stop(&mut self) -> Vec<String> {
        let stopped = self.servers.drain(..).map(stop);
        stopped.filter_map(|ended| ended.err().map(|error| format!("{error:#}"))).collect()
    }
}

fn stop(mut server: Server) -> Result<()> {
    let pid = server.child.id().to_string();
    Command::new("kill").args(["-TERM", &pid]).status().context("kill")?;
    let deadline = Instant::now() + SERVER_PATIENCE;
    loop {
        if let Some(status) = server.child.try_wait()? {
            ensure!(status.success(), "{} ended with {status} on SIGTERM", server.command);
            return Ok(());
        }
        if Instant::now() > deadline {
            server.child.kill()?;
            server.child.wait()?;
            bail!("{} did not stop on SIGTERM", server.command);
        }
        // Paces a poll of the process.
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn only_console_blocks_are_commands() {
        let text = "a\n```sh\n$ no\n```\n```console\n$ one \\\n> two\nout\n\n$ three\n```\n$ no\n";
        let found = parse(text);
        let expected = [
            Shown { line: 6, command: "one \\\ntwo".to_owned(), output: lines("out") },
            Shown { line: 10, command: "three".to_owned(), output: Vec::new() },
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn commands_are_run_served_or_skipped() {
        for (command, expected) in [
            ("cargo run --release -- dev", Plan::Serve("ottla dev".to_owned())),
            ("ottla serve -c f &", Plan::Serve("ottla serve -c f".to_owned())),
            ("./target/release/ottla topic list", Plan::Run("ottla topic list".to_owned())),
            ("cargo xtask test", Plan::Skip),
            ("git clone x", Plan::Skip),
            ("echo cargo", Plan::Run("echo cargo".to_owned())),
        ] {
            assert_eq!(plan(command), expected);
        }
    }

    #[test]
    fn dots_stand_for_any_text_and_any_lines() {
        let check =
            |shown: &str, text: &str| is_shown(&lines(shown), &text.lines().collect::<Vec<_>>());
        assert!(check("a\nb", "a\nb"));
        assert!(!check("a", "a\nb"));
        assert!(!check("a\nb", "a"));
        assert!(check("a … c", "a xyz c"));
        assert!(!check("a … c", "a xyz d"));
        assert!(!check("… b", "a b c"));
        assert!(check("a\n…\nz", "a\nb\nc\nz"));
        assert!(check("…", ""));
        assert!(!check("a\n…\nz", "a\nb"));
    }

    #[test]
    fn a_readme_that_lies_is_found() {
        let folder = std::env::temp_dir().join(format!("xtask-readme-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let run = |readme: &str| {
            std::fs::write(folder.join("README.md"), readme).unwrap();
            check(&folder, Path::new("/bin/true")).unwrap()
        };
        assert_eq!(run("```console\n$ echo a\na\n```\n"), Vec::<String>::new());
        assert!(run("```console\n$ echo a\nb\n```\n")[0].contains("prints something else:\na"));
        assert!(
            run("```console\n$ false\n```\n")[0].starts_with("README.md:2: false: exit status")
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
