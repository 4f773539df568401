//! Commands and their time.

use std::sync::Arc;
use std::time::Duration;

use ottla_config::loader::{self, Sources};
use ottla_coordinator::metadata::{CreateTopics, NewTopic, Validation};

use super::*;
use crate::clock::{Clock, ManualClock, TimeSource};
use crate::host::Host;
use crate::wiring::{Broker, BrokerOptions, Storage};

fn creation(name: &str) -> CreateTopics {
    let topic = NewTopic {
        name: name.to_owned(),
        partitions: 1,
        replication_factor: 1,
        assignments: Vec::new(),
        configs: Vec::new(),
    };
    CreateTopics { topics: vec![topic], validation: Validation::from_validate_only(false) }
}

#[tokio::test]
async fn a_command_that_waited_too_long_is_refused_and_not_carried_out_later() {
    let clock = Arc::new(ManualClock::default());
    let settings = ["listeners=PLAINTEXT://127.0.0.1:0", "ottla.http.listener="];
    let settings = settings.map(str::to_owned).to_vec();
    let config = loader::load(&Sources { settings, ..Sources::default() }).unwrap().layers();
    let clocks = Some(Arc::clone(&clock) as Clock);
    let (storage, host) = (Storage::Memory, Host::System);
    let options = BrokerOptions { config, storage, seed: Some(1), clock: clocks, host };
    let broker = Broker::start(options).await.unwrap();
    let services = broker.services();
    let second = Duration::from_secs(1);

    // Another command does not come to its end, as on a controller that was cut off.
    let turn = services.metadata.turn.lock().await;
    let deadline = clock.now().mono.plus(second);
    let mut late = Box::pin(MetadataService::submit_until(services, creation("late"), deadline));
    assert!(futures_util::poll!(&mut late).is_pending());
    clock.advance(second);
    assert_eq!(late.await.err(), Some(ErrorCode::RequestTimedOut));
    drop(turn);

    let deadline = clock.now().mono.plus(second);
    let next = MetadataService::submit_until(services, creation("next"), deadline).await;
    assert!(next.is_ok(), "{:?}", next.err());
    let image = services.metadata.image();
    let exists = |name: &str| image.topics().any(|topic| *topic.name == *name);
    assert_eq!((exists("late"), exists("next")), (false, true));
}
