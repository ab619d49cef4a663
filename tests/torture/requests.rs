//! Every payload through the gateway: is the verdict the one that is written down, and the same however it arrives?

use std::time::Duration;

use anyhow::Result;
use tests::attacks::{self, Case};

use crate::client::{PROBE_LINE, Shot};
use crate::cut;
use crate::subject::{Kind, Subject, Traffic};
use crate::tape::Seen;
use crate::verdict::{self, Verdict};

/// Silence after which an answer that is expected counts as missing.
const PATIENCE: Duration = Duration::from_secs(8);
/// Silence that is itself the expected verdict.
const SILENCE: Duration = Duration::from_millis(400);
/// Asserts the verdict of every case of a group, and that no case did harm to another.
pub(crate) fn hold(group: &str) -> Result<()> {
    let (_, cases) = attacks::load(group);
    let subject = Subject::start(Kind::Tollgate)?;
    let shots: Vec<Shot> = cases
        .iter()
        .map(|case| Shot::whole(&case.send, patience(case)))
        .collect();
    let Traffic { each, nobodys } = subject.fire(&shots)?;
    let mut failures = Vec::new();
    for (case, (heard, seen)) in cases.iter().zip(&each) {
        let verdict = verdict::of(&case.send, heard, seen);
        if let Some(wrong) = wrong_with(case, &verdict, seen) {
            let sent = shown(&case.send);
            failures.push(format!("{}\n    sent {sent}\n    {wrong}", case.id));
        }
    }
    failures.extend(
        nobodys
            .iter()
            .map(|seen| format!("the upstream saw {seen} of nobody")),
    );
    report(failures, cases.len())
}

/// Asserts that every case of a group comes to the same verdict when its bytes arrive one by one and cut at any
/// offset; long payloads at some offsets.
pub(crate) fn hold_however_split(group: &str) -> Result<()> {
    let (_, cases) = attacks::load(group);
    let subject = Subject::start(Kind::Tollgate)?;
    let wholes: Vec<Shot> = cases
        .iter()
        .map(|case| Shot::whole(&case.send, patience(case)))
        .collect();
    let cuts: Vec<(&Case, String, Shot)> = cases.iter().flat_map(cuts_of).collect();
    let shots: Vec<Shot> = wholes
        .into_iter()
        .chain(cuts.iter().map(|(_, _, shot)| shot.clone()))
        .collect();
    let Traffic { each, nobodys } = subject.fire(&shots)?;
    let (whole, in_pieces) = each.split_at(cases.len());
    let mut failures: Vec<String> = nobodys
        .iter()
        .map(|seen| format!("the upstream saw {seen} of nobody"))
        .collect();
    for ((case, how, _), (heard, seen)) in cuts.iter().zip(in_pieces) {
        let at = cases
            .iter()
            .position(|other| other.id == case.id)
            .unwrap_or_default();
        let (heard_whole, seen_whole) = &whole[at];
        let expected = verdict::of(&case.send, heard_whole, seen_whole);
        let verdict = verdict::of(&case.send, heard, seen);
        if verdict != expected {
            failures.push(format!(
                "{}, {how}\n    {verdict}\n    whole: {expected}",
                case.id
            ));
        }
    }
    report(failures, cuts.len())
}

fn patience(case: &Case) -> Duration {
    if case.client.ends_with("waits") {
        SILENCE
    } else {
        PATIENCE
    }
}

/// How the verdict differs from what is written down, if it does.
fn wrong_with(case: &Case, verdict: &Verdict, seen: &[Seen]) -> Option<String> {
    if verdict.client != case.client || verdict.upstream != case.upstream || !verdict.wrongs.is_empty() {
        let expected = format!("client: {}, upstream: {:?}", case.client, case.upstream);
        return Some(format!("{verdict}\n    expected {expected}"));
    }
    if let Some(odd) = seen.iter().find(|it| it.fault.is_some() || it.trailers) {
        let what = odd.fault.as_deref().unwrap_or("trailers");
        return Some(format!("the upstream got what it must not: {what}"));
    }
    let heads: String = seen
        .iter()
        .filter(|it| it.line != PROBE_LINE)
        .map(|it| it.head.to_ascii_lowercase())
        .collect();
    let missing = case
        .shows
        .iter()
        .find(|text| !heads.contains(&text.to_ascii_lowercase()));
    let leaked = case
        .hides
        .iter()
        .find(|text| heads.contains(&text.to_ascii_lowercase()));
    match (missing, leaked) {
        (Some(text), _) => Some(format!("the upstream did not get {text:?} but {heads:?}")),
        (_, Some(text)) => Some(format!("the upstream got {text:?}: {heads:?}")),
        (None, None) => None,
    }
}

/// The ways to cut a case, each with its name. The probe comes with the last piece, or after a cut of its own.
fn cuts_of(case: &Case) -> Vec<(&Case, String, Shot)> {
    let length = case.send.len();
    let patience = patience(case);
    let mut cuts = Vec::new();
    if cut::is_short(length) {
        let all: Vec<usize> = (1..=length).collect();
        let shot = Shot::cut(&case.send, &all, patience);
        cuts.push((case, "byte by byte".to_owned(), shot));
    }
    for at in cut::offsets(length).chain([length]) {
        let shot = Shot::cut(&case.send, &[at], patience);
        cuts.push((case, format!("cut at {at}"), shot));
    }
    cuts
}

fn shown(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    match text.get(..400) {
        Some(start) => format!("{start}… ({} bytes)", bytes.len()),
        None => text,
    }
}

fn report(failures: Vec<String>, of: usize) -> Result<()> {
    anyhow::ensure!(
        failures.is_empty(),
        "{} of {of}:\n{}",
        failures.len(),
        failures
            .iter()
            .take(200)
            .map(|it| format!("- {it}\n"))
            .collect::<String>()
    );
    Ok(())
}
