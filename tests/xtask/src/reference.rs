//! `cargo xtask config-reference`: writes `config/reference.md` from the declarations.
//!
//! Owns: writing and comparing the file. Never: knows a key; the config crate renders the text.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

fn path(root: &Path) -> PathBuf {
    root.join("config/reference.md")
}

pub(crate) fn write(root: &Path) -> Result<()> {
    std::fs::write(path(root), ottla_config::reference::render()).context("config/reference.md")
}

/// One problem when the file is not what the declarations say.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path(root)).context("config/reference.md")?;
    Ok(compare(&text).into_iter().collect())
}

fn compare(text: &str) -> Option<String> {
    (text != ottla_config::reference::render()).then(|| {
        "config/reference.md is stale: run `cargo xtask config-reference` and commit it".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_by_hand_is_found() {
        let text = ottla_config::reference::render();
        assert_eq!(compare(&text), None);
        assert!(compare(&text.replacen("log.dirs", "log.dir", 1)).is_some());
    }
}
