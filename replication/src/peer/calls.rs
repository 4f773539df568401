//! The calls of one connection that wait for their answers.
//!
//! Owns: correlation ids, deadlines, and who is told what. Never: sends or reads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::model::MonoTime;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::error::{Fault, LinkError, PeerError};
use super::frame::{Frame, FrameKind};
use super::outbound::Room;
use super::wire::WireReader;

/// What a call came to: the head of the answer, as there are no payloads in answers.
pub(crate) type Answer = Result<bytes::Bytes, PeerError>;

/// Gets the answer of one call.
pub(crate) type Waiting = oneshot::Receiver<Answer>;

#[derive(Debug)]
struct Call {
    tell: oneshot::Sender<Answer>,
    deadline: MonoTime,
    allowed: Duration,
    /// What it takes of the connection's bound until it has ended.
    _room: Option<Room>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    waiting: BTreeMap<u64, Call>,
    broken: Option<Arc<LinkError>>,
}

/// The calls.
#[derive(Debug, Default)]
pub(crate) struct Calls(Mutex<State>);

impl Calls {
    /// A new call, with its correlation id.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) fn begin(
        &self,
        now: MonoTime,
        allowed: Duration,
        room: Option<Room>,
    ) -> Result<(u64, Waiting), PeerError> {
        let mut state = self.0.lock();
        if let Some(error) = &state.broken {
            return Err(PeerError::Broken(Arc::clone(error)));
        }
        let (tell, waiting) = oneshot::channel();
        state.last += 1;
        let correlation = state.last;
        let call = Call { tell, deadline: now.plus(allowed), allowed, _room: room };
        state.waiting.insert(correlation, call);
        Ok((correlation, waiting))
    }

    /// Tells the caller of an answer, if it still waits.
    ///
    /// # Errors
    /// The frame is no answer.
    pub(crate) fn end(&self, frame: Frame) -> Result<(), LinkError> {
        let answer = match frame.kind {
            FrameKind::Answer => Ok(frame.head),
            FrameKind::Fault => Err(Fault::read(&mut WireReader::new(frame.head))?.into()),
            _ => return Err(LinkError::OutOfPlace),
        };
        let call = self.0.lock().waiting.remove(&frame.correlation);
        if let Some(call) = call {
            // A caller that has gone needs no answer.
            let _gone = call.tell.send(answer);
        }
        Ok(())
    }

    /// Ends the calls whose time is over.
    pub(crate) fn expire(&self, now: MonoTime) {
        let mut state = self.0.lock();
        if state.waiting.values().all(|call| call.deadline > now) {
            return;
        }
        let (over, waiting) = std::mem::take(&mut state.waiting)
            .into_iter()
            .partition(|(_, call)| call.deadline <= now);
        state.waiting = waiting;
        drop(state);
        tell_all(over, |call| PeerError::Timeout(call.allowed));
    }

    /// The connection is broken: ends all calls, and those to come.
    pub(crate) fn break_off(&self, error: &Arc<LinkError>) {
        let mut state = self.0.lock();
        state.broken = Some(Arc::clone(error));
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        tell_all(waiting, |_| PeerError::Broken(Arc::clone(error)));
    }
}

fn tell_all(calls: BTreeMap<u64, Call>, error: impl Fn(&Call) -> PeerError) {
    for call in calls.into_values() {
        let error = error(&call);
        let _gone = call.tell.send(Err(error));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn at(millis: u64) -> MonoTime {
        MonoTime::from_start(Duration::from_millis(millis))
    }

    fn answer(correlation: u64, text: &'static [u8]) -> Frame {
        let (head, payload) = (Bytes::from_static(text), Bytes::new());
        Frame { correlation, kind: FrameKind::Answer, head, payload }
    }

    #[test]
    fn each_call_gets_its_own_answer_in_any_order() {
        let calls = Calls::default();
        let (a, mut first) = calls.begin(at(0), Duration::from_secs(1), None).unwrap();
        let (b, mut second) = calls.begin(at(0), Duration::from_secs(1), None).unwrap();
        calls.end(answer(b, b"b")).unwrap();
        calls.end(answer(a, b"a")).unwrap();
        // An answer that nobody waits for is dropped.
        calls.end(answer(77, b"?")).unwrap();
        assert_eq!(first.try_recv().unwrap().unwrap(), "a");
        assert_eq!(second.try_recv().unwrap().unwrap(), "b");
    }

    #[test]
    fn calls_end_at_their_deadline_or_with_the_connection() {
        let calls = Calls::default();
        let (_, mut short) = calls.begin(at(0), Duration::from_millis(10), None).unwrap();
        let (_, mut long) = calls.begin(at(0), Duration::from_millis(100), None).unwrap();
        calls.expire(at(10));
        assert!(matches!(short.try_recv(), Ok(Err(PeerError::Timeout(_)))));
        assert!(long.try_recv().is_err());
        calls.break_off(&Arc::new(LinkError::Ended));
        assert!(matches!(long.try_recv(), Ok(Err(PeerError::Broken(_)))));
        assert!(matches!(calls.begin(at(0), Duration::ZERO, None), Err(PeerError::Broken(_))));
    }
}
