//! The rendered files under the tools of their readers: promtool and cfn-lint. A tool that is
//! missing fails the test with the line that installs it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use stent_contract::alarm::ALARMS;
use stent_testkit::TempDir;

const INSTALL_PROMTOOL: &str = "promtool is missing: apt-get install -y --no-install-recommends prometheus (or STENT_PROMTOOL)";
const INSTALL_CFN_LINT: &str = "cfn-lint is missing: pip install cfn-lint";

fn rendered() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("rendered")
}

fn promtool() -> Command {
    let own = std::env::var_os("STENT_PROMTOOL").filter(|path| !path.is_empty());
    Command::new(own.unwrap_or_else(|| OsString::from("promtool")))
}

fn run(command: &mut Command, install: &str) -> Output {
    match command.output() {
        Ok(output) => output,
        Err(error) => panic!("{install}\n({error})"),
    }
}

fn assert_passes(command: &mut Command, install: &str) {
    let output = run(command, install);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{stdout}\n{stderr}");
}

#[test]
fn promtool_accepts_the_rules() {
    let rules = rendered().join("prometheus-rules.yml");
    assert_passes(promtool().args(["check", "rules"]).arg(rules), INSTALL_PROMTOOL);
}

#[test]
fn every_rule_fires_on_its_trouble_and_keeps_silent_on_the_near_miss() {
    let tests = rendered().join("prometheus-tests.yml");
    assert_passes(promtool().args(["test", "rules"]).arg(tests), INSTALL_PROMTOOL);
}

/// Guards the test above: with one rule disarmed, or one that always fires, promtool must say no.
#[test]
fn the_cases_notice_a_rule_that_never_fires_and_one_that_always_does() {
    let rules = fs::read_to_string(rendered().join("prometheus-rules.yml")).unwrap();
    let cases = fs::read_to_string(rendered().join("prometheus-tests.yml")).unwrap();
    let folder = TempDir::new("rules").unwrap();
    let tests = folder.path().join("prometheus-tests.yml");
    fs::write(&tests, cases).unwrap();
    for alarm in ALARMS {
        let named = format!("alert: \"{}\"\n", alarm.name);
        assert!(rules.contains(&named), "{}", alarm.name);
        let never = rules.replace(&named, "alert: \"Disarmed\"\n");
        let always = format!(
            "{rules}  - name: \"mutant\"\n    rules:\n      - {named}        expr: vector(1)\n"
        );
        for (mutant, what) in [(never, "never"), (always, "always")] {
            fs::write(folder.path().join("prometheus-rules.yml"), mutant).unwrap();
            let output = run(promtool().args(["test", "rules"]).arg(&tests), INSTALL_PROMTOOL);
            assert!(!output.status.success(), "{} may {what} fire", alarm.name);
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(said.contains(&format!("alertname: {}", alarm.name)), "{said}");
        }
    }
}

#[test]
fn cfn_lint_accepts_the_template() {
    let template = rendered().join("cloudformation.json");
    assert_passes(Command::new("cfn-lint").arg("--").arg(template), INSTALL_CFN_LINT);
}
