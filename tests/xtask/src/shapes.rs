//! Writes `protocol/src/guard/shapes.rs`: the shape of every request, for the guard to walk.
//!
//! Owns: reading Kafka's message definitions (JSON, kept outside this repository) and printing
//! the table. Never: decides how a shape is checked. Invariant: the file's header carries a hash
//! of the rest, so an edit by hand is found without the definitions.
//!
//! `cargo xtask shapes --definitions DIR [--check]`: writes the table, or compares it. `--check`
//! without definitions compares the hash alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

const TARGET: &str = "protocol/src/guard/shapes.rs";

/// Stands for a version range without an end.
const OPEN: i16 = i16::MAX;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Definition {
    api_key: Option<i16>,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    valid_versions: String,
    #[serde(default = "none")]
    flexible_versions: String,
    #[serde(default)]
    fields: Vec<Field>,
    #[serde(default)]
    common_structs: Vec<CommonStruct>,
}

fn none() -> String {
    "none".to_owned()
}

#[derive(Deserialize)]
struct CommonStruct {
    name: String,
    fields: Vec<Field>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Field {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    versions: Option<String>,
    nullable_versions: Option<String>,
    tagged_versions: Option<String>,
    tag: Option<u8>,
    #[serde(default)]
    fields: Vec<Field>,
}

/// Runs the task with the arguments after its name, in the repository's root.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let mut definitions = None;
    let mut check = false;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--definitions" => {
                definitions =
                    Some(PathBuf::from(args.next().context("--definitions needs a DIR")?));
            }
            "--check" => check = true,
            other => bail!("shapes does not know {other}; it takes --definitions DIR and --check"),
        }
    }
    let expected = definitions.as_deref().map(generate).transpose()?;
    if check {
        let found = std::fs::read_to_string(TARGET).with_context(|| format!("reading {TARGET}"))?;
        verify_hash(&found)?;
        ensure!(
            expected.is_none_or(|expected| expected == found),
            "{TARGET} is stale; run `cargo xtask shapes --definitions DIR`"
        );
        return Ok(());
    }
    let expected = expected.context("--definitions DIR says where Kafka's definitions are")?;
    std::fs::write(TARGET, expected).with_context(|| format!("writing {TARGET}"))
}

/// Checks that the table is as it was generated.
pub(crate) fn verify_hash(text: &str) -> Result<()> {
    let (head, body) = text.split_once("\n\n").context("the table has no header")?;
    let stated = head.lines().find_map(|line| line.strip_prefix("//! Hash of what follows: "));
    ensure!(
        stated == Some(format!("{:016x}.", hash(body)).as_str()),
        "{TARGET} was edited by hand; change the generator (tests/xtask/src/shapes.rs) instead"
    );
    Ok(())
}

/// FNV-1a: no secret is guarded here, a slip is.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn generate(definitions: &Path) -> Result<String> {
    let mut requests = BTreeMap::new();
    let folder = definitions.join("wire");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if !path.to_string_lossy().ends_with("Request.json") {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        let definition = parse(&text).with_context(|| format!("{}", path.display()))?;
        if definition.kind == "request" && definition.valid_versions != "none" {
            let key = definition.api_key.context("a request has an API key")?;
            requests.insert(key, definition);
        }
    }
    ensure!(!requests.is_empty(), "{} has no requests", folder.display());
    let mut printer = Printer::default();
    for (key, definition) in &requests {
        printer.request(*key, definition)?;
    }
    Ok(printer.finish())
}

/// The definitions are JSON with comments on lines of their own.
fn parse(text: &str) -> Result<Definition> {
    let json: Vec<&str> =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    Ok(serde_json::from_str(&json.join("\n"))?)
}

fn range(text: &str) -> Result<Option<(i16, i16)>> {
    if text == "none" {
        return Ok(None);
    }
    Ok(Some(match (text.strip_suffix('+'), text.split_once('-')) {
        (Some(from), _) => (from.parse()?, OPEN),
        (None, Some((from, to))) => (from.parse()?, to.parse()?),
        (None, None) => (text.parse()?, text.parse()?),
    }))
}

#[derive(Default)]
struct Printer {
    structs: String,
    requests: String,
}

/// The fields a struct's name stands for.
type Structs<'a> = BTreeMap<&'a str, &'a [Field]>;

impl Printer {
    fn request(&mut self, key: i16, definition: &Definition) -> Result<()> {
        let name = definition.name.trim_end_matches("Request");
        let (from, to) = range(&definition.valid_versions)?.context("valid versions")?;
        let flexible = range(&definition.flexible_versions)?.map_or(OPEN, |(from, _)| from);
        let structs: Structs<'_> =
            definition.common_structs.iter().map(|s| (s.name.as_str(), &s.fields[..])).collect();
        let mut done = BTreeMap::new();
        let root = constant(name, "");
        self.structure(&root, name, &definition.fields, &structs, &mut done)?;
        writeln!(
            self.requests,
            "    r({key}, \"{name}\", {from}, {to}, {}, &{root}),",
            version(flexible)
        )?;
        Ok(())
    }

