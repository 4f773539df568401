//! DeleteGroups (key 42), versions 0-2.
//!
//! Behaviour: empty groups are deleted with their offsets; see `coordinator::group`. A group that is
//! named twice is deleted, and answered, once.
//! Differences from Apache Kafka: results come in the order of the request.

use std::sync::Arc;

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse, GroupId};
use ottla_coordinator::group::{GroupError, Input, Reply as GroupReply};

use super::error::KafkaError;
use super::handler::{ApiHandler, Reply, RequestContext};
use super::wire;
use crate::group_service::Answer;

#[derive(Debug)]
pub(crate) struct DeleteGroups;

impl ApiHandler for DeleteGroups {
    type Request = DeleteGroupsRequest;
    const NAME: &'static str = "DeleteGroups";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=2;

    fn handle(ctx: &RequestContext, request: DeleteGroupsRequest) -> Reply<DeleteGroupsResponse> {
        let mut submitted: Vec<(GroupId, Result<Answer, GroupError>)> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for group in request.groups_names {
            let id: Arc<str> = wire::shared(&group.0);
            if !seen.insert(Arc::clone(&id)) {
                continue;
            }
            let wanted = vec![Arc::clone(&id)];
            let answer = ctx
                .services
                .groups
                .submit(&ctx.services, &id, ctx.now, |token| Input::DeleteGroups(token, wanted));
            submitted.push((group, answer));
        }
        Reply::staged(gather(submitted))
    }
}

async fn gather(submitted: Vec<(GroupId, Result<Answer, GroupError>)>) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(submitted.len());
    for (id, answer) in submitted {
        let reply = match answer {
            Ok(answer) => answer.wait().await,
            Err(error) => Err(error),
        };
        let error = match reply {
            Ok(GroupReply::DeleteGroups(deleted)) => deleted.first().and_then(|group| group.error),
            Ok(_) => Some(GroupError::CoordinatorNotAvailable),
            Err(error) => Some(error),
        };
        results.push(
            DeletableGroupResult::default()
                .with_group_id(id)
                .with_error_code(error.map_or(0, |error| error.code().code())),
        );
    }
    DeleteGroupsResponse::default().with_results(results)
}
