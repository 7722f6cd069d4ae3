//! `stent-traces`: scores detectors on labelled traces and recordings, or writes a trace as CSV.
//!
//! Owns: the command line. Invariant: the seeds are printed with the figures.

use std::ops::Range;
use std::process::ExitCode;

use stent_traces::recordings::Recording;
use stent_traces::{CountScore, FAMILIES, group_report, report};

const USAGE: &str = "usage: stent-traces score FROM..UNTIL [--alone]
       stent-traces groups FROM..UNTIL
       stent-traces counts FROM..UNTIL
       stent-traces wrong FROM..UNTIL
       stent-traces score-recordings FOLDER
       stent-traces csv FAMILY SEED
       stent-traces families";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["score", seeds] | ["score", seeds, "--alone"] => {
            let Some(seeds) = range(seeds) else { return usage() };
            score(seeds, &words[2..]);
        }
        ["groups", seeds] => {
            let Some(seeds) = range(seeds) else { return usage() };
            println!("seeds {seeds:?}");
            print!("{}", group_report::table(&seeds));
        }
        ["counts", seeds] => {
            let Some(seeds) = range(seeds) else { return usage() };
            println!("seeds {seeds:?}");
            print!("{}", CountScore::of(seeds).text());
        }
        ["wrong", seeds] => {
            let Some(seeds) = range(seeds) else { return usage() };
            print!("{}", report::wrong(seeds));
        }
        ["score-recordings", folder] => match recordings(folder) {
            Ok(recordings) => print!("{}", stent_traces::recordings::table(&recordings)),
            Err(error) => {
                eprintln!("stent-traces: {error}");
                return ExitCode::FAILURE;
            }
        },
        ["csv", name, seed] => {
            let family = FAMILIES.iter().find(|family| family.name == *name);
            let (Some(family), Ok(seed)) = (family, seed.parse()) else { return usage() };
            print!("{}", family.trace(seed).csv());
        }
        ["families"] => FAMILIES.iter().for_each(|family| println!("{}", family.name)),
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

/// The recordings in a folder, by name.
fn recordings(folder: &str) -> Result<Vec<Recording>, String> {
    let wrong = |error: std::io::Error| format!("{folder}: {error}");
    let files = std::fs::read_dir(folder).map_err(wrong)?;
    let mut paths = files.map(|file| file.map(|file| file.path())).collect::<Result<Vec<_>, _>>();
    if let Ok(paths) = &mut paths {
        paths.sort();
    }
    let read = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(&path).map_err(wrong)?;
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
        Recording::parse(&name.unwrap_or_default(), &text)
    };
    paths.map_err(wrong)?.into_iter().map(read).collect()
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

fn range(text: &str) -> Option<Range<u64>> {
    let (from, until) = text.split_once("..")?;
    Some(from.parse().ok()?..until.parse().ok()?)
}

fn score(seeds: Range<u64>, options: &[&str]) {
    let traces = FAMILIES.len() as u64 * (seeds.end - seeds.start);
    println!("{} families, seeds {seeds:?}: {traces} traces\n", FAMILIES.len());
    let stent = report::stent(seeds.clone());
    let others = if options.is_empty() { report::baselines(seeds) } else { Vec::new() };
    let mut all = others.clone();
    all.extend([stent.leak.clone(), stent.suspect.clone()]);
    println!("{}", report::table(&all));
    println!("{}", report::calibration(&stent.leak));
    println!("{}", report::changes(&stent));
    println!("{}", report::by_family(&stent.leak, &stent.suspect, &others));
}
