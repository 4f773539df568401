//! Runs the binary, writes a transcript, normalises it and compares it with a file.
//!
//! Owns: the cluster, the process and the comparison. Never: knows commands. Invariant: a transcript
//! differs between two runs only where the product does.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use ottla_harness::blocking::TestCluster;

pub(crate) struct Session {
    name: &'static str,
    bootstrap: String,
    transcript: String,
    /// Lives as long as the session; `None` with a cluster of the caller's.
    _cluster: Option<TestCluster>,
}

impl Session {
    /// A cluster with the settings that the kit gives a real Kafka.
    pub(crate) fn start(name: &'static str) -> Self {
        let (bootstrap, cluster) = match std::env::var("OTTLA_TEST_BOOTSTRAP") {
            Ok(bootstrap) => (bootstrap, None),
            Err(_) => {
                let cluster = TestCluster::builder()
                    .config("node.id", "0")
                    .config("num.partitions", "4")
                    .config("offsets.topic.num.partitions", "8")
                    .config("group.initial.rebalance.delay.ms", "0")
                    .start_blocking()
                    .expect("an embedded cluster");
                (cluster.bootstrap().to_owned(), Some(cluster))
            }
        };
        Self { name, bootstrap, transcript: String::new(), _cluster: cluster }
    }

    /// Three brokers, with racks: ids 1 to 3.
    pub(crate) fn start_three(name: &'static str) -> Self {
        let mut builder = TestCluster::builder().brokers(3);
        for (node, rack) in [(1, "a"), (2, "b"), (3, "c")] {
            builder = builder.config_of(node, "broker.rack", rack);
        }
        let cluster = builder.start_blocking().expect("an embedded cluster");
        let bootstrap = cluster.bootstrap().to_owned();
        Self { name, bootstrap, transcript: String::new(), _cluster: Some(cluster) }
    }

    /// Runs `ottla LINE` until it prints `wanted`; what it prints is not compared.
    pub(crate) fn until(&mut self, line: &str, wanted: &str) {
        let before = self.transcript.len();
        for _ in 0..600 {
            self.run(line);
            let printed = self.transcript.split_off(before);
            if printed.contains(wanted) {
                return;
            }
            // Paces a poll of the cluster.
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("`ottla {line}` never prints `{wanted}`");
    }

    pub(crate) fn run(&mut self, line: &str) {
        self.feed(line, "");
    }

    /// Runs `ottla LINE` with `input` on stdin.
    pub(crate) fn feed(&mut self, line: &str, input: &str) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ottla"))
            .args(words(line))
            .env_clear()
            .env("OTTLA_BOOTSTRAP_SERVERS", &self.bootstrap)
            .env("TZ", "UTC")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        // A command that does not read its input may be gone already.
        child.stdin.take().expect("piped").write_all(input.as_bytes()).ok();
        let output = child.wait_with_output().expect("it ends");
        let stdout = String::from_utf8(output.stdout).expect("text");
        let stderr = String::from_utf8(output.stderr).expect("text");
        self.transcript.push_str(&format!("$ ottla {line}\n"));
        self.transcript.push_str(&normalise(&stdout));
        if !stderr.is_empty() {
            self.transcript.push_str("--- stderr\n");
            self.transcript.push_str(&normalise(&stderr));
        }
        self.transcript.push_str(&format!("--- exit {}\n\n", output.status.code().unwrap_or(-1)));
    }

    /// Runs `ottla LINE`, whose document has measured numbers: only what has to be so stays.
    pub(crate) fn measure(&mut self, line: &str) {
        let before = self.transcript.len();
        self.run(line);
        let measured = self.transcript.split_off(before);
        for line in measured.lines() {
            match line.split_once("\": ") {
                Some((name, number))
                    if number.starts_with(|c: char| c.is_ascii_digit())
                        && !["schema", "round", "lost"]
                            .iter()
                            .any(|fixed| name.ends_with(fixed)) =>
                {
                    let comma = if number.ends_with(',') { "," } else { "" };
                    self.transcript.push_str(&format!("{name}\": NUMBER{comma}\n"));
                }
                _ => self.transcript.push_str(&format!("{line}\n")),
            }
        }
    }

