//! Listeners: where a broker listens and what it tells clients.
//!
//! Owns: the syntax and the rules of `listeners`, `advertised.listeners` and
//! `listener.security.protocol.map` (Kafka's `SocketServerConfigs` and `AbstractKafkaConfig`).
//! Never: resolves names or binds. Invariant: names are upper case and unique among listeners.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::error::ConfigError;
use crate::typed::Typed;

/// The value of `advertised.listeners` that lets the broker choose for each connection.
pub const ADVERTISED_AUTO: &str = "auto";

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecurityProtocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl SecurityProtocol {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl]
            .into_iter()
            .find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }
}

/// Whom a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerRole {
    /// Clients and other brokers.
    Broker,
    /// The metadata quorum; never advertised to clients.
    Controller,
}

/// One address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub name: String,
    pub protocol: SecurityProtocol,
    /// A name or an address without brackets; `None` is every interface.
    pub host: Option<String>,
    /// 0 is any free port.
    pub port: u16,
    pub role: ListenerRole,
}

/// One address that clients are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdvertisedListener {
    /// The listener whose clients are told it.
    pub name: String,
    /// `None` is the name of this machine.
    pub host: Option<String>,
    /// 0 is the port that the listener got.
    pub port: u16,
}

/// What clients are told to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdvertisedListeners {
    /// These addresses.
    Fixed(Vec<AdvertisedListener>),
    /// Chosen for each connection by where it comes from.
    Auto,
}

/// All of it together, with its rules kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listeners {
    pub listeners: Vec<Listener>,
    pub advertised: AdvertisedListeners,
    /// The port of a container's host that leads to the first listener, where it is another one.
    pub published_port: Option<u16>,
    /// Name of the listener that brokers use among themselves.
    pub inter_broker: String,
}

/// `NAME://host:port`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Endpoint {
    name: String,
    host: Option<String>,
    port: u16,
}

impl Listeners {
    pub(crate) fn from_typed(typed: Typed<'_>) -> Result<Self, ConfigError> {
        let controllers = controller_names(typed)?;
        let protocols = protocol_map(typed, &controllers)?;
        let texts = typed.list("listeners")?;
        let endpoints = parse_all("listeners", &texts)?;
        refuse_shared_names("listeners", &endpoints)?;
        refuse_shared_ports(&endpoints)?;
        let listeners: Vec<Listener> = endpoints
            .into_iter()
            .map(|endpoint| listener(endpoint, &protocols, &controllers))
            .collect::<Result<_, _>>()?;
        let is_broker = typed.list("process.roles")?.iter().any(|role| role == "broker");
        check_roles(is_broker, &listeners)?;
        let advertised = advertised(typed, &listeners, &protocols, &controllers)?;
        let inter_broker = match is_broker {
            true => inter_broker(typed, &listeners, &advertised, &protocols)?,
            // Brokers have one; a controller does not talk to them by it.
            false => String::new(),
        };
        let published_port = u16::try_from(typed.int("ottla.published.port")?).ok();
        let published_port = published_port.filter(|port| *port != 0);
        Ok(Self { listeners, advertised, published_port, inter_broker })
    }

    /// The listeners that clients use.
    pub fn of_brokers(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.iter().filter(|listener| listener.role == ListenerRole::Broker)
    }
}

/// A broker serves clients; a node that only votes serves controllers, and nobody else.
fn check_roles(is_broker: bool, listeners: &[Listener]) -> Result<(), ConfigError> {
    let mut for_clients = listeners.iter().filter(|of| of.role == ListenerRole::Broker);
    let sentence = match (is_broker, for_clients.next()) {
        (true, None) => "listeners has no address for clients: every name in it is in \
             controller.listener.names; add one such as PLAINTEXT://127.0.0.1:9092"
            .to_owned(),
        (false, Some(listener)) => format!(
            "The listeners config must only contain KRaft controller listeners from \
             controller.listener.names when process.roles=controller: take {} out of listeners, or \
             add `broker` to process.roles",
            listener.name
        ),
        _ => return Ok(()),
    };
    Err(ConfigError::Refused(sentence))
}

