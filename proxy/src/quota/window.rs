//! Windows of time: where they begin, how long they last, what remains of the one before.
//!
//! Kong's `rate-limiting` periods are aligned to UTC, months and years by the calendar. Windows of any number of
//! seconds are aligned to the Unix epoch; a sliding one is such a window plus the still overlapping part of the one
//! before it (Kong's two-bucket estimate). Pure arithmetic on the time given.

use std::num::NonZeroU32;

const DAY_S: u64 = 86_400;

/// Kong's periods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is what it says")]
pub enum Period {
    Second,
    Minute,
    Hour,
    Day,
    Month,
    Year,
}

impl Period {
    /// Shortest first.
    pub const ALL: [Self; 6] = [
        Self::Second,
        Self::Minute,
        Self::Hour,
        Self::Day,
        Self::Month,
        Self::Year,
    ];

    /// The length in seconds by which Kong computes resets: 30 days for a month, 365 for a year.
    pub const fn nominal_s(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => DAY_S,
            Self::Month => 30 * DAY_S,
            Self::Year => 365 * DAY_S,
        }
    }

    /// The window that a time falls into.
    #[inline]
    pub fn window(self, now_ms: u64) -> Window {
        let now_s = now_ms / 1000;
        // One by one, because dividing by a constant is multiplying.
        match self {
            Self::Second => Window::of_length(now_s, 1),
            Self::Minute => Window::of_length(now_s, 60),
            Self::Hour => Window::of_length(now_s, 3600),
            Self::Day => Window::of_length(now_s, DAY_S),
            Self::Month => {
                let (year, month, _day) = civil(now_s / DAY_S);
                let (next_year, next_month) = if month == 12 {
                    (year + 1, 1)
                } else {
                    (year, month + 1)
                };
                Window::of_days(days_before(year, month), days_before(next_year, next_month))
            }
            Self::Year => {
                let (year, _month, _day) = civil(now_s / DAY_S);
                Window::of_days(days_before(year, 1), days_before(year + 1, 1))
            }
        }
    }

    /// Seconds until the window is over, as Kong says it in `RateLimit-Reset` and `Retry-After`: the nominal length
    /// less the seconds since the window began, at least 1.
    pub fn reset_s(self, now_ms: u64) -> u64 {
        let elapsed_s = (now_ms / 1000).saturating_sub(self.window(now_ms).start_s);
        self.nominal_s().saturating_sub(elapsed_s).max(1)
    }
}

/// How a limit's windows follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// A calendar period.
    Calendar(Period),
    /// So many seconds, all usage forgotten at the end.
    Fixed(NonZeroU32),
    /// So many seconds, the usage of the window before fading out linearly.
    Sliding(NonZeroU32),
}

impl Span {
    /// The window that a time falls into.
    pub fn window(self, now_ms: u64) -> Window {
        match self {
            Self::Calendar(period) => period.window(now_ms),
            Self::Fixed(length_s) | Self::Sliding(length_s) => {
                Window::of_length(now_ms / 1000, u64::from(length_s.get()))
            }
        }
    }

    /// Nominal length in seconds: the `<window>` of Kong's AI rate-limit headers.
    pub fn length_s(self) -> u64 {
        match self {
            Self::Calendar(period) => period.nominal_s(),
            Self::Fixed(length_s) | Self::Sliding(length_s) => u64::from(length_s.get()),
        }
    }

    /// Different for spans that must not share a counter.
    pub(super) fn salt(self) -> u64 {
        match self {
            Self::Calendar(period) => 1 << 32 | period as u64,
            Self::Fixed(length_s) => 2 << 32 | u64::from(length_s.get()),
            Self::Sliding(length_s) => 3 << 32 | u64::from(length_s.get()),
        }
    }
}

/// One window, in Unix seconds: from `start_s` to before `end_s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First second.
    pub start_s: u64,
    /// First second after it.
    pub end_s: u64,
}

impl Window {
    #[inline]
    fn of_length(now_s: u64, length_s: u64) -> Self {
        let start_s = now_s - now_s % length_s;
        Self {
            start_s,
            end_s: start_s.saturating_add(length_s),
        }
    }

    fn of_days(start: u64, end: u64) -> Self {
        Self {
            start_s: start * DAY_S,
            end_s: end * DAY_S,
        }
    }

    /// Length in seconds.
    pub fn length_s(self) -> u64 {
        self.end_s - self.start_s
    }

    /// The window of the same length before it.
    pub(super) fn before(self) -> Option<Self> {
        Some(Self {
            start_s: self.start_s.checked_sub(self.length_s())?,
            end_s: self.start_s,
        })
    }

    /// Milliseconds that are left of it.
    pub fn left_ms(self, now_ms: u64) -> u64 {
        self.end_s.saturating_mul(1000).saturating_sub(now_ms)
    }

    /// Even and odd windows of a span alternate.
    pub(super) fn is_odd(self) -> bool {
        self.start_s / self.length_s() % 2 == 1
    }

