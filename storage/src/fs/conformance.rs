//! The contract of the file-system seam as a suite that every implementation passes.
//!
//! Owns: what callers may rely on, executed. Never: durability, which only a disk that can crash
//! can show (see `sim`). Panics on the first difference: it is a test, exported for
//! implementations outside this crate.

use std::io::{ErrorKind, IoSlice};
use std::path::Path;

use super::{EntryKind, File, FileSystem, OpenMode};

/// Executes the suite below `root`, a folder that exists and is empty.
///
/// # Panics
/// On the first behaviour that differs from the contract.
pub fn run(fs: &dyn FileSystem, root: &Path) {
    open_modes(fs, root);
    positional_io(fs, root);
    vectored_writes(fs, root);
    reads_as_bytes(fs, root);
    lengths(fs, root);
    handles_outlive_names(fs, root);
    renames(fs, root);
    folders(fs, root);
    locks(fs, root);
    syncs(fs, root);
    forgotten_cache(fs, root);
}

fn write(file: &dyn File, bytes: &[u8], position: u64) {
    file.write_all_at(&[IoSlice::new(bytes)], position).expect("write");
}

fn read_all(file: &dyn File) -> Vec<u8> {
    let mut buf = vec![0; file.len().expect("len") as usize];
    file.read_exact_at(&mut buf, 0).expect("read");
    buf
}

fn kind<T: std::fmt::Debug>(result: std::io::Result<T>) -> ErrorKind {
    result.expect_err("must fail").kind()
}

fn open_modes(fs: &dyn FileSystem, root: &Path) {
    let path = root.join("modes");
    assert_eq!(kind(fs.open(&path, OpenMode::Read)), ErrorKind::NotFound);
    assert_eq!(kind(fs.open(&path, OpenMode::ReadWrite)), ErrorKind::NotFound);
    assert!(!fs.exists(&path).expect("exists"), "a failed open creates nothing");
    write(&*fs.open(&path, OpenMode::CreateNew).expect("create new"), b"abc", 0);
    assert!(fs.exists(&path).expect("exists"));
    assert_eq!(kind(fs.open(&path, OpenMode::CreateNew)), ErrorKind::AlreadyExists);
    let kept = fs.open(&path, OpenMode::Create).expect("create keeps");
    assert_eq!(read_all(&*kept), b"abc");
    let reader = fs.open(&path, OpenMode::Read).expect("read");
    assert!(reader.write_all_at(&[IoSlice::new(b"x")], 0).is_err(), "read-only handles refuse");
    assert_eq!(read_all(&*reader), b"abc");
    write(&*fs.open(&path, OpenMode::ReadWrite).expect("read-write"), b"X", 1);
    assert_eq!(read_all(&*reader), b"aXc", "a write is seen through every handle at once");
    let absent = root.join("no-folder").join("file");
    assert_eq!(kind(fs.open(&absent, OpenMode::Create)), ErrorKind::NotFound);
    fs.remove_file(&path).expect("remove");
    assert_eq!(kind(fs.remove_file(&path)), ErrorKind::NotFound);
}

fn positional_io(fs: &dyn FileSystem, root: &Path) {
    let file = fs.open(&root.join("positions"), OpenMode::CreateNew).expect("create");
    let mut buf = [7; 4];
    assert_eq!(file.read_at(&mut buf, 0).expect("read"), 0);
    write(&*file, b"tail", 10);
    assert_eq!(read_all(&*file), b"\0\0\0\0\0\0\0\0\0\0tail", "a hole reads as zeros");
    assert_eq!(file.read_at(&mut buf, 14).expect("read at the end"), 0);
    assert_eq!(file.read_at(&mut buf, 1 << 40).expect("read past the end"), 0);
    write(&*file, b"head", 0);
    write(&*file, b"over", 8);
    assert_eq!(read_all(&*file), b"head\0\0\0\0overil");
    let past = file.read_exact_at(&mut [0; 8], 10);
    assert_eq!(kind(past), ErrorKind::UnexpectedEof);
}

