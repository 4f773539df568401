//! From files, environment and command line to one map of values, each with its origin.
//!
//! Owns: the order default < file < environment < `--set`, names of environment variables, units,
//! and the sentences for what is unknown, ignored or wrong.
//! Never: opens a file or reads the environment; the caller passes both in.
//! Invariants: no input panics; every value in [`Loaded`] has an origin and passed its key's check.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::broker::BrokerConfig;
use crate::catalog::{self, OTTLA_PREFIX};
use crate::error::ConfigError;
use crate::key::{Effect, Scope};
use crate::layers::{ConfigLayers, Values};
use crate::units;

mod environment;
mod properties;
mod toml;

/// Everything that configures a broker at start.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub file: Option<SourceFile>,
    /// Names and values of the environment, in any order.
    pub environment: Vec<(String, String)>,
    /// Texts of `--set`, each `key=value`; a later one wins.
    pub settings: Vec<String>,
}

/// A configuration file that the caller has read.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// For its extension (`.toml`, otherwise properties) and for messages.
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    File {
        path: PathBuf,
        line: usize,
    },
    Environment {
        variable: String,
    },
    /// `--set`.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment { variable } => write!(f, "environment {variable}"),
            Self::CommandLine => write!(f, "--set"),
        }
    }
}

/// The outcome of loading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Texts without units.
    pub values: Values,
    /// Where each of them was set; the winner only.
    pub origins: BTreeMap<String, Origin>,
    /// What a user should know and nothing is wrong with.
    pub notes: Vec<String>,
}

impl Loaded {
    /// The static layer of a broker.
    pub fn layers(&self) -> ConfigLayers {
        ConfigLayers::from_static(self.values.clone())
    }

    /// The typed configuration of these values.
    ///
    /// # Errors
    /// Values that do not go together, and where those that are named were set.
    pub fn broker_config(&self) -> Result<BrokerConfig, RefusedConfig> {
        BrokerConfig::from_layers(&self.layers()).map_err(|error| {
            let sentence = error.to_string();
            let is_named = |name: &str| {
                sentence
                    .split(|c: char| !is_name_character(c))
                    .any(|word| word.trim_end_matches('.') == name)
            };
            let named = self.origins.iter().filter(|(name, _)| is_named(name));
            let set_at = named.map(|(name, origin)| (name.clone(), origin.clone())).collect();
            RefusedConfig { error, set_at }
        })
    }
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

/// Values that are fine alone and not together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedConfig {
    pub error: ConfigError,
    /// The keys that the sentence names, and where they were set; defaults are left out.
    pub set_at: Vec<(String, Origin)>,
}

impl fmt::Display for RefusedConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        for (name, origin) in &self.set_at {
            write!(f, "\n  {name} is set at {origin}")?;
        }
        Ok(())
    }
}

impl std::error::Error for RefusedConfig {}

/// One thing wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {sentence}")]
pub struct LoadProblem {
    pub origin: Origin,
    pub sentence: String,
}

/// All that is wrong, so that it can be mended at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    pub problems: Vec<LoadProblem>,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadError {}

/// A key as a source names it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting {
    name: String,
    text: String,
    origin: Origin,
}

/// Reads the sources in their order.
///
/// # Errors
/// Every unknown name, refused value and syntax error, each with its place.
pub fn load(sources: &Sources) -> Result<Loaded, LoadError> {
    let mut loading = Loading::default();
    if let Some(file) = &sources.file {
        match read_file(file) {
            Ok(settings) => settings.into_iter().for_each(|setting| loading.add(setting)),
            Err(problem) => loading.problems.push(problem),
        }
    }
    let environment = environment::read(&sources.environment);
    loading.notes.extend(environment.notes);
    loading.problems.extend(environment.problems);
    environment.settings.into_iter().for_each(|setting| loading.add(setting));
    for text in &sources.settings {
        match command_line(text) {
            Ok(setting) => loading.add(setting),
            Err(problem) => loading.problems.push(problem),
        }
    }
    loading.finish()
}

fn read_file(file: &SourceFile) -> Result<Vec<Setting>, LoadProblem> {
    let is_toml = file.path.extension().is_some_and(|e| e.eq_ignore_ascii_case("toml"));
    if is_toml { toml::read(file) } else { Ok(properties::read(file)?) }
}

fn command_line(text: &str) -> Result<Setting, LoadProblem> {
    let Some((name, value)) = text.split_once('=') else {
        let sentence = format!("`{text}` has no value; write --set key=value");
        return Err(LoadProblem { origin: Origin::CommandLine, sentence });
    };
    let origin = Origin::CommandLine;
    Ok(Setting { name: name.trim().to_owned(), text: value.to_owned(), origin })
}

#[derive(Debug, Default)]
struct Loading {
    values: Values,
    origins: BTreeMap<String, Origin>,
    notes: Vec<String>,
    problems: Vec<LoadProblem>,
}

impl Loading {
    fn add(&mut self, setting: Setting) {
        match check(&setting) {
            Ok(text) => {
                self.origins.insert(setting.name.clone(), setting.origin);
                self.values.insert(setting.name, text);
            }
            Err(sentence) => {
                self.problems.push(LoadProblem { origin: setting.origin, sentence });
            }
        }
    }

    fn finish(mut self) -> Result<Loaded, LoadError> {
        if !self.problems.is_empty() {
            return Err(LoadError { problems: self.problems });
        }
        self.notes.extend(notes_without_effect(&self.origins));
        Ok(Loaded { values: self.values, origins: self.origins, notes: self.notes })
    }
}

/// The text without units, if the key is known and takes it.
fn check(setting: &Setting) -> Result<String, String> {
    let name = setting.name.as_str();
    if let Some(key) = catalog::lookup(Scope::Broker, name) {
        let text = units::without_unit(key, &setting.text)?;
        key.parse(&text).map_err(|error| error.to_string())?;
        return Ok(text);
    }
    if let Some(base) = catalog::listener_override(name) {
        base.parse(&setting.text).map_err(|error| error.to_string())?;
        return Ok(setting.text.clone());
    }
    if catalog::is_plugin_key(name) {
        return Ok(setting.text.clone());
    }
    Err(unknown_key(name))
}

fn unknown_key(name: &str) -> String {
    if let Some(broker_name) = catalog::broker_default_of_topic_key(name) {
        return format!(
            "{name} is a key of topics; its default for all topics is the broker key {broker_name}"
        );
    }
    match catalog::nearest_name(Scope::Broker, name) {
        Some(nearest) => format!("no key is named {name}; did you mean {nearest}?"),
        None => format!("no key is named {name}; `ottla config list` shows all of them"),
    }
}

/// One line for each set key that does nothing here.
fn notes_without_effect(origins: &BTreeMap<String, Origin>) -> Vec<String> {
    origins
        .iter()
        .filter_map(|(name, origin)| {
            let reason = match catalog::lookup(Scope::Broker, name).map(|key| key.effect) {
                Some(Effect::Used) => return None,
                Some(Effect::Accepted { reason }) => reason,
                None if catalog::listener_override(name).is_some() => catalog::reason::SECURITY,
                None => catalog::reason::JAVA_CLASSES,
            };
            Some(format!("{origin}: {name} has no effect in Ottla: {reason}"))
        })
        .collect()
}

/// Line and text of every setting, for tests and for `config check`.
fn file_origin(path: &Path, line: usize) -> Origin {
    Origin::File { path: path.to_owned(), line }
}

#[cfg(test)]
mod tests;
