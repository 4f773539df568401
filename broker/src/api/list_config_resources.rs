//! ListConfigResources (key 74), versions 0-1.
//!
//! Behaviour: names of resources that can have configs: version 0 client metrics subscriptions only
//! (KIP-1000), version 1 the asked types or all of them (KIP-1142). Topics and brokers are listed
//! because they exist, groups and subscriptions because they have configs.
//! Differences from Apache Kafka: none intended.

use kafka_protocol::messages::list_config_resources_response::ConfigResource as ListedResource;
use kafka_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use ottla_coordinator::metadata::{MetadataImage, ResourceType};
use ottla_protocol::error_code::ErrorCode;

use super::handler::{ApiHandler, Reply, RequestContext};
use super::wire;

/// From this version on there are types to choose from.
const TYPES_FROM: i16 = 1;

#[derive(Debug)]
pub(crate) struct ListConfigResources;

impl ApiHandler for ListConfigResources {
    type Request = ListConfigResourcesRequest;
    const NAME: &'static str = "ListConfigResources";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=1;

    fn handle(
        ctx: &RequestContext,
        request: ListConfigResourcesRequest,
    ) -> Reply<ListConfigResourcesResponse> {
        let image = ctx.services.metadata.image();
        let response = match wanted(ctx.version, &request.resource_types) {
            None => ListConfigResourcesResponse::default()
                .with_error_code(ErrorCode::UnsupportedVersion.code()),
            Some(kinds) => {
                let listed = kinds.into_iter().flat_map(|kind| of_kind(&image, kind)).collect();
                ListConfigResourcesResponse::default().with_config_resources(listed)
            }
        };
        Reply::message(response)
    }
}

/// The types to list; `None` when one of them does not exist.
fn wanted(version: i16, types: &[i8]) -> Option<Vec<ResourceType>> {
    if version < TYPES_FROM {
        return Some(vec![ResourceType::ClientMetrics]);
    }
    if types.is_empty() {
        return Some(ResourceType::ALL.to_vec());
    }
    let mut kinds = types
        .iter()
        .map(|kind| ResourceType::from_id(*kind))
        .collect::<Option<Vec<ResourceType>>>()?;
    kinds.sort_unstable();
    kinds.dedup();
    Some(kinds)
}

fn of_kind(image: &MetadataImage, kind: ResourceType) -> Vec<ListedResource> {
    let names: Vec<String> = match kind {
        ResourceType::Topic => image.topics().map(|topic| topic.name.to_string()).collect(),
        ResourceType::Broker | ResourceType::BrokerLogger => {
            image.brokers().map(|broker| broker.registration.id.to_string()).collect()
        }
        ResourceType::Group | ResourceType::ClientMetrics => {
            image.config_resources(kind).map(str::to_owned).collect()
        }
    };
    names
        .iter()
        .map(|name| {
            ListedResource::default()
                .with_resource_name(wire::text(name))
                .with_resource_type(kind.id())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_chosen_from_version_1_on() {
        use ResourceType::{ClientMetrics, Group, Topic};
        assert_eq!(wanted(0, &[]), Some(vec![ClientMetrics]));
        assert_eq!(wanted(1, &[]).map(|kinds| kinds.len()), Some(5));
        assert_eq!(wanted(1, &[32, 2, 2]), Some(vec![Topic, Group]));
        assert_eq!(wanted(1, &[2, 3]), None);
        assert_eq!(wanted(1, &[0]), None);
    }
}