fn vectored_writes(fs: &dyn FileSystem, root: &Path) {
    let file = fs.open(&root.join("vectors"), OpenMode::CreateNew).expect("create");
    let parts = [&b""[..], b"one", b"", b"two", b""].map(IoSlice::new);
    file.write_all_at(&parts, 2).expect("write");
    assert_eq!(read_all(&*file), b"\0\0onetwo");
    file.write_all_at(&[], 100).expect("nothing to write");
    file.write_all_at(&[IoSlice::new(b"")], 100).expect("nothing to write");
    assert_eq!(file.len().expect("len"), 8, "writing nothing extends nothing");
    let many: Vec<Vec<u8>> = (0..3000u32).map(|part| part.to_be_bytes().to_vec()).collect();
    let parts: Vec<IoSlice<'_>> = many.iter().map(|part| IoSlice::new(part)).collect();
    file.write_all_at(&parts, 0).expect("more parts than one system call takes");
    assert_eq!(read_all(&*file), many.concat());
}

fn reads_as_bytes(fs: &dyn FileSystem, root: &Path) {
    let file = fs.open(&root.join("bytes"), OpenMode::CreateNew).expect("create");
    let all: Vec<u8> = (0..300_000u32).map(|at| (at % 251) as u8).collect();
    for (chunk, bytes) in all.chunks(1000).enumerate() {
        write(&*file, bytes, chunk as u64 * 1000);
    }
    for (from, len) in [(0, 10), (0, 300_000), (123_456, 100_000), (299_990, 10), (5, 0)] {
        let read = file.read_bytes_at(from, len).expect("read");
        assert_eq!(read[..], all[from as usize..from as usize + len]);
    }
    assert_eq!(file.read_bytes_at(299_990, 100).expect("short at the end").len(), 10);
    assert_eq!(file.read_bytes_at(1 << 40, usize::MAX).expect("past the end").len(), 0);
    let before = file.read_bytes_at(0, 100_000).expect("read");
    write(&*file, &[255; 100], 0);
    assert_eq!(before[..100], all[..100], "bytes that were read do not change");
}

fn lengths(fs: &dyn FileSystem, root: &Path) {
    let path = root.join("lengths");
    let file = fs.open(&path, OpenMode::CreateNew).expect("create");
    assert!(file.is_empty().expect("empty"));
    write(&*file, b"0123456789", 0);
    file.set_len(4).expect("cut");
    assert_eq!(read_all(&*file), b"0123");
    file.set_len(8).expect("extend");
    assert_eq!(read_all(&*file), b"0123\0\0\0\0", "what was cut does not come back");
    write(&*file, b"ab", 4);
    write(&*file, b"cd", 8);
    assert_eq!(read_all(&*file), b"0123ab\0\0cd");
    let listed = fs.list(root).expect("list");
    let entry = listed.iter().find(|entry| entry.name == "lengths").expect("listed");
    assert_eq!((entry.kind, entry.len), (EntryKind::File, 10));
}

fn handles_outlive_names(fs: &dyn FileSystem, root: &Path) {
    let path = root.join("outlived");
    let file = fs.open(&path, OpenMode::CreateNew).expect("create");
    write(&*file, b"old", 0);
    fs.remove_file(&path).expect("remove");
    assert!(!fs.exists(&path).expect("exists"));
    assert_eq!(read_all(&*file), b"old", "an open handle reads on after the removal");
    let new = fs.open(&path, OpenMode::CreateNew).expect("the name is free");
    assert!(new.is_empty().expect("empty"));
    write(&*file, b"more", 3);
    assert_eq!(read_all(&*file), b"oldmore");
    assert!(new.is_empty().expect("empty"), "the new file is another one");
}

