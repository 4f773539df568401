//! The broker's configuration as it is now.
//!
//! Owns: the layers (static, dynamic default, dynamic for this broker) and the typed values made from
//! them. Never: decides whether a change is allowed (the controller did). Invariant: readers see one
//! whole configuration, never half of a change.

use std::sync::Arc;

use ottla_config::layers::Values;
use ottla_config::{BrokerConfig, ConfigError, ConfigLayers};
use parking_lot::RwLock;

/// A configuration with the layers it was made from.
#[derive(Debug)]
pub struct Configuration {
    pub layers: ConfigLayers,
    pub broker: BrokerConfig,
}

impl Configuration {
    /// # Errors
    /// What is wrong with a value, or with several together.
    pub fn of(layers: ConfigLayers) -> Result<Self, ConfigError> {
        Ok(Self { broker: BrokerConfig::from_layers(&layers)?, layers })
    }
}

/// The current configuration of a running broker.
#[derive(Debug)]
pub struct LiveConfig(RwLock<Arc<Configuration>>);

impl LiveConfig {
    #[must_use]
    pub fn new(configuration: Configuration) -> Self {
        Self(RwLock::new(Arc::new(configuration)))
    }

    #[must_use]
    pub fn get(&self) -> Arc<Configuration> {
        Arc::clone(&self.0.read())
    }

    /// Puts dynamic layers in force.
    ///
    /// # Errors
    /// The values do not make a configuration; the old one stays.
    pub fn set_dynamic(&self, default: Values, broker: Values) -> Result<(), ConfigError> {
        let mut layers = self.get().layers.clone();
        layers.dynamic_default = default;
        layers.dynamic_broker = broker;
        let next = Arc::new(Configuration::of(layers)?);
        *self.0.write() = next;
        Ok(())
    }
}
