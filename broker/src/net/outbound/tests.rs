//! File ranges into real sockets, from files that end early, cannot be read, or have a peer that left.
//!
//! Owns: what ends a connection, and which failures a log directory is told. Never: responses' fields.

use std::future::poll_fn;
use std::io::Write;
use std::path::PathBuf;

use ottla_replication::home::Home;
use ottla_storage::flush::FlushCoordinator;
use ottla_storage::fs::MemoryFileSystem;
use ottla_storage::log_dir::DirHealth;
use rustix::io::Errno;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::*;

const STORED: &[u8] = b"stored bytes";

/// A file that is read as one is told, and sent by `sendfile` where there is one to send.
#[derive(Debug)]
struct Scripted {
    sent: Option<std::fs::File>,
    read: Result<&'static [u8], Errno>,
}

impl File for Scripted {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let all = self.read?;
        let rest = all.get(position as usize..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_all_at(&self, _: &[IoSlice<'_>], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(STORED.len() as u64)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn os_file(&self) -> Option<&std::fs::File> {
        self.sent.as_ref()
    }
}

fn home() -> Home {
    let path = PathBuf::from("/data");
    let fs = Arc::new(MemoryFileSystem::new());
    Home {
        flusher: FlushCoordinator::inline(fs, path.clone()),
        health: Arc::new(DirHealth::new(path)),
        alarm: Arc::new(Notify::new()),
    }
}

/// A file that `sendfile` can send.
fn good() -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(STORED).unwrap();
    file
}

/// A file of the system from which `sendfile` cannot read: it is open for writing only.
fn unreadable() -> std::fs::File {
    let named = tempfile::NamedTempFile::new().unwrap();
    std::fs::OpenOptions::new().write(true).open(named.path()).unwrap()
}

async fn pair() -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    server.writable().await.unwrap();
    (Stream::Tcp(server), client)
}

fn outbound(file: Scripted, home: &Home) -> Outbound {
    let len = STORED.len();
    let segment = Segment::File {
        file: Arc::new(file),
        position: 0,
        len: len as u32,
        home: Some(home.clone()),
    };
    Outbound { queue: [segment].into(), len, loading: None }
}

/// Sends one file range; answers what the sender was told, what arrived, and why the directory is out
/// of use.
async fn send(file: Scripted) -> (io::Result<()>, Vec<u8>, Option<String>) {
    let (mut stream, mut client) = pair().await;
    let home = home();
    let mut outbound = outbound(file, &home);
    let told = poll_fn(|cx| outbound.poll_write(cx, &mut stream)).await;
    drop(stream);
    let mut arrived = Vec::new();
    client.read_to_end(&mut arrived).await.unwrap();
    if home.health.is_offline() {
        home.alarm.notified().await;
    }
    (told, arrived, home.health.reason().map(str::to_owned))
}

#[tokio::test]
async fn a_range_arrives_by_sendfile_or_by_reading() {
    for sent in [Some(good()), None] {
        let (told, arrived, offline) = send(Scripted { sent, read: Ok(STORED) }).await;
        told.unwrap();
        assert_eq!((arrived.as_slice(), offline), (STORED, None));
    }
}

#[tokio::test]
async fn a_range_that_only_sendfile_cannot_send_is_read() {
    let (told, arrived, offline) =
        send(Scripted { sent: Some(unreadable()), read: Ok(STORED) }).await;
    told.unwrap();
    assert_eq!((arrived.as_slice(), offline), (STORED, None));
}

#[tokio::test]
async fn an_unreadable_file_ends_the_connection_and_its_directory() {
    for sent in [Some(unreadable()), None] {
        let (told, arrived, offline) = send(Scripted { sent, read: Err(Errno::IO) }).await;
        assert_eq!(told.unwrap_err().raw_os_error(), Some(Errno::IO.raw_os_error()));
        assert!(arrived.is_empty());
        let reason = offline.expect("the disk is to blame");
        assert!(reason.contains("could not be read"), "{reason}");
    }
}

#[tokio::test]
async fn a_file_that_ends_early_ends_the_connection_only() {
    for sent in [Some(tempfile::tempfile().unwrap()), None] {
        let (told, arrived, offline) = send(Scripted { sent, read: Ok(b"") }).await;
        assert_eq!(told.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!((arrived.len(), offline), (0, None));
    }
}

#[tokio::test]
async fn a_peer_that_left_says_nothing_about_the_disk() {
    let (mut stream, client) = pair().await;
    let home = home();
    let Stream::Tcp(socket) = &mut stream else { unreachable!() };
    rustix::net::shutdown(&*socket, rustix::net::Shutdown::Write).unwrap();
    drop(client);
    let mut outbound = outbound(Scripted { sent: Some(good()), read: Ok(STORED) }, &home);
    let told = poll_fn(|cx| outbound.poll_write(cx, &mut stream)).await;
    assert_eq!(told.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert!(!home.health.is_offline());
}
