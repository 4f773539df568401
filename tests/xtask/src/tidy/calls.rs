//! Calls that do not belong where they stand, each with what to use instead.

use super::Problem;
use crate::source::Source;

/// Crates that time and chance enter as arguments only; `replication` gets them from the broker.
const BELOW_BROKER: &[&str] = &["protocol/", "config/", "storage/", "coordinator/", "replication/"];

const AMBIENT: &[(&str, &str)] = &[
    ("Instant::now", "take a MonoTime as an argument"),
    ("SystemTime::now", "take a Timestamp as an argument"),
    ("Timestamp::now", "take a Timestamp as an argument"),
    ("Uuid::new_v4", "take the id, or random bytes, as an argument"),
    ("thread_rng", "take random values as an argument"),
    ("rand::", "take random values as an argument"),
    ("getrandom", "take random values as an argument"),
    ("RandomState::new", "use an ordered collection"),
    ("env::var", "the command line reads the environment; take a typed config"),
    ("process::exit", "return an error"),
];

const PRINTING: &[(&str, &str)] = &[
    ("println!", "use tracing, or return the text"),
    ("print!", "use tracing, or return the text"),
    ("eprintln!", "use tracing"),
    ("eprint!", "use tracing"),
];

const NOWHERE: &[(&str, &str)] = &[
    ("dbg!", "remove it"),
    ("todo!", "write it, or leave it out and say so"),
    ("unimplemented!", "write it, or leave it out and say so"),
    ("std::process::abort", "panic with a reason"),
];

const IN_TESTS: &[(&str, &str)] = &[
    ("thread::sleep", "wait for the condition, with a deadline"),
    ("time::sleep", "wait for the condition, with a deadline"),
];

pub(super) fn check(source: &Source) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (line, code) in source.code.iter().enumerate() {
        let is_test = source.is_test(line);
        let mut ban = |calls: &[(&str, &str)]| {
            for (call, instead) in calls.iter().filter(|(call, _)| mentions(code, call)) {
                let sentence = format!("`{call}` has no place here: {instead}");
                problems.push(Problem::at(source, line, sentence));
            }
        };
        ban(NOWHERE);
        if is_test {
            let timeless = sleeps_in_simulated_time(&source.path);
            if !source.path.contains("/benches/") && !timeless && !paces_a_poll(source, line) {
                ban(IN_TESTS);
            }
        } else if BELOW_BROKER.iter().any(|prefix| source.path.starts_with(prefix)) {
            let timers = has_timers_of_the_runtime(source);
            let named_by_openraft =
                code.contains("fn thread_rng()") || code.contains("TokioRuntime::thread_rng");
            let banned = AMBIENT.iter().filter(|(call, _)| {
                !(timers && *call == "Instant::now" || named_by_openraft && *call == "thread_rng")
            });
            ban(&banned.copied().collect::<Vec<_>>());
        }
        if !is_test && !prints_for_a_living(&source.path) {
            ban(PRINTING);
        }
        if is_test && fixed_port(code, &source.text[line]) {
            let sentence = "binds a fixed port: bind port 0 and ask which one it got";
            problems.push(Problem::at(source, line, sentence));
        }
    }
    problems
}

/// A pause between looking again, under a deadline, of what no test can be told about: another
/// process. The comment above says so.
fn paces_a_poll(source: &Source, line: usize) -> bool {
    line > 0 && source.comments[line - 1].contains("Paces a poll")
}

/// Where nothing waits for a real clock: a sleep is a step of the simulation.
fn sleeps_in_simulated_time(path: &str) -> bool {
    ["tests/simulation/src/", "replication/src/raft/tests/", "replication/src/peer/tests/"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
}

/// Links between brokers have deadlines of the runtime's clock, which simulations hold.
fn has_timers_of_the_runtime(source: &Source) -> bool {
    source.path.starts_with("replication/src/peer/")
        && source
            .code
            .iter()
            .any(|line| line.contains("use tokio::time::") && line.contains("Instant"))
}

/// The command line and examples talk to their user; everything else is a library.
fn prints_for_a_living(path: &str) -> bool {
    path.starts_with("cli/") || path.contains("/examples/") || path.ends_with("/build.rs")
}

/// Whether the call stands in the code as a whole word.
fn mentions(code: &str, call: &str) -> bool {
    code.match_indices(call).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// A literal address with a port other than 0 in a call that opens it.
fn fixed_port(code: &str, text: &str) -> bool {
    let opens = ["bind(", ".port(", "listen("].iter().any(|call| code.contains(call));
    opens && text.split('"').skip(1).step_by(2).any(has_port) || number_in_port_call(code)
}

fn has_port(literal: &str) -> bool {
    literal.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

/// `.port(9092)`, but not `.port(0)`.
fn number_in_port_call(code: &str) -> bool {
    code.split(".port(").skip(1).any(|rest| {
        let number: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '_').collect();
        !number.is_empty() && number != "0"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&Source::parse(path, text)).len()
    }

    #[test]
    fn clocks_and_chance_are_refused_below_the_broker() {
        for call in
            ["Instant::now()", "std::time::SystemTime::now()", "rand::random()", "env::var(x)"]
        {
            assert_eq!(count("storage/src/x.rs", &format!("let a = {call};\n")), 1, "{call}");
            assert_eq!(count("broker/src/x.rs", &format!("let a = {call};\n")), 0, "{call}");
        }
        assert_eq!(count("storage/src/x.rs", "// Instant::now()\nlet a = \"Instant::now\";\n"), 0);
        assert_eq!(count("storage/src/x.rs", "let a = MyInstant::now();\nlet b = grand::x;\n"), 0);
        assert_eq!(count("storage/src/x/tests.rs", "let a = Instant::now();\n"), 0);
    }

    #[test]
    fn printing_is_for_the_command_line() {
        assert_eq!(count("broker/src/x.rs", "println!(\"a\");\n"), 1);
        assert_eq!(count("cli/src/x.rs", "println!(\"a\");\n"), 0);
        assert_eq!(count("broker/examples/x.rs", "println!(\"a\");\n"), 0);
        assert_eq!(count("broker/src/x.rs", "eprintln!(\"a\");\n"), 1);
    }

    #[test]
    fn leftovers_are_refused_everywhere() {
        for call in ["dbg!(a)", "todo!()", "unimplemented!()"] {
            assert_eq!(count("tests/integration/src/x.rs", &format!("{call};\n")), 1, "{call}");
        }
    }

    #[test]
    fn tests_do_not_sleep_or_fix_ports() {
        for line in [
            "std::thread::sleep(d);",
            "tokio::time::sleep(d).await;",
            "TcpListener::bind(\"127.0.0.1:9092\")",
            "TestCluster::builder().port(9092)",
        ] {
            assert_eq!(count("a/tests/x.rs", &format!("{line}\n")), 1, "{line}");
        }
        let paced = "// Paces a poll of the process.\nstd::thread::sleep(d);\n";
        assert_eq!(count("a/tests/x.rs", paced), 0);
        for line in ["TcpListener::bind(\"127.0.0.1:0\")", "let a = \"h:9092\";", "b.port(0)"] {
            assert_eq!(count("a/tests/x.rs", &format!("{line}\n")), 0, "{line}");
        }
        assert_eq!(count("broker/src/x.rs", "tokio::time::sleep(d).await;\n"), 0);
    }
}
