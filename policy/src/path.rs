//! The canonical path: made once, and then the only path that policy and upstream ever see.
//!
//! Enters: the path of a request target as received. Leaves: ASCII bytes that start with `/`, without empty or dot
//! segments, with one spelling for every escape (RFC 3986 §6.2.2), or the reason for a 400. The query is not touched.
//! A backend that decodes, merges or resolves once more finds nothing left to do, so it cannot see another path.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;
use core::str::FromStr;

use crate::percent::{hex_digit, is_delimiter, is_unreserved, push_escape};

macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $variant:ident = $word:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $name {
            $($(#[$about])* $variant,)*
        }

        impl $name {
            /// The words that operators choose with, the default first.
            pub const NAMES: &'static [&'static str] = &[$($word),*];
        }

        impl FromStr for $name {
            type Err = NotAChoice;

            fn from_str(word: &str) -> Result<Self, NotAChoice> {
                match word {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(NotAChoice(Self::NAMES)),
                }
            }
        }
    )*};
}

choices! {
    /// What a listener does about `//`.
    EmptySegments {
        /// Runs of `/` become one, as Kong and nginx do.
        #[default]
        Merge = "merge",
        /// 400.
        Reject = "reject",
    }

    /// What a listener does about `;` parameters in a segment. Leaving them is no choice: a backend that strips them
    /// would take `/admin;x` for `/admin` where policy did not.
    Parameters {
        /// 400. Kong passes them on; refusing them loudly was preferred to changing requests silently.
        #[default]
        Reject = "reject",
        /// Everything from `;` to the end of the segment goes, for policy and upstream alike.
        Strip = "strip",
    }

    /// What a listener does about `%2F` and `%5C`.
    EncodedSeparators {
        /// 400.
        #[default]
        Reject = "reject",
        /// They stay escaped, for policy and upstream alike. What would be a dot segment if they were decoded is
        /// refused all the same.
        Keep = "keep",
    }
}

/// A word that is none of the words for a choice, which it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAChoice(&'static [&'static str]);

impl fmt::Display for NotAChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected one of: ")?;
        for (at, name) in self.0.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { ", " })?;
            f.write_str(name)?;
        }
        Ok(())
    }
}

impl core::error::Error for NotAChoice {}

/// The choices of one listener. The default is the safest reading of what Kong accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathRules {
    /// `//`
    pub empty_segments: EmptySegments,
    /// `;`
    pub parameters: Parameters,
    /// `%2F` and `%5C`
    pub encoded_separators: EncodedSeparators,
}

/// Why a path has no canonical form; always a 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// Does not start with `/`. Also what `*` gives: no route has it.
    NotAbsolute,
    /// A control character, space, backslash, `?`, `#` or a byte outside ASCII.
    Byte,
    /// `%` without two hexadecimal digits.
    Escape,
    /// `%00`.
    Nul,
    /// Escapes that are no UTF-8, overlong forms included.
    NotUtf8,
    /// `%2F` or `%5C`, see [`EncodedSeparators`].
    EncodedSeparator,
    /// `..` would leave the root.
    AboveRoot,
    /// A dot segment in disguise: `..;x`, or `..` next to `%2F`.
    HiddenDots,
    /// `//`, see [`EmptySegments`].
    EmptySegment,
    /// `;`, see [`Parameters`].
    Parameter,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "the path does not start with `/`",
            Self::Byte => "the path has a character that must be escaped",
            Self::Escape => "the path has a `%` without two hexadecimal digits",
            Self::Nul => "the path has `%00`",
            Self::NotUtf8 => "the path has escapes that are no UTF-8",
            Self::EncodedSeparator => "the path has `%2F` or `%5C`",
            Self::AboveRoot => "the path leaves the root with `..`",
            Self::HiddenDots => "the path hides a `.` or `..` segment",
            Self::EmptySegment => "the path has an empty segment",
            Self::Parameter => "the path has a `;`",
        })
    }
}

impl core::error::Error for PathError {}

/// Writes the canonical form of `raw` to `out`, which is cleared first and keeps its memory. An empty `raw` (the
/// target `http://a`) is `/`. The result is at most three times as long as `raw`.
///
/// # Errors
/// `raw` is refused; `out` then holds nothing of use.
pub fn canonicalise(raw: &[u8], rules: PathRules, out: &mut Vec<u8>) -> Result<(), PathError> {
    out.clear();
    if is_canonical(raw) {
        out.extend_from_slice(raw);
        return Ok(());
    }
    out.push(b'/');
    let Some((first, path)) = raw.split_first() else {
        return Ok(());
    };
    if *first != b'/' {
        return Err(PathError::NotAbsolute);
    }
    let mut segments = path.split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        let start = out.len();
        let has_parameter = write_segment(segment, rules, out)?;
        match &out[start..] {
            b"." | b".." if has_parameter => return Err(PathError::HiddenDots),
            b"." => out.truncate(start),
            b".." => out.truncate(parent(out, start).ok_or(PathError::AboveRoot)?),
            b"" if is_last || rules.empty_segments == EmptySegments::Merge => {}
            b"" => return Err(PathError::EmptySegment),
            _ if is_last => {}
            _ => out.push(b'/'),
        }
    }
    Ok(())
}