    /// What the window before this one still counts for: its usage times the part of it that a window ending now
    /// would overlap, rounded up.
    pub fn fading(self, previous_usage: u64, now_ms: u64) -> u64 {
        let length_ms = u128::from(self.length_s()) * 1000;
        let left_ms = u128::from(self.left_ms(now_ms)).min(length_ms);
        let faded = (u128::from(previous_usage) * left_ms).div_ceil(length_ms);
        u64::try_from(faded).unwrap_or(previous_usage)
    }
}

/// Year, month and day of a day since 1970-01-01 in the Gregorian calendar. Counted in 400-year cycles of years that
/// begin in March, so that the leap day comes last.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (cycle, day_of_cycle) = (shifted / 146_097, shifted % 146_097);
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (400 * cycle + year_of_cycle + u64::from(month <= 2), month, day)
}

/// Days from 1970-01-01 to the first of a month.
fn days_before(year: u64, month: u64) -> u64 {
    let year_from_march = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let (cycle, year_of_cycle) = (year_from_march / 400, year_from_march % 400);
    let day_of_cycle =
        365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100 + (153 * month_from_march + 2) / 5;
    146_097 * cycle + day_of_cycle - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> u64 {
        u64::try_from(text.parse::<jiff::Timestamp>().unwrap().as_millisecond()).unwrap()
    }

    #[test]
    fn windows_begin_and_end_on_utc_edges() {
        for (period, now, start, end) in [
            (
                Period::Second,
                "2024-02-29T23:59:59.999Z",
                "2024-02-29T23:59:59Z",
                "2024-03-01T00:00:00Z",
            ),
            (
                Period::Minute,
                "2024-02-29T23:59:59.999Z",
                "2024-02-29T23:59:00Z",
                "2024-03-01T00:00:00Z",
            ),
            (
                Period::Hour,
                "2024-02-29T23:00:00Z",
                "2024-02-29T23:00:00Z",
                "2024-03-01T00:00:00Z",
            ),
            (
                Period::Day,
                "2024-02-29T12:00:00Z",
                "2024-02-29T00:00:00Z",
                "2024-03-01T00:00:00Z",
            ),
            (
                Period::Month,
                "2024-02-29T23:59:59.999Z",
                "2024-02-01T00:00:00Z",
                "2024-03-01T00:00:00Z",
            ),
            (
                Period::Month,
                "2023-12-31T23:59:59Z",
                "2023-12-01T00:00:00Z",
                "2024-01-01T00:00:00Z",
            ),
            (
                Period::Year,
                "2024-01-01T00:00:00Z",
                "2024-01-01T00:00:00Z",
                "2025-01-01T00:00:00Z",
            ),
        ] {
            let window = period.window(at(now));
            assert_eq!(
                (window.start_s * 1000, window.end_s * 1000),
                (at(start), at(end)),
                "{period:?} {now}"
            );
        }
    }

    #[test]
    fn resets_count_30_days_for_a_month_and_never_less_than_a_second() {
        assert_eq!(Period::Month.reset_s(at("2024-02-01T00:00:00Z")), 2_592_000);
        assert_eq!(Period::Month.reset_s(at("2024-01-31T00:00:00Z")), 1);
        assert_eq!(Period::Month.reset_s(at("2024-01-31T23:00:00Z")), 1);
        assert_eq!(Period::Year.reset_s(at("2024-12-31T12:00:00Z")), 1);
        assert_eq!(Period::Minute.reset_s(at("2024-01-01T00:00:59.999Z")), 1);
        assert_eq!(Period::Minute.reset_s(at("2024-01-01T00:00:00.999Z")), 60);
        assert_eq!(Period::Second.reset_s(at("2024-01-01T00:00:00.999Z")), 1);
    }

    #[test]
    fn the_previous_window_fades_linearly() {
        let span = Span::Sliding(NonZeroU32::new(10).unwrap());
        for (now_ms, faded) in [(20_000, 10), (22_500, 8), (25_000, 5), (29_999, 1)] {
            assert_eq!(span.window(now_ms).fading(10, now_ms), faded, "{now_ms}");
        }
        assert!(span.window(20_000).is_odd() != span.window(30_000).is_odd());
    }

    proptest! {
        #[test]
        fn the_calendar_agrees_with_jiff(days in 0..200_000u64) {
            let seconds = i64::try_from(days * DAY_S).unwrap();
            let date = jiff::Timestamp::from_second(seconds).unwrap().to_zoned(jiff::tz::TimeZone::UTC).date();
            let (year, month, day) = civil(days);
            let wide = |n: i8| u64::try_from(n).unwrap();
            prop_assert_eq!((year, month, day),
                            (u64::try_from(date.year()).unwrap(), wide(date.month()), wide(date.day())));
            prop_assert_eq!(days_before(year, month), days + 1 - day);
        }

        #[test]
        fn every_time_falls_into_its_window(now_ms in 0..=u64::from(u32::MAX) * 1000, index in 0..6usize) {
            let window = Period::ALL[index].window(now_ms);
            prop_assert!(window.start_s <= now_ms / 1000 && now_ms / 1000 < window.end_s);
        }
    }
}
