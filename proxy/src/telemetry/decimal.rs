//! Numbers with a fraction, without floating point.

use std::fmt::{self, Display};

/// A count of millionths, written in whole units: nanoseconds as milliseconds, micro-units as money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Millionths(pub(super) u64);

impl Display for Millionths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, mut part, mut digits) = (self.0 / 1_000_000, self.0 % 1_000_000, 6);
        if part == 0 {
            return write!(f, "{whole}");
        }
        while part % 10 == 0 {
            part /= 10;
            digits -= 1;
        }
        write!(f, "{whole}.{part:0digits$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_exact_and_short() {
        for (millionths, text) in [
            (0, "0"),
            (1, "0.000001"),
            (1_500_000, "1.5"),
            (2_000_000, "2"),
            (20_300, "0.0203"),
            (u64::MAX, "18446744073709.551615"),
        ] {
            assert_eq!(Millionths(millionths).to_string(), text);
        }
    }
}
