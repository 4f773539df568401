//! `cargo xtask tables`: makes the README's tables of the data that the evidence scripts wrote.
//!
//! Owns: the blocks between `<!-- table: NAME -->` and `<!-- end of table -->`, all of them written
//! or all compared. Never: runs a suite or a load (`tests/evidence` does), keeps a number of its own.
//! Invariant: what stands between the marks is a function of committed files.

mod clients;
mod cluster;
mod perf;
mod suites;

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

const BEGIN: &str = "<!-- table: ";
const END: &str = "<!-- end of table -->";
/// Where the scripts leave their data.
const RESULTS: &str = "tests/evidence/results";

/// Rewrites the tables.
pub(crate) fn write(root: &Path) -> Result<()> {
    let path = root.join("README.md");
    let text = std::fs::read_to_string(&path).context("README.md")?;
    std::fs::write(path, rewritten(&text, |name| table(root, name))?).context("README.md")
}

/// One problem when a table is not what the data says, or the data is not complete.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(root.join("README.md")).context("README.md")?;
    let mut problems = suites::unexplained(root)?;
    if rewritten(&text, |name| table(root, name))? != text {
        problems.push("README.md: a table is stale: `cargo xtask tables` writes it".to_owned());
    }
    Ok(problems)
}

fn table(root: &Path, name: &str) -> Result<String> {
    match name {
        "clients" => clients::render(&results(root, "clients.json")?),
        "suites" => suites::render(root),
        "perf" => perf::speed(&results(root, "perf-fsync.json")?),
        "durability" => perf::durability(
            &results(root, "perf-page-cache.json")?,
            &results(root, "perf-durable.json")?,
            &results(root, "perf-fsync.json")?,
        ),
        "gaps" => cluster::gaps(
            &results(root, "cluster-failover.json")?,
            &results(root, "cluster-handover.json")?,
        ),
        _ => bail!("README.md: there is no table {name}"),
    }
}

fn results(root: &Path, file: &str) -> Result<Value> {
    json(&root.join(RESULTS).join(file))
}

fn json(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

/// `text` with every block replaced by what `table` says.
fn rewritten(text: &str, table: impl Fn(&str) -> Result<String>) -> Result<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(BEGIN) {
        let name_at = at + BEGIN.len();
        let Some(name_len) = rest[name_at..].find(" -->") else { bail!("README.md: {BEGIN} ...") };
        let name = &rest[name_at..name_at + name_len];
        let body_at = name_at + name_len + " -->".len();
        let Some(body_len) = rest[body_at..].find(END) else {
            bail!("README.md: table {name} has no {END}")
        };
        out.push_str(&rest[..body_at]);
        out.push('\n');
        out.push_str(table(name)?.trim_end());
        out.push('\n');
        out.push_str(END);
        rest = &rest[body_at + body_len + END.len()..];
    }
    out.push_str(rest);
    Ok(out)
}

/// A Markdown table.
fn markdown(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n{}|\n", header.join(" | "), "|---".repeat(header.len()));
    for row in rows {
        text.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_replaced_and_the_rest_stays() {
        let made = |name: &str| Ok(format!("made {name}\n"));
        let text = "a\n<!-- table: x -->\nold\n<!-- end of table -->\nb\n";
        let expected = "a\n<!-- table: x -->\nmade x\n<!-- end of table -->\nb\n";
        assert_eq!(rewritten(text, made).unwrap(), expected);
        assert_eq!(rewritten(expected, made).unwrap(), expected, "written once, it is not stale");
        assert_eq!(rewritten("no table", made).unwrap(), "no table");
    }

    #[test]
    fn a_block_without_an_end_or_data_is_told() {
        let open = rewritten("<!-- table: x -->\n", |_| Ok(String::new())).unwrap_err();
        assert!(open.to_string().contains("table x has no"));
        let unknown = table(Path::new("/"), "nothing").unwrap_err().to_string();
        assert_eq!(unknown, "README.md: there is no table nothing");
    }
}
