//! Client settings: flags over `-X` over environment over `--command-config` over defaults.
//!
//! Owns: the known keys with Java's and librdkafka's spellings, where each value came from, and the
//! refusal of what cannot work. Never: connects. Invariant: an unknown key is never silently
//! dropped.

mod properties;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::client::ClientOptions;
use crate::failure::Failure;
use crate::{suggest, units};

const DEFAULT_BOOTSTRAP: &str = "localhost:9092";

/// A key: Java's name, other spellings, and what it does here.
struct Key {
    name: &'static str,
    aliases: &'static [&'static str],
    doc: &'static str,
}

const fn key(name: &'static str, aliases: &'static [&'static str], doc: &'static str) -> Key {
    Key { name, aliases, doc }
}

/// Keys with an effect.
const KEYS: &[Key] = &[
    key("bootstrap.servers", &["metadata.broker.list"], "brokers to ask first, host:port,..."),
    key("client.id", &[], "how broker logs and quotas know this client"),
    key("request.timeout.ms", &["socket.timeout.ms", "default.api.timeout.ms"], "patience"),
    key("socket.connection.setup.timeout.ms", &[], "patience for one connection attempt"),
    key("acks", &["request.required.acks"], "produce: 0, 1 or all"),
    key("compression.type", &["compression.codec"], "produce: none, gzip, snappy, lz4, zstd"),
    key("batch.size", &[], "produce: bytes of a batch before compression"),
    key("enable.idempotence", &[], "produce: no duplicates by retries (with acks=all)"),
    key("fetch.max.bytes", &[], "consume: bytes of one answer"),
    key("max.partition.fetch.bytes", &["fetch.message.max.bytes"], "consume: bytes per partition"),
    key("fetch.min.bytes", &[], "consume: bytes worth answering before the wait is over"),
    key("fetch.max.wait.ms", &["fetch.wait.max.ms"], "consume: longest wait of a broker"),
    key("isolation.level", &[], "consume: read_uncommitted or read_committed"),
    key("auto.offset.reset", &[], "consume: earliest, latest or none"),
    key("group.id", &[], "consume: the group to join"),
    key("group.instance.id", &[], "consume: a static member's name"),
    key("session.timeout.ms", &[], "consume: when a silent member is dropped"),
    key("heartbeat.interval.ms", &[], "consume: how often a member shows it is alive"),
    key("max.poll.interval.ms", &[], "consume: how long a rebalance waits for members"),
    key("auto.commit.interval.ms", &[], "consume: how often a group member commits"),
    key("enable.auto.commit", &[], "consume: whether a group member commits"),
];

/// Keys of real client configurations that change nothing in this program.
const WITHOUT_EFFECT: &[&str] = &[
    "key.serializer",
    "value.serializer",
    "key.deserializer",
    "value.deserializer",
    "linger.ms",
    "retries",
    "message.send.max.retries",
    "retry.backoff.ms",
    "reconnect.backoff.ms",
    "max.in.flight.requests.per.connection",
    "buffer.memory",
    "max.block.ms",
    "max.poll.records",
    "delivery.timeout.ms",
    "metadata.max.age.ms",
    "connections.max.idle.ms",
    "receive.buffer.bytes",
    "send.buffer.bytes",
    "partitioner.class",
    "partition.assignment.strategy",
    "client.dns.lookup",
    "check.crcs",
    "allow.auto.create.topics",
    "api.version.request",
    "broker.address.family",
    "max.request.size",
    "message.max.bytes",
    "group.protocol",
    "security.protocol",
    "enable.partition.eof",
    "queue.buffering.max.ms",
    "client.rack",
    "interceptor.classes",
];

/// Where a value came from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Origin {
    File,
    Environment,
    Option,
    Flag,
}

impl Origin {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::File => "--command-config",
            Self::Environment => "environment",
            Self::Option => "-X",
            Self::Flag => "flag",
        }
    }
}

/// What the command line gives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given<'a> {
    pub(crate) bootstrap: Option<&'a str>,
    pub(crate) options: &'a [String],
    pub(crate) file: Option<&'a Path>,
    pub(crate) timeout: Option<Duration>,
}

/// All values that were given, under Java's names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    values: BTreeMap<&'static str, (String, Origin)>,
    /// Keys of a file that nobody knows.
    pub(crate) warnings: Vec<String>,
}