/// Whether a path is plain enough to be its own canonical form under any rules, as nearly all are: nothing escaped or
/// to be escaped, no `;`, and no segment that is empty or begins with a dot.
fn is_canonical(raw: &[u8]) -> bool {
    let mut before = 0;
    for &byte in raw {
        if !PLAIN[usize::from(byte)] || before == b'/' && matches!(byte, b'/' | b'.') {
            return false;
        }
        before = byte;
    }
    raw.first() == Some(&b'/')
}

/// What stands for itself anywhere in a path, and `/`.
static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < u8::MAX {
        plain[byte as usize] = byte == b'/' || is_unreserved(byte) || is_delimiter(byte);
        byte += 1;
    }
    plain
};

/// Where the segment before the one at `start` begins.
fn parent(out: &[u8], start: usize) -> Option<usize> {
    let before = out[..start].strip_suffix(b"/")?;
    Some(before.iter().rposition(|byte| *byte == b'/')? + 1)
}

/// Whether the segment had a parameter.
fn write_segment(segment: &[u8], rules: PathRules, out: &mut Vec<u8>) -> Result<bool, PathError> {
    let (mut has_parameter, mut has_separator) = (false, false);
    let mut piece_start = out.len();
    let mut at = 0;
    while let Some(byte) = segment.get(at) {
        at += 1;
        match byte {
            b';' if rules.parameters == Parameters::Reject => {
                return Err(if is_dots(&out[piece_start..]) {
                    PathError::HiddenDots
                } else {
                    PathError::Parameter
                });
            }
            b';' => {
                has_parameter = true;
                check_parameter(&segment[at..])?;
                break;
            }
            b'%' => match decode(&segment[at..])? {
                b'/' | b'\\' if rules.encoded_separators == EncodedSeparators::Reject => {
                    return Err(PathError::EncodedSeparator);
                }
                separator @ (b'/' | b'\\') => {
                    check_piece(out, piece_start..out.len())?;
                    push_escape(separator, out);
                    piece_start = out.len();
                    has_separator = true;
                    at += 2;
                }
                0x80.. => at += write_utf8(&segment[at - 1..], out)? - 1,
                decoded => {
                    if is_unreserved(decoded) {
                        out.push(decoded)
                    } else {
                        push_escape(decoded, out)
                    }
                    at += 2;
                }
            },
            byte if is_unreserved(*byte) || is_delimiter(*byte) => out.push(*byte),
            b'"' | b'<' | b'>' | b'[' | b']' | b'^' | b'`' | b'{' | b'|' | b'}' => push_escape(*byte, out),
            _ => return Err(PathError::Byte),
        }
    }
    if has_separator {
        check_piece(out, piece_start..out.len())?;
    }
    Ok(has_parameter)
}

fn check_piece(out: &[u8], piece: Range<usize>) -> Result<(), PathError> {
    if is_dots(&out[piece]) {
        Err(PathError::HiddenDots)
    } else {
        Ok(())
    }
}

fn is_dots(piece: &[u8]) -> bool {
    matches!(piece, b"." | b"..")
}

/// What is stripped must be as well-formed as what stays.
fn check_parameter(text: &[u8]) -> Result<(), PathError> {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        match byte {
            b'%' => {
                decode(&text[at..])?;
                at += 2;
            }
            b'!'..=b'~' if !matches!(byte, b'\\' | b'?' | b'#') => {}
            _ => return Err(PathError::Byte),
        }
    }
    Ok(())
}

/// The byte that two hexadecimal digits at the start of `digits` stand for.
fn decode(digits: &[u8]) -> Result<u8, PathError> {
    let [high, low, ..] = digits else {
        return Err(PathError::Escape);
    };
    match hex_digit(*high).zip(hex_digit(*low)) {
        Some((0, 0)) => Err(PathError::Nul),
        Some((high, low)) => Ok(high << 4 | low),
        None => Err(PathError::Escape),
    }
}

/// Copies the escapes of one character outside ASCII; gives how many bytes of `escapes` they take.
fn write_utf8(escapes: &[u8], out: &mut Vec<u8>) -> Result<usize, PathError> {
    let length = match decode(&escapes[1..])? {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => return Err(PathError::NotUtf8),
    };
    let mut character = [0; 4];
    let character = &mut character[..length];
    for (byte, escape) in character.iter_mut().zip(escapes.chunks(3)) {
        *byte = match escape {
            [b'%', digits @ ..] => decode(digits)?,
            _ => return Err(PathError::NotUtf8),
        };
    }
    if core::str::from_utf8(character).is_err() {
        return Err(PathError::NotUtf8);
    }
    for byte in character {
        push_escape(*byte, out);
    }
    Ok(length * 3)
}
