//! Where the repository is and which files it has.
//!
//! Owns: finding the root and walking it. Never: reads what git ignores (`target`, `data`).

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Folders that are no part of the source.
const SKIPPED: &[&str] = &["target", "data", "node_modules", ".git"];

/// The root of the repository.
pub(crate) fn root() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().with_context(|| format!("{} is not there", root.display()))
}

/// Paths of all Rust files from the root, with `/`, in order.
pub(crate) fn rust_files(root: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    walk(root, "", &mut files)?;
    files.sort();
    Ok(files)
}

fn walk(root: &Path, prefix: &str, files: &mut Vec<String>) -> Result<()> {
    for entry in std::fs::read_dir(root.join(prefix))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
            walk(root, &path, files)?;
        } else if kind.is_file() && path.ends_with(".rs") {
            files.push(path);
        }
    }
    Ok(())
}