impl Settings {
    pub(crate) fn resolve(
        given: &Given<'_>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Failure> {
        let mut settings = Self::default();
        if let Some(path) = given.file {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Failure::usage(format!("--command-config {}: {error}", path.display()))
            })?;
            for (name, value) in properties::parse(&text) {
                settings.take_from_file(&name, value)?;
            }
        }
        for (name, value) in environment {
            if let Some(key) = environment_key(&name) {
                settings.values.insert(key, (value, Origin::Environment));
            }
        }
        for option in given.options {
            let (name, value) = option
                .split_once('=')
                .ok_or_else(|| Failure::usage(format!("-X {option}: write -X key=value")))?;
            let known = known_key(name.trim(), value)?;
            if let Some(known) = known {
                settings.values.insert(known, (value.trim().to_owned(), Origin::Option));
            } else if !WITHOUT_EFFECT.contains(&name.trim()) {
                return Err(unknown_option(name.trim()));
            }
        }
        if let Some(bootstrap) = given.bootstrap {
            settings.values.insert("bootstrap.servers", (bootstrap.to_owned(), Origin::Flag));
        }
        if let Some(timeout) = given.timeout {
            let millis = timeout.as_millis().to_string();
            settings.values.insert("request.timeout.ms", (millis, Origin::Flag));
        }
        Ok(settings)
    }

    fn take_from_file(&mut self, name: &str, value: String) -> Result<(), Failure> {
        match known_key(name, &value)? {
            Some(known) => {
                self.values.insert(known, (value, Origin::File));
            }
            None if WITHOUT_EFFECT.contains(&name) => {}
            None => {
                let hint = suggest::sentence(name, KEYS.iter().map(|key| key.name));
                let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
                self.warnings.push(format!("{name} in the command config has no effect{hint}"));
            }
        }
        Ok(())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|(value, _)| value.as_str())
    }

    /// Every value with its origin, for `-v`.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str, Origin)> {
        self.values.iter().map(|(name, (value, origin))| (*name, value.as_str(), *origin))
    }

    fn parsed<T>(
        &self,
        name: &str,
        kind: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let Some((value, origin)) = self.values.get(name) else { return Ok(None) };
        parse(value).map(Some).ok_or_else(|| {
            Failure::usage(format!("{name}={value} ({}) is not {kind}", origin.text()))
        })
    }

    pub(crate) fn millis(&self, name: &str, default: u64) -> Result<Duration, Failure> {
        let parse = |text: &str| {
            let number = text.parse().ok().map(Duration::from_millis);
            number.or_else(|| units::parse_duration(text))
        };
        let found = self.parsed(name, "a number of milliseconds", parse)?;
        Ok(found.unwrap_or_else(|| Duration::from_millis(default)))
    }

    pub(crate) fn bytes(&self, name: &str, default: i32) -> Result<i32, Failure> {
        let parse = |text: &str| units::parse_bytes(text).and_then(|n| i32::try_from(n).ok());
        Ok(self.parsed(name, "a number of bytes", parse)?.unwrap_or(default))
    }

    pub(crate) fn switch(&self, name: &str) -> Result<Option<bool>, Failure> {
        self.parsed(name, "true or false", |text| text.parse().ok())
    }

    pub(crate) fn client_options(&self) -> Result<ClientOptions, Failure> {
        let list = self.get("bootstrap.servers").unwrap_or(DEFAULT_BOOTSTRAP);
        let bootstrap: Result<Vec<String>, Failure> =
            list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(address).collect();
        let bootstrap = bootstrap?;
        if bootstrap.is_empty() {
            return Err(Failure::usage("the list of bootstrap servers is empty"));
        }
        let default_id = concat!("ottla-cli/", env!("CARGO_PKG_VERSION"));
        Ok(ClientOptions {
            bootstrap,
            client_id: self.get("client.id").unwrap_or(default_id).to_owned(),
            patience: self.millis("request.timeout.ms", 30_000)?,
            dial_patience: self.millis("socket.connection.setup.timeout.ms", 10_000)?,
        })
    }
}

/// Java's name of a known key; refusals of what this client cannot do.
fn known_key(name: &str, value: &str) -> Result<Option<&'static str>, Failure> {
    let security = name == "security.protocol" && !value.trim().eq_ignore_ascii_case("plaintext");
    if security || name.starts_with("sasl.") || name.starts_with("ssl.") {
        return Err(Failure::usage(format!(
            "{name}={}: this client speaks PLAINTEXT only; SASL and TLS are not built yet",
            if security { value.trim() } else { "..." }
        ))
        .fix("use a PLAINTEXT listener of the broker"));
    }
    Ok(KEYS.iter().find(|key| key.name == name || key.aliases.contains(&name)).map(|key| key.name))
}

