//! Every API file is in the one API table.
//!
//! A handler that exists and is not in the table is never advertised: this finds it.

use super::Problem;
use crate::source::Source;

const TABLE: &str = "broker/src/api.rs";
const FOLDER: &str = "broker/src/api/";
/// The trait that makes a file a handler.
const HANDLER: &str = "ApiHandler for";

pub(super) fn check(sources: &[Source]) -> Vec<Problem> {
    let handlers: Vec<(&Source, &str)> =
        sources.iter().filter_map(|source| Some((source, handler_name(source)?))).collect();
    let Some(table) = sources.iter().find(|source| source.path == TABLE) else {
        let lost = handlers.first().map(|(source, _)| {
            Problem::at(source, 0, format!("there are handlers, and no table in {TABLE}"))
        });
        return lost.into_iter().collect();
    };
    handlers
        .into_iter()
        .filter(|(_, name)| !is_used(table, name))
        .map(|(source, name)| {
            let sentence =
                format!("implements an API that is not in the table of {TABLE}: add {name}");
            Problem::at(source, 0, sentence)
        })
        .collect()
}

/// The module under `api/` that this file belongs to, if it implements an API.
fn handler_name(source: &Source) -> Option<&str> {
    let rest = source.path.strip_prefix(FOLDER)?;
    let implements = source
        .code
        .iter()
        .enumerate()
        .any(|(line, code)| code.contains(HANDLER) && !source.is_test(line));
    let stem = rest.split('/').next().unwrap_or(rest);
    implements.then(|| stem.strip_suffix(".rs").unwrap_or(stem))
}

/// Whether the table mentions something of the module, other than declaring it.
fn is_used(table: &Source, name: &str) -> bool {
    let path = format!("{name}::");
    table.code.iter().any(|code| {
        code.match_indices(&path).any(|(at, _)| {
            let before = code[..at].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(table: Option<&str>) -> usize {
        let mut sources = vec![
            Source::parse("broker/src/api/fetch.rs", "impl ApiHandler for Fetch {}\n"),
            Source::parse("broker/src/api/error.rs", "fn f() {}\n"),
        ];
        sources.extend(table.map(|text| Source::parse(TABLE, text)));
        check(&sources).len()
    }

    #[test]
    fn a_handler_outside_the_table_is_found() {
        assert_eq!(count(Some("mod fetch;\nconst TABLE: &[E] = &[entry(fetch::Fetch)];\n")), 0);
        assert_eq!(count(Some("mod fetch;\nconst TABLE: &[E] = &[];\n")), 1);
        assert_eq!(count(Some("const TABLE: &[E] = &[entry(prefetch::X)]; // fetch::Fetch\n")), 1);
        assert_eq!(count(None), 1);
    }
}
