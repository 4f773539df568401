//! A blocking connection whose requests overlap, and the two threads that use it.
//!
//! Owns: frames on a socket, how many requests are under way. Never: knows a load's meaning, uses
//! the asynchronous client's connections: a timer of that client is a millisecond too coarse.
//! Invariant: answers come in the order of the requests, as Kafka promises, and are checked for it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use bytes::Bytes;
use kafka_protocol::messages::ResponseHeader;
use kafka_protocol::protocol::{Decodable, HeaderVersion, Request};

use super::pace::{Pace, Window};
use crate::client::Client;
use crate::client::connection::{MAX_ANSWER_BYTES, api_name, encode_frame};
use crate::failure::Failure;

/// Every frame has this number: answers are told apart by their order.
const CORRELATION: i32 = 7;

#[derive(Debug)]
pub(super) struct Link {
    stream: TcpStream,
    address: String,
    client_id: String,
    version: i16,
}

/// A request that is ready to be written.
pub(super) type Frame = Bytes;

impl Link {
    /// A connection of its own to broker `id`, for requests of type `R`.
    pub(super) async fn open<R: Request>(client: &Client, id: i32) -> Result<Self, Failure> {
        let address = client.address(id)?;
        let connection = client.open(&address).await?;
        let version = connection.version_of::<R>()?;
        let broken = |error: io::Error| broken(&address, &error);
        let stream = connection.into_std().map_err(broken)?;
        let patience = client.options().patience;
        stream.set_read_timeout(Some(patience)).map_err(broken)?;
        stream.set_write_timeout(Some(patience)).map_err(broken)?;
        let client_id = client.options().client_id.clone();
        Ok(Self { stream, address, client_id, version })
    }

    pub(super) fn frame<R: Request>(&self, request: &R) -> Result<Frame, Failure> {
        encode_frame(&self.client_id, CORRELATION, self.version, request)
            .map_err(|cause| Failure::item(&*self.address, "MALFORMED", cause))
    }

    pub(super) fn send(&self, frame: &[u8]) -> Result<(), Failure> {
        (&self.stream).write_all(frame).map_err(|error| broken(&self.address, &error))
    }

    pub(super) fn receive<R: Request>(&self) -> Result<R::Response, Failure> {
        let mut answer = self.read_frame().map_err(|error| broken(&self.address, &error))?;
        let malformed = |cause: String| {
            let what = format!("its answer to {} cannot be read: {cause}", api_name(R::KEY));
            Failure::item(&*self.address, "MALFORMED", what)
        };
        let header = ResponseHeader::decode(&mut answer, R::Response::header_version(self.version))
            .map_err(|error| malformed(error.to_string()))?;
        if header.correlation_id != CORRELATION {
            return Err(malformed("it belongs to another request".to_owned()));
        }
        R::Response::decode(&mut answer, self.version).map_err(|error| malformed(error.to_string()))
    }

    fn read_frame(&self) -> io::Result<Bytes> {
        let mut prefix = [0; 4];
        (&self.stream).read_exact(&mut prefix)?;
        let length = u32::from_be_bytes(prefix) as usize;
        if length > MAX_ANSWER_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{length} bytes")));
        }
        let mut answer = Vec::new();
        let read = (&self.stream).take(length as u64).read_to_end(&mut answer)?;
        if read < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(answer.into())
    }

    /// Keeps `in_flight` requests under way until the window is over. `next` makes the frame of a
    /// request by its number and due time, `answered` takes each answer with that time.
    pub(super) fn pipeline<R: Request>(
        &self,
        pace: Pace,
        window: Window,
        in_flight: usize,
        mut next: impl FnMut(u64, Instant) -> Result<Frame, Failure> + Send,
        mut answered: impl FnMut(R::Response, Instant) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        // The reader holds one more while it waits for the answer.
        let (sent, stamps) = sync_channel(in_flight.saturating_sub(1));
        std::thread::scope(|scope| {
            let writer = scope.spawn(move || -> Result<(), Failure> {
                for number in 0.. {
                    let Some(due) = pace.wait(&window, number) else { break };
                    // A reader that failed takes no more.
                    if sent.send(due).is_err() {
                        break;
                    }
                    self.send(&next(number, due)?)?;
                }
                Ok(())
            });
            let read = stamps.into_iter().try_for_each(|due| answered(self.receive::<R>()?, due));
            if read.is_err() {
                // The writer may wait for a peer that takes nothing; that it is gone already is fine.
                self.stream.shutdown(Shutdown::Both).ok();
            }
            let written = writer.join().unwrap_or_else(|_| {
                Err(Failure::item(&*self.address, "INTERNAL", "the writer of requests panicked"))
            });
            read.and(written)
        })
    }
}

fn broken(address: &str, error: &io::Error) -> Failure {
    let cause = crate::client::connection::cause_text(error);
    Failure::new("CONNECTION_LOST", cause, crate::exit::Exit::Unreachable).about(address)
}
