//! The corpus of the fuzz targets (`tests/fuzz`), replayed.
//!
//! Owns: reading the files. Never: holds the properties, which the targets share. A crash that
//! fuzzing finds becomes a file of the corpus, and so a test.

#[path = "../../tests/fuzz/entry.rs"]
mod entry;

fn replay(target: &str, run: fn(&[u8])) {
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("a corpus")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    assert!(files.len() >= 20, "{} files", files.len());
    for file in files {
        let data = std::fs::read(&file).expect("readable");
        let shown = file.display();
        let caught = std::panic::catch_unwind(|| run(&data));
        assert!(caught.is_ok(), "{shown} breaks {target}");
        // Its neighbours too: every cut, and every byte turned over.
        for at in 0..data.len().min(160) {
            run(&data[..at]);
            let mut flipped = data.clone();
            flipped[at] ^= 0xff;
            run(&flipped);
            flipped[at] = 0x7f;
            run(&flipped);
        }
    }
}

#[test]
fn guard() {
    replay("guard", entry::guard);
}

#[test]
fn records() {
    replay("records", entry::records);
}
