//! CreateAcls (key 30), versions 1-3.
//!
//! Behaviour: there is no authorizer, so each creation is SECURITY_DISABLED, as from a Kafka broker
//! without one. A creation with an unknown element closes the connection, as there.
//! Differences from Apache Kafka: none intended.

use kafka_protocol::messages::create_acls_response::AclCreationResult;
use kafka_protocol::messages::{CreateAclsRequest, CreateAclsResponse};
use ottla_protocol::error_code::ErrorCode;

use super::handler::{Answer, ApiHandler, Reply, RequestContext};
use super::wire;

#[derive(Debug)]
pub(crate) struct CreateAcls;

impl ApiHandler for CreateAcls {
    type Request = CreateAclsRequest;
    const NAME: &'static str = "CreateAcls";
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=3;

    fn handle(_ctx: &RequestContext, request: CreateAclsRequest) -> Reply<CreateAclsResponse> {
        let unknown = request.creations.iter().find_map(|creation| {
            wire::unknown_acl_element(&[
                creation.resource_type,
                creation.resource_pattern_type,
                creation.operation,
                creation.permission_type,
            ])
        });
        if let Some(reason) = unknown {
            return Reply::Done(Answer::Disconnect(reason));
        }
        let refused = AclCreationResult::default()
            .with_error_code(ErrorCode::SecurityDisabled.code())
            .with_error_message(Some(wire::text("No Authorizer is configured.")));
        let results = vec![refused; request.creations.len()];
        Reply::message(CreateAclsResponse::default().with_results(results))
    }
}
