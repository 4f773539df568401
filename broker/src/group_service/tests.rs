//! What stands in a partition's slot, and when it gives way.

use ottla_protocol::model::Uuid;

use super::driver::tests::{Bench, committed, fetched, now};
use super::*;

fn service() -> GroupService {
    GroupService::new(&BrokerConfig::default())
}

/// The driver in the slot, or why there is none; `None` where it may be loaded.
fn slot(service: &GroupService, partition: &Arc<Partition>) -> Option<Result<(), GroupError>> {
    let slots = service.slots.lock();
    slots.get(&0).and_then(|slot| slot.driver(partition)).map(|driver| driver.map(drop))
}

#[tokio::test]
async fn a_topic_that_goes_while_a_log_is_read_takes_its_offsets_along() {
    let (service, bench) = (service(), Bench::new());
    committed(&bench.driver(), 1).await.expect("a sound disk");
    service.slots.lock().insert(0, Slot::loading(&bench.partition));
    let driver = Arc::new(bench.driver());
    let gone = DeletedTopic { name: "t".into(), id: Uuid::from_u128(3) };
    service.topic_deleted(&gone, now());
    assert_eq!(slot(&service, &bench.partition), Some(Err(GroupError::CoordinatorLoadInProgress)));
    let epoch = bench.partition.leader_epoch();
    service.put(0, &bench.partition, epoch, Some(Arc::clone(&driver)), now);
    assert_eq!(slot(&service, &bench.partition), Some(Ok(())));
    assert_eq!(fetched(&driver).await, Ok(vec![]));
}

#[tokio::test]
async fn a_log_that_could_not_be_read_is_read_again_in_the_next_epoch() {
    let (service, bench) = (service(), Bench::replicated());
    let group = bench.lead().await;
    service.slots.lock().insert(0, Slot::loading(&bench.partition));
    let epoch = bench.partition.leader_epoch();
    service.put(0, &bench.partition, epoch, None, now);
    assert_eq!(slot(&service, &bench.partition), Some(Err(GroupError::NotCoordinator)));
    group.stop().await;
    let _again = bench.lead().await;
    assert_ne!(bench.partition.leader_epoch(), epoch);
    assert_eq!(slot(&service, &bench.partition), None, "nothing stands in the way");
}

#[test]
fn a_load_whose_slot_is_gone_comes_to_nothing() {
    let (service, bench) = (service(), Bench::new());
    let driver = Arc::new(bench.driver());
    service.put(0, &bench.partition, bench.partition.leader_epoch(), Some(driver), now);
    assert_eq!(slot(&service, &bench.partition), None);
}