fn unknown_option(name: &str) -> Failure {
    if name == "list" || name == "help" {
        return Failure::usage("-X list takes no value");
    }
    let names =
        KEYS.iter().flat_map(|key| std::iter::once(key.name).chain(key.aliases.iter().copied()));
    let failure = Failure::usage(format!("-X {name}: there is no such client setting"));
    let fix = suggest::sentence(name, names)
        .unwrap_or_else(|| "`ottla help settings` lists them".to_owned());
    failure.fix(fix)
}

/// `OTTLA_BOOTSTRAP_SERVERS` is `bootstrap.servers`.
fn environment_key(name: &str) -> Option<&'static str> {
    let rest = name.strip_prefix("OTTLA_")?;
    if matches!(rest, "BOOTSTRAP_SERVER" | "BROKERS") {
        return Some("bootstrap.servers");
    }
    let dotted = rest.to_ascii_lowercase().replace('_', ".");
    KEYS.iter().find(|key| key.name == dotted).map(|key| key.name)
}

/// Completes `host`, `host:port`, `[::1]:port` with the default port.
fn address(text: &str) -> Result<String, Failure> {
    let plain = text.split_once("://").map_or(text, |(_, rest)| rest);
    let wrong = || Failure::usage(format!("\"{text}\" is no address: write HOST:PORT"));
    let (host, port) = match plain.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !port.contains(']') => (host, port),
        Some(("", _)) => return Err(wrong()),
        _ => (plain, "9092"),
    };
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let bare_ipv6 = host.contains(':') && !host.starts_with('[');
    if bare_ipv6 || host.contains(char::is_whitespace) {
        return Err(wrong());
    }
    Ok(format!("{host}:{port}"))
}

/// The table behind `ottla help settings`.
pub(crate) fn documentation() -> String {
    let mut out = String::new();
    for key in KEYS {
        out.push_str(&format!("  {:<36} {}", key.name, key.doc));
        if !key.aliases.is_empty() {
            out.push_str(&format!(" (also {})", key.aliases.join(", ")));
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(options: &[&str], environment: &[(&str, &str)]) -> Result<Settings, Failure> {
        let options: Vec<String> = options.iter().map(|text| (*text).to_owned()).collect();
        let environment =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::resolve(&Given { options: &options, ..Given::default() }, environment)
    }

    #[test]
    fn both_spellings_and_the_order_of_sources() {
        let environment = [("OTTLA_BROKERS", "a:1"), ("OTTLA_CLIENT_ID", "me"), ("PATH", "/")];
        let settings = resolve(&["metadata.broker.list=b:2,c"], &environment).expect("valid");
        let options = settings.client_options().expect("valid");
        assert_eq!(options.bootstrap, ["b:2", "c:9092"]);
        assert_eq!(options.client_id, "me");
        assert_eq!(settings.all().count(), 2);
    }

    #[test]
    fn wrong_settings_are_refused_with_a_cure() {
        let failure = resolve(&["bootstrap.server=x"], &[]).expect_err("unknown");
        assert_eq!(failure.fix.as_deref(), Some("did you mean \"bootstrap.servers\"?"));
        let failure = resolve(&["sasl.mechanism=PLAIN"], &[]).expect_err("refused");
        assert!(failure.message.contains("PLAINTEXT only"), "{}", failure.message);
        let failure = resolve(&["security.protocol=SSL"], &[]).expect_err("refused");
        assert!(failure.message.contains("SSL"));
        assert!(resolve(&["security.protocol=plaintext", "linger.ms=5"], &[]).is_ok());
        assert!(resolve(&["acks"], &[]).is_err());
        let settings = resolve(&["fetch.max.bytes=lots"], &[]).expect("read later");
        assert!(settings.bytes("fetch.max.bytes", 1).is_err());
    }

    #[test]
    fn addresses_are_completed() {
        for (text, expected) in [
            ("host", Some("host:9092")),
            ("host:1", Some("host:1")),
            ("[::1]:9093", Some("[::1]:9093")),
            ("[::1]", Some("[::1]:9092")),
            ("PLAINTEXT://host:5", Some("host:5")),
            ("host:port", None),
            ("::1", None),
            (":9092", None),
        ] {
            assert_eq!(address(text).ok().as_deref(), expected, "{text}");
        }
    }
}
