//! Every broken answer of an upstream: what does its client get, and does it spoil what anybody gets afterwards?

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Deserialize;
use tests::attacks::{self, Id, in_place};
use tests::{Origin, Recorded, Script, Step};

use crate::client::{self, PROBE, PROBE_ANSWER};
use crate::cut;
use crate::subject::{Kind, Subject, answer};
use crate::verdict::{self, Told};

/// Patience with Tollgate, in which every case is decided.
const PATIENCE: Duration = Duration::from_secs(8);
/// Between two pieces of a split answer, so that they arrive one by one.
const GAP: Duration = Duration::from_micros(400);
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    title: String,
    case: Vec<Row>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    answer: String,
    #[serde(default)]
    each: Vec<String>,
    #[serde(default = "get")]
    method: String,
    #[serde(default)]
    end: Ending,
    #[serde(default = "refused")]
    client: Vec<String>,
    #[serde(default)]
    hides: Vec<String>,
    #[serde(default)]
    spoils: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Ending {
    #[default]
    Keep,
    Fin,
    Reset,
    Hold,
}

fn get() -> String {
    "GET".to_owned()
}

fn refused() -> Vec<String> {
    vec!["502 probe".to_owned()]
}

/// One answer and what must become of it.
#[derive(Clone)]
pub(crate) struct Case {
    /// Its name.
    pub(crate) id: Id,
    answer: Vec<u8>,
    row: Row,
}

/// The title and the cases, one for each variant.
pub(crate) fn load() -> (String, Vec<Case>) {
    let group: Group = toml::from_str(include_str!("cases/responses.toml"))
        .unwrap_or_else(|error| panic!("responses.toml: {error}"));
    let case = |row: &Row, variant: Option<&String>| Case {
        id: Id::new(&row.id, variant),
        answer: attacks::bytes(&in_place(&row.answer, variant)),
        row: row.clone(),
    };
    let cases = group.case.iter().flat_map(|row| match row.each.as_slice() {
        [] => vec![case(row, None)],
        each => each.iter().map(|variant| case(row, Some(variant))).collect(),
    });
    (group.title, cases.collect())
}

/// A proxy before an upstream that answers `/case/N/whole`, `/case/N/bytes` and `/case/N/AT` with the Nth case, in one
/// piece, byte by byte or cut at an offset, and everything else properly.
pub(crate) struct Stage {
    subject: Subject,
    cases: Vec<Case>,
    /// Cases that the upstream is done with, whether it got to their end or not.
    played: Arc<AtomicUsize>,
}

impl Stage {
    pub(crate) fn start(kind: Kind, cases: &[Case]) -> Result<Self> {
        let played = Arc::new(AtomicUsize::new(0));
        let (scripts, counter) = (cases.to_vec(), Arc::clone(&played));
        let origin = Origin::start(move |request| match script(&scripts, request) {
            Some(script) => {
                let guard = Played(Arc::clone(&counter));
                script.then(Step::Then(Arc::new(move || guard.touch())))
            }
            None => answer(request),
        })?;
        Ok(Self {
            subject: Subject::before(kind, origin)?,
            cases: cases.to_vec(),
            played,
        })
    }
}

/// Counts when it is dropped, which is when the script that holds it is.
struct Played(Arc<AtomicUsize>);

impl Played {
    fn touch(&self) {}
}

