//! What can be wrong with a file of rules.
//!
//! Invariant: each text is a reason, a semicolon and a mend.

use super::{HBA_LEN_MAX, RULES_MAX};

/// A file that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct HbaError {
    /// Where, from 1.
    pub line: usize,
    /// What.
    pub fault: HbaFault,
}

/// What is wrong with a line, and the mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HbaFault {
    /// No range of addresses.
    #[error("{text:?} is no range of addresses; write one such as 10.0.0.0/8, ::1/128 or all")]
    Address {
        /// What stands there.
        text: String,
    },
    /// A rule of TCP without addresses.
    #[error("the rule has no address; write one such as 10.0.0.0/8, or all, before the method")]
    AddressMissing,
    /// `cert` where there may be no certificate.
    #[error("cert is for TLS only; write hostssl in place of {kind}")]
    CertWithoutTls {
        /// The rule's first word.
        kind: String,
    },
    /// A comma that follows nothing.
    #[error("a comma stands where a word should; write lists as a,b with no blank before a comma")]
    Comma,
    /// A rule without databases.
    #[error("the rule names no database; write all, or their names, behind the first word")]
    DatabaseMissing,
    /// A quoted name with nothing in it.
    #[error("a name is empty; write it between the quotes, or all without quotes")]
    EmptyName,
    /// `+group`.
    #[error(
        "{text:?} is a group, and the proxy does not know who is in it; list the users, or write \
         the name in quotes if it begins with a plus"
    )]
    Group {
        /// What stands there.
        text: String,
    },
    /// GSSAPI.
    #[error("{kind} is about GSSAPI encryption, which Stent does not speak; write host or hostssl")]
    Gss {
        /// The rule's first word.
        kind: String,
    },
    /// A host name.
    #[error("{text:?} is no address, and names are not resolved here; write the address")]
    HostName {
        /// What stands there.
        text: String,
    },
    /// Another file.
    #[error("{text:?} would include another file, which is not read; copy what it holds into here")]
    Include {
        /// What stands there.
        text: String,
    },
    /// No kind of rule.
    #[error("{text:?} is no kind of rule; begin with local, host, hostssl or hostnossl")]
    Kind {
        /// What stands there.
        text: String,
    },
    /// Several words where one must be.
    #[error("{what} is a list; write one, and a rule for each of the others")]
    List {
        /// Which field.
        what: &'static str,
    },
    /// An IPv4 address in IPv6's clothes.
    #[error("{text:?} stands for an IPv4 address; write it as such")]
    Mapped {
        /// What stands there.
        text: String,
    },
    /// A mask that is none.
    #[error("{text:?} is no mask of that address; write the range as ADDRESS/BITS")]
    Mask {
        /// What stands there.
        text: String,
    },
    /// An address alone.
    #[error("{address} has no mask; write {address}/{bits} for this address alone")]
    MaskMissing {
        /// The address.
        address: String,
        /// All bits of it.
        bits: u32,
    },
    /// No method.
    #[error(
        "{text:?} is no method; write trust, reject, password, md5, scram-sha-256 or cert, in small \
         letters"
    )]
    Method {
        /// What stands there.
        text: String,
    },
    /// A rule without method.
    #[error("the rule has no method; end it with trust, reject, scram-sha-256 or another")]
    MethodMissing,
    /// A method that PostgreSQL has.
    #[error(
        "the method {text} is not spoken; write trust, reject, password, md5, scram-sha-256 or cert"
    )]
    MethodUnsupported {
        /// Which.
        text: String,
    },
    /// No rule at all.
    #[error("there is no rule, so nobody could log in; write one such as: host all all all md5")]
    NoRules,
    /// Bytes that are not UTF-8.
    #[error("the line is not UTF-8; convert the file")]
    NotUtf8,
    /// Something behind the method.
    #[error("the option {text:?} is not supported; remove it, or the rule")]
    Option {
        /// Its name, or what stands there.
        text: String,
    },
    /// A regular expression.
    #[error("{text:?} is a regular expression to PostgreSQL 16, and is not read; list the names")]
    Regex {
        /// What stands there.
        text: String,
    },
    /// `samehost`, `samenet`.
    #[error("{text} is not supported; write the range of addresses")]
    SameHost {
        /// Which.
        text: String,
    },
    /// `samerole`, `samegroup`.
    #[error("{text} asks who is in a group, which the proxy does not know; list the users")]
    SameRole {
        /// Which.
        text: String,
    },
    /// The file is longer than [`HBA_LEN_MAX`].
    #[error("the file is longer than {HBA_LEN_MAX} bytes; join rules into lists of names")]
    TooLong,
    /// More than [`RULES_MAX`].
    #[error("there are more than {RULES_MAX} rules; join rules into lists of names")]
    TooMany,
    /// A quote without its end.
    #[error("a quoted name does not end on its line; write a quote inside it twice (\"\")")]
    Unterminated,
    /// A rule without users.
    #[error("the rule names no user; write all, or their names, behind the databases")]
    UserMissing,
}