    /// Compares the transcript with its file, or writes it.
    pub(crate) fn finish(self) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join(format!("tests/snapshots/{}.txt", self.name));
        if std::env::var_os("OTTLA_UPDATE_SNAPSHOTS").is_some() {
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("written");
            std::fs::write(&path, &self.transcript).expect("written");
            return;
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        if expected == self.transcript {
            return;
        }
        let differs =
            expected.lines().zip(self.transcript.lines()).position(|(left, right)| left != right);
        let at = differs
            .unwrap_or_else(|| expected.lines().count().min(self.transcript.lines().count()));
        let context = |text: &str| {
            let from = at.saturating_sub(6);
            text.lines().skip(from).take(14).collect::<Vec<_>>().join("\n")
        };
        panic!(
            "{} differs from line {}; OTTLA_UPDATE_SNAPSHOTS=1 rewrites it\n\
             ===== expected\n{}\n===== printed\n{}\n",
            path.display(),
            at + 1,
            context(&expected),
            context(&self.transcript),
        );
    }
}

/// Splits a line at blanks, minding single quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// Replaces what differs from run to run.
fn normalise(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut rest = line;
        let mut normal = String::new();
        while !rest.is_empty() {
            let part = |c: char| c.is_ascii_alphanumeric() || "_.:+-".contains(c);
            let word = rest.find(|c: char| !part(c)).unwrap_or(rest.len());
            normal.push_str(&normal_word(&rest[..word], &normal));
            rest = &rest[word..];
            let gap = rest.find(part).unwrap_or(rest.len());
            normal.push_str(&rest[..gap]);
            rest = &rest[gap..];
        }
        // YAML quotes an id that begins with a digit.
        out.push_str(&collapse(&without_counts(&normal.replace("\"ID\"", "ID"))));
        out.push('\n');
    }
    out
}

/// What a cluster offers and holds besides the test's own: `46 APIs`, `2 topics`.
fn without_counts(line: &str) -> String {
    let mut line = line.to_owned();
    for unit in [" APIs", " topic"] {
        if let Some(at) = line.find(unit) {
            let number = line[..at].bytes().rev().take_while(u8::is_ascii_digit).count();
            if number > 0 {
                line.replace_range(at - number..at, "N");
            }
        }
    }
    if line.ends_with("N topic") {
        line.push('s');
    }
    line
}

fn normal_word(word: &str, before: &str) -> String {
    if let Some(rest) = word.strip_prefix(':') {
        return format!(":{}", normal_word(rest, before));
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let tenths = |text: &str| digits(&text.replacen('.', "", 1));
    let mixed = word.bytes().any(|b| b.is_ascii_uppercase())
        && word.bytes().any(|b| b.is_ascii_lowercase());
    if word.len() == 24 && word.ends_with('Z') && word.as_bytes()[10] == b'T' {
        "TIME".to_owned()
    } else if word.len() == 13 && digits(word) {
        "MILLIS".to_owned()
    } else if word.starts_with("127.0.0.1:") {
        "ADDRESS".to_owned()
    } else if word.len() == 22 && mixed && !word.contains(['.', ':', '+']) {
        "ID".to_owned()
    } else if word.strip_suffix("ms").is_some_and(digits)
        || word.strip_suffix('s').is_some_and(tenths)
    {
        "SPAN".to_owned()
    } else if before.ends_with("_ms\": ") && digits(word) {
        "MILLIS".to_owned()
    } else {
        word.to_owned()
    }
}

/// Columns are as wide as what was replaced: their gaps say nothing.
fn collapse(line: &str) -> String {
    let indent = line.len() - line.trim_start_matches(' ').len();
    let mut out = line[..indent].to_owned();
    let mut blanks = 0;
    for letter in line[indent..].chars() {
        if letter == ' ' {
            blanks += 1;
            if blanks > 2 {
                continue;
            }
        } else {
            blanks = 0;
        }
        out.push(letter);
    }
    out
}
