//! Changing dynamic configs.
//!
//! Owns: [`AlterConfigs`] and [`IncrementalAlterConfigs`] (KIP-339) with the rules of Kafka's
//! `ConfigAdminManager` and `ConfigurationControlManager`. Never: broker loggers, which are no
//! metadata and which the broker answers itself. Invariants: one result for every resource of the
//! request, in its order; a resource changes in all of its keys or in none.

use std::collections::BTreeMap;

use ottla_config::alter::{self, AlterOperation};
use ottla_config::catalog;
use ottla_config::key::Scope;
use ottla_config::layers::Values;
use ottla_protocol::model::NodeId;

use super::config_rules;
use super::decide::{Command, DecideContext, Decision, Validation};
use super::error::ControllerError;
use super::image::{ConfigResource, MetadataImage};
use super::record::{MetadataRecord, ResourceType};
use super::topic_name;

/// Changes single keys (IncrementalAlterConfigs).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncrementalAlterConfigs {
    /// The broker that got the request: only its own configs can be changed through it.
    pub through: NodeId,
    pub resources: Vec<ResourceAlterations>,
    pub validation: Validation,
}

/// Changes of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceAlterations {
    pub target: AlterTarget,
    pub changes: Vec<ConfigChange>,
}

/// One key's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    pub key: String,
    /// As on the wire: 0 set, 1 delete, 2 append, 3 subtract.
    pub operation: i8,
    pub value: Option<String>,
}

/// Replaces all dynamic configs of resources (AlterConfigs, KIP-133).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterConfigs {
    pub through: NodeId,
    pub resources: Vec<ResourceValues>,
    pub validation: Validation,
}

/// All dynamic configs that a resource shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceValues {
    pub target: AlterTarget,
    pub values: Vec<(String, Option<String>)>,
}

/// What a request wants to change, as it names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AlterTarget {
    /// The number of a [`ResourceType`], or anything.
    pub kind: i8,
    pub name: String,
}

/// Results in the request's order.
pub type AlterConfigsReply = Vec<(AlterTarget, Result<(), ControllerError>)>;

impl Command for IncrementalAlterConfigs {
    type Reply = AlterConfigsReply;

    fn decide(
        self,
        image: &MetadataImage,
        context: &mut DecideContext<'_>,
    ) -> Decision<AlterConfigsReply> {
        let resources = self.resources.into_iter().map(|of| (of.target, of.changes)).collect();
        decide_each(resources, self.through, |resource, changes| {
            alter_some(image, context, resource, changes)
        })
        .validated(self.validation)
    }
}

impl Command for AlterConfigs {
    type Reply = AlterConfigsReply;

    fn decide(
        self,
        image: &MetadataImage,
        context: &mut DecideContext<'_>,
    ) -> Decision<AlterConfigsReply> {
        // The same rules as for setting every key.
        let set = |(key, value)| ConfigChange { key, operation: 0, value };
        let resources = self
            .resources
            .into_iter()
            .map(|of| (of.target, of.values.into_iter().map(set).collect()))
            .collect();
        decide_each(resources, self.through, |resource, changes| {
            alter_all(image, context, resource, changes)
        })
        .validated(self.validation)
    }
}

/// What both commands do alike: each resource by itself, in the request's order, after the checks that
/// do not depend on what is altered.
fn decide_each(
    resources: Vec<(AlterTarget, Vec<ConfigChange>)>,
    through: NodeId,
    mut alter: impl FnMut(
        &ConfigResource,
        &[ConfigChange],
    ) -> Result<Vec<MetadataRecord>, ControllerError>,
) -> Decision<AlterConfigsReply> {
    let twice = Repeated::of(resources.iter().map(|(target, _)| target));
    let mut decision = Decision::answer(AlterConfigsReply::new());
    for (target, changes) in resources {
        let altered = twice
            .refuse(&target)
            .and_then(|()| refuse_malformed(&changes))
            .and_then(|()| resource_of(&target, through))
            .and_then(|resource| alter(&resource, &changes));
        decision.add(target, altered);
    }
    decision
}

impl Decision<AlterConfigsReply> {
    fn add(&mut self, target: AlterTarget, altered: Result<Vec<MetadataRecord>, ControllerError>) {
        let result = altered.map(|records| self.records.extend(records));
        self.reply.push((target, result));
    }
}

