//! Reading a file of rules, in the form of `pg_hba.conf`.
//!
//! Refuses: opening the file, and passing over anything that it does not understand: a rule that is
//! left out lets in whom it should keep out.
//! Invariant: an error names its line, from 1.

use super::address::{self, Addresses};
use super::fields::{Field, Word, fields};
use super::{
    Database, HBA_LEN_MAX, HbaError, HbaFault, Method, RULES_MAX, Rule, RuleList, Scope, Tls, User,
};
use crate::auth::secret::AuthType;

/// PostgreSQL's methods that are not ours.
const METHODS_NOT_SPOKEN: [&str; 9] =
    ["bsd", "gss", "ident", "ldap", "oauth", "pam", "peer", "radius", "sspi"];

/// Reads a file. `name` is what clients are told of it: not its path.
pub fn parse(name: &str, file: &[u8]) -> Result<RuleList, HbaError> {
    if HBA_LEN_MAX < file.len() {
        return Err(HbaError { line: 1, fault: HbaFault::TooLong });
    }
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let mut rules = Vec::new();
    let mut lines = (1..).zip(file.split(|&byte| byte == b'\n'));
    while let Some((line, bytes)) = lines.next() {
        let failed = |fault| HbaError { line, fault };
        let mut text = text(bytes).map_err(failed)?.to_owned();
        // A backslash at the end has the line go on, as in PostgreSQL 14.
        while text.ends_with('\\') {
            text.pop();
            let Some((_, more)) = lines.next() else { break };
            text.push_str(self::text(more).map_err(failed)?);
        }
        let Some(rule) = rule(line, &text).map_err(failed)? else { continue };
        if rules.len() == RULES_MAX {
            return Err(failed(HbaFault::TooMany));
        }
        rules.push(rule);
    }
    if rules.is_empty() {
        return Err(HbaError { line: 1, fault: HbaFault::NoRules });
    }
    assert!(rules.is_sorted_by_key(Rule::line), "rules keep the order of the file");
    Ok(RuleList { file: name.to_owned(), rules })
}

fn text(line: &[u8]) -> Result<&str, HbaFault> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    std::str::from_utf8(line).map_err(|_| HbaFault::NotUtf8)
}

fn rule(line: usize, text: &str) -> Result<Option<Rule>, HbaFault> {
    let fields = fields(text)?;
    let mut fields = fields.iter();
    let Some(kind) = fields.next() else { return Ok(None) };
    let kind = single(kind, "the kind of rule")?;
    let tls = kind_of(kind)?;
    let databases = fields.next().ok_or(HbaFault::DatabaseMissing)?;
    let databases = databases.iter().map(database).collect::<Result<Vec<_>, _>>()?;
    let users = fields.next().ok_or(HbaFault::UserMissing)?;
    let users = users.iter().map(user).collect::<Result<Vec<_>, _>>()?;
    assert!(!databases.is_empty() && !users.is_empty(), "a field has a word");
    let scope = match tls {
        None => Scope::Local,
        Some(tls) => Scope::Tcp { tls, from: addresses(&mut fields)? },
    };
    let method = method(single(fields.next().ok_or(HbaFault::MethodMissing)?, "the method")?)?;
    if let Some(word) = fields.next().and_then(|field| field.first()) {
        let name = word.text.split('=').next().unwrap_or_default();
        return Err(HbaFault::Option { text: name.to_owned() });
    }
    let by_certificate = method == Method::Ask(AuthType::Cert);
    if by_certificate && tls != Some(Tls::Only) {
        return Err(HbaFault::CertWithoutTls { kind: kind.text.clone() });
    }
    Ok(Some(Rule { line, scope, databases, users, method }))
}

fn single<'a>(field: &'a Field, what: &'static str) -> Result<&'a Word, HbaFault> {
    match field.as_slice() {
        [word] => Ok(word),
        _ => Err(HbaFault::List { what }),
    }
}

/// What the rule's first word says of TLS; `None`: it is for the unix socket.
fn kind_of(word: &Word) -> Result<Option<Tls>, HbaFault> {
    let text = word.text.clone();
    match word.keyword().unwrap_or_default() {
        "local" => Ok(None),
        "host" => Ok(Some(Tls::Either)),
        "hostssl" => Ok(Some(Tls::Only)),
        "hostnossl" => Ok(Some(Tls::Never)),
        "hostgssenc" | "hostnogssenc" => Err(HbaFault::Gss { kind: text }),
        "include" | "include_if_exists" | "include_dir" => Err(HbaFault::Include { text }),
        _ => Err(HbaFault::Kind { text }),
    }
}

fn database(word: &Word) -> Result<Database, HbaFault> {
    match word.keyword() {
        Some("all") => Ok(Database::All),
        Some("sameuser") => Ok(Database::SameUser),
        Some("replication") => Ok(Database::Replication),
        Some(text @ ("samerole" | "samegroup")) => {
            Err(HbaFault::SameRole { text: text.to_owned() })
        }
        Some(_) | None => name(word).map(Database::Named),
    }
}

fn user(word: &Word) -> Result<User, HbaFault> {
    match word.keyword() {
        Some("all") => Ok(User::All),
        Some(text) if text.starts_with('+') => Err(HbaFault::Group { text: text.to_owned() }),
        Some(_) | None => name(word).map(User::Named),
    }
}

fn name(word: &Word) -> Result<String, HbaFault> {
    let text = word.text.clone();
    if word.keyword().is_some_and(|bare| bare.starts_with('@')) {
        return Err(HbaFault::Include { text });
    }
    // Quotes make no difference to PostgreSQL here.
    if text.starts_with('/') { Err(HbaFault::Regex { text }) } else { Ok(text) }
}

fn addresses<'a>(fields: &mut impl Iterator<Item = &'a Field>) -> Result<Addresses, HbaFault> {
    let field = fields.next().ok_or(HbaFault::AddressMissing)?;
    let word = single(field, "the address")?;
    let text = &word.text;
    match word.keyword() {
        Some("all") => return Ok(Addresses::All),
        Some("samehost" | "samenet") => return Err(HbaFault::SameHost { text: text.clone() }),
        Some(_) | None => {}
    }
    if let Some(range) = Addresses::cidr(text) {
        return range;
    }
    let network = address::host(text)?;
    let bits = if network.is_ipv4() { 32 } else { 128 };
    let missing = || HbaFault::MaskMissing { address: network.to_string(), bits };
    let mask = single(fields.next().ok_or_else(missing)?, "the mask")?;
    if method(mask).is_ok() {
        return Err(missing());
    }
    Addresses::masked(network, &mask.text)
}

fn method(word: &Word) -> Result<Method, HbaFault> {
    let text = &word.text;
    Ok(match text.as_str() {
        "trust" => Method::Ask(AuthType::Trust),
        "reject" => Method::Reject,
        "password" => Method::Ask(AuthType::Password),
        "md5" => Method::Ask(AuthType::Md5),
        "scram-sha-256" => Method::Ask(AuthType::ScramSha256),
        "cert" => Method::Ask(AuthType::Cert),
        other if METHODS_NOT_SPOKEN.contains(&other) => {
            return Err(HbaFault::MethodUnsupported { text: text.clone() });
        }
        _ => return Err(HbaFault::Method { text: text.clone() }),
    })
}
