//! Name, socket, protocol: the first steps to one address, and what to do where they end.
//!
//! Owns: DNS, TCP and ApiVersions as separate steps, and the advice for advertised addresses.
//! Never: goes on after a failed step.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::{Outcome, Step, Timer};
use crate::client::ClientOptions;
use crate::client::connection::{Connection, cause_text};
use crate::client::error::ClientError;
use crate::client::metadata::BrokerView;
use crate::units;

/// Walks to `address`; each step is added, the connection is there when all went well.
pub(super) async fn connect(
    address: &str,
    options: &ClientOptions,
    steps: &mut Vec<Step>,
) -> Option<Connection> {
    let resolved = resolve(address, steps).await?;
    dial(address, &resolved, options.dial_patience, steps).await?;
    let timer = Timer::start("apis", address);
    match Connection::open(address, &options.client_id, options.dial_patience).await {
        Ok(connection) => {
            let count = connection.api_versions().api_keys.len();
            steps.push(timer.end(Outcome::Ok, format!("speaks Kafka, {count} APIs")));
            Some(connection)
        }
        Err(error) => {
            let step = timer.end(Outcome::Failed, error.to_string());
            let fix = match error {
                ClientError::Closed { .. } | ClientError::TimedOut { .. } => {
                    "a TLS or SASL listener ends plain connections like this: use its PLAINTEXT port"
                }
                ClientError::NotKafka { .. } => "this port serves something else: check the number",
                _ => "the broker is too old or too new for this client",
            };
            steps.push(step.fix(fix));
            None
        }
    }
}

async fn resolve(address: &str, steps: &mut Vec<Step>) -> Option<Vec<SocketAddr>> {
    let timer = Timer::start("dns", address);
    match lookup_host(address).await {
        Ok(found) => {
            let mut found: Vec<SocketAddr> = found.collect();
            found.dedup();
            let names: Vec<String> = found.iter().map(|one| one.ip().to_string()).collect();
            steps.push(timer.end(Outcome::Ok, names.join(", ")));
            Some(found)
        }
        Err(error) => {
            let step = timer.end(Outcome::Failed, format!("the name cannot be resolved: {error}"));
            steps.push(step.fix("check the spelling, or add the name to DNS or /etc/hosts"));
            None
        }
    }
}

async fn dial(
    address: &str,
    resolved: &[SocketAddr],
    patience: Duration,
    steps: &mut Vec<Step>,
) -> Option<()> {
    let timer = Timer::start("tcp", address);
    let mut last = "the name has no address".to_owned();
    for target in resolved {
        match timeout(patience, TcpStream::connect(target)).await {
            Ok(Ok(_)) => {
                steps.push(timer.end(Outcome::Ok, format!("connected to {target}")));
                return Some(());
            }
            Ok(Err(error)) => last = format!("{target} {}", cause_text(&error)),
            Err(_) => last = format!("{target} did not answer in {}", units::duration(patience)),
        }
    }
    let fix = if last.contains("refuses") {
        "nothing listens there: start the broker, or check host and port in `listeners`"
    } else {
        "a firewall or a wrong address: check the way from here to there"
    };
    steps.push(timer.end(Outcome::Failed, last).fix(fix));
    None
}

/// What to change when a broker advertises an address that does not work from here.
pub(super) fn advertised_fix(broker: &BrokerView, bootstrap: &str) -> String {
    let host = bootstrap.rsplit_once(':').map_or(bootstrap, |(host, _)| host);
    let local = broker
        .host
        .parse::<IpAddr>()
        .map_or_else(|_| broker.host == "localhost", |ip| ip.is_loopback() || ip.is_unspecified());
    let why = if local {
        format!("broker {} tells clients to come to {}, their own machine", broker.id, broker.host)
    } else {
        format!("broker {} tells clients to come to {}", broker.id, broker.address())
    };
    format!("{why}; set on it: advertised.listeners=PLAINTEXT://{host}:{}", broker.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_the_line_to_change() {
        let broker = BrokerView { id: 1, host: "localhost".to_owned(), port: 9092, rack: None };
        let advice = advertised_fix(&broker, "kafka.example:9093");
        assert!(advice.contains("their own machine"), "{advice}");
        assert!(advice.ends_with("advertised.listeners=PLAINTEXT://kafka.example:9092"));
        let broker = BrokerView { host: "10.0.0.7".to_owned(), ..broker };
        assert!(!advertised_fix(&broker, "h:1").contains("own machine"));
    }
}
