//! The types of configuration values: how each is written, read and shown.
//!
//! Owns: the parsers of numbers, times, sizes, switches and lists. Refuses: where a value came
//! from, and what values mean together. The types that name places are in `address`, those of the
//! publishers in `publish`.
//! Invariant: `parse(show(v))` gives `v` again; a reason never repeats the value.

use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use stent_proxy::config::{AuthMethod, PoolMode, PortUse, StatementCache, TlsMode, WORKERS_MAX};
use stent_wire::inspect::{Cause, Causes};

/// How a value is written in TOML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TomlShape {
    /// A whole number.
    Integer,
    /// A number, whole or not.
    Number,
    /// A string.
    Text,
    /// A whole number or a string.
    Size,
    /// `true`, `false` or a string.
    Switch,
    /// A string with commas, or an array of strings.
    List,
}

/// A type of configuration value.
pub trait KeyType: Sized {
    /// Its form in TOML.
    const TOML: TomlShape;
    /// What is expected, to follow the word "write".
    const EXPECTS: &'static str;
    /// Reads the text; the error is the reason, to follow the value and a colon.
    fn parse(text: &str) -> Result<Self, String>;
    /// The canonical spelling, with no secret in it.
    fn show(&self) -> String;
}

/// A whole number, 0 included.
fn whole(text: &str) -> Result<u32, String> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err("is not a whole number".to_owned());
    }
    text.parse().map_err(|_| format!("is more than {}", u32::MAX))
}

