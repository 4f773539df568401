//! Licences, duplicate versions and origins of dependencies, by the lists of `deny.toml`.
//!
//! Owns: the part of cargo-deny's rules that needs no download, so that every run checks it.
//! Never: checks advisories; `cargo deny check` does, with the same file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::metadata::{Metadata, Package};

/// The fields of `deny.toml` that are used here.
#[derive(Debug, Deserialize)]
pub(crate) struct Rules {
    licenses: Licences,
    bans: Bans,
    sources: Sources,
}

#[derive(Debug, Deserialize)]
struct Licences {
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    #[serde(default)]
    skip: Vec<Skip>,
    #[serde(default)]
    deny: Vec<Deny>,
}

#[derive(Debug, Deserialize)]
struct Skip {
    /// `name@version`.
    #[serde(rename = "crate")]
    package: String,
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Deserialize)]
struct Deny {
    #[serde(rename = "crate")]
    package: String,
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

impl Rules {
    pub(crate) fn load(root: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(root.join("deny.toml")).context("deny.toml")?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).context("deny.toml has another form than expected")
    }
}

pub(crate) fn check(metadata: &Metadata, rules: &Rules) -> Vec<String> {
    let foreign: Vec<&Package> = metadata.packages.iter().filter(|p| p.source.is_some()).collect();
    let mut problems = Vec::new();
    for package in &foreign {
        problems.extend(check_licence(package, rules));
        problems.extend(check_source(package, rules));
        problems.extend(check_banned(package, rules));
    }
    problems.extend(check_duplicates(&foreign, rules));
    problems.extend(check_skips(&foreign, rules));
    problems
}

fn check_licence(package: &Package, rules: &Rules) -> Option<String> {
    let Some(licence) = &package.license else {
        return Some(format!("{} {} names no licence", package.name, package.version));
    };
    let allowed = |id: &str| rules.licenses.allow.iter().any(|allowed| allowed == id);
    (!Expression::new(licence).holds(&allowed)).then(|| {
        format!(
            "{} {} has the licence {licence}, which deny.toml does not allow",
            package.name, package.version
        )
    })
}

fn check_source(package: &Package, rules: &Rules) -> Option<String> {
    let source = package.source.as_deref().unwrap_or_default();
    let known = rules.sources.allow_registry.iter().any(|registry| {
        source.strip_prefix("registry+").is_some_and(|url| url == registry.as_str())
    });
    (!known)
        .then(|| format!("{} comes from {source}, which deny.toml does not allow", package.name))
}

fn check_banned(package: &Package, rules: &Rules) -> Option<String> {
    let ban = rules.bans.deny.iter().find(|ban| ban.package == package.name)?;
    Some(format!("{} is banned by deny.toml: {}", package.name, ban.reason))
}

fn check_duplicates(packages: &[&Package], rules: &Rules) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        let skipped = rules.bans.skip.iter().any(|skip| names(&skip.package, package));
        if !skipped {
            versions.entry(&package.name).or_default().insert(&package.version);
        }
    }
    versions
        .into_iter()
        .filter(|(_, versions)| versions.len() > 1)
        .map(|(name, versions)| {
            let versions: Vec<&str> = versions.into_iter().collect();
            format!(
                "{name} is here in several versions ({}): agree on one, or skip the older one in \
                 deny.toml with a reason",
                versions.join(", ")
            )
        })
        .collect()
}

/// An exception that nothing needs any more is a lie.
fn check_skips(packages: &[&Package], rules: &Rules) -> Vec<String> {
    let mut problems = Vec::new();
    for skip in &rules.bans.skip {
        if skip.reason.is_empty() {
            problems.push(format!("deny.toml skips {} without a reason", skip.package));
        }
        if !packages.iter().any(|package| names(&skip.package, package)) {
            problems.push(format!("deny.toml skips {}, which is gone: remove it", skip.package));
        }
    }
    problems
}

