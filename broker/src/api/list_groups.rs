//! ListGroups (key 16), versions 0-5.
//!
//! Behaviour: the groups of this broker, filtered by state (v4, KIP-518) and type (v5, KIP-848),
//! whose names are compared without regard to case. Unknown names match nothing.
//! Differences from Apache Kafka: groups come in the order of partition and name.

use kafka_protocol::messages::list_groups_response::ListedGroup as WireGroup;
use kafka_protocol::messages::{ListGroupsRequest as WireRequest, ListGroupsResponse};
use ottla_coordinator::group::{
    GroupError, Input, ListGroupsRequest, ListedGroup, Reply as GroupReply,
};

use super::error::KafkaError;
use super::handler::{ApiHandler, Reply, RequestContext};
use super::wire;
use crate::group_service::Answer;

#[derive(Debug)]
pub(crate) struct ListGroups;

impl ApiHandler for ListGroups {
    type Request = WireRequest;
    const NAME: &'static str = "ListGroups";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=5;

    fn handle(ctx: &RequestContext, request: WireRequest) -> Reply<ListGroupsResponse> {
        let filter = ListGroupsRequest {
            states: request.states_filter.iter().map(wire::shared).collect(),
            types: request.types_filter.iter().map(wire::shared).collect(),
        };
        let answers = ctx.services.groups.submit_to_all(&ctx.services, ctx.now, |token| {
            Input::ListGroups(token, filter.clone())
        });
        match answers {
            Ok(answers) => Reply::staged(gather(answers)),
            Err(error) => Reply::message(refused(error)),
        }
    }
}

async fn gather(answers: Vec<Answer>) -> ListGroupsResponse {
    let mut groups = Vec::new();
    for answer in answers {
        match answer.wait().await {
            Ok(GroupReply::ListGroups(listed)) => groups.extend(listed.iter().map(listed_group)),
            Ok(_) => return refused(GroupError::CoordinatorNotAvailable),
            // A shard that has gone has no groups here any more.
            Err(GroupError::NotCoordinator) => {}
            Err(error) => return refused(error),
        }
    }
    ListGroupsResponse::default().with_groups(groups)
}

fn listed_group(group: &ListedGroup) -> WireGroup {
    WireGroup::default()
        .with_group_id(wire::text(&group.group_id).into())
        .with_protocol_type(wire::text(&group.protocol_type))
        .with_group_state(wire::text(group.state.name()))
        .with_group_type(wire::text("classic"))
}

fn refused(error: GroupError) -> ListGroupsResponse {
    ListGroupsResponse::default().with_error_code(error.code().code())
}
