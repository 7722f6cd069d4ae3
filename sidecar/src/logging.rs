//! Logs on standard error: one JSON object a line, or a human form on a terminal.
//!
//! Owns: the subscriber of the process, its level, and what a panic prints. Refuses: standard output, which
//! belongs to metrics and to the command of `stent run`.
//! Invariant: a panic's message is scrubbed of every known secret before it is written.

use std::io::IsTerminal as _;
use std::panic::PanicHookInfo;
use std::sync::{Mutex, OnceLock, PoisonError};

use secrecy::{ExposeSecret as _, SecretString};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;
use tracing_subscriber::reload;

use crate::config::Logging;
use crate::config::value::{LogFormat, LogLevel};

/// Our crates, which log at `log_level`; everyone else's warnings are enough, and what other crates
/// say at debug level may hold what nobody meant to log.
const OURS: [&str; 6] =
    ["stent", "stent_proxy", "stent_agent", "stent_pool", "stent_wire", "stent_leak"];

/// Sets up the log and the panic message of this process.
pub fn start(logging: Logging, secrets: Vec<SecretString>) {
    let (filter, handle) = reload::Layer::new(targets(logging.level));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // A second start in one process (tests) keeps the first subscriber.
    let started = match form(logging.format) {
        Form::Json => {
            let json = layer.json().flatten_event(true).with_current_span(false);
            registry.with(json.with_span_list(false)).try_init()
        }
        Form::Human => {
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            registry.with(layer.with_ansi(colours)).try_init()
        }
    };
    if started.is_ok() {
        // The first start is the only one that gets here.
        let _ = CHANGE.set(Box::new(move |level| drop(handle.reload(targets(level)))));
    }
    keep(secrets);
    std::panic::set_hook(Box::new(|panic| report(panic, &known())));
}

/// Another level, and more secrets that no crash may print.
pub(crate) fn change(level: LogLevel, secrets: Vec<SecretString>) {
    if let Some(change) = CHANGE.get() {
        change(level);
    }
    keep(secrets);
}

type Change = Box<dyn Fn(LogLevel) + Send + Sync>;

/// Sets the level of the log that has been started.
static CHANGE: OnceLock<Change> = OnceLock::new();

/// The secrets of the configuration as it stands, and of the one before it.
static SECRETS: Mutex<[Vec<SecretString>; 2]> = Mutex::new([Vec::new(), Vec::new()]);

fn keep(secrets: Vec<SecretString>) {
    let mut kept = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    kept.swap(0, 1);
    kept[0] = secrets;
}

fn known() -> Vec<SecretString> {
    let kept = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    kept.iter().flatten().cloned().collect()
}

fn targets(of: LogLevel) -> Targets {
    let level = level(of);
    let filter = Targets::new().with_default(level.min(LevelFilter::WARN));
    filter.with_targets(OURS.map(|target| (target, level)))
}

enum Form {
    Json,
    Human,
}

fn form(format: LogFormat) -> Form {
    match format {
        LogFormat::Json => Form::Json,
        LogFormat::Human => Form::Human,
        LogFormat::Auto if std::io::stderr().is_terminal() => Form::Human,
        LogFormat::Auto => Form::Json,
    }
}

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

fn report(panic: &PanicHookInfo<'_>, secrets: &[SecretString]) {
    let payload = panic.payload();
    let message = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    let message = scrubbed(message, secrets);
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = std::backtrace::Backtrace::capture();
    let captured = backtrace.status() == std::backtrace::BacktraceStatus::Captured;
    let backtrace = if captured { backtrace.to_string() } else { String::new() };
    tracing::error!(%place, %backtrace, "bug: {message}");
}

/// The text with each secret in it replaced by stars.
fn scrubbed(mut text: String, secrets: &[SecretString]) -> String {
    for secret in secrets {
        text = text.replace(secret.expose_secret(), "********");
    }
    text
}
