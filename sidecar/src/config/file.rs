//! The configuration file: TOML with one key a line, no tables.
//!
//! Owns: reading it, and the line of each value. Refuses: unknown keys, wrong types, files that
//! are too large to be a configuration.
//! Invariant: no line of the file is repeated in a message; the file may hold a password.

use std::io::Read as _;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use toml_edit::{Document, Item, Value};
use zeroize::Zeroizing;

use super::flags::Flags;
use super::keys::{KEYS, Row, row};
use super::problem::{Origin, Problems, shown};
use super::raw::{ConfigFile, Entry, Variables};
use super::suggest;
use super::value::TomlShape;
use super::variables::CONFIG_VARIABLE;

/// Read where no file is named, if it is there.
const USUAL_FILE: &str = "stent.toml";
/// The largest configuration file.
const FILE_MAX: usize = 1 << 20;

/// Finds and reads the file: `--config`, else `STENT_CONFIG` (empty: none), else `./stent.toml`.
pub(crate) fn read(
    flags: &Flags,
    variables: &Variables,
    problems: &mut Problems,
) -> Option<ConfigFile> {
    let (path, origin) = if let Some(path) = flags.config() {
        (path.to_owned(), Origin::Flag("--config".to_owned()))
    } else if let Some(path) = variables.get(CONFIG_VARIABLE) {
        let path = path.to_str().unwrap_or("\u{fffd}").to_owned();
        (path, Origin::Variable(CONFIG_VARIABLE.to_owned()))
    } else {
        (USUAL_FILE.to_owned(), Origin::Default)
    };
    if path.is_empty() || (origin == Origin::Default && !Path::new(&path).exists()) {
        return None;
    }
    match read_text(&path) {
        Ok(text) => Some(ConfigFile { path, text }),
        Err(reason) => {
            problems.add(
                &origin,
                format!("cannot read the file {}: {reason}", shown(&path)),
                "name a readable file, or leave it away",
            );
            None
        }
    }
}

/// Reads a file of at most `longest` bytes. The error is a reason without the path.
pub(crate) fn read_bytes(path: &str, longest: usize) -> Result<Zeroizing<Vec<u8>>, String> {
    let file = std::fs::File::open(path).map_err(|error| reason(&error))?;
    let kind = file.metadata().map_err(|error| reason(&error))?;
    if kind.is_dir() {
        return Err("it is a folder".to_owned());
    }
    let mut bytes = Zeroizing::new(Vec::new());
    let limit = longest as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(|error| reason(&error))?;
    if bytes.len() > longest {
        return Err(format!("it is larger than {longest} bytes"));
    }
    Ok(bytes)
}

fn read_text(path: &str) -> Result<SecretString, String> {
    let bytes = read_bytes(path, FILE_MAX)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| "it is not UTF-8")?;
    Ok(SecretString::from(text))
}

fn reason(error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::NotFound {
        "it does not exist".to_owned()
    } else {
        error.to_string()
    }
}

/// The texts of the file's keys.
pub(crate) fn entries(file: &ConfigFile, problems: &mut Problems) -> Vec<Entry> {
    let text = file.text.expose_secret();
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let line = line_of(text, error.span().map_or(0, |span| span.start));
            let origin = Origin::File { path: file.path.clone(), line };
            // Only the parser's message: its Display form would repeat the line.
            let reason = format!("is not TOML: {}", first_line(error.message()));
            problems.add(&origin, reason, "write lines of the form key = value");
            return Vec::new();
        }
    };
    let mut entries = Vec::new();
    for (name, item) in document.iter() {
        let start = document.key(name).and_then(|key| key.span()).or_else(|| item.span());
        let line = line_of(text, start.map_or(0, |span| span.start));
        let origin = Origin::File { path: file.path.clone(), line };
        entries.extend(entry(name, item, origin, problems));
    }
    entries
}

fn entry(name: &str, item: &Item, origin: Origin, problems: &mut Problems) -> Option<Entry> {
    if item.is_table() || item.is_array_of_tables() {
        let reason = "is a table, and the keys of stent stand in none";
        problems.add(&origin, reason, "write the keys without a [table]");
        return None;
    }
    let Some(row) = row(name) else {
        let plain = name.len() <= 40 && name.bytes().all(|b| b.is_ascii_graphic());
        let named = if plain { format!("{name:?}") } else { "this".to_owned() };
        problems.add(&origin, format!("{named} is not a key of stent"), unknown_mend(name));
        return None;
    };
    let text = match item {
        Item::Value(value) => text_of(row, value),
        Item::None | Item::Table(_) | Item::ArrayOfTables(_) => Err("a table".to_owned()),
    };
    match text {
        Ok(text) => Some(Entry { row, text: SecretString::from(text), origin }),
        Err(found) => {
            let reason = format!("{}: is {found}, which it cannot be", row.name);
            problems.add(&origin, reason, format!("write {}", form(row)));
            None
        }
    }
}

fn unknown_mend(name: &str) -> String {
    match suggest::nearest(name, KEYS.iter().map(|row| row.name)) {
        Some(near) => format!("did you mean {near}?"),
        None => "remove it; `stent help` lists the keys".to_owned(),
    }
}

/// The text of a value, or the TOML type that it wrongly has.
fn text_of(row: &Row, value: &Value) -> Result<String, String> {
    match (row.toml, value) {
        (TomlShape::Integer | TomlShape::Number | TomlShape::Size, Value::Integer(number)) => {
            Ok(number.value().to_string())
        }
        (TomlShape::Number, Value::Float(number)) => Ok(number.value().to_string()),
        (
            TomlShape::Text | TomlShape::Size | TomlShape::List | TomlShape::Switch,
            Value::String(text),
        ) => Ok(text.value().clone()),
        (TomlShape::Switch, Value::Boolean(switch)) => {
            Ok(if *switch.value() { "on" } else { "off" }.to_owned())
        }
        (TomlShape::List, Value::Array(array)) => {
            let parts = array.iter().map(|part| match part.as_str() {
                Some(part) if !part.contains(',') => Ok(part.to_owned()),
                Some(_) => Err("an array with a comma inside a string".to_owned()),
                None => Err("an array of something else than strings".to_owned()),
            });
            Ok(parts.collect::<Result<Vec<_>, _>>()?.join(","))
        }
        (_, other) => Err(format!("a TOML {}", other.type_name())),
    }
}

fn form(row: &Row) -> String {
    let form = match row.toml {
        TomlShape::Integer => "without quotes: ",
        TomlShape::Number => "without quotes: ",
        TomlShape::Text => "in quotes: ",
        TomlShape::Size => "",
        TomlShape::Switch => "true, false or, in quotes, ",
        TomlShape::List => "in quotes or as an array of strings: ",
    };
    format!("{form}{}", row.expects)
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}