impl Drop for Played {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

fn script(cases: &[Case], request: &Recorded) -> Option<Script> {
    let (number, how) = request.target.strip_prefix("/case/")?.split_once('/')?;
    let case = cases.get(number.parse::<usize>().ok()?)?;
    let bytes = case.answer.clone();
    let script = match how {
        _ if bytes.is_empty() => Script::default(),
        "whole" => Script::raw(bytes),
        "bytes" => Script::raw(bytes).split_every(1, GAP),
        at => {
            let (start, rest) = bytes.split_at(at.parse().ok()?);
            Script::raw(start)
                .then(Step::Pause(GAP))
                .then(Step::Send(rest.to_vec()))
        }
    };
    Some(match case.row.end {
        Ending::Keep => script,
        Ending::Fin => script.then(Step::Fin),
        Ending::Reset => script.then(Step::Reset),
        Ending::Hold => script.then(Step::Hold),
    })
}

/// What a client gets for a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Status and body of the answer, `cut` where it never ended, then `probe`, `closed` or `waits`.
    pub(crate) client: String,
    /// What the client got and must not.
    leak: Option<String>,
    /// Who got something else than the answer to their own request afterwards.
    pub(crate) spoilt: Option<String>,
}

impl Outcome {
    /// Whether the client took the answer for a whole one that is no error.
    pub(crate) fn is_passed_on(&self) -> bool {
        self.client.starts_with(['2', '3']) && !self.client.contains(" cut")
    }
}

impl Stage {
    /// Asks for a case, then for something else on the same connection and on another one. Unless clients come
    /// `side_by_side`, the upstream is done with the case before that.
    pub(crate) fn ask(
        &self,
        number: usize,
        how: &str,
        patience: Duration,
        side_by_side: bool,
    ) -> Result<Outcome> {
        let case = &self.cases[number];
        let played = self.played.load(Ordering::Acquire);
        let mut stream = client::connect(client::fresh_address(), self.subject.addr())?;
        stream.set_read_timeout(Some(patience))?;
        write!(
            stream,
            "{} /case/{number}/{how} HTTP/1.1\r\nHost: a\r\n\r\n",
            case.row.method
        )?;
        let (bytes, told, read) = hear(&mut stream, &case.row.method);
        if !side_by_side {
            self.wait_played(played);
        }
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        let leak = case
            .row
            .hides
            .iter()
            .find(|hidden| text.contains(&hidden.to_ascii_lowercase()));
        let mut spoilt = None;
        let after = if read == Fill::More {
            probe(&mut stream)?
        } else {
            After::Closed
        };
        if let After::Another(got) = &after {
            spoilt = Some(format!("the next request on the connection got {got}"));
        }
        let mut other = client::connect(client::fresh_address(), self.subject.addr())?;
        other.set_read_timeout(Some(patience))?;
        match probe(&mut other)? {
            After::Own => {}
            After::Another(got) => spoilt = Some(format!("the next client got {got}")),
            After::Closed => spoilt = Some("the next client got nothing".to_owned()),
        }
        let end = match after {
            After::Own => "probe",
            _ if read == Fill::Silent => "waits",
            _ => "closed",
        };
        let first = match told {
            Told::Nothing => String::new(),
            Told::Answer(answer) => answer.shown() + " ",
            Told::Malformed(status) => format!("{status} malformed "),
        };
        Ok(Outcome {
            client: first + end,
            leak: leak.cloned(),
            spoilt,
        })
    }