impl KeyType for u32 {
    const TOML: TomlShape = TomlShape::Integer;
    const EXPECTS: &'static str = "a whole number";
    fn parse(text: &str) -> Result<Self, String> {
        whole(text)
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl KeyType for NonZeroU32 {
    const TOML: TomlShape = TomlShape::Integer;
    const EXPECTS: &'static str = "a whole number from 1";
    fn parse(text: &str) -> Result<Self, String> {
        Self::new(whole(text)?).ok_or_else(|| "is too small".to_owned())
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl KeyType for Option<NonZeroU32> {
    const TOML: TomlShape = TomlShape::Integer;
    const EXPECTS: &'static str = "a whole number, 0 for no limit";
    fn parse(text: &str) -> Result<Self, String> {
        whole(text).map(NonZeroU32::new)
    }
    fn show(&self) -> String {
        self.map_or(0, NonZeroU32::get).to_string()
    }
}

/// A TCP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port(pub u16);

impl KeyType for Port {
    const TOML: TomlShape = TomlShape::Integer;
    const EXPECTS: &'static str = "a port from 1 to 65535";
    fn parse(text: &str) -> Result<Self, String> {
        match u16::try_from(whole(text)?) {
            Ok(port) if port > 0 => Ok(Self(port)),
            Ok(_) | Err(_) => Err("is not a port".to_owned()),
        }
    }
    fn show(&self) -> String {
        self.0.to_string()
    }
}

/// A number of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workers(pub NonZeroU16);

impl KeyType for Workers {
    const TOML: TomlShape = TomlShape::Integer;
    const EXPECTS: &'static str = "a whole number from 1 to 64";
    fn parse(text: &str) -> Result<Self, String> {
        let wanted = u16::try_from(whole(text)?).ok().filter(|wanted| *wanted <= WORKERS_MAX);
        let wanted = wanted.ok_or_else(|| "is more than 64".to_owned())?;
        NonZeroU16::new(wanted).map(Self).ok_or_else(|| "is too small".to_owned())
    }
    fn show(&self) -> String {
        self.0.to_string()
    }
}

const _: () = assert!(WORKERS_MAX == 64, "the texts above say so");

/// The longest time that a key takes: ten years.
const SECONDS_MAX: f64 = 315_360_000.0;

/// A time in seconds, as PgBouncer writes them: `30`, `0.5`.
fn seconds(text: &str) -> Result<Duration, String> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let value: f64 = match text.parse() {
        Ok(value) if plain => value,
        Ok(_) | Err(_) => return Err("is not a number of seconds".to_owned()),
    };
    if value > SECONDS_MAX {
        return Err("is more than ten years".to_owned());
    }
    Ok(Duration::from_secs_f64(value))
}

/// A time that may be 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(pub Duration);

impl KeyType for Seconds {
    const TOML: TomlShape = TomlShape::Number;
    const EXPECTS: &'static str = "a number of seconds, such as 30 or 0.5";
    fn parse(text: &str) -> Result<Self, String> {
        seconds(text).map(Self)
    }
    fn show(&self) -> String {
        self.0.as_secs_f64().to_string()
    }
}

/// A time whose 0 means "never".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout(pub Option<Duration>);

impl KeyType for Timeout {
    const TOML: TomlShape = TomlShape::Number;
    const EXPECTS: &'static str = "a number of seconds, such as 30 or 0.5; 0 for never";
    fn parse(text: &str) -> Result<Self, String> {
        seconds(text).map(|time| Self((!time.is_zero()).then_some(time)))
    }
    fn show(&self) -> String {
        self.0.unwrap_or_default().as_secs_f64().to_string()
    }
}

/// A time that may not be 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PositiveSeconds(pub Duration);

impl KeyType for PositiveSeconds {
    const TOML: TomlShape = TomlShape::Number;
    const EXPECTS: &'static str = "a number of seconds above 0, such as 15 or 0.5";
    fn parse(text: &str) -> Result<Self, String> {
        match seconds(text)? {
            Duration::ZERO => Err("is too small".to_owned()),
            time => Ok(Self(time)),
        }
    }
    fn show(&self) -> String {
        self.0.as_secs_f64().to_string()
    }
}

/// A time between two rounds of work: at least a tenth of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval(pub Duration);

impl KeyType for Interval {
    const TOML: TomlShape = TomlShape::Number;
    const EXPECTS: &'static str = "a number of seconds from 0.1";
    fn parse(text: &str) -> Result<Self, String> {
        match seconds(text)? {
            time if time < Duration::from_millis(100) => Err("is under 0.1 seconds".to_owned()),
            time => Ok(Self(time)),
        }
    }
    fn show(&self) -> String {
        self.0.as_secs_f64().to_string()
    }
}

/// A number of bytes; `None` (written 0) is "no value of our own".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub Option<u64>);

/// Suffixes of sizes, powers of 1024 as in PostgreSQL's configuration and in cgroup files.
const SIZE_UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1 << 10),
    ("MB", 1 << 20),
    ("GB", 1 << 30),
    ("B", 1),
];

impl KeyType for Size {
    const TOML: TomlShape = TomlShape::Size;
    const EXPECTS: &'static str = "bytes, or a number with KiB, MiB or GiB, such as \"512MiB\"";
    fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = SIZE_UNITS
            .iter()
            .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?.trim_end(), *unit)))
            .unwrap_or((text, 1));
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err("is not a number of bytes".to_owned());
        }
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        let bytes = bytes.ok_or("is more than a memory can be")?;
        Ok(Self((bytes > 0).then_some(bytes)))
    }
    fn show(&self) -> String {
        self.0.unwrap_or(0).to_string()
    }
}

/// A path; `None` (written empty) is "not used".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionalPath(pub Option<PathBuf>);

impl KeyType for OptionalPath {
    const TOML: TomlShape = TomlShape::Text;
    const EXPECTS: &'static str = "a path, or nothing for none";
    fn parse(text: &str) -> Result<Self, String> {
        if text.contains('\0') {
            return Err("holds a NUL byte".to_owned());
        }
        if text.contains("://") {
            return Err("is a URL".to_owned());
        }
        Ok(Self((!text.is_empty()).then(|| PathBuf::from(text))))
    }
    fn show(&self) -> String {
        self.0.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
    }
}

/// The database URL: kept whole and secret here, taken apart in `url`.
#[derive(Clone, Debug)]
pub struct DatabaseUrl(pub Option<SecretString>);

impl KeyType for DatabaseUrl {
    const TOML: TomlShape = TomlShape::Text;
    const EXPECTS: &'static str = "postgres://user:password@host:5432/database";
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self((!text.is_empty()).then(|| SecretString::from(text))))
    }
    fn show(&self) -> String {
        self.0.as_ref().map(|url| super::url::redacted(url.expose_secret())).unwrap_or_default()
    }
}

