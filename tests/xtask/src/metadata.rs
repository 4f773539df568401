//! What `cargo metadata` says of packages and their dependencies.
//!
//! Owns: the few fields that the checks need. Never: judges them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

/// Packages and the resolved graph between them, for one platform.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) workspace_members: Vec<String>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    /// `None` for packages of this repository.
    pub(crate) source: Option<String>,
    pub(crate) manifest_path: String,
    pub(crate) dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` is a normal one, otherwise `dev` or `build`.
    pub(crate) kind: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Debug, Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Debug, Deserialize)]
struct EdgeKind {
    kind: Option<String>,
}

impl Metadata {
    /// Asks cargo, for the platform of the compiler.
    pub(crate) fn load(root: &Path) -> Result<Self> {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", &host()?])
            .current_dir(root)
            .output()
            .context("cargo metadata does not start")?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cargo metadata failed: {complaint}");
        Self::parse(&output.stdout)
    }

    pub(crate) fn parse(json: &[u8]) -> Result<Self> {
        serde_json::from_slice(json).context("cargo metadata has another form than expected")
    }

    pub(crate) fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// Every package that is built into this one, with the path by which it comes in.
    pub(crate) fn normal_closure(&self, package: &Package) -> BTreeMap<String, Vec<String>> {
        let names: BTreeMap<&str, &str> =
            self.packages.iter().map(|p| (p.id.as_str(), p.name.as_str())).collect();
        let mut closure = BTreeMap::new();
        let mut seen = BTreeSet::from([package.id.as_str()]);
        let mut open = vec![(package.id.as_str(), vec![package.name.clone()])];
        while let Some((id, path)) = open.pop() {
            let node = self.resolve.nodes.iter().find(|node| node.id == id);
            let edges = node.map(|node| node.deps.as_slice()).unwrap_or_default();
            for edge in edges.iter().filter(|e| e.dep_kinds.iter().any(|k| k.kind.is_none())) {
                let Some(name) = names.get(edge.pkg.as_str()) else { continue };
                if seen.insert(edge.pkg.as_str()) {
                    let mut path = path.clone();
                    path.push((*name).to_owned());
                    closure.insert((*name).to_owned(), path.clone());
                    open.push((edge.pkg.as_str(), path));
                }
            }
        }
        closure
    }
}

/// The platform that the compiler runs on.
fn host() -> Result<String> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(rustc).arg("-vV").output().context("rustc does not start")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("rustc -vV names no host")
}
