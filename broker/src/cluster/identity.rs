//! What a node's disk says about the cluster it belongs to.
//!
//! Owns: the file that remembers how the cluster was formed, and the ids that a node's directories get.
//! Never: `meta.properties` (each log directory's own), or a decision. Invariant: what another node was told
//! of is on the disk.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_coordinator::forming::{Formation, Voter};
use ottla_protocol::model::{NodeId, Uuid, kafka_uuid_text};
use ottla_storage::checkpoint::{MetaProperties, replace_file};
use ottla_storage::fs::{FileSystem, OpenMode};
use serde::{Deserialize, Serialize};

use crate::metadata_service::METADATA_TOPIC;

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
         other controllers are listed: a node with data never forms a new cluster, nor joins another one. \
         List only this node, so that it begins a cluster with its data, which the others then join; or \
         empty its log.dirs to let it join theirs"
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

/// A node that begins a cluster without others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct First<'a> {
    pub(crate) node: NodeId,
    /// Where others find it.
    pub(crate) address: &'a str,
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

    /// What the disk says; directories that have no id yet get one from `new_id`. Where the node is to be
    /// the `first` of a cluster, what it kept alone becomes the cluster's.
    ///
    /// # Errors
    /// The disk fails, the file is damaged, or the data is of a cluster of this node alone.
    pub(crate) fn read(
        &self,
        first: Option<&First<'_>>,
        mut new_id: impl FnMut() -> Uuid,
    ) -> Result<Identity, IdentityError> {
        let mut identity = self.read_file()?;
        let mut kept_alone = None;
        for dir in &self.dirs {
            let key = dir.display().to_string();
            let io = |error: &dyn std::fmt::Display| IdentityError::Io {
                path: dir.clone(),
                error: io::Error::other(error.to_string()),
            };
            let meta = MetaProperties::read(&*self.fs, dir).map_err(|error| io(&error))?;
            if let Some(meta) = meta {
                if identity.formation.is_none() {
                    if first.is_none() {
                        let (path, cluster) = (dir.clone(), meta.cluster_id);
                        return Err(IdentityError::KeptAlone { path, cluster });
                    }
                    kept_alone.get_or_insert(meta.cluster_id);
                }
                if let Some(id) = meta.directory_id {
                    identity.directories.insert(key, id.as_u128());
                }
            } else {
                identity.directories.entry(key).or_insert_with(|| new_id().as_u128());
            }
        }
        if let (None, Some(first)) = (&identity.formation, first) {
            let cluster_id = kept_alone.unwrap_or_else(|| kafka_uuid_text(new_id()));
            let directory = identity.directory(&self.metadata_dir()?).as_u128();
            let voter = Voter { node: first.node.0, directory, address: first.address.to_owned() };
            identity.formation = Some(Formation { cluster_id, voters: vec![voter] });
        }
        Ok(identity)
    }

    /// The directory that holds the metadata log, or will: as for everybody, the first.
    fn metadata_dir(&self) -> Result<PathBuf, IdentityError> {
        for dir in &self.dirs {
            let log = dir.join(format!("{METADATA_TOPIC}-0"));
            let io = |error| IdentityError::Io { path: log.clone(), error };
            if self.fs.exists(&log).map_err(io)? {
                return Ok(dir.clone());
            }
        }
        Ok(self.dirs.first().cloned().unwrap_or_default())
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
        let mut identity = file.read(None, &mut draw).unwrap();
        assert_eq!((identity.formation.is_none(), file.is_formed()), (true, false));
        assert_eq!(identity.directory(Path::new("/b")), Uuid::from_u128(2));
        identity.formation = Some(Formation { cluster_id: "x".to_owned(), voters: Vec::new() });
        file.write(&identity).unwrap();
        assert!(file.is_formed());
        assert_eq!(file.read(None, &mut draw).unwrap(), identity, "the ids are the same");
    }

    #[test]
    fn what_a_node_kept_alone_becomes_the_clusters_only_where_it_is_the_first() {
        let fs: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::new());
        let (new, old) = (PathBuf::from("/new"), PathBuf::from("/old"));
        fs.create_dir_all(&old.join("__cluster_metadata-0")).unwrap();
        let (cluster_id, directory_id) = ("kept".to_owned(), Some(Uuid::from_u128(9)));
        MetaProperties { cluster_id, node_id: NodeId(4), directory_id }.write(&*fs, &old).unwrap();
        let file = IdentityFile::new(fs, vec![new, old]);
        let refused = file.read(None, || Uuid::from_u128(1)).unwrap_err();
        assert!(matches!(refused, IdentityError::KeptAlone { .. }));
        let first = First { node: NodeId(4), address: "a:1" };
        let formation = file.read(Some(&first), || Uuid::from_u128(1)).unwrap().formation.unwrap();
        let voter = Voter { node: 4, directory: 9, address: "a:1".to_owned() };
        assert_eq!(formation, Formation { cluster_id: "kept".to_owned(), voters: vec![voter] });
    }
}
