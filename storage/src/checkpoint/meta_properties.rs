//! `meta.properties`: whose log directory this is (Kafka's `MetaProperties`, version 1, KIP-858).
//!
//! Owns: the file's text, in Java's properties syntax as far as the file needs it. Never: checks
//! the ids against anything.

use std::fmt::Write as _;
use std::path::Path;

use ottla_protocol::model::{NodeId, Uuid, kafka_uuid_text, parse_kafka_uuid};

use super::{CheckpointError, TextError, read_text, replace_file};
use crate::fs::FileSystem;

/// The file's name.
pub const META_PROPERTIES_FILE: &str = "meta.properties";

/// Identity of a log directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetaProperties {
    pub cluster_id: String,
    pub node_id: NodeId,
    /// Absent in files from before KIP-858.
    pub directory_id: Option<Uuid>,
}

impl MetaProperties {
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::from("#\n");
        let _ = writeln!(text, "node.id={}", self.node_id);
        if let Some(id) = self.directory_id {
            let _ = writeln!(text, "directory.id={}", kafka_uuid_text(id));
        }
        let _ = writeln!(text, "version=1\ncluster.id={}", escape(&self.cluster_id));
        text
    }

    pub(crate) fn parse(text: &str) -> Result<Self, TextError> {
        let fail = |line, reason| Err(TextError::Malformed { line, reason });
        let (mut version, mut cluster_id, mut node_id, mut directory_id) = (None, None, None, None);
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                return fail(index + 1, "not a key and a value");
            };
            let value = unescape(value.trim());
            match key.trim() {
                "version" => version = Some(value),
                "cluster.id" => cluster_id = Some(value),
                "node.id" => match value.parse() {
                    Ok(id) => node_id = Some(NodeId(id)),
                    Err(_) => return fail(index + 1, "node.id is not a number"),
                },
                "directory.id" => match parse_kafka_uuid(&value) {
                    Some(id) => directory_id = Some(id),
                    None => return fail(index + 1, "directory.id is not a Kafka uuid"),
                },
                _ => {}
            }
        }
        match version.as_deref() {
            Some("1") => {}
            Some(found) => {
                return Err(TextError::Version { found: found.to_owned(), known: 1 });
            }
            None => return fail(1, "version is missing"),
        }
        // Every field is asked for: in a file that was cut the last ones are missing.
        let Some(cluster_id) = cluster_id else { return fail(1, "cluster.id is missing") };
        let Some(node_id) = node_id else { return fail(1, "node.id is missing") };
        if !text.ends_with('\n') {
            return fail(text.lines().count(), "the last line is cut");
        }
        Ok(Self { cluster_id, node_id, directory_id })
    }

    /// Reads the file of a log directory; `None` when there is none.
    ///
    /// # Errors
    /// The disk's, and what is wrong with a damaged file.
    pub fn read(fs: &dyn FileSystem, dir: &Path) -> Result<Option<Self>, CheckpointError> {
        let path = dir.join(META_PROPERTIES_FILE);
        match read_text(fs, &path)? {
            None => Ok(None),
            Some(text) => Self::parse(&text).map(Some).map_err(|error| error.at(&path)),
        }
    }

    /// Writes the file durably.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(&self, fs: &dyn FileSystem, dir: &Path) -> Result<(), CheckpointError> {
        let path = dir.join(META_PROPERTIES_FILE);
        replace_file(fs, &path, self.to_text().as_bytes())
            .map_err(|source| CheckpointError::Io { path, source })
    }
}

/// Puts a backslash where `java.util.Properties` would.
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\\' | ':' | '=' | '#' | '!') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

fn unescape(value: &str) -> String {
    let mut chars = value.chars();
    let mut plain = String::with_capacity(value.len());
    while let Some(c) = chars.next() {
        plain.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_real_kafka_wrote() {
        let fs = crate::fs::OsFileSystem::new();
        let dir = crate::oracle_records().join("data-directory");
        let found = MetaProperties::read(&fs, &dir).unwrap().unwrap();
        assert_eq!(found.node_id, NodeId(0));
        assert_eq!(found.cluster_id, "7y5emp0fRoqbzX9AJLtOUw");
        assert_eq!(found.directory_id, parse_kafka_uuid("EXSRSMX0TymHB5ZhTJvCUg"));
        assert_eq!(MetaProperties::parse(&found.to_text()), Ok(found));
    }

    #[test]
    fn awkward_ids_round_trip_and_cuts_are_noticed() {
        let meta = MetaProperties {
            cluster_id: "a:b=c\\d#e!".to_owned(),
            node_id: NodeId(7),
            directory_id: None,
        };
        let text = meta.to_text();
        assert_eq!(MetaProperties::parse(&text), Ok(meta));
        for cut in 0..text.len() {
            assert!(MetaProperties::parse(&text[..cut]).is_err(), "cut at {cut}");
        }
        let old = "version=0\nbroker.id=1\n";
        let expected = TextError::Version { found: "0".into(), known: 1 };
        assert_eq!(MetaProperties::parse(old), Err(expected));
    }
}
