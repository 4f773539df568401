//! What a server prints when it is ready.
//!
//! Owns: the first screen, the JSON line for harnesses, and warnings that matter in production.
//! Never: anything before the sockets accept. Invariant: the JSON is one line on stdout.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use ottla_broker::Broker;
use serde::Serialize;

use super::sources::Configured;
use super::{Mode, Print};
use crate::units;

#[derive(Serialize, Debug, Default)]
pub(super) struct Ready {
    bootstrap: String,
    /// `None`: switched off.
    http: Option<String>,
    pid: u32,
    cluster_id: String,
    node_id: i32,
    listeners: Vec<Listener>,
    /// Directories; `None`: in memory.
    data: Option<String>,
    mode: &'static str,
    start_ms: f64,
    warnings: Vec<String>,
}

#[derive(Serialize, Debug)]
struct Listener {
    name: String,
    address: String,
}

impl Ready {
    /// Of one broker, or of several that are one cluster.
    pub(super) fn of(
        brokers: &[Broker],
        configured: &[Configured],
        mode: Mode,
        took: Duration,
    ) -> Self {
        let bound = || brokers.iter().flat_map(Broker::listeners);
        let listeners: Vec<Listener> = bound()
            .map(|(name, address)| Listener {
                name: name.to_string(),
                address: address.to_string(),
            })
            .collect();
        let public = bound().any(|(_, address)| !address.ip().is_loopback());
        let (Some(broker), Some(config)) = (brokers.first(), configured.first()) else {
            return Self::default();
        };
        let bootstrap: Vec<String> = brokers.iter().map(Broker::bootstrap).collect();
        let data = |config: &Configured| {
            let directories = config.value("log.dirs").or_else(|| config.value("log.dir"));
            directories.unwrap_or_default().to_owned()
        };
        Self {
            bootstrap: bootstrap.join(","),
            http: broker.http_address().map(|address| format!("http://{address}")),
            pid: std::process::id(),
            cluster_id: broker.cluster_id(),
            node_id: broker.node_id().0,
            listeners,
            data: (!config.in_memory)
                .then(|| configured.iter().map(data).collect::<Vec<_>>().join(",")),
            mode: match mode {
                Mode::Dev => "dev",
                Mode::Serve => "serve",
            },
            start_ms: (took.as_secs_f64() * 10_000.0).round() / 10.0,
            warnings: if mode == Mode::Serve { warnings(config, public) } else { Vec::new() },
        }
    }

    /// Writes to stdout; a reader that does not want it is none of the server's business.
    pub(super) fn print(&self, print: Option<Print>) {
        let terminal = std::io::stdout().is_terminal();
        let text = match print.unwrap_or(if terminal { Print::Text } else { Print::Json }) {
            Print::Json => serde_json::to_string(self).unwrap_or_default() + "\n",
            Print::Text => self.text(),
        };
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
        drop(out);
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
    }

    fn text(&self) -> String {
        let data = self.data.as_deref().unwrap_or("in memory, gone at the end");
        let took = if self.start_ms < 1000.0 {
            format!("{:.0} ms", self.start_ms.max(1.0))
        } else {
            units::duration(Duration::from_secs_f64(self.start_ms / 1000.0))
        };
        let mut text = format!("ready in {took}\n");
        for listener in &self.listeners {
            text.push_str(&format!("  kafka    {} ({})\n", listener.address, listener.name));
        }
        if let Some(http) = &self.http {
            text.push_str(&format!("  http     {http}/metrics\n"));
        }
        text.push_str(&format!("  data     {data}\n"));
        text.push_str(&format!("  cluster  {}, node {}\n", self.cluster_id, self.node_id));
        if self.mode == "dev" {
            let default = self.bootstrap.ends_with(":9092");
            let option = if default { String::new() } else { format!(" -b {}", self.bootstrap) };
            text.push_str(&format!(
                "\n  seq 3 | ottla produce hello{option}\n  ottla consume hello -e{option}\n"
            ));
        }
        text
    }
}

/// What an operator should know about this configuration.
fn warnings(config: &Configured, public: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.value("ottla.durability") == Some("page-cache") {
        warnings.push(
            "ottla.durability=page-cache: an acknowledged record can be lost when the machine \
             stops"
                .to_owned(),
        );
    }
    if config.value("authorizer.class.name").is_some_and(|class| !class.is_empty()) {
        warnings.push(
            "authorizer.class.name is set, but this release authorises nothing: whoever connects may \
             do everything"
                .to_owned(),
        );
    }
    if public {
        warnings.push(
            "a PLAINTEXT listener is reachable from other machines: anyone there can read and \
             write every topic"
                .to_owned(),
        );
    }
    warnings
}
