//! Percent-encoding of the parts of a database URL.
//!
//! Invariant: `decoded(encoded(text))` is `text` for every text without a NUL byte.
//! Source: RFC 3986, section 2.1.

use std::fmt::Write as _;

use super::url::UrlError;

/// Percent-encodes all but RFC 3986's unreserved characters and `*`, which is a delimiter nowhere.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~*".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a string takes everything");
        }
    }
    out
}

/// Undoes [`encoded`], as far as it was done.
pub(crate) fn decoded(text: &str) -> Result<String, UrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2).ok_or(UrlError::Percent)?;
        let digits = std::str::from_utf8(digits).map_err(|_| UrlError::Percent)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(UrlError::Percent);
        }
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| UrlError::Percent)?);
        rest = after;
    }
    if bytes.contains(&0) {
        return Err(UrlError::Nul);
    }
    String::from_utf8(bytes).map_err(|_| UrlError::Percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded_to_itself() {
        let all: String = (1..=0x2ff).filter_map(char::from_u32).collect();
        assert_eq!(decoded(&encoded(&all)), Ok(all));
    }

    #[test]
    fn delimiters_of_a_url_are_encoded() {
        assert_eq!(encoded("a:/?#[]@%& =+"), "a%3A%2F%3F%23%5B%5D%40%25%26%20%3D%2B");
    }
}