fn names(skip: &str, package: &Package) -> bool {
    skip.split_once('@').is_some_and(|(name, version)| {
        let longer = package.version.strip_prefix(version);
        name == package.name && longer.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// An SPDX expression; `/` is the old spelling of OR.
struct Expression {
    tokens: Vec<String>,
}

impl Expression {
    fn new(text: &str) -> Self {
        let spaced = text.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
        Self { tokens: spaced.split_whitespace().map(str::to_owned).collect() }
    }

    /// Whether choosing well leaves only allowed licences. What is no expression does not hold.
    fn holds(&self, allowed: &impl Fn(&str) -> bool) -> bool {
        let mut at = 0;
        self.any(&mut at, allowed) && at == self.tokens.len()
    }

    fn token(&self, at: usize) -> &str {
        self.tokens.get(at).map(String::as_str).unwrap_or_default()
    }

    fn any(&self, at: &mut usize, allowed: &impl Fn(&str) -> bool) -> bool {
        let mut holds = self.all(at, allowed);
        while self.token(*at) == "OR" {
            *at += 1;
            let next = self.all(at, allowed);
            holds = holds || next;
        }
        holds
    }

    fn all(&self, at: &mut usize, allowed: &impl Fn(&str) -> bool) -> bool {
        let mut holds = self.one(at, allowed);
        while self.token(*at) == "AND" {
            *at += 1;
            let next = self.one(at, allowed);
            holds = holds && next;
        }
        holds
    }

    fn one(&self, at: &mut usize, allowed: &impl Fn(&str) -> bool) -> bool {
        if self.token(*at) == "(" {
            *at += 1;
            let holds = self.any(at, allowed);
            *at += 1;
            return holds;
        }
        let mut id = self.token(*at).to_owned();
        *at += 1;
        if self.token(*at) == "WITH" {
            id = format!("{id} WITH {}", self.token(*at + 1));
            *at += 2;
        }
        allowed(&id)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RULES: &str = r#"
        [licenses]
        allow = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"]
        [bans]
        skip = [{ crate = "syn@2", reason = "old macros" }]
        deny = [{ crate = "openssl", reason = "rustls is used" }]
        [sources]
        allow-registry = ["https://r"]
    "#;

    fn found(packages: &[(&str, &str, Option<&str>, &str)]) -> Vec<String> {
        let packages: Vec<_> = packages
            .iter()
            .map(|(name, version, license, source)| {
                json!({
                    "id": format!("{name}{version}"), "name": name, "version": version,
                    "license": license, "source": source, "manifest_path": "/x/Cargo.toml",
                    "dependencies": [],
                })
            })
            .collect();
        let document =
            json!({"packages": packages, "workspace_members": [], "resolve": {"nodes": []}});
        let metadata = Metadata::parse(document.to_string().as_bytes()).unwrap();
        check(&metadata, &Rules::parse(RULES).unwrap())
    }

    const R: &str = "registry+https://r";
    const SYN: (&str, &str, Option<&str>, &str) = ("syn", "2.0.1", Some("MIT"), R);

    #[test]
    fn expressions_are_understood() {
        let allowed = |id: &str| ["MIT", "Zlib", "Apache-2.0 WITH LLVM-exception"].contains(&id);
        for (text, holds) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("MIT/GPL-3.0", true),
            ("MIT AND GPL-3.0", false),
            ("(GPL-3.0 OR MIT) AND Zlib", true),
            ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
            ("Apache-2.0", false),
            ("MIT MIT", false),
            ("", false),
            ("(MIT", false),
        ] {
            assert_eq!(Expression::new(text).holds(&allowed), holds, "{text}");
        }
    }

    #[test]
    fn a_good_tree_passes() {
        assert_eq!(
            found(&[SYN, ("syn", "3.0.0", Some("MIT OR GPL-3.0"), R)]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn each_rule_finds_its_breach() {
        for (package, part) in [
            (("a", "1.0.0", Some("GPL-3.0"), R), "has the licence GPL-3.0"),
            (("a", "1.0.0", None, R), "names no licence"),
            (("a", "1.0.0", Some("MIT"), "git+https://g"), "comes from git+https://g"),
            (("openssl", "1.0.0", Some("MIT"), R), "is banned by deny.toml: rustls is used"),
        ] {
            let found = found(&[SYN, package]);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(part), "{found:?}");
        }
        let twice = found(&[SYN, ("a", "1.0.0", Some("MIT"), R), ("a", "2.0.0", Some("MIT"), R)]);
        assert!(twice[0].contains("a is here in several versions (1.0.0, 2.0.0)"), "{twice:?}");
        assert!(found(&[])[0].contains("skips syn@2, which is gone"));
    }
}