fn controller_names(typed: Typed<'_>) -> Result<BTreeSet<String>, ConfigError> {
    let names = typed.list("controller.listener.names")?;
    Ok(names.iter().map(|name| name.to_uppercase()).collect())
}

/// The map in force: without one of its own, controller listeners are plain text, as in Kafka.
fn protocol_map(
    typed: Typed<'_>,
    controllers: &BTreeSet<String>,
) -> Result<BTreeMap<String, SecurityProtocol>, ConfigError> {
    const KEY: &str = "listener.security.protocol.map";
    let text = typed.text(KEY)?;
    let mut map = BTreeMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let Some((name, protocol)) = pair.rsplit_once(':') else {
            let reason = format!("`{pair}` is not of the form NAME:PROTOCOL");
            return Err(ConfigError::invalid(KEY, text, reason));
        };
        let Some(protocol) = SecurityProtocol::of(protocol.trim()) else {
            return Err(ConfigError::Refused(format!(
                "Invalid security protocol `{protocol}` defined in {KEY}; it must be one of \
                 PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"
            )));
        };
        map.insert(name.trim().to_uppercase(), protocol);
    }
    if !typed.is_set(KEY) {
        for name in controllers {
            map.entry(name.clone()).or_insert(SecurityProtocol::Plaintext);
        }
    }
    Ok(map)
}

fn parse_all(key: &str, texts: &[String]) -> Result<Vec<Endpoint>, ConfigError> {
    texts.iter().map(|text| parse(key, text)).collect()
}

fn parse(key: &str, text: &str) -> Result<Endpoint, ConfigError> {
    let refuse = |what: &str| {
        let reason = format!("{what}; write it as NAME://host:port");
        Err(ConfigError::invalid(key, text, reason))
    };
    let Some((name, address)) = text.split_once("://") else {
        return refuse("the listener has no name");
    };
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || !name.chars().all(known) {
        return refuse("the name of the listener may hold letters, digits, `_`, `-` and `.`");
    }
    let Some((host, port)) = address.rsplit_once(':') else { return refuse("the port is missing") };
    let Ok(port) = port.parse::<u16>() else { return refuse("the port is not from 0 to 65535") };
    let host = match host.strip_prefix('[').map(|inner| inner.strip_suffix(']')) {
        Some(Some(inner)) => inner,
        Some(None) => return refuse("the bracket of the IPv6 address is not closed"),
        None => host,
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '%' | '.' | '_' | ':');
    if !host.chars().all(allowed) {
        return refuse("the host holds a character that no host name has");
    }
    let host = (!host.is_empty()).then(|| host.to_owned());
    Ok(Endpoint { name: name.to_uppercase(), host, port })
}

fn listener(
    endpoint: Endpoint,
    protocols: &BTreeMap<String, SecurityProtocol>,
    controllers: &BTreeSet<String>,
) -> Result<Listener, ConfigError> {
    let Some(protocol) = protocols.get(&endpoint.name).copied() else {
        return Err(no_protocol(&endpoint.name));
    };
    let role = if controllers.contains(&endpoint.name) {
        ListenerRole::Controller
    } else {
        ListenerRole::Broker
    };
    Ok(Listener { name: endpoint.name, protocol, host: endpoint.host, port: endpoint.port, role })
}

fn no_protocol(name: &str) -> ConfigError {
    ConfigError::Refused(format!(
        "No security protocol defined for listener {name}; add {name}:PLAINTEXT to \
         listener.security.protocol.map"
    ))
}

fn refuse_shared_names(key: &str, endpoints: &[Endpoint]) -> Result<(), ConfigError> {
    let mut seen = BTreeSet::new();
    match endpoints.iter().find(|endpoint| !seen.insert(&endpoint.name)) {
        Some(twice) => Err(ConfigError::Refused(format!(
            "Each listener must have a different name, and {} is in {key} twice",
            twice.name
        ))),
        None => Ok(()),
    }
}