    fn wait_played(&self, before: usize) {
        let deadline = Instant::now() + Duration::from_secs(2);
        while self.played.load(Ordering::Acquire) == before && Instant::now() < deadline {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// Reads one answer: its bytes, what they say, and whether more may be asked (`More`).
fn hear(stream: &mut TcpStream, method: &str) -> (Vec<u8>, Told, Fill) {
    let mut bytes = Vec::new();
    loop {
        let read = fill(stream, &mut bytes);
        match verdict::first(method, &bytes, read == Fill::Closed) {
            Told::Answer(answer) if answer.whole => {
                return (bytes, Told::Answer(answer), read);
            }
            Told::Malformed(status) => return (bytes, Told::Malformed(status), Fill::Closed),
            _ if read == Fill::More => {}
            told => return (bytes, told, read),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fill {
    More,
    Silent,
    Closed,
}

fn fill(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Fill {
    let mut buffer = [0; 16 * 1024];
    match stream.read(&mut buffer) {
        Ok(0) => Fill::Closed,
        Ok(count) => {
            bytes.extend_from_slice(&buffer[..count]);
            Fill::More
        }
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            ) =>
        {
            Fill::Silent
        }
        Err(_) => Fill::Closed,
    }
}

/// What became of the probe.
#[derive(PartialEq, Eq)]
enum After {
    /// Its own answer came, and it alone.
    Own,
    /// Something else came.
    Another(String),
    /// The connection ended without a byte.
    Closed,
}

fn probe(stream: &mut TcpStream) -> Result<After> {
    if stream.write_all(PROBE).is_err() {
        return Ok(After::Closed);
    }
    let (bytes, told, _) = hear(stream, "GET");
    Ok(match told {
        Told::Answer(answer) if answer.whole && answer.body == PROBE_ANSWER => After::Own,
        _ if bytes.is_empty() => After::Closed,
        _ => After::Another(bytes.escape_ascii().to_string()),
    })
}

#[test]
fn verdicts_hold() -> Result<()> {
    let (_, cases) = load();
    let stage = Stage::start(Kind::Tollgate, &cases)?;
    let mut failures = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let outcome = stage.ask(number, "whole", PATIENCE, false)?;
        failures.extend(wrong_with(case, "whole", &outcome));
    }
    report(&failures, cases.len())
}

#[test]
fn verdicts_hold_however_the_bytes_arrive() -> Result<()> {
    let (_, cases) = load();
    let stage = Stage::start(Kind::Tollgate, &cases)?;
    let runs = runs(&cases, |case| !case.row.spoils);
    let outcomes = client::at_once(runs.len(), |run| {
        let (number, how) = &runs[run];
        let outcome = stage.ask(*number, how, PATIENCE, true)?;
        Ok(wrong_with(&cases[*number], how, &outcome))
    })?;
    report(&outcomes.into_iter().flatten().collect::<Vec<_>>(), runs.len())
}

/// One after the other: bytes that come when a connection is already used again belong to whoever uses it, as
/// HTTP/1.1 has it. Those that are there before must be noticed.
#[test]
fn bytes_behind_an_answer_spoil_nothing_however_they_arrive() -> Result<()> {
    let (_, cases) = load();
    let stage = Stage::start(Kind::Tollgate, &cases)?;
    let runs = runs(&cases, |case| case.row.spoils);
    let mut failures = Vec::new();
    for (number, how) in &runs {
        let outcome = stage.ask(*number, how, PATIENCE, false)?;
        failures.extend(wrong_with(&cases[*number], how, &outcome));
    }
    report(&failures, runs.len())
}

/// The ways to cut the chosen cases: at every offset where they are short, at some otherwise.
fn runs(cases: &[Case], chosen: impl Fn(&Case) -> bool) -> Vec<(usize, String)> {
    let mut runs = Vec::new();
    for (number, case) in cases.iter().enumerate().filter(|(_, case)| chosen(case)) {
        let length = case.answer.len();
        runs.extend(cut::offsets(length).map(|at| (number, at.to_string())));
        if cut::is_short(length) {
            runs.push((number, "bytes".to_owned()));
        }
    }
    runs
}

fn report(failures: &[String], of: usize) -> Result<()> {
    anyhow::ensure!(
        failures.is_empty(),
        "{} of {of}:\n{}",
        failures.len(),
        failures.concat()
    );
    Ok(())
}

fn wrong_with(case: &Case, how: &str, outcome: &Outcome) -> Option<String> {
    let wrongs = [&outcome.leak, &outcome.spoilt];
    let is_right = case.row.client.contains(&outcome.client) && wrongs.iter().all(|it| it.is_none());
    (!is_right).then(|| {
        format!(
            "- {} ({how})\n    {}, leaked {:?}, spoilt {:?}\n    expected {:?}\n",
            case.id, outcome.client, outcome.leak, outcome.spoilt, case.row.client
        )
    })
}
