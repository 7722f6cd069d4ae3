//! The answer to a SHOW command: a table, as RowDescription, DataRows and CommandComplete.
//!
//! Owns: types of columns and the text form of values. Invariant: each row has as many values as
//! there are columns.
//! Source: PostgreSQL documentation, "Message Formats".

use std::borrow::Cow;

use stent_wire::frame::put_message;

/// A column: its name and type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    name: &'static str,
    kind: Kind,
}

/// PostgreSQL's types that tables have here, by their OIDs.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// `text`.
    Text = 25,
    /// `bigint`.
    Whole = 20,
}

/// A column of text.
pub(crate) const fn text(name: &'static str) -> Column {
    Column { name, kind: Kind::Text }
}

/// A column of whole numbers.
pub(crate) const fn whole(name: &'static str) -> Column {
    Column { name, kind: Kind::Whole }
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Text.
    Text(Cow<'static, str>),
    /// A whole number.
    Whole(u64),
    /// None.
    Null,
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Whole(number.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Whole(number as u64)
    }
}

/// A table.
#[derive(Debug)]
pub(crate) struct Table {
    columns: &'static [Column],
    rows: Vec<Vec<Value>>,
}

impl Table {
    /// A table without rows.
    pub(crate) const fn new(columns: &'static [Column]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: Vec<Value>) {
        assert_eq!(row.len(), self.columns.len(), "a row has a value for each column");
        self.rows.push(row);
    }

    /// Appends the messages of the whole answer.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_message(out, b'T', |out| {
            put_count(out, self.columns.len());
            for column in self.columns {
                out.extend_from_slice(column.name.as_bytes());
                out.push(0);
                // Neither a table nor a column of one.
                out.extend_from_slice(&[0; 6]);
                out.extend_from_slice(&(column.kind as u32).to_be_bytes());
                let len: i16 = match column.kind {
                    Kind::Text => -1,
                    Kind::Whole => 8,
                };
                out.extend_from_slice(&len.to_be_bytes());
                // No type modifier, text format.
                out.extend_from_slice(&(-1i32).to_be_bytes());
                out.extend_from_slice(&[0; 2]);
            }
        });
        for row in &self.rows {
            put_message(out, b'D', |out| {
                put_count(out, row.len());
                row.iter().for_each(|value| put_value(out, value));
            });
        }
        put_message(out, b'C', |out| out.extend_from_slice(b"SHOW\0"));
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    let count = u16::try_from(count).expect("a table here has few columns");
    out.extend_from_slice(&count.to_be_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    let number;
    let text = match value {
        Value::Text(text) => text.as_bytes(),
        Value::Whole(whole) => {
            number = whole.to_string();
            number.as_bytes()
        }
        Value::Null => return out.extend_from_slice(&(-1i32).to_be_bytes()),
    };
    let len = i32::try_from(text.len()).expect("no text here is as long as two gigabytes");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(text);
}
