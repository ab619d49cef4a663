//! `Date` (RFC 9110 §6.6.1). Enters: the wall clock. Leaves: an IMF-fixdate, written anew once a second.

use std::cell::RefCell;

/// The text of the last second that was asked for.
#[derive(Debug, Default)]
pub struct HttpDate {
    made: RefCell<(i64, String)>,
}

impl HttpDate {
    /// Calls `write` with the date of a moment, in milliseconds since 1970.
    pub fn with<T>(&self, unix_ms: u64, write: impl FnOnce(&[u8]) -> T) -> T {
        let second = i64::try_from(unix_ms / 1000).unwrap_or(i64::MAX);
        let mut made = self.made.borrow_mut();
        if made.0 != second || made.1.is_empty() {
            let date = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            *made = (second, date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
        }
        write(made.1.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_the_rfc_has_them() {
        let date = HttpDate::default();
        let text = |unix_ms| date.with(unix_ms, |text| String::from_utf8(text.to_vec()).unwrap());
        assert_eq!(text(784_111_777_999), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(text(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(text(1_709_164_800_000), "Thu, 29 Feb 2024 00:00:00 GMT");
    }
}
