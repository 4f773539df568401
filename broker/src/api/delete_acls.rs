//! DeleteAcls (key 31), versions 1-3.
//!
//! Behaviour: there is no authorizer, so each filter is SECURITY_DISABLED, as from a Kafka broker
//! without one. A filter with an unknown element closes the connection, as there.
//! Differences from Apache Kafka: none intended.

use kafka_protocol::messages::delete_acls_response::DeleteAclsFilterResult;
use kafka_protocol::messages::{DeleteAclsRequest, DeleteAclsResponse};
use ottla_protocol::error_code::ErrorCode;

use super::handler::{Answer, ApiHandler, Reply, RequestContext};
use super::wire;

#[derive(Debug)]
pub(crate) struct DeleteAcls;

impl ApiHandler for DeleteAcls {
    type Request = DeleteAclsRequest;
    const NAME: &'static str = "DeleteAcls";
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=3;

    fn handle(_ctx: &RequestContext, request: DeleteAclsRequest) -> Reply<DeleteAclsResponse> {
        let unknown = request.filters.iter().find_map(|filter| {
            wire::unknown_acl_element(&[
                filter.resource_type_filter,
                filter.pattern_type_filter,
                filter.operation,
                filter.permission_type,
            ])
        });
        if let Some(reason) = unknown {
            return Reply::Done(Answer::Disconnect(reason));
        }
        let refused = DeleteAclsFilterResult::default()
            .with_error_code(ErrorCode::SecurityDisabled.code())
            .with_error_message(Some(wire::text("No Authorizer is configured.")));
        let results = vec![refused; request.filters.len()];
        Reply::message(DeleteAclsResponse::default().with_filter_results(results))
    }
}
