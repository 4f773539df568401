//! From arguments, a file and the environment to the configuration of a server.
//!
//! Owns: the defaults of `dev`, `--port`, reading the file, and the refusal to serve without a
//! place for data. Never: parses values (the config crate does). Invariant: what the user set
//! anywhere wins over a default of `dev`.

use std::path::Path;

use ottla_config::ConfigLayers;
use ottla_config::loader::{self, Loaded, Origin, SourceFile, Sources};

use super::{DevArgs, ServeArgs};
use crate::exit::Exit;
use crate::failure::Failure;

/// What makes a single node on a developer's machine pleasant; Kafka's own defaults are for
/// clusters. Durability is not among them: `dev --data` keeps what it acknowledged, as `serve`
/// does.
const DEV_DEFAULTS: &[(&str, &str)] = &[
    // Whoever finds the listener is told an address that works, in a container as well.
    ("advertised.listeners", "auto"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
];

/// A checked configuration.
#[derive(Clone, Debug)]
pub(super) struct Configured {
    pub(super) loaded: Loaded,
    pub(super) notes: Vec<String>,
    pub(super) in_memory: bool,
}

impl Configured {
    pub(super) fn layers(&self) -> ConfigLayers {
        self.loaded.layers()
    }

    pub(super) fn value(&self, key: &str) -> Option<&str> {
        self.loaded.values.get(key).map(String::as_str)
    }
}

pub(super) fn dev(
    args: &DevArgs,
    environment: Vec<(String, String)>,
) -> Result<Configured, Vec<Failure>> {
    let sources = Sources { file: None, environment, settings: args.common.settings.clone() };
    let mut loaded = load(&sources)?;
    let mut default = |key: &str, value: String| {
        loaded.values.entry(key.to_owned()).or_insert(value);
    };
    for (key, value) in DEV_DEFAULTS {
        default(key, (*value).to_owned());
    }
    default("listeners", format!("PLAINTEXT://127.0.0.1:{}", args.port));
    if args.port == 0 {
        default("ottla.http.listener", "127.0.0.1:0".to_owned());
    }
    let named = loaded.origins.contains_key("log.dirs") || loaded.origins.contains_key("log.dir");
    if let Some(directory) = &args.data {
        loaded.values.insert("log.dirs".to_owned(), directory_text(directory)?);
    }
    let in_memory = args.data.is_none() && !named;
    Ok(configured(loaded, in_memory))
}

pub(super) fn serve(
    args: &ServeArgs,
    environment: Vec<(String, String)>,
) -> Result<Configured, Vec<Failure>> {
    let file = args.file.as_deref().map(read_file).transpose().map_err(|failure| vec![failure])?;
    let sources = Sources { file, environment, settings: args.common.settings.clone() };
    let mut loaded = load(&sources)?;
    if !loaded.values.contains_key("log.dirs") && !loaded.values.contains_key("log.dir") {
        return Err(vec![
            Failure::usage("no place for data is configured").fix(
                "set log.dirs, in the file or with --set log.dirs=DIR; `ottla dev` needs none",
            ),
        ]);
    }
    if let Some(port) = args.port {
        let listeners = loaded.values.get("listeners").map_or("PLAINTEXT://:9092", String::as_str);
        let moved = with_port(listeners, port).map_err(|failure| vec![failure])?;
        loaded.values.insert("listeners".to_owned(), moved);
        if port == 0 {
            let http = "127.0.0.1:0".to_owned();
            loaded.values.entry("ottla.http.listener".to_owned()).or_insert(http);
        }
    }
    Ok(configured(loaded, false))
}

/// The configuration of a file alone, as `config check` and `config show` read it.
pub(crate) fn of_file(
    file: Option<&Path>,
    environment: Vec<(String, String)>,
    settings: &[String],
) -> Result<Loaded, Vec<Failure>> {
    let file = file.map(read_file).transpose().map_err(|failure| vec![failure])?;
    load(&Sources { file, environment, settings: settings.to_vec() })
}

fn configured(mut loaded: Loaded, in_memory: bool) -> Configured {
    let notes = std::mem::take(&mut loaded.notes);
    Configured { loaded, notes, in_memory }
}

fn load(sources: &Sources) -> Result<Loaded, Vec<Failure>> {
    loader::load(sources).map_err(|error| {
        error
            .problems
            .into_iter()
            .map(|problem| {
                Failure::new("BAD_CONFIG", problem.sentence, Exit::Usage)
                    .about(origin_text(&problem.origin))
            })
            .collect()
    })
}

pub(crate) fn origin_text(origin: &Origin) -> String {
    origin.to_string()
}

fn read_file(path: &Path) -> Result<SourceFile, Failure> {
    let bytes = std::fs::read(path).map_err(|error| {
        Failure::usage(format!("the configuration cannot be read: {error}"))
            .about(path.display().to_string())
    })?;
    Ok(SourceFile { path: path.to_owned(), bytes })
}

fn directory_text(directory: &Path) -> Result<String, Vec<Failure>> {
    let text = directory.to_str().filter(|text| !text.contains(',') && !text.is_empty());
    text.map(str::to_owned).ok_or_else(|| {
        let message = "the name of a data directory must be text without commas";
        vec![Failure::usage(message).about(directory.display().to_string())]
    })
}

/// The listeners with another port: of the only one, or of all when it is 0.
fn with_port(listeners: &str, port: u16) -> Result<String, Failure> {
    let each: Vec<&str> = listeners.split(',').map(str::trim).collect();
    if each.len() > 1 && port != 0 {
        return Err(Failure::usage(format!(
            "--port {port}: there are {} listeners; set their ports in `listeners`",
            each.len()
        )));
    }
    let moved = each.into_iter().map(|listener| match listener.rsplit_once(':') {
        Some((rest, _)) => format!("{rest}:{port}"),
        None => listener.to_owned(),
    });
    Ok(moved.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::CommonArgs;

    fn common(settings: &[&str]) -> CommonArgs {
        CommonArgs {
            settings: settings.iter().map(|text| (*text).to_owned()).collect(),
            print: None,
            exit_with_parent: false,
            log: None,
        }
    }

    fn dev_with(data: Option<&str>, port: u16, settings: &[&str]) -> Configured {
        let args = DevArgs { data: data.map(Into::into), port, common: common(settings) };
        dev(&args, Vec::new()).expect("valid")
    }

    #[test]
    fn dev_has_defaults_that_settings_override() {
        let plain = dev_with(None, 9092, &[]);
        assert!(plain.in_memory);
        assert_eq!(plain.value("listeners"), Some("PLAINTEXT://127.0.0.1:9092"));
        assert_eq!(plain.value("ottla.http.listener"), None);
        let free = dev_with(Some("/x"), 0, &["ottla.durability=page-cache"]);
        assert!(!free.in_memory);
        assert_eq!(free.value("ottla.durability"), Some("page-cache"));
        assert_eq!(plain.value("ottla.durability"), None, "fsync, as everywhere");
        assert_eq!(free.value("ottla.http.listener"), Some("127.0.0.1:0"));
        assert_eq!(free.value("log.dirs"), Some("/x"));
        assert!(!dev_with(None, 0, &["log.dirs=/y"]).in_memory);
    }

    #[test]
    fn serve_needs_a_place_for_data() {
        let args =
            |settings: &[&str], port| ServeArgs { file: None, port, common: common(settings) };
        let failures = serve(&args(&[], None), Vec::new()).expect_err("no place");
        assert_eq!(failures[0].exit, Exit::Usage);
        let served = serve(&args(&["log.dirs=/x"], Some(0)), Vec::new()).expect("valid");
        assert_eq!(served.value("listeners"), Some("PLAINTEXT://:0"));
        let wrong = serve(&args(&["log.dirs=/x", "num.partition=3"], None), Vec::new());
        let failures = wrong.expect_err("misspelt");
        assert!(failures[0].message.contains("num.partitions"), "{failures:?}");
    }

    #[test]
    fn ports_move_in_listeners() {
        assert_eq!(with_port("A://h:1", 5).ok().as_deref(), Some("A://h:5"));
        assert_eq!(
            with_port("A://h:1, B://[::1]:2", 0).ok().as_deref(),
            Some("A://h:0,B://[::1]:0")
        );
        assert!(with_port("A://h:1,B://h:2", 5).is_err());
    }
}
