//! The Prometheus text format, version 0.0.4.

use std::fmt::{Display, Write as _};

use crate::telemetry::counter::HistogramSum;
use crate::telemetry::decimal::Millionths;

/// Type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Counter,
    Gauge,
    Histogram,
}

/// Labels of a sample, in the order they are written.
pub(super) type Labels<'l> = [(&'l str, &'l str)];

/// Families one after the other. A family without samples is not written.
#[derive(Debug, Default)]
pub(super) struct Text {
    out: String,
    /// Header of the family whose first sample is still to come.
    header: String,
    name: &'static str,
}

impl Text {
    pub(super) fn finish(self) -> String {
        self.out
    }

    /// Begins a family. `help` has no line breaks.
    pub(super) fn family(&mut self, name: &'static str, kind: Type, help: &str) {
        let kind = match kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        };
        self.name = name;
        self.header.clear();
        self.append(|text| write!(text.header, "# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// A family with one sample.
    pub(super) fn single(&mut self, name: &'static str, kind: Type, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(&[], value);
    }

    /// A sample of the family.
    pub(super) fn sample(&mut self, labels: &Labels<'_>, value: impl Display) {
        self.line("", labels, None, value);
    }

    /// A histogram of durations, in milliseconds.
    pub(super) fn histogram<const N: usize>(
        &mut self,
        labels: &Labels<'_>,
        bounds_ms: &[u32; N],
        sum: &HistogramSum<N>,
    ) {
        let mut below = 0;
        for (bound_ms, count) in bounds_ms.iter().zip(sum.buckets) {
            below += count;
            self.line("_bucket", labels, Some(Bound::Ms(*bound_ms)), below);
        }
        self.line("_bucket", labels, Some(Bound::Infinite), sum.count());
        self.line("_count", labels, None, sum.count());
        self.line("_sum", labels, None, Millionths(sum.sum_ns));
    }

    fn line(&mut self, suffix: &str, labels: &Labels<'_>, bound: Option<Bound>, value: impl Display) {
        self.out.push_str(&self.header);
        self.header.clear();
        self.out.push_str(self.name);
        self.out.push_str(suffix);
        let mut separator = '{';
        for (name, label) in labels {
            self.out.push(separator);
            self.out.push_str(name);
            self.out.push_str("=\"");
            self.push_escaped(label);
            self.out.push('"');
            separator = ',';
        }
        match bound {
            Some(Bound::Ms(bound_ms)) => self.append(|text| write!(text.out, "{separator}le=\"{bound_ms}\"")),
            Some(Bound::Infinite) => self.append(|text| write!(text.out, "{separator}le=\"+Inf\"")),
            None => {}
        }
        if bound.is_some() || !labels.is_empty() {
            self.out.push('}');
        }
        self.append(|text| writeln!(text.out, " {value}"));
    }

    fn push_escaped(&mut self, label: &str) {
        for character in label.chars() {
            match character {
                '\\' => self.out.push_str("\\\\"),
                '"' => self.out.push_str("\\\""),
                '\n' => self.out.push_str("\\n"),
                other => self.out.push(other),
            }
        }
    }

    fn append(&mut self, write: impl FnOnce(&mut Self) -> std::fmt::Result) {
        // Writing to a String fails only when a value's own Display does, and these are numbers.
        let _numbers_display = write(self);
    }
}

enum Bound {
    Ms(u32),
    Infinite,
}
