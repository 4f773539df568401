//! The conformance suite on every implementation.

use std::path::Path;

use super::*;

#[test]
fn the_operating_system_conforms() {
    let folder = tempfile::tempdir().expect("temporary folder");
    conformance::run(&OsFileSystem::new(), folder.path());
}

#[test]
fn memory_conforms() {
    let fs = MemoryFileSystem::new();
    let root = Path::new("/data/logs");
    fs.create_dir_all(root).expect("create");
    conformance::run(&fs, root);
}
