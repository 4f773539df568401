//! The gateway of a container, as the other side of its published ports.
//!
//! Owns: whether this process is in a container, and which addresses its default routes lead to: a
//! client on the host that dials a published port comes from there. Never: decides what such a client is
//! told. Everything is read below a root directory, so that a test brings its own.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// What Docker and Podman leave in the file system of a container.
const MARKS: [&str; 2] = [".dockerenv", "run/.containerenv"];
/// Where a pod's account is. The gateway of a pod is its node, where nothing is published.
const KUBERNETES: &str = "var/run/secrets/kubernetes.io";
const ROUTES_4: &str = "proc/net/route";
const ROUTES_6: &str = "proc/net/ipv6_route";

/// The gateways of the container that has this root; none where it is no container, or one whose
/// gateway is not its host.
pub(crate) fn of_container(root: &Path) -> BTreeSet<IpAddr> {
    let is_container = MARKS.iter().any(|mark| root.join(mark).exists());
    if !is_container || root.join(KUBERNETES).exists() {
        return BTreeSet::new();
    }
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let (four, six) = (read(ROUTES_4), read(ROUTES_6));
    four.lines().filter_map(gateway_4).chain(six.lines().filter_map(gateway_6)).collect()
}

/// The gateway of a line of `/proc/net/route` that is a default route: `Iface Destination Gateway
/// Flags RefCnt Use Metric Mask …`, addresses as hexadecimal words of the machine's byte order.
fn gateway_4(line: &str) -> Option<IpAddr> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let word = |index: usize| u32::from_str_radix(fields.get(index)?, 16).ok();
    let (destination, gateway, mask) = (word(1)?, word(2)?, word(7)?);
    (destination == 0 && mask == 0 && gateway != 0)
        .then(|| IpAddr::V4(Ipv4Addr::from(gateway.to_ne_bytes())))
}

/// The same of `/proc/net/ipv6_route`: `destination length source length gateway …`, addresses in the
/// order of the network.
fn gateway_6(line: &str) -> Option<IpAddr> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let address = |index: usize| u128::from_str_radix(fields.get(index)?, 16).ok();
    let (destination, length, gateway) = (address(0)?, address(1)?, address(4)?);
    (destination == 0 && length == 0 && gateway != 0)
        .then(|| IpAddr::V6(Ipv6Addr::from_bits(gateway)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUR: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
        eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
    const SIX: &str = "fd4d6169000000000000000000000000 40 00000000000000000000000000000000 00 \
        00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth0\n\
        00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
        fd4d6169000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n";

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [(ROUTES_4, FOUR), (ROUTES_6, SIX)].iter().chain(files) {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_default_routes_of_a_container_are_its_gateways() {
        let expected = ["172.17.0.1", "fd4d:6169::1"].map(|text| text.parse().unwrap());
        for mark in MARKS {
            let root = root(&[(mark, "")]);
            assert_eq!(of_container(root.path()), BTreeSet::from(expected), "{mark}");
        }
    }

    #[test]
    fn a_machine_and_a_pod_have_none() {
        assert!(of_container(root(&[]).path()).is_empty());
        let pod = root(&[(".dockerenv", ""), ("var/run/secrets/kubernetes.io/token", "x")]);
        assert!(of_container(pod.path()).is_empty());
    }

    #[test]
    fn lines_that_are_no_routes_are_passed_over() {
        let odd = [(ROUTES_4, "eth0 zz\n\n0 0 0\n"), (ROUTES_6, "x\n"), (".dockerenv", "")];
        assert!(of_container(root(&odd).path()).is_empty());
    }
}
