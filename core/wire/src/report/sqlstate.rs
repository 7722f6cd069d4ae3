//! SQLSTATEs by name.
//!
//! Owns: the codes that we send or act upon. Refuses: the meaning of any other code.
//! Invariant: a [`SqlState`] is five of `0-9` and `A-Z`.
//! Source: PostgreSQL documentation, appendix A, "PostgreSQL Error Codes".

/// A five-character error code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// No error: the code of notices.
    pub const SUCCESSFUL_COMPLETION: Self = Self(*b"00000");
    /// Something that may have gone wrong.
    pub const WARNING: Self = Self(*b"01000");
    /// The client cannot connect to the server.
    pub const CANNOT_CONNECT: Self = Self(*b"08001");
    /// The connection to the server is lost.
    pub const CONNECTION_FAILURE: Self = Self(*b"08006");
    /// Something that the protocol does not allow.
    pub const PROTOCOL_VIOLATION: Self = Self(*b"08P01");
    /// A feature or protocol version that is not there.
    pub const FEATURE_NOT_SUPPORTED: Self = Self(*b"0A000");
    /// A parameter's value makes no sense.
    pub const INVALID_PARAMETER_VALUE: Self = Self(*b"22023");
    /// Text that is not in the encoding it must be in.
    pub const CHARACTER_NOT_IN_REPERTOIRE: Self = Self(*b"22021");
    /// idle_in_transaction_session_timeout.
    pub const IDLE_IN_TRANSACTION_TIMEOUT: Self = Self(*b"25P03");
    /// transaction_timeout.
    pub const TRANSACTION_TIMEOUT: Self = Self(*b"25P04");
    /// A command inside a transaction that has failed already.
    pub const IN_FAILED_TRANSACTION: Self = Self(*b"25P02");
    /// Execute or Describe of a prepared statement that does not exist.
    pub const INVALID_STATEMENT_NAME: Self = Self(*b"26000");
    /// No such user, or none given.
    pub const INVALID_AUTHORIZATION: Self = Self(*b"28000");
    /// The password is wrong.
    pub const INVALID_PASSWORD: Self = Self(*b"28P01");
    /// No such database.
    pub const UNDEFINED_DATABASE: Self = Self(*b"3D000");
    /// The role may not do this (at login: has no CONNECT privilege).
    pub const INSUFFICIENT_PRIVILEGE: Self = Self(*b"42501");
    /// Not the form that was asked for.
    pub const SYNTAX_ERROR: Self = Self(*b"42601");
    /// No such parameter.
    pub const UNDEFINED_OBJECT: Self = Self(*b"42704");
    /// Parse with the name of a prepared statement that exists.
    pub const DUPLICATE_STATEMENT: Self = Self(*b"42P05");
    /// All connections are taken.
    pub const TOO_MANY_CONNECTIONS: Self = Self(*b"53300");
    /// A limit of the configuration is reached.
    pub const CONFIGURATION_LIMIT: Self = Self(*b"53400");
    /// Not now: the thing is in the wrong state for it.
    pub const NOT_IN_PREREQUISITE_STATE: Self = Self(*b"55000");
    /// A cancel request, or statement_timeout.
    pub const QUERY_CANCELED: Self = Self(*b"57014");
    /// An administrator ended the connection.
    pub const ADMIN_SHUTDOWN: Self = Self(*b"57P01");
    /// Another process of the server crashed.
    pub const CRASH_SHUTDOWN: Self = Self(*b"57P02");
    /// read_only_sql_transaction.
    pub const READ_ONLY_TRANSACTION: Self = Self(*b"25006");
    /// The server starts, stops or recovers.
    pub const CANNOT_CONNECT_NOW: Self = Self(*b"57P03");
    /// Our own mistake, or the server's.
    pub const INTERNAL_ERROR: Self = Self(*b"XX000");

    /// Reads a code: five of `0-9` and `A-Z`.
    pub fn parse(code: &[u8]) -> Option<Self> {
        let code: [u8; 5] = code.try_into().ok()?;
        let known = code.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
        known.then_some(Self(code))
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("all constructors take ASCII only")
    }
}

impl std::fmt::Display for SqlState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Debug for SqlState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a login that failed with `code` will fail again until somebody changes something:
/// wrong user or password, no such database, no right to it, a parameter that the server refuses.
pub fn is_permanent_login_failure(code: SqlState) -> bool {
    code.0.starts_with(b"28")
        || [
            SqlState::UNDEFINED_DATABASE,
            SqlState::INSUFFICIENT_PRIVILEGE,
            SqlState::UNDEFINED_OBJECT,
            SqlState::INVALID_PARAMETER_VALUE,
            SqlState::FEATURE_NOT_SUPPORTED,
        ]
        .contains(&code)
}
