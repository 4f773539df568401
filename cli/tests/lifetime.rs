//! How the server ends: signals, and the end of the process that started it.
//!
//! Owns: processes of the binary, and a client that does not take its answers, so that a drain lasts as
//! long as the test wants. Never: sleeps; it waits for lines and for ends.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const OTTLA: &str = env!("CARGO_BIN_EXE_ottla");
/// More answers than two sockets hold between them.
const REQUESTS: usize = 400;

/// A running `ottla serve`; killed when the test fails.
struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
    errors: BufReader<ChildStderr>,
    bootstrap: String,
    _data: tempfile::TempDir,
}

impl Server {
    fn start(flags: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut child = Command::new(OTTLA)
            .args(["serve", "--print", "json", "--log", "info"])
            .args(["--set", "listeners=PLAINTEXT://127.0.0.1:0"])
            .args(["--set", "ottla.http.listener="])
            .args(["--set", &format!("log.dirs={}", data.path().display())])
            .args(flags)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let bootstrap = bootstrap(child.stdout.as_mut().unwrap());
        let errors = BufReader::new(child.stderr.take().unwrap());
        Self { stdin: child.stdin.take(), child, errors, bootstrap, _data: data }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn wait_for_log(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert!(self.errors.read_line(&mut line).unwrap() > 0, "no log line says {text:?}");
        }
    }

    /// The exit code; the rest of the log is read, so that it never blocks the process.
    fn end(mut self) -> Option<i32> {
        self.errors.read_to_end(&mut Vec::new()).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped_already = self.child.wait();
    }
}

/// The address in the line that the server prints when it is ready.
fn bootstrap(stdout: &mut ChildStdout) -> String {
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    ready["bootstrap"].as_str().unwrap().to_owned()
}

/// A DescribeConfigs (v1) of the broker, with synonyms: an answer of some ten kilobytes.
fn describe_configs(correlation: i32) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(32_i16.to_be_bytes());
    body.extend(1_i16.to_be_bytes());
    body.extend(correlation.to_be_bytes());
    body.extend((-1_i16).to_be_bytes());
    body.extend(1_i32.to_be_bytes());
    body.push(4);
    body.extend(1_i16.to_be_bytes());
    body.extend(b"1");
    body.extend((-1_i32).to_be_bytes());
    body.push(1);
    let mut frame = (body.len() as u32).to_be_bytes().to_vec();
    frame.extend(body);
    frame
}

/// A client that has sent many requests and taken only the first bytes of the answers.
fn greedy(bootstrap: &str) -> (TcpStream, u32) {
    let mut stream = TcpStream::connect(bootstrap).unwrap();
    let requests: Vec<u8> = (0..REQUESTS as i32).flat_map(describe_configs).collect();
    stream.write_all(&requests).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    (stream, u32::from_be_bytes(length))
}

#[test]
fn a_signal_drains_and_ends_with_zero() {
    let mut server = Server::start(&[]);
    let (mut client, mut length) = greedy(&server.bootstrap);
    server.signal(Signal::TERM);
    server.wait_for_log("draining");
    // What was accepted is answered: whole frames, in order, until the end of the stream.
    let mut answers = 0_i32;
    loop {
        let mut answer = vec![0; length as usize];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer[..4], answers.to_be_bytes());
        answers += 1;
        let mut next = [0; 4];
        match client.read(&mut next).unwrap() {
            0 => break,
            read => client.read_exact(&mut next[read..]).unwrap(),
        }
        length = u32::from_be_bytes(next);
    }
    assert!(answers >= 1);
    assert_eq!(server.end(), Some(0));
}

#[test]
fn a_second_signal_ends_the_drain_at_once() {
    let mut server = Server::start(&[]);
    let (_client, _) = greedy(&server.bootstrap);
    server.signal(Signal::TERM);
    server.wait_for_log("draining");
    assert_eq!(server.child.try_wait().unwrap(), None, "it waits for the client");
    server.signal(Signal::TERM);
    assert_eq!(server.end(), Some(130));
}

#[test]
fn the_end_of_the_pipe_on_stdin_ends_the_server_of_a_harness() {
    let mut server = Server::start(&["--exit-with-parent"]);
    drop(server.stdin.take());
    server.wait_for_log("the parent process is gone");
    assert_eq!(server.end(), Some(0));
}

#[test]
fn the_death_of_the_parent_ends_the_server_of_a_harness() {
    let script = "\"$0\" dev --port 0 --print json --exit-with-parent </dev/null & wait";
    let mut shell = Command::new("sh")
        .args(["-c", script, OTTLA])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = shell.stdout.take().unwrap();
    let bootstrap = bootstrap(&mut stdout);
    drop(TcpStream::connect(&bootstrap).unwrap());
    shell.kill().unwrap();
    shell.wait().unwrap();
    // The server holds the other end of this pipe; it ends with the server.
    stdout.read_to_end(&mut Vec::new()).unwrap();
    assert!(TcpStream::connect(&bootstrap).is_err(), "nobody listens there any more");
}

#[test]
fn brokers_of_one_process_do_not_wait_for_one_that_cannot_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let done = Command::new(OTTLA)
        .args(["dev", "--brokers", "3", "--port", &port, "--set", "ottla.http.listener="])
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let words = String::from_utf8(done.stderr).unwrap();
    assert!(!done.status.success(), "{words}");
    assert!(words.contains(&port) && words.contains("in use"), "{words}");
}
