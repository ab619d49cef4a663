//! Counts of tests, as the harnesses print them.

use crate::step;

/// What became of some tests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// Runs that ended badly without a failed test: they did not compile, or the harness crashed.
    broken: Vec<String>,
    lines: Vec<String>,
}

impl Outcome {
    pub(super) fn add(&mut self, name: &str, part: Self) {
        self.passed += part.passed;
        self.failed += part.failed;
        self.ignored += part.ignored;
        let ignored = if part.ignored > 0 {
            format!(", {} ignored", part.ignored)
        } else {
            String::new()
        };
        self.lines.push(format!(
            "{name}: {} passed, {} failed{ignored}",
            part.passed, part.failed
        ));
        self.broken
            .extend(part.broken.iter().map(|why| format!("{name}: {why}")));
    }

    pub(super) fn is_good(&self) -> bool {
        self.failed == 0 && self.broken.is_empty() && !(step::is_ci() && self.ignored > 0)
    }

    pub(super) fn report(&self, missing: &[String]) {
        step::say("summary");
        for line in &self.lines {
            anstream::eprintln!("    {line}");
        }
        for broken in &self.broken {
            step::complain(broken);
        }
        for name in missing {
            step::warn(&format!(
                "{name} is missing; the tests that need it were not run or failed"
            ));
        }
        anstream::eprintln!(
            "{} passed, {} failed",
            self.passed,
            self.failed + self.broken.len() as u64
        );
    }

    fn checked(mut self, good: bool) -> Self {
        if !good && self.failed == 0 {
            self.broken
                .push("ended badly before its tests were done".to_owned());
        }
        self
    }
}

/// Reads `Summary [ 1.0s] 5 tests run: 3 passed (1 slow), 1 failed, 1 timed out, 2 skipped`.
pub(super) fn of_nextest(good: bool, lines: &[String]) -> Outcome {
    let mut outcome = Outcome::default();
    let summary = lines
        .iter()
        .rev()
        .map(|line| without_colour(line))
        .find(|line| line.contains(" run: "));
    let counts = summary
        .as_deref()
        .and_then(|line| line.split_once(" run: "))
        .map_or("", |(_, counts)| counts);
    for part in counts.split(", ") {
        let (number, what) = part.trim().split_once(' ').unwrap_or_default();
        let number = number.parse().unwrap_or(0);
        match what.split(" (").next().unwrap_or_default() {
            "passed" => outcome.passed = number,
            "failed" | "timed out" | "exec failed" => outcome.failed += number,
            _ => {}
        }
    }
    outcome.checked(good)
}

/// Reads every `test result: ok. 3 passed; 1 failed; 0 ignored; …`.
pub(super) fn of_libtest<'a>(good: bool, lines: impl Iterator<Item = &'a str>) -> Outcome {
    let mut outcome = Outcome::default();
    for line in lines.filter_map(|line| line.strip_prefix("test result: ")) {
        for part in line.split(['.', ';']) {
            let (number, what) = part.trim().split_once(' ').unwrap_or_default();
            let number = number.parse().unwrap_or(0);
            match what {
                "passed" => outcome.passed += number,
                "failed" => outcome.failed += number,
                "ignored" => outcome.ignored += number,
                _ => {}
            }
        }
    }
    outcome.checked(good)
}

fn without_colour(line: &str) -> String {
    anstream::adapter::strip_str(line).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(outcome: &Outcome) -> (u64, u64, u64, usize) {
        (
            outcome.passed,
            outcome.failed,
            outcome.ignored,
            outcome.broken.len(),
        )
    }

    #[test]
    fn nextest_summary_is_read() {
        let line = "     \u{1b}[31mSummary\u{1b}[0m [   1.2s] 7 tests run: 3 passed (1 slow), 2 failed, 1 timed out, 9 skipped";
        assert_eq!(counts(&of_nextest(false, &[line.to_owned()])), (3, 3, 0, 0));
    }

    #[test]
    fn libtest_results_are_added_up() {
        let text = "running 2 tests\ntest result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
                    test result: FAILED. 1 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(counts(&of_libtest(false, text.lines())), (3, 4, 1, 0));
    }

    #[test]
    fn a_run_that_did_not_compile_is_no_success() {
        assert_eq!(
            counts(&of_nextest(false, &["error: could not compile".to_owned()])),
            (0, 0, 0, 1)
        );
        let mut total = Outcome::default();
        total.add("unit tests", of_libtest(false, std::iter::empty()));
        assert!(!total.is_good());
    }
}
