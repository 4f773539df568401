//! The table of scripted clients, from `tests/compat/run --out`.
//!
//! Owns: its columns. Never: knows a client.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::markdown;

/// Cases in the order of the columns; one that no client has is left out.
const CASES: &[&str] = &[
    "produce-consume",
    "codecs",
    "idempotent",
    "rebalance",
    "cooperative",
    "static-member",
    "seek",
    "commits",
    "admin",
    "restart",
];

pub(super) fn render(data: &Value) -> Result<String> {
    let results = data["results"].as_array().context("clients.json: results")?;
    // In the order of the runs, which is that of the runner's list.
    let mut clients: Vec<(String, String)> = Vec::new();
    let mut verdicts: BTreeMap<(&str, &str), bool> = BTreeMap::new();
    for result in results {
        let text = |field: &str| result[field].as_str().unwrap_or_default();
        let client = (text("client").to_owned(), text("version").to_owned());
        if !clients.contains(&client) {
            clients.push(client);
        }
        verdicts.insert((text("client"), text("case")), result["ok"] == Value::Bool(true));
    }
    let used: Vec<&str> = CASES
        .iter()
        .copied()
        .filter(|case| verdicts.keys().any(|(_, verdict)| verdict == case))
        .collect();
    let rows: Vec<Vec<String>> = clients
        .iter()
        .map(|(client, version)| {
            let cells = used.iter().map(|case| match verdicts.get(&(client.as_str(), *case)) {
                Some(true) => "yes".to_owned(),
                Some(false) => "**no**".to_owned(),
                None => String::new(),
            });
            [client.clone(), version.clone()].into_iter().chain(cells).collect()
        })
        .collect();
    let names: Vec<String> = used.iter().map(|case| case.replace('-', " ")).collect();
    let header: Vec<&str> =
        ["client", "version"].into_iter().chain(names.iter().map(String::as_str)).collect();
    Ok(markdown(&header, &rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_failed_case_shows() {
        let data = json!({"results": [
            {"client": "kcat", "version": "1", "case": "seek", "ok": true},
            {"client": "kcat", "version": "1", "case": "codecs", "ok": false},
            {"client": "java", "version": "2", "case": "seek", "ok": true},
        ]});
        let expected = "| client | version | codecs | seek |\n|---|---|---|---|\n\
                        | kcat | 1 | **no** | yes |\n| java | 2 |  | yes |\n";
        assert_eq!(render(&data).unwrap(), expected);
    }
}
