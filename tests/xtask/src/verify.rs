//! `cargo xtask verify`: every check that needs no test run. It never writes a file.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::metadata::Metadata;
use crate::steps::{Steps, cargo};
use crate::{layering, licences, reference, shapes, tables, tidy};

pub(crate) fn run(root: &Path) -> Result<()> {
    let mut steps = Steps::default();
    steps.check("tidy", || tidy::check(root));
    steps.check("layering", || Ok(layering::check(&Metadata::load(root)?)));
    steps.check("licences", || {
        Ok(licences::check(&Metadata::load(root)?, &licences::Rules::load(root)?))
    });
    steps.check("config reference", || reference::check(root));
    steps.check("tables", || tables::check(root));
    steps.check("shapes", || {
        let stale = shapes::run(&["--check".to_owned()]).err();
        Ok(stale.map(|error| format!("{error:#}")).into_iter().collect())
    });
    steps.command("format", &mut cargo(root, &["fmt", "--all", "--check"]));
    steps.command("clippy", clippy(root).arg("-Dwarnings"));
    steps.command("docs", docs(root).env("RUSTDOCFLAGS", "-Dwarnings"));
    steps.finish()
}

fn clippy(root: &Path) -> Command {
    cargo(root, &["clippy", "--locked", "--workspace", "--all-targets", "--quiet", "--"])
}

/// Finds links that lead nowhere; what it writes stays under `target`.
fn docs(root: &Path) -> Command {
    cargo(root, &["doc", "--locked", "--workspace", "--no-deps", "--quiet"])
}
