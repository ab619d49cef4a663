//! The same attacks on nginx and HAProxy: Tollgate must not be the one that lets something through.
//!
//! In: every case. Out: the claim, asserted, and with `TOLLGATE_TORTURE_REPORT` set a table of what each proxy did,
//! written to that file. What the peers do is not asserted: it changes with their versions.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::attacks::{self, Case, Id};
use tests::program;

use crate::alone::ALONE;
use crate::client::Shot;
use crate::report;
use crate::responses::{self, Stage};
use crate::subject::{Kind, Subject};
use crate::tape;
use crate::verdict::{self, Verdict};

const KINDS: [Kind; 3] = [Kind::Tollgate, Kind::Nginx, Kind::Haproxy];
/// Silence after which a proxy is taken to wait for more.
const SILENCE: Duration = Duration::from_millis(700);

/// What the three did with one case.
pub(crate) struct Row {
    /// The case.
    pub(crate) id: Id,
    /// What each did, in the order of the columns.
    pub(crate) cells: [String; 3],
    /// Whether each let it through.
    pub(crate) passed: [bool; 3],
}

impl Row {
    /// Tollgate refused it for what only its policy says.
    pub(crate) fn is_policy(&self) -> bool {
        ["401", "403", "413"]
            .iter()
            .any(|status| self.cells[0].starts_with(status))
    }

    /// Tollgate let something through that both peers refused.
    fn is_alone(&self) -> bool {
        self.passed == [true, false, false]
    }
}

/// A group of cases as a table.
pub(crate) struct Table {
    /// Its heading.
    pub(crate) title: String,
    /// Its rows.
    pub(crate) rows: Vec<Row>,
}

#[test]
fn nothing_passes_that_both_peers_refuse() -> Result<()> {
    if let Some(missing) = ["nginx", "haproxy"].iter().find(|name| program(name).is_err()) {
        let is_ci = std::env::var("CI").is_ok_and(|value| value == "true" || value == "1");
        ensure!(!is_ci, "{missing} is not installed");
        eprintln!("skipped: {missing} is not installed; `cargo xtask test` installs what tests need");
        return Ok(());
    }
    let mut tables = requests()?;
    tables.push(answers()?);
    if let Some(path) = std::env::var_os("TOLLGATE_TORTURE_REPORT") {
        let text = report::markdown(&tables)?;
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    let rows = tables.iter().flat_map(|table| &table.rows);
    let (listed, alone): (Vec<&Row>, Vec<&Row>) = rows
        .filter(|row| row.is_alone())
        .partition(|row| ALONE.iter().any(|(name, _)| *name == row.id.to_string()));
    let told = alone.iter().map(|row| format!("- {}: {:?}\n", row.id, row.cells));
    ensure!(
        alone.is_empty(),
        "both peers refuse what passes here:\n{}",
        told.collect::<String>()
    );
    ensure!(
        listed.len() == ALONE.len(),
        "what is listed as let through alone is not"
    );
    Ok(())
}

fn requests() -> Result<Vec<Table>> {
    let groups = attacks::GROUPS.map(|(name, _)| attacks::load(name));
    let cases: Vec<&Case> = groups.iter().flat_map(|(_, cases)| cases).collect();
    let shots: Vec<Shot> = cases
        .iter()
        .map(|case| Shot::whole(&case.send, SILENCE))
        .collect();
    let columns = each(|kind| {
        let fired = Subject::start(kind)?.fire(&shots)?.each;
        let did = cases.iter().zip(&fired).map(|(case, (heard, seen))| {
            let verdict = verdict::of(&case.send, heard, seen);
            let cell = request_cell(&case.send, &verdict);
            (cell, !verdict.upstream.is_empty())
        });
        Ok(did.collect())
    })?;
    let mut columns = columns.map(Vec::into_iter);
    let tables = groups.into_iter().map(|(title, cases)| {
        let own = columns
            .each_mut()
            .map(|column| column.take(cases.len()).collect());
        table(title, cases.into_iter().map(|case| case.id), own)
    });
    Ok(tables.collect())
}

fn answers() -> Result<Table> {
    let (title, cases) = responses::load();
    let columns = each(|kind| {
        let stage = Stage::start(kind, &cases)?;
        let asked = (0..cases.len()).map(|number| {
            let outcome = stage.ask(number, "whole", SILENCE, false)?;
            let cell = outcome.client.trim_end_matches("probe").trim_end().to_owned();
            let cell = if cell.is_empty() {
                "closed".to_owned()
            } else {
                cell
            };
            let cell = cell
                + if outcome.spoilt.is_some() {
                    " **and spoils the next**"
                } else {
                    ""
                };
            Ok((cell, outcome.is_passed_on()))
        });
        asked.collect()
    })?;
    Ok(table(title, cases.into_iter().map(|case| case.id), columns))
}

type Column = Vec<(String, bool)>;

/// Runs the three side by side.
fn each(run: impl Fn(Kind) -> Result<Column> + Sync) -> Result<[Column; 3]> {
    std::thread::scope(|scope| {
        let running = KINDS.map(|kind| {
            let run = &run;
            scope.spawn(move || run(kind))
        });
        let [tollgate, nginx, haproxy] = running.map(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        Ok([tollgate?, nginx?, haproxy?])
    })
}

fn table(title: String, ids: impl Iterator<Item = Id>, columns: [Column; 3]) -> Table {
    let [tollgate, nginx, haproxy] = columns;
    let rows = ids
        .zip(tollgate)
        .zip(nginx.into_iter().zip(haproxy))
        .map(|((id, tollgate), (nginx, haproxy))| Row {
            id,
            passed: [tollgate.1, nginx.1, haproxy.1],
            cells: [tollgate.0, nginx.0, haproxy.0],
        })
        .collect();
    Table { title, rows }
}

/// The request of a payload without a body, as an upstream would see it unchanged.
fn as_written(payload: &[u8]) -> Option<String> {
    let text = tape::printable(&tape::latin1(payload.strip_suffix(b"\r\n\r\n")?));
    let (line, rest) = text.split_once(" HTTP/1.1\\x0d\\x0a")?;
    (!rest.contains("\\x0d\\x0a\\x0d\\x0a")).then(|| line.to_owned())
}

fn request_cell(payload: &[u8], verdict: &Verdict) -> String {
    let client = verdict.client.trim_end_matches("probe").trim_end();
    let told = if client.is_empty() { "closed" } else { client };
    let wrong = if verdict.wrongs.is_empty() {
        ""
    } else {
        " **and what RFC 9112 forbids**"
    };
    match verdict.upstream.as_slice() {
        [] => format!("{told}{wrong}"),
        [one] if told == "200" && as_written(payload).as_ref() == Some(one) => {
            format!("forwarded as written{wrong}")
        }
        seen => {
            let seen: Vec<String> = seen.iter().map(|it| report::code(it)).collect();
            let then = if told == "200" {
                String::new()
            } else {
                format!("; {told}")
            };
            format!("forwarded as {}{then}{wrong}", seen.join(", "))
        }
    }
}