fn renames(fs: &dyn FileSystem, root: &Path) {
    let (from, to) = (root.join("from"), root.join("to"));
    assert_eq!(kind(fs.rename(&from, &to)), ErrorKind::NotFound);
    let source = fs.open(&from, OpenMode::CreateNew).expect("create");
    write(&*source, b"new", 0);
    let replaced = fs.open(&to, OpenMode::CreateNew).expect("create");
    write(&*replaced, b"replaced", 0);
    fs.rename(&from, &to).expect("rename over a file");
    assert!(!fs.exists(&from).expect("exists"));
    assert_eq!(read_all(&*fs.open(&to, OpenMode::Read).expect("open")), b"new");
    assert_eq!(read_all(&*replaced), b"replaced", "the replaced file stays readable");
    write(&*source, b"NEW", 0);
    assert_eq!(read_all(&*fs.open(&to, OpenMode::Read).expect("open")), b"NEW");

    let (folder, moved) = (root.join("folder"), root.join("moved"));
    fs.create_dir_all(&folder.join("below")).expect("create");
    let inside = fs.open(&folder.join("inside"), OpenMode::CreateNew).expect("create");
    fs.rename(&folder, &moved).expect("rename a folder");
    write(&*inside, b"in", 0);
    assert_eq!(read_all(&*fs.open(&moved.join("inside"), OpenMode::Read).expect("open")), b"in");
    assert!(fs.exists(&moved.join("below")).expect("exists"));
    assert!(!fs.exists(&folder).expect("exists"));
    fs.create_dir_all(&folder).expect("create");
    fs.rename(&folder, &root.join("again")).expect("rename an empty folder");
    assert!(fs.rename(&root.join("again"), &moved).is_err(), "a full folder is not replaced");
}

fn folders(fs: &dyn FileSystem, root: &Path) {
    let top = root.join("tree");
    fs.create_dir_all(&top.join("b").join("c")).expect("create");
    fs.create_dir_all(&top.join("b")).expect("one that is there is no error");
    fs.open(&top.join("c"), OpenMode::CreateNew).expect("create");
    fs.open(&top.join("a"), OpenMode::CreateNew).expect("create");
    let listed = fs.list(&top).expect("list");
    let names: Vec<(&str, EntryKind)> =
        listed.iter().map(|entry| (&*entry.name, entry.kind)).collect();
    let expected = [("a", EntryKind::File), ("b", EntryKind::Directory), ("c", EntryKind::File)];
    assert_eq!(names, expected, "sorted by name, without what lies deeper");
    assert!(fs.remove_file(&top.join("b")).is_err(), "a folder is no file");
    assert!(fs.create_dir_all(&top.join("a").join("x")).is_err(), "a file is no folder");
    fs.remove_dir_all(&top).expect("remove");
    assert_eq!(kind(fs.list(&top)), ErrorKind::NotFound);
    assert_eq!(kind(fs.remove_dir_all(&top)), ErrorKind::NotFound);
}

fn locks(fs: &dyn FileSystem, root: &Path) {
    let path = root.join(".lock");
    let guard = fs.lock(&path).expect("lock");
    assert_eq!(kind(fs.lock(&path)), ErrorKind::WouldBlock);
    drop(guard);
    drop(fs.lock(&path).expect("free again"));
}

fn forgotten_cache(fs: &dyn FileSystem, root: &Path) {
    let path = root.join("cached");
    let file = fs.open(&path, OpenMode::CreateNew).expect("create");
    write(&*file, &[7; 9000], 0);
    file.sync_data().expect("sync");
    write(&*file, &[8; 100], 8950);
    for position in [8960, 5000, 0, 1 << 40] {
        file.forget_cached(position).expect("forget");
    }
    let found = read_all(&*file);
    assert_eq!(found.len(), 9050, "what is not written yet stays");
    assert!(found[..8950].iter().all(|byte| *byte == 7));
    assert!(found[8950..].iter().all(|byte| *byte == 8));
    fs.remove_file(&path).expect("remove");
}

fn syncs(fs: &dyn FileSystem, root: &Path) {
    let file = fs.open(&root.join("synced"), OpenMode::CreateNew).expect("create");
    write(&*file, b"durable", 0);
    file.sync_data().expect("sync data");
    fs.sync_dir(root).expect("sync dir");
    match fs.sync_disk(root) {
        Ok(()) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported),
    }
    assert_eq!(fs.disk_id(root).expect("id"), fs.disk_id(root).expect("id"));
    let space = fs.space(root).expect("space");
    assert!(space.available <= space.total && space.total > 0, "{space:?}");
}