/// Resources that a request names more than once.
struct Repeated(Vec<AlterTarget>);

impl Repeated {
    fn of<'a>(targets: impl Iterator<Item = &'a AlterTarget>) -> Self {
        let mut counts: BTreeMap<&AlterTarget, usize> = BTreeMap::new();
        for target in targets {
            *counts.entry(target).or_default() += 1;
        }
        Self(counts.into_iter().filter(|(_, count)| *count > 1).map(|(t, _)| t.clone()).collect())
    }

    fn refuse(&self, target: &AlterTarget) -> Result<(), ControllerError> {
        if self.0.contains(target) {
            let text = "Each resource must appear at most once.".to_owned();
            return Err(ControllerError::InvalidRequest(text));
        }
        Ok(())
    }
}

fn refuse_malformed(changes: &[ConfigChange]) -> Result<(), ControllerError> {
    let mut keys: Vec<&str> = changes.iter().map(|change| change.key.as_str()).collect();
    keys.sort_unstable();
    if keys.windows(2).any(|pair| pair[0] == pair[1]) {
        let text = "Error due to duplicate config keys".to_owned();
        return Err(ControllerError::InvalidRequest(text));
    }
    let nulls: Vec<&str> = changes
        .iter()
        .filter(|change| change.operation != 1 && change.value.is_none())
        .map(|change| change.key.as_str())
        .collect();
    if !nulls.is_empty() {
        let text = format!("Null value not supported for : {}", nulls.join(", "));
        return Err(ControllerError::InvalidRequest(text));
    }
    Ok(())
}

fn resource_of(target: &AlterTarget, through: NodeId) -> Result<ConfigResource, ControllerError> {
    let refuse = |text: String| Err(ControllerError::InvalidRequest(text));
    let kind = match ResourceType::from_id(target.kind) {
        None | Some(ResourceType::BrokerLogger) => {
            return refuse(format!("Unknown resource type {}", target.kind));
        }
        Some(kind) => kind,
    };
    if kind == ResourceType::Broker && !target.name.is_empty() {
        match target.name.parse::<i32>() {
            Err(_) => {
                return refuse(format!("Node id must be an integer, but it is: {}", target.name));
            }
            Ok(id) if id != through.0 => {
                return refuse(format!(
                    "Unexpected broker id, expected {through}, but received {}",
                    target.name
                ));
            }
            Ok(_) => {}
        }
    }
    Ok(ConfigResource::new(kind, target.name.as_str()))
}

fn alter_some(
    image: &MetadataImage,
    context: &DecideContext<'_>,
    resource: &ConfigResource,
    changes: &[ConfigChange],
) -> Result<Vec<MetadataRecord>, ControllerError> {
    let before = current(image, resource);
    let mut after = before.clone();
    for change in changes {
        let Some(operation) = AlterOperation::of_code(change.operation) else {
            return Err(unknown_operation(resource, change.operation));
        };
        let value = change.value.as_deref().unwrap_or_default();
        apply(&mut after, resource, (&change.key, value), operation)?;
    }
    let named: Vec<&str> = changes
        .iter()
        .filter(|change| after.contains_key(&change.key))
        .map(|change| change.key.as_str())
        .collect();
    check(image, context, resource, &after, &named)?;
    check_eligible_leaders(image, resource, &before, &after)?;
    Ok(difference(resource, &before, &after))
}

fn alter_all(
    image: &MetadataImage,
    context: &DecideContext<'_>,
    resource: &ConfigResource,
    changes: &[ConfigChange],
) -> Result<Vec<MetadataRecord>, ControllerError> {
    let before = current(image, resource);
    let after: Values = changes
        .iter()
        .filter_map(|change| Some((change.key.clone(), change.value.clone()?)))
        .collect();
    let named: Vec<&str> = changes.iter().map(|change| change.key.as_str()).collect();
    check(image, context, resource, &after, &named)?;
    check_eligible_leaders(image, resource, &before, &after)?;
    Ok(difference(resource, &before, &after))
}

fn current(image: &MetadataImage, resource: &ConfigResource) -> Values {
    image.configs(resource).map(|map| (**map).clone()).unwrap_or_default()
}

