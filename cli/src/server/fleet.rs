//! Several brokers in one process: `ottla dev --brokers 3`.
//!
//! Owns: what each of them is configured with. Never: a setting of which the user said something else.

use std::net::TcpListener;

use super::DevArgs;
use super::sources::Configured;
use crate::exit::Exit;
use crate::failure::Failure;

/// More make no sense on one machine.
const BROKERS_MAX: u16 = 32;
/// What each broker must have of its own.
const OWN: [&str; 5] = [
    "node.id",
    "listeners",
    "controller.listener.names",
    "controller.quorum.voters",
    "controller.quorum.bootstrap.servers",
];
/// Replicas of what is made without a number.
const REPLICAS: u16 = 3;

/// How many brokers `--brokers` wants.
pub(super) fn count(text: &str) -> Result<u16, Failure> {
    text.parse().ok().filter(|count| (1..=BROKERS_MAX).contains(count)).ok_or_else(|| {
        Failure::usage(format!(
            "--brokers {text}: write how many brokers there shall be, up to {BROKERS_MAX}"
        ))
    })
}

/// The configuration of each broker: node ids 1 and up, client ports one after the other, controllers on free
/// ports, data in a folder of its own.
pub(super) fn of(
    first: &Configured,
    args: &DevArgs,
    brokers: u16,
) -> Result<Vec<Configured>, Vec<Failure>> {
    if brokers == 1 {
        return Ok(vec![first.clone()]);
    }
    refuse_shared(first, args, brokers).map_err(|failure| vec![failure])?;
    let ports = free_ports(brokers)
        .map_err(|error| vec![Failure::new("NOT_STARTED", error.to_string(), Exit::ItemFailed)])?;
    let voters: Vec<String> =
        (1..).zip(&ports).map(|(id, port): (u16, _)| format!("{id}@127.0.0.1:{port}")).collect();
    let replicas = brokers.min(REPLICAS).to_string();
    let one = |(id, port): (u16, &u16)| {
        let mut configured = first.clone();
        let values = &mut configured.loaded.values;
        let client = if args.port == 0 { 0 } else { args.port + (id - 1) };
        let listeners = format!("PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{port}");
        values.insert("node.id".to_owned(), id.to_string());
        values.insert("listeners".to_owned(), listeners);
        values.insert("controller.listener.names".to_owned(), "CONTROLLER".to_owned());
        values.insert("controller.quorum.voters".to_owned(), voters.join(","));
        for key in [
            "default.replication.factor",
            "offsets.topic.replication.factor",
            "transaction.state.log.replication.factor",
        ] {
            if !first.loaded.origins.contains_key(key) {
                values.insert(key.to_owned(), replicas.clone());
            }
        }
        if id > 1 {
            values.insert("ottla.http.listener".to_owned(), String::new());
            configured.notes.clear();
        }
        if let Some(data) = &args.data {
            let data = data.join(format!("broker-{id}"));
            configured.loaded.values.insert("log.dirs".to_owned(), data.display().to_string());
        }
        configured
    };
    Ok((1..).zip(&ports).map(one).collect())
}

/// What the user said of one broker cannot be said of several.
fn refuse_shared(first: &Configured, args: &DevArgs, brokers: u16) -> Result<(), Failure> {
    let said = |key: &str| first.loaded.origins.contains_key(key);
    if let Some(key) = OWN.into_iter().find(|key| said(key)) {
        return Err(Failure::usage(format!(
            "--brokers {brokers} gives every broker a {key} of its own: leave {key} out, or run \
             `ottla serve` once for each broker"
        )));
    }
    if args.data.is_none() && (said("log.dirs") || said("log.dir")) {
        return Err(Failure::usage(format!(
            "--brokers {brokers} needs a folder for every broker: name one for all with --data DIR \
             instead of log.dirs"
        )));
    }
    if args.port.checked_add(brokers - 1).is_none() {
        return Err(Failure::usage(format!(
            "--port {}: {brokers} brokers take {brokers} ports from there on, and 65535 is the last",
            args.port
        )));
    }
    Ok(())
}

/// Ports that nobody uses now: controllers must know each other's before they start.
fn free_ports(count: u16) -> std::io::Result<Vec<u16>> {
    let bound = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<std::io::Result<Vec<TcpListener>>>()?;
    bound.iter().map(|socket| socket.local_addr().map(|address| address.port())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_counted() {
        assert_eq!(count("3").ok(), Some(3));
        assert!(count("0").is_err() && count("localhost:9092").is_err());
    }
}
