//! Values of the publishers: CloudWatch's namespace, region, endpoint and dimensions.
//!
//! Owns: the limits that Amazon sets on them (CloudWatch API reference, PutMetricData, Dimension).
//! Invariant: a value that passes here is never refused by CloudWatch for its form.

use super::value::{KeyType, TomlShape};

/// A CloudWatch namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace(pub String);

impl KeyType for Namespace {
    const TOML: TomlShape = TomlShape::Text;
    const EXPECTS: &'static str =
        "1 to 255 letters, digits or any of .-_/#: that begin with neither AWS/ nor a colon";
    fn parse(text: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_/#:".contains(c);
        match text {
            "" => Err("is empty".to_owned()),
            _ if text.len() > 255 => Err("is longer than 255 characters".to_owned()),
            _ if text.starts_with("AWS/") => Err("begins with AWS/, which is Amazon's".to_owned()),
            _ if text.starts_with(':') => Err("begins with a colon".to_owned()),
            _ if !text.chars().all(allowed) => Err("holds a character not allowed".to_owned()),
            _ => Ok(Self(text.to_owned())),
        }
    }
    fn show(&self) -> String {
        self.0.clone()
    }
}

/// An AWS region; `None` (written empty): what the environment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region(pub Option<String>);

impl KeyType for Region {
    const TOML: TomlShape = TomlShape::Text;
    const EXPECTS: &'static str = "a region such as eu-central-1, or nothing to take AWS_REGION";
    fn parse(text: &str) -> Result<Self, String> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if text.len() > 64 || !text.bytes().all(allowed) {
            return Err("is not the name of a region".to_owned());
        }
        Ok(Self((!text.is_empty()).then(|| text.to_owned())))
    }
    fn show(&self) -> String {
        self.0.clone().unwrap_or_default()
    }
}

/// The name of an environment variable; `None` (written empty): none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariableName(pub Option<String>);

impl KeyType for VariableName {
    const TOML: TomlShape = TomlShape::Text;
    const EXPECTS: &'static str = "the name of an environment variable such as GIT_SHA, or nothing";
    fn parse(text: &str) -> Result<Self, String> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if text.len() > 64 || !text.bytes().all(allowed) {
            return Err("is not the name of a variable".to_owned());
        }
        Ok(Self((!text.is_empty()).then(|| text.to_owned())))
    }
    fn show(&self) -> String {
        self.0.clone().unwrap_or_default()
    }
}

/// An HTTP endpoint in place of Amazon's; `None` (written empty): Amazon's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointUrl(pub Option<String>);

impl KeyType for EndpointUrl {
    const TOML: TomlShape = TomlShape::Text;
    const EXPECTS: &'static str = "http://host:port or https://host, or nothing for Amazon's own";
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        match rest {
            None => Err("does not begin with http:// or https://".to_owned()),
            Some("") => Err("names no host".to_owned()),
            Some(rest) if rest.contains('@') => Err("holds credentials".to_owned()),
            Some(rest) if rest.contains(|c: char| c.is_whitespace() || c.is_control()) => {
                Err("holds a space".to_owned())
            }
            Some(_) => Ok(Self(Some(text.to_owned()))),
        }
    }
    fn show(&self) -> String {
        self.0.clone().unwrap_or_default()
    }
}

/// Dimensions on every published metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dimensions(pub Vec<(String, String)>);

/// The most dimensions of our own. CloudWatch takes 30; pools and targets need the rest.
const DIMENSIONS_MAX: usize = 20;

impl KeyType for Dimensions {
    const TOML: TomlShape = TomlShape::List;
    const EXPECTS: &'static str = "name=value pairs with commas between them, such as \
                                   ServiceName=orders,Stage=prod";
    fn parse(text: &str) -> Result<Self, String> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or("holds a part without =")?;
            check_text(name, 255)?;
            check_text(value, 1_024)?;
            if name.starts_with(':') {
                return Err("holds a name that begins with a colon".to_owned());
            }
            if pairs.iter().any(|(known, _)| known == name) {
                return Err("holds a name twice".to_owned());
            }
            pairs.push((name.to_owned(), value.to_owned()));
        }
        if pairs.len() > DIMENSIONS_MAX {
            return Err(format!("has more than {DIMENSIONS_MAX} pairs"));
        }
        Ok(Self(pairs))
    }
    fn show(&self) -> String {
        let pair = |(name, value): &(String, String)| format!("{name}={value}");
        self.0.iter().map(pair).collect::<Vec<_>>().join(",")
    }
}

/// ASCII, visible, not blank: Amazon's rule for the names and values of dimensions.
fn check_text(text: &str, longest: usize) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("holds an empty name or value".to_owned());
    }
    if text.len() > longest {
        return Err(format!("holds a name or value over {longest} characters"));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return Err("holds a character that is not visible ASCII".to_owned());
    }
    Ok(())
}