fn unknown_operation(resource: &ConfigResource, operation: i8) -> ControllerError {
    match resource.kind {
        ResourceType::Broker => {
            ControllerError::InvalidRequest(format!("Unknown operations type {operation}"))
        }
        _ => ControllerError::Unexpected,
    }
}

/// One change. Appending to a list that is not set starts from the key's default.
fn apply(
    values: &mut Values,
    resource: &ConfigResource,
    (key, value): (&str, &str),
    operation: AlterOperation,
) -> Result<(), ControllerError> {
    let scope = match resource.kind {
        ResourceType::Topic => Scope::Topic,
        ResourceType::Group => Scope::Group,
        ResourceType::ClientMetrics => Scope::ClientMetrics,
        ResourceType::Broker | ResourceType::BrokerLogger => Scope::Broker,
    };
    let word = match operation {
        AlterOperation::Append => "append",
        AlterOperation::Subtract => "subtract",
        AlterOperation::Set | AlterOperation::Delete => "",
    };
    if resource.kind == ResourceType::ClientMetrics && !word.is_empty() {
        // Kafka does not know which keys of subscriptions are lists (KafkaConfigSchema).
        return Err(ControllerError::InvalidConfig(format!(
            "Can't {} to key {key} because its type is not LIST.",
            word.to_uppercase()
        )));
    }
    let default = catalog::lookup(scope, key).and_then(|known| known.default);
    alter::apply(values, scope, (key, value), operation, default).map_err(|error| {
        ControllerError::InvalidConfig(match resource.kind {
            ResourceType::Broker => {
                format!("Config value {word} is not allowed for config key: {key}")
            }
            _ => error.to_string(),
        })
    })
}

fn check(
    image: &MetadataImage,
    context: &DecideContext<'_>,
    resource: &ConfigResource,
    values: &Values,
    named: &[&str],
) -> Result<(), ControllerError> {
    let settings = context.settings;
    match resource.kind {
        ResourceType::Topic => {
            if resource.name.is_empty() {
                let text = "Default topic resources are not allowed.".to_owned();
                return Err(ControllerError::InvalidRequest(text));
            }
            topic_name::check(&resource.name)?;
            config_rules::check_topic(image, settings, values)?;
            match image.topic(&resource.name) {
                Some(_) => Ok(()),
                None => Err(ControllerError::ConfiguredTopicUnknown(resource.name.clone())),
            }
        }
        ResourceType::Broker => {
            config_rules::check_broker(image, settings, resource, values, named)
        }
        ResourceType::Group => config_rules::check_group(image, settings, &resource.name, values),
        ResourceType::ClientMetrics => config_rules::check_client_metrics(&resource.name, values),
        ResourceType::BrokerLogger => Err(ControllerError::Unexpected),
    }
}

const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";

/// With eligible leader replicas (KIP-966) the cluster's `min.insync.replicas` has one value that
/// everybody knows: it stays set, and no broker has its own.
fn check_eligible_leaders(
    image: &MetadataImage,
    resource: &ConfigResource,
    before: &Values,
    after: &Values,
) -> Result<(), ControllerError> {
    if resource.kind != ResourceType::Broker
        || image.feature_level("eligible.leader.replicas.version") == 0
    {
        return Ok(());
    }
    let (old, new) = (before.get(MIN_INSYNC_REPLICAS), after.get(MIN_INSYNC_REPLICAS));
    let refused = if resource.name.is_empty() {
        (old.is_some() && new.is_none())
            .then_some("Cluster-level min.insync.replicas cannot be removed while ELR is enabled.")
    } else {
        new.is_some()
            .then_some("Broker-level min.insync.replicas cannot be altered while ELR is enabled.")
    };
    refused.map_or(Ok(()), |text| Err(ControllerError::InvalidConfig(text.to_owned())))
}

fn difference(resource: &ConfigResource, before: &Values, after: &Values) -> Vec<MetadataRecord> {
    let record = |key: &str, value: Option<&String>| MetadataRecord::Config {
        resource: resource.kind,
        name: resource.name.clone(),
        key: key.to_owned(),
        value: value.cloned(),
    };
    let set = after
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(value))
        .map(|(key, value)| record(key, Some(value)));
    let unset = before.keys().filter(|key| !after.contains_key(*key)).map(|key| record(key, None));
    set.chain(unset).collect()
}

#[cfg(test)]
mod tests;