/// One port may be shared by exactly one IPv4 and one IPv6 address (KIP-797).
fn refuse_shared_ports(endpoints: &[Endpoint]) -> Result<(), ConfigError> {
    let mut by_port: BTreeMap<u16, Vec<&Endpoint>> = BTreeMap::new();
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.port != 0) {
        by_port.entry(endpoint.port).or_default().push(endpoint);
    }
    for (port, shared) in by_port.iter().filter(|(_, shared)| shared.len() > 1) {
        let families: Vec<Option<bool>> =
            shared.iter().map(|e| is_ipv4(e.host.as_deref())).collect();
        if !matches!(families.as_slice(), [Some(a), Some(b)] if a != b) {
            return Err(ConfigError::Refused(format!(
                "Each listener must have a different port, and port {port} is used twice; only one \
                 IPv4 and one IPv6 address may share one"
            )));
        }
    }
    Ok(())
}

fn is_ipv4(host: Option<&str>) -> Option<bool> {
    host?.parse::<IpAddr>().ok().map(|address| address.is_ipv4())
}

fn advertised(
    typed: Typed<'_>,
    listeners: &[Listener],
    protocols: &BTreeMap<String, SecurityProtocol>,
    controllers: &BTreeSet<String>,
) -> Result<AdvertisedListeners, ConfigError> {
    const KEY: &str = "advertised.listeners";
    let texts = typed.list(KEY)?;
    if texts == [ADVERTISED_AUTO] {
        return Ok(AdvertisedListeners::Auto);
    }
    let endpoints: Vec<Endpoint> = if texts.is_empty() {
        let broker = listeners.iter().filter(|l| l.role == ListenerRole::Broker);
        broker
            .map(|l| Endpoint { name: l.name.clone(), host: l.host.clone(), port: l.port })
            .collect()
    } else {
        parse_all(KEY, &texts)?
    };
    refuse_shared_names(KEY, &endpoints)?;
    if endpoints.iter().any(|endpoint| endpoint.host.as_deref() == Some("0.0.0.0")) {
        return Err(ConfigError::Refused(format!(
            "{KEY} cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address: set \
             {KEY} to what clients can reach, or to `{ADVERTISED_AUTO}`."
        )));
    }
    for endpoint in &endpoints {
        if !protocols.contains_key(&endpoint.name) {
            return Err(no_protocol(&endpoint.name));
        }
        if !listeners.iter().any(|listener| listener.name == endpoint.name) {
            return Err(ConfigError::Refused(format!(
                "{KEY} names {}, which is not one of listeners; add it there or take it out here",
                endpoint.name
            )));
        }
    }
    // Kafka's own file names the controller's address here as well; it is for the quorum only.
    let fixed = endpoints
        .into_iter()
        .filter(|endpoint| !controllers.contains(&endpoint.name))
        .map(|e| AdvertisedListener { name: e.name, host: e.host, port: e.port })
        .collect();
    Ok(AdvertisedListeners::Fixed(fixed))
}

fn inter_broker(
    typed: Typed<'_>,
    listeners: &[Listener],
    advertised: &AdvertisedListeners,
    protocols: &BTreeMap<String, SecurityProtocol>,
) -> Result<String, ConfigError> {
    const NAME: &str = "inter.broker.listener.name";
    const PROTOCOL: &str = "security.inter.broker.protocol";
    let name = match typed.optional_text(NAME)? {
        Some(_) if typed.is_set(PROTOCOL) => {
            return Err(ConfigError::Refused(format!(
                "Only one of {NAME} and {PROTOCOL} should be set."
            )));
        }
        Some(name) => name.to_uppercase(),
        None => typed.text(PROTOCOL)?,
    };
    if !protocols.contains_key(&name) {
        return Err(ConfigError::Refused(format!(
            "Listener with name {name} defined in {NAME} not found in \
             listener.security.protocol.map."
        )));
    }
    let names: Vec<&str> = match advertised {
        AdvertisedListeners::Fixed(fixed) => fixed.iter().map(|l| l.name.as_str()).collect(),
        AdvertisedListeners::Auto => {
            let broker = listeners.iter().filter(|l| l.role == ListenerRole::Broker);
            broker.map(|l| l.name.as_str()).collect()
        }
    };
    if !names.contains(&name.as_str()) {
        return Err(ConfigError::Refused(format!(
            "{NAME} must be a listener name defined in advertised.listeners. The valid options \
             based on currently configured listeners are {}",
            names.join(",")
        )));
    }
    Ok(name)
}

#[cfg(test)]
mod tests;