/// Implements [`KeyType`] for an enum whose values are words; behind a bar, other words for the same.
macro_rules! words {
    ($type:ty, $expects:literal, $shape:ident, $($word:literal $(| $alias:literal)* => $value:path),+ $(,)?) => {
        impl KeyType for $type {
            const TOML: TomlShape = TomlShape::$shape;
            const EXPECTS: &'static str = $expects;
            fn parse(text: &str) -> Result<Self, String> {
                match text {
                    $($word $(| $alias)* => Ok($value),)+
                    _ => Err("is not one of its values".to_owned()),
                }
            }
            fn show(&self) -> String {
                match self { $($value => $word,)+ }.to_owned()
            }
        }
    };
}

words!(AuthMethod, "trust, password (or plain), md5, scram-sha-256, cert or hba", Text,
    "trust" => AuthMethod::Trust, "password" | "plain" => AuthMethod::Password,
    "md5" => AuthMethod::Md5, "scram-sha-256" => AuthMethod::ScramSha256,
    "cert" => AuthMethod::Cert, "hba" => AuthMethod::Hba);

words!(StatementCache, "off, named or all", Text,
    "off" => StatementCache::Off, "named" => StatementCache::Named, "all" => StatementCache::All);
words!(PoolMode, "session, transaction or statement", Text,
    "session" => PoolMode::Session, "transaction" => PoolMode::Transaction,
    "statement" => PoolMode::Statement);

words!(PortUse, "on or off", Switch, "on" => PortUse::Shared, "off" => PortUse::Exclusive);

words!(TlsMode, "disable, allow, prefer, require, verify-ca or verify-full", Text,
    "disable" => TlsMode::Disable, "allow" => TlsMode::Allow, "prefer" => TlsMode::Prefer,
    "require" => TlsMode::Require, "verify-ca" => TlsMode::VerifyCa,
    "verify-full" => TlsMode::VerifyFull);

impl KeyType for StateKinds {
    const TOML: TomlShape = TomlShape::Text;
    const EXPECTS: &'static str = "kinds of session state, separated by commas, or all";
    fn parse(text: &str) -> Result<Self, String> {
        let mut causes = Causes::NONE;
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let mut named = Cause::ALL.into_iter().filter(|cause| *cause != Cause::Unknown);
            if word == "all" {
                named.for_each(|cause| causes.add(cause));
                continue;
            }
            match named.find(|cause| cause.as_str() == word) {
                Some(cause) => causes.add(cause),
                None => return Err(format!("names {word:?}, which is no kind of session state")),
            }
        }
        Ok(Self(causes))
    }
    fn show(&self) -> String {
        let words: Vec<&str> = self.0.iter().map(Cause::as_str).collect();
        words.join(",")
    }
}

/// Kinds of session state.
#[derive(Clone, Copy, Debug)]
pub struct StateKinds(pub Causes);

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

words!(Switch, "on or off", Switch, "on" => Switch::On, "off" => Switch::Off);

/// On, off, or on where the surroundings want it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoSwitch {
    /// On inside an ECS task.
    Auto,
    /// On.
    On,
    /// Off.
    Off,
}

words!(AutoSwitch, "auto, on or off", Switch,
    "auto" => AutoSwitch::Auto, "on" => AutoSwitch::On, "off" => AutoSwitch::Off);

/// The least grave event that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Only what stops the work.
    Error,
    /// What will stop it.
    Warn,
    /// What changed.
    Info,
    /// Each connection.
    Debug,
    /// Each step.
    Trace,
}

words!(LogLevel, "error, warn, info, debug or trace", Text,
    "error" => LogLevel::Error, "warn" => LogLevel::Warn, "info" => LogLevel::Info,
    "debug" => LogLevel::Debug, "trace" => LogLevel::Trace);

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `human` where standard error is a terminal, else `json`.
    Auto,
    /// One JSON object a line.
    Json,
    /// For eyes.
    Human,
}

words!(LogFormat, "auto, json or human", Text,
    "auto" => LogFormat::Auto, "json" => LogFormat::Json, "human" => LogFormat::Human);
