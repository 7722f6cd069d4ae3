//! The fields of a line: lists of words between blanks, quotes undone.
//!
//! Owns: blanks, commas, quotes and comments. Refuses: what a word means.
//! Invariant: a word that begins with a quote is a name and never a keyword.
//! Source: PostgreSQL, `next_token` and `next_field_expand` in `hba.c`.

use super::HbaFault;

/// A word of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Its text, without quotes.
    pub(super) text: String,
    /// Whether it begins with a quote.
    pub(super) form: Form,
}

/// How a word is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Without a quote: it may be a keyword.
    Bare,
    /// With one.
    Quoted,
}

impl Word {
    /// The text of a word that may be a keyword.
    pub(super) fn keyword(&self) -> Option<&str> {
        (self.form == Form::Bare).then_some(&*self.text)
    }
}

/// The words of a field; at least one.
pub(super) type Field = Vec<Word>;

/// Takes a line apart.
pub(super) fn fields(line: &str) -> Result<Vec<Field>, HbaFault> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() || rest.starts_with('#') {
            return Ok(fields);
        }
        let mut field = Field::new();
        loop {
            let (word, after) = word(rest)?;
            field.push(word);
            // A comma that touches its word has the field go on behind blanks, too.
            match after.strip_prefix(',') {
                Some(more) => rest = more.trim_ascii_start(),
                None => {
                    rest = after;
                    break;
                }
            }
        }
        assert!(!field.is_empty(), "a field has a word");
        fields.push(field);
    }
}

/// Takes a word off the front of a text that begins with neither a blank nor a comment.
fn word(text: &str) -> Result<(Word, &str), HbaFault> {
    assert!(!text.starts_with(|c: char| c.is_ascii_whitespace()), "blanks were passed over");
    let form = if text.starts_with('"') { Form::Quoted } else { Form::Bare };
    let mut word = String::new();
    let mut quote = Form::Bare;
    let mut chars = text.char_indices().peekable();
    let end = loop {
        match (chars.next(), quote) {
            (None, Form::Bare) => break text.len(),
            (None, Form::Quoted) => return Err(HbaFault::Unterminated),
            (Some((_, '"')), Form::Bare) => quote = Form::Quoted,
            // Twice inside quotes is one.
            (Some((_, '"')), Form::Quoted) => match chars.next_if(|(_, next)| *next == '"') {
                Some(_) => word.push('"'),
                None => quote = Form::Bare,
            },
            (Some((at, c)), Form::Bare) if c.is_ascii_whitespace() || c == ',' || c == '#' => {
                break at;
            }
            (Some((_, c)), Form::Bare | Form::Quoted) => word.push(c),
        }
    };
    if word.is_empty() {
        return Err(if form == Form::Quoted { HbaFault::EmptyName } else { HbaFault::Comma });
    }
    Ok((Word { text: word, form }, &text[end..]))
}