    /// Prints a struct after those it holds; gives what it takes in memory.
    fn structure(
        &mut self,
        constant_name: &str,
        message: &str,
        fields: &[Field],
        structs: &Structs<'_>,
        done: &mut BTreeMap<String, usize>,
    ) -> Result<usize> {
        // Unknown tagged fields are kept in a map of their own.
        let mut memory = 24;
        let mut items = Vec::new();
        for field in fields {
            let (element, array) = match field.kind.strip_prefix("[]") {
                Some(element) => (element, true),
                None => (field.kind.as_str(), false),
            };
            let (mut kind, size) = match element {
                "bool" | "int8" => ("B1".to_owned(), 8),
                "int16" | "uint16" => ("B2".to_owned(), 8),
                "int32" | "uint32" => ("B4".to_owned(), 8),
                "int64" | "float64" => ("B8".to_owned(), 8),
                "uuid" => ("B16".to_owned(), 16),
                "string" => ("STR".to_owned(), 32),
                "bytes" | "records" => ("BYTES".to_owned(), 32),
                name => {
                    let nested = constant(message, name);
                    let size = match done.get(&nested) {
                        Some(&size) => size,
                        None => {
                            let fields = if field.fields.is_empty() {
                                structs.get(name).copied().with_context(|| format!("no {name}"))?
                            } else {
                                &field.fields
                            };
                            let size = self.structure(&nested, message, fields, structs, done)?;
                            done.insert(nested.clone(), size);
                            size
                        }
                    };
                    (format!("S(&{nested})"), size)
                }
            };
            if array {
                kind = format!("A(&{kind})");
            }
            memory += if array { 24 } else { size };
            items.push(item(field, &kind).with_context(|| field.name.clone())?);
        }
        let one = format!("const {constant_name}: Struct = s({memory}, &[{}]);", items.join(", "));
        if one.len() <= 100 {
            writeln!(self.structs, "{one}")?;
            return Ok(memory);
        }
        writeln!(self.structs, "const {constant_name}: Struct = s({memory}, &[")?;
        let mut line = String::from("   ");
        for item in items {
            if line.len() + item.len() + 2 > 100 {
                writeln!(self.structs, "{line}")?;
                line = String::from("   ");
            }
            write!(line, " {item},")?;
        }
        writeln!(self.structs, "{line}\n]);")?;
        Ok(memory)
    }

    fn finish(self) -> String {
        let body = format!(
            "use super::shape::{{A, B1, B2, B4, B8, B16, BYTES, M, S, STR}};\n\
             use super::shape::{{Request, Struct, f, n, r, s, t, u}};\n\
             \n{}\n\
             /// Every request that has versions, in the order of the keys.\n\
             pub(super) const REQUESTS: &[Request] = &[\n{}];\n",
            self.structs, self.requests
        );
        format!(
            "//! The shape of every request by version, for the guard to walk.\n\
             //!\n\
             //! Owns: facts of Kafka's message definitions. Never: edited by hand; it is written by\n\
             //! `cargo xtask shapes`, and the hash is checked. Invariant: sorted by API key.\n\
             //! Hash of what follows: {:016x}.\n\n{body}",
            hash(&body)
        )
    }
}

/// `f(from, to, kind)`; `n` with the versions in which it may be null; `t` with a tag; `u` both.
fn item(field: &Field, kind: &str) -> Result<String> {
    let versions = match (&field.tagged_versions, &field.versions) {
        (Some(tagged), _) => tagged,
        (None, Some(versions)) => versions,
        (None, None) => bail!("a field has no versions"),
    };
    let (from, to) = range(versions)?.context("a field in no version")?;
    let to = version(to);
    let nullable = field.nullable_versions.as_deref().map(range).transpose()?.flatten();
    Ok(match (field.tag, nullable) {
        (None, None) => format!("f({from}, {to}, {kind})"),
        (None, Some((a, b))) => format!("n({from}, {to}, {a}, {}, {kind})", version(b)),
        (Some(tag), None) => format!("t({tag}, {from}, {to}, {kind})"),
        (Some(tag), Some((a, b))) => {
            format!("u({tag}, {from}, {to}, {a}, {}, {kind})", version(b))
        }
    })
}

fn version(version: i16) -> String {
    if version == OPEN { "M".to_owned() } else { version.to_string() }
}

/// `FETCH`, `FETCH_FETCH_TOPIC`.
fn constant(message: &str, structure: &str) -> String {
    let mut out = String::new();
    for name in [message, structure].into_iter().filter(|name| !name.is_empty()) {
        for (index, letter) in name.chars().enumerate() {
            if letter.is_ascii_uppercase() && (index > 0 || !out.is_empty()) {
                out.push('_');
            }
            out.push(letter.to_ascii_uppercase());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(range("none").unwrap(), None);
        assert_eq!(range("3").unwrap(), Some((3, 3)));
        assert_eq!(range("3-7").unwrap(), Some((3, 7)));
        assert_eq!(range("3+").unwrap(), Some((3, OPEN)));
    }

    #[test]
    fn an_edited_table_is_found() {
        let text = Printer::default().finish();
        verify_hash(&text).unwrap();
        verify_hash(&text.replace("order", "other")).unwrap_err();
    }

    #[test]
    fn the_table_of_this_repository_was_not_edited() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        verify_hash(&std::fs::read_to_string(root.join(TARGET)).unwrap()).unwrap();
    }
}
