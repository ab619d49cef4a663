//! `docs/limits.md` against `proxy/src/limits.rs`: the same limits with the same values.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use super::Finding;

const SOURCE: &str = "proxy/src/limits.rs";
const PAGE: &str = "docs/limits.md";
const SETTABLE: &str = "proxy/src/settable/mod.rs";
/// What the page says of a limit that may be set.
const MARK: &str = "` (`--limit`) |";

pub(crate) fn check(root: &Path) -> Result<Vec<Finding>> {
    let [source, page] = [SOURCE, PAGE].map(|file| root.join(file));
    if !source.exists() {
        return Ok(Vec::new());
    }
    let source = std::fs::read_to_string(source)?;
    let page = if page.exists() {
        std::fs::read_to_string(page)?
    } else {
        String::new()
    };
    let (limits, rows) = (constants(&source), rows(&page));
    let mut findings = Vec::new();
    for (name, (line, value)) in &limits {
        match (rows.get(name), value) {
            (_, None) => findings.push(Finding::new(
                SOURCE,
                *line,
                format!("cannot read the value of {name}"),
            )),
            (None, _) => findings.push(Finding::new(SOURCE, *line, format!("{name} is not in {PAGE}"))),
            (Some((row, told)), value) if told != value => {
                let value = value.unwrap_or_default();
                findings.push(Finding::new(PAGE, *row, format!("{name} is {value} in {SOURCE}")));
            }
            _ => {}
        }
    }
    let settable = std::fs::read_to_string(root.join(SETTABLE)).unwrap_or_default();
    findings.extend(marks(&settable, &page));
    let unknown = rows.iter().filter(|(name, _)| !limits.contains_key(*name));
    findings.extend(
        unknown.map(|(name, (row, _))| Finding::new(PAGE, *row, format!("{name} is not in {SOURCE}"))),
    );
    Ok(findings)
}

/// Limits that may be set and are not marked so, or the other way round.
fn marks(settable: &str, page: &str) -> Vec<Finding> {
    let row = |name: &str| {
        page.lines()
            .position(|line| line.starts_with(&format!("| `{name}{MARK}")))
    };
    let mut known = Vec::new();
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(settable.lines()) {
        let Some((_, rest)) = line.split_once(" = limits::") else {
            continue;
        };
        let name = rest.split(',').next().unwrap_or_default();
        known.push(name);
        if row(name).is_none() {
            let message = format!("{name} may be set, and its row in {PAGE} does not say so: `{name}{MARK}");
            findings.push(Finding::new(SETTABLE, number, message));
        }
    }
    for (number, line) in (1..).zip(page.lines()) {
        let marked = line.strip_prefix("| `").and_then(|line| line.split_once(MARK));
        if let Some((name, _)) = marked.filter(|(name, _)| !known.contains(name)) {
            findings.push(Finding::new(
                PAGE,
                number,
                format!("{name} cannot be set by --limit"),
            ));
        }
    }
    findings
}

/// Name, line and value.
type Values<'t> = BTreeMap<&'t str, (usize, Option<u64>)>;

fn constants(text: &str) -> Values<'_> {
    let lines = (1..).zip(text.lines());
    let declared = lines.filter_map(|(number, line)| {
        let (name, rest) = line.strip_prefix("pub const ")?.split_once(':')?;
        let (_, value) = rest.strip_suffix(';')?.split_once(" = ")?;
        Some((name, (number, evaluate(value))))
    });
    declared.collect()
}

/// A product, a shift, or one number.
fn evaluate(expression: &str) -> Option<u64> {
    let expression = expression.split(" as ").next()?.trim();
    if let Some((left, right)) = expression.split_once("<<") {
        return Some(evaluate(left)? << evaluate(right)?);
    }
    if expression == "i32::MAX" {
        return u64::try_from(i32::MAX).ok();
    }
    let mut factors = expression
        .split('*')
        .map(|factor| factor.trim().replace('_', "").parse::<u64>().ok());
    factors.try_fold(1, |product, factor| Some(product * factor?))
}

/// Rows that begin with a constant's name.
fn rows(text: &str) -> Values<'_> {
    let lines = (1..).zip(text.lines());
    let told = lines.filter_map(|(number, line)| {
        let (name, rest) = line.strip_prefix("| `")?.split_once('`')?;
        let (_, rest) = rest.split_once('|')?;
        let (value, _) = rest.split_once('|')?;
        (!name.starts_with('-')).then_some((name, (number, amount(value))))
    });
    told.collect()
}

/// A number as people write it, perhaps in KiB or MiB.
fn amount(text: &str) -> Option<u64> {
    let mut words = text.split_whitespace();
    let number: u64 = words.next()?.replace(',', "").parse().ok()?;
    Some(match words.next() {
        Some("KiB") => number << 10,
        Some("MiB") => number << 20,
        _ => number,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are_written() {
        for (expression, text) in [
            ("100", "100"),
            ("64 * 1024", "64 KiB"),
            ("4 * 1024 * 1024", "4 MiB"),
            ("983_040", "983,040"),
            ("1 << 20", "1 MiB a stream"),
            ("i32::MAX as u64", "2147483647"),
            ("60", "60 s"),
        ] {
            assert!(evaluate(expression).is_some(), "{expression}");
            assert_eq!(evaluate(expression), amount(text), "{expression}");
        }
    }
}
