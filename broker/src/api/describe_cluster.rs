//! DescribeCluster (key 60), versions 0-2.
//!
//! Behaviour: the brokers as this listener's clients reach them, the controller, the cluster's id
//! (KIP-700). This is an endpoint of a broker: a client that wants a controller's (KIP-919) is told so.
//! Version 2 can include fenced brokers (KIP-1073).
//! Differences from Apache Kafka: none intended.

use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};
use ottla_protocol::error_code::ErrorCode;

use super::handler::{ApiHandler, Reply, RequestContext};
use super::wire;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

#[derive(Debug)]
pub(crate) struct DescribeCluster;

impl ApiHandler for DescribeCluster {
    type Request = DescribeClusterRequest;
    const NAME: &'static str = "DescribeCluster";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=2;

    fn handle(
        ctx: &RequestContext,
        request: DescribeClusterRequest,
    ) -> Reply<DescribeClusterResponse> {
        let refused = match request.endpoint_type {
            BROKERS => None,
            CONTROLLERS => Some((
                ErrorCode::MismatchedEndpointType,
                "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER".to_owned(),
            )),
            other => Some((
                ErrorCode::UnsupportedEndpointType,
                format!("Unsupported endpoint type {other}"),
            )),
        };
        if let Some((code, message)) = refused {
            return Reply::message(
                DescribeClusterResponse::default()
                    .with_error_code(code.code())
                    .with_error_message(Some(wire::text(&message))),
            );
        }
        let image = ctx.services.metadata.image();
        let mut brokers: Vec<DescribeClusterBroker> = ctx
            .services
            .endpoints
            .brokers_for(&ctx.connection, &image)
            .into_iter()
            .map(|broker| {
                DescribeClusterBroker::default()
                    .with_broker_id(BrokerId(broker.id.0))
                    .with_host(wire::text(&broker.host))
                    .with_port(i32::from(broker.port))
                    .with_rack(broker.rack.as_deref().map(wire::text))
            })
            .collect();
        if request.include_fenced_brokers {
            brokers.extend(image.brokers().filter(|broker| broker.fenced).filter_map(|broker| {
                let registration = &broker.registration;
                let listener = &*ctx.connection.listener;
                let end = registration.endpoints.iter().find(|end| end.listener == listener)?;
                Some(
                    DescribeClusterBroker::default()
                        .with_broker_id(BrokerId(registration.id.0))
                        .with_host(wire::text(&end.host))
                        .with_port(i32::from(end.port))
                        .with_rack(registration.rack.as_deref().map(wire::text))
                        .with_is_fenced(true),
                )
            }));
        }
        let operations = if request.include_cluster_authorized_operations {
            wire::CLUSTER_OPERATIONS
        } else {
            wire::OPERATIONS_NOT_ASKED
        };
        Reply::message(
            DescribeClusterResponse::default()
                .with_cluster_id(wire::text(image.cluster_id()))
                .with_controller_id(BrokerId(ctx.services.controller_id().0))
                .with_brokers(brokers)
                .with_cluster_authorized_operations(operations),
        )
    }
}
