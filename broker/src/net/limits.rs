//! How many connections there may be, and how fast they may come.
//!
//! Owns: counting open connections in all and by address, and the pace of accepting them (Kafka's
//! `ConnectionQuotas`, KIP-402, KIP-612). Never: accepts or closes a socket.
//! Invariant: every admitted connection is counted once and uncounted when its admission is dropped.
//!
//! As in Kafka a full broker keeps new connections waiting, and one address with too many has the next
//! closed. All limits can change while the broker runs.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ottla_config::broker::ConnectionsConfig;
use ottla_protocol::model::MonoTime;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// How many connections are allowed.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionLimits {
    /// `max.connections`
    pub total: usize,
    /// `max.connections.per.ip`
    pub per_ip: usize,
    /// `max.connections.per.ip.overrides`, with host names resolved.
    pub per_ip_overrides: BTreeMap<IpAddr, usize>,
    /// `max.connection.creation.rate`: connections in one second.
    pub rate: u32,
}

impl ConnectionLimits {
    /// Of a configuration; may ask the name service for the hosts of exceptions.
    pub(crate) fn of(config: &ConnectionsConfig) -> Self {
        Self {
            total: config.connections_max as usize,
            per_ip: config.connections_per_ip_max as usize,
            per_ip_overrides: resolved(&config.connections_per_ip_overrides),
            rate: config.connection_rate_max,
        }
    }
}

/// Limits by address; a host name stands for all of its addresses.
fn resolved(overrides: &BTreeMap<String, u32>) -> BTreeMap<IpAddr, usize> {
    let mut limits = BTreeMap::new();
    for (host, limit) in overrides {
        match (host.as_str(), 0).to_socket_addrs() {
            Ok(addresses) => {
                limits.extend(addresses.map(|a| (a.ip().to_canonical(), *limit as usize)));
            }
            Err(error) => {
                tracing::warn!(host, %error, "max.connections.per.ip.overrides names an unknown host");
            }
        }
    }
    limits
}

/// Why a connection is not admitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NotAdmitted {
    #[error("max.connections={0} is reached; the next connections wait")]
    Full(usize),
    #[error("max.connections.per.ip={allowed} is reached for {ip}")]
    Address { ip: IpAddr, allowed: usize },
}

/// Open connections by peer address, for the limits and the metrics.
#[derive(Debug, Default)]
pub(crate) struct ConnectionTable {
    by_ip: Mutex<HashMap<IpAddr, usize>>,
    next_id: AtomicU64,
    open: AtomicU64,
    freed: Notify,
    pace: Mutex<Pace>,
}

/// Connections that were accepted in the current second.
#[derive(Debug, Default)]
struct Pace {
    since: MonoTime,
    accepted: u32,
}

impl ConnectionTable {
    /// Connections that are open now.
    #[must_use]
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// A number for the next connection.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts a connection in.
    ///
    /// # Errors
    /// The limit that it would break.
    pub(crate) fn admit(
        self: &Arc<Self>,
        ip: IpAddr,
        limits: &ConnectionLimits,
    ) -> Result<Admission, NotAdmitted> {
        let ip = ip.to_canonical();
        let mut by_ip = self.by_ip.lock();
        if self.open.load(Ordering::Relaxed) >= limits.total as u64 {
            return Err(NotAdmitted::Full(limits.total));
        }
        let allowed = limits.per_ip_overrides.get(&ip).copied().unwrap_or(limits.per_ip);
        let count = by_ip.get(&ip).copied().unwrap_or_default();
        if count >= allowed {
            return Err(NotAdmitted::Address { ip, allowed });
        }
        by_ip.insert(ip, count + 1);
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(Admission { table: Arc::clone(self), ip })
    }

    /// Completes when a connection ended, or limits may have changed, after this call.
    pub(crate) fn freed(&self) -> impl Future<Output = ()> + '_ {
        let mut freed = Box::pin(self.freed.notified());
        freed.as_mut().enable();
        freed
    }

    /// Lets those that wait for room look again.
    pub(crate) fn look_again(&self) {
        self.freed.notify_waiters();
    }

    /// When the connection that just came may go on, if not at once.
    pub(crate) fn pace(&self, now: MonoTime, rate: u32) -> Option<MonoTime> {
        const SECOND: Duration = Duration::from_secs(1);
        let mut pace = self.pace.lock();
        let next = pace.since.plus(SECOND);
        if now >= next {
            *pace = Pace { since: now, accepted: 1 };
            return None;
        }
        if pace.accepted < rate.max(1) {
            pace.accepted += 1;
            // A second that was borrowed from has not begun yet.
            return (pace.since > now).then_some(pace.since);
        }
        *pace = Pace { since: next, accepted: 1 };
        Some(next)
    }
}

/// One counted connection; uncounted on drop.
#[derive(Debug)]
pub(crate) struct Admission {
    table: Arc<ConnectionTable>,
    ip: IpAddr,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut by_ip = self.table.by_ip.lock();
        if let Some(count) = by_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                by_ip.remove(&self.ip);
            }
        }
        self.table.open.fetch_sub(1, Ordering::Relaxed);
        drop(by_ip);
        self.table.look_again();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn limits(total: usize, per_ip: usize) -> ConnectionLimits {
        ConnectionLimits { total, per_ip, per_ip_overrides: BTreeMap::new(), rate: u32::MAX }
    }

    #[test]
    fn limits_hold_until_a_connection_ends() {
        let table = Arc::new(ConnectionTable::default());
        let first = table.admit(HERE, &limits(9, 1)).unwrap();
        let refused = table.admit(HERE, &limits(9, 1)).unwrap_err();
        assert_eq!(refused, NotAdmitted::Address { ip: HERE, allowed: 1 });
        let other = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);
        assert_eq!(table.admit(other, &limits(1, 1)).unwrap_err(), NotAdmitted::Full(1));
        drop(first);
        assert_eq!(table.open(), 0);
        assert!(table.admit(HERE, &limits(1, 1)).is_ok());
    }

    #[test]
    fn an_address_may_have_a_limit_of_its_own() {
        let table = Arc::new(ConnectionTable::default());
        let mut limits = limits(9, 0);
        limits.per_ip_overrides.insert(HERE, 2);
        let mapped = "::ffff:127.0.0.1".parse().unwrap();
        let _first = table.admit(HERE, &limits).unwrap();
        let _second = table.admit(mapped, &limits).unwrap();
        assert!(table.admit(HERE, &limits).is_err());
        assert!(table.admit("10.0.0.1".parse().unwrap(), &limits).is_err());
    }

    #[test]
    fn connections_beyond_the_rate_wait_for_a_later_second() {
        let table = ConnectionTable::default();
        let at = |millis| MonoTime::from_start(Duration::from_millis(millis));
        assert_eq!(table.pace(at(5_000), 2), None);
        assert_eq!(table.pace(at(5_100), 2), None);
        assert_eq!(table.pace(at(5_200), 2), Some(at(6_000)));
        assert_eq!(table.pace(at(5_300), 2), Some(at(6_000)));
        assert_eq!(table.pace(at(5_400), 2), Some(at(7_000)));
        assert_eq!(table.pace(at(9_000), 2), None);
    }
}
