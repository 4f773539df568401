//! DescribeAcls (key 29), versions 1-3.
//!
//! Behaviour: there is no authorizer, so the answer is SECURITY_DISABLED, as from a Kafka broker
//! without one. A filter with an unknown element closes the connection, as there.
//! Differences from Apache Kafka: none intended.

use kafka_protocol::messages::{DescribeAclsRequest, DescribeAclsResponse};
use ottla_protocol::error_code::ErrorCode;

use super::handler::{Answer, ApiHandler, Reply, RequestContext};
use super::wire;

#[derive(Debug)]
pub(crate) struct DescribeAcls;

impl ApiHandler for DescribeAcls {
    type Request = DescribeAclsRequest;
    const NAME: &'static str = "DescribeAcls";
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=3;

    fn handle(_ctx: &RequestContext, request: DescribeAclsRequest) -> Reply<DescribeAclsResponse> {
        let elements = [
            request.resource_type_filter,
            request.pattern_type_filter,
            request.operation,
            request.permission_type,
        ];
        if let Some(reason) = wire::unknown_acl_element(&elements) {
            return Reply::Done(Answer::Disconnect(reason));
        }
        let message = "No Authorizer is configured on the broker";
        Reply::message(
            DescribeAclsResponse::default()
                .with_error_code(ErrorCode::SecurityDisabled.code())
                .with_error_message(Some(wire::text(message))),
        )
    }
}
