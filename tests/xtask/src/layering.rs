//! The layers: which crate may use which, and what the pure ones must not have below them.
//!
//! Owns: the allowed arrows of ARCHITECTURE.md. Never: looks at source.
//! Invariant: a crate that is not in the table may use nothing of this workspace.

use crate::metadata::{Metadata, Package};

const PROTOCOL: &str = "ottla-protocol";
const CONFIG: &str = "ottla-config";
const STORAGE: &str = "ottla-storage";
const COORDINATOR: &str = "ottla-coordinator";
const REPLICATION: &str = "ottla-replication";
const BROKER: &str = "ottla-broker";

/// Who may use whom in what is shipped. Crates under `tests/` may use any.
const ARROWS: &[(&str, &[&str])] = &[
    (PROTOCOL, &[]),
    (CONFIG, &[]),
    (STORAGE, &[PROTOCOL, CONFIG]),
    (COORDINATOR, &[PROTOCOL, CONFIG]),
    (REPLICATION, &[PROTOCOL, CONFIG, STORAGE]),
    (BROKER, &[PROTOCOL, CONFIG, STORAGE, COORDINATOR, REPLICATION]),
    ("ottla", &[PROTOCOL, CONFIG, STORAGE, COORDINATOR, REPLICATION, BROKER]),
];

/// Crates without runtime, sockets, clock or chance.
const PURE: &[&str] = &[PROTOCOL, CONFIG, STORAGE, COORDINATOR];

/// What brings a runtime, sockets, a clock or chance along.
const IMPURE: &[&str] = &[
    "async-executor",
    "async-io",
    "async-std",
    "chrono",
    "compio",
    "fastrand",
    "futures-executor",
    "getrandom",
    "hyper",
    "hyper-util",
    "jiff",
    "mio",
    "polling",
    "quanta",
    "rand",
    "rand_core",
    "reqwest",
    "rustls",
    "signal-hook",
    "smol",
    "socket2",
    "time",
    "tokio",
    "tokio-util",
];

/// What comes in through others, cannot be left out, and is harmless: crate, package, reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[];

pub(crate) fn check(metadata: &Metadata) -> Vec<String> {
    let mut problems = Vec::new();
    for member in metadata.members().filter(|member| !is_for_tests(member)) {
        problems.extend(check_arrows(metadata, member));
    }
    for name in PURE {
        let Some(package) = metadata.package(name) else {
            problems.push(format!("{name} is not in the workspace: its layer is unchecked"));
            continue;
        };
        problems.extend(check_purity(metadata, package));
    }
    problems
}

fn is_for_tests(package: &Package) -> bool {
    package.manifest_path.replace('\\', "/").contains("/tests/")
}

fn check_arrows(metadata: &Metadata, member: &Package) -> Vec<String> {
    let allowed = ARROWS.iter().find(|(name, _)| *name == member.name);
    let allowed = allowed.map(|(_, below)| *below).unwrap_or_default();
    let is_member =
        |name: &str| metadata.members().any(|m| m.name == name && m.name != member.name);
    let shipped = member.dependencies.iter().filter(|d| d.kind.as_deref() != Some("dev"));
    shipped
        .filter(|d| is_member(&d.name) && !allowed.contains(&d.name.as_str()))
        .map(|d| {
            format!(
                "{} must not use {}: the arrows of ARCHITECTURE.md point down; pass what it needs \
                 in as an argument, or move it to the layer that has it",
                member.name, d.name
            )
        })
        .collect()
}

fn check_purity(metadata: &Metadata, package: &Package) -> Vec<String> {
    let closure = metadata.normal_closure(package);
    let excepted = |name: &str| EXCEPTIONS.iter().any(|(c, n, _)| *c == package.name && *n == name);
    IMPURE
        .iter()
        .filter(|name| !excepted(name))
        .filter_map(|name| {
            let path = closure.get(*name)?;
            Some(format!(
                "{} must have no runtime, socket, clock or chance below it, and has {name} by {}",
                package.name,
                path.join(" -> ")
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn package(name: &str, folder: &str, uses: &[&str]) -> Value {
        let dependencies: Vec<Value> =
            uses.iter().map(|name| json!({"name": name, "kind": null})).collect();
        json!({
            "id": name, "name": name, "version": "1.0.0", "license": "MIT", "source": null,
            "manifest_path": format!("/r/{folder}/Cargo.toml"), "dependencies": dependencies,
        })
    }

    fn metadata(edges: &[(&str, &[&str])]) -> Metadata {
        let all = [PROTOCOL, CONFIG, STORAGE, COORDINATOR, "harness", "kp", "tokio"];
        let uses = |name: &str| {
            edges.iter().find(|(from, _)| *from == name).map(|(_, to)| *to).unwrap_or_default()
        };
        let folder = |name: &str| if name == "harness" { "tests/harness" } else { "x" }.to_owned();
        let packages: Vec<Value> =
            all.iter().map(|name| package(name, &folder(name), uses(name))).collect();
        let nodes: Vec<Value> = all
            .iter()
            .map(|name| {
                let deps: Vec<Value> = uses(name)
                    .iter()
                    .map(|to| json!({"pkg": to, "dep_kinds": [{"kind": null}]}))
                    .collect();
                json!({"id": name, "deps": deps})
            })
            .collect();
        let members = [PROTOCOL, CONFIG, STORAGE, COORDINATOR, "harness"];
        let document = json!({
            "packages": packages, "workspace_members": members, "resolve": {"nodes": nodes},
        });
        Metadata::parse(document.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn arrows_that_point_down_are_fine() {
        let edges: &[(&str, &[&str])] =
            &[(STORAGE, &[PROTOCOL, CONFIG]), ("harness", &[STORAGE, "tokio"])];
        assert_eq!(check(&metadata(edges)), Vec::<String>::new());
    }

    #[test]
    fn an_arrow_that_points_up_is_found() {
        let found = check(&metadata(&[(PROTOCOL, &[STORAGE])]));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("ottla-protocol must not use ottla-storage"));
    }

    #[test]
    fn a_runtime_is_found_through_others() {
        let found = check(&metadata(&[(PROTOCOL, &["kp"]), ("kp", &["tokio"])]));
        assert_eq!(found.len(), 1);
        assert!(found[0].ends_with("has tokio by ottla-protocol -> kp -> tokio"), "{found:?}");
    }

    #[test]
    fn a_crate_that_left_the_workspace_is_missed() {
        let mut metadata = metadata(&[]);
        metadata.packages.retain(|package| package.name != CONFIG);
        assert!(check(&metadata)[0].contains("ottla-config is not in the workspace"));
    }
}
