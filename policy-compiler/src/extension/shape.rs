//! What may stand behind the `=` of a tag.

/// The kinds of values, each with its bounds, which belong to them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// A whole number with its unit, `ms`, `s`, `m` or `h`; the value is in milliseconds.
    Duration {
        /// Milliseconds.
        least: u32,
        /// Milliseconds.
        most: u32,
    },
    /// A whole number.
    Count {
        /// The smallest.
        least: u32,
        /// The largest.
        most: u32,
    },
    /// A whole number with `%`.
    Percent {
        /// The smallest.
        least: u32,
        /// The largest.
        most: u32,
    },
    /// One of these words; the value is its number.
    Choice(&'static [&'static str]),
}

/// Units of durations with their milliseconds, largest first.
const UNITS: [(&str, u32); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Shape {
    /// The value that a text stands for, else what is wrong with it in a few words.
    pub fn read(self, text: &str) -> Result<u32, String> {
        if text.is_empty() {
            return Err("the value is missing".to_owned());
        }
        let (value, least, most) = match self {
            Self::Duration { least, most } => (duration(text)?, least, most),
            Self::Count { least, most } => (number(text)?, least, most),
            Self::Percent { least, most } => {
                let digits = text
                    .strip_suffix('%')
                    .ok_or_else(|| format!("write it with its sign: {text}%"))?;
                (number(digits)?, least, most)
            }
            Self::Choice(words) => {
                let at = words.iter().position(|word| *word == text);
                let at = at.and_then(|at| u32::try_from(at).ok());
                return at.ok_or_else(|| "this is none of them".to_owned());
            }
        };
        match u32::try_from(value) {
            Ok(value) if (least..=most).contains(&value) => Ok(value),
            _ if value < u64::from(least) => Err("this is too little".to_owned()),
            _ => Err("this is too much".to_owned()),
        }
    }

    /// The shape with its bounds, in words.
    pub fn words(self) -> String {
        match self {
            Self::Duration { least, most } => {
                format!("a duration from {} to {}", written(least), written(most))
            }
            Self::Count { least, most } => format!("a whole number from {least} to {most}"),
            Self::Percent { least, most } => format!("a percentage from {least}% to {most}%"),
            Self::Choice(words) => format!("one of: {}", words.join(", ")),
        }
    }
}

fn number(text: &str) -> Result<u64, String> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let value = text.parse().ok().filter(|_| is_plain);
    value.ok_or_else(|| "this is not a whole number".to_owned())
}

/// Milliseconds.
fn duration(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    let unit = UNITS.iter().find(|(name, _)| *name == unit);
    let Some((_, milliseconds)) = unit else {
        return Err("this is not a whole number with `ms`, `s`, `m` or `h`".to_owned());
    };
    Ok(number(count)?.saturating_mul(u64::from(*milliseconds)))
}

/// A duration in its largest whole unit.
fn written(milliseconds: u32) -> String {
    let fits = |(_, unit): &&(&str, u32)| milliseconds >= *unit && milliseconds.is_multiple_of(*unit);
    let (name, unit) = UNITS.iter().find(fits).unwrap_or(&("ms", 1));
    format!("{}{name}", milliseconds / unit)
}
