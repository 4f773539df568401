//! What a node's disk says about the cluster it belongs to.
//!
//! Owns: the file that remembers how the cluster was formed, and the ids that a node's directories get.
//! Never: `meta.properties` (each log directory's own), or a decision. Invariant: what another node was told
//! of is on the disk.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_coordinator::forming::Formation;
use ottla_protocol::model::Uuid;
use ottla_storage::checkpoint::{MetaProperties, replace_file};
use ottla_storage::fs::{FileSystem, OpenMode};
use serde::{Deserialize, Serialize};

/// In the first log directory, beside `meta.properties`.
const FILE: &str = "ottla-quorum.json";
/// Nothing of ours is longer: some nodes with their addresses.
const BYTES_MAX: u64 = 1 << 20;

/// Why a node's identity cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error(
        "{path} is damaged ({cause}); restore it from a copy, or empty the log directory to join anew"
    )]
    Damaged { path: PathBuf, cause: String },
    #[error(
        "the log directory {path} holds data of cluster {cluster}, which this node kept alone, and \
         other controllers are listed: a node with data never forms a new cluster. Empty its log.dirs \
         to let it take part, or list only this node"
    )]
    KeptAlone { path: PathBuf, cluster: String },
}

/// The node's part in a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) formation: Option<Formation>,
    /// Ids of log directories by path, from before they were marked.
    pub(crate) directories: BTreeMap<String, u128>,
}

/// Reads and keeps the identity.
#[derive(Debug)]
pub(crate) struct IdentityFile {
    fs: Arc<dyn FileSystem>,
    dirs: Vec<PathBuf>,
}

impl IdentityFile {
    pub(crate) fn new(fs: Arc<dyn FileSystem>, dirs: Vec<PathBuf>) -> Self {
        Self { fs, dirs }
    }

    fn path(&self) -> PathBuf {
        self.dirs.first().map(|dir| dir.join(FILE)).unwrap_or_default()
    }

    /// What the disk says; directories that have no id yet get one from `new_id`.
    ///
    /// # Errors
    /// The disk fails, the file is damaged, or the data is of a cluster of this node alone.
    pub(crate) fn read(&self, mut new_id: impl FnMut() -> Uuid) -> Result<Identity, IdentityError> {
        let mut identity = self.read_file()?;
        for dir in &self.dirs {
            let key = dir.display().to_string();
            let io = |error: &dyn std::fmt::Display| IdentityError::Io {
                path: dir.clone(),
                error: io::Error::other(error.to_string()),
            };
            let meta = MetaProperties::read(&*self.fs, dir).map_err(|error| io(&error))?;
            if let Some(meta) = meta {
                if identity.formation.is_none() {
                    let (path, cluster) = (dir.clone(), meta.cluster_id);
                    return Err(IdentityError::KeptAlone { path, cluster });
                }
                if let Some(id) = meta.directory_id {
                    identity.directories.insert(key, id.as_u128());
                }
            } else {
                identity.directories.entry(key).or_insert_with(|| new_id().as_u128());
            }
        }
        Ok(identity)
    }

    fn read_file(&self) -> Result<Identity, IdentityError> {
        let path = self.path();
        let io = |error| IdentityError::Io { path: path.clone(), error };
        let none = Identity { formation: None, directories: BTreeMap::new() };
        if !self.fs.exists(&path).map_err(io)? {
            return Ok(none);
        }
        let file = self.fs.open(&path, OpenMode::Read).map_err(io)?;
        let len = file.len().map_err(io)?.min(BYTES_MAX);
        let bytes = file.read_bytes_at(0, usize::try_from(len).unwrap_or(0)).map_err(io)?;
        serde_json::from_slice(&bytes).map_err(|error| IdentityError::Damaged {
            path: path.clone(),
            cause: error.to_string(),
        })
    }

    /// Whether the node is of a formed cluster, by a look at the file alone.
    pub(crate) fn is_formed(&self) -> bool {
        self.read_file().is_ok_and(|identity| identity.formation.is_some())
    }

    /// Makes the identity durable.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn write(&self, identity: &Identity) -> Result<(), IdentityError> {
        let path = self.path();
        let io = |error| IdentityError::Io { path: path.clone(), error };
        if let Some(dir) = self.dirs.first() {
            self.fs.create_dir_all(dir).map_err(io)?;
        }
        let bytes = serde_json::to_vec_pretty(identity).map_err(|error| io(error.into()))?;
        replace_file(&*self.fs, &path, &bytes).map_err(io)?;
        self.fs.sync_dir(path.parent().unwrap_or_else(|| Path::new("."))).map_err(io)
    }
}

impl Identity {
    /// The id of a log directory.
    pub(crate) fn directory(&self, path: &Path) -> Uuid {
        let known = self.directories.get(&path.display().to_string());
        Uuid::from_u128(known.copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_storage::fs::memory::MemoryFileSystem;

    #[test]
    fn what_was_formed_is_there_after_a_restart() {
        let fs: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::new());
        let file = IdentityFile::new(fs, vec![PathBuf::from("/a"), PathBuf::from("/b")]);
        let mut next = 0;
        let mut draw = || {
            next += 1;
            Uuid::from_u128(next)
        };
        let mut identity = file.read(&mut draw).unwrap();
        assert_eq!((identity.formation.is_none(), file.is_formed()), (true, false));
        assert_eq!(identity.directory(Path::new("/b")), Uuid::from_u128(2));
        identity.formation = Some(Formation { cluster_id: "x".to_owned(), voters: Vec::new() });
        file.write(&identity).unwrap();
        assert!(file.is_formed());
        assert_eq!(file.read(&mut draw).unwrap(), identity, "the ids are the same");
    }
}
