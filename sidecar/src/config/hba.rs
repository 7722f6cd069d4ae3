//! The rules of `auth_type = hba`.
//!
//! Owns: reading the file and giving its errors their line. Refuses: the form of the file, which is
//! `stent_wire::auth::hba`'s.
//! Invariant: a file that cannot be understood whole is a problem, never fewer rules.

use stent_proxy::config::AuthMethod;
use stent_wire::auth::hba::{self, HBA_LEN_MAX, RuleList};

use super::file;
use super::keys::Settings;
use super::problem::{Origin, Problems};

/// Reads the rules, if there are to be any.
pub(crate) fn read(settings: &Settings, problems: &mut Problems) -> RuleList {
    let (method, file) = (&settings.auth_type, &settings.auth_hba_file);
    let Some(path) = &file.value.0 else { return RuleList::default() };
    if !method.is_sound() || method.value != AuthMethod::Hba {
        return RuleList::default();
    }
    let shown = path.display().to_string();
    let bytes = match file::read_bytes(&shown, HBA_LEN_MAX) {
        Ok(bytes) => bytes,
        Err(reason) => {
            problems.add(
                &file.origin,
                format!("auth_hba_file cannot be read: {shown}: {reason}"),
                "name a readable file with rules in the form of pg_hba.conf",
            );
            return RuleList::default();
        }
    };
    // Clients are told of the file's name, not of the folders of this machine.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    hba::parse(&name, &bytes).unwrap_or_else(|error| {
        let fault = error.fault.to_string();
        let (reason, mend) = fault.rsplit_once("; ").expect("a fault says the mend");
        problems.add(&Origin::File { path: shown, line: error.line }, reason, mend);
        RuleList::default()
    })
}
