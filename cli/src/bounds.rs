//! Where partitions begin and end.
//!
//! Owns: the questions to the leaders and their answers side by side. Never: resolves a place (see
//! [`crate::position`]). Invariant: each partition has bounds, or a failure with its name.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::client::Client;
use crate::client::error::ClientError;
use crate::client::offsets::{self, Answers, EARLIEST, Isolation, LATEST, Partition};
use crate::failure::Failure;
use crate::position::{Bounds, Position};

/// Asks for the bounds of every partition, and for what stands at the time of `place` if it is one.
pub(crate) async fn of(
    client: &Arc<Client>,
    partitions: &[Partition],
    place: Option<Position>,
) -> Result<(Vec<(Partition, Bounds)>, Vec<Failure>), ClientError> {
    let ask = async |time: i64| {
        let questions: BTreeMap<Partition, i64> =
            partitions.iter().map(|partition| (partition.clone(), time)).collect();
        offsets::list(client, &questions, Isolation::ReadUncommitted).await
    };
    let starts = ask(EARLIEST).await?;
    let ends = ask(LATEST).await?;
    let times = match place.and_then(Position::time) {
        Some(time) => ask(time).await?,
        None => Answers::new(),
    };
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for partition in partitions {
        match (starts.get(partition), ends.get(partition)) {
            (Some(Ok(start)), Some(Ok(end))) => {
                let at_time = times.get(partition).and_then(|answer| answer.as_ref().ok());
                let at_time = at_time.map(|found| found.offset).filter(|offset| *offset >= 0);
                let bounds = Bounds { start: start.offset, end: end.offset, at_time };
                found.push((partition.clone(), bounds));
            }
            (Some(Err(code)), _) | (_, Some(Err(code))) => {
                failures.push(Failure::partition(partition, *code));
            }
            _ => {}
        }
    }
    Ok((found, failures))
}
